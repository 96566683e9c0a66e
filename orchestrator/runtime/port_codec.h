/* The codec port: what the runtime needs of schemas and encodings, which it does not know.
 * Implemented by orchestrator/codec.
 *
 * Thread: the loop's. Buffers are appended to unless said otherwise. */
#ifndef SAGA_RUNTIME_PORT_CODEC_H
#define SAGA_RUNTIME_PORT_CODEC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "orchestrator/engine/engine.h"
#include "orchestrator/runtime/port_store.h"

enum { SAGA_NO_PARTICIPANT = 0xffff };

/* A definition version as the runtime knows it. Made by the daemon, immutable, lives until the
 * runtime has forgotten it. */
struct saga_version {
    const char *name;
    uint8_t hash[SAGA_DIGEST_SIZE];
    struct saga_definition def;
    const char *step_names[SAGA_STEPS_MAX];
    uint16_t call_participants[SAGA_STEPS_MAX]; /* the transport's numbers; SAGA_NO_PARTICIPANT: the
                                                   step has no call */
    uint16_t undo_participants[SAGA_STEPS_MAX];
    const uint8_t *child_hashes[SAGA_STEPS_MAX]; /* of the version that the step runs as a child
                                                    saga; NULL: it runs none */
    const char *child_names[SAGA_STEPS_MAX];     /* its definition; NULL: none */
    const void *decl;                            /* the codec's: struct saga_decl */
};

/* What goes with a saga's state. Texts are never NULL. */
struct saga_texts {
    const char *cause_reason; /* of the status that turned it back or parked it */
    const char *cause_message;
    const char *traceparent;
    const char *parent_step; /* the step that it is of another saga; "": of none */
    struct saga_id parent_id;
};

/* Everything of one audit event. */
struct saga_audit_input {
    const struct saga_version *version;
    const struct saga *saga; /* after the event */
    const struct saga_event *ev;
    const struct saga_update *up;
    const char *reason; /* REPLY: of the status; with cause_set of the cause */
    const char *message;
    struct saga_bytes payload; /* START: the context; REPLY: the response */
    bool replayed;
    bool empty;
    const char *who; /* OPERATOR */
    const char *why;
    const char *start_key;    /* START */
    const char *parent_step;  /* START: of a child saga; NULL or "": it is none */
    struct saga_id parent_id; /* START: of a child saga */
    const uint8_t *prev_hash; /* SAGA_DIGEST_SIZE bytes; ignored in the first event */
};

/* A command to be encoded. */
struct saga_command_input {
    const struct saga_version *version;
    const struct saga *saga;
    const struct saga_send *send;
    const struct saga_texts *texts;
    struct saga_bytes context;
    uint64_t epoch;
    bool batch_element; /* true: as an element of a CommandBatch; false: as a message of its own (a
                           Kafka value) */
};

struct saga_codec_ops {
    /* Checks a start's input against the context type. Errors: MALFORMED, LIMIT; detail names the
     * field. */
    enum saga_err (*check_input)(const struct saga_version *version, struct saga_bytes input,
                                 struct saga_err_detail *detail);
    /* SHA-256 of bytes. */
    void (*digest)(struct saga_bytes bytes, uint8_t digest[SAGA_DIGEST_SIZE]);
    /* Appends the context with a step's reply merged in. Errors: MALFORMED, LIMIT. */
    enum saga_err (*merge_reply)(const struct saga_version *version, uint8_t step,
                                 struct saga_bytes context, struct saga_bytes reply,
                                 struct saga_buf *out, struct saga_err_detail *detail);
    /* Checks a reply's payload against the response type. */
    enum saga_err (*check_reply)(const struct saga_version *version, uint8_t step, enum saga_op op,
                                 struct saga_bytes reply, struct saga_err_detail *detail);
    /* Bit i: the condition of step i holds. */
    uint64_t (*when_mask)(const struct saga_version *version, struct saga_bytes context);
    /* Appends the input of the child saga that a step runs. Errors: MALFORMED. */
    enum saga_err (*child_input)(const struct saga_version *version, uint8_t step,
                                 struct saga_bytes context, struct saga_buf *out);
    enum saga_err (*encode_command)(const struct saga_command_input *in, struct saga_buf *out);
    /* Appends an audit event; hash is that of this event, for the next one's prev_hash. */
    enum saga_err (*encode_audit)(const struct saga_audit_input *in, struct saga_buf *out,
                                  uint8_t hash[SAGA_DIGEST_SIZE]);
    enum saga_err (*encode_record)(const struct saga *saga, const struct saga_texts *texts,
                                   struct saga_buf *out);
    /* Texts borrow from the record. Errors: CORRUPT. */
    enum saga_err (*decode_record)(struct saga_bytes record, struct saga *saga,
                                   struct saga_texts *texts, struct saga_buf *space);
    /* Names the topics of a step's command that goes by Kafka, and of its reply. */
    const char *(*command_topic)(const struct saga_version *version, uint8_t step, enum saga_op op);
    const char *(*reply_topic)(const struct saga_version *version, uint8_t step, enum saga_op op);
};

#endif
