/* sagactl audit verify, tail: the two audit streams on Kafka. */
#include "client/verbs.h"

#include <inttypes.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/address.h"
#include "client/audit_check.h"
#include "client/sagas.h"
#include "client/topics.h"
#include "common/base/limits.h"
#include "common/sys/clock.h"

static const struct saga_option audit_options[] = {
    {"idle", "TIME", "2s", "verify: the streams are at their end when nothing came for so long",
     false},
    {"allow-truncated", NULL, "false",
     "verify: the oldest records may be gone (retention, embedded Kafka)", false},
    {"descriptor-set", "FILE", NULL,
     "verify: the schema with the saga definitions; default: the built-in one; versions that it "
     "does not have are asked for from the orchestrator, if it can be found (--address, --dir)",
     false},
    {"since", "TIME", "0s", "tail: from so long ago", false},
    {"saga", "ID", NULL, "tail: only this saga", false},
};

enum { VIOLATIONS_PRINTED_MAX = 100 };

/* What the consumer's thread and the verb share. The check is the consumer's until it is freed. */
struct audit {
    const struct saga_options *options;
    char bootstrap[SAGA_ADDRESS_SIZE_MAX + 1];
    struct saga_kafka_property properties[SAGA_KAFKA_PROPERTIES_MAX];
    struct saga_kafka_consumer *consumer;
    bool json;
    _Atomic int64_t last_us; /* when the last record came */
    _Atomic bool failed;     /* out of memory */
    /* verify */
    struct saga_audit_check *check;
    struct saga_conn *conn; /* to ask for definitions; NULL: nobody */
    json_t *violations;
    uint64_t printed;
    /* tail */
    int64_t since_unix_ms;
    bool only_one;
    struct saga_id only;
    struct saga_arena arena;
};

static int64_t from_beginning(void *user, const char *topic, int32_t partition)
{
    (void)user;
    (void)topic;
    (void)partition;
    return -1;
}

static int audit_start(struct audit *audit, saga_kafka_received *received)
{
    static const char *const topics[] = {"saga-audit", "saga-effects"};
    struct saga_err_detail detail = {{0}};
    int status = saga_address_kafka(audit->options, audit->bootstrap);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    struct saga_kafka_consumer_config config = {
        .kafka = {.bootstrap = audit->bootstrap,
                  .client_id = "sagactl",
                  .properties = audit->properties,
                  .property_count = saga_topics_properties(audit->options, audit->properties)},
        .topics = topics,
        .topic_count = 2,
        .position = from_beginning,
        .received = received,
        .user = audit,
    };
    atomic_store(&audit->last_us, saga_clock_mono_us());
    if (saga_kafka_consumer_start(&config, &audit->consumer, &detail) != SAGA_ERR_OK) {
        return saga_client_fail("%s: %s", audit->bootstrap, detail.text);
    }
    int64_t timeout_ms = 0;
    status = saga_client_duration(audit->options, "timeout", 5000, &timeout_ms);
    int64_t end_us = saga_clock_mono_us() + timeout_ms * 1000;
    while (status == SAGA_EXIT_OK && !saga_kafka_consumer_up(audit->consumer)) {
        if (saga_clock_mono_us() > end_us) {
            saga_client_warn(
                "%s: the topics saga-audit and saga-effects are not there, or nobody answers",
                audit->bootstrap);
            status = SAGA_EXIT_STATUS + SAGA_CODE_UNAVAILABLE;
        }
        struct timespec pause = {0, 20 * 1000000L};
        (void)nanosleep(&pause, NULL);
    }
    return status;
}

/* ---- verify ---- */

static void verify_told(void *user, enum saga_violation violation, const struct saga_id *id,
                        const char *where)
{
    struct audit *audit = user;
    char text[SAGA_ID_TEXT_SIZE] = "-";
    if (id != NULL) {
        saga_id_format(*id, text);
    }
    if (audit->printed++ >= VIOLATIONS_PRINTED_MAX) {
        return;
    }
    if (audit->violations != NULL) {
        (void)json_array_append_new(audit->violations,
                                    json_pack("{s:s,s:s,s:s,s:s}", "kind",
                                              saga_violation_name(violation), "saga", text, "where",
                                              where, "text", saga_violation_text(violation)));
    } else {
        printf("VIOLATION %-10s saga %s %s: %s\n", saga_violation_name(violation), text, where,
               saga_violation_text(violation));
    }
}

/* Thread: the consumer's, which alone uses the connection while it runs. */
static const struct saga_decl *verify_find(void *user, const char *name, const uint8_t *hash)
{
    struct audit *audit = user;
    const struct saga_schema *schema =
        audit->conn == NULL ? NULL : saga_conn_definition(audit->conn, name, hash);
    return schema == NULL ? NULL : saga_schema_decl(schema, name);
}

/* The orchestrator knows what was applied while it runs. Without it the schema given must do. */
static void verify_connect(struct audit *audit)
{
    struct saga_endpoints endpoints;
    struct saga_err_detail detail = {{0}};
    const char *dir = saga_options_text(audit->options, "dir");
    if (saga_options_text(audit->options, "address") == NULL &&
        saga_endpoints_read(dir, &endpoints, &detail) != SAGA_ERR_OK) {
        return;
    }
    if (saga_conn_open_orchestrator(audit->options, &audit->conn) != SAGA_EXIT_OK) {
        saga_client_warn("definitions that were applied cannot be asked for; --descriptor-set FILE "
                         "tells of them");
        audit->conn = NULL;
    }
}

static bool verify_received(void *user, const struct saga_kafka_record *record)
{
    struct audit *audit = user;
    bool effect = strcmp(record->topic, "saga-effects") == 0;
    enum saga_err err = effect ? saga_audit_check_effect(audit->check, record->key, record->value)
                               : saga_audit_check_event(audit->check, record->key, record->value);
    if (err != SAGA_ERR_OK) {
        atomic_store(&audit->failed, true);
    }
    atomic_store(&audit->last_us, saga_clock_mono_us());
    return true;
}

static uint64_t violation_sum(const struct saga_audit_counts *counts)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < SAGA_VIOLATION_COUNT; i++) {
        sum += counts->violations[i];
    }
    return sum;
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

/* "2 definitions were acted on (1 applied, 2 paused, 2 let go on)". */
static void print_acts(const struct saga_audit_counts *counts)
{
    static const char *const names[SAGA_AUDIT_ACT_COUNT] = {
        [SAGA_AUDIT_ACT_APPLIED] = "applied",
        [SAGA_AUDIT_ACT_REMOVED] = "removed",
        [SAGA_AUDIT_ACT_PAUSED] = "paused",
        [SAGA_AUDIT_ACT_RESUMED] = "let go on",
    };
    if (counts->definitions == 0) {
        return;
    }
    printf("%" PRIu64 " definition%s acted on", counts->definitions,
           counts->definitions == 1 ? " was" : "s were");
    const char *before = " (";
    for (size_t i = 0; i < SAGA_AUDIT_ACT_COUNT; i++) {
        if (counts->acts[i] > 0) {
            printf("%s%" PRIu64 " %s", before, counts->acts[i], names[i]);
            before = ", ";
        }
    }
    puts(before[0] == ',' ? ")" : "");
}

static void print_not_judged(uint64_t count)
{
    if (count > 0) {
        printf(
            "not judged: %" PRIu64 " answered call%s without an effect, of saga definitions that "
            "are not known here:\n"
            "  whether the step has an effect, or only reads, cannot be told. Run it while sagad "
            "runs (--address,\n"
            "  --dir), or give the definitions that were applied: --descriptor-set FILE\n",
            count, plural(count));
    }
}

static int verify_exit(const struct saga_audit_counts *counts)
{
    if (violation_sum(counts) > 0) {
        return SAGA_EXIT_FAILED;
    }
    return counts->not_judged > 0 ? SAGA_EXIT_NOT_JUDGED : SAGA_EXIT_OK;
}

static void print_verdict(const struct saga_audit_counts *counts)
{
    static const char *const fine =
        "no violation: ordered, gap-free, chained (S9); decisions and effects agree (S13)";
    if (violation_sum(counts) > 0) {
        puts("VIOLATIONS were found");
    } else if (counts->not_judged > 0) {
        puts("no violation in what could be judged; not all could");
    } else {
        puts(fine);
    }
}

static int verify_print(struct audit *audit, const struct saga_audit_counts *counts)
{
    uint64_t sum = violation_sum(counts);
    if (audit->json) {
        json_t *object = json_pack(
            "{s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:O}", "events",
            (json_int_t)counts->events, "effects", (json_int_t)counts->effects, "redelivered",
            (json_int_t)counts->redelivered, "sagas", (json_int_t)counts->sagas, "completed",
            (json_int_t)counts->completed, "compensated", (json_int_t)counts->compensated, "open",
            (json_int_t)counts->open, "truncated", (json_int_t)counts->truncated, "definitions",
            (json_int_t)counts->definitions, "not_judged", (json_int_t)counts->not_judged,
            "violation_count", (json_int_t)sum, "violations", audit->violations);
        int status = saga_client_print_json(object);
        return status == SAGA_EXIT_OK ? verify_exit(counts) : status;
    }
    if (audit->printed > VIOLATIONS_PRINTED_MAX) {
        printf("… and %" PRIu64 " more\n", audit->printed - VIOLATIONS_PRINTED_MAX);
    }
    printf("%" PRIu64 " event%s and %" PRIu64 " effect%s of %" PRIu64 " saga%s: %" PRIu64
           " completed, %" PRIu64 " compensated, %" PRIu64 " open, %" PRIu64 " truncated; %" PRIu64
           " record%s came more than once\n",
           counts->events, plural(counts->events), counts->effects, plural(counts->effects),
           counts->sagas, plural(counts->sagas), counts->completed, counts->compensated,
           counts->open, counts->truncated, counts->redelivered, plural(counts->redelivered));
    print_acts(counts);
    for (size_t i = 0; i < SAGA_VIOLATION_COUNT; i++) {
        if (counts->violations[i] > 0) {
            printf("  %-10s %6" PRIu64 "  %s\n", saga_violation_name((enum saga_violation)i),
                   counts->violations[i], saga_violation_text((enum saga_violation)i));
        }
    }
    if (counts->beginnings > 0) {
        printf("  the first events of %" PRIu64 " saga%s are not there: if saga-audit has lost its "
               "beginning (it is kept\n"
               "  for so long only, or the embedded Kafka was started anew), run it with "
               "--allow-truncated\n",
               counts->beginnings, counts->beginnings == 1 ? "" : "s");
    }
    print_not_judged(counts->not_judged);
    print_verdict(counts);
    return verify_exit(counts);
}

static int audit_verify(struct audit *audit)
{
    int64_t idle_ms = 0;
    struct saga_audit_counts counts = {0};
    if (saga_client_duration(audit->options, "idle", 2000, &idle_ms) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    audit->violations = audit->json ? json_array() : NULL;
    struct saga_schema *schema = NULL;
    int status = saga_schema_open(saga_options_text(audit->options, "descriptor-set"), &schema);
    struct saga_audit_config config = {
        .allow_truncated = saga_options_on(audit->options, "allow-truncated"),
        .schema = schema,
        .find = verify_find,
        .told = verify_told,
        .user = audit,
    };
    if (status == SAGA_EXIT_OK && saga_audit_check_new(&config, &audit->check) != SAGA_ERR_OK) {
        status = saga_client_fail("out of memory");
    }
    if (status == SAGA_EXIT_OK) {
        verify_connect(audit);
        status = audit_start(audit, verify_received);
    }
    while (status == SAGA_EXIT_OK &&
           saga_clock_mono_us() - atomic_load(&audit->last_us) < idle_ms * 1000) {
        struct timespec pause = {0, 20 * 1000000L};
        (void)nanosleep(&pause, NULL);
    }
    saga_kafka_consumer_free(audit->consumer);
    audit->consumer = NULL;
    if (status == SAGA_EXIT_OK && atomic_load(&audit->failed)) {
        status = saga_client_fail("out of memory");
    }
    if (status == SAGA_EXIT_OK) {
        saga_audit_check_finish(audit->check, &counts);
        status = verify_print(audit, &counts);
    }
    saga_audit_check_free(audit->check);
    saga_conn_close(audit->conn);
    saga_schema_free(schema);
    json_decref(audit->violations);
    return status;
}

/* ---- tail ---- */

static void tail_print_event(const struct audit *audit, const Saga__V1__AuditEvent *event)
{
    char id[SAGA_ID_TEXT_SIZE];
    char time[SAGA_TIME_TEXT_SIZE];
    if (audit->json) {
        json_t *object = saga_view_event_json(event);
        (void)json_object_set_new(object, "stream", json_string("audit"));
        (void)json_dumpf(object, stdout, JSON_COMPACT);
        json_decref(object);
        putchar('\n');
        return;
    }
    saga_view_id_text(&event->saga_id, id);
    saga_client_time_text(event->time_unix_ms, time);
    printf("%s audit  %s %3" PRIu64 " %-9s %s", time, id, event->seq,
           saga_view_event_kind(event->kind), event->step);
    if (event->status != NULL && event->status->code != SAGA_CODE_OK) {
        printf(" %s %s", saga_code_name(event->status->code), event->status->reason);
    }
    if (event->operator_ != NULL) {
        char act[SAGA_WHO_MAX + SAGA_WHY_MAX + 16];
        snprintf(act, sizeof act, "by %s: “%s”", event->operator_->who, event->operator_->why);
        saga_client_clean(act);
        printf(" %s %s%s", saga_view_act(event->operator_->act),
               saga_audit_is_of_definition(event) ? event->definition : "",
               saga_audit_is_of_definition(event) ? " " : "");
        fputs(act, stdout);
    }
    for (size_t i = 0; i < event->n_transitions; i++) {
        const Saga__V1__Transition *move = event->transitions[i];
        if (move->from == SAGA__V1__STEP_STATE__STEP_STATE_UNSPECIFIED) {
            continue; /* at the start every step begins to wait: no news */
        }
        printf(" %s:%s->%s", move->step, saga_view_step_state(move->from),
               saga_view_step_state(move->to));
    }
    printf(" %s\n", saga_audit_is_of_definition(event) ? "" : saga_view_state(event->state));
}

static void tail_print_effect(const struct audit *audit, const Saga__V1__EffectEvent *effect)
{
    char id[SAGA_ID_TEXT_SIZE];
    char time[SAGA_TIME_TEXT_SIZE];
    uint32_t code = effect->status == NULL ? 0 : effect->status->code;
    const char *reason = effect->status == NULL ? "" : effect->status->reason;
    const char *op = effect->op == SAGA__V1__OP__OP_UNDO ? "UNDO" : "CALL";
    saga_view_id_text(&effect->saga_id, id);
    saga_client_time_text(effect->time_unix_ms, time);
    if (audit->json) {
        json_t *object = json_pack("{s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:s,s:b,s:I}", "stream",
                                   "effects", "event_id", effect->event_id, "time", time, "saga_id",
                                   id, "step", effect->step, "op", op, "method", effect->method,
                                   "code", saga_code_name(code), "reason", reason, "empty",
                                   (int)effect->empty, "position", (json_int_t)effect->position);
        (void)json_dumpf(object, stdout, JSON_COMPACT);
        json_decref(object);
        putchar('\n');
        return;
    }
    printf("%s effect %s     %s %s %s %s%s%s (%s)\n", time, id, effect->step, op,
           saga_code_name(code), reason, reason[0] != 0 ? " " : "",
           effect->empty ? "nothing to undo" : "", effect->event_id);
}

static bool tail_wants(const struct audit *audit, const ProtobufCBinaryData *wire,
                       int64_t time_unix_ms)
{
    struct saga_id id;
    if (time_unix_ms < audit->since_unix_ms ||
        saga_client_id(wire->data, wire->len, &id) != SAGA_ERR_OK) {
        return false;
    }
    return !audit->only_one || saga_id_equal(id, audit->only);
}

static bool tail_received(void *user, const struct saga_kafka_record *record)
{
    struct audit *audit = user;
    bool effect = strcmp(record->topic, "saga-effects") == 0;
    saga_arena_clear(&audit->arena);
    const ProtobufCMessage *message = saga_message_decode(
        effect ? &saga__v1__effect_event__descriptor : &saga__v1__audit_event__descriptor,
        record->value, &audit->arena);
    if (message == NULL) {
        saga_client_warn("%s, partition %" PRId32 ", offset %" PRId64
                         ": the record cannot be decoded",
                         record->topic, record->partition, record->offset);
    } else if (effect) {
        const Saga__V1__EffectEvent *event = (const Saga__V1__EffectEvent *)message;
        if (tail_wants(audit, &event->saga_id, event->time_unix_ms)) {
            tail_print_effect(audit, event);
        }
    } else {
        const Saga__V1__AuditEvent *event = (const Saga__V1__AuditEvent *)message;
        if (tail_wants(audit, &event->saga_id, event->time_unix_ms)) {
            tail_print_event(audit, event);
        }
    }
    fflush(stdout);
    return true;
}

static int audit_tail(struct audit *audit)
{
    int64_t since_ms = 0;
    const char *only = saga_options_text(audit->options, "saga");
    if (saga_client_duration(audit->options, "since", 0, &since_ms) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    audit->only_one = only != NULL;
    if (only != NULL && saga_id_parse(only, &audit->only) != SAGA_ERR_OK) {
        return saga_client_usage("--saga %s: it is no saga id", only);
    }
    audit->since_unix_ms = saga_clock_unix_ms() - since_ms;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    (void)pthread_sigmask(SIG_BLOCK, &signals, NULL);
    int status = audit_start(audit, tail_received);
    int got = 0;
    if (status == SAGA_EXIT_OK) {
        (void)sigwait(&signals, &got);
    }
    saga_kafka_consumer_free(audit->consumer);
    saga_arena_fini(&audit->arena);
    return status;
}

static int audit_run(const struct saga_options *options)
{
    int json = saga_client_output_json(options);
    if (json < 0 || saga_client_operands(options, 1, 1, "verify or tail") != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    const char *word = saga_options_operand(options, 0);
    bool verify = strcmp(word, "verify") == 0;
    if (!verify && strcmp(word, "tail") != 0) {
        return saga_client_usage("audit %s: it must be verify or tail", word);
    }
    struct audit *audit = calloc(1, sizeof *audit);
    if (audit == NULL) {
        return saga_client_fail("out of memory");
    }
    audit->options = options;
    audit->json = json == 1;
    int status = verify ? audit_verify(audit) : audit_tail(audit);
    free(audit);
    return status;
}

const struct saga_verb saga_verb_audit = {
    .name = "audit",
    .usage = "verify | tail [--kafka HOST:PORT]",
    .summary = "check or follow what was decided (saga-audit) and done (saga-effects)",
    .epilog =
        "verify reads both topics from their beginning and checks that the events of each saga are "
        "in order, gap-free and chained by\n"
        "SHA-256, and that decisions and effects agree. Which steps only read, and leave no "
        "effect, "
        "the saga definitions tell: the\n"
        "orchestrator's, if it is up, or those of --descriptor-set. What cannot be judged without "
        "them is counted as not judged.\n"
        "Exit status: 0 no violation; 1 violations; 5 no violation, but something was not judged.",
    .options = audit_options,
    .option_count = sizeof audit_options / sizeof audit_options[0],
    .shorts = "o=output",
    .run = audit_run,
};
