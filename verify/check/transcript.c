/* The way to a finding, run again from the start with the clock going on, and written down. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "verify/check/internal.h"

enum { STEP_LATER_MS = 1000 };

struct replay {
    struct check check; /* with the language's own times, so that a golden file says the same */
    const struct exploration *exploration;
    struct writer writer;
    struct trial trial;
    struct world actual;                 /* where the run is */
    struct world base;                   /* the same, as the explored state has it */
    uint8_t actual_step[SAGA_STEPS_MAX]; /* like steps are exchanged in explored states */
    struct event_list list;
    struct heal_list heals;
};

static void set_language_times(struct saga_definition *def)
{
    for (uint32_t i = 0; i < def->step_count; i++) {
        struct saga_step_def *step = &def->steps[i];
        step->call_delay_ms = 50;
        step->call_delay_ms_max = 10000;
        step->undo_delay_ms = 50;
        step->undo_delay_ms_max = 10000;
        step->call_deadline_ms = 5000;
        step->undo_deadline_ms = 10000;
    }
}

static uint64_t rename_mask(const struct replay *replay, uint64_t mask)
{
    uint64_t renamed = 0;
    for (uint8_t i = 0; i < replay->check.def.step_count; i++) {
        renamed |= (mask >> i & 1) << replay->actual_step[i];
    }
    return renamed;
}

static struct check_event rename_event(const struct replay *replay, struct check_event ev)
{
    if (ev.step < replay->check.def.step_count) {
        ev.step = replay->actual_step[ev.step];
    }
    ev.due_mask = (uint32_t)rename_mask(replay, ev.due_mask);
    ev.when_mask = rename_mask(replay, ev.when_mask);
    return ev;
}

/* Like steps are in order of their words: finds which is which now. When the run is not where it
 * should be, since the engine does something else at these times, it goes on from there. */
static void find_steps(struct replay *replay, uint32_t id)
{
    const struct check *check = &replay->check;
    uint32_t key[KEY_WORDS_MAX];
    uint32_t ordered[KEY_WORDS_MAX];
    world_pack(check, &replay->actual, key);
    memcpy(ordered, key, sizeof key);
    world_order(check, ordered);
    for (uint8_t i = 0; i < check->def.step_count; i++) {
        replay->actual_step[i] = i;
    }
    for (uint32_t g = 0; g < check->group_count; g++) {
        const struct group *group = &check->groups[g];
        uint64_t used = 0;
        for (uint8_t i = 0; i < group->count; i++) {
            for (uint8_t k = 0; k < group->count; k++) {
                uint8_t step = group->steps[k];
                if ((used >> step & 1) == 0 && key[step + 1] == ordered[group->steps[i] + 1]) {
                    replay->actual_step[group->steps[i]] = step;
                    used |= UINT64_C(1) << step;
                    break;
                }
            }
        }
    }
    const uint32_t *explored = space_state(&replay->exploration->space, id);
    if (memcmp(ordered, explored, check->key_words * sizeof *key) != 0) {
        write_text(&replay->writer, "# With these times it comes to something else; what was "
                                    "explored goes on so:\n");
        world_unpack(check, explored, &replay->actual);
        for (uint8_t i = 0; i < check->def.step_count; i++) {
            replay->actual_step[i] = i;
        }
    }
}

static int64_t latest(const struct replay *replay, const struct check_event *ev)
{
    const struct saga *saga = &replay->actual.saga;
    int64_t now = replay->actual.now;
    if (ev->deadline && saga->deadline_unix_ms > now) {
        now = saga->deadline_unix_ms;
    }
    for (uint8_t i = 0; i < replay->check.def.step_count; i++) {
        if ((ev->due_mask >> i & 1) != 0 && saga->steps[i].due_unix_ms > now) {
            now = saga->steps[i].due_unix_ms;
        }
    }
    return now;
}

/* The clock goes on until what the event says has passed. What would pass too is put off. */
static void let_time_pass(struct replay *replay, const struct check_event *ev)
{
    struct world *actual = &replay->actual;
    struct saga *saga = &actual->saga;
    int64_t now = latest(replay, ev);
    if (now > actual->now) {
        write_text(&replay->writer, "+%" PRId64 "\n", now - actual->now);
    }
    actual->now = now;
    for (uint8_t i = 0; i < saga->step_count; i++) {
        struct saga_step_run *run = &saga->steps[i];
        if (run->due_unix_ms == 0 || (ev->due_mask >> i & 1) != 0 || run->due_unix_ms > now) {
            continue;
        }
        run->due_unix_ms = now + STEP_LATER_MS;
        if (!ev->deadline) {
            write_text(&replay->writer, "# The time of %s is taken to come later.\n",
                       replay->check.config.step_names[i]);
        }
    }
    if (!ev->deadline && saga->deadline_unix_ms <= now) {
        saga->deadline_unix_ms = now + STEP_LATER_MS;
        write_text(&replay->writer, "# The saga's deadline is taken to come later.\n");
    }
}

static void run_trial(void *arg)
{
    struct replay *replay = arg;
    make_transition(&replay->check, &replay->trial);
}

static void play(struct replay *replay, struct check_event ev)
{
    ev = rename_event(replay, ev);
    if (ev.kind == CHECK_TIMER) {
        let_time_pass(replay, &ev);
    }
    struct trial *trial = &replay->trial;
    trial->ev = ev;
    trial->from = replay->actual;
    bool whole = guarded(run_trial, replay);
    write_event(&replay->writer, trial);
    if (!whole) {
        write_text(&replay->writer, "  (an assertion failed)\n");
    } else if (trial->asked) {
        write_update(&replay->writer, trial);
    }
    replay->actual = trial->to;
}

static void look_at(struct replay *replay, uint32_t id)
{
    world_unpack(&replay->check, space_state(&replay->exploration->space, id), &replay->base);
}

static void play_ordinal(struct replay *replay, uint32_t id, uint32_t ordinal)
{
    look_at(replay, id);
    list_events(&replay->check, &replay->base, &replay->list);
    if (ordinal < replay->list.count) {
        play(replay, replay->list.events[ordinal]);
    }
}

/* Plays the way that leads from one state of the walk to the next. */
static void play_way(struct replay *replay, uint32_t from, uint32_t to)
{
    const struct check *check = &replay->check;
    uint32_t key[KEY_WORDS_MAX];
    look_at(replay, from);
    list_heals(check, &replay->base, &replay->heals);
    for (size_t i = 0; i < replay->heals.count * 2; i++) {
        const struct heal_way *way = &replay->heals.ways[i / 2];
        uint8_t gone = go_way(check, &replay->trial, &replay->base, way, i % 2 != 0);
        if (gone == 0) {
            continue;
        }
        world_pack(check, &replay->trial.from, key);
        world_order(check, key);
        if (space_find(&replay->exploration->space, space_hash(check, key), key) != to) {
            continue;
        }
        for (uint8_t k = 0; k < gone; k++) {
            struct check_event ev = way->events[k];
            ev.when_mask = i % 2 != 0 ? UINT64_MAX : 0;
            play(replay, ev);
        }
        find_steps(replay, to);
        return;
    }
}

static enum saga_err play_path(struct replay *replay)
{
    const struct exploration *exploration = replay->exploration;
    const struct finding *finding = &exploration->finding;
    size_t count = 1;
    for (uint32_t id = space_parent(&exploration->space, finding->state); id != NO_STATE;
         id = space_parent(&exploration->space, id)) {
        count++;
    }
    uint32_t *path = calloc(count, sizeof *path);
    if (path == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    size_t at = count;
    for (uint32_t id = finding->state; id != NO_STATE; id = space_parent(&exploration->space, id)) {
        path[--at] = id;
    }
    find_steps(replay, path[0]);
    for (size_t i = 1; i < count; i++) {
        play_ordinal(replay, path[i - 1], space_ordinal(&exploration->space, path[i]));
        find_steps(replay, path[i]);
    }
    free(path);
    return replay->writer.err;
}

static enum saga_err play_finding(struct replay *replay)
{
    const struct exploration *exploration = replay->exploration;
    const struct finding *finding = &exploration->finding;
    enum saga_err err = play_path(replay);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (finding->ordinal != NO_STATE) {
        play_ordinal(replay, finding->state, finding->ordinal);
    } else if (exploration->walk_count > 0) {
        write_text(&replay->writer, "# From here faults have stopped, and it goes round:\n");
    }
    for (size_t i = 1; i < exploration->walk_count; i++) {
        play_way(replay, exploration->walk[i - 1], exploration->walk[i]);
    }
    write_text(&replay->writer, "# violated: %s\n", finding->wrong);
    return replay->writer.err;
}

enum saga_err write_transcript(const struct exploration *exploration, struct saga_buf *out)
{
    struct replay *replay = calloc(1, sizeof *replay);
    if (replay == NULL) {
        return SAGA_ERR_NO_MEMORY;
    }
    replay->exploration = exploration;
    replay->check = *exploration->check;
    set_language_times(&replay->check.def);
    replay->writer = (struct writer){.check = &replay->check, .out = out};
    world_init(&replay->check, &replay->actual);
    replay->actual.now = 1000000;
    write_definition(&replay->writer);
    enum saga_err err = play_finding(replay);
    free(replay);
    return err;
}
