#include "verify/replay/replay.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/wire/envelope.h"
#include "orchestrator/codec/codec.h"
#include "verify/replay/internal.h"

enum {
    TIME_MS_MAX_BITS = 53, /* a recorded time above this is no time, and would overflow deadlines */
    CHANGED_SIZE = 256,
};

const char *saga_replay_kind_name(enum saga_replay_kind kind)
{
    static const char *const names[] = {"DIFFERENT", "BROKEN", "DEFINITION"};
    return kind < SAGA_REPLAY_KIND_COUNT ? names[kind] : "";
}

enum saga_err saga_replay_new(const struct saga_replay_config *config, struct saga_replay **replay)
{
    *replay = calloc(1, sizeof **replay);
    if (*replay == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    (*replay)->config = *config;
    if (config->engine == NULL) {
        (*replay)->config.engine = saga_step;
    }
    return SAGA_ERR_OK;
}

void saga_replay_free(struct saga_replay *replay)
{
    if (replay == NULL) {
        return;
    }
    saga_buf_fini(&replay->context);
    saga_buf_fini(&replay->merged);
    saga_buf_fini(&replay->encoded);
    saga_arena_fini(&replay->arena);
    saga_arena_fini(&replay->texts_arena);
    free(replay);
}

const struct saga_replay_counts *saga_replay_counts(const struct saga_replay *replay)
{
    return &replay->counts;
}

const struct saga *saga_replay_state(const struct saga_replay *replay)
{
    return replay->saga.state == SAGA_STATE_NONE ? NULL : &replay->saga;
}

struct saga_bytes saga_replay_context(const struct saga_replay *replay)
{
    return saga_buf_view(&replay->context);
}

/* ---- Findings ---- */

static void tell(struct saga_replay *replay, const struct saga_replay_finding *partial)
{
    struct saga_replay_finding finding = *partial;
    finding.id = replay->id;
    finding.definition = replay->definition;
    finding.event = finding.event == NULL ? "" : finding.event;
    finding.fields = replay->fields;
    finding.field_count = replay->field_count;
    replay->done = true;
    replay->counts.found[finding.kind] += 1;
    if (replay->config.told != NULL) {
        replay->config.told(replay->config.user, &finding);
    }
}

void saga_replay_break(struct saga_replay *replay, uint64_t seq, const char *message)
{
    SAGA_ASSERT(replay->begun);
    if (!replay->done) {
        tell(replay, &(struct saga_replay_finding){
                         .kind = SAGA_REPLAY_BROKEN, .seq = seq, .message = message});
    }
}

static const char *keep_text(struct saga_replay *replay, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = saga_arena_take(&replay->texts_arena, size);
    if (copy == NULL) {
        replay->err = SAGA_ERR_NO_MEMORY;
        return "";
    }
    memcpy(copy, text, size);
    return copy;
}

void saga_replay_compare(struct saga_replay *replay, const char *name, const char *recorded,
                         const char *now)
{
    if (replay->done || strcmp(recorded, now) == 0 ||
        replay->field_count == SAGA_REPLAY_FIELDS_MAX) {
        return;
    }
    replay->fields[replay->field_count++] = (struct saga_replay_field){
        .name = keep_text(replay, name),
        .recorded = keep_text(replay, recorded),
        .now = keep_text(replay, now),
    };
}

/* ---- A saga ---- */

static void begin(struct saga_replay *replay, struct saga_id id, const char *definition)
{
    SAGA_ASSERT(!replay->begun);
    replay->begun = true;
    if (replay->config.place != NULL) {
        saga_id_format(id, replay->config.place->saga);
        replay->config.place->seq = 0;
    }
    replay->done = false;
    replay->err = SAGA_ERR_OK;
    replay->id = id;
    (void)snprintf(replay->definition, sizeof replay->definition, "%s", definition);
    replay->saga = (struct saga){0};
    replay->version = NULL;
    replay->stream = false;
    replay->field_count = 0;
    replay->start_key[0] = '\0';
    replay->cause_reason[0] = '\0';
    replay->cause_message[0] = '\0';
    saga_buf_clear(&replay->context);
    saga_arena_clear(&replay->texts_arena);
}

bool saga_replay_begin(struct saga_replay *replay, const struct saga_replay_subject *subject,
                       const char *why)
{
    begin(replay, subject->id, subject->definition_name);
    replay->ended = subject->ended;
    replay->version = saga_catalog_find(replay->config.catalog, subject->definition_hash);
    if (replay->version == NULL) {
        const uint8_t *hash = subject->definition_hash;
        replay_text_clear(&replay->headline);
        replay_text_add(&replay->headline, "its definition (%02x%02x%02x%02x…) %s%s", hash[0],
                        hash[1], hash[2], hash[3],
                        why == NULL || why[0] == '\0' ? "is not there" : "cannot be used: ",
                        why == NULL ? "" : why);
        tell(replay, &(struct saga_replay_finding){.kind = SAGA_REPLAY_DEFINITION,
                                                   .message = replay->headline.at});
    }
    return replay->version != NULL;
}

void saga_replay_begin_stream(struct saga_replay *replay, struct saga_id stream,
                              const char *definition)
{
    begin(replay, stream, definition);
    replay->saga.id = stream;
    replay->stream = true;
    replay->paused = false;
    replay->removed = false;
    replay->act_unix_ms = 0;
    replay->who[0] = '\0';
    replay->why[0] = '\0';
}

/* Breaks with a formatted message. */
bool replay_broken(struct saga_replay *replay, uint64_t seq, const char *format, ...)
{
    char message[SAGA_ERR_DETAIL_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    saga_replay_break(replay, seq, message);
    return false;
}

/* Checks that an event stands in its place: number, saga, chain. */
static bool check_place(struct saga_replay *replay, uint64_t seq, const Saga__V1__AuditEvent *event)
{
    const uint8_t *prev = event->prev_hash.data;
    size_t prev_size = event->prev_hash.len;
    uint64_t wanted = replay->saga.seq + 1;
    if (seq != wanted) {
        return replay_broken(replay, wanted, "event %" PRIu64 " is missing; %" PRIu64 " comes next",
                             wanted, seq);
    }
    if (event->seq != seq) {
        return replay_broken(replay, seq, "it says that it is number %" PRIu64, event->seq);
    }
    if (event->saga_id.len != SAGA_ID_SIZE ||
        memcmp(event->saga_id.data, replay->id.b, SAGA_ID_SIZE) != 0) {
        return replay_broken(replay, seq, "it is of another saga");
    }
    bool linked = seq == 1 ? prev_size == 0
                           : prev_size == SAGA_DIGEST_SIZE &&
                                 memcmp(prev, replay->last_hash, SAGA_DIGEST_SIZE) == 0;
    if (!linked) {
        return replay_broken(replay, seq,
                             "the chain is broken: its prev_hash is not the hash of event "
                             "%" PRIu64,
                             seq - 1);
    }
    bool start = event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_START;
    if (!replay->stream && start != (seq == 1)) {
        return replay_broken(replay, seq, "a saga begins with START, and only once");
    }
    if (event->time_unix_ms < 0 || event->time_unix_ms >> TIME_MS_MAX_BITS != 0) {
        return replay_broken(replay, seq, "its time is none: %" PRId64, event->time_unix_ms);
    }
    return true;
}

/* What a reply brings into the context, as the runtime does it before it asks the engine. */
static enum saga_err merge_reply(struct saga_replay *replay, struct saga_event *ev,
                                 struct saga_audit_input *in, struct saga_err_detail *bad,
                                 struct saga_bytes *context)
{
    *context = saga_buf_view(&replay->context);
    if (ev->kind != SAGA_EVENT_REPLY || ev->op != SAGA_OP_CALL || ev->code != SAGA_CODE_OK) {
        return SAGA_ERR_OK;
    }
    const struct saga_codec_ops *codec = saga_codec_port();
    saga_buf_clear(&replay->merged);
    enum saga_err err = codec->check_reply(replay->version, ev->step, ev->op, in->payload, bad);
    if (err == SAGA_ERR_OK) {
        err = codec->merge_reply(replay->version, ev->step, *context, in->payload, &replay->merged,
                                 bad);
    }
    if (err == SAGA_ERR_NO_MEMORY) {
        return err;
    }
    if (err != SAGA_ERR_OK) {
        ev->code = SAGA_CODE_INTERNAL;
        in->reason = "BAD_REPLY";
        in->message = bad->text;
        in->payload = (struct saga_bytes){0};
        return SAGA_ERR_OK;
    }
    *context = saga_buf_view(&replay->merged);
    return SAGA_ERR_OK;
}

/* The saga that it is a step of, as recorded. */
static struct saga_id parent_of(const Saga__V1__AuditEvent *event)
{
    struct saga_id id = {{0}};
    if (event->parent_saga_id.len == SAGA_ID_SIZE) {
        memcpy(id.b, event->parent_saga_id.data, SAGA_ID_SIZE);
    }
    return id;
}

struct saga_audit_input replay_input(struct saga_replay *replay, const Saga__V1__AuditEvent *event,
                                     const struct saga_event *ev)
{
    const Saga__V1__Status *status = event->cause != NULL ? event->cause->status : event->status;
    return (struct saga_audit_input){
        .version = replay->version,
        .saga = &replay->saga,
        .ev = ev,
        .up = &replay->update,
        .reason = status == NULL ? "" : status->reason,
        .message = status == NULL ? "" : status->message,
        .payload = {event->payload.data, event->payload.len},
        .replayed = event->replayed,
        .empty = event->empty,
        .who = event->operator_ == NULL ? "" : event->operator_->who,
        .why = event->operator_ == NULL ? "" : event->operator_->why,
        .start_key = event->start_key,
        .parent_step = event->parent_step,
        .parent_id = parent_of(event),
        .prev_hash = replay->last_hash,
    };
}

static bool out_of_memory(struct saga_replay *replay)
{
    replay->err = SAGA_ERR_NO_MEMORY;
    replay->done = true;
    return false;
}

/* Compares the fields of an event that has been encoded again. Gives false when memory is out. */
static bool compare_fields(struct saga_replay *replay, const Saga__V1__AuditEvent *recorded,
                           struct saga_bytes encoded)
{
    const Saga__V1__AuditEvent *now = (const Saga__V1__AuditEvent *)saga_message_decode(
        &saga__v1__audit_event__descriptor, encoded, &replay->arena);
    if (now == NULL) {
        return out_of_memory(replay);
    }
    for (const struct replay_event_field *field = replay_event_fields; field->name != NULL;
         field++) {
        replay_text_clear(&replay->texts[0]);
        replay_text_clear(&replay->texts[1]);
        field->write(recorded, &replay->texts[0]);
        field->write(now, &replay->texts[1]);
        saga_replay_compare(replay, field->name, replay->texts[0].at, replay->texts[1].at);
    }
    return true;
}

/* The event has been encoded again, and the bytes differ: tells where. */
static bool differs(struct saga_replay *replay, const Saga__V1__AuditEvent *recorded,
                    struct saga_bytes encoded)
{
    if (!compare_fields(replay, recorded, encoded)) {
        return false;
    }
    bool decided = replay->field_count > 0;
    if (!decided) {
        saga_replay_compare(replay, "encoding", "(other bytes with the same meaning)",
                            "(the bytes of this program)");
    }
    replay_write_event(recorded, &replay->headline);
    tell(replay, &(struct saga_replay_finding){
                     .kind = SAGA_REPLAY_DIFFERENT,
                     .seq = recorded->seq,
                     .time_unix_ms = recorded->time_unix_ms,
                     .event = replay->headline.at,
                     .message = decided ? "this program decides something else on the event"
                                        : "this program writes the event with other bytes"});
    return false;
}

/* The engine does not take what it had taken. */
static bool not_taken(struct saga_replay *replay, const Saga__V1__AuditEvent *recorded)
{
    char now[CHANGED_SIZE];
    (void)snprintf(now, sizeof now, "%s%s",
                   replay->update.verdict == SAGA_VERDICT_REFUSED ? "refused: " : "ignored",
                   replay->update.verdict == SAGA_VERDICT_REFUSED ? replay->update.refusal : "");
    saga_replay_compare(replay, "verdict", "taken", now);
    replay_write_event(recorded, &replay->headline);
    tell(replay, &(struct saga_replay_finding){.kind = SAGA_REPLAY_DIFFERENT,
                                               .seq = recorded->seq,
                                               .time_unix_ms = recorded->time_unix_ms,
                                               .event = replay->headline.at,
                                               .message = "this program does not take the event"});
    return false;
}

/* ---- The engine, which may give up ---- */

static void on_assertion(void *user, const char *condition, const char *file, int line)
{
    struct saga_replay *replay = user;
    const char *name = strrchr(file, '/');
    (void)snprintf(replay->last_words, sizeof replay->last_words, "%s (%s:%d)", condition,
                   name == NULL ? file : name + 1, line);
    longjmp(replay->gave_up, 1);
}

/* Asks the engine about an event; gives false when an assertion of its own failed. It is a function
 * of its arguments alone and holds nothing, so it can be left half-way. */
static bool ask_engine(struct saga_replay *replay, const struct saga_event *ev)
{
    if (setjmp(replay->gave_up) != 0) {
        return false; /* nobody listens any more: saga_assert_fail saw to that */
    }
    saga_assert_catch(on_assertion, replay);
    replay->config.engine(&replay->version->def, &replay->saga, ev, &replay->update);
    saga_assert_catch(NULL, NULL);
    return true;
}

/* Tells what was recorded where the engine of this program comes to a state that cannot be. */
static bool gave_up(struct saga_replay *replay, const Saga__V1__AuditEvent *recorded,
                    const struct saga_audit_input *in)
{
    char message[2 * SAGA_ERR_DETAIL_SIZE];
    const char *wrong = NULL;
    /* When all is decided the engine looks at the state as a whole: then it can be said what it
     * decided, and what is wrong with it. */
    if (replay->saga.seq == recorded->seq && replay->update.verdict == SAGA_VERDICT_TAKEN) {
        wrong = saga_invariant(&replay->version->def, &replay->saga);
        saga_buf_clear(&replay->encoded);
        if (saga_audit_encode(in, &replay->encoded, replay->last_hash) != SAGA_ERR_OK) {
            return out_of_memory(replay);
        }
        if (!compare_fields(replay, recorded, saga_buf_view(&replay->encoded))) {
            return false;
        }
    }
    bool compared = replay->field_count > 0;
    (void)snprintf(message, sizeof message,
                   "this program's engine gives up at the event; its assertion: %s%s%s",
                   replay->last_words, wrong == NULL ? "" : ": ", wrong == NULL ? "" : wrong);
    for (const struct replay_event_field *field = replay_event_fields;
         !compared && field->name != NULL; field++) {
        replay_text_clear(&replay->texts[0]);
        field->write(recorded, &replay->texts[0]);
        if (field->decided && replay->texts[0].size > 0) {
            saga_replay_compare(replay, field->name, replay->texts[0].at, "(the engine gives up)");
        }
    }
    replay_write_event(recorded, &replay->headline);
    tell(replay, &(struct saga_replay_finding){.kind = SAGA_REPLAY_DIFFERENT,
                                               .seq = recorded->seq,
                                               .time_unix_ms = recorded->time_unix_ms,
                                               .event = replay->headline.at,
                                               .message = message});
    return false;
}

/* ---- An event ---- */

/* What the next events and the stored row depend on. */
static bool keep(struct saga_replay *replay, const Saga__V1__AuditEvent *event,
                 const struct saga_event *ev)
{
    if (ev->kind == SAGA_EVENT_START) {
        struct saga_bytes input = {event->payload.data, event->payload.len};
        saga_digest(input, replay->start_digest);
        (void)snprintf(replay->start_key, sizeof replay->start_key, "%s", event->start_key);
        (void)snprintf(replay->parent_step, sizeof replay->parent_step, "%s", event->parent_step);
        replay->parent_id = parent_of(event);
    }
    if (replay->update.merge_reply) {
        struct saga_buf before = replay->context;
        replay->context = replay->merged;
        replay->merged = before;
    }
    if (replay->update.cause_set && event->cause != NULL && event->cause->status != NULL) {
        (void)snprintf(replay->cause_reason, sizeof replay->cause_reason, "%s",
                       event->cause->status->reason);
        (void)snprintf(replay->cause_message, sizeof replay->cause_message, "%s",
                       event->cause->status->message);
    }
    return true;
}

bool replay_compare_event(struct saga_replay *replay, const Saga__V1__AuditEvent *event,
                          const struct saga_audit_input *in, struct saga_bytes bytes)
{
    saga_buf_clear(&replay->encoded);
    if (saga_audit_encode(in, &replay->encoded, replay->last_hash) != SAGA_ERR_OK) {
        return out_of_memory(replay);
    }
    return saga_bytes_equal(saga_buf_view(&replay->encoded), bytes) ||
           differs(replay, event, saga_buf_view(&replay->encoded));
}

/* Decides again on an event that stands in its place. */
static bool decide(struct saga_replay *replay, const Saga__V1__AuditEvent *event,
                   struct saga_bytes bytes)
{
    struct saga_err_detail detail = {{0}};
    struct saga_err_detail bad = {{0}};
    struct saga_event ev;
    if (saga_event_from_audit(event, replay->version, &ev, &detail) != SAGA_ERR_OK) {
        return replay_broken(replay, event->seq, "%s", detail.text);
    }
    struct saga_audit_input in = replay_input(replay, event, &ev);
    if (ev.kind == SAGA_EVENT_START &&
        saga_buf_append(&replay->context, in.payload) != SAGA_ERR_OK) {
        return out_of_memory(replay);
    }
    struct saga_bytes context;
    if (merge_reply(replay, &ev, &in, &bad, &context) != SAGA_ERR_OK) {
        return out_of_memory(replay);
    }
    ev.when_mask = saga_codec_port()->when_mask(replay->version, context);
    replay->counts.events += 1;
    if (!ask_engine(replay, &ev)) {
        return gave_up(replay, event, &in);
    }
    if (replay->update.verdict != SAGA_VERDICT_TAKEN) {
        return not_taken(replay, event);
    }
    return replay_compare_event(replay, event, &in, bytes) && keep(replay, event, &ev);
}

bool saga_replay_event(struct saga_replay *replay, uint64_t seq, struct saga_bytes event)
{
    SAGA_ASSERT(replay->begun);
    if (replay->done) {
        return false;
    }
    if (replay->config.place != NULL) {
        replay->config.place->seq = seq;
    }
    uint8_t hash[SAGA_DIGEST_SIZE];
    if (saga_audit_verify(event, hash) != SAGA_ERR_OK) {
        return replay_broken(replay, seq, "its hash is not that of its bytes (%zu of them)",
                             event.size);
    }
    saga_arena_clear(&replay->arena);
    const Saga__V1__AuditEvent *decoded = (const Saga__V1__AuditEvent *)saga_message_decode(
        &saga__v1__audit_event__descriptor, event, &replay->arena);
    if (decoded == NULL) {
        return replay_broken(replay, seq, "its bytes are no audit event");
    }
    return check_place(replay, seq, decoded) &&
           (replay->stream ? replay_act(replay, decoded, event) : decide(replay, decoded, event));
}

/* The record's texts: what a crash before now may have cut is cut here too, since both writers cut
 * at the same limits. The traceparent is not in the log. */
static void compare_record(struct saga_replay *replay, const struct saga_row *row)
{
    struct saga_texts texts;
    replay->stored = (struct saga){0};
    if (saga_record_decode(row->record, &replay->stored, &texts) != SAGA_ERR_OK) {
        saga_replay_break(replay, 0, "its stored record cannot be read");
        return;
    }
    const char *wrong = saga_invariant(&replay->version->def, &replay->stored);
    if (wrong != NULL) {
        (void)replay_broken(replay, 0, "its stored record cannot be: %s", wrong);
        return;
    }
    replay_compare_states(replay, replay->version, &replay->stored, &replay->saga);
    saga_replay_compare(replay, "reason of the cause", texts.cause_reason, replay->cause_reason);
    saga_replay_compare(replay, "message of the cause", texts.cause_message, replay->cause_message);
    saga_replay_compare(replay, "step of the parent", texts.parent_step, replay->parent_step);
    replay_compare_bytes(replay, "parent", (struct saga_bytes){texts.parent_id.b, SAGA_ID_SIZE},
                         (struct saga_bytes){replay->parent_id.b, SAGA_ID_SIZE});
}

void saga_replay_row(struct saga_replay *replay, const struct saga_row *row)
{
    SAGA_ASSERT(replay->begun);
    if (replay->done) {
        return;
    }
    if (replay->saga.seq != row->seq) {
        (void)replay_broken(replay, replay->saga.seq + 1,
                            "event %" PRIu64 " is missing; the saga has %" PRIu64,
                            replay->saga.seq + 1, row->seq);
        return;
    }
    compare_record(replay, row);
    struct saga_bytes digests[2] = {{row->last_hash, SAGA_DIGEST_SIZE},
                                    {replay->last_hash, SAGA_DIGEST_SIZE}};
    replay_compare_bytes(replay, "hash of the last event", digests[0], digests[1]);
    replay_compare_bytes(replay, "digest of the input",
                         (struct saga_bytes){row->start_digest, SAGA_DIGEST_SIZE},
                         (struct saga_bytes){replay->start_digest, SAGA_DIGEST_SIZE});
    replay_compare_bytes(replay, "context", row->context, saga_buf_view(&replay->context));
    saga_replay_compare(replay, "start key", row->start_key, replay->start_key);
    saga_replay_compare(replay, "column state", saga_state_name((enum saga_state)row->state),
                        saga_state_name((enum saga_state)replay->saga.state));
    saga_replay_compare(replay, "column live", row->live ? "yes" : "no",
                        saga_ended(&replay->saga) ? "no" : "yes");
    replay_compare_number(replay, "column created", row->created_unix_ms,
                          replay->saga.created_unix_ms);
    replay_compare_number(replay, "column ended", row->ended_unix_ms, replay->saga.ended_unix_ms);
}

enum saga_err saga_replay_end(struct saga_replay *replay)
{
    SAGA_ASSERT(replay->begun);
    if (replay->err == SAGA_ERR_OK && !replay->done && replay->field_count > 0) {
        tell(replay, &(struct saga_replay_finding){
                         .kind = SAGA_REPLAY_DIFFERENT,
                         .message = "the state that comes out is not the stored one"});
    } else if (replay->err == SAGA_ERR_OK && !replay->done && !replay->stream) {
        replay->counts.same += 1;
    }
    replay->begun = false;
    if (replay->stream) {
        replay->counts.streams += 1;
        return replay->err;
    }
    replay->counts.sagas += 1;
    if (replay->ended) {
        replay->counts.ended += 1;
    } else {
        replay->counts.in_flight += 1;
    }
    return replay->err;
}
