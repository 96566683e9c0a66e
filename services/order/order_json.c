#include "services/order/order_json.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <jansson.h>

static bool fault_set(struct saga_order_fault *fault, const char *field, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Always gives false, so that a check can end with it. */
static bool fault_set(struct saga_order_fault *fault, const char *field, const char *format, ...)
{
    (void)snprintf(fault->field, sizeof fault->field, "%s", field);
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(fault->message, sizeof fault->message, format, arguments);
    va_end(arguments);
    return false;
}

/* Tells whether a text nests deeper than it may: before the parser, which recurses, sees it. */
static bool depth_ok(struct saga_bytes body)
{
    size_t depth = 0;
    bool quoted = false;
    for (size_t i = 0; i < body.size; i++) {
        uint8_t letter = body.data[i];
        if (quoted) {
            if (letter == '\\') {
                i++;
            } else if (letter == '"') {
                quoted = false;
            }
        } else if (letter == '"') {
            quoted = true;
        } else if (letter == '{' || letter == '[') {
            if (++depth > SAGA_ORDER_JSON_DEPTH_MAX) {
                return false;
            }
        } else if ((letter == '}' || letter == ']') && depth > 0) {
            depth--;
        }
    }
    return true;
}

/* Takes a whole number of an object's key. prefix is "" or "items[3].". */
static bool number_take(const json_t *object, const char *prefix, const char *key, int64_t *value,
                        struct saga_order_fault *fault)
{
    char field[sizeof fault->field];
    (void)snprintf(field, sizeof field, "%s%s", prefix, key);
    const json_t *number = json_object_get(object, key);
    if (number == NULL) {
        return fault_set(fault, field, "is missing");
    }
    if (!json_is_integer(number)) {
        return fault_set(fault, field, "must be a whole number");
    }
    *value = json_integer_value(number);
    return true;
}

/* Refuses keys besides the two that are known. A name is shown only if it is a plain one: it comes
 * from outside. */
static bool keys_check(json_t *object, const char *prefix, const char *first, const char *second,
                       struct saga_order_fault *fault)
{
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value)
    {
        if (strcmp(key, first) == 0 || strcmp(key, second) == 0) {
            continue;
        }
        char field[sizeof fault->field];
        (void)snprintf(field, sizeof field, "%s%.30s", prefix, key);
        for (char *at = field; *at != '\0'; at++) {
            *at = *at < 0x20 || *at > 0x7e ? '?' : *at;
        }
        return fault_set(fault, field, "is not known here; known are %s and %s", first, second);
    }
    return true;
}

static bool line_take(json_t *object, size_t index, struct saga_order_line *line,
                      struct saga_order_fault *fault)
{
    char prefix[24];
    (void)snprintf(prefix, sizeof prefix, "items[%zu]", index);
    if (!json_is_object(object)) {
        return fault_set(fault, prefix, "must be an object with product_id and quantity");
    }
    (void)snprintf(prefix, sizeof prefix, "items[%zu].", index);
    int64_t quantity = 0;
    if (!keys_check(object, prefix, "product_id", "quantity", fault) ||
        !number_take(object, prefix, "product_id", &line->product_id, fault) ||
        !number_take(object, prefix, "quantity", &quantity, fault)) {
        return false;
    }
    if (quantity < 1 || quantity > SAGA_ORDER_QUANTITY_MAX) {
        char field[sizeof fault->field];
        (void)snprintf(field, sizeof field, "%squantity", prefix);
        return fault_set(fault, field, "must be 1 to %d, is %" PRId64, SAGA_ORDER_QUANTITY_MAX,
                         quantity);
    }
    line->quantity = (int32_t)quantity;
    return true;
}

static bool lines_take(const json_t *items, struct saga_order_line *lines, size_t *count,
                       struct saga_order_fault *fault)
{
    if (items == NULL) {
        return fault_set(fault, "items", "is missing");
    }
    if (!json_is_array(items)) {
        return fault_set(fault, "items", "must be an array");
    }
    size_t size = json_array_size(items);
    if (size < 1 || size > SAGA_ORDER_LINES_MAX) {
        return fault_set(fault, "items", "must have 1 to %d lines, has %zu", SAGA_ORDER_LINES_MAX,
                         size);
    }
    for (size_t i = 0; i < size; i++) {
        if (!line_take(json_array_get(items, i), i, &lines[i], fault)) {
            return false;
        }
    }
    *count = size;
    return true;
}

static bool request_take(json_t *root, struct saga_order_request *request,
                         struct saga_order_fault *fault)
{
    return keys_check(root, "", "customer_id", "items", fault) &&
           number_take(root, "", "customer_id", &request->customer_id, fault) &&
           lines_take(json_object_get(root, "items"), request->lines, &request->line_count,
                      fault) &&
           saga_order_check(request, fault);
}

bool saga_order_request_read(struct saga_bytes body, struct saga_order_request *request,
                             struct saga_order_fault *fault)
{
    if (body.size == 0) {
        return fault_set(fault, "", "the body is empty; it must be a JSON object");
    }
    if (body.size > SAGA_ORDER_BODY_SIZE_MAX) {
        return fault_set(fault, "", "the body has %zu bytes, at most %d are taken", body.size,
                         SAGA_ORDER_BODY_SIZE_MAX);
    }
    if (!depth_ok(body)) {
        return fault_set(fault, "", "the body nests deeper than %d levels",
                         SAGA_ORDER_JSON_DEPTH_MAX);
    }
    json_error_t error;
    json_t *root = json_loadb((const char *)body.data, body.size, JSON_REJECT_DUPLICATES, &error);
    if (root == NULL) {
        /* The parser's own text may quote what was sent: only the place is told. */
        return fault_set(
            fault, "", "the body is not JSON: line %d, column %d%s", error.line, error.column,
            json_error_code(&error) == json_error_duplicate_key      ? ": a key is given twice"
            : json_error_code(&error) == json_error_numeric_overflow ? ": a number is too large"
                                                                     : "");
    }
    bool ok = json_is_object(root) ? request_take(root, request, fault)
                                   : fault_set(fault, "", "the body must be a JSON object");
    json_decref(root);
    return ok;
}

bool saga_order_items_read(const char *items, struct saga_order_line lines[SAGA_ORDER_LINES_MAX],
                           size_t *count)
{
    struct saga_order_fault fault;
    json_t *root = json_loads(items, 0, NULL);
    bool ok = root != NULL && lines_take(root, lines, count, &fault);
    json_decref(root);
    return ok;
}

/* ---- Out ---- */

static enum saga_err text_append(struct saga_buf *out, const char *text)
{
    return saga_buf_append(out, saga_bytes_text(text));
}

enum saga_err saga_order_json_string(const char *text, struct saga_buf *out)
{
    static const char digits[] = "0123456789abcdef";
    size_t size = strlen(text);
    enum saga_err err = saga_buf_reserve(out, size * 6 + 2);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    uint8_t *to = out->data + out->size;
    *to++ = '"';
    for (size_t i = 0; i < size; i++) {
        unsigned char letter = (unsigned char)text[i];
        if (letter == '"' || letter == '\\') {
            *to++ = '\\';
            *to++ = letter;
        } else if (letter < 0x20) {
            memcpy(to, "\\u00", 4);
            to[4] = (uint8_t)digits[letter >> 4];
            to[5] = (uint8_t)digits[letter & 15];
            to += 6;
        } else {
            *to++ = letter;
        }
    }
    *to++ = '"';
    out->size = (size_t)(to - out->data);
    return SAGA_ERR_OK;
}

static const char *state_name(enum saga_order_state state)
{
    switch (state) {
    case SAGA_ORDER_PENDING:
        return "PENDING";
    case SAGA_ORDER_APPROVED:
        return "APPROVED";
    case SAGA_ORDER_REJECTED:
        return "REJECTED";
    }
    return "UNSPECIFIED";
}

enum saga_err saga_order_json_write(const struct saga_order *order, struct saga_buf *out)
{
    char saga[SAGA_ID_TEXT_SIZE] = "";
    if (order->has_saga) {
        saga_id_format(order->saga_id, saga);
    }
    char head[96];
    char tail[192];
    (void)snprintf(head, sizeof head,
                   "{\"order_id\":%" PRId64 ",\"customer_id\":%" PRId64 ",\"items\":",
                   order->order_id, order->customer_id);
    (void)snprintf(tail, sizeof tail,
                   ",\"saga_id\":\"%s\",\"created_unix_ms\":%" PRId64
                   ",\"decided_unix_ms\":%" PRId64 "}",
                   saga, order->created_unix_ms, order->decided_unix_ms);
    enum saga_err err = text_append(out, head);
    if (err == SAGA_ERR_OK) {
        err = text_append(out, order->items);
    }
    if (err == SAGA_ERR_OK) {
        err = text_append(out, ",\"state\":\"");
    }
    if (err == SAGA_ERR_OK) {
        err = text_append(out, state_name(order->state));
    }
    if (err == SAGA_ERR_OK) {
        err = text_append(out, "\",\"reason\":");
    }
    if (err == SAGA_ERR_OK) {
        err = saga_order_json_string(order->reason, out);
    }
    if (err == SAGA_ERR_OK) {
        err = text_append(out, tail);
    }
    return err;
}

/* ---- Small texts ---- */

/* Reads digits up to the first other letter; *end is where. No sign, no space, no overflow. */
static bool digits_read(const char *text, const char **end, int64_t *value)
{
    int64_t sum = 0;
    const char *at = text;
    for (; *at >= '0' && *at <= '9'; at++) {
        if (sum > (INT64_MAX - (*at - '0')) / 10) {
            return false;
        }
        sum = sum * 10 + (*at - '0');
    }
    *end = at;
    *value = sum;
    return at != text;
}

bool saga_order_number_read(const char *text, int64_t min, int64_t max, int64_t *value)
{
    const char *end;
    int64_t number;
    if (!digits_read(text, &end, &number) || *end != '\0' || number < min || number > max) {
        return false;
    }
    *value = number;
    return true;
}

bool saga_order_wait_read(const char *text, int64_t *wait_ms)
{
    const char *end;
    int64_t number;
    if (!digits_read(text, &end, &number) || number > SAGA_WAIT_MS_MAX) {
        return false;
    }
    if (strcmp(end, "s") == 0) {
        number *= 1000;
    } else if (*end != '\0' && strcmp(end, "ms") != 0) {
        return false;
    }
    if (number > SAGA_WAIT_MS_MAX) {
        return false;
    }
    *wait_ms = number;
    return true;
}
