/* Every allocation of the room fails once: for N = 1, 2, … the Nth one does, until all goes well.
 * The linker's --wrap puts these functions in place of malloc, calloc and realloc. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <stdlib.h>

#include "common/wire/envelope.h"
#include "common/wire/schema.h"
#include "descriptor_set.h"
#include "saga/v1/command.pb-c.h"

enum { ALLOCATIONS_MAX = 5000 };

static size_t left; /* allocations until one fails; 0: none does */
static size_t failed;

/* NOLINTBEGIN(bugprone-reserved-identifier): the linker wants these names */
void *__real_malloc(size_t size);
void *__real_calloc(size_t count, size_t size);
void *__real_realloc(void *memory, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t count, size_t size);
void *__wrap_realloc(void *memory, size_t size);

static bool fails(void)
{
    if (left > 0 && --left == 0) {
        failed++;
        return true;
    }
    return false;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t count, size_t size)
{
    return fails() ? NULL : __real_calloc(count, size);
}

void *__wrap_realloc(void *memory, size_t size)
{
    return fails() ? NULL : __real_realloc(memory, size);
}

/* NOLINTEND(bugprone-reserved-identifier) */

/* Runs act with the Nth allocation failing, for each N, until none did. It must say NO_MEMORY, or
 * go well without that allocation. */
static void exhaust(enum saga_err (*act)(void))
{
    for (size_t n = 1; n < ALLOCATIONS_MAX; n++) {
        failed = 0;
        left = n;
        enum saga_err err = act();
        left = 0;
        if (failed == 0) {
            assert_int_equal(err, SAGA_ERR_OK);
            assert_true(n > 1);
            return;
        }
        assert_int_equal(err, SAGA_ERR_NO_MEMORY);
    }
    fail();
}

static enum saga_err load(void)
{
    struct saga_schema *schema = NULL;
    struct saga_err_detail detail;
    struct saga_bytes set = {saga_descriptor_set, saga_descriptor_set_size};
    enum saga_err err = saga_schema_load(set, &schema, &detail);
    assert_true((schema != NULL) == (err == SAGA_ERR_OK));
    saga_schema_free(schema);
    return err;
}

/* Encodes and decodes a batch whose payloads need a block of the arena each. */
static enum saga_err pass_batch(void)
{
    static uint8_t payload[SAGA_PAYLOAD_SIZE_MAX];
    static const struct saga_metadata pair = {"key", "value"};
    struct saga_command command = {.step = "pay",
                                   .op = SAGA_OP_CALL,
                                   .method = "a.B/C",
                                   .attempt = 1,
                                   .payload = {payload, sizeof payload},
                                   .metadata = &pair,
                                   .metadata_count = 1};
    struct saga_buf buf = {0};
    struct saga_arena arena = {0};
    struct saga_command *commands = NULL;
    struct saga_status status = saga_status_ok();
    size_t count = 0;
    enum saga_err err = SAGA_ERR_OK;
    for (int i = 0; err == SAGA_ERR_OK && i < 3; i++) {
        err = saga_command_batch_add(&command, &buf);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_command_batch_decode(saga_buf_view(&buf), &arena, &commands, &count, &status);
        assert_true((err == SAGA_ERR_OK) == (status.code == SAGA_CODE_OK));
    }
    saga_buf_fini(&buf);
    saga_arena_fini(&arena);
    return err;
}

static enum saga_err merge(void)
{
    struct saga_bind_table table = {.fields = {{1, 2}}, .count = 1};
    struct saga_buf out = {0};
    enum saga_err err =
        saga_bind_merge(&table, saga_bytes_text("\x08\x01"), saga_bytes_text("\x08\x02"), &out);
    saga_buf_fini(&out);
    return err;
}

static enum saga_err decode_generated(void)
{
    struct saga_arena arena = {0};
    struct saga_bytes bytes = saga_bytes_text("\x08\x05\x12\x02no");
    bool good = saga_message_decode(&saga__v1__status__descriptor, bytes, &arena) != NULL;
    saga_arena_fini(&arena);
    return good ? SAGA_ERR_OK : SAGA_ERR_NO_MEMORY;
}

static void test_load_when_any_allocation_fails_then_no_memory(void **state)
{
    (void)state;
    exhaust(load);
}

static void test_batch_when_any_allocation_fails_then_no_memory(void **state)
{
    (void)state;
    exhaust(pass_batch);
}

static void test_merge_when_any_allocation_fails_then_no_memory(void **state)
{
    (void)state;
    exhaust(merge);
}

static void test_message_when_any_allocation_fails_then_null(void **state)
{
    (void)state;
    exhaust(decode_generated);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_load_when_any_allocation_fails_then_no_memory),
        cmocka_unit_test(test_batch_when_any_allocation_fails_then_no_memory),
        cmocka_unit_test(test_merge_when_any_allocation_fails_then_no_memory),
        cmocka_unit_test(test_message_when_any_allocation_fails_then_null),
    };
    return cmocka_run_group_tests_name("wire memory", tests, NULL, NULL);
}
