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

/* Where in a JSON text one is: inside of which arrays and objects, at which index and key. */
struct place {
    size_t depth;
    struct {
        bool array;
        bool valued;           /* the key is complete, what comes is its value */
        size_t index;          /* array */
        struct saga_bytes key; /* object: the last one, as it is written, without quotes */
    } levels[SAGA_ORDER_JSON_DEPTH_MAX + 1];
};

/* Walks over the string that begins at text[at]; gives where it ends, at the quote or the end. */
static size_t string_walk(struct saga_bytes text, size_t at)
{
    for (at++; at < text.size && text.data[at] != '"'; at++) {
        at += text.data[at] == '\\' ? 1U : 0U;
    }
    return at < text.size ? at : text.size;
}

/* Walks over a JSON text, which need not be one. Returns false when it nests deeper than it may:
 * asked before the parser, which recurses, sees it. */
static bool place_walk(struct saga_bytes text, struct place *place)
{
    *place = (struct place){0};
    for (size_t at = 0; at < text.size; at++) {
        uint8_t letter = text.data[at];
        if (letter == '{' || letter == '[') {
            if (place->depth == SAGA_ORDER_JSON_DEPTH_MAX) {
                return false;
            }
            place->depth++;
            memset(&place->levels[place->depth], 0, sizeof place->levels[0]);
            place->levels[place->depth].array = letter == '[';
        } else if (letter == '}' || letter == ']') {
            place->depth -= place->depth > 0 ? 1U : 0U;
        } else if (letter == '"') {
            size_t end = string_walk(text, at);
            if (!place->levels[place->depth].valued && end > at) {
                place->levels[place->depth].key =
                    (struct saga_bytes){.data = text.data + at + 1, .size = end - at - 1};
            }
            at = end;
        } else if (letter == ':') {
            place->levels[place->depth].valued = true;
        } else if (letter == ',') {
            place->levels[place->depth].valued = false;
            place->levels[place->depth].index++;
        }
    }
    return true;
}

/* Writes a place as a field's name: items[3].quantity; cut when it is long. */
static void place_name(const struct place *place, char *field, size_t field_size)
{
    size_t size = 0;
    field[0] = '\0';
    for (size_t i = 1; i <= place->depth && size < field_size; i++) {
        const struct saga_bytes *key = &place->levels[i].key;
        int more = place->levels[i].array
                       ? snprintf(field + size, field_size - size, "[%zu]", place->levels[i].index)
                       : snprintf(field + size, field_size - size, "%s%.*s", i == 1 ? "" : ".",
                                  key->size > 30 ? 30 : (int)key->size,
                                  key->size == 0 ? "" : (const char *)key->data);
        size += more < 0 ? 0U : (size_t)more;
    }
    for (char *at = field; *at != '\0'; at++) {
        *at = *at < 0x20 || *at > 0x7e ? '?' : *at;
    }
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

/* Tells what the parser did not like. Its own text may quote what was sent, at any length: only the
 * place is told. */
static bool parse_fault(struct saga_bytes body, const json_error_t *error,
                        struct saga_order_fault *fault)
{
    enum json_error_code code = json_error_code(error);
    bool twice = code == json_error_duplicate_key;
    if (!twice && code != json_error_numeric_overflow) {
        return fault_set(fault, "body", "is not JSON: line %d, column %d", error->line,
                         error->column);
    }
    struct saga_bytes read = body;
    if (error->position >= 0 && (size_t)error->position < read.size) {
        read.size = (size_t)error->position;
    }
    struct place place;
    char field[sizeof fault->field];
    (void)place_walk(read, &place);
    place_name(&place, field, sizeof field);
    return fault_set(fault, field[0] == '\0' ? "body" : field, "%s",
                     twice ? "is given twice" : "is out of range: no number of 64 bits");
}

bool saga_order_request_read(struct saga_bytes body, struct saga_order_request *request,
                             struct saga_order_fault *fault)
{
    struct place place;
    if (body.size == 0) {
        return fault_set(fault, "body", "is empty; it must be a JSON object");
    }
    if (body.size > SAGA_ORDER_BODY_SIZE_MAX) {
        return fault_set(fault, "body", "has %zu bytes, at most %d are taken", body.size,
                         SAGA_ORDER_BODY_SIZE_MAX);
    }
    if (memchr(body.data, 0, body.size) != NULL) {
        /* jansson takes one behind the text for its end, whatever follows. */
        return fault_set(fault, "body", "has a zero byte");
    }
    if (!place_walk(body, &place)) {
        return fault_set(fault, "body", "nests deeper than %d levels", SAGA_ORDER_JSON_DEPTH_MAX);
    }
    json_error_t error;
    json_t *root = json_loadb((const char *)body.data, body.size,
                              JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &error);
    if (root == NULL) {
        return parse_fault(body, &error, fault);
    }
    bool ok = json_is_object(root) ? request_take(root, request, fault)
                                   : fault_set(fault, "body", "must be a JSON object");
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
