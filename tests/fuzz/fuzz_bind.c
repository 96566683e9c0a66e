/* Bind tables over bytes from anybody: what is built or merged is well formed, what the table does
 * not write is kept, and merging the same reply again changes nothing. The first bytes are the
 * table: their count, then pairs of small field numbers; then the size of the context. */
#include "common/base/assert.h"
#include "common/wire/wire.h"
#include "tests/fuzz/fuzz.h"

enum { FIELDS_MAX = 16 };

/* Tells whether bytes are fields, one after the other. */
static bool well_formed(struct saga_bytes bytes)
{
    struct saga_wire_reader reader = saga_wire_read(bytes);
    struct saga_wire_field field;
    enum saga_wire_next next = SAGA_WIRE_NEXT_FIELD;
    while (next == SAGA_WIRE_NEXT_FIELD) {
        next = saga_wire_next(&reader, &field);
    }
    return next == SAGA_WIRE_NEXT_END;
}

/* Takes a table: sorted by from, no field written twice, as the schema makes them. */
static bool take_table(struct saga_bytes *bytes, struct saga_bind_table *table)
{
    if (bytes->size == 0) {
        return false;
    }
    size_t count = bytes->data[0] % FIELDS_MAX;
    if (bytes->size < 2 + 2 * count) {
        return false;
    }
    bool written[256] = {false};
    uint32_t from = 1;
    for (size_t i = 0; i < count; i++) {
        from += bytes->data[1 + 2 * i] % 4;
        uint8_t to = bytes->data[2 + 2 * i];
        if (to > 0 && !written[to]) {
            written[to] = true;
            table->fields[table->count++] = (struct saga_bind_field){.from = from, .to = to};
        }
    }
    bytes->data += 1 + 2 * count;
    bytes->size -= 1 + 2 * count;
    return true;
}

static void merge(const struct saga_bind_table *table, struct saga_bytes context,
                  struct saga_bytes reply)
{
    struct saga_buf once = {0};
    struct saga_buf twice = {0};
    enum saga_err err = saga_bind_merge(table, context, reply, &once);
    SAGA_ASSERT((err == SAGA_ERR_OK) == (well_formed(context) && well_formed(reply)));
    if (err == SAGA_ERR_OK) {
        SAGA_ASSERT(well_formed(saga_buf_view(&once)));
        err = saga_bind_merge(table, saga_buf_view(&once), reply, &twice);
        SAGA_ASSERT(err == SAGA_ERR_OK);
        SAGA_ASSERT(saga_bytes_equal(saga_buf_view(&once), saga_buf_view(&twice)));
    } else {
        SAGA_ASSERT(once.size == 0);
    }
    saga_buf_fini(&once);
    saga_buf_fini(&twice);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct saga_bytes bytes = {data, size};
    struct saga_bind_table table = {.count = 0};
    if (size > SAGA_CONTEXT_SIZE_MAX / 32 || !take_table(&bytes, &table) || bytes.size == 0) {
        return 0; /* what is merged stays under the limit of a context */
    }
    size_t cut = bytes.data[0] % bytes.size;
    struct saga_bytes context = {bytes.data + 1, cut};
    struct saga_bytes reply = {bytes.data + 1 + cut, bytes.size - 1 - cut};
    struct saga_buf built = {0};
    enum saga_err err = saga_bind_build(&table, context, &built);
    SAGA_ASSERT((err == SAGA_ERR_OK) == well_formed(context));
    SAGA_ASSERT(well_formed(saga_buf_view(&built)));
    saga_buf_fini(&built);
    merge(&table, context, reply);
    return 0;
}
