/* Random walks over sagas in sagas: the real runtime and store, participants with a barrier,
 * replies of every class, lost ones, time, operators, crashes, failing store calls. Whatever
 * happens, in the end every saga has ended, every parent's step agrees with its child, and what is
 * COMPENSATED holds nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "tests/unit/runtime/world.h"

enum {
    SAGAS_MAX = 64,
    KEYS_MAX = 256,
    WALKS = 60,
    WILD_STEPS = 120,   /* actions with faults */
    CALM_STEPS = 20000, /* actions after which all must have ended */
};

/* What a participant has for one step of one saga: its barrier rows (B1-B6). */
struct barrier {
    struct saga_id id;
    uint8_t step;
    bool called;    /* the call was answered for good */
    uint32_t code;  /* with that */
    bool effect;    /* and its effect is there */
    bool undone;    /* its undo came: the call is forbidden */
    unsigned count; /* effects that were ever made: at most one (S3) */
};

struct walk {
    struct world *world;
    uint64_t prng;
    bool calm;
    struct saga_id ids[SAGAS_MAX];
    size_t id_count;
    struct barrier barriers[KEYS_MAX];
    size_t barrier_count;
    unsigned crashes, failures, reversals;
};

static uint64_t below(struct walk *walk, uint64_t bound)
{
    return saga_prng_below(&walk->prng, bound);
}

static bool wild(struct walk *walk, uint64_t of_hundred)
{
    return !walk->calm && below(walk, 100) < of_hundred;
}

static struct barrier *barrier_of(struct walk *walk, struct saga_id id, uint8_t step)
{
    for (size_t i = 0; i < walk->barrier_count; i++) {
        if (saga_id_equal(walk->barriers[i].id, id) && walk->barriers[i].step == step) {
            return &walk->barriers[i];
        }
    }
    assert_true(walk->barrier_count < KEYS_MAX);
    struct barrier *made = &walk->barriers[walk->barrier_count++];
    *made = (struct barrier){.id = id, .step = step};
    return made;
}

/* ---- The sagas that there are ---- */

static bool visit_saga(void *user, const struct saga_row *row)
{
    struct walk *walk = user;
    assert_true(walk->id_count < SAGAS_MAX);
    walk->ids[walk->id_count++] = row->id;
    return true;
}

static void list_sagas(struct walk *walk)
{
    struct saga_list_filter filter = {.count_max = SAGAS_MAX};
    walk->id_count = 0;
    assert_int_equal(walk->world->inner.ops->list_sagas(walk->world->inner.store, &filter,
                                                        visit_saga, walk, NULL),
                     SAGA_ERR_OK);
}

static struct saga_look look_at(struct walk *walk, struct saga_id id)
{
    struct saga_look look;
    assert_int_equal(saga_runtime_look(walk->world->runtime, id, &look, NULL), SAGA_ERR_OK);
    return look;
}

/* ---- Turns ---- */

static void begin(struct walk *walk)
{
    struct world *world = walk->world;
    world->sent_count = 0;
    world->answer_count = 0;
    if (wild(walk, 8)) {
        world->calls = 0;
        world->fail_at = (unsigned)(1 + below(walk, 8));
        world->reads_fail = true;
    }
    saga_runtime_turn_begin(world->runtime, world->now);
}

static void end(struct walk *walk)
{
    struct world *world = walk->world;
    enum saga_err err = saga_runtime_turn_end(world->runtime, false, NULL);
    bool failed = err != SAGA_ERR_OK;
    assert_int_equal(world->sends_before_commit, 0); /* S6 */
    world->reads_fail = false;
    world->fail_at = 0;
    if (failed) {
        walk->failures += 1;
        assert_int_equal(world->sent_count, 0);
        world_crash(world);
    } else if (wild(walk, 3)) {
        walk->crashes += 1;
        world_crash(world);
    }
}

static void reply(struct walk *walk, struct saga_id id, uint8_t step, enum saga_op op,
                  uint32_t code)
{
    struct saga_runtime_reply reply = {
        .saga_id = id, .step = step, .op = op, .code = code, .reason = code == 0 ? "" : "WHY"};
    begin(walk);
    saga_runtime_reply(walk->world->runtime, &reply);
    end(walk);
}

/* ---- Participants ---- */

static uint32_t decide_call(struct walk *walk, struct barrier *barrier, bool must_succeed)
{
    if (barrier->undone) {
        return SAGA_CODE_FAILED_PRECONDITION; /* B3 */
    }
    if (!barrier->called) {
        bool no = !must_succeed && below(walk, 100) < 12;
        barrier->called = true;
        barrier->code = no ? SAGA_CODE_FAILED_PRECONDITION : SAGA_CODE_OK;
        barrier->effect = !no;
        barrier->count += no ? 0 : 1;
    }
    return barrier->code;
}

static void take_call(struct walk *walk, const struct saga_look *look, struct saga_id id,
                      uint8_t step)
{
    static const uint32_t failures[] = {SAGA_CODE_UNAVAILABLE, SAGA_CODE_INTERNAL,
                                        SAGA_CODE_PERMISSION_DENIED};
    bool behind = (look->version->def.retriable_mask >> step & 1) != 0;
    if (wild(walk, 15)) {
        if (below(walk, 2) == 0) { /* it was done, but nobody is told */
            (void)decide_call(walk, barrier_of(walk, id, step), behind);
        }
        reply(walk, id, step, SAGA_OP_CALL, failures[below(walk, 3)]);
        return;
    }
    uint32_t code = decide_call(walk, barrier_of(walk, id, step), behind);
    reply(walk, id, step, SAGA_OP_CALL, code);
}

static void take_undo(struct walk *walk, struct saga_id id, uint8_t step)
{
    struct barrier *barrier = barrier_of(walk, id, step);
    if (wild(walk, 15)) {
        reply(walk, id, step, SAGA_OP_UNDO, SAGA_CODE_UNAVAILABLE);
        return;
    }
    barrier->effect = false;
    barrier->undone = true;
    reply(walk, id, step, SAGA_OP_UNDO, SAGA_CODE_OK);
}

static void operate(struct walk *walk, struct saga_id id, enum saga_act act)
{
    struct saga_operate operate = {.saga_id = id,
                                   .act = act,
                                   .step_name = "",
                                   .who = "me",
                                   .why = "walk",
                                   .ticket = walk->world};
    begin(walk);
    saga_runtime_operate(walk->world->runtime, &operate);
    end(walk);
}

static void hold(struct walk *walk, enum saga_act act, const char *definition)
{
    struct saga_pause_act pause = {
        .definition = definition, .act = act, .who = "me", .why = "walk", .ticket = walk->world};
    begin(walk);
    saga_runtime_pause(walk->world->runtime, &pause);
    end(walk);
}

/* Does something about one step. Returns false when there is nothing to do. */
static bool act_on_step(struct walk *walk, const struct saga_look *look, struct saga_id id,
                        uint8_t step)
{
    const struct saga_step_run *run = &look->saga.steps[step];
    if (run->wait == SAGA_WAIT_DURABLE) {
        begin(walk);
        saga_runtime_durable(walk->world->runtime, id, step, SAGA_OP_UNDO, run->undo_attempts);
        end(walk);
    } else if (run->wait == SAGA_WAIT_REPLY && run->state == SAGA_STEP_CALLED) {
        take_call(walk, look, id, step);
    } else if (run->wait == SAGA_WAIT_REPLY) {
        take_undo(walk, id, step);
    } else if (run->parked) {
        operate(walk, id, SAGA_ACT_RETRY);
    } else {
        return false;
    }
    return true;
}

static void act(struct walk *walk)
{
    struct world *world = walk->world;
    list_sagas(walk);
    struct saga_id id = walk->ids[below(walk, walk->id_count)];
    struct saga_look look = look_at(walk, id);
    if (wild(walk, 3)) {
        operate(walk, id, below(walk, 2) == 0 ? SAGA_ACT_CANCEL : SAGA_ACT_COMPENSATE);
        return;
    }
    if (wild(walk, 4)) {
        hold(walk, below(walk, 2) == 0 ? SAGA_ACT_PAUSE : SAGA_ACT_RESUME,
             world->extras[below(walk, world->extra_count)].name);
        return;
    }
    if (below(walk, 100) < 10) {
        int64_t due = saga_runtime_next_due(world->runtime);
        world->now = due > world->now ? due : world->now + 1;
        begin(walk);
        end(walk);
        return;
    }
    uint8_t first = (uint8_t)below(walk, look.saga.step_count);
    for (uint8_t i = 0; i < look.saga.step_count; i++) {
        if (act_on_step(walk, &look, id, (uint8_t)((first + i) % look.saga.step_count))) {
            return;
        }
    }
}

/* ---- The end ---- */

static void check_nested_step(struct walk *walk, const struct saga_look *parent, uint8_t step)
{
    struct saga_child child;
    struct saga_look copy = *parent;
    uint8_t state = parent->saga.steps[step].state;
    enum saga_err err = saga_runtime_child(walk->world->runtime, &copy, step, &child, NULL);
    if (err == SAGA_ERR_NOT_FOUND) {
        assert_true(state == SAGA_STEP_SKIPPED || state == SAGA_STEP_UNDONE);
        return;
    }
    assert_int_equal(err, SAGA_ERR_OK);
    assert_int_equal(child.state,
                     state == SAGA_STEP_SUCCEEDED ? SAGA_STATE_COMPLETED : SAGA_STATE_COMPENSATED);
    assert_true(state == SAGA_STEP_SUCCEEDED || state == SAGA_STEP_REJECTED ||
                state == SAGA_STEP_UNDONE);
}

static void check_saga(struct walk *walk, struct saga_id id)
{
    struct saga_look look = look_at(walk, id);
    const struct saga_definition *def = &look.version->def;
    bool completed = look.saga.state == SAGA_STATE_COMPLETED;
    assert_true(completed || look.saga.state == SAGA_STATE_COMPENSATED); /* S1 */
    walk->reversals += look.saga.cause == SAGA_CAUSE_PARENT ? 1 : 0;
    for (uint8_t step = 0; step < def->step_count; step++) {
        if (def->steps[step].call_via == SAGA_VIA_CHILD) {
            check_nested_step(walk, &look, step);
            continue;
        }
        const struct barrier *barrier = barrier_of(walk, id, step);
        assert_true(barrier->count <= 1); /* S3 */
        if (def->steps[step].has_call && !def->steps[step].read_only) {
            assert_int_equal(barrier->effect, completed);
        }
    }
}

static void start(struct walk *walk, const char *definition)
{
    static const uint8_t input[] = {0x08, 5, 0x10, 7};
    struct saga_start start = {.definition = definition,
                               .key = "1",
                               .input = {input, sizeof input},
                               .traceparent = "",
                               .ticket = walk->world};
    saga_runtime_turn_begin(walk->world->runtime, walk->world->now);
    saga_runtime_start(walk->world->runtime, &start);
    assert_int_equal(saga_runtime_turn_end(walk->world->runtime, false, NULL), SAGA_ERR_OK);
}

static void run_walk(struct walk *walk, uint64_t seed)
{
    struct world *world = calloc(1, sizeof *world);
    assert_non_null(world);
    world_open_with(world, SAGA_NESTED_SET);
    world->live_max = SAGAS_MAX;
    walk->world = world;
    walk->prng = seed;
    walk->calm = false;
    walk->barrier_count = 0;
    start(walk, seed % 3 == 0 ? "hold-twice" : "order-nested");
    for (int i = 0; i < WILD_STEPS; i++) {
        act(walk);
    }
    walk->calm = true;
    for (size_t i = 0; i < world->extra_count; i++) {
        hold(walk, SAGA_ACT_RESUME, world->extras[i].name);
    }
    for (int i = 0; saga_runtime_live_count(world->runtime) > 0; i++) {
        if (i == CALM_STEPS) {
            fail_msg("seed %u: it does not end", (unsigned)seed);
        }
        act(walk);
    }
    list_sagas(walk);
    for (size_t i = 0; i < walk->id_count; i++) {
        check_saga(walk, walk->ids[i]);
    }
    world_fini(world);
    free(world);
}

static void test_walk_when_anything_happens_then_all_ends_and_agrees(void **state)
{
    (void)state;
    static struct walk walk;
    for (uint64_t seed = 1; seed <= WALKS; seed++) {
        run_walk(&walk, seed);
    }
    print_message("%u crashes, %u failed turns, %u reversed children\n", walk.crashes,
                  walk.failures, walk.reversals);
    /* The walks have been where it matters. */
    assert_true(walk.crashes > WALKS / 3);
    assert_true(walk.failures > WALKS / 3);
    assert_true(walk.reversals > WALKS / 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_walk_when_anything_happens_then_all_ends_and_agrees),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
