#include "orchestrator/daemon/health.h"

#include <stdio.h>

/* Names of missing topics in a part's detail. */
enum { MISSING_SIZE = 200 };

void health_publish(struct health *health, const struct saga_runtime *runtime, size_t inbox_count)
{
    const struct saga_runtime_counts *counts = saga_runtime_counts(runtime);
    atomic_store(&health->live, (int64_t)saga_runtime_live_count(runtime));
    atomic_store(&health->started, (int64_t)counts->started);
    atomic_store(&health->completed, (int64_t)counts->completed);
    atomic_store(&health->compensated, (int64_t)counts->compensated);
    atomic_store(&health->parked, (int64_t)counts->parked);
    atomic_store(&health->stalled, (int64_t)counts->stalled);
    atomic_store(&health->refused, (int64_t)counts->refused);
    atomic_store(&health->events, (int64_t)counts->events);
    atomic_store(&health->commands, (int64_t)counts->commands);
    atomic_store(&health->turns, (int64_t)counts->turns);
    atomic_store(&health->commits, (int64_t)counts->commits);
    atomic_store(&health->inbox, (int64_t)inbox_count);
    atomic_store(&health->paused, (int64_t)saga_runtime_paused_count(runtime));
    atomic_store(&health->dead_letters, (int64_t)replies_dead_count(health->replies));
    atomic_store(&health->audit_position, relays_position(health->relays, false));
    atomic_store(&health->outbox_position, relays_position(health->relays, true));
    atomic_store(&health->failure, (int)saga_runtime_failure(runtime));
}

static struct health_part *add_part(struct health_report *report, const char *name,
                                    enum health_state state)
{
    struct health_part *part = &report->parts[report->part_count++];
    (void)snprintf(part->name, sizeof part->name, "%s", name);
    part->state = state;
    part->detail[0] = '\0';
    if (state > report->state) {
        report->state = state;
    }
    return part;
}

static void add_kafka(const struct health *health, struct health_report *report)
{
    if (health->relays == NULL) {
        struct health_part *part = add_part(report, "kafka", HEALTH_DEGRADED);
        (void)snprintf(part->detail, sizeof part->detail,
                       "not configured (--kafka): undos and audit events wait in the outbox");
        return;
    }
    char missing[MISSING_SIZE];
    bool full = false;
    relays_missing(health->relays, missing, sizeof missing, &full);
    if (missing[0] != '\0') {
        struct health_part *part = add_part(report, "kafka", HEALTH_DEGRADED);
        (void)snprintf(part->detail, sizeof part->detail,
                       "missing topics: %s; %s (sagactl topics apply creates them)", missing,
                       full ? "undos of all sagas wait in the outbox"
                            : "records for them wait, others go on");
        return;
    }
    bool out = relays_up(health->relays);
    bool in = replies_up(health->replies);
    struct health_part *part =
        add_part(report, "kafka", out && in ? HEALTH_SERVING : HEALTH_DEGRADED);
    if (!out || !in) {
        (void)snprintf(
            part->detail, sizeof part->detail, "%s: undos and audit events wait in the outbox",
            !out ? "no broker can be reached, or a record is refused (see the log)"
                 : "the reply topics cannot be read (sagactl topics apply creates them)");
    }
}

void health_make_report(const struct health *health, struct health_report *report)
{
    report->state = HEALTH_SERVING;
    report->part_count = 0;
    enum saga_err failure = (enum saga_err)atomic_load(&health->failure);
    bool serving =
        atomic_load(&health->ready) && !atomic_load(&health->stopping) && failure == SAGA_ERR_OK;
    struct health_part *loop =
        add_part(report, "orchestrator", serving ? HEALTH_SERVING : HEALTH_NOT_SERVING);
    (void)snprintf(loop->detail, sizeof loop->detail, "%s",
                   serving                          ? ""
                   : atomic_load(&health->stopping) ? "stopping"
                   : failure != SAGA_ERR_OK         ? "accepts nothing any more: see store"
                                                    : "recovering");
    struct health_part *store =
        add_part(report, "store", failure == SAGA_ERR_OK ? HEALTH_SERVING : HEALTH_NOT_SERVING);
    if (failure == SAGA_ERR_FENCED) {
        (void)snprintf(store->detail, sizeof store->detail,
                       "fenced: another orchestrator has taken the store over; this one changes "
                       "nothing any more");
    } else if (failure != SAGA_ERR_OK) {
        (void)snprintf(store->detail, sizeof store->detail,
                       "a write failed (%s); nothing is accepted until a restart (see the log)",
                       saga_err_text(failure));
    }
    if (!atomic_load(&health->ready)) {
        return; /* the other parts are still being made */
    }
    int64_t paused = atomic_load(&health->paused);
    if (paused > 0) {
        /* Somebody wants it so: the daemon is as it should be. */
        struct health_part *part = add_part(report, "definitions", HEALTH_SERVING);
        (void)snprintf(part->detail, sizeof part->detail,
                       "%lld paused: no saga of them starts, no step begins (sagactl definitions)",
                       (long long)paused);
    }
    add_kafka(health, report);
    struct transport_look look;
    for (size_t i = 0; transport_participant(health->transport, i, &look); i++) {
        if (!look.there) {
            continue;
        }
        struct health_part *part =
            add_part(report, look.service, look.connected ? HEALTH_SERVING : HEALTH_DEGRADED);
        if (!look.connected) {
            (void)snprintf(part->detail, sizeof part->detail, "not connected: %s",
                           look.address[0] == '\0'
                               ? "no address (--participant, or sagactl apply --participant)"
                               : look.address);
        }
    }
}

enum saga_err health_render_metrics(const struct health *health, struct saga_buf *out)
{
#define COUNTER(member, name, help)                                                                \
    {                                                                                              \
        SAGA_METRIC_COUNTER, name, NULL, help, &health->member, NULL                               \
    }
#define GAUGE(member, name, help)                                                                  \
    {                                                                                              \
        SAGA_METRIC_GAUGE, name, NULL, help, &health->member, NULL                                 \
    }
    const struct saga_metric metrics[] = {
        COUNTER(started, "saga_started_total", "Sagas started."),
        {SAGA_METRIC_COUNTER, "saga_ended_total", "state=\"completed\"", "Sagas ended.",
         &health->completed, NULL},
        {SAGA_METRIC_COUNTER, "saga_ended_total", "state=\"compensated\"", "Sagas ended.",
         &health->compensated, NULL},
        COUNTER(parked, "saga_parked_total", "Sagas parked."),
        COUNTER(stalled, "saga_stalled_total", "Steps that became stalled."),
        COUNTER(refused, "saga_refused_total", "Starts and acts refused."),
        COUNTER(events, "saga_events_total", "Events taken by the engine."),
        COUNTER(commands, "saga_commands_total", "Commands decided on."),
        COUNTER(turns, "saga_turns_total", "Turns of the loop."),
        COUNTER(commits, "saga_commits_total", "Store transactions."),
        COUNTER(dead_letters, "saga_dead_letters_total", "Reply records put to saga-dead-letter."),
        GAUGE(live, "saga_live", "Sagas in flight."),
        GAUGE(paused, "saga_definitions_paused", "Saga definitions that are paused."),
        GAUGE(inbox, "saga_inbox_entries", "Entries that wait for the loop."),
        GAUGE(audit_position, "saga_audit_published_position",
              "Last audit event known to be on Kafka."),
        GAUGE(outbox_position, "saga_outbox_published_position",
              "Last command record known to be on Kafka."),
        {SAGA_METRIC_HISTOGRAM, "saga_turn_seconds", NULL,
         "Turns, from taking their entries to having answered.", NULL, &health->turn},
    };
#undef COUNTER
#undef GAUGE
    return saga_metrics_render(metrics, sizeof metrics / sizeof metrics[0], out);
}
