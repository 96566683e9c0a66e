/* What participants do: drawn from the seed and the command's identity, so that it does not matter
 * in which order they are asked. */
#include <string.h>

#include "common/base/assert.h"
#include "common/base/prng.h"
#include "common/base/status.h"
#include "verify/sim/workload_internal.h"

enum {
    PPM = 1000000,
    RETRY_AFTER_MS_MAX = 3000,
    LASTING_PERCENT = 10, /* of the calls that go wrong do so as long as there are faults */
};

uint64_t saga_workload_mix(uint64_t seed, const struct saga_workload_key *key)
{
    uint64_t state = seed;
    for (size_t i = 0; i < SAGA_ID_SIZE; i += 8) {
        uint64_t part = 0;
        memcpy(&part, key->saga_id.b + i, sizeof part);
        state ^= part;
        state = saga_prng_next(&state);
    }
    state ^= (uint64_t)key->step << 8 | (uint64_t)key->op;
    return saga_prng_next(&state);
}

/* Codes of a class, and the words that go with them. */
struct word {
    uint32_t code;
    const char *reason;
};

static const struct word rejects[] = {
    {SAGA_CODE_INVALID_ARGUMENT, "SIM_INVALID"},
    {SAGA_CODE_NOT_FOUND, "SIM_NOT_FOUND"},
    {SAGA_CODE_ALREADY_EXISTS, "SIM_EXISTS"},
    {SAGA_CODE_FAILED_PRECONDITION, "SIM_REFUSED"},
    {SAGA_CODE_OUT_OF_RANGE, ""},
};
static const struct word retries[] = {
    {SAGA_CODE_RESOURCE_EXHAUSTED, "SIM_FULL"},
    {SAGA_CODE_ABORTED, "SIM_CONFLICT"},
    {SAGA_CODE_UNAVAILABLE, ""},
};
static const struct word unknowns[] = {
    {SAGA_CODE_CANCELLED, "SIM_CANCELLED"},
    {SAGA_CODE_UNKNOWN, ""},
    {SAGA_CODE_DEADLINE_EXCEEDED, "SIM_LATE"},
    {SAGA_CODE_INTERNAL, "SIM_BUG"},
};
static const struct word parks[] = {
    {SAGA_CODE_PERMISSION_DENIED, "SIM_FORBIDDEN"},
    {SAGA_CODE_UNIMPLEMENTED, "SIM_NO_METHOD"},
    {SAGA_CODE_DATA_LOSS, "SIM_LOST"},
    {SAGA_CODE_UNAUTHENTICATED, ""},
};

#define PICK(words, prng) (words)[saga_prng_below((prng), sizeof(words) / sizeof((words)[0]))]

static void say(struct saga_behaviour *behaviour, struct word word)
{
    behaviour->effect = false;
    behaviour->code = word.code;
    behaviour->wire_code = word.code;
    behaviour->reason = word.reason;
}

/* Where a step stands: whether its call may be given up, and whether it may be refused for good. */
struct standing {
    bool can_fail; /* before the pivot: it may go wrong as long as it likes */
    bool can_no;   /* a definitive no is expected: up to and with the pivot */
};

static struct standing standing_of(const struct saga_workload_key *key)
{
    const struct saga_decl *decl = key->decl;
    SAGA_ASSERT(key->step < decl->step_count);
    uint64_t before = decl->steps[key->step].after_mask;
    for (size_t round = 0; round < decl->step_count; round++) {
        for (size_t i = 0; i < decl->step_count; i++) {
            before |= (before >> i & 1) != 0 ? decl->steps[i].after_mask : 0;
        }
    }
    bool behind = false;
    for (size_t i = 0; i < decl->step_count; i++) {
        behind = behind || ((before >> i & 1) != 0 && decl->steps[i].pivot);
    }
    bool call = key->op == SAGA_OP_CALL;
    return (struct standing){
        .can_fail = call && !behind && !decl->steps[key->step].pivot,
        .can_no = call && !behind,
    };
}

/* One attempt that goes wrong. Returns false when nothing of it is on in the swarm: then it goes
 * well. */
static bool go_wrong(const struct standing *standing, const struct saga_swarm *swarm,
                     uint64_t *prng, struct saga_behaviour *behaviour)
{
    /* Each draw is made whatever came of those before, so that one chance does not move others. */
    struct word word_retry = PICK(retries, prng);
    struct word word_unknown = PICK(unknowns, prng);
    struct word word_park = PICK(parks, prng);
    struct word word_no = PICK(rejects, prng);
    int64_t wish = (int64_t)saga_prng_below(prng, 2 * RETRY_AFTER_MS_MAX);
    bool retry = saga_swarm_strikes(prng, swarm->retry_ppm);
    bool unknown = saga_swarm_strikes(prng, swarm->unknown_ppm);
    bool done = saga_swarm_strikes(prng, swarm->unknown_done_ppm);
    bool park = saga_swarm_strikes(prng, swarm->park_ppm);
    bool no = saga_swarm_strikes(prng, swarm->reject_ppm);
    if (park) {
        say(behaviour, word_park);
    } else if (retry) {
        say(behaviour, word_retry);
        behaviour->retry_after_ms = wish < RETRY_AFTER_MS_MAX ? wish : 0;
    } else if (unknown) {
        say(behaviour, word_unknown);
    } else if (done) {
        behaviour->wire_code = word_unknown.code;
    } else if (no && !standing->can_no) {
        /* Of an undo: not stored (B6). A call behind the pivot must never get one. */
        say(behaviour, word_no);
    } else {
        return false;
    }
    return true;
}

void saga_workload_behave(const struct saga_workload_key *key, const struct saga_swarm *swarm,
                          uint64_t seed, struct saga_behaviour *behaviour)
{
    struct standing standing = standing_of(key);
    uint64_t fate = saga_workload_mix(seed, key);
    *behaviour = (struct saga_behaviour){
        .effect = true, .code = SAGA_CODE_OK, .wire_code = SAGA_CODE_OK, .reason = ""};
    bool no = saga_swarm_strikes(&fate, swarm->reject_ppm) && standing.can_no;
    struct word word_no = PICK(rejects, &fate);
    bool bad = saga_swarm_strikes(&fate, swarm->bad_reply_ppm) && standing.can_fail;
    uint64_t failures = saga_prng_below(&fate, (uint64_t)swarm->failures_max + 1);
    bool lasting = saga_prng_below(&fate, 100) < LASTING_PERCENT && standing.can_fail;

    uint64_t prng = fate ^ (key->attempt * UINT64_C(0x9e3779b97f4a7c15));
    (void)saga_prng_next(&prng);
    bool slow = saga_swarm_strikes(&prng, swarm->slow_ppm);
    int64_t slow_ms = saga_swarm_length_ms(&prng, swarm->slow_ms_max);
    behaviour->slow_ms = slow ? slow_ms : 0;
    bool may = lasting || key->attempt <= failures;
    /* A no behind the pivot would be stored and asked for ever; only people could mend that. */
    struct saga_swarm calm = *swarm;
    if (key->op == SAGA_OP_CALL) {
        calm.reject_ppm = 0;
    }
    if (may && swarm->failures_max > 0 && go_wrong(&standing, &calm, &prng, behaviour)) {
        return;
    }
    if (no) {
        say(behaviour, word_no);
    } else if (bad) {
        behaviour->bad_reply = true;
    }
}
