#include "common/wire/wire.h"

struct saga_wire_reader saga_wire_read(struct saga_bytes bytes)
{
    struct saga_wire_reader reader = {bytes.data, bytes.data};
    if (bytes.size > 0) {
        reader.end += bytes.size;
    }
    return reader;
}

bool saga_wire_varint(struct saga_wire_reader *reader, uint64_t *value)
{
    const uint8_t *at = reader->at;
    uint64_t result = 0;
    for (unsigned shift = 0; shift < 70; shift += 7) {
        if (at == reader->end) {
            return false;
        }
        uint8_t byte = *at++;
        if (shift == 63 && byte > 1) {
            return false;
        }
        result |= (uint64_t)(byte & 0x7f) << shift;
        if (byte < 0x80) {
            reader->at = at;
            *value = result;
            return true;
        }
    }
    return false;
}

/* Reads a tag or a size: up to 32 bits in up to five bytes. Longer ones with zeros ahead are
 * refused as other readers do: what one takes and another refuses would be two meanings of one
 * message. */
static bool read_varint32(struct saga_wire_reader *reader, uint64_t *value)
{
    const uint8_t *start = reader->at;
    return saga_wire_varint(reader, value) && *value <= UINT32_MAX &&
           reader->at - start <= SAGA_VARINT32_SIZE_MAX;
}

static bool read_tag(struct saga_wire_reader *reader, struct saga_wire_field *field)
{
    uint64_t tag = 0;
    if (!read_varint32(reader, &tag)) {
        return false;
    }
    unsigned type = (unsigned)(tag & 7);
    field->number = (uint32_t)(tag >> 3);
    field->type = (enum saga_wire_type)type;
    return field->number > 0 && type <= SAGA_WIRE_FIXED32;
}

static bool read_fixed(struct saga_wire_reader *reader, size_t size, uint64_t *value)
{
    if ((size_t)(reader->end - reader->at) < size) {
        return false;
    }
    uint64_t result = 0;
    for (size_t i = 0; i < size; i++) {
        result |= (uint64_t)reader->at[i] << (8 * i);
    }
    reader->at += size;
    *value = result;
    return true;
}

/* Reads what stands behind a tag, groups excepted. */
static bool read_value(struct saga_wire_reader *reader, struct saga_wire_field *field)
{
    switch (field->type) {
    case SAGA_WIRE_VARINT:
        return saga_wire_varint(reader, &field->value);
    case SAGA_WIRE_FIXED64:
        return read_fixed(reader, 8, &field->value);
    case SAGA_WIRE_FIXED32:
        return read_fixed(reader, 4, &field->value);
    case SAGA_WIRE_LEN:
        if (!read_varint32(reader, &field->value) ||
            field->value > (uint64_t)(reader->end - reader->at)) {
            return false;
        }
        field->bytes.data = reader->at;
        field->bytes.size = (size_t)field->value;
        reader->at += field->bytes.size;
        return true;
    case SAGA_WIRE_GROUP:
    case SAGA_WIRE_GROUP_END:
        return false;
    }
    return false;
}

/* Skips to the end of a group; groups inside are kept on a stack of numbers, not by recursion. */
static bool read_group(struct saga_wire_reader *reader, struct saga_wire_field *field)
{
    uint32_t open[SAGA_WIRE_GROUP_DEPTH_MAX];
    size_t depth = 0;
    open[depth++] = field->number;
    field->bytes.data = reader->at;
    while (depth > 0) {
        struct saga_wire_field inner = {0};
        const uint8_t *before = reader->at;
        if (!read_tag(reader, &inner)) {
            return false;
        }
        if (inner.type == SAGA_WIRE_GROUP) {
            if (depth == SAGA_WIRE_GROUP_DEPTH_MAX) {
                return false;
            }
            open[depth++] = inner.number;
        } else if (inner.type == SAGA_WIRE_GROUP_END) {
            if (open[--depth] != inner.number) {
                return false;
            }
            field->bytes.size = (size_t)(before - field->bytes.data);
        } else if (!read_value(reader, &inner)) {
            return false;
        }
    }
    return true;
}

enum saga_wire_next saga_wire_next(struct saga_wire_reader *reader, struct saga_wire_field *field)
{
    if (reader->at == reader->end) {
        return SAGA_WIRE_NEXT_END;
    }
    *field = (struct saga_wire_field){0};
    if (!read_tag(reader, field)) {
        return SAGA_WIRE_NEXT_MALFORMED;
    }
    field->body.data = reader->at;
    bool good =
        field->type == SAGA_WIRE_GROUP ? read_group(reader, field) : read_value(reader, field);
    if (!good) {
        return SAGA_WIRE_NEXT_MALFORMED;
    }
    field->body.size = (size_t)(reader->at - field->body.data);
    return SAGA_WIRE_NEXT_FIELD;
}

/* Gives the size of the UTF-8 character at `at`, 0 when it is not one (Unicode 15, table 3-7). */
static size_t utf8_size(const uint8_t *at, size_t left)
{
    uint8_t first = at[0];
    if (first < 0x80) {
        return 1;
    }
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || left < size) {
        return 0;
    }
    uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

/* Tells whether 8 bytes are ASCII. */
static bool ascii8(const uint8_t *at)
{
    uint64_t word = 0;
    memcpy(&word, at, sizeof word);
    return (word & UINT64_C(0x8080808080808080)) == 0;
}

bool saga_wire_utf8(struct saga_bytes bytes)
{
    size_t i = 0;
    while (i < bytes.size) {
        if (bytes.size - i >= 8 && ascii8(bytes.data + i)) {
            i += 8; /* nearly all text is */
            continue;
        }
        size_t size = utf8_size(bytes.data + i, bytes.size - i);
        if (size == 0) {
            return false;
        }
        i += size;
    }
    return true;
}

struct saga_bytes saga_wire_utf8_cut(struct saga_bytes text, size_t size_max)
{
    if (text.size > size_max) {
        text.size = size_max;
        while (text.size > 0 && (text.data[text.size] & 0xc0) == 0x80) {
            text.size--;
        }
    }
    return text;
}
