/* Inside the room. */
#ifndef SAGA_VERIFY_REPLAY_INTERNAL_H
#define SAGA_VERIFY_REPLAY_INTERNAL_H

#include <setjmp.h>

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
    bool ended; /* by what is stored */
    bool done;  /* nothing more is to be learnt of it */
    enum saga_err err;
    const struct saga_version *version; /* NULL: not known */
    struct saga_version past;           /* of an act: its version, which was dropped since */
    bool stream;                        /* it is none, but a definition's acts */
    bool paused;                        /* by the last act that paused it or let it go on */
    bool removed;                       /* by the last act that applied or removed it */
    int64_t act_unix_ms;                /* of it */
    char who[SAGA_WHO_MAX + 1];
    char why[SAGA_WHY_MAX + 1];
    struct saga_id id;
    char definition[SAGA_DEFINITION_NAME_MAX + 1];
    struct saga saga;
    struct saga_buf context, merged;
    uint8_t last_hash[SAGA_DIGEST_SIZE];
    uint8_t start_digest[SAGA_DIGEST_SIZE];
    char start_key[SAGA_START_KEY_MAX + 1];
    char parent_step[SAGA_STEP_NAME_MAX + 1];
    struct saga_id parent_id;
    char cause_reason[SAGA_STATUS_REASON_MAX + 1];
    char cause_message[SAGA_STATUS_MESSAGE_MAX + 1];

    /* Where to go on when the engine gives up, and its last words. */
    jmp_buf gave_up;
    char last_words[SAGA_ERR_DETAIL_SIZE];

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

/* ---- replay.c, for acts.c ---- */

bool replay_broken(struct saga_replay *replay, uint64_t seq, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Makes what is encoded of a recorded event. */
struct saga_audit_input replay_input(struct saga_replay *replay, const Saga__V1__AuditEvent *event,
                                     const struct saga_event *ev);

/* Encodes a decided event and compares it with what was recorded; tells when it differs. Gives
 * whether to go on. */
bool replay_compare_event(struct saga_replay *replay, const Saga__V1__AuditEvent *event,
                          const struct saga_audit_input *in, struct saga_bytes bytes);

/* ---- acts.c ---- */

/* Takes an event of a definition's stream that stands in its place. */
bool replay_act(struct saga_replay *replay, const Saga__V1__AuditEvent *event,
                struct saga_bytes bytes);

/* ---- words.c ---- */

/* A field of an event, written so that two that differ are written differently (bytes by their
 * digest). */
struct replay_event_field {
    const char *name;
    bool decided; /* by the engine; the others are what had happened */
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
