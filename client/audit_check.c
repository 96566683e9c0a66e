/* Checks of the two audit streams. See audit_check.h. */
#include "client/audit_check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <openssl/evp.h>

#include "common/base/arena.h"
#include "common/base/limits.h"
#include "common/base/status.h"
#include "common/wire/envelope.h"
#include "common/wire/schema.h"
#include "orchestrator/codec/codec.h"
#include "orchestrator/runtime/runtime.h"
#include "saga/v1/audit.pb-c.h"

enum { HASH_FIELD = 31, NAMES_MAX = 65535, SAGAS_START = 1024 };

/* What is known of one command: (saga, step, op). */
struct deed {
    uint16_t step; /* index of its name */
    bool undo;
    bool decided;
    bool answered; /* the audit stream holds a definitive answer */
    bool silent;   /* its method has no side effects: the participant reports nothing */
    bool unknown;  /* whether it is silent is not known: nobody has the definition */
    bool by_hand;  /* an operator resolved or skipped it: whether there is an effect is theirs to
                      know */
    bool effected;
    bool empty;
    uint8_t answer_code;
    uint8_t effect_code;
    uint8_t step_state; /* with a call: last state of the step */
    uint32_t attempts;  /* highest decided */
    uint64_t position;  /* of the effect */
    uint64_t service;   /* hash of the service's name: positions compare within one */
};

/* What is known of one saga. */
struct trail {
    struct saga_id id;
    bool used;
    uint8_t state;
    bool is_definition; /* a definition's stream, not a saga's */
    uint8_t held;    /* of a definition: by the last act of the kind; 0: not known, 1: no, 2: yes */
    uint8_t removed; /* likewise */
    uint64_t first_seq; /* 0: no event yet */
    uint64_t next_seq;
    uint8_t last_hash[32];
    uint64_t *digests; /* beginnings of the hashes, by seq - first_seq */
    size_t digest_capacity;
    struct deed *deeds;
    size_t deed_count;
    size_t deed_capacity;
};

struct saga_audit_check {
    struct saga_audit_config config;
    struct saga_arena arena;
    struct trail *trails; /* open addressing, a power of two */
    size_t trail_capacity;
    size_t trail_count;
    char **names; /* step names */
    size_t name_count;
    struct saga_audit_counts counts;
};

static const char *const violation_names[] = {
#define X(name, text) #name,
    SAGA_VIOLATION_LIST(X)
#undef X
};

static const char *const violation_texts[] = {
#define X(name, text) text,
    SAGA_VIOLATION_LIST(X)
#undef X
};

const char *saga_violation_name(enum saga_violation violation)
{
    return violation < SAGA_VIOLATION_COUNT ? violation_names[violation] : "";
}

const char *saga_violation_text(enum saga_violation violation)
{
    return violation < SAGA_VIOLATION_COUNT ? violation_texts[violation] : "";
}

/* ---- The hash of an event ---- */

static bool read_varint(struct saga_bytes bytes, size_t *at, uint64_t *value)
{
    *value = 0;
    for (unsigned shift = 0; shift < 64 && *at < bytes.size; shift += 7) {
        uint8_t byte = bytes.data[(*at)++];
        *value |= (uint64_t)(byte & 0x7F) << shift;
        if ((byte & 0x80) == 0) {
            return true;
        }
    }
    return false;
}

/* Steps over one field. Gives its number, 0 when the bytes are malformed. */
static uint64_t skip_field(struct saga_bytes bytes, size_t *at)
{
    uint64_t tag = 0;
    uint64_t size = 0;
    if (!read_varint(bytes, at, &tag)) {
        return 0;
    }
    switch (tag & 7) {
    case 0:
        return read_varint(bytes, at, &size) ? tag >> 3 : 0;
    case 1:
        size = 8;
        break;
    case 2:
        if (!read_varint(bytes, at, &size)) {
            return 0;
        }
        break;
    case 5:
        size = 4;
        break;
    default:
        return 0;
    }
    if (size > bytes.size - *at) {
        return 0;
    }
    *at += (size_t)size;
    return tag >> 3;
}

enum saga_err saga_audit_hash(struct saga_bytes event, uint8_t hash[32])
{
    enum saga_err err = SAGA_ERR_OK;
    EVP_MD_CTX *digest = EVP_MD_CTX_new();
    if (digest == NULL || EVP_DigestInit_ex(digest, EVP_sha256(), NULL) != 1) {
        err = SAGA_ERR_INTERNAL;
    }
    for (size_t at = 0; err == SAGA_ERR_OK && at < event.size;) {
        size_t begin = at;
        uint64_t number = skip_field(event, &at);
        if (number == 0) {
            err = SAGA_ERR_MALFORMED;
        } else if (number != HASH_FIELD &&
                   EVP_DigestUpdate(digest, event.data + begin, at - begin) != 1) {
            err = SAGA_ERR_INTERNAL;
        }
    }
    if (err == SAGA_ERR_OK && EVP_DigestFinal_ex(digest, hash, NULL) != 1) {
        err = SAGA_ERR_INTERNAL;
    }
    EVP_MD_CTX_free(digest);
    return err;
}

/* ---- The table of sagas ---- */

enum saga_err saga_audit_check_new(const struct saga_audit_config *config,
                                   struct saga_audit_check **check)
{
    struct saga_audit_check *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    made->config = *config;
    made->trail_capacity = SAGAS_START;
    made->trails = calloc(made->trail_capacity, sizeof *made->trails);
    if (made->trails == NULL) {
        free(made);
        return SAGA_ERR_NO_MEMORY;
    }
    *check = made;
    return SAGA_ERR_OK;
}

void saga_audit_check_free(struct saga_audit_check *check)
{
    if (check == NULL) {
        return;
    }
    for (size_t i = 0; i < check->trail_capacity; i++) {
        free(check->trails[i].digests);
        free(check->trails[i].deeds);
    }
    for (size_t i = 0; i < check->name_count; i++) {
        free(check->names[i]);
    }
    free(check->names);
    free(check->trails);
    saga_arena_fini(&check->arena);
    free(check);
}

static uint64_t hash_bytes(const void *data, size_t size)
{
    const uint8_t *bytes = data;
    uint64_t hash = UINT64_C(14695981039346656037); /* FNV-1a */
    for (size_t i = 0; i < size; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
    }
    return hash;
}

static struct trail *find_slot(struct trail *trails, size_t capacity, struct saga_id id)
{
    size_t at = (size_t)hash_bytes(id.b, sizeof id.b) & (capacity - 1);
    while (trails[at].used && !saga_id_equal(trails[at].id, id)) {
        at = (at + 1) & (capacity - 1);
    }
    return &trails[at];
}

static enum saga_err grow(struct saga_audit_check *check)
{
    size_t capacity = check->trail_capacity * 2;
    struct trail *trails = calloc(capacity, sizeof *trails);
    if (trails == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    for (size_t i = 0; i < check->trail_capacity; i++) {
        if (check->trails[i].used) {
            *find_slot(trails, capacity, check->trails[i].id) = check->trails[i];
        }
    }
    free(check->trails);
    check->trails = trails;
    check->trail_capacity = capacity;
    return SAGA_ERR_OK;
}

static struct trail *trail_of(struct saga_audit_check *check, struct saga_id id)
{
    if (check->trail_count * 2 >= check->trail_capacity && grow(check) != SAGA_ERR_OK) {
        return NULL;
    }
    struct trail *trail = find_slot(check->trails, check->trail_capacity, id);
    if (!trail->used) {
        trail->used = true;
        trail->id = id;
        check->trail_count++;
    }
    return trail;
}

/* Finds or adds the index of a step's name: there are few of them. Gives NAMES_MAX when there is no
 * memory. */
static uint16_t name_index(struct saga_audit_check *check, const char *name)
{
    for (size_t i = 0; i < check->name_count; i++) {
        if (strcmp(check->names[i], name) == 0) {
            return (uint16_t)i;
        }
    }
    if (check->name_count >= NAMES_MAX) {
        return NAMES_MAX;
    }
    char **names = realloc(check->names, (check->name_count + 1) * sizeof *names);
    if (names == NULL) {
        return NAMES_MAX;
    }
    check->names = names;
    names[check->name_count] = strdup(name);
    if (names[check->name_count] == NULL) {
        return NAMES_MAX;
    }
    return (uint16_t)check->name_count++;
}

static struct deed *find_deed(const struct trail *trail, uint16_t step, bool undo)
{
    for (size_t i = 0; i < trail->deed_count; i++) {
        if (trail->deeds[i].step == step && trail->deeds[i].undo == undo) {
            return &trail->deeds[i];
        }
    }
    return NULL;
}

static struct deed *deed_of(struct saga_audit_check *check, struct trail *trail, const char *name,
                            bool undo)
{
    uint16_t step = name_index(check, name);
    struct deed *deed = step == NAMES_MAX ? NULL : find_deed(trail, step, undo);
    if (deed != NULL || step == NAMES_MAX) {
        return deed;
    }
    if (trail->deed_count == trail->deed_capacity) {
        size_t capacity = trail->deed_capacity == 0 ? 8 : trail->deed_capacity * 2;
        struct deed *deeds = realloc(trail->deeds, capacity * sizeof *deeds);
        if (deeds == NULL) {
            return NULL;
        }
        trail->deeds = deeds;
        trail->deed_capacity = capacity;
    }
    deed = &trail->deeds[trail->deed_count++];
    *deed = (struct deed){.step = step, .undo = undo};
    return deed;
}

/* ---- Telling ---- */

static void tell(struct saga_audit_check *check, enum saga_violation violation,
                 const struct saga_id *id, const char *where)
{
    check->counts.violations[violation]++;
    if (check->config.told != NULL) {
        check->config.told(check->config.user, violation, id, where);
    }
}

static void tell_event(struct saga_audit_check *check, enum saga_violation violation,
                       const struct saga_id *id, uint64_t seq)
{
    char where[64];
    snprintf(where, sizeof where, "event %" PRIu64, seq);
    tell(check, violation, id, where);
}

static void tell_deed(struct saga_audit_check *check, enum saga_violation violation,
                      const struct trail *trail, const struct deed *deed)
{
    char where[SAGA_STEP_NAME_MAX + 32];
    snprintf(where, sizeof where, "step %.*s %s", SAGA_STEP_NAME_MAX, check->names[deed->step],
             deed->undo ? "UNDO" : "CALL");
    tell(check, violation, &trail->id, where);
}

/* Checks the id in a record and its key. Returns false after telling. */
static bool take_id(struct saga_audit_check *check, struct saga_bytes key,
                    const ProtobufCBinaryData *wire, struct saga_id *id)
{
    if (wire->len != sizeof id->b) {
        tell(check, SAGA_VIOLATION_MALFORMED, NULL, "saga_id");
        return false;
    }
    memcpy(id->b, wire->data, sizeof id->b);
    char text[SAGA_ID_TEXT_SIZE];
    saga_id_format(*id, text);
    bool binary = saga_bytes_equal(key, (struct saga_bytes){id->b, sizeof id->b});
    if (!binary && !saga_bytes_equal(key, saga_bytes_text(text))) {
        tell(check, SAGA_VIOLATION_KEY, id, "");
    }
    return true;
}

/* ---- saga-audit ---- */

static enum saga_err keep_digest(struct trail *trail, const uint8_t hash[32])
{
    size_t index = (size_t)(trail->next_seq - trail->first_seq);
    if (index >= trail->digest_capacity) {
        size_t capacity = trail->digest_capacity == 0 ? 16 : trail->digest_capacity * 2;
        uint64_t *digests = realloc(trail->digests, capacity * sizeof *digests);
        if (digests == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        trail->digests = digests;
        trail->digest_capacity = capacity;
    }
    memcpy(&trail->digests[index], hash, sizeof trail->digests[index]);
    return SAGA_ERR_OK;
}

/* Puts an event at its place: next in line, again, or with a gap before it. *again: it was there
 * before. */
static enum saga_err take_seq(struct saga_audit_check *check, struct trail *trail,
                              const Saga__V1__AuditEvent *event, const uint8_t hash[32],
                              bool *again)
{
    static const uint8_t no_hash[32];
    *again = false;
    if (trail->first_seq == 0) {
        trail->first_seq = event->seq;
        trail->next_seq = event->seq;
        if (event->seq != 1 && !check->config.allow_truncated) {
            check->counts.beginnings++;
            tell_event(check, SAGA_VIOLATION_GAP, &trail->id, event->seq);
        }
        bool first_chained =
            event->seq == 1 && event->prev_hash.len != 0 &&
            (event->prev_hash.len != 32 || memcmp(event->prev_hash.data, no_hash, 32) != 0);
        if (first_chained) {
            tell_event(check, SAGA_VIOLATION_CHAIN, &trail->id, event->seq);
        }
    } else if (event->seq < trail->next_seq) {
        *again = true;
        uint64_t digest = 0;
        memcpy(&digest, hash, sizeof digest);
        bool known = event->seq >= trail->first_seq;
        if (known && trail->digests[event->seq - trail->first_seq] != digest) {
            tell_event(check, SAGA_VIOLATION_FORK, &trail->id, event->seq);
        }
        check->counts.redelivered++;
        return SAGA_ERR_OK;
    } else if (event->seq > trail->next_seq) {
        tell_event(check, SAGA_VIOLATION_GAP, &trail->id, trail->next_seq);
        /* Go on from here: one gap is told once. What was kept of the events before stays valid
         * only up to the gap. */
        trail->first_seq = event->seq;
        trail->next_seq = event->seq;
    } else if (event->prev_hash.len != 32 ||
               memcmp(event->prev_hash.data, trail->last_hash, 32) != 0) {
        tell_event(check, SAGA_VIOLATION_CHAIN, &trail->id, event->seq);
    }
    enum saga_err err = keep_digest(trail, hash);
    if (err == SAGA_ERR_OK) {
        memcpy(trail->last_hash, hash, sizeof trail->last_hash);
        trail->next_seq++;
    }
    return err;
}

/* A no that a participant gives without having looked at the command, or because of an earlier one,
 * is no effect of its own; nor is any no to an undo, which is tried until it succeeds. */
static bool leaves_effect(Saga__V1__Op op, const Saga__V1__Status *status)
{
    if (status == NULL || status->code == SAGA_CODE_OK) {
        return true;
    }
    return op != SAGA__V1__OP__OP_UNDO && saga_code_class(status->code) == SAGA_CODE_CLASS_REJECT &&
           status->code != SAGA_CODE_INVALID_ARGUMENT &&
           strcmp(status->reason, "SAGA_UNDONE") != 0 && strcmp(status->reason, "KEY_REUSED") != 0;
}

/* Finds the definition that an event's saga began with; if that version is nowhere, the one of its
 * name: then *exact is false. */
static const struct saga_decl *decl_of(const struct saga_audit_check *check,
                                       const Saga__V1__AuditEvent *event, bool *exact)
{
    const struct saga_audit_config *config = &check->config;
    const struct saga_decl *decl =
        config->schema == NULL ? NULL : saga_schema_decl(config->schema, event->definition);
    bool same = decl != NULL && event->definition_hash.len == SAGA_HASH_SIZE &&
                memcmp(decl->hash, event->definition_hash.data, SAGA_HASH_SIZE) == 0;
    bool asks = config->find != NULL && event->definition_hash.len == SAGA_HASH_SIZE;
    const struct saga_decl *found =
        same || !asks ? NULL
                      : config->find(config->user, event->definition, event->definition_hash.data);
    bool named = decl != NULL && event->definition_hash.len == 0; /* it tells no version */
    *exact = same || named || found != NULL || (config->schema == NULL && config->find == NULL);
    return found != NULL ? found : decl;
}

/* Notes whether the call of a step has no effect by its definition. Another version of the name is
 * believed when it says that there is none: to miss one then would be told of a clean stream. */
static void note_silent(const struct saga_audit_check *check, const Saga__V1__AuditEvent *event,
                        const char *name, struct deed *deed)
{
    bool exact = false;
    const struct saga_decl *decl = decl_of(check, event, &exact);
    deed->silent = false;
    for (size_t i = 0; decl != NULL && i < decl->step_count; i++) {
        const struct saga_step_decl *step = &decl->steps[i];
        if (strcmp(step->name, name) == 0) {
            deed->silent = step->read_only || (step->call != NULL && step->call->no_side_effects);
        }
    }
    deed->unknown = !exact && !deed->silent;
}

/* S12: an operator who skips or resolves answers for the step's pending command. */
static enum saga_err take_act(struct saga_audit_check *check, struct trail *trail,
                              const Saga__V1__AuditEvent *event)
{
    if (event->kind != SAGA__V1__EVENT_KIND__EVENT_KIND_OPERATOR || event->operator_ == NULL ||
        (event->operator_->act != SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RESOLVE &&
         event->operator_->act != SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_SKIP)) {
        return SAGA_ERR_OK;
    }
    for (size_t i = 0; i < event->n_transitions; i++) {
        const Saga__V1__Transition *move = event->transitions[i];
        bool meant = event->step[0] == 0 || strcmp(event->step, move->step) == 0;
        bool undo = move->to == SAGA__V1__STEP_STATE__STEP_STATE_UNDONE;
        bool settled = undo || move->to == SAGA__V1__STEP_STATE__STEP_STATE_SUCCEEDED ||
                       move->to == SAGA__V1__STEP_STATE__STEP_STATE_SKIPPED;
        struct deed *deed = meant && settled ? deed_of(check, trail, move->step, undo) : NULL;
        if (deed != NULL) {
            deed->by_hand = true;
        } else if (meant && settled) {
            return SAGA_ERR_NO_MEMORY;
        }
    }
    return SAGA_ERR_OK;
}

bool saga_audit_is_of_definition(const Saga__V1__AuditEvent *event)
{
    return event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_OPERATOR && event->operator_ != NULL &&
           event->state == SAGA__V1__SAGA_STATE__SAGA_STATE_UNSPECIFIED;
}

/* Takes a turn between two states. Gives false when it is in the state already. */
static bool takes_turn(uint8_t *state, bool to)
{
    uint8_t next = to ? 2 : 1;
    bool turns = *state != next;
    *state = next;
    return turns;
}

/* Tells whether an act on a definition may follow those before: it is paused and goes on in turns,
 * and is removed only when it is there. */
static bool may_follow(struct saga_audit_counts *counts, struct trail *trail,
                       const Saga__V1__AuditEvent *event)
{
    trail->is_definition = true;
    if (event->seq == 1) {
        trail->held = 1;
        trail->removed = 1;
    }
    switch (event->operator_->act) {
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_PAUSE:
        counts->acts[SAGA_AUDIT_ACT_PAUSED]++;
        return takes_turn(&trail->held, true);
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RESUME:
        counts->acts[SAGA_AUDIT_ACT_RESUMED]++;
        return takes_turn(&trail->held, false);
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_REMOVE:
        counts->acts[SAGA_AUDIT_ACT_REMOVED]++;
        return takes_turn(&trail->removed, true);
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_APPLY:
        counts->acts[SAGA_AUDIT_ACT_APPLIED]++;
        trail->removed = 1; /* also when it was there: another version */
        return true;
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_UNSPECIFIED:
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RETRY:
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_CANCEL:
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_SKIP:
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_COMPENSATE:
    case SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RESOLVE:
    case _SAGA__V1__OPERATOR_ACT_IS_INT_SIZE:
    default:
        return false;
    }
}

/* S12: whoever acts says who and why. Acts on a definition stand under its id. */
static void check_act(struct saga_audit_check *check, struct trail *trail,
                      const Saga__V1__AuditEvent *event)
{
    if (event->kind != SAGA__V1__EVENT_KIND__EVENT_KIND_OPERATOR) {
        return;
    }
    const Saga__V1__Operator *by = event->operator_;
    bool wrong = by == NULL || by->who[0] == 0 || by->why[0] == 0;
    if (by != NULL && saga_audit_is_of_definition(event)) {
        struct saga_id stream = saga_runtime_pause_stream(saga_codec_port(), event->definition);
        wrong =
            !may_follow(&check->counts, trail, event) || wrong || !saga_id_equal(stream, trail->id);
    }
    if (wrong) {
        tell_event(check, SAGA_VIOLATION_ACT, &trail->id, event->seq);
    }
}

static enum saga_err take_story(struct saga_audit_check *check, struct trail *trail,
                                const Saga__V1__AuditEvent *event)
{
    trail->state = (uint8_t)event->state;
    check_act(check, trail, event);
    for (size_t i = 0; i < event->n_decisions; i++) {
        const Saga__V1__Decision *decision = event->decisions[i];
        struct deed *deed =
            deed_of(check, trail, decision->step, decision->op == SAGA__V1__OP__OP_UNDO);
        if (deed == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        deed->decided = true;
        /* A child saga is no participant: its own commands are in the second book. */
        deed->silent = decision->via == SAGA__V1__VIA__VIA_CHILD;
        if (!deed->silent && !deed->undo) {
            note_silent(check, event, decision->step, deed);
        }
        deed->attempts = decision->attempt > deed->attempts ? decision->attempt : deed->attempts;
    }
    for (size_t i = 0; i < event->n_transitions; i++) {
        struct deed *deed = deed_of(check, trail, event->transitions[i]->step, false);
        if (deed == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        deed->step_state = (uint8_t)event->transitions[i]->to;
    }
    if (event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_REPLY &&
        leaves_effect(event->op, event->status)) {
        struct deed *deed = deed_of(check, trail, event->step, event->op == SAGA__V1__OP__OP_UNDO);
        if (deed == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
        deed->answered = true;
        deed->answer_code = event->status == NULL ? 0 : (uint8_t)event->status->code;
    }
    return take_act(check, trail, event);
}

enum saga_err saga_audit_check_event(struct saga_audit_check *check, struct saga_bytes key,
                                     struct saga_bytes value)
{
    struct saga_id id;
    uint8_t hash[32];
    bool again = false;
    check->counts.events++;
    saga_arena_clear(&check->arena);
    const ProtobufCMessage *message =
        saga_message_decode(&saga__v1__audit_event__descriptor, value, &check->arena);
    if (message == NULL || saga_audit_hash(value, hash) != SAGA_ERR_OK) {
        tell(check, SAGA_VIOLATION_MALFORMED, NULL, "saga-audit");
        return SAGA_ERR_OK;
    }
    const Saga__V1__AuditEvent *event = (const Saga__V1__AuditEvent *)message;
    if (!take_id(check, key, &event->saga_id, &id)) {
        return SAGA_ERR_OK;
    }
    if (event->seq == 0) {
        tell(check, SAGA_VIOLATION_MALFORMED, &id, "event 0");
        return SAGA_ERR_OK;
    }
    if (event->hash.len != sizeof hash || memcmp(event->hash.data, hash, sizeof hash) != 0) {
        tell_event(check, SAGA_VIOLATION_HASH, &id, event->seq);
    }
    struct trail *trail = trail_of(check, id);
    if (trail == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    enum saga_err err = take_seq(check, trail, event, hash, &again);
    return err != SAGA_ERR_OK || again ? err : take_story(check, trail, event);
}

/* ---- saga-effects ---- */

enum saga_err saga_audit_check_effect(struct saga_audit_check *check, struct saga_bytes key,
                                      struct saga_bytes value)
{
    struct saga_id id;
    check->counts.effects++;
    saga_arena_clear(&check->arena);
    const ProtobufCMessage *message =
        saga_message_decode(&saga__v1__effect_event__descriptor, value, &check->arena);
    if (message == NULL) {
        tell(check, SAGA_VIOLATION_MALFORMED, NULL, "saga-effects");
        return SAGA_ERR_OK;
    }
    const Saga__V1__EffectEvent *effect = (const Saga__V1__EffectEvent *)message;
    if (!take_id(check, key, &effect->saga_id, &id)) {
        return SAGA_ERR_OK;
    }
    struct trail *trail = trail_of(check, id);
    struct deed *deed =
        trail == NULL ? NULL
                      : deed_of(check, trail, effect->step, effect->op == SAGA__V1__OP__OP_UNDO);
    if (deed == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    uint64_t service = hash_bytes(effect->service, strlen(effect->service));
    if (deed->effected) {
        if (deed->position == effect->position && deed->service == service) {
            check->counts.redelivered++;
        } else {
            tell_deed(check, SAGA_VIOLATION_TWICE, trail, deed);
        }
        return SAGA_ERR_OK;
    }
    deed->effected = true;
    deed->position = effect->position;
    deed->service = service;
    deed->empty = effect->empty;
    deed->effect_code = effect->status == NULL ? 0 : (uint8_t)effect->status->code;
    return SAGA_ERR_OK;
}

/* ---- The end ---- */

static bool has_ended(const struct trail *trail)
{
    return trail->state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPLETED ||
           trail->state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATED;
}

/* S13 for one command. */
static void compare_deed(struct saga_audit_check *check, const struct trail *trail,
                         const struct deed *deed)
{
    if (deed->effected && !deed->decided) {
        tell_deed(check, SAGA_VIOLATION_UNDECIDED, trail, deed);
    }
    bool wanted = deed->answered && !deed->silent && !deed->by_hand && has_ended(trail);
    if (wanted && !deed->effected && !check->config.allow_truncated) {
        if (deed->unknown) {
            check->counts.not_judged++;
        } else {
            tell_deed(check, SAGA_VIOLATION_MISSING, trail, deed);
        }
    }
    if (deed->answered && deed->effected && deed->answer_code != deed->effect_code) {
        tell_deed(check, SAGA_VIOLATION_DIFFERS, trail, deed);
    }
}

/* S4 and S5 for one call and its undo. A read-only step has no undo, and stays SUCCEEDED. */
static void compare_undo(struct saga_audit_check *check, const struct trail *trail,
                         const struct deed *call)
{
    if (call->undo || !call->effected || call->effect_code != SAGA_CODE_OK) {
        return;
    }
    const struct deed *undo = find_deed(trail, call->step, true);
    bool undone = undo != NULL && undo->effected && undo->effect_code == SAGA_CODE_OK;
    if (undone && undo->service == call->service && undo->position < call->position) {
        tell_deed(check, SAGA_VIOLATION_FORBIDDEN, trail, call);
        return;
    }
    if (trail->state != SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATED) {
        return;
    }
    bool kept = call->step_state == SAGA__V1__STEP_STATE__STEP_STATE_SUCCEEDED && undo == NULL;
    bool by_hand = call->by_hand || (undo != NULL && undo->by_hand);
    if (!kept && !by_hand && (!undone || undo->empty)) {
        tell_deed(check, SAGA_VIOLATION_HELD, trail, call);
    }
}

static void finish_trail(struct saga_audit_check *check, const struct trail *trail)
{
    bool truncated = trail->first_seq != 1;
    if (trail->is_definition) {
        check->counts.definitions++;
        check->counts.truncated += truncated;
        return;
    }
    check->counts.sagas++;
    check->counts.completed += trail->state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPLETED;
    check->counts.compensated += trail->state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATED;
    check->counts.open += trail->first_seq != 0 && !has_ended(trail);
    check->counts.truncated += truncated;
    if (truncated && (check->config.allow_truncated || trail->first_seq != 0)) {
        return; /* half a story cannot be compared; with events missing, the gap was told */
    }
    for (size_t i = 0; i < trail->deed_count; i++) {
        compare_deed(check, trail, &trail->deeds[i]);
        compare_undo(check, trail, &trail->deeds[i]);
    }
}

void saga_audit_check_finish(struct saga_audit_check *check, struct saga_audit_counts *counts)
{
    for (size_t i = 0; i < check->trail_capacity; i++) {
        if (check->trails[i].used) {
            finish_trail(check, &check->trails[i]);
        }
    }
    *counts = check->counts;
}
