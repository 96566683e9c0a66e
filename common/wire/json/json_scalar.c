/* Numbers, bools, enums and bytes out of JSON. */
#include <float.h>
#include <math.h>
#include <string.h>

#include "common/wire/json/json_internal.h"

/* ---- Whole numbers ---- */

/* Sign and amount: holds every int64 and uint64. */
struct whole {
    bool negative;
    bool large; /* beyond every type; amount means nothing */
    uint64_t amount;
};

static bool whole_from_int(json_int_t number, struct whole *whole)
{
    whole->negative = number < 0;
    whole->amount = number < 0 ? (uint64_t)0 - (uint64_t)number : (uint64_t)number;
    return true;
}

/* 1e3 and 5.0 are whole numbers too. */
static bool whole_from_real(double number, struct whole *whole)
{
    double amount = fabs(number);
    if (floor(amount) != amount) {
        return false;
    }
    whole->negative = number < 0;
    whole->large = amount >= 18446744073709551616.0;
    whole->amount = whole->large ? 0 : (uint64_t)amount;
    return true;
}

/* Reads digits only. *whole begins as 0. */
static bool whole_from_digits(struct saga_bytes digits, struct whole *whole)
{
    for (size_t i = 0; i < digits.size; i++) {
        if (digits.data[i] < '0' || digits.data[i] > '9') {
            return false;
        }
        uint64_t digit = (uint64_t)(digits.data[i] - '0');
        whole->large = whole->large || whole->amount > (UINT64_MAX - digit) / 10;
        whole->amount = whole->large ? 0 : whole->amount * 10 + digit;
    }
    return digits.size > 0;
}

/* What a number in quotes is, in any form that JSON has for one. */
enum real { REAL_GOOD, REAL_NONE, REAL_LARGE };

static enum real real_from_text(struct saga_bytes text, double *number)
{
    /* Only a number: jansson would take white space, and anything behind a zero byte, with it. */
    if (!saga_json_is_number(text)) {
        return REAL_NONE;
    }
    json_error_t error;
    json_t *value = json_loadb((const char *)text.data, text.size,
                               JSON_DECODE_ANY | JSON_DECODE_INT_AS_REAL, &error);
    enum real found = REAL_NONE;
    if (json_is_real(value)) {
        *number = json_real_value(value);
        found = REAL_GOOD;
    } else if (value == NULL && json_error_code(&error) == json_error_numeric_overflow) {
        found = REAL_LARGE;
    }
    json_decref(value);
    return found;
}

static bool whole_from_signed_digits(struct saga_bytes text, struct whole *whole)
{
    *whole = (struct whole){.negative = text.size > 0 && text.data[0] == '-'};
    if (whole->negative) {
        text.data++;
        text.size--;
    }
    return whole_from_digits(text, whole);
}

/* Reads "-123" without loss, and every other form that a JSON number may have. */
static bool whole_from_text(struct saga_bytes text, struct whole *whole)
{
    if (whole_from_signed_digits(text, whole)) {
        return true;
    }
    double number = 0;
    enum real found = real_from_text(text, &number);
    *whole = (struct whole){.large = found == REAL_LARGE};
    return found == REAL_LARGE || (found == REAL_GOOD && whole_from_real(number, whole));
}

static bool whole_from_number(const json_t *value, struct saga_bytes source, struct whole *whole)
{
    struct saga_bytes text;
    if (saga_json_number_text(source, value, &text)) {
        return whole_from_text(text, whole);
    }
    return json_is_integer(value) ? whole_from_int(json_integer_value(value), whole)
                                  : whole_from_real(json_real_value(value), whole);
}

static bool whole_fits(struct whole whole, bool is_signed, unsigned bits)
{
    uint64_t top = is_signed ? UINT64_C(1) << (bits - 1) : 0;
    if (whole.large) {
        return false;
    }
    if (whole.negative) {
        return whole.amount == 0 || (is_signed && whole.amount <= top);
    }
    if (is_signed) {
        return whole.amount < top;
    }
    return bits == 64 || whole.amount >> bits == 0;
}

static uint64_t zigzag(int64_t number)
{
    return number < 0 ? ~((uint64_t)number << 1) : (uint64_t)number << 1;
}

/* Brings a whole number into the wire form of a type. */
static const char *whole_to_wire(enum saga_field_type type, struct whole whole, uint64_t *bits)
{
    bool is_signed = type == SAGA_FIELD_INT64 || type == SAGA_FIELD_INT32 ||
                     type == SAGA_FIELD_SFIXED64 || type == SAGA_FIELD_SFIXED32 ||
                     type == SAGA_FIELD_SINT64 || type == SAGA_FIELD_SINT32 ||
                     type == SAGA_FIELD_ENUM;
    bool is_wide = type == SAGA_FIELD_INT64 || type == SAGA_FIELD_UINT64 ||
                   type == SAGA_FIELD_FIXED64 || type == SAGA_FIELD_SFIXED64 ||
                   type == SAGA_FIELD_SINT64;
    if (!whole_fits(whole, is_signed, is_wide ? 64 : 32)) {
        if (is_wide) {
            return is_signed ? "is out of the range of int64" : "is out of the range of uint64";
        }
        return is_signed ? "is out of the range of int32" : "is out of the range of uint32";
    }
    uint64_t number = whole.negative ? (uint64_t)0 - whole.amount : whole.amount;
    if (type == SAGA_FIELD_SINT64 || type == SAGA_FIELD_SINT32) {
        number = zigzag((int64_t)number);
    }
    *bits = type == SAGA_FIELD_SFIXED32 ? (uint32_t)number : number;
    return NULL;
}

static struct saga_bytes string_of(const json_t *value)
{
    struct saga_bytes bytes = {.data = (const uint8_t *)json_string_value(value),
                               .size = json_string_length(value)};
    return bytes;
}

static const char *read_whole(enum saga_field_type type, const json_t *value,
                              struct saga_bytes source, uint64_t *bits)
{
    struct whole whole = {0};
    bool good = false;
    if (json_is_string(value)) {
        good = whole_from_text(string_of(value), &whole);
    } else if (json_is_number(value)) {
        good = whole_from_number(value, source, &whole);
    }
    return good ? whole_to_wire(type, whole, bits) : "is not a whole number";
}

/* ---- Other numbers ---- */

static const char *judge(enum real found)
{
    static const char *const wrong[] = {[REAL_GOOD] = NULL,
                                        [REAL_NONE] = "is not a number",
                                        [REAL_LARGE] = "is out of the range of double"};
    return wrong[found];
}

const char *saga_json_double_read(const json_t *value, struct saga_bytes source, double *number)
{
    struct saga_bytes text;
    if (saga_json_number_text(source, value, &text)) {
        return judge(real_from_text(text, number));
    }
    *number = json_number_value(value);
    return json_is_number(value) ? NULL : judge(REAL_NONE);
}

static const char *read_double(const json_t *value, struct saga_bytes source, double *number)
{
    if (!json_is_string(value)) {
        return saga_json_double_read(value, source, number);
    }
    struct saga_bytes text = string_of(value);
    if (saga_bytes_equal(text, saga_bytes_text("NaN"))) {
        *number = (double)NAN;
    } else if (saga_bytes_equal(text, saga_bytes_text("Infinity"))) {
        *number = (double)INFINITY;
    } else if (saga_bytes_equal(text, saga_bytes_text("-Infinity"))) {
        *number = -(double)INFINITY;
    } else {
        return judge(real_from_text(text, number));
    }
    return NULL;
}

static const char *read_real(enum saga_field_type type, const json_t *value,
                             struct saga_bytes source, uint64_t *bits)
{
    double number = 0;
    const char *wrong = read_double(value, source, &number);
    if (wrong != NULL) {
        return wrong;
    }
    if (type == SAGA_FIELD_DOUBLE) {
        memcpy(bits, &number, sizeof *bits);
        return NULL;
    }
    /* What rounds to the largest float is still one; what rounds to infinity is not. */
    if (isfinite(number) && fabs(number) >= (double)FLT_MAX * (1 + (double)FLT_EPSILON / 4)) {
        return "is out of the range of float";
    }
    float narrow = (float)number;
    uint32_t narrow_bits = 0;
    memcpy(&narrow_bits, &narrow, sizeof narrow_bits);
    *bits = narrow_bits;
    return NULL;
}

/* ---- Enums ---- */

static const char *read_enum(const struct saga_field *field, const json_t *value,
                             struct saga_bytes source, uint64_t *bits, bool *unknown)
{
    if (json_is_null(value) && saga_json_is_null_value(field)) {
        *bits = 0;
        return NULL;
    }
    if (json_is_number(value)) {
        return read_whole(SAGA_FIELD_ENUM, value, source, bits);
    }
    if (!json_is_string(value)) {
        return "is neither the name nor the number of an enum value";
    }
    const struct saga_enum_type *type = field->enumeration;
    struct saga_bytes name = string_of(value);
    for (size_t i = 0; type != NULL && i < type->value_count; i++) {
        if (saga_bytes_equal(name, saga_bytes_text(type->values[i].name))) {
            *bits = (uint64_t)(int64_t)type->values[i].number;
            return NULL;
        }
    }
    struct whole whole = {0};
    if (whole_from_text(name, &whole)) {
        return whole_to_wire(SAGA_FIELD_ENUM, whole, bits);
    }
    *unknown = true;
    return "is not a name of the enum";
}

const char *saga_json_scalar_read(const struct saga_field *field, const json_t *value,
                                  struct saga_bytes source, struct saga_json_scalar *scalar,
                                  bool *unknown)
{
    scalar->type = saga_field_wire_type(field->type);
    scalar->bits = 0;
    *unknown = false;
    switch (field->type) {
    case SAGA_FIELD_BOOL:
        scalar->bits = json_is_true(value) ? 1 : 0;
        return json_is_boolean(value) ? NULL : "is neither true nor false";
    case SAGA_FIELD_DOUBLE:
    case SAGA_FIELD_FLOAT:
        return read_real(field->type, value, source, &scalar->bits);
    case SAGA_FIELD_ENUM:
        return read_enum(field, value, source, &scalar->bits, unknown);
    case SAGA_FIELD_INT64:
    case SAGA_FIELD_UINT64:
    case SAGA_FIELD_INT32:
    case SAGA_FIELD_FIXED64:
    case SAGA_FIELD_FIXED32:
    case SAGA_FIELD_UINT32:
    case SAGA_FIELD_SFIXED32:
    case SAGA_FIELD_SFIXED64:
    case SAGA_FIELD_SINT32:
    case SAGA_FIELD_SINT64:
        return read_whole(field->type, value, source, &scalar->bits);
    case SAGA_FIELD_STRING:
    case SAGA_FIELD_GROUP:
    case SAGA_FIELD_MESSAGE:
    case SAGA_FIELD_BYTES:
        break;
    }
    return "is of a type without a JSON form (a group)";
}

const char *saga_json_key_read(const struct saga_field *field, struct saga_bytes key,
                               struct saga_json_scalar *scalar)
{
    scalar->type = saga_field_wire_type(field->type);
    scalar->bits = 0;
    if (field->type == SAGA_FIELD_BOOL) {
        bool is_true = saga_bytes_equal(key, saga_bytes_text("true"));
        scalar->bits = is_true ? 1 : 0;
        return is_true || saga_bytes_equal(key, saga_bytes_text("false"))
                   ? NULL
                   : "the key is neither true nor false";
    }
    struct whole whole = {0};
    if (!whole_from_signed_digits(key, &whole)) {
        return "the key is not a whole number";
    }
    return whole_to_wire(field->type, whole, &scalar->bits);
}

/* ---- Base64 ---- */

static int base64_digit(uint8_t c)
{
    if (c >= 'A' && c <= 'Z') {
        return c - 'A';
    }
    if (c >= 'a' && c <= 'z') {
        return c - 'a' + 26;
    }
    if (c >= '0' && c <= '9') {
        return c - '0' + 52;
    }
    if (c == '+' || c == '-') {
        return 62;
    }
    return c == '/' || c == '_' ? 63 : -1;
}

enum saga_err saga_json_base64_read(struct saga_bytes text, struct saga_buf *out)
{
    size_t size = text.size;
    if (size % 4 == 0) {
        for (int i = 0; i < 2 && size > 0 && text.data[size - 1] == '='; i++) {
            size--;
        }
    }
    if (size % 4 == 1) {
        return SAGA_ERR_INVALID;
    }
    enum saga_err err = saga_buf_reserve(out, size / 4 * 3 + 3);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    uint32_t bits = 0;
    unsigned count = 0;
    for (size_t i = 0; i < size; i++) {
        int digit = base64_digit(text.data[i]);
        if (digit < 0) {
            return SAGA_ERR_INVALID;
        }
        bits = (bits << 6) | (uint32_t)digit;
        count += 6;
        if (count >= 8) {
            count -= 8;
            out->data[out->size++] = (uint8_t)(bits >> count);
        }
    }
    return SAGA_ERR_OK;
}
