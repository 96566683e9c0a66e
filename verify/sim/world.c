/* The world: clock, happenings in their order, the trace's hash. */
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/assert.h"
#include "verify/sim/world.h"

/* ---- Memory ---- */

void *sim_take(struct sim_world *world, size_t size)
{
    void *memory = saga_arena_take(&world->arena, size > 0 ? size : 1);
    SAGA_ASSERT(memory != NULL); /* a simulator without memory has nothing to say */
    memset(memory, 0, size > 0 ? size : 1);
    return memory;
}

struct saga_bytes sim_keep(struct sim_world *world, struct saga_bytes bytes)
{
    uint8_t *copy = saga_arena_take(&world->arena, bytes.size + 1);
    SAGA_ASSERT(copy != NULL);
    if (bytes.size > 0) {
        memcpy(copy, bytes.data, bytes.size);
    }
    copy[bytes.size] = 0;
    return (struct saga_bytes){.data = copy, .size = bytes.size};
}

void *sim_grow(void *memory, size_t *capacity, size_t need, size_t size)
{
    if (need <= *capacity) {
        return memory;
    }
    size_t grown = *capacity == 0 ? 16 : *capacity * 2;
    grown = grown < need ? need : grown;
    void *made = realloc(memory, grown * size);
    SAGA_ASSERT(made != NULL);
    memset((char *)made + *capacity * size, 0, (grown - *capacity) * size);
    *capacity = grown;
    return made;
}

/* ---- What is seen of it ---- */

int64_t sim_clock_ms(const struct sim_world *world, const struct sim_process *process)
{
    return SIM_EPOCH_MS + world->view.now_us / 1000 + process->skew_ms;
}

void sim_fold(struct sim_world *world, uint64_t number)
{
    world->hash = sim_mix(world->hash, number);
}

void sim_fold_bytes(struct sim_world *world, struct saga_bytes bytes)
{
    uint64_t hash = bytes.size;
    size_t at = 0;
    for (; at + sizeof hash <= bytes.size; at += sizeof hash) {
        uint64_t word;
        memcpy(&word, bytes.data + at, sizeof word);
        hash = (hash ^ word) * UINT64_C(0x9fb21c651e98df25);
        hash ^= hash >> 29;
    }
    for (; at < bytes.size; at++) {
        hash = (hash ^ bytes.data[at]) * UINT64_C(0x100000001b3);
    }
    sim_fold(world, hash);
}

bool sim_talks(const struct sim_world *world)
{
    return world->view.config->transcript != NULL;
}

void sim_say(struct sim_world *world, const char *format, ...)
{
    if (!sim_talks(world)) {
        return;
    }
    char text[SIM_SAY_SIZE];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    (void)fprintf(world->view.config->transcript, "%12.6f %s%s\n", (double)world->view.now_us / 1e6,
                  world->view.healing ? "(heal) " : "", text);
}

void sim_violate(struct sim_world *world, const char *rule, const char *format, ...)
{
    struct saga_sim_result *result = world->view.result;
    char text[sizeof result->violation];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    sim_say(world, "VIOLATION %s: %s", rule, text);
    if (result->violated) {
        return; /* the first one counts */
    }
    result->violated = true;
    world->view.violated = true;
    result->violated_at_us = world->view.now_us;
    (void)snprintf(result->rule, sizeof result->rule, "%s", rule);
    memcpy(result->violation, text, sizeof text);
}

/* ---- The heap of happenings ---- */

static bool before(const struct sim_event *a, const struct sim_event *b)
{
    return a->at_us < b->at_us || (a->at_us == b->at_us && a->order < b->order);
}

static void sift_up(struct sim_event *heap, size_t at)
{
    struct sim_event ev = heap[at];
    while (at > 0 && before(&ev, &heap[(at - 1) / 2])) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = ev;
}

static void sift_down(struct sim_event *heap, size_t count)
{
    struct sim_event ev = heap[0];
    size_t at = 0;
    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < count && before(&heap[child + 1], &heap[child])) {
            child++;
        }
        if (child >= count || !before(&heap[child], &ev)) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = ev;
}

void sim_at(struct sim_world *world, int64_t delay_us, struct sim_event ev)
{
    ev.at_us = world->view.now_us + (delay_us > 0 ? delay_us : 0);
    ev.order = ++world->orders;
    ev.life = ev.process == NULL ? 0 : ev.process->life;
    world->heap =
        sim_grow(world->heap, &world->heap_capacity, world->heap_count + 1, sizeof *world->heap);
    world->heap[world->heap_count] = ev;
    sift_up(world->heap, world->heap_count++);
}

static struct sim_event pop(struct sim_world *world)
{
    struct sim_event ev = world->heap[0];
    world->heap[0] = world->heap[--world->heap_count];
    if (world->heap_count > 0) {
        sift_down(world->heap, world->heap_count);
    }
    return ev;
}

/* ---- Running ---- */

static void happen_outside(struct sim_world *world, struct sim_event *ev)
{
    switch (ev->kind) {
    case SIM_REQUEST_ARRIVES:
    case SIM_ANSWER_ARRIVES:
    case SIM_START_ARRIVES:
        sim_net_arrives(world, ev);
        break;
    case SIM_ORCH_BEGIN:
        sim_orch_begin(world, ev->number != 0);
        break;
    case SIM_PART_BEGIN:
        sim_part_begin(ev->data);
        break;
    case SIM_CLIENT_SENDS:
        sim_client_sends(world, ev->data);
        break;
    case SIM_CLIENT_HEARS:
        sim_client_hears(world, ev->data);
        break;
    case SIM_CLIENT_LATE:
        sim_client_late(world, ev->data, ev->number);
        break;
    case SIM_OPERATORS:
        sim_operators(world);
        break;
    case SIM_OPERATOR:
        sim_operator(world, ev->data);
        break;
    case SIM_CUT_ENDS:
        sim_cut_end(world, ev->data, ev->number);
        break;
    case SIM_SLOT:
        sim_slot(world, ev->number);
        break;
    case SIM_HEAL:
        sim_heal(world);
        break;
    case SIM_ORCH_TURN:
    case SIM_ORCH_END:
    case SIM_PART_TURN:
    case SIM_PART_CHORES:
    case SIM_RELAY_LOOK:
    case SIM_RELAY_APPEND:
    case SIM_RELAY_ACK:
    case SIM_DIRECT_APPEND:
    case SIM_ORCH_POLL:
    case SIM_PART_POLL:
        SAGA_ASSERT(!"a happening of a process");
    }
}

/* What a process does itself. */
static void happen_inside(struct sim_world *world, struct sim_event *ev)
{
    switch (ev->kind) {
    case SIM_ORCH_TURN:
        sim_orch_turn(ev->data, ev->number);
        break;
    case SIM_ORCH_END:
        sim_orch_die(ev->data, false);
        sim_orch_plan(world, 1000, false);
        break;
    case SIM_PART_TURN:
        sim_part_turn(ev->data);
        break;
    case SIM_PART_CHORES:
        sim_part_chores(ev->data, ev->number);
        break;
    case SIM_RELAY_LOOK:
        sim_relay_look(ev->data);
        break;
    case SIM_RELAY_APPEND:
        sim_relay_append(ev->data);
        break;
    case SIM_RELAY_ACK:
        sim_relay_ack(ev->data);
        break;
    case SIM_DIRECT_APPEND:
        sim_direct_append(world, ev->process, ev->data);
        break;
    case SIM_ORCH_POLL:
        sim_orch_poll(ev->data, ev->number);
        break;
    case SIM_PART_POLL:
        sim_part_poll(ev->data, ev->number);
        break;
    case SIM_REQUEST_ARRIVES:
    case SIM_ANSWER_ARRIVES:
    case SIM_START_ARRIVES:
    case SIM_ORCH_BEGIN:
    case SIM_PART_BEGIN:
    case SIM_CLIENT_SENDS:
    case SIM_CLIENT_HEARS:
    case SIM_CLIENT_LATE:
    case SIM_OPERATOR:
    case SIM_OPERATORS:
    case SIM_CUT_ENDS:
    case SIM_SLOT:
    case SIM_HEAL:
        SAGA_ASSERT(!"a happening of no process");
    }
}

static void happen(struct sim_world *world, struct sim_event *ev)
{
    struct sim_process *process = ev->process;
    if (process != NULL && process->life != ev->life) {
        return; /* of a life that is over */
    }
    if (process != NULL && process->state == SIM_HUNG) {
        if (world->view.now_us < process->wake_us) {
            struct sim_event later = *ev;
            sim_at(world, process->wake_us - world->view.now_us, later);
            return;
        }
        process->state = SIM_UP;
        sim_say(world, "%s %" PRIu32 " wakes", process->orch ? "orchestrator" : "participant",
                process->index);
    }
    world->view.result->happenings++;
    sim_fold(world, sim_mix((uint64_t)ev->at_us, ((uint64_t)ev->kind << 32) ^ ev->number));
    if (process != NULL) {
        happen_inside(world, ev);
    } else {
        happen_outside(world, ev);
    }
}

void sim_run(struct sim_world *world)
{
    while (!world->over && !world->view.violated && world->heap_count > 0) {
        struct sim_event ev = pop(world);
        SAGA_ASSERT(ev.at_us >= world->view.now_us);
        world->view.now_us = ev.at_us;
        happen(world, &ev);
    }
    if (!world->over && !world->view.violated) {
        sim_violate(world, "SIM", "nothing is left to happen, and not all has ended");
    }
}
