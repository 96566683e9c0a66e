/* Inside the judge: what it keeps of each saga.
 *
 * A trail is one saga. Of each step it has two sides, the call's and the undo's: what was decided,
 * what left, what a participant did, what stands on the topics. */
#ifndef SAGA_SIM_JUDGE_INTERNAL_H
#define SAGA_SIM_JUDGE_INTERNAL_H

#include "common/base/arena.h"
#include "common/base/limits.h"
#include "common/wire/schema.h"
#include "orchestrator/engine/engine.h"
#include "verify/sim/judge.h"

enum {
    JUDGE_HASH_SIZE = 16,  /* bytes kept of an event's hash */
    JUDGE_TOLD_MAX = 1000, /* violations told; the rest is counted */
};

/* One side of a step: (saga, step, op). */
struct side {
    uint32_t decided;      /* attempts, in durable events */
    uint32_t not_sent;     /* of those, the log says, never left */
    uint32_t sent;         /* commands that left */
    uint32_t sent_attempt; /* the highest attempt of them */
    uint32_t attempt;      /* of the row */
    bool answered;         /* the log holds a definitive answer of the participant */
    uint8_t answer_code;
    bool by_hand; /* an operator answers for it */
    /* The barrier's row. */
    bool row;
    bool empty;
    bool published; /* it is on saga-effects */
    uint8_t code;
    uint16_t participant;
    int64_t position;
    int64_t stored_unix_ms;
    uint64_t command_hash; /* of method and payload */
    uint64_t reply_hash;   /* of the stored response */
    /* The domain. */
    bool effect;       /* the handler's effect is committed */
    uint32_t row_seen; /* generation of the tables in which it was seen */
    uint32_t ledger_seen;
};

/* An operator's act on a saga. */
struct act {
    uint64_t hash; /* of act, step, who and why */
    uint32_t asked, taken, answered;
};

/* The newest epoch that a participant knows of a saga (S8). */
struct known_epoch {
    uint16_t participant;
    uint64_t epoch;
};

struct trail {
    struct saga_id id;
    const struct saga_version *version; /* NULL: no START yet */
    struct saga saga;                   /* by replay of the durable events */
    uint8_t last_hash[SAGA_DIGEST_SIZE];
    uint8_t (*hashes)[JUDGE_HASH_SIZE]; /* of event 1, 2, … */
    size_t hash_count, hash_capacity;
    struct side *sides; /* 2 * step_count */
    struct act *acts;
    size_t act_count, act_capacity;
    struct known_epoch *epochs;
    size_t epoch_count, epoch_capacity;
    bool stream;          /* not a saga: what was done to a definition (PAUSE, RESUME) */
    struct trail *parent; /* NULL: started by a client */
    struct trail *children[SAGA_STEPS_MAX];
    bool pivot_refused;   /* a definitive no of the pivot is durable */
    bool pivot_given_up;  /* an operator has said that it has not happened */
    bool cancelled;       /* a cancel was taken */
    uint64_t late_commit; /* the commit that left it going forward past its deadline; 0: none */
    bool broken;          /* its replay has failed: told once, not replayed any more */
    bool row_there;       /* told by the present walk of the log */
    uint8_t row_state;
    uint64_t row_seq;
    uint32_t log_generation;
    uint64_t log_next; /* in the present walk */
    uint64_t topic_next;
    int32_t topic_partition; /* -1: not seen */
};

/* One start key. */
struct keyed {
    uint64_t hash; /* of definition and key; 0: free */
    bool asked;
    bool started; /* a durable START has it */
    struct saga_id id;
    uint64_t input_hash;
};

/* Where a barrier row belongs. */
struct place {
    int64_t position;
    struct trail *trail;
    uint32_t side;
};

struct journal {
    bool used;
    uint64_t service;     /* hash of its name */
    struct place *places; /* ascending */
    size_t count, capacity;
};

/* First publications of a service on a partition, which must ascend (B8). */
struct published {
    int32_t partition;
    uint16_t participant;
    int64_t position;
};

struct saga_judge {
    struct saga_judge_config config;
    enum saga_err err;
    struct saga_arena arena;
    struct saga_buf encoded;
    struct saga_update update;
    struct trail **trails; /* in order of appearance */
    size_t trail_count, trail_capacity;
    uint32_t *table; /* open addressing: index + 1; a power of two */
    size_t table_size;
    struct keyed *keys; /* open addressing; a power of two */
    size_t key_count, key_size;
    struct act *wide; /* acts on definitions */
    size_t wide_count, wide_capacity;
    struct journal journals[SAGA_JUDGE_PARTICIPANTS_MAX];
    struct published *published;
    size_t published_count, published_capacity;
    uint64_t epoch; /* newest lease */
    uint64_t commit_epoch;
    uint64_t commit_number;
    struct saga_buf commit; /* events of the commit being told: size (8 bytes), bytes */
    bool doubt;             /* a commit was lost since the last walk of the log */
    uint32_t log_generation;
    bool log_rows; /* the walk has told rows */
    uint32_t tables_generation;
    bool tables_rows, tables_effects;
    int64_t tables_unix_ms;
    size_t open, parked;
    struct saga_judge_counts counts;
};

/* ---- judge.c ---- */

/* Tells of a broken rule. trail and step may be NULL. */
void judge_tell(struct saga_judge *judge, enum saga_rule rule, const struct trail *trail,
                const char *step, const char *format, ...) __attribute__((format(printf, 5, 6)));

/* Makes room for one more element; the array is as it was without memory (judge->err). */
bool judge_grow(struct saga_judge *judge, void **array, size_t count, size_t *capacity,
                size_t size);

/* Finds a saga; NULL: unknown. And makes it when it is. */
struct trail *judge_find(const struct saga_judge *judge, struct saga_id id);
struct trail *judge_make(struct saga_judge *judge, struct saga_id id);

/* Finds or makes a key's entry; NULL without memory. */
struct keyed *judge_key(struct saga_judge *judge, const char *definition, const char *key);

uint64_t judge_hash(uint64_t hash, const void *data, size_t size);
uint64_t judge_hash_text(uint64_t hash, const char *text); /* with its zero */

enum { JUDGE_HASH_START = 17 };

/* The index of a step by name; SAGA_STEP_ALL: none. */
uint8_t judge_step(const struct trail *trail, const char *name);
struct side *judge_side(const struct trail *trail, uint8_t step, enum saga_op op);
const char *judge_step_name(const struct trail *trail, uint8_t step);

/* The pivot's index; SAGA_STEP_ALL: none. */
uint8_t judge_pivot(const struct trail *trail);

/* The declaration of a step; NULL: not known. */
const struct saga_step_decl *judge_decl(const struct trail *trail, uint8_t step);

/* ---- judge_client.c ---- */

/* An operator's event has become durable: of a saga, or of a definition's stream. */
void judge_act_taken(struct saga_judge *judge, struct trail *trail,
                     const struct saga_judge_act *act);

/* ---- judge_replay.c ---- */

/* Takes one durable event: S7, and what it says. hash: as verified. */
void judge_take_event(struct saga_judge *judge, struct saga_bytes event);

/* Reads whose event it is and its number, without decoding it. */
bool judge_peek(struct saga_bytes event, struct saga_id *id, uint64_t *seq);

#endif
