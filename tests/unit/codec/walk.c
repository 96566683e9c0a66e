#include "tests/unit/codec/walk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/base/prng.h"
#include "descriptor_set.h"

enum { WALK_EVENTS_MAX = 400, NOW = 1700000000 };

struct saga_schema *walk_schema(void)
{
    struct saga_err_detail detail = {.text = ""};
    struct saga_schema *schema = NULL;
    struct saga_bytes set = {.data = saga_descriptor_set, .size = saga_descriptor_set_size};
    if (saga_schema_load(set, &schema, &detail) != SAGA_ERR_OK) {
        fail_msg("%s", detail.text);
    }
    return schema;
}

struct saga_version walk_version(const struct saga_schema *schema, const char *name)
{
    struct saga_err_detail detail = {.text = ""};
    struct saga_version version;
    const struct saga_decl *decl = saga_schema_decl(schema, name);
    assert_non_null(decl);
    if (saga_version_compile(decl, &version, &detail) != SAGA_ERR_OK) {
        fail_msg("%s", detail.text);
    }
    return version;
}

/* A reply to something, usually to what is out. */
static void make_reply(const struct saga *saga, uint64_t *prng, struct saga_event *ev)
{
    static const uint32_t codes[] = {0, 0, 0, 0, 0, 0, 9, 14, 2, 4, 7, 13, 8, 5, 99};
    ev->kind = saga_prng_below(prng, 8) == 0 ? SAGA_EVENT_DURABLE : SAGA_EVENT_REPLY;
    ev->step = (uint8_t)saga_prng_below(prng, saga->step_count);
    for (uint8_t i = 0; i < saga->step_count && saga_prng_below(prng, 10) != 0; i++) {
        uint8_t step = (uint8_t)((ev->step + i) % saga->step_count);
        if (saga->steps[step].wait != SAGA_WAIT_NONE) {
            ev->step = step;
            break;
        }
    }
    const struct saga_step_run *run = &saga->steps[ev->step];
    ev->op = run->state == SAGA_STEP_UNDOING ? SAGA_OP_UNDO : SAGA_OP_CALL;
    ev->attempt = ev->op == SAGA_OP_UNDO ? run->undo_attempts : run->call_attempts;
    if (run->wait == SAGA_WAIT_DURABLE && saga_prng_below(prng, 4) != 0) {
        ev->kind = SAGA_EVENT_DURABLE;
    }
    if (ev->kind == SAGA_EVENT_REPLY) {
        ev->code = codes[saga_prng_below(prng, sizeof codes / sizeof codes[0])];
        ev->not_sent = ev->code == 14 && saga_prng_below(prng, 2) == 0;
        ev->key_reused = ev->code == 9 && saga_prng_below(prng, 8) == 0;
        ev->retry_after_ms = ev->code == 8 ? (int64_t)saga_prng_below(prng, 1000) : 0;
    }
}

static struct saga_event next_event(const struct saga *saga, uint64_t *prng, int64_t *now)
{
    struct saga_event ev = {.kind = SAGA_EVENT_TIMER, .step = SAGA_STEP_ALL};
    uint64_t kind = saga_prng_below(prng, 100);
    *now += (int64_t)saga_prng_below(prng, 300);
    if (kind < 75) {
        make_reply(saga, prng, &ev);
    } else if (kind < 90) {
        *now += (int64_t)saga_prng_below(prng, 20000);
    } else if (kind < 95) {
        ev.kind = SAGA_EVENT_RECOVERED;
    } else {
        ev.kind = SAGA_EVENT_OPERATOR;
        ev.act = (enum saga_act)(SAGA_ACT_RETRY + saga_prng_below(prng, 5));
        ev.step = saga_prng_below(prng, 2) == 0 ? SAGA_STEP_ALL
                                                : (uint8_t)saga_prng_below(prng, saga->step_count);
    }
    ev.now_unix_ms = *now;
    ev.when_mask = saga_prng_below(prng, 4) == 0 ? saga_prng_below(prng, 1024) : 0;
    return ev;
}

void walk_saga(const struct saga_version *version, uint64_t seed, walk_visit *visit, void *user)
{
    uint64_t prng = seed;
    int64_t now = NOW + (int64_t)seed;
    struct saga saga = {0};
    static struct saga_update up;
    struct saga_event ev = {
        .kind = SAGA_EVENT_START,
        .now_unix_ms = now,
        .id = saga_id_make(now, (uint16_t)seed, saga_prng_next(&prng)),
        .seed = saga_prng_next(&prng),
        .step = SAGA_STEP_ALL,
    };
    for (int i = 0; i < WALK_EVENTS_MAX && !saga_ended(&saga); i++) {
        saga_step(&version->def, &saga, &ev, &up);
        if (up.verdict == SAGA_VERDICT_TAKEN) {
            visit(user, &ev, &saga, &up);
        }
        ev = next_event(&saga, &prng, &now);
    }
}
