/* Child sagas: a step whose call is another saga, undone as a whole.
 *
 * A parent's decision, its child's start or turning back, and a child's end with what its parent is
 * told of it are events of two sagas in one transaction. So nothing can come between them, and a
 * child needs no barrier: it is started only while its parent's step is CALLED in that very
 * transaction, so that an undo cannot be overtaken by its call (S4).
 *
 * What is to be done is put on a list and done at the end of the turn, one after the other: a saga
 * in a saga in a saga is a longer list, not a deeper stack. It ends: every errand comes from an
 * event that was taken, steps only move forward, and within a turn no command is sent twice. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "common/base/canary.h"
#include "orchestrator/runtime/internal.h"

#define CHILD_KEY_PREFIX "child:"

enum {
    ERRANDS_FIRST = 64,
    CHILD_KEY_SIZE = sizeof CHILD_KEY_PREFIX + SAGA_ID_TEXT_SIZE + SAGA_STEP_NAME_MAX + 1,
};

_Static_assert((int)CHILD_KEY_SIZE <= (int)SAGA_START_KEY_MAX, "a child's key is a start key");

bool is_child_key(const char *key)
{
    return strncmp(key, CHILD_KEY_PREFIX, strlen(CHILD_KEY_PREFIX)) == 0;
}

/* ---- The list ---- */

static void note(struct saga_runtime *runtime, struct errand errand)
{
    if (runtime->errand_count == runtime->errand_capacity) {
        size_t capacity =
            runtime->errand_capacity == 0 ? ERRANDS_FIRST : runtime->errand_capacity * 2;
        struct errand *errands = realloc(runtime->errands, capacity * sizeof *errands);
        if (errands == NULL) {
            (void)saga_err_set(&runtime->detail, SAGA_ERR_NO_MEMORY, "note a child saga");
            fail_runtime(runtime, SAGA_ERR_NO_MEMORY, "take an event");
            return;
        }
        runtime->errands = errands;
        runtime->errand_capacity = capacity;
    }
    runtime->errands[runtime->errand_count++] = errand;
}

void note_child_command(struct saga_runtime *runtime, const struct live *parent,
                        const struct saga_send *send)
{
    note(runtime, (struct errand){
                      .kind = send->op == SAGA_OP_CALL ? ERRAND_CALL : ERRAND_UNDO,
                      .saga_id = parent->saga.id,
                      .step = send->step,
                  });
}

void note_child_end(struct saga_runtime *runtime, const struct live *child)
{
    note(runtime, (struct errand){.kind = ERRAND_ENDED, .saga_id = child->saga.id});
}

/* ---- What a parent is told ---- */

/* Tells whether a step's command is with a child now. */
static bool waits_for_child(const struct live *parent, uint8_t step, enum saga_op op)
{
    const struct saga_step_run *run = &parent->saga.steps[step];
    return run->wait == SAGA_WAIT_CHILD &&
           run->state == (op == SAGA_OP_CALL ? SAGA_STEP_CALLED : SAGA_STEP_UNDOING);
}

static void tell(struct saga_runtime *runtime, struct live *parent, struct happening *happening)
{
    struct saga_event *ev = &happening->ev;
    const struct saga_step_run *run = &parent->saga.steps[ev->step];
    SAGA_ASSERT(waits_for_child(parent, ev->step, ev->op));
    ev->kind = SAGA_EVENT_REPLY;
    ev->attempt = ev->op == SAGA_OP_CALL ? run->call_attempts : run->undo_attempts;
    apply_event(runtime, parent, happening);
}

static void tell_failure(struct saga_runtime *runtime, struct live *parent, struct happening what,
                         const char *reason, const char *message)
{
    what.reason = reason;
    what.message = message;
    tell(runtime, parent, &what);
}

/* Tells a parent how its step's child has ended, if that is what the step waits for. */
static void tell_end(struct saga_runtime *runtime, struct live *parent, uint8_t step,
                     const struct live *child, bool replayed)
{
    bool completed = child->saga.state == SAGA_STATE_COMPLETED;
    struct happening what = {.ev = {.step = step}, .replayed = replayed};
    SAGA_ASSERT(saga_ended(&child->saga));
    if (waits_for_child(parent, step, SAGA_OP_CALL)) {
        what.ev.op = SAGA_OP_CALL;
        if (completed) {
            what.payload = saga_buf_view(&child->context);
            tell(runtime, parent, &what);
        } else {
            what.ev.code = SAGA_CODE_FAILED_PRECONDITION; /* undone as a whole: a definitive no */
            tell_failure(runtime, parent, what, child->cause_reason, child->cause_message);
        }
    } else if (waits_for_child(parent, step, SAGA_OP_UNDO) && !completed) {
        what.ev.op = SAGA_OP_UNDO;
        tell(runtime, parent, &what);
    }
}

/* ---- Finding ---- */

/* The child of a parent's step: in flight, or as it ended. */
struct found_child {
    struct live *live; /* NULL: there is none */
    bool loaded;       /* from the store, not in the table: the finder's to free or adopt */
};

static size_t child_version(const struct saga_runtime *runtime, const struct live *parent,
                            uint8_t step)
{
    const uint8_t *hash = parent->version->child_hashes[step];
    SAGA_ASSERT(hash != NULL);
    return version_index(runtime, hash);
}

static void make_child_key(struct saga_id parent, const char *step, char key[CHILD_KEY_SIZE])
{
    char id[SAGA_ID_TEXT_SIZE];
    saga_id_format(parent, id);
    (void)snprintf(key, CHILD_KEY_SIZE, CHILD_KEY_PREFIX "%s/%.*s", id, SAGA_STEP_NAME_MAX, step);
}

/* Returns false when the runtime has failed. */
static bool find_child(struct saga_runtime *runtime, const struct live *parent, uint8_t step,
                       size_t version_at, struct found_child *found)
{
    char key[CHILD_KEY_SIZE];
    struct saga_row row;
    *found = (struct found_child){0};
    make_child_key(parent->saga.id, parent->version->step_names[step], key);
    enum saga_err err = ensure_transaction(runtime) ? SAGA_ERR_OK : runtime->failure_err;
    if (err == SAGA_ERR_OK) {
        err = runtime->store_ops->find_key(runtime->store,
                                           runtime->versions[version_at].version->name, key, &row,
                                           &runtime->detail);
    }
    if (err == SAGA_ERR_OK) {
        found->live = live_table_find(&runtime->table, row.id);
        found->loaded = found->live == NULL;
        err = found->loaded ? load_row(runtime, &row, &found->live) : SAGA_ERR_OK;
    } else if (err == SAGA_ERR_NOT_FOUND) {
        err = SAGA_ERR_OK;
    }
    if (err != SAGA_ERR_OK) {
        fail_runtime(runtime, err, "find a child saga");
    }
    return err == SAGA_ERR_OK;
}

/* ---- Call ---- */

/* Its key is taken: it was started before. If it has ended, its parent may not know. */
static void ask_again(struct saga_runtime *runtime, struct live *parent, uint8_t step,
                      size_t version_at)
{
    struct found_child child;
    if (!find_child(runtime, parent, step, version_at, &child) || child.live == NULL) {
        return;
    }
    if (saga_ended(&child.live->saga)) {
        tell_end(runtime, parent, step, child.live, true);
    }
    if (child.loaded) {
        live_free(child.live);
    }
}

/* Fills the child's input. Returns false when there is none: the parent was told, or the runtime
 * has failed. */
static bool make_input(struct saga_runtime *runtime, struct live *parent, uint8_t step,
                       const struct saga_version *version)
{
    const struct saga_codec_ops *codec = runtime->config.codec;
    saga_buf_clear(&runtime->child_input);
    enum saga_err err = codec->child_input(parent->version, step, saga_buf_view(&parent->context),
                                           &runtime->child_input);
    if (err == SAGA_ERR_OK) {
        err = codec->check_input(version, saga_buf_view(&runtime->child_input), &runtime->detail);
    } else {
        (void)saga_err_set(&runtime->detail, err, "the child saga's input");
    }
    if (err == SAGA_ERR_OK) {
        return true;
    }
    if (err == SAGA_ERR_NO_MEMORY) {
        fail_runtime(runtime, err, "start a child saga");
    } else {
        struct happening no = {
            .ev = {.step = step, .op = SAGA_OP_CALL, .code = SAGA_CODE_INVALID_ARGUMENT}};
        tell_failure(runtime, parent, no, "BAD_INPUT", runtime->detail.text);
    }
    return false;
}

static void call_child(struct saga_runtime *runtime, struct live *parent, uint8_t step)
{
    struct happening no = {.ev = {.step = step, .op = SAGA_OP_CALL}};
    size_t at = child_version(runtime, parent, step);
    if (at == runtime->version_count) {
        no.ev.code = SAGA_CODE_UNIMPLEMENTED; /* parks: a person must bring it */
        tell_failure(runtime, parent, no, "DEFINITION_UNKNOWN",
                     "the child saga's definition, as it was when this one's was declared, is not "
                     "there; start the orchestrator with a descriptor set that has it");
        return;
    }
    if (!make_input(runtime, parent, step, runtime->versions[at].version)) {
        return;
    }
    char key[CHILD_KEY_SIZE];
    make_child_key(parent->saga.id, parent->version->step_names[step], key);
    struct making making = {
        .version_index = at,
        .key = key,
        .input = saga_buf_view(&runtime->child_input),
        .texts = {"", "", parent->traceparent, parent->version->step_names[step], parent->saga.id},
    };
    runtime->config.codec->digest(making.input, making.digest);
    struct live *child = NULL;
    enum saga_err err = make_saga(runtime, &making, &child);
    if (runtime->failed) {
        return;
    }
    if (err == SAGA_ERR_EXISTS) {
        ask_again(runtime, parent, step, at);
    } else if (err != SAGA_ERR_OK) {
        no.ev.code = SAGA_CODE_UNAVAILABLE;
        tell_failure(runtime, parent, no, "NO_MEMORY", "out of memory");
    }
}

/* ---- Undo ---- */

/* Turns a child back that may have COMPLETED. Its end is told when it comes, perhaps at once. */
static void reverse(struct saga_runtime *runtime, struct live *parent, uint8_t step,
                    const struct found_child *child)
{
    if (child->loaded) {
        enum saga_err err = adopt_live(runtime, child->live);
        if (err != SAGA_ERR_OK) {
            live_free(child->live);
            fail_runtime(runtime, err, "keep a child saga");
            return;
        }
    }
    struct happening happening = {.ev = {.kind = SAGA_EVENT_REVERSE, .step = SAGA_STEP_ALL}};
    apply_event(runtime, child->live, &happening);
    if (runtime->update.verdict != SAGA_VERDICT_REFUSED) {
        return;
    }
    /* S2. The static checks allow no such child; told again and again, the step is stalled, and a
     * person decides. */
    struct happening no = {
        .ev = {.step = step, .op = SAGA_OP_UNDO, .code = SAGA_CODE_FAILED_PRECONDITION}};
    if (child->loaded) {
        runtime->versions[child->live->version_index].live -= 1;
        live_table_take(&runtime->table, child->live);
        live_free(child->live);
    }
    tell_failure(runtime, parent, no, "PIVOT_REACHED", runtime->update.refusal);
}

static void undo_child(struct saga_runtime *runtime, struct live *parent, uint8_t step)
{
    struct happening what = {.ev = {.step = step, .op = SAGA_OP_UNDO}};
    struct found_child child;
    size_t at = child_version(runtime, parent, step);
    if (at == runtime->version_count) {
        what.ev.code = SAGA_CODE_UNIMPLEMENTED;
        tell_failure(runtime, parent, what, "DEFINITION_UNKNOWN",
                     "the child saga's definition is not there");
        return;
    }
    if (!find_child(runtime, parent, step, at, &child)) {
        return;
    }
    if (child.live == NULL ||
        (child.live->saga.state == SAGA_STATE_COMPLETED && SAGA_BROKEN(S5_CHILD_LEFT))) {
        /* Never started, and never will be: its parent's step is CALLED no more (S4). */
        what.empty = true;
        tell(runtime, parent, &what);
    } else if (child.live->saga.state != SAGA_STATE_COMPENSATED) {
        reverse(runtime, parent, step, &child);
    } else {
        tell_end(runtime, parent, step, child.live, true);
        if (child.loaded) {
            live_free(child.live);
        }
    }
}

/* ---- Errands ---- */

static void report_end(struct saga_runtime *runtime, const struct live *child)
{
    /* It may have been turned back in the turn in which it completed. */
    if (!saga_ended(&child->saga)) {
        return;
    }
    struct live *parent = live_table_find(&runtime->table, child->parent_id);
    uint8_t step = parent == NULL ? SAGA_STEP_ALL : find_step(parent->version, child->parent_step);
    if (step != SAGA_STEP_ALL && !SAGA_BROKEN(S1_CHILD_UNTOLD)) {
        tell_end(runtime, parent, step, child, false);
    }
}

/* What was noted counts only if it is still so: a later event of the turn may have overtaken it. */
static void run_errand(struct saga_runtime *runtime, const struct errand *errand)
{
    struct live *live = live_table_find(&runtime->table, errand->saga_id);
    if (live == NULL) {
        return;
    }
    switch (errand->kind) {
    case ERRAND_CALL:
        if (waits_for_child(live, errand->step, SAGA_OP_CALL) || SAGA_BROKEN(S4_CHILD_AFTER_UNDO)) {
            call_child(runtime, live, errand->step);
        }
        break;
    case ERRAND_UNDO:
        if (waits_for_child(live, errand->step, SAGA_OP_UNDO)) {
            undo_child(runtime, live, errand->step);
        }
        break;
    case ERRAND_ENDED:
        report_end(runtime, live);
        break;
    }
}

void settle_children(struct saga_runtime *runtime)
{
    if (runtime->recovering && !runtime->failed) {
        return;
    }
    for (size_t i = 0; i < runtime->errand_count && !runtime->failed; i++) {
        struct errand errand = runtime->errands[i]; /* the list may move while it grows */
        run_errand(runtime, &errand);
    }
    runtime->errand_count = 0;
}

/* ---- Looking ---- */

enum saga_err saga_runtime_child(struct saga_runtime *runtime, const struct saga_look *parent,
                                 uint8_t step, struct saga_child *child,
                                 struct saga_err_detail *detail)
{
    SAGA_ASSERT(!runtime->in_turn && step < parent->saga.step_count);
    const struct saga_version *version = parent->version;
    const char *name = version == NULL ? NULL : version->child_names[step];
    char key[CHILD_KEY_SIZE];
    struct saga_row row;
    if (name == NULL) {
        return saga_err_set(detail, SAGA_ERR_NOT_FOUND, "the step runs no saga that is known");
    }
    make_child_key(parent->saga.id, version->step_names[step], key);
    enum saga_err err = runtime->store_ops->find_key(runtime->store, name, key, &row, detail);
    if (err == SAGA_ERR_OK) {
        *child = (struct saga_child){.id = row.id, .state = (enum saga_state)row.state};
    }
    return err;
}
