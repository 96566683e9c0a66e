/* Random messages of any type, as wire bytes. */
#include <string.h>

#include "common/base/assert.h"
#include "common/base/prng.h"
#include "common/wire/wire.h"
#include "verify/sim/workload_internal.h"

/* A field that must have a value, or must have none. */
struct fixed {
    uint32_t number;
    bool present;
    uint64_t value; /* on the wire, of a number */
    struct saga_bytes bytes;
};

enum { FIXED_MAX = SAGA_STEPS_MAX, SCALAR_SIZE_MAX = 3 * SAGA_VARINT_SIZE_MAX };

struct fixes {
    struct fixed list[FIXED_MAX];
    size_t count;
};

/* One message being made. */
struct maker {
    uint64_t prng;
    struct saga_buf *out;
    enum saga_err err;
};

static uint64_t draw(struct maker *maker, uint64_t bound)
{
    return saga_prng_below(&maker->prng, bound);
}

/* A number of any size, small ones and extremes often. */
static uint64_t draw_bits(struct maker *maker)
{
    switch (draw(maker, 4)) {
    case 0:
        return draw(maker, 16);
    case 1:
        return UINT64_MAX - draw(maker, 3);
    case 2:
        return UINT64_C(1) << draw(maker, 64);
    default:
        break;
    }
    /* One draw after the other: C leaves the order within an expression open. */
    uint64_t wide = saga_prng_next(&maker->prng);
    return wide >> draw(maker, 64);
}

/* A finite number, as it stands in 4 or 8 bytes. */
static uint64_t draw_float(struct maker *maker, bool wide)
{
    double value = (double)(int64_t)draw(maker, 2000001) / 8.0 - 125000.0;
    if (wide) {
        uint64_t bits = 0;
        memcpy(&bits, &value, sizeof bits);
        return bits;
    }
    float narrow = (float)value;
    uint32_t bits = 0;
    memcpy(&bits, &narrow, sizeof bits);
    return bits;
}

static uint64_t zigzag(int64_t value)
{
    return ((uint64_t)value << 1) ^ (value < 0 ? UINT64_MAX : 0);
}

/* A value of a number's type as it stands on the wire. */
static uint64_t draw_number(struct maker *maker, const struct saga_field *field)
{
    uint64_t bits = draw_bits(maker);
    switch (field->type) {
    case SAGA_FIELD_DOUBLE:
        return draw_float(maker, true);
    case SAGA_FIELD_FLOAT:
        return draw_float(maker, false);
    case SAGA_FIELD_BOOL:
        return bits & 1;
    case SAGA_FIELD_INT32:
        return (uint64_t)(int64_t)(int32_t)(uint32_t)bits;
    case SAGA_FIELD_SINT32:
        return (uint32_t)zigzag((int32_t)(uint32_t)bits);
    case SAGA_FIELD_UINT32:
    case SAGA_FIELD_FIXED32:
    case SAGA_FIELD_SFIXED32:
        return (uint32_t)bits;
    case SAGA_FIELD_ENUM: {
        size_t count = field->enumeration->value_count;
        return count == 0
                   ? 0
                   : (uint64_t)(int64_t)field->enumeration->values[draw(maker, count)].number;
    }
    case SAGA_FIELD_SINT64:
        return zigzag((int64_t)bits);
    case SAGA_FIELD_INT64:
    case SAGA_FIELD_UINT64:
    case SAGA_FIELD_FIXED64:
    case SAGA_FIELD_SFIXED64:
        return bits;
    case SAGA_FIELD_STRING:
    case SAGA_FIELD_BYTES:
    case SAGA_FIELD_MESSAGE:
    case SAGA_FIELD_GROUP:
        break;
    }
    SAGA_ASSERT(!"a number");
    return 0;
}

static void append(struct maker *maker, const void *data, size_t size)
{
    if (maker->err == SAGA_ERR_OK) {
        maker->err = saga_buf_append(maker->out, (struct saga_bytes){.data = data, .size = size});
    }
}

static uint8_t *put_number(uint8_t *at, enum saga_wire_type type, uint64_t value)
{
    if (type == SAGA_WIRE_VARINT) {
        return saga_wire_put_varint(at, value);
    }
    for (unsigned i = 0; i < (type == SAGA_WIRE_FIXED64 ? 8U : 4U); i++) {
        *at++ = (uint8_t)(value >> (8 * i));
    }
    return at;
}

static void append_number(struct maker *maker, const struct saga_field *field, uint64_t value)
{
    uint8_t bytes[SCALAR_SIZE_MAX];
    enum saga_wire_type type = saga_field_wire_type(field->type);
    uint8_t *end = put_number(saga_wire_put_tag(bytes, field->number, type), type, value);
    append(maker, bytes, (size_t)(end - bytes));
}

static void append_bytes(struct maker *maker, uint32_t number, struct saga_bytes value)
{
    uint8_t head[SCALAR_SIZE_MAX];
    uint8_t *end = saga_wire_put_tag(head, number, SAGA_WIRE_LEN);
    end = saga_wire_put_varint(end, value.size);
    append(maker, head, (size_t)(end - head));
    append(maker, value.data, value.size);
}

/* Letters of one to four bytes. */
static size_t draw_text(struct maker *maker, uint8_t text[SAGA_WORKLOAD_TEXT_MAX + 4])
{
    static const char *const letters[] = {"a",  "b",  "z", "0", " ",  "-", "\"",
                                          "\\", "\n", "ß", "é", "漢", "😀"};
    size_t want = draw(maker, SAGA_WORKLOAD_TEXT_MAX + 1);
    size_t size = 0;
    while (size < want) {
        const char *letter = letters[draw(maker, sizeof letters / sizeof letters[0])];
        memcpy(text + size, letter, strlen(letter));
        size += strlen(letter);
    }
    return size;
}

static void append_text(struct maker *maker, const struct saga_field *field)
{
    uint8_t text[SAGA_WORKLOAD_TEXT_MAX + 4];
    size_t size = 0;
    if (field->type == SAGA_FIELD_STRING) {
        size = draw_text(maker, text);
    } else {
        size = draw(maker, SAGA_WORKLOAD_TEXT_MAX + 1);
        for (size_t i = 0; i < size; i++) {
            text[i] = (uint8_t)draw(maker, 256);
        }
    }
    append_bytes(maker, field->number, (struct saga_bytes){.data = text, .size = size});
}

/* A packed field: all elements in one value. */
static void append_packed(struct maker *maker, const struct saga_field *field, size_t count)
{
    uint8_t bytes[SAGA_WORKLOAD_REPEATED_MAX * SAGA_VARINT_SIZE_MAX];
    uint8_t *end = bytes;
    for (size_t i = 0; i < count; i++) {
        end = put_number(end, saga_field_wire_type(field->type), draw_number(maker, field));
    }
    append_bytes(maker, field->number,
                 (struct saga_bytes){.data = bytes, .size = (size_t)(end - bytes)});
}

static void make_message(struct maker *maker, const struct saga_message_type *type,
                         const struct fixes *fixes, unsigned depth);

/* A message inside: made at the end of the buffer, then its size put before it. */
static void append_message(struct maker *maker, const struct saga_field *field, unsigned depth)
{
    struct saga_buf inner = {0};
    struct saga_buf *outer = maker->out;
    maker->out = &inner;
    make_message(maker, field->message, NULL, depth);
    maker->out = outer;
    append_bytes(maker, field->number, saga_buf_view(&inner));
    saga_buf_fini(&inner);
}

static void append_value(struct maker *maker, const struct saga_field *field, unsigned depth)
{
    switch (field->type) {
    case SAGA_FIELD_STRING:
    case SAGA_FIELD_BYTES:
        append_text(maker, field);
        return;
    case SAGA_FIELD_MESSAGE:
        if (depth < SAGA_WORKLOAD_DEPTH_MAX) {
            append_message(maker, field, depth + 1);
        }
        return;
    case SAGA_FIELD_GROUP:
        return; /* nobody makes these any more; absent is valid */
    case SAGA_FIELD_DOUBLE:
    case SAGA_FIELD_FLOAT:
    case SAGA_FIELD_INT64:
    case SAGA_FIELD_UINT64:
    case SAGA_FIELD_INT32:
    case SAGA_FIELD_FIXED64:
    case SAGA_FIELD_FIXED32:
    case SAGA_FIELD_BOOL:
    case SAGA_FIELD_UINT32:
    case SAGA_FIELD_ENUM:
    case SAGA_FIELD_SFIXED32:
    case SAGA_FIELD_SFIXED64:
    case SAGA_FIELD_SINT32:
    case SAGA_FIELD_SINT64:
        append_number(maker, field, draw_number(maker, field));
        return;
    }
}

static void make_field(struct maker *maker, const struct saga_field *field, unsigned depth)
{
    if (!field->repeated) {
        append_value(maker, field, depth);
        return;
    }
    size_t count = draw(maker, SAGA_WORKLOAD_REPEATED_MAX + 1);
    if (field->packed && saga_field_wire_type(field->type) != SAGA_WIRE_LEN && count > 0) {
        append_packed(maker, field, count);
        return;
    }
    for (size_t i = 0; i < count; i++) {
        append_value(maker, field, depth);
    }
}

static const struct fixed *find_fixed(const struct fixes *fixes, uint32_t number)
{
    for (size_t i = 0; fixes != NULL && i < fixes->count; i++) {
        if (fixes->list[i].number == number) {
            return &fixes->list[i];
        }
    }
    return NULL;
}

static void make_fixed(struct maker *maker, const struct saga_field *field,
                       const struct fixed *fixed)
{
    if (!fixed->present) {
        return;
    }
    if (saga_field_wire_type(field->type) == SAGA_WIRE_LEN) {
        append_bytes(maker, field->number, fixed->bytes);
    } else {
        append_number(maker, field, fixed->value);
    }
}

/* Which member of a oneof is set: the one that the draw of its first member names. */
static bool is_chosen(const struct saga_message_type *type, size_t index, uint64_t choice)
{
    const struct saga_field *field = &type->fields[index];
    size_t members = 0;
    size_t place = 0;
    for (size_t i = 0; i < type->field_count; i++) {
        bool member = type->fields[i].oneof && type->fields[i].oneof_index == field->oneof_index;
        place = i == index ? members : place;
        members += member ? 1 : 0;
    }
    SAGA_ASSERT(members > 0);
    return (choice ^ (field->oneof_index * UINT64_C(0x9e3779b97f4a7c15))) % members == place;
}

static void make_message(struct maker *maker, const struct saga_message_type *type,
                         const struct fixes *fixes, unsigned depth)
{
    uint64_t choice = saga_prng_next(&maker->prng);
    size_t begin = maker->out->size;
    for (size_t i = 0; i < type->field_count && maker->err == SAGA_ERR_OK; i++) {
        const struct saga_field *field = &type->fields[i];
        const struct fixed *fixed = find_fixed(fixes, field->number);
        bool there = draw(maker, 5) != 0;
        if (fixed != NULL) {
            make_fixed(maker, field, fixed);
        } else if (there && maker->out->size - begin < SAGA_WORKLOAD_MESSAGE_SIZE_MAX &&
                   (!field->oneof || is_chosen(type, i, choice))) {
            make_field(maker, field, depth);
        }
    }
}

enum saga_err saga_workload_message(const struct saga_message_type *type, uint64_t seed,
                                    struct saga_buf *out)
{
    struct maker maker = {.prng = seed, .out = out};
    make_message(&maker, type, NULL, 0);
    return maker.err;
}

/* ---- Conditions ---- */

/* The value that stands on the wire for a condition's normal form. */
static uint64_t wire_value(enum saga_field_type type, uint64_t number)
{
    bool sign = type == SAGA_FIELD_INT32 || type == SAGA_FIELD_ENUM;
    return sign ? (uint64_t)(int64_t)(int32_t)(uint32_t)number : number;
}

/* Fixes a field so that a condition holds, or does not. */
static void fix_field(struct maker *maker, struct fixes *fixes, const struct saga_when *when,
                      uint32_t number, bool hold)
{
    static const uint8_t other[] = "?other";
    struct fixed fixed = {.number = number};
    bool equals_zero = when->is_default && !when->must_be_set;
    if (when->must_be_set || equals_zero) {
        fixed.present = hold != equals_zero;
        fixed.value = when->type == SAGA_FIELD_DOUBLE  ? UINT64_C(0x3ff0000000000000)
                      : when->type == SAGA_FIELD_FLOAT ? UINT64_C(0x3f800000)
                                                       : 1;
        fixed.bytes = (struct saga_bytes){.data = other, .size = 1};
    } else if (hold) {
        fixed.present = true;
        fixed.value = wire_value(when->type, when->number);
        fixed.bytes = when->bytes;
    } else {
        fixed.present = draw(maker, 2) == 0 && when->is_bytes;
        fixed.bytes = (struct saga_bytes){.data = other, .size = sizeof other - 1};
    }
    if (fixes->count < FIXED_MAX && find_fixed(fixes, number) == NULL) {
        fixes->list[fixes->count++] = fixed;
    }
}

enum saga_err saga_workload_input(const struct saga_decl *decl, uint64_t seed, struct saga_buf *out)
{
    struct maker maker = {.prng = seed, .out = out};
    struct fixes fixes = {.count = 0};
    /* Of several conditions on one field the first wins; any may be the first. */
    size_t first = (size_t)draw(&maker, decl->step_count);
    for (size_t i = 0; i < decl->step_count; i++) {
        const struct saga_when *when = &decl->steps[(first + i) % decl->step_count].when;
        bool hold = draw(&maker, 2) == 0;
        if (when->there) {
            fix_field(&maker, &fixes, when, when->field, hold);
        }
    }
    make_message(&maker, decl->context, &fixes, 0);
    return maker.err;
}

/* Mixes what a command is into a seed: the attempt is not in it. */
static uint64_t seed_of(const struct saga_workload_key *key, uint64_t seed)
{
    return saga_workload_mix(seed, key) ^ UINT64_C(0x7e5b0c5e7e5b0c5e);
}

enum saga_err saga_workload_response(const struct saga_workload_key *key, uint64_t seed,
                                     struct saga_buf *out)
{
    SAGA_ASSERT(key->step < key->decl->step_count);
    const struct saga_step_decl *made = &key->decl->steps[key->step];
    const struct saga_method *method = key->op == SAGA_OP_CALL ? made->call : made->undo;
    SAGA_ASSERT(method != NULL);
    struct maker maker = {.prng = seed_of(key, seed), .out = out};
    struct fixes fixes = {.count = 0};
    size_t count = key->decl->step_count;
    size_t first = (size_t)draw(&maker, count);
    for (size_t i = 0; key->op == SAGA_OP_CALL && i < count; i++) {
        const struct saga_when *when = &key->decl->steps[(first + i) % count].when;
        bool hold = draw(&maker, 2) == 0;
        for (size_t b = 0; when->there && b < made->result_bind.count; b++) {
            if (made->result_bind.fields[b].to == when->field) {
                fix_field(&maker, &fixes, when, made->result_bind.fields[b].from, hold);
            }
        }
    }
    make_message(&maker, method->response, &fixes, 0);
    return maker.err;
}
