/* Inside the runtime. */
#ifndef SAGA_RUNTIME_INTERNAL_H
#define SAGA_RUNTIME_INTERNAL_H

#include "orchestrator/runtime/live.h"
#include "orchestrator/runtime/runtime.h"

enum {
    ANSWER_TEXT_SIZE = 256,
    CURSORS_MAX = 4,   /* relays */
    OFFSETS_MAX = 256, /* consumed partitions */
    TOPIC_SIZE = SAGA_TOPIC_NAME_MAX + 1,
    REASON_SIZE = SAGA_STATUS_REASON_MAX + 1,
};

#define STORE_FAILED_TEXT                                                                          \
    "the orchestrator's store has failed; it takes no work until it is restarted"
#define FENCED_TEXT "another orchestrator has taken the store over (S8); ask that one"

/* An answer that waits for the commit. */
struct pending_answer {
    void *ticket;
    struct saga_answer answer;
    char reason[REASON_SIZE];
    char message[ANSWER_TEXT_SIZE];
};

/* A command that waits for the commit; its bytes are in `elements`. */
struct pending_send {
    struct saga_outgoing outgoing;
    size_t offset;
    size_t size;
};

struct cursor {
    const char *name;
    int64_t position;
    bool pending;
};

struct offset {
    char topic[TOPIC_SIZE];
    int32_t partition;
    int64_t next;
    bool pending;
};

struct known_version {
    const struct saga_version *version; /* NULL: a place that is free */
    bool current;
    bool paused; /* its definition is */
    uint64_t live;
    size_t running; /* of those, the RUNNING ones */
};

/* What was done to a definition, by name (pause.c, definitions.c). */
struct pause {
    char name[SAGA_DEFINITION_NAME_MAX + 1];
    char who[SAGA_WHO_MAX + 1];
    char why[SAGA_WHY_MAX + 1];
    bool paused;
    bool removed;
    uint64_t seq; /* of its stream of audit events; 0: nothing was done */
    uint8_t last_hash[SAGA_DIGEST_SIZE];
    int64_t since_unix_ms;
    /* While what was held begins again, page by page. */
    bool resuming;
    size_t bucket;       /* of the table: the next to be looked at */
    size_t bucket_count; /* as it was at the last page: a table that grew is looked at anew */
};

/* What is to be done about a child saga before the turn's commit. */
enum errand_kind {
    ERRAND_CALL,  /* a parent's step calls it: start it */
    ERRAND_UNDO,  /* a parent's step undoes it: reverse it */
    ERRAND_ENDED, /* it has ended: tell its parent */
};
struct errand {
    enum errand_kind kind;
    struct saga_id saga_id; /* CALL, UNDO: the parent; ENDED: the child */
    uint8_t step;           /* CALL, UNDO: of the parent */
};

struct saga_runtime {
    struct saga_runtime_config config;
    const struct saga_store_ops *store_ops;
    struct saga_store *store;
    uint64_t epoch;
    uint64_t prng;
    uint16_t id_counter;
    bool failed;
    enum saga_err failure_err; /* with failed: the first that made it so */
    struct saga_err_detail failure;

    struct known_version versions[SAGA_DEFINITIONS_MAX];
    size_t version_count; /* free places in between included */
    bool idle_versions;   /* one that is not current may have no saga in flight any more */
    bool forgotten;       /* in this turn: it has something to commit */
    struct pause *pauses;
    size_t pause_count;
    struct live_table table;

    /* The turn. */
    bool in_turn;
    bool in_transaction;
    int64_t now_unix_ms;
    struct live *dirty;
    struct pending_answer *answers;
    size_t answer_count, answer_capacity;
    struct pending_send *sends;
    size_t send_count, send_capacity;
    struct saga_buf elements;
    bool outbox_written, audit_written;
    struct errand *errands;
    size_t errand_count, errand_capacity;
    struct saga_update update; /* of the event being taken; large, so not on the stack */

    /* What may wait for a commit. */
    struct cursor cursors[CURSORS_MAX];
    struct offset offsets[OFFSETS_MAX];
    size_t offset_count;
    int64_t pending_since_unix_ms; /* 0: none pending */

    /* Memory that is used again. */
    struct saga_buf merged, audit, record, value, child_input, look_context, look_record,
        look_space;
    char look_key[SAGA_START_KEY_MAX + 1], look_name[SAGA_DEFINITION_NAME_MAX + 1];
    uint8_t look_hash[SAGA_DIGEST_SIZE];
    struct saga_err_detail detail;

    /* The clock has gone back: sagas are looked through for times that it had set (rewind.c). */
    bool rewinding;
    size_t rewind_bucket, rewind_bucket_count;

    struct saga_id recovered_up_to;
    bool recovering; /* there are sagas yet to be loaded */
    struct saga_runtime_counts counts;
};

/* An event with what the engine does not need to know of it. */
struct happening {
    struct saga_event ev;
    const char *reason; /* of the status */
    const char *message;
    struct saga_bytes payload;
    bool replayed;
    bool empty;
    const char *who;
    const char *why;
};

/* Takes an event: engine, context, audit record, outbox; leaves row, sends and answers to the end
 * of the turn. The verdict is in runtime->update. */
void apply_event(struct saga_runtime *runtime, struct live *live, struct happening *happening);

/* Notes that the store has failed; nothing of this turn will leave. */
void fail_runtime(struct saga_runtime *runtime, enum saga_err err, const char *what);

/* Begins the turn's transaction if it has not begun. Returns false when the runtime has failed. */
bool ensure_transaction(struct saga_runtime *runtime);

/* Queues an answer. texts are copied. */
void queue_answer(struct saga_runtime *runtime, void *ticket, const struct saga_answer *answer);

/* Describes a saga's row; borrows from live and runtime->record. Returns false when the runtime has
 * failed. */
bool make_row(struct saga_runtime *runtime, const struct live *live, struct saga_row *row);

/* Marks a saga as changed in this turn. */
void mark_dirty(struct saga_runtime *runtime, struct live *live);

/* The index of a version among the known ones, or version_count. */
size_t version_index(const struct saga_runtime *runtime, const uint8_t hash[SAGA_DIGEST_SIZE]);

/* Tells whether a place holds a version of this name. */
bool has_name(const struct known_version *known, const char *name);

/* ---- rewind.c ---- */

/* Compares the time of a turn that begins with the last one's. */
void note_clock(struct saga_runtime *runtime, int64_t now_unix_ms);

/* Gives a saga a TIMER if it waits for a time that may have been set by a wrong clock. */
void check_due(struct saga_runtime *runtime, struct live *live);

/* Looks a page of sagas through, if the clock has gone back. */
void rewind_page(struct saga_runtime *runtime);

/* ---- pause.c ---- */

/* Loads what the store knows of pauses. Errors: the store's, NO_MEMORY. */
enum saga_err load_pauses(struct saga_runtime *runtime,
                          struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Tells whether a definition is paused. */
bool is_paused(const struct saga_runtime *runtime, const char *definition_name);

/* Finds what was done to a definition, or adds that nothing was. NULL: nothing was; no memory. What
 * was found moves when another is added. */
struct pause *find_pause(const struct saga_runtime *runtime, const char *name);
struct pause *find_or_add_pause(struct saga_runtime *runtime, const char *name);

/* An act on a definition; in pause: what holds then, seq of the act before. */
struct act {
    struct pause *pause;
    const struct saga_version *version; /* that it is about */
    enum saga_act act;
    const char *who;
    const char *why;
};

/* Writes an act's event and row into the turn's transaction. Returns false when the runtime has
 * failed. */
bool write_act(struct saga_runtime *runtime, const struct act *act);

/* ---- definitions.c ---- */

/* Tells whether a definition was removed. */
bool is_removed(const struct saga_runtime *runtime, const char *definition_name);

/* Any version of a name, the current one if there is one; NULL: none is known. */
const struct saga_version *any_version(const struct saga_runtime *runtime, const char *name);

/* Begins a page of what was held, of each definition that goes on again. Before the turn's commit.
 */
void resume_pages(struct saga_runtime *runtime);

/* Tells whether there are more pages. */
bool is_resuming(const struct saga_runtime *runtime);

/* ---- start.c ---- */

/* Queues the answer that something was refused or failed. */
void answer_failure(struct saga_runtime *runtime, void *ticket, enum saga_code code,
                    const char *reason, const char *message);
void answer_store_failed(struct saga_runtime *runtime, void *ticket);

/* A saga that is to be. All borrowed. */
struct making {
    size_t version_index;
    const char *key;
    struct saga_bytes input; /* checked */
    struct saga_texts texts; /* traceparent and parent */
    uint8_t digest[SAGA_DIGEST_SIZE];
};

/* Makes a saga: reserves its key, takes it into the table, gives it START. Errors: EXISTS (the key
 * is taken), NO_MEMORY; nothing has happened then, unless the runtime has failed. */
enum saga_err make_saga(struct saga_runtime *runtime, const struct making *making,
                        struct live **made) SAGA_WARN_UNUSED;

/* The index of a step; SAGA_STEP_ALL: there is none of the name. */
uint8_t find_step(const struct saga_version *version, const char *name);

/* ---- recover.c ---- */

/* Makes a saga of its row; owned by the caller. Errors: CORRUPT, NO_MEMORY; runtime->detail says.
 */
enum saga_err load_row(struct saga_runtime *runtime, const struct saga_row *row,
                       struct live **out) SAGA_WARN_UNUSED;

/* Takes a loaded saga into the table, which owns it from then on. Errors: NO_MEMORY. */
enum saga_err adopt_live(struct saga_runtime *runtime, struct live *live) SAGA_WARN_UNUSED;

/* ---- children.c ---- */

/* Notes what has to be done about a child saga, for settle_children. */
void note_child_command(struct saga_runtime *runtime, const struct live *parent,
                        const struct saga_send *send);
void note_child_end(struct saga_runtime *runtime, const struct live *child);

/* Does it, and what comes of it, in the turn's transaction. */
void settle_children(struct saga_runtime *runtime);

/* Tells whether a start key is one that only children have. */
bool is_child_key(const char *key);

/* No text is NULL. */
const char *text_or_empty(const char *text);

#endif
