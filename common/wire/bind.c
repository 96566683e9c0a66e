/* Bind tables at work: fields are copied as they stand on the wire, under a new tag. Order is kept,
 * so that repeated fields, packed or not, and fields that came in parts mean the same as before. */
#include "common/wire/schema.h"
#include "common/wire/wire.h"

/* Finds the first entry that reads a field (entries are sorted by it); count when there is none. */
static size_t first_from(const struct saga_bind_table *table, uint32_t number)
{
    size_t low = 0;
    size_t high = table->count;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (table->fields[middle].from < number) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool writes(const struct saga_bind_table *table, uint32_t number)
{
    for (size_t i = 0; i < table->count; i++) {
        if (table->fields[i].to == number) {
            return true;
        }
    }
    return false;
}

static enum saga_err put_field(struct saga_buf *out, uint32_t number,
                               const struct saga_wire_field *field)
{
    /* A group ends with its number: its end tag would have to change too. */
    size_t end_size = 0;
    struct saga_bytes body = field->body;
    if (field->type == SAGA_WIRE_GROUP) {
        body = field->bytes;
        end_size = SAGA_VARINT_SIZE_MAX;
    }
    enum saga_err err = saga_buf_reserve(out, SAGA_VARINT_SIZE_MAX + body.size + end_size);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    uint8_t *at = saga_wire_put_tag(out->data + out->size, number, field->type);
    if (body.size > 0) {
        memcpy(at, body.data, body.size);
        at += body.size;
    }
    if (field->type == SAGA_WIRE_GROUP) {
        at = saga_wire_put_tag(at, number, SAGA_WIRE_GROUP_END);
    }
    out->size = (size_t)(at - out->data);
    return SAGA_ERR_OK;
}

static enum saga_err build(const struct saga_bind_table *table, struct saga_bytes source,
                           struct saga_buf *out)
{
    struct saga_wire_reader reader = saga_wire_read(source);
    struct saga_wire_field field;
    enum saga_wire_next next = SAGA_WIRE_NEXT_FIELD;
    while ((next = saga_wire_next(&reader, &field)) == SAGA_WIRE_NEXT_FIELD) {
        for (size_t i = first_from(table, field.number);
             i < table->count && table->fields[i].from == field.number; i++) {
            enum saga_err err = put_field(out, table->fields[i].to, &field);
            if (err != SAGA_ERR_OK) {
                return err;
            }
        }
    }
    return next == SAGA_WIRE_NEXT_END ? SAGA_ERR_OK : SAGA_ERR_MALFORMED;
}

enum saga_err saga_bind_build(const struct saga_bind_table *table, struct saga_bytes source,
                              struct saga_buf *out)
{
    size_t before = out->size;
    enum saga_err err = build(table, source, out);
    if (err != SAGA_ERR_OK) {
        out->size = before;
    }
    return err;
}

/* Appends the fields that the table does not write: neighbours in one piece. */
static enum saga_err keep_others(const struct saga_bind_table *table, struct saga_bytes context,
                                 struct saga_buf *out)
{
    struct saga_wire_reader reader = saga_wire_read(context);
    struct saga_wire_field field;
    enum saga_wire_next next = SAGA_WIRE_NEXT_FIELD;
    const uint8_t *piece = reader.at;
    const uint8_t *field_start = reader.at;
    while ((next = saga_wire_next(&reader, &field)) == SAGA_WIRE_NEXT_FIELD) {
        if (writes(table, field.number)) {
            struct saga_bytes kept = {piece, (size_t)(field_start - piece)};
            enum saga_err err = saga_buf_append(out, kept);
            if (err != SAGA_ERR_OK) {
                return err;
            }
            piece = reader.at;
        }
        field_start = reader.at;
    }
    if (next != SAGA_WIRE_NEXT_END) {
        return SAGA_ERR_MALFORMED;
    }
    return saga_buf_append(out, (struct saga_bytes){piece, (size_t)(reader.at - piece)});
}

enum saga_err saga_bind_merge(const struct saga_bind_table *table, struct saga_bytes context,
                              struct saga_bytes reply, struct saga_buf *out)
{
    size_t before = out->size;
    enum saga_err err = keep_others(table, context, out);
    if (err == SAGA_ERR_OK) {
        err = build(table, reply, out);
    }
    if (err == SAGA_ERR_OK && out->size - before > SAGA_CONTEXT_SIZE_MAX) {
        err = SAGA_ERR_LIMIT;
    }
    if (err != SAGA_ERR_OK) {
        out->size = before;
    }
    return err;
}
