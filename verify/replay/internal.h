/* Inside the room. */
#ifndef SAGA_VERIFY_REPLAY_INTERNAL_H
#define SAGA_VERIFY_REPLAY_INTERNAL_H

#include "common/base/arena.h"
#include "orchestrator/engine/engine.h"
#include "saga/v1/audit.pb-c.h"
#include "verify/replay/replay.h"

/* A text of bounded size that is being written; what does not fit is left out, and shown so. */
struct replay_text {
    char at[SAGA_REPLAY_TEXT_SIZE];
    size_t size;
};

struct saga_replay {
    struct saga_replay_config config;
    struct saga_replay_counts counts;

    /* The saga that is looked at. */
    bool begun;
    bool done; /* nothing more is to be learnt of it */
    enum saga_err err;
    const struct saga_version *version; /* NULL: not known */
    struct saga_id id;
    char definition[SAGA_DEFINITION_NAME_MAX + 1];
    struct saga saga;
    struct saga_buf context, merged;
    uint8_t last_hash[SAGA_DIGEST_SIZE];
    uint8_t start_digest[SAGA_DIGEST_SIZE];
    char start_key[SAGA_START_KEY_MAX + 1];
    char cause_reason[SAGA_STATUS_REASON_MAX + 1];
    char cause_message[SAGA_STATUS_MESSAGE_MAX + 1];

    /* What was found. */
    struct saga_arena texts_arena; /* of the fields */
    struct saga_replay_field fields[SAGA_REPLAY_FIELDS_MAX];
    size_t field_count;

    /* Memory that is used again; large, so not on the stack. */
    struct saga_arena arena; /* of the event */
    struct saga_buf encoded;
    struct saga_update update;
    struct saga stored;
    struct replay_text texts[2];
    struct replay_text headline;
};

void replay_text_clear(struct replay_text *text);
void replay_text_add(struct replay_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* A field of an event, written so that two that differ are written differently (bytes by their
 * digest). */
struct replay_event_field {
    const char *name;
    void (*write)(const Saga__V1__AuditEvent *event, struct replay_text *text);
};
/* What was decided first, then the rest; ended by a name NULL. The hash is not among them: it
 * differs whenever anything does. */
extern const struct replay_event_field replay_event_fields[];

/* Writes an event in words: "REPLY stock CALL attempt 1: OUT_OF_RANGE OUT_OF_STOCK". */
void replay_write_event(const Saga__V1__AuditEvent *event, struct replay_text *text);

/* Compares two states, field by field, by saga_replay_compare. */
void replay_compare_states(struct saga_replay *replay, const struct saga_version *version,
                           const struct saga *recorded, const struct saga *now);

/* Compares bytes, written as their size and digest. */
void replay_compare_bytes(struct saga_replay *replay, const char *name, struct saga_bytes recorded,
                          struct saga_bytes now);

/* Compares numbers. */
void replay_compare_number(struct saga_replay *replay, const char *name, int64_t recorded,
                           int64_t now);

#endif
