/* The envelope's four decoders. What one takes, it encodes; and what it encodes, it takes and
 * encodes to the same bytes. The first byte says which. */
#include "common/base/assert.h"
#include "common/wire/envelope.h"
#include "tests/fuzz/fuzz.h"

typedef bool (*recode)(struct saga_bytes bytes, struct saga_arena *arena, struct saga_buf *out);

static bool recode_command(struct saga_bytes bytes, struct saga_arena *arena, struct saga_buf *out)
{
    struct saga_command command;
    struct saga_status status;
    if (saga_command_decode(bytes, arena, &command, &status) != SAGA_ERR_OK) {
        return false;
    }
    enum saga_err err = saga_command_encode(&command, out);
    SAGA_ASSERT(err == SAGA_ERR_OK);
    return true;
}

static bool recode_reply(struct saga_bytes bytes, struct saga_arena *arena, struct saga_buf *out)
{
    struct saga_reply reply;
    struct saga_status status;
    if (saga_reply_decode(bytes, arena, &reply, &status) != SAGA_ERR_OK) {
        return false;
    }
    enum saga_err err = saga_reply_encode(&reply, out);
    SAGA_ASSERT(err == SAGA_ERR_OK);
    return true;
}

static bool recode_commands(struct saga_bytes bytes, struct saga_arena *arena, struct saga_buf *out)
{
    struct saga_command *commands = NULL;
    size_t count = 0;
    struct saga_status status;
    if (saga_command_batch_decode(bytes, arena, &commands, &count, &status) != SAGA_ERR_OK) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        size_t before = out->size;
        enum saga_err err = saga_command_batch_add(&commands[i], out);
        SAGA_ASSERT(err == SAGA_ERR_OK);
        SAGA_ASSERT(out->size - before <= saga_command_size_bound(&commands[i]));
    }
    return true;
}

static bool recode_replies(struct saga_bytes bytes, struct saga_arena *arena, struct saga_buf *out)
{
    struct saga_reply *replies = NULL;
    size_t count = 0;
    struct saga_status status;
    if (saga_reply_batch_decode(bytes, arena, &replies, &count, &status) != SAGA_ERR_OK) {
        return false;
    }
    for (size_t i = 0; i < count; i++) {
        size_t before = out->size;
        enum saga_err err = saga_reply_batch_add(&replies[i], out);
        SAGA_ASSERT(err == SAGA_ERR_OK);
        SAGA_ASSERT(out->size - before <= saga_reply_size_bound(&replies[i]));
    }
    return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const recode recodes[] = {recode_command, recode_reply, recode_commands, recode_replies};
    if (size == 0) {
        return 0;
    }
    recode one = recodes[data[0] % 4];
    struct saga_arena arena = {0};
    struct saga_buf first = {0};
    struct saga_buf second = {0};
    if (one((struct saga_bytes){data + 1, size - 1}, &arena, &first)) {
        bool good = one(saga_buf_view(&first), &arena, &second);
        SAGA_ASSERT(good);
        SAGA_ASSERT(saga_bytes_equal(saga_buf_view(&first), saga_buf_view(&second)));
    }
    saga_buf_fini(&first);
    saga_buf_fini(&second);
    saga_arena_fini(&arena);
    return 0;
}
