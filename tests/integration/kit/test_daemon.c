/* One daemon, productd, over ipc: duplicates, undo first, garbage, group commit, a store that
 * fails, Kafka that is away, stopping. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/limits.h"
#include "common/base/prng.h"
#include "common/sys/clock.h"
#include "tests/integration/kit/daemon.h"

#define SEED                                                                                       \
    "{\"products\":[{\"product_id\":1,\"name\":\"soup\",\"price_cents\":250,\"stock\":1000000},"   \
    "{\"product_id\":2,\"name\":\"none\",\"price_cents\":100,\"stock\":0}]}"
#define STOCK "SELECT stock FROM product WHERE product_id = 1"
#define BALANCE                                                                                    \
    "SELECT stock + (SELECT coalesce(sum(quantity), 0) FROM reservation WHERE released = 0) FROM " \
    "product WHERE product_id = 1"

enum { SERVING = 1, DEGRADED = 2, BURST = 48 };

static int setup(void **state)
{
    struct daemon *daemon = calloc(1, sizeof *daemon);
    assert_non_null(daemon);
    daemon_prepare(daemon, "productd", SEED);
    *state = daemon;
    return 0;
}

static int teardown(void **state)
{
    daemon_remove(*state);
    free(*state);
    pool_clear();
    return 0;
}

static void test_daemon_when_started_then_ready_file_and_health_tell(void **state)
{
    struct daemon *daemon = *state;
    daemon_start(daemon, NULL);
    char *ready = saga_test_read(daemon->ready, NULL);
    char expected[2 * SAGA_TEST_PATH_MAX];
    (void)snprintf(expected, sizeof expected, "{\"name\":\"productd\",\"pid\":%ld,\"nng\":\"%s\"}",
                   (long)daemon->child.pid, daemon->address);
    assert_string_equal(ready, expected);
    free(ready);
    assert_int_equal(daemon_part(daemon, "store"), SERVING);
    assert_int_equal(daemon_part(daemon, "kafka"), DEGRADED); /* none is configured */
    assert_int_equal(daemon_end(daemon, SIGTERM), 0);
}

/* Whoever reads a pid from it may kill it: that of a process that has gone may be another's. */
static void test_daemon_when_stopped_then_its_ready_file_goes_and_when_killed_it_stays(void **state)
{
    struct daemon *daemon = *state;
    daemon_start(daemon, NULL);
    assert_int_equal(access(daemon->ready, F_OK), 0);
    assert_int_equal(daemon_end(daemon, SIGTERM), 0);
    assert_int_equal(access(daemon->ready, F_OK), -1);
    daemon_start(daemon, NULL);
    (void)daemon_end(daemon, SIGKILL);
    assert_int_equal(access(daemon->ready, F_OK), 0);
}

static void test_daemon_when_commands_come_twice_or_undo_first_then_once(void **state)
{
    struct daemon *daemon = *state;
    daemon_start(daemon, NULL);
    struct saga_command call = reserve_of(1, 11, 1, 3);
    assert_false(daemon_call(daemon, &call).replayed);
    struct saga_reply reply = daemon_call(daemon, &call);
    assert_true(reply.replayed);
    assert_int_equal(reply.payload.size, 3); /* total_cents = 750 */
    assert_int_equal(daemon_number(daemon, STOCK), 1000000 - 3);

    struct saga_command undo = release_of(2, 12);
    assert_true(daemon_call(daemon, &undo).empty);
    struct saga_command late = reserve_of(2, 12, 1, 3);
    reply = daemon_call(daemon, &late);
    assert_int_equal(reply.status.code, SAGA_CODE_FAILED_PRECONDITION);
    assert_string_equal(reply.status.reason, "SAGA_UNDONE");

    undo = release_of(1, 11);
    assert_false(daemon_call(daemon, &undo).empty);
    assert_true(daemon_call(daemon, &undo).replayed);
    assert_int_equal(daemon_number(daemon, STOCK), 1000000);
    assert_int_equal(daemon_number(daemon, "SELECT count(*) FROM barrier"), 3);
}

/* ---- Garbage ---- */

static void test_daemon_when_messages_are_garbage_then_a_status_and_it_lives(void **state)
{
    struct daemon *daemon = *state;
    daemon_start(daemon, NULL);
    struct saga_command call = reserve_of(1, 11, 1, 3);
    struct saga_buf good = {0};
    assert_int_equal(saga_command_batch_add(&call, &good), SAGA_ERR_OK);
    uint64_t random = 20261123;
    size_t count = 0;
    for (int i = 0; i < 300; i++) { /* cut, and with a byte changed */
        struct saga_buf bad = {0};
        assert_int_equal(saga_buf_append(&bad, saga_buf_view(&good)), SAGA_ERR_OK);
        bad.data[saga_prng_below(&random, bad.size)] ^=
            (uint8_t)(1u << saga_prng_below(&random, 8));
        struct saga_bytes bytes = {.data = bad.data,
                                   .size = (size_t)saga_prng_below(&random, bad.size)};
        struct saga_reply *replies =
            daemon_send(daemon, i % 2 == 0 ? bytes : saga_buf_view(&bad), &count);
        assert_in_range(count, 1, SAGA_BATCH_COUNT_MAX);
        assert_true(replies[0].status.code <= SAGA_CODE_UNAUTHENTICATED);
        saga_buf_fini(&bad);
    }
    for (int i = 0; i < 300; i++) {
        uint8_t noise[64];
        for (size_t at = 0; at < sizeof noise; at++) {
            noise[at] = (uint8_t)saga_prng_next(&random);
        }
        struct saga_bytes bytes = {.data = noise,
                                   .size = (size_t)saga_prng_below(&random, sizeof noise)};
        (void)daemon_send(daemon, bytes, &count);
        assert_int_equal(count, 1);
    }
    saga_buf_fini(&good);
    assert_int_equal(daemon_part(daemon, "store"), SERVING);
    assert_int_equal(daemon_number(daemon, BALANCE), 1000000);
}

static void test_daemon_when_message_is_oversized_then_resource_exhausted(void **state)
{
    struct daemon *daemon = *state;
    daemon_start(daemon, NULL);
    uint8_t *large = calloc(1, SAGA_MESSAGE_SIZE_MAX + 1);
    assert_non_null(large);
    size_t count = 0;
    struct saga_bytes bytes = {.data = large, .size = SAGA_MESSAGE_SIZE_MAX + 1};
    struct saga_reply *replies = daemon_send(daemon, bytes, &count);
    assert_int_equal(count, 1);
    assert_int_equal(replies[0].status.code, SAGA_CODE_RESOURCE_EXHAUSTED);
    assert_non_null(strstr(replies[0].status.message, "SAGA_MESSAGE_SIZE_MAX"));
    free(large);
    assert_int_equal(daemon_part(daemon, "store"), SERVING);
}

static void test_daemon_when_one_command_of_a_batch_is_bad_then_only_that_one(void **state)
{
    struct daemon *daemon = *state;
    daemon_start(daemon, NULL);
    struct saga_command commands[5] = {reserve_of(1, 11, 1, 1), reserve_of(2, 12, 2, 1),
                                       reserve_of(3, 13, 77, 1), reserve_of(4, 14, 1, 1),
                                       reserve_of(5, 15, 1, 1)};
    commands[3].method = "product.v1.ProductService/Nothing";
    size_t count = 0;
    struct saga_reply *replies = daemon_batch(daemon, commands, 5, &count);
    assert_int_equal(count, 5);
    assert_int_equal(replies[0].status.code, SAGA_CODE_OK);
    assert_string_equal(replies[1].status.reason, "OUT_OF_STOCK");
    assert_string_equal(replies[2].status.reason, "PRODUCT_UNKNOWN");
    assert_int_equal(replies[3].status.code, SAGA_CODE_UNIMPLEMENTED);
    assert_int_equal(replies[4].status.code, SAGA_CODE_OK);
    assert_int_equal(daemon_number(daemon, STOCK), 1000000 - 2);
}

/* ---- Group commit ---- */

struct burst {
    _Atomic int answered;
    _Atomic int ok;
};

static void burst_done(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes)
{
    struct burst *burst = user;
    struct saga_arena arena = {0};
    struct saga_reply *replies = NULL;
    struct saga_status status;
    size_t count = 0;
    if (outcome == SAGA_RPC_REPLIED &&
        saga_reply_batch_decode(bytes, &arena, &replies, &count, &status) == SAGA_ERR_OK &&
        count == 1 && replies[0].status.code == SAGA_CODE_OK) {
        burst->ok++;
    }
    saga_arena_fini(&arena);
    burst->answered++;
}

static bool burst_over(void *arg)
{
    struct burst *burst = arg;
    return burst->answered == BURST;
}

static void test_group_commit_when_a_batch_comes_then_one_commit(void **state)
{
    struct daemon *daemon = *state;
    daemon_start(daemon, NULL);
    struct saga_command commands[SAGA_BATCH_COUNT_MAX];
    for (uint64_t i = 0; i < SAGA_BATCH_COUNT_MAX; i++) {
        commands[i] = reserve_of(i, (int64_t)i + 1, 1, 1);
    }
    int64_t before = daemon_counter(daemon, "commits");
    size_t count = 0;
    (void)daemon_batch(daemon, commands, SAGA_BATCH_COUNT_MAX, &count);
    assert_int_equal(count, SAGA_BATCH_COUNT_MAX);
    assert_int_equal(daemon_counter(daemon, "commits"), before + 1);
    assert_int_equal(daemon_number(daemon, STOCK), 1000000 - SAGA_BATCH_COUNT_MAX);
}

static void test_group_commit_when_many_requests_wait_then_few_commits(void **state)
{
    struct daemon *daemon = *state;
    daemon_start(daemon, NULL);
    struct burst burst = {0};
    int64_t before = daemon_counter(daemon, "commits");
    saga_test_signal(&daemon->child, SIGSTOP); /* so that all of them wait */
    for (uint64_t i = 0; i < BURST; i++) {
        struct saga_command call = reserve_of(i, (int64_t)i + 1, 1, 1);
        struct saga_buf bytes = {0};
        assert_int_equal(saga_command_batch_add(&call, &bytes), SAGA_ERR_OK);
        assert_int_equal(
            saga_rpc_client_send(daemon->client, saga_buf_view(&bytes), 20000, burst_done, &burst),
            SAGA_ERR_OK);
        saga_buf_fini(&bytes);
    }
    saga_test_signal(&daemon->child, SIGCONT);
    assert_true(saga_test_until(burst_over, &burst, 20000));
    assert_int_equal(burst.ok, BURST);
    assert_in_range(daemon_counter(daemon, "commits") - before, 1, BURST / 2);
}

static void test_group_commit_when_nothing_is_written_then_no_commit(void **state)
{
    struct daemon *daemon = *state;
    daemon_start(daemon, NULL);
    struct saga_command refused = reserve_of(1, 1, 1, 1);
    (void)daemon_call(daemon, &refused);
    int64_t before = daemon_counter(daemon, "commits");
    for (int i = 0; i < 10; i++) {
        assert_true(daemon_call(daemon, &refused).replayed);
    }
    assert_int_equal(daemon_counter(daemon, "commits"), before);
}

/* ---- Starting, stopping, failing ---- */

static void test_seed_when_started_again_then_rows_stay_as_they_are(void **state)
{
    struct daemon *daemon = *state;
    daemon_start(daemon, NULL);
    struct saga_command call = reserve_of(1, 11, 1, 3);
    (void)daemon_call(daemon, &call);
    assert_int_equal(daemon_end(daemon, SIGTERM), 0);
    daemon_start(daemon, NULL);
    assert_int_equal(daemon_number(daemon, STOCK), 1000000 - 3);
    assert_true(daemon_call(daemon, &call).replayed);
    assert_int_equal(daemon_end(daemon, SIGINT), 0);
}

static void test_daemon_when_kafka_is_away_then_it_serves_and_is_degraded(void **state)
{
    struct daemon *daemon = *state;
    daemon_start(daemon, (const char *const[]){"--kafka", "127.0.0.1:1", NULL});
    struct saga_command call = reserve_of(1, 11, 1, 3);
    assert_int_equal(daemon_call(daemon, &call).status.code, SAGA_CODE_OK);
    assert_int_equal(daemon_part(daemon, "kafka"), DEGRADED);
    int64_t start = saga_test_now_ms();
    assert_int_equal(daemon_end(daemon, SIGTERM), 0);
    assert_in_range(saga_test_now_ms() - start, 0, 10 * 1000);
    assert_int_equal(daemon_number(daemon, "SELECT position FROM relay_cursor"), 0);
}

static int run(const char *const argv[], const char *log)
{
    struct saga_test_child child = {0};
    saga_test_spawn(&child, argv, log);
    assert_true(saga_test_wait(&child, 20000));
    assert_true(WIFEXITED(child.status));
    return WEXITSTATUS(child.status);
}

static void assert_said(const char *log, const char *text)
{
    char *said = saga_test_read(log, NULL);
    assert_non_null(said);
    if (strstr(said, text) == NULL) {
        fail_msg("\"%s\" is not in: %s", text, said);
    }
    free(said);
}

static void
test_daemon_when_options_are_wrong_then_usage_and_when_it_cannot_start_then_why(void **state)
{
    static const char program[] = SAGA_BIN_DIR "/productd";
    struct daemon *daemon = *state;
    const char *log = daemon->log;
    assert_int_equal(run((const char *const[]){program, "--help", NULL}, log), 0);
    assert_said(log, "--barrier-retention-days");
    assert_int_equal(run((const char *const[]){program, "--version", NULL}, log), 0);
    assert_int_equal(run((const char *const[]){program, "--nonsense", NULL}, log), 2);
    assert_int_equal(run((const char *const[]){program, "--log-level", "loud", NULL}, log), 2);
    assert_int_equal(
        run((const char *const[]){program, "--barrier-retention-days", "0", NULL}, log), 2);
    const char *const nowhere[] = {program,    "--data",        "/nonexistent/x.db",
                                   "--listen", daemon->address, NULL};
    assert_int_equal(run(nowhere, log), 1);
    assert_said(log, "/nonexistent/x.db");
    char seed[SAGA_TEST_PATH_MAX];
    (void)saga_test_path(&daemon->dir, "bad.json", seed);
    saga_test_write(seed, "{\"products\":[{\"product_id\":1}]}", 31);
    const char *const bad_seed[] = {program,         "--data", daemon->data, "--listen",
                                    daemon->address, "--seed", seed,         NULL};
    assert_int_equal(run(bad_seed, log), 1);
    assert_said(log, "products[0].name is missing");
}

static void test_daemon_when_its_store_fails_then_nothing_is_acknowledged_and_it_stops(void **state)
{
    struct daemon *daemon = *state;
    daemon_start(daemon, NULL); /* makes the tables without a limit */
    assert_int_equal(daemon_end(daemon, SIGTERM), 0);
    (void)unlink(daemon->ready);
    /* A file that may not grow over 256 KiB: to the daemon, a disk that is full. */
    char command[6 * SAGA_TEST_PATH_MAX];
    (void)snprintf(command, sizeof command,
                   "trap '' XFSZ; ulimit -f 512; exec '%s/productd' --listen '%s' --data '%s' "
                   "--ready-file '%s' 2>'%s'",
                   SAGA_BIN_DIR, daemon->address, daemon->data, daemon->ready, daemon->log);
    saga_test_spawn(&daemon->child, (const char *const[]){"/bin/sh", "-c", command, NULL}, NULL);
    assert_int_equal(saga_rpc_client_wait(daemon->client, 20000), SAGA_ERR_OK);
    int64_t acknowledged = 0;
    uint32_t code = SAGA_CODE_OK;
    for (uint64_t turn = 0; code == SAGA_CODE_OK && turn < 1000; turn++) {
        struct saga_command commands[64];
        for (uint64_t i = 0; i < 64; i++) {
            uint64_t number = turn * 64 + i;
            commands[i] = reserve_of(number, (int64_t)number + 1, 1, 1);
        }
        size_t count = 0;
        struct saga_reply *replies = daemon_batch(daemon, commands, 64, &count);
        code = replies[0].status.code;
        acknowledged += code == SAGA_CODE_OK ? 64 : 0;
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(replies[i].status.code, code);
        }
        pool_clear();
    }
    assert_int_equal(code, SAGA_CODE_UNAVAILABLE);
    assert_true(saga_test_wait(&daemon->child, 20000));
    assert_true(WIFEXITED(daemon->child.status));
    assert_int_equal(WEXITSTATUS(daemon->child.status), 1);
    assert_said(daemon->log, "event=store_failed");
    assert_true(acknowledged > 0);
    daemon_start(daemon, NULL);
    assert_int_equal(daemon_number(daemon, STOCK), 1000000 - acknowledged);
}

#define CASE(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_daemon_when_started_then_ready_file_and_health_tell),
        CASE(test_daemon_when_stopped_then_its_ready_file_goes_and_when_killed_it_stays),
        CASE(test_daemon_when_commands_come_twice_or_undo_first_then_once),
        CASE(test_daemon_when_messages_are_garbage_then_a_status_and_it_lives),
        CASE(test_daemon_when_message_is_oversized_then_resource_exhausted),
        CASE(test_daemon_when_one_command_of_a_batch_is_bad_then_only_that_one),
        CASE(test_group_commit_when_a_batch_comes_then_one_commit),
        CASE(test_group_commit_when_many_requests_wait_then_few_commits),
        CASE(test_group_commit_when_nothing_is_written_then_no_commit),
        CASE(test_seed_when_started_again_then_rows_stay_as_they_are),
        CASE(test_daemon_when_kafka_is_away_then_it_serves_and_is_degraded),
        CASE(test_daemon_when_options_are_wrong_then_usage_and_when_it_cannot_start_then_why),
        CASE(test_daemon_when_its_store_fails_then_nothing_is_acknowledged_and_it_stops),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
