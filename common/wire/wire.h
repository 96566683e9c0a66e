/* The protobuf wire format, field by field, without a schema: what the envelope, bind tables and
 * checks are built on.
 *
 * Not a message decoder: it knows no types. Reads borrow from the bytes that are read. */
#ifndef SAGA_WIRE_WIRE_H
#define SAGA_WIRE_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "common/base/bytes.h"
#include "common/base/err.h"

enum saga_wire_type {
    SAGA_WIRE_VARINT = 0,
    SAGA_WIRE_FIXED64 = 1,
    SAGA_WIRE_LEN = 2,
    SAGA_WIRE_GROUP = 3,
    SAGA_WIRE_GROUP_END = 4,
    SAGA_WIRE_FIXED32 = 5,
};

enum {
    SAGA_VARINT_SIZE_MAX = 10,
    SAGA_VARINT32_SIZE_MAX = 5,        /* of a tag or a size */
    SAGA_FIELD_NUMBER_MAX = 536870911, /* 2^29 - 1 */
    SAGA_WIRE_GROUP_DEPTH_MAX = 32,    /* groups in groups that are skipped */
};

struct saga_wire_reader {
    const uint8_t *at;
    const uint8_t *end;
};

/* One field as it stands on the wire. */
struct saga_wire_field {
    uint32_t number;
    enum saga_wire_type type;
    uint64_t value;          /* VARINT, FIXED64, FIXED32 */
    struct saga_bytes bytes; /* LEN: content; GROUP: content without the end tag */
    struct saga_bytes body;  /* everything behind the tag, as it stands on the wire */
};

enum saga_wire_next {
    SAGA_WIRE_NEXT_FIELD,
    SAGA_WIRE_NEXT_END,
    SAGA_WIRE_NEXT_MALFORMED,
};

/* Begins to read. */
struct saga_wire_reader saga_wire_read(struct saga_bytes bytes);

/* Reads the next field. Groups are skipped as a whole, as one field. */
enum saga_wire_next saga_wire_next(struct saga_wire_reader *reader, struct saga_wire_field *field);

/* Reads one varint (an element of a packed field). Returns false when it is malformed. */
bool saga_wire_varint(struct saga_wire_reader *reader, uint64_t *value);

/* Tells whether bytes are valid UTF-8 (no surrogates, no overlong forms). */
bool saga_wire_utf8(struct saga_bytes bytes);

/* Cuts valid UTF-8 to at most size_max bytes without splitting a character. */
struct saga_bytes saga_wire_utf8_cut(struct saga_bytes text, size_t size_max);

/* Gives the size of a varint, 1 to 10. */
static inline size_t saga_wire_varint_size(uint64_t value)
{
    size_t size = 1;
    while (value >= 0x80) {
        value >>= 7;
        size++;
    }
    return size;
}

/* Writes a varint and gives the place behind it. Pre: there is room. */
static inline uint8_t *saga_wire_put_varint(uint8_t *at, uint64_t value)
{
    while (value >= 0x80) {
        *at++ = (uint8_t)(value | 0x80);
        value >>= 7;
    }
    *at++ = (uint8_t)value;
    return at;
}

/* Writes a tag and gives the place behind it. Pre: there is room. */
static inline uint8_t *saga_wire_put_tag(uint8_t *at, uint32_t number, enum saga_wire_type type)
{
    return saga_wire_put_varint(at, ((uint64_t)number << 3) | (uint64_t)type);
}

/* Writes tag, size and bytes and gives the place behind. Pre: there is room. */
static inline uint8_t *saga_wire_put_bytes(uint8_t *at, uint32_t number, struct saga_bytes bytes)
{
    at = saga_wire_put_tag(at, number, SAGA_WIRE_LEN);
    at = saga_wire_put_varint(at, bytes.size);
    if (bytes.size > 0) {
        memcpy(at, bytes.data, bytes.size);
    }
    return at + bytes.size;
}

#endif
