/* Random walks: random sagas on the engine, participants with a barrier, a network that loses,
 * doubles and reorders, an orchestrator that crashes between persisting and sending. Then all
 * faults stop and every saga must end (S1), with S2-S6 checked on what the participants did.
 *
 * Each walk is determined by its number; SAGA_WALK_FIRST and SAGA_WALK_COUNT choose others. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "orchestrator/engine/engine.h"

enum { BAG_MAX = 512, FAULTY_TURNS = 60, HEALED_TURNS = 5000, STEPS_IN_WALK_MAX = 7 };

/* What a participant has stored for one step. */
struct stored {
    bool call_there, undo_there;
    uint32_t call_code;
    bool effect; /* the call took effect */
    bool undone; /* and was undone */
    unsigned effects, undos;
};

struct message {
    bool is_reply;
    bool durable; /* not a message but Kafka's word */
    uint8_t step;
    enum saga_op op;
    uint32_t attempt;
    uint32_t code;
    bool not_sent;
    int64_t deadline_unix_ms;
};

struct walk {
    uint64_t prng;
    struct saga_definition def;
    struct saga saga;
    struct saga_update up;
    struct stored stored[SAGA_STEPS_MAX];
    struct message bag[BAG_MAX];
    size_t bag_count;
    int64_t now;
    bool faults;
    bool paused;
    unsigned reject_permille;
    unsigned long number;
};

static bool chance(struct walk *walk, unsigned permille)
{
    return saga_prng_below(&walk->prng, 1000) < permille;
}

#define check(walk, condition)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            print_error("walk %lu: %s\n", (walk)->number, #condition);                             \
            fail();                                                                                \
        }                                                                                          \
    } while (0)

static void put(struct walk *walk, struct message message)
{
    if (walk->bag_count == BAG_MAX) {
        walk->bag_count -= 1; /* lost */
    }
    walk->bag[walk->bag_count++] = message;
}

/* A chain or a diamond with a pivot somewhere, or none. */
static void make_definition(struct walk *walk)
{
    struct saga_definition *def = &walk->def;
    def->step_count = 1 + (uint32_t)saga_prng_below(&walk->prng, STEPS_IN_WALK_MAX);
    def->deadline_ms = 20000;
    uint32_t pivot = (uint32_t)saga_prng_below(&walk->prng, def->step_count + 1);
    for (uint32_t i = 0; i < def->step_count; i++) {
        struct saga_step_def *step = &def->steps[i];
        bool before = i < pivot;
        *step = (struct saga_step_def){
            .has_call = i > 0 || chance(walk, 700),
            .pivot = i == pivot && i > 0,
            .call_via = chance(walk, 800) ? SAGA_VIA_NNG : SAGA_VIA_KAFKA,
            .undo_via = chance(walk, 800) ? SAGA_VIA_KAFKA : SAGA_VIA_NNG,
            .call_attempts_max = 1 + (uint32_t)saga_prng_below(&walk->prng, 4),
            .undo_attempts_max = 3,
            .call_delay_ms = 50,
            .call_delay_ms_max = 1000,
            .undo_delay_ms = 50,
            .undo_delay_ms_max = 1000,
            .call_deadline_ms = 1000,
            .undo_deadline_ms = 1000,
        };
        step->read_only = step->has_call && before && chance(walk, 150);
        step->has_undo =
            (before || pivot == 0 || pivot == def->step_count) && !step->read_only && !step->pivot;
        if (step->has_call && !step->read_only && chance(walk, 100)) {
            step->call_via = SAGA_VIA_CHILD; /* a saga of its own */
            step->undo_via = SAGA_VIA_CHILD;
        }
        step->conditional = step->has_call && !step->pivot && chance(walk, 100);
        /* Everything comes after the pivot or before it; otherwise after any earlier steps. */
        for (uint32_t j = 0; j < i; j++) {
            bool must = step->pivot || (def->steps[j].pivot);
            step->after_mask |= must || chance(walk, 500) ? UINT64_C(1) << j : 0;
        }
    }
    if (!saga_definition_finish(def)) {
        def->step_count = 1; /* did not come out right: a chain of one */
        def->steps[0] = (struct saga_step_def){.has_undo = true};
        check(walk, saga_definition_finish(def));
    }
}

static void step_engine(struct walk *walk, struct saga_event ev);

/* The caller's duties: what is decided is persisted (here: kept), then sent; a crash in between
 * loses the sending. */
static void carry_out(struct walk *walk)
{
    for (uint32_t i = 0; i < walk->up.send_count; i++) {
        const struct saga_send send = walk->up.sends[i];
        struct message message = {.step = send.step,
                                  .op = send.op,
                                  .attempt = send.attempt,
                                  .deadline_unix_ms = send.deadline_unix_ms};
        if (send.via == SAGA_VIA_CHILD) {
            put(walk, message); /* it starts with the same commit */
        } else if (send.via == SAGA_VIA_KAFKA) {
            put(walk, message); /* the outbox row is durable, so it arrives some time */
            message.durable = true;
            put(walk, message);
        } else if (walk->faults && chance(walk, 100)) {
            message.is_reply = true;
            message.not_sent = true;
            message.code = SAGA_CODE_UNAVAILABLE;
            put(walk, message);
        } else if (!walk->faults || chance(walk, 900)) {
            put(walk, message);
        }
    }
}

static void step_engine(struct walk *walk, struct saga_event ev)
{
    ev.now_unix_ms = walk->now;
    ev.paused = walk->paused;
    ev.when_mask = walk->number; /* some hold, some do not; the same all the time */
    bool crash = walk->faults && ev.kind != SAGA_EVENT_START && chance(walk, 30);
    uint64_t seq = walk->saga.seq;
    saga_step(&walk->def, &walk->saga, &ev, &walk->up);
    check(walk, walk->saga.seq == seq + (walk->up.verdict == SAGA_VERDICT_TAKEN ? 1 : 0));
    check(walk, saga_invariant(&walk->def, &walk->saga) == NULL);
    if (!crash) {
        carry_out(walk);
        return;
    }
    /* Persisted, not sent: only the outbox survives. */
    for (uint32_t i = 0; i < walk->up.send_count; i++) {
        if (walk->up.sends[i].via != SAGA_VIA_NNG) {
            struct message message = {.step = walk->up.sends[i].step,
                                      .op = walk->up.sends[i].op,
                                      .attempt = walk->up.sends[i].attempt};
            put(walk, message);
            message.durable = walk->up.sends[i].via == SAGA_VIA_KAFKA;
            if (message.durable) {
                put(walk, message);
            }
        }
    }
    step_engine(walk, (struct saga_event){.kind = SAGA_EVENT_RECOVERED});
}

/* B1-B4, B6 in a few lines; gives the status of the reply. */
static uint32_t participate(struct walk *walk, const struct message *message)
{
    struct stored *stored = &walk->stored[message->step];
    const struct saga_step_def *def = &walk->def.steps[message->step];
    if (message->deadline_unix_ms != 0 && walk->now > message->deadline_unix_ms) {
        return SAGA_CODE_DEADLINE_EXCEEDED;
    }
    if (message->op == SAGA_OP_UNDO) {
        if (walk->faults && chance(walk, 200)) {
            return SAGA_CODE_UNAVAILABLE;
        }
        bool starter = !def->has_call;
        if (!stored->undo_there && (stored->effect || starter)) {
            stored->undone = true;
            stored->undos += 1;
        }
        stored->undo_there = true;
        return SAGA_CODE_OK;
    }
    if (stored->call_there) {
        return stored->call_code;
    }
    if (stored->undo_there) {
        return SAGA_CODE_FAILED_PRECONDITION; /* S4 */
    }
    if (walk->faults && chance(walk, 150)) {
        static const uint32_t codes[] = {SAGA_CODE_UNAVAILABLE, SAGA_CODE_ABORTED,
                                         SAGA_CODE_RESOURCE_EXHAUSTED, SAGA_CODE_PERMISSION_DENIED};
        return codes[saga_prng_below(&walk->prng, 4)];
    }
    bool retriable = (walk->def.retriable_mask >> message->step & 1) != 0;
    bool reject = !retriable && chance(walk, walk->reject_permille);
    if (!def->read_only) {
        stored->call_there = true;
        stored->call_code = reject ? SAGA_CODE_FAILED_PRECONDITION : SAGA_CODE_OK;
        stored->effect = !reject;
        stored->effects += reject ? 0 : 1;
    }
    return reject ? SAGA_CODE_FAILED_PRECONDITION : SAGA_CODE_OK;
}

static bool is_child(const struct walk *walk, const struct message *message)
{
    return walk->def.steps[message->step].call_via == SAGA_VIA_CHILD;
}

static void deliver(struct walk *walk, struct message message)
{
    if (message.durable) {
        step_engine(walk, (struct saga_event){.kind = SAGA_EVENT_DURABLE,
                                              .step = message.step,
                                              .op = message.op,
                                              .attempt = message.attempt});
    } else if (message.is_reply) {
        step_engine(walk, (struct saga_event){.kind = SAGA_EVENT_REPLY,
                                              .step = message.step,
                                              .op = message.op,
                                              .attempt = message.attempt,
                                              .code = message.code,
                                              .not_sent = message.not_sent});
    } else {
        struct message reply = message;
        reply.is_reply = true;
        reply.code = participate(walk, &message);
        if (walk->faults && !is_child(walk, &message) && chance(walk, 50)) {
            reply.code = SAGA_CODE_INTERNAL; /* it did it, and fell over telling */
        }
        if (!walk->faults || is_child(walk, &message) || chance(walk, 850)) {
            put(walk, reply); /* that a child has ended is told in one transaction */
        }
    }
}

/* What an operator's resuming of the definition means to the saga. */
static void resume(struct walk *walk)
{
    if (!walk->paused) {
        step_engine(walk, (struct saga_event){.kind = SAGA_EVENT_OPERATOR,
                                              .act = SAGA_ACT_RESUME,
                                              .step = SAGA_STEP_ALL});
    }
}

static void turn(struct walk *walk)
{
    if (walk->bag_count > 0 && (!walk->faults || chance(walk, 800))) {
        size_t at = (size_t)saga_prng_below(&walk->prng, walk->bag_count);
        struct message message = walk->bag[at];
        bool kept = walk->faults && chance(walk, 100); /* doubled: it comes again */
        if (!kept) {
            walk->bag[at] = walk->bag[--walk->bag_count];
        }
        deliver(walk, message);
        return;
    }
    int64_t due = saga_next_due(&walk->def, &walk->saga);
    walk->now = due > walk->now && chance(walk, 700)
                    ? due
                    : walk->now + (int64_t)saga_prng_below(&walk->prng, 300);
    step_engine(walk, (struct saga_event){.kind = SAGA_EVENT_TIMER});
    if (walk->faults && chance(walk, 20)) {
        step_engine(walk, (struct saga_event){.kind = SAGA_EVENT_OPERATOR,
                                              .act = SAGA_ACT_CANCEL,
                                              .step = SAGA_STEP_ALL});
    }
    if (walk->faults && chance(walk, 50)) {
        walk->paused = !walk->paused;
        resume(walk);
    }
}

static void check_end(struct walk *walk)
{
    bool completed = walk->saga.state == SAGA_STATE_COMPLETED;
    check(walk, saga_ended(&walk->saga)); /* S1 */
    for (uint8_t i = 0; i < walk->def.step_count; i++) {
        const struct stored *stored = &walk->stored[i];
        const struct saga_step_def *def = &walk->def.steps[i];
        check(walk, stored->effects <= 1 && stored->undos <= 1); /* S3 */
        if (!def->has_call || def->read_only) {
            continue;
        }
        if (completed) {
            check(walk, stored->effect == (walk->saga.steps[i].state == SAGA_STEP_SUCCEEDED));
            check(walk, !stored->undone); /* S2 */
        } else {
            check(walk, stored->effect == stored->undone); /* S5: nothing is left behind; S2: a
                                                              pivot has no undo, so no effect */
        }
    }
}

/* Nothing that is still on its way may have an effect after the end (S4). */
static void deliver_late(struct walk *walk)
{
    while (walk->bag_count > 0) {
        struct message message = walk->bag[--walk->bag_count];
        if (!message.is_reply && !message.durable) {
            (void)participate(walk, &message);
        }
    }
}

static void run_walk(unsigned long number, unsigned *completed, unsigned *compensated)
{
    struct walk *walk = calloc(1, sizeof *walk);
    assert_non_null(walk);
    walk->number = number;
    walk->prng = number;
    walk->now = 1000000;
    walk->faults = true;
    walk->reject_permille = chance(walk, 500) ? 120 : 0;
    make_definition(walk);
    step_engine(walk, (struct saga_event){.kind = SAGA_EVENT_START, .seed = number});
    for (int i = 0; i < FAULTY_TURNS; i++) {
        turn(walk);
    }
    walk->faults = false;
    walk->paused = false;
    resume(walk);
    for (int i = 0; i < HEALED_TURNS && !saga_ended(&walk->saga); i++) {
        if (walk->saga.state == SAGA_STATE_PARKED) { /* a person mends the set-up */
            step_engine(walk, (struct saga_event){.kind = SAGA_EVENT_OPERATOR,
                                                  .act = SAGA_ACT_RETRY,
                                                  .step = SAGA_STEP_ALL});
        }
        turn(walk);
    }
    check_end(walk);
    deliver_late(walk);
    check_end(walk);
    *completed += walk->saga.state == SAGA_STATE_COMPLETED ? 1 : 0;
    *compensated += walk->saga.state == SAGA_STATE_COMPENSATED ? 1 : 0;
    free(walk);
}

static unsigned long number_of(const char *variable, unsigned long fallback)
{
    const char *text = getenv(variable);
    return text == NULL ? fallback : strtoul(text, NULL, 10);
}

static void test_engine_when_anything_fails_then_every_saga_ends_as_the_rules_say(void **state)
{
    (void)state;
    unsigned long first = number_of("SAGA_WALK_FIRST", 1);
    unsigned long count = number_of("SAGA_WALK_COUNT", 20000);
    unsigned completed = 0;
    unsigned compensated = 0;
    for (unsigned long i = first; i < first + count; i++) {
        run_walk(i, &completed, &compensated);
    }
    print_message("%lu walks from %lu: %u completed, %u compensated\n", count, first, completed,
                  compensated);
    if (count >= 1000) { /* both ends must have been reached, or nothing was tested */
        assert_true(completed > count / 10);
        assert_true(compensated > count / 10);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_engine_when_anything_fails_then_every_saga_ends_as_the_rules_say),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
