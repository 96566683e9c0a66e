/* The loop: one thread that owns runtime and store. A turn takes what is in the inbox, commits
 * once, sends, answers. */
#include <inttypes.h>

#include "common/base/assert.h"
#include "common/sys/clock.h"
#include "common/sys/log.h"
#include "orchestrator/daemon/daemon.h"

enum {
    IDLE_WAIT_MS = 1000,   /* longest sleep: health and metrics stay fresh */
    DRAIN_MS = 5000,       /* at the end: for participants' answers that are out */
    DRAIN_KAFKA_MS = 5000, /* at the end: for the relays */
    DRAIN_STEP_US = 20 * 1000,
};

static void take_input(struct daemon *daemon, struct input *input, int64_t now_unix_ms)
{
    switch (input->kind) {
    case INPUT_BATCH:
        admin_take(daemon->admin, input, daemon->runtime, now_unix_ms);
        break;
    case INPUT_ANSWERED:
        (void)transport_take(daemon->transport, input, daemon->runtime);
        break;
    case INPUT_REPLY:
        replies_take(input, daemon->runtime);
        break;
    case INPUT_ADVANCED:
        relays_take(input, daemon->runtime);
        break;
    }
}

static int64_t wait_us(const struct daemon *daemon)
{
    int64_t now = saga_clock_unix_ms();
    int64_t due = saga_runtime_next_due(daemon->runtime);
    int64_t admin_due = admin_next_due(daemon->admin);
    due = admin_due != 0 && (due == 0 || admin_due < due) ? admin_due : due;
    int64_t transport_due = transport_next_due(daemon->transport);
    due = transport_due != 0 && (due == 0 || transport_due < due) ? transport_due : due;
    int64_t wait_ms = due == 0 ? IDLE_WAIT_MS : due - now;
    wait_ms = wait_ms > IDLE_WAIT_MS ? IDLE_WAIT_MS : wait_ms;
    return wait_ms < 0 ? 0 : wait_ms * 1000;
}

/* What was applied in the turn is durable now, and what nothing needs any more may go. */
static void settle(struct daemon *daemon)
{
    const char *topics[SAGA_REPLY_TOPICS_MAX];
    if (daemon->versions != NULL) {
        replies_want(daemon->replies, topics, versions_reply_topics(daemon->versions, topics));
        versions_settle(daemon->versions);
    }
}

static void take_turn(struct daemon *daemon, struct saga_inbox_entry *entries, bool force)
{
    bool failed_before = saga_runtime_failed(daemon->runtime);
    struct saga_err_detail detail = {{0}};
    int64_t now = saga_clock_unix_ms();
    int64_t begun_us = saga_clock_mono_us();
    bool worked = entries != NULL;
    saga_runtime_turn_begin(daemon->runtime, now);
    versions_turn(daemon->versions);
    while (entries != NULL) {
        struct saga_inbox_entry *next = entries->next;
        take_input(daemon, (struct input *)entries, now);
        entries = next;
    }
    enum saga_err err = saga_runtime_turn_end(daemon->runtime, force, &detail);
    if (err != SAGA_ERR_OK && !failed_before) {
        saga_log(SAGA_LOG_ERROR, err == SAGA_ERR_FENCED ? "fenced" : "store_failed",
                 "error=%s msg=\"%s\" next=\"%s\"", saga_err_name(err), detail.text,
                 err == SAGA_ERR_FENCED
                     ? "another orchestrator has taken the store over; stop this one"
                     : "nothing is accepted any more; mend the cause and restart");
    }
    admin_after_turn(daemon->admin, daemon->runtime, now);
    transport_flush(daemon->transport);
    settle(daemon);
    health_publish(&daemon->health, daemon->runtime, saga_inbox_count(daemon->inbox));
    if (worked) {
        saga_histogram_add(&daemon->health.turn, saga_clock_mono_us() - begun_us);
    }
}

/* The doors are closed; what is out may still come in, what is accepted is durable. */
static void drain(struct daemon *daemon)
{
    atomic_store(&daemon->health.stopping, true);
    saga_log(SAGA_LOG_INFO, "stopping", "live=%zu", saga_runtime_live_count(daemon->runtime));
    saga_rpc_server_close_door(daemon->server);
    daemon->server_closed = true;
    transport_hold(daemon->transport); /* else every answer would make another command */
    int64_t until = saga_clock_mono_us() + DRAIN_MS * 1000;
    while (saga_clock_mono_us() < until && atomic_load(&daemon->signals) < 2 &&
           (saga_inbox_count(daemon->inbox) > 0 || transport_outstanding(daemon->transport) > 0)) {
        take_turn(daemon, saga_inbox_take(daemon->inbox, SAGA_TURN_COUNT_MAX, DRAIN_STEP_US),
                  false);
    }
    if (daemon->relays != NULL && relays_up(daemon->relays) && atomic_load(&daemon->signals) < 2 &&
        relays_drain(daemon->relays, DRAIN_KAFKA_MS) != SAGA_ERR_OK) {
        saga_log(SAGA_LOG_WARN, "stopping",
                 "msg=\"Kafka has not taken all; the rest is published after the next start\"");
    }
    admin_dismiss(daemon->admin);
    take_turn(daemon, saga_inbox_take(daemon->inbox, SAGA_TURN_COUNT_MAX, 0), true);
}

void daemon_empty_inbox(struct daemon *daemon)
{
    struct saga_inbox_entry *entries = NULL;
    while (daemon->runtime != NULL && daemon->admin != NULL &&
           (entries = saga_inbox_take(daemon->inbox, SAGA_TURN_COUNT_MAX, 0)) != NULL) {
        take_turn(daemon, entries, true);
    }
    if (daemon->admin != NULL) {
        admin_dismiss(daemon->admin); /* the last turns may have kept some who wait */
    }
}

int daemon_run(struct daemon *daemon)
{
    while (atomic_load(&daemon->signals) == 0) {
        take_turn(daemon, saga_inbox_take(daemon->inbox, SAGA_TURN_COUNT_MAX, wait_us(daemon)),
                  false);
    }
    drain(daemon);
    const struct saga_runtime_counts *counts = saga_runtime_counts(daemon->runtime);
    saga_log(SAGA_LOG_INFO, "stopped",
             "started=%" PRIu64 " completed=%" PRIu64 " compensated=%" PRIu64
             " live=%zu turns=%" PRIu64 " commits=%" PRIu64,
             counts->started, counts->completed, counts->compensated,
             saga_runtime_live_count(daemon->runtime), counts->turns, counts->commits);
    return saga_runtime_failed(daemon->runtime) ? 1 : 0;
}
