/* kill -9 and SIGTERM in the middle of a load, at moments drawn from a printed seed: what was
 * acknowledged is there, nothing is done twice. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "common/sys/clock.h"
#include "tests/integration/kit/daemon.h"

#define SEED                                                                                       \
    "{\"products\":[{\"product_id\":1,\"name\":\"soup\",\"price_cents\":250,\"stock\":1000000}]}"

enum { BATCHES = 32, COMMANDS = 16, ROUNDS = 10, PAUSE_US_MAX = 400 };

/* One batch of orders of its own. */
struct batch {
    _Atomic bool waiting;
    _Atomic bool acknowledged; /* all of its replies were OK */
};

struct load {
    struct daemon daemon;
    struct batch batches[BATCHES];
    uint64_t first; /* number of the first command */
    _Atomic int waiting;
};

struct ask {
    struct load *load;
    struct batch *batch;
};

static void done(void *user, enum saga_rpc_outcome outcome, struct saga_bytes bytes)
{
    struct ask *ask = user;
    struct saga_arena arena = {0};
    struct saga_reply *replies = NULL;
    struct saga_status status;
    size_t count = 0;
    bool ok = outcome == SAGA_RPC_REPLIED &&
              saga_reply_batch_decode(bytes, &arena, &replies, &count, &status) == SAGA_ERR_OK &&
              count == COMMANDS;
    for (size_t i = 0; ok && i < count; i++) {
        ok = replies[i].status.code == SAGA_CODE_OK;
    }
    saga_arena_fini(&arena);
    ask->batch->acknowledged = ok;
    ask->batch->waiting = false;
    ask->load->waiting--;
    free(ask);
}

static struct saga_command command_at(const struct load *load, size_t batch, size_t i)
{
    uint64_t number = load->first + batch * COMMANDS + i;
    return reserve_of(number, (int64_t)number + 1, 1, 2);
}

static void send_batch(struct load *load, size_t at)
{
    struct saga_buf bytes = {0};
    for (size_t i = 0; i < COMMANDS; i++) {
        struct saga_command call = command_at(load, at, i);
        assert_int_equal(saga_command_batch_add(&call, &bytes), SAGA_ERR_OK);
    }
    struct ask *ask = malloc(sizeof *ask);
    assert_non_null(ask);
    *ask = (struct ask){.load = load, .batch = &load->batches[at]};
    load->batches[at].waiting = true;
    load->waiting++;
    if (saga_rpc_client_send(load->daemon.client, saga_buf_view(&bytes), 3000, done, ask) !=
        SAGA_ERR_OK) {
        load->batches[at].waiting = false;
        load->waiting--;
        free(ask);
    }
    saga_buf_fini(&bytes);
}

static bool is_quiet(void *arg)
{
    struct load *load = arg;
    return load->waiting == 0;
}

static void pause_us(int64_t us)
{
    struct timespec wait = {.tv_sec = us / 1000000, .tv_nsec = us % 1000000 * 1000};
    (void)nanosleep(&wait, NULL);
}

/* Asks for the whole round again: the acknowledged ones must be replays, the rest is done now. */
static int64_t settle(struct load *load)
{
    int64_t acknowledged = 0;
    for (size_t at = 0; at < BATCHES; at++) {
        struct saga_command commands[COMMANDS];
        for (size_t i = 0; i < COMMANDS; i++) {
            commands[i] = command_at(load, at, i);
        }
        size_t count = 0;
        struct saga_reply *replies = daemon_batch(&load->daemon, commands, COMMANDS, &count);
        assert_int_equal(count, COMMANDS);
        for (size_t i = 0; i < count; i++) {
            assert_int_equal(replies[i].status.code, SAGA_CODE_OK);
            assert_true(replies[i].replayed || !load->batches[at].acknowledged);
            assert_int_equal(replies[i].replayed,
                             replies[0].replayed); /* a batch is one transaction */
        }
        acknowledged += load->batches[at].acknowledged ? 1 : 0;
    }
    return acknowledged;
}

static void run_round(struct load *load, int sig, uint64_t *random)
{
    size_t end = (size_t)saga_prng_below(random, BATCHES);
    for (size_t at = 0; at < BATCHES; at++) {
        load->batches[at].acknowledged = false;
        if (at <= end) {
            send_batch(load, at);
            pause_us((int64_t)saga_prng_below(random, PAUSE_US_MAX));
        }
    }
    int status = daemon_end(&load->daemon, sig);
    assert_int_equal(status, sig == SIGTERM ? 0 : SIGKILL);
    assert_true(saga_test_until(is_quiet, load, 20000));
    daemon_start(&load->daemon, NULL);
    int64_t acknowledged = settle(load);
    print_message("signal %d: of %zu batches %lld were acknowledged before\n", sig, end + 1,
                  (long long)acknowledged);
    load->first += BATCHES * COMMANDS;
    int64_t taken = (int64_t)load->first * 2;
    assert_int_equal(daemon_number(&load->daemon, "SELECT stock FROM product WHERE product_id = 1"),
                     1000000 - taken);
    assert_int_equal(daemon_number(&load->daemon, "SELECT sum(quantity) FROM reservation"), taken);
    assert_int_equal(daemon_number(&load->daemon, "SELECT count(*) FROM barrier"),
                     (int64_t)load->first);
    assert_int_equal(daemon_number(&load->daemon, "SELECT max(position) FROM barrier"),
                     (int64_t)load->first);
    pool_clear();
}

static void run_signal(int sig)
{
    const char *given = getenv("SAGA_TEST_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 10) : (uint64_t)saga_clock_mono_us();
    print_message("SAGA_TEST_SEED=%llu\n", (unsigned long long)seed);
    static struct load load;
    load = (struct load){0};
    daemon_prepare(&load.daemon, "productd", SEED);
    daemon_start(&load.daemon, NULL);
    for (int round = 0; round < ROUNDS; round++) {
        run_round(&load, sig, &seed);
    }
    daemon_remove(&load.daemon);
}

static void
test_daemon_when_killed_under_load_then_acknowledged_is_there_and_nothing_twice(void **state)
{
    (void)state;
    run_signal(SIGKILL);
}

static void test_daemon_when_stopped_under_load_then_acknowledged_is_there_and_exit_0(void **state)
{
    (void)state;
    run_signal(SIGTERM);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(
            test_daemon_when_killed_under_load_then_acknowledged_is_there_and_nothing_twice),
        cmocka_unit_test(test_daemon_when_stopped_under_load_then_acknowledged_is_there_and_exit_0),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
