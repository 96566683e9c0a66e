/* The admin API's reads: sagas, definitions, health, schema. Between turns: what they tell is
 * durable. */
#include <stdio.h>
#include <string.h>

#include "common/base/limits.h"
#include "common/wire/schema.h"
#include "common/wire/wire.h"
#include "orchestrator/codec/codec.h"
#include "orchestrator/daemon/admin_internal.h"
#include "orchestrator/daemon/versions.h"
#include "saga/v1/health.pb-c.h"
#include "saga/v1/orchestrator.pb-c.h"
#include "saga/v1/reflection.pb-c.h"

enum { ACTION_SIZE = 640 };

/* One read being answered: memory comes from its batch's arena. */
struct reading {
    struct admin *admin;
    struct slot *slot;
    struct saga_runtime *runtime;
    struct saga_arena *arena;
    struct saga_buf payload;
    struct saga_err_detail detail;
    enum saga_err err;
};

static void *take(struct reading *reading, size_t size)
{
    void *memory = saga_arena_take(reading->arena, size > 0 ? size : 1);
    if (memory == NULL) {
        reading->err = SAGA_ERR_NO_MEMORY;
    }
    return memory;
}

static char *take_text(struct reading *reading, const char *text)
{
    size_t size = strlen(text) + 1;
    char *copy = take(reading, size);
    if (copy != NULL) {
        memcpy(copy, text, size);
    }
    return copy;
}

static ProtobufCBinaryData take_bytes(struct reading *reading, const void *data, size_t size)
{
    ProtobufCBinaryData bytes = {size, take(reading, size)};
    if (bytes.data != NULL && size > 0) {
        memcpy(bytes.data, data, size);
    } else {
        bytes.len = 0;
    }
    return bytes;
}

/* Appends an encoded message as a field of the payload: a message is the concatenation of its
 * fields. */
static void append_field(struct reading *reading, uint32_t number, struct saga_bytes message)
{
    uint8_t head[2 * SAGA_VARINT_SIZE_MAX];
    uint8_t *at = saga_wire_put_varint(head, (uint64_t)number << 3 | SAGA_WIRE_LEN);
    at = saga_wire_put_varint(at, message.size);
    if (reading->err == SAGA_ERR_OK) {
        reading->err =
            saga_buf_append(&reading->payload, (struct saga_bytes){head, (size_t)(at - head)});
    }
    if (reading->err == SAGA_ERR_OK) {
        reading->err = saga_buf_append(&reading->payload, message);
    }
}

static void encode(struct reading *reading, const ProtobufCMessage *message)
{
    if (reading->err == SAGA_ERR_OK) {
        reading->err = saga_message_encode(message, &reading->payload);
    }
}

static Saga__V1__Status *make_status(struct reading *reading, uint32_t code, const char *reason,
                                     const char *message)
{
    Saga__V1__Status *status = take(reading, sizeof *status);
    if (status != NULL) {
        saga__v1__status__init(status);
        status->code = code;
        status->reason = take_text(reading, reason);
        status->message = take_text(reading, message);
    }
    return status;
}

/* Finds the saga that a step has started. Returns false when there is none. */
static bool find_child(struct reading *reading, const struct saga_look *look, uint8_t step,
                       struct saga_child *child)
{
    enum saga_err err = saga_runtime_child(reading->runtime, look, step, child, &reading->detail);
    if (err != SAGA_ERR_OK && err != SAGA_ERR_NOT_FOUND && reading->err == SAGA_ERR_OK) {
        reading->err = err;
    }
    return err == SAGA_ERR_OK;
}

static Saga__V1__StepView *make_step(struct reading *reading, const struct saga_look *look,
                                     uint8_t i)
{
    const struct saga_step_run *run = &look->saga.steps[i];
    Saga__V1__StepView *view = take(reading, sizeof *view);
    if (view == NULL) {
        return NULL;
    }
    saga__v1__step_view__init(view);
    view->state = (Saga__V1__StepState)run->state;
    view->call_attempts = run->call_attempts;
    view->undo_attempts = run->undo_attempts;
    view->due_unix_ms = run->due_unix_ms;
    view->stalled = run->stalled;
    if (run->last_code != SAGA_CODE_OK) {
        view->last_status = make_status(reading, run->last_code, "", "");
    }
    if (look->version != NULL) {
        const struct saga_decl *decl = look->version->decl;
        const struct saga_step_decl *step = &decl->steps[i];
        view->name = take_text(reading, step->name);
        view->call = take_text(reading, step->call == NULL ? "" : step->call->full_name);
        view->undo = take_text(reading, step->undo == NULL ? "" : step->undo->full_name);
        view->pivot = step->pivot;
        view->saga = take_text(reading, step->child == NULL ? "" : step->child->name);
    }
    struct saga_child child;
    if (find_child(reading, look, i, &child)) {
        view->child_saga_id = take_bytes(reading, child.id.b, SAGA_ID_SIZE);
    }
    return view;
}

/* Names who is asked to do a step's present command. */
static const char *asked_service(const struct saga_look *look, uint8_t step)
{
    if (look->version == NULL) {
        return "its participant";
    }
    const struct saga_decl *decl = look->version->decl;
    const struct saga_step_decl *declared = &decl->steps[step];
    if (declared->child != NULL) {
        return declared->child->name;
    }
    const struct saga_service *service = look->saga.steps[step].state == SAGA_STEP_UNDOING
                                             ? declared->undo_service
                                             : declared->call_service;
    return service == NULL ? "its participant" : service->name;
}

/* What to do about a step that is tried again and again; NULL: nothing. */
static char *stalled_action(struct reading *reading, const struct saga_look *look, uint8_t step)
{
    const struct saga_step_run *run = &look->saga.steps[step];
    const char *name = look->version == NULL ? "?" : look->version->step_names[step];
    char text[ACTION_SIZE];
    struct saga_child child;
    if (run->wait == SAGA_WAIT_CHILD) {
        char id[SAGA_ID_TEXT_SIZE];
        if (!find_child(reading, look, step, &child) || child.state != SAGA_STATE_PARKED) {
            return NULL;
        }
        saga_id_format(child.id, id);
        (void)snprintf(text, sizeof text,
                       "step %s runs the saga %s, which is PARKED: see sagactl why %s", name, id,
                       id);
    } else if (run->wait == SAGA_WAIT_DURABLE) {
        (void)snprintf(
            text, sizeof text,
            "the command of step %s waits in the outbox until Kafka has it: see sagactl health",
            name);
    } else if (!run->stalled) {
        return NULL;
    } else if (run->state == SAGA_STEP_UNDOING) {
        (void)snprintf(
            text, sizeof text,
            "the undo of step %s does not succeed (%s): start or mend %s, it is tried until it "
            "does; if it has been done by hand: sagactl resolve ID --step %s --why TEXT",
            name, saga_code_name(run->last_code), asked_service(look, step), name);
    } else {
        bool back = look->version != NULL && !look->version->def.steps[step].pivot &&
                    (look->version->def.retriable_mask >> step & 1) == 0;
        (void)snprintf(text, sizeof text,
                       "step %s does not succeed (%s): start or mend %s, it is tried %s", name,
                       saga_code_name(run->last_code), asked_service(look, step),
                       back ? "until the saga's deadline, which turns the saga back; or sagactl "
                              "cancel ID --why TEXT"
                            : "until it does");
    }
    return take_text(reading, text);
}

/* What to do about a saga whose next steps are held; NULL: nothing is held. */
static char *held_action(struct reading *reading, const struct saga_look *look)
{
    struct saga_pause_look pause;
    char text[ACTION_SIZE];
    bool waits = false;
    for (uint8_t i = 0; i < look->saga.step_count; i++) {
        waits = waits || look->saga.steps[i].state == SAGA_STEP_WAITING;
    }
    if (!waits || look->saga.state != SAGA_STATE_RUNNING ||
        !saga_runtime_paused(reading->runtime, look->definition_name, &pause)) {
        return NULL;
    }
    (void)snprintf(text, sizeof text,
                   "%s has paused %s (%s): no step begins, though the saga's deadline counts; to "
                   "let it go on: sagactl resume %s --why TEXT",
                   pause.who, look->definition_name, pause.why, look->definition_name);
    return take_text(reading, text);
}

/* Tells people what to do next; empty when there is nothing. */
static char *next_action(struct reading *reading, const struct saga_look *look)
{
    if (look->saga.state == SAGA_STATE_PARKED) {
        return take_text(
            reading,
            "mend what the cause names, then: sagactl retry ID --why TEXT; or give up: sagactl "
            "compensate ID --why TEXT (a parked pivot is given up only with --step PIVOT)");
    }
    for (uint8_t i = 0; i < look->saga.step_count; i++) {
        char *action = stalled_action(reading, look, i);
        if (action != NULL) {
            return action;
        }
    }
    char *held = held_action(reading, look);
    return held != NULL ? held : take_text(reading, "");
}

static Saga__V1__SagaView *make_view(struct reading *reading, const struct saga_look *look)
{
    const struct saga *saga = &look->saga;
    Saga__V1__SagaView *view = take(reading, sizeof *view);
    if (view == NULL) {
        return NULL;
    }
    saga__v1__saga_view__init(view);
    view->saga_id = take_bytes(reading, saga->id.b, SAGA_ID_SIZE);
    view->definition = take_text(reading, look->definition_name);
    view->definition_hash = take_bytes(reading, look->definition_hash, SAGA_DIGEST_SIZE);
    view->key = take_text(reading, look->start_key);
    view->state = (Saga__V1__SagaState)saga->state;
    view->created_unix_ms = saga->created_unix_ms;
    view->updated_unix_ms = look->updated_unix_ms;
    view->ended_unix_ms = saga->ended_unix_ms;
    view->deadline_unix_ms = saga->deadline_unix_ms;
    view->seq = saga->seq;
    view->context = take_bytes(reading, look->context.data, look->context.size);
    view->parent_step = take_text(reading, look->texts.parent_step);
    if (look->texts.parent_step[0] != '\0') {
        view->parent_saga_id = take_bytes(reading, look->texts.parent_id.b, SAGA_ID_SIZE);
    }
    view->next_action = next_action(reading, look);
    if (!saga_ended(saga) &&
        !admin_make_pause(reading->runtime, look->definition_name, reading->arena, &view->pause)) {
        reading->err = SAGA_ERR_NO_MEMORY;
    }
    if (look->version != NULL) {
        const struct saga_decl *decl = look->version->decl;
        view->context_type = take_text(reading, decl->context->name);
    }
    view->steps = take(reading, saga->step_count * sizeof *view->steps);
    for (uint8_t i = 0; view->steps != NULL && i < saga->step_count; i++) {
        view->steps[view->n_steps++] = make_step(reading, look, i);
    }
    if (saga->cause != SAGA_CAUSE_NONE) {
        view->cause = take(reading, sizeof *view->cause);
        if (view->cause != NULL) {
            saga__v1__failure__init(view->cause);
            bool named = saga->cause_step != SAGA_STEP_ALL && look->version != NULL;
            view->cause->step =
                take_text(reading, named ? look->version->step_names[saga->cause_step] : "");
            view->cause->status = make_status(reading, saga->cause_code, look->texts.cause_reason,
                                              look->texts.cause_message);
        }
    }
    return view;
}

/* Encodes a view as a field of the payload. */
static void append_view(struct reading *reading, uint32_t number, const Saga__V1__SagaView *view)
{
    struct saga_buf bytes = {0};
    if (reading->err == SAGA_ERR_OK) {
        reading->err = saga_message_encode(&view->base, &bytes);
    }
    append_field(reading, number, saga_buf_view(&bytes));
    saga_buf_fini(&bytes);
}

/* Appends an event to field `number`, as long as the answer stays within a message. */
struct event_appending {
    struct reading *reading;
    uint32_t number;
};

static bool append_event(void *user, const struct saga_audit_row *row)
{
    struct event_appending *appending = user;
    struct reading *reading = appending->reading;
    if (reading->payload.size + row->event.size > SAGA_MESSAGE_SIZE_MAX * 3 / 4) {
        return false;
    }
    append_field(reading, appending->number, row->event);
    return reading->err == SAGA_ERR_OK;
}

static void append_events(struct reading *reading, uint32_t number, struct saga_id id,
                          uint64_t after_seq)
{
    struct event_appending appending = {reading, number};
    const struct saga_store_port *store = &reading->admin->store;
    if (reading->err == SAGA_ERR_OK) {
        struct saga_audit_range range = {id, after_seq, SAGA_LIST_COUNT_MAX};
        enum saga_err err = store->ops->list_audit(store->store, &range, append_event, &appending,
                                                   &reading->detail);
        reading->err = reading->err == SAGA_ERR_OK ? err : reading->err;
    }
}

static enum saga_err find_id(struct reading *reading, const Saga__V1__GetSagaRequest *in,
                             struct saga_id *id)
{
    if (in->saga_id.len == SAGA_ID_SIZE) {
        memcpy(id->b, in->saga_id.data, SAGA_ID_SIZE);
        return SAGA_ERR_OK;
    }
    if (in->saga_id.len != 0) {
        return saga_err_set(&reading->detail, SAGA_ERR_INVALID, "saga_id: 16 bytes are required");
    }
    struct saga_row row;
    const struct saga_store_port *store = &reading->admin->store;
    enum saga_err err =
        store->ops->find_key(store->store, in->definition, in->key, &row, &reading->detail);
    if (err == SAGA_ERR_OK) {
        *id = row.id;
    }
    return err;
}

static void read_saga(struct reading *reading, const ProtobufCMessage *message)
{
    const Saga__V1__GetSagaRequest *in = (const Saga__V1__GetSagaRequest *)message;
    struct saga_id id;
    struct saga_look look;
    reading->err = find_id(reading, in, &id);
    if (reading->err == SAGA_ERR_OK) {
        reading->err = saga_runtime_look(reading->runtime, id, &look, &reading->detail);
    }
    if (reading->err != SAGA_ERR_OK) {
        return;
    }
    if (look.version == NULL) {
        look.version = versions_peek(reading->admin->versions, look.definition_hash);
    }
    append_view(reading, 1, make_view(reading, &look));
    if (in->with_events) {
        append_events(reading, 2, id, 0);
    }
}

static bool list_row(void *user, const struct saga_row *row)
{
    struct reading *reading = user;
    Saga__V1__SagaView view = SAGA__V1__SAGA_VIEW__INIT;
    uint8_t hash[SAGA_DIGEST_SIZE];
    struct saga_id id = row->id;
    memcpy(hash, row->definition_hash, SAGA_DIGEST_SIZE);
    view.saga_id = (ProtobufCBinaryData){SAGA_ID_SIZE, id.b};
    view.definition = take_text(reading, row->definition_name);
    view.definition_hash = (ProtobufCBinaryData){SAGA_DIGEST_SIZE, hash};
    view.key = take_text(reading, row->start_key);
    view.state = (Saga__V1__SagaState)row->state;
    view.created_unix_ms = row->created_unix_ms;
    view.updated_unix_ms = row->updated_unix_ms;
    view.ended_unix_ms = row->ended_unix_ms;
    view.seq = row->seq;
    struct saga saga = {0};
    struct saga_texts texts = {0};
    if (saga_record_decode(row->record, &saga, &texts) == SAGA_ERR_OK &&
        texts.parent_step[0] != '\0') {
        view.parent_step = take_text(reading, texts.parent_step);
        view.parent_saga_id = take_bytes(reading, texts.parent_id.b, SAGA_ID_SIZE);
    }
    append_view(reading, 1, &view);
    return reading->err == SAGA_ERR_OK && reading->payload.size < SAGA_MESSAGE_SIZE_MAX * 3 / 4;
}

static void read_list(struct reading *reading, const ProtobufCMessage *message)
{
    const Saga__V1__ListSagasRequest *in = (const Saga__V1__ListSagasRequest *)message;
    struct saga_list_filter filter = {
        .state = (int)in->state,
        .definition_name = in->definition[0] == '\0' ? NULL : in->definition,
        .has_before = in->before.len == SAGA_ID_SIZE,
        .count_max = in->limit == 0 ? 100 : in->limit,
    };
    if (filter.count_max > SAGA_LIST_COUNT_MAX || (in->before.len != 0 && !filter.has_before)) {
        reading->err =
            saga_err_set(&reading->detail, SAGA_ERR_INVALID,
                         "limit: at most %d; before: 16 bytes or none", SAGA_LIST_COUNT_MAX);
        return;
    }
    if (filter.has_before) {
        memcpy(filter.before.b, in->before.data, SAGA_ID_SIZE);
    }
    const struct saga_store_port *store = &reading->admin->store;
    enum saga_err err =
        store->ops->list_sagas(store->store, &filter, list_row, reading, &reading->detail);
    reading->err = reading->err == SAGA_ERR_OK ? err : reading->err;
}

static void read_watch(struct reading *reading, const ProtobufCMessage *message)
{
    (void)message; /* parsed when it was first looked at */
    struct saga_look look;
    reading->err =
        saga_runtime_look(reading->runtime, reading->slot->wait_id, &look, &reading->detail);
    if (reading->err != SAGA_ERR_OK) {
        return;
    }
    append_events(reading, 1, reading->slot->wait_id, reading->slot->after_seq);
    Saga__V1__WatchSagaResponse out = SAGA__V1__WATCH_SAGA_RESPONSE__INIT;
    out.state = (Saga__V1__SagaState)look.saga.state;
    encode(reading, &out.base);
}

/* Definitions that are being listed. */
struct listing {
    struct reading *reading;
    const Saga__V1__ListDefinitionsRequest *in;
    char name[SAGA_DEFINITION_NAME_MAX + 1]; /* of the row before */
    bool behind; /* rows are those of the page: the one before has passed */
    bool more;   /* the page is full */
    size_t count;
};

/* Tells whether a row is of the page. Rows come by name, those of a name in an order of their own;
 * a page ends with a row, which the next one begins behind. */
static bool on_page(struct listing *listing, const struct saga_definition_row *row)
{
    const Saga__V1__ListDefinitionsRequest *in = listing->in;
    int order = listing->behind ? 1 : strcmp(row->name, in->after_name);
    if (order > 0) {
        listing->behind = true;
        return true;
    }
    if (order == 0 && in->after_hash.len == SAGA_DIGEST_SIZE &&
        memcmp(row->hash, in->after_hash.data, SAGA_DIGEST_SIZE) == 0) {
        listing->behind = true; /* from the next one */
    }
    return false;
}

/* Adds where a service is, once. NULL is nothing. */
static void add_place(struct reading *reading, const struct saga_service *service,
                      Saga__V1__DefinitionView *view)
{
    const char *addresses[SAGA_ADDRESSES_MAX];
    bool told = service == NULL;
    for (size_t i = 0; i < view->n_participants && !told; i++) {
        told = strcmp(view->participants[i]->service, service->name) == 0;
    }
    Saga__V1__ParticipantAddress *place = told ? NULL : take(reading, sizeof *place);
    if (place == NULL) {
        return;
    }
    size_t count = versions_addresses(reading->admin->versions, service->name, addresses);
    saga__v1__participant_address__init(place);
    place->service = take_text(reading, service->name);
    place->addresses = take(reading, SAGA_ADDRESSES_MAX * sizeof *place->addresses);
    for (size_t i = 0; i < count && place->addresses != NULL; i++) {
        place->addresses[place->n_addresses++] = take_text(reading, addresses[i]);
    }
    view->participants[view->n_participants++] = place;
}

static void fill_places(struct reading *reading, const struct saga_decl *decl,
                        Saga__V1__DefinitionView *view)
{
    view->participants = take(reading, (2 * decl->step_count + 1) * sizeof *view->participants);
    for (size_t i = 0; i < decl->step_count && view->participants != NULL; i++) {
        add_place(reading, decl->steps[i].call_service, view);
        add_place(reading, decl->steps[i].undo_service, view);
    }
}

/* What only a version that is loaded tells. */
static void fill_loaded(struct reading *reading, const struct saga_version *version,
                        Saga__V1__DefinitionView *view)
{
    const struct saga_decl *decl = version->decl;
    view->context_type = take_text(reading, decl->context->name);
    view->live_count = saga_runtime_live_at(reading->runtime, version);
    view->steps = take(reading, version->def.step_count * sizeof *view->steps);
    for (uint32_t j = 0; view->steps != NULL && j < version->def.step_count; j++) {
        view->steps[view->n_steps++] = take_text(reading, version->step_names[j]);
    }
    fill_places(reading, decl, view);
}

/* A version is listed when it is loaded, when it is the last of a name that was removed, or when
 * all are asked for. */
static bool list_definition(void *user, const struct saga_definition_row *row)
{
    struct listing *listing = user;
    struct reading *reading = listing->reading;
    const struct saga_version *version = saga_runtime_version(reading->runtime, row->hash);
    bool removed = saga_runtime_removed(reading->runtime, row->name);
    bool first = strcmp(listing->name, row->name) != 0;
    (void)snprintf(listing->name, sizeof listing->name, "%s", row->name);
    bool listed = version != NULL || listing->in->history || (removed && first);
    if (!on_page(listing, row) || !listed) {
        return true;
    }
    if (listing->count == SAGA_LIST_COUNT_MAX ||
        reading->payload.size >= SAGA_MESSAGE_SIZE_MAX * 3 / 4) {
        listing->more = true;
        return false;
    }
    Saga__V1__DefinitionView view = SAGA__V1__DEFINITION_VIEW__INIT;
    struct saga_buf bytes = {0};
    view.name = take_text(reading, row->name);
    view.hash = take_bytes(reading, row->hash, SAGA_DIGEST_SIZE);
    view.current = row->current;
    view.removed = removed;
    view.created_unix_ms = row->created_unix_ms;
    if (!admin_make_pause(reading->runtime, row->name, reading->arena, &view.pause)) {
        reading->err = SAGA_ERR_NO_MEMORY;
    }
    if (version != NULL) {
        fill_loaded(reading, version, &view);
    }
    if (reading->err == SAGA_ERR_OK) {
        reading->err = saga_message_encode(&view.base, &bytes);
    }
    append_field(reading, 1, saga_buf_view(&bytes));
    saga_buf_fini(&bytes);
    listing->count += 1;
    return reading->err == SAGA_ERR_OK;
}

static void read_definitions(struct reading *reading, const ProtobufCMessage *message)
{
    const Saga__V1__ListDefinitionsRequest *in = (const Saga__V1__ListDefinitionsRequest *)message;
    const struct saga_store_port *store = &reading->admin->store;
    struct listing listing = {.reading = reading, .in = in, .behind = in->after_name[0] == '\0'};
    if (in->after_hash.len != 0 && (in->after_hash.len != SAGA_DIGEST_SIZE || listing.behind)) {
        reading->err =
            saga_err_set(&reading->detail, SAGA_ERR_INVALID,
                         "after_hash: %d bytes and an after_name, or none", SAGA_DIGEST_SIZE);
        return;
    }
    enum saga_err err =
        store->ops->list_versions(store->store, in->definition[0] == '\0' ? NULL : in->definition,
                                  SIZE_MAX, list_definition, &listing, &reading->detail);
    reading->err = reading->err == SAGA_ERR_OK ? err : reading->err;
    Saga__V1__ListDefinitionsResponse out = SAGA__V1__LIST_DEFINITIONS_RESPONSE__INIT;
    out.more = listing.more;
    encode(reading, &out.base);
}

static void read_health(struct reading *reading, const ProtobufCMessage *message)
{
    (void)message;
    struct health_report *report = &reading->admin->report;
    health_make_report(reading->admin->config.health, report);
    Saga__V1__CheckResponse out = SAGA__V1__CHECK_RESPONSE__INIT;
    out.state = (Saga__V1__HealthState)report->state;
    out.version = take_text(reading, reading->admin->config.version);
    out.parts = take(reading, report->part_count * sizeof *out.parts);
    for (size_t i = 0; out.parts != NULL && i < report->part_count; i++) {
        Saga__V1__HealthPart *part = take(reading, sizeof *part);
        if (part == NULL) {
            return;
        }
        saga__v1__health_part__init(part);
        part->name = take_text(reading, report->parts[i].name);
        part->state = (Saga__V1__HealthState)report->parts[i].state;
        part->detail = take_text(reading, report->parts[i].detail);
        out.parts[out.n_parts++] = part;
    }
    encode(reading, &out.base);
}

static bool append_set(void *user, const uint8_t hash[SAGA_DIGEST_SIZE], const char *name,
                       struct saga_bytes descriptor_set, bool current)
{
    (void)hash;
    (void)name;
    (void)current;
    append_field(user, 1, descriptor_set);
    return true;
}

/* The first is the current one, or the newest of those that are still stored. */
static bool note_hash(void *user, const struct saga_definition_row *row)
{
    if (row->dropped) {
        return true;
    }
    memcpy(user, row->hash, SAGA_DIGEST_SIZE);
    return false;
}

/* The set of one definition version, as it is stored. */
static void read_stored_set(struct reading *reading, const Saga__V1__GetDescriptorSetRequest *in)
{
    const struct saga_store_port *store = &reading->admin->store;
    uint8_t hash[SAGA_DIGEST_SIZE] = {0};
    enum saga_err err = SAGA_ERR_OK;
    if (in->definition_hash.len == SAGA_DIGEST_SIZE) {
        memcpy(hash, in->definition_hash.data, SAGA_DIGEST_SIZE);
    } else if (in->definition_hash.len != 0) {
        err = saga_err_set(&reading->detail, SAGA_ERR_INVALID, "definition_hash: 32 bytes or none");
    } else {
        err = store->ops->list_versions(store->store, in->definition, SIZE_MAX, note_hash, hash,
                                        &reading->detail);
    }
    if (err == SAGA_ERR_OK) {
        err =
            store->ops->find_definition(store->store, hash, append_set, reading, &reading->detail);
    }
    if (err == SAGA_ERR_NOT_FOUND) {
        (void)saga_err_set(
            &reading->detail, err,
            "%s: no definition is stored with it (versions that no saga began with are "
            "let go once they are replaced or removed)",
            in->definition_hash.len != 0 ? "definition_hash" : "definition");
    }
    reading->err = reading->err == SAGA_ERR_OK ? err : reading->err;
}

static void read_schema(struct reading *reading, const ProtobufCMessage *message)
{
    const Saga__V1__GetDescriptorSetRequest *in =
        (const Saga__V1__GetDescriptorSetRequest *)message;
    if (in->definition_hash.len != 0 || in->definition[0] != '\0') {
        read_stored_set(reading, in);
        return;
    }
    static const char *const services[] = {"saga.v1.OrchestratorService", "saga.v1.HealthService",
                                           "saga.v1.ReflectionService"};
    append_field(reading, 1, reading->admin->config.descriptor_set);
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        append_field(reading, 2, saga_bytes_text(services[i]));
    }
}

static const struct read_method {
    const char *name;
    const ProtobufCMessageDescriptor *request;
    void (*read)(struct reading *reading, const ProtobufCMessage *message);
} methods[] = {
    {"saga.v1.OrchestratorService/GetSaga", &saga__v1__get_saga_request__descriptor, read_saga},
    {"saga.v1.OrchestratorService/ListSagas", &saga__v1__list_sagas_request__descriptor, read_list},
    {"saga.v1.OrchestratorService/WatchSaga", &saga__v1__watch_saga_request__descriptor,
     read_watch},
    {"saga.v1.OrchestratorService/ListDefinitions", &saga__v1__list_definitions_request__descriptor,
     read_definitions},
    {"saga.v1.HealthService/Check", &saga__v1__check_request__descriptor, read_health},
    {"saga.v1.ReflectionService/GetDescriptorSet",
     &saga__v1__get_descriptor_set_request__descriptor, read_schema},
};

static enum saga_code code_of(enum saga_err err)
{
    if (err == SAGA_ERR_NOT_FOUND) {
        return SAGA_CODE_NOT_FOUND;
    }
    return saga_err_class(err) == SAGA_ERR_CLASS_REJECT ? SAGA_CODE_INVALID_ARGUMENT
                                                        : SAGA_CODE_INTERNAL;
}

static void run_read(struct reading *reading, const struct read_method *method)
{
    struct saga_status ok = saga_status_ok();
    ProtobufCMessage *message =
        saga_message_decode(method->request, reading->slot->command->payload, reading->arena);
    if (message == NULL) {
        slot_fail(reading->admin, reading->slot, SAGA_CODE_INVALID_ARGUMENT, "MALFORMED",
                  "payload: is not the method's request message");
        return;
    }
    method->read(reading, message);
    if (reading->err != SAGA_ERR_OK) {
        slot_fail(reading->admin, reading->slot, code_of(reading->err), saga_err_name(reading->err),
                  reading->detail.text[0] != '\0' ? reading->detail.text
                                                  : saga_err_text(reading->err));
    } else {
        slot_finish(reading->admin, reading->slot, &ok, saga_buf_view(&reading->payload));
    }
}

void admin_read(struct admin *admin, struct slot *slot, struct saga_runtime *runtime)
{
    struct reading reading = {
        .admin = admin, .slot = slot, .runtime = runtime, .arena = &slot->batch->arena};
    for (size_t i = 0; i < sizeof methods / sizeof methods[0]; i++) {
        if (strcmp(methods[i].name, slot->command->method) == 0) {
            run_read(&reading, &methods[i]);
            saga_buf_fini(&reading.payload);
            return;
        }
    }
    char message[SAGA_METHOD_NAME_MAX + 64];
    (void)snprintf(message, sizeof message, "method: the orchestrator does not serve \"%s\"",
                   slot->command->method);
    slot_fail(admin, slot, SAGA_CODE_UNIMPLEMENTED, "METHOD_UNKNOWN", message);
}
