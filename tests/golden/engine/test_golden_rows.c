/* The transition table (rows.txt), and that the transcripts cover it.
 *
 * Which rows there are is not taken from the transcripts: every event is given to every saga that
 * the engine can come to from a start, for some small definitions; what counters cannot tell apart
 * is one saga. Each row that is found so must be hit by a transcript, and rows.txt must be the list
 * of those that are hit.
 *
 *     test_golden_rows --rewrite   writes rows.txt anew, and rows-*.txt: for each row that no
 * transcript by hand hits, the shortest way there test_golden_rows --canary    a row that is not
 * hit, one that is not listed, and a changed one must be noticed */
#include <dirent.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "tests/golden/engine/rows.h"
#include "tests/golden/engine/transcript.h"

#define FOLDER SAGA_SOURCE_DIR "/tests/golden/engine"

enum {
    NODES_MAX = 200000,
    SLOTS = 1 << 19,
    EVENTS_MAX = 512,
    NOW = 1000000,
    FAR = 1000000,
    PATH_SIZE = 4096,
    REPORT_MAX = 20
};

/* Steps are named a, b, c, d in their order. Everything is tried twice at most. */
/* A timer by a clock that is right again, after it was far ahead; said by `attempt`, which a timer
 * does not have. */
enum { CLOCK_BACK = 1, BACK_MS = 1000000000 };
_Static_assert(BACK_MS > 2 * SAGA_CLOCK_BACK_MS_MAX, "further than is waited for");

static const struct {
    const char *name;
    const char *text;
} worlds[] = {
    {"chain", "deadline 100000000\n"
              "step a starter undo\n"
              "step b undo-nng attempts 2 after a\n"
              "step c pivot attempts 2 after b\n"
              "step d attempts 2 after c\n"},
    {"branches", "deadline 100000000\n"
                 "step a undo-nng attempts 2\n"
                 "step b ro attempts 2\n"
                 "step c undo-nng attempts 2 after a after b\n"},
    {"kafka", "deadline 100000000\n"
              "step a undo kafka attempts 2\n"
              "step b pivot kafka attempts 2 after a\n"
              "step c kafka attempts 2 after b\n"},
    {"child", "deadline 100000000\n"
              "step a child undo attempts 2\n"
              "step b child ro attempts 2 after a\n"},
    {"when", "deadline 100000000\n"
             "step a undo-nng attempts 2\n"
             "step b when undo-nng attempts 2 after a\n"
             "step c when pivot attempts 2 after b\n"},
};

struct node {
    struct saga saga;
    struct saga_event ev; /* by which it was reached */
    int32_t parent;
};

static struct {
    struct saga_definition def;
    struct node *nodes;
    int32_t count;
    int32_t *slots;
    struct saga_event events[EVENTS_MAX];
    size_t event_count;
} world;

static bool rewrite;
static bool canary;

/* ---- all sagas that can come about ---- */

/* Takes out what makes no difference: times, jitter, numbers of attempts above two. */
static void normalize(struct saga *saga)
{
    saga->seq = 1;
    saga->seed = 1;
    saga->created_unix_ms = NOW;
    saga->deadline_unix_ms = NOW + FAR;
    saga->ended_unix_ms = saga->ended_unix_ms != 0 ? NOW : 0;
    saga->cause = saga->cause != SAGA_CAUSE_NONE ? SAGA_CAUSE_CANCEL : SAGA_CAUSE_NONE;
    saga->cause_step = SAGA_STEP_ALL;
    saga->cause_code = 0;
    for (uint8_t i = 0; i < saga->step_count; i++) {
        struct saga_step_run *run = &saga->steps[i];
        run->last_code = 0;
        run->call_attempts = run->call_attempts > 2 ? 2 : run->call_attempts;
        run->undo_attempts = run->undo_attempts > 2 ? 2 : run->undo_attempts;
        run->failures = run->failures > 2 ? 2 : run->failures;
        run->due_unix_ms = run->due_unix_ms != 0 ? NOW + 1 : 0;
    }
}

static uint64_t hash_of(const struct saga *saga)
{
    const uint8_t *bytes = (const uint8_t *)saga;
    uint64_t hash = UINT64_C(1469598103934665603);
    for (size_t i = 0; i < sizeof *saga; i++) {
        hash = (hash ^ bytes[i]) * UINT64_C(1099511628211);
    }
    return hash ^ hash >> 29;
}

/* All come from zeroed memory, so what pads a struct is equal too. Were it not, a saga would be
 * looked at twice. */
static bool same_bytes(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct saga)) == 0;
}

static void put_node(const struct saga *saga, const struct saga_event *ev, int32_t parent)
{
    size_t slot = hash_of(saga) % SLOTS;
    while (world.slots[slot] != 0) {
        if (same_bytes(&world.nodes[world.slots[slot] - 1].saga, saga)) {
            return;
        }
        slot = (slot + 1) % SLOTS;
    }
    assert_true(world.count < NODES_MAX);
    struct node *node = &world.nodes[world.count];
    memcpy(&node->saga, saga, sizeof *saga);
    node->ev = *ev;
    node->parent = parent;
    world.count++;
    world.slots[slot] = world.count;
}

static void add_event(struct saga_event ev)
{
    assert_true(world.event_count < EVENTS_MAX);
    world.events[world.event_count++] = ev;
}

static void add_replies(const struct saga *saga, uint8_t step, enum saga_op op)
{
    static const struct {
        uint32_t code;
        bool unsent;
        bool reused;
    } answers[] = {
        {SAGA_CODE_OK, false, false},
        {SAGA_CODE_FAILED_PRECONDITION, false, false},
        {SAGA_CODE_UNAVAILABLE, false, false},
        {SAGA_CODE_INTERNAL, false, false},
        {SAGA_CODE_UNIMPLEMENTED, false, false},
        {SAGA_CODE_UNAVAILABLE, true, false},
        {SAGA_CODE_INVALID_ARGUMENT, false, true},
    };
    const struct saga_step_run *run = &saga->steps[step];
    uint32_t attempts = op == SAGA_OP_CALL ? run->call_attempts : run->undo_attempts;
    for (size_t i = 0; i < sizeof answers / sizeof answers[0] && attempts > 0; i++) {
        struct saga_event ev = {.kind = SAGA_EVENT_REPLY,
                                .now_unix_ms = NOW,
                                .step = step,
                                .op = op,
                                .attempt = attempts,
                                .code = answers[i].code,
                                .not_sent = answers[i].unsent,
                                .key_reused = answers[i].reused};
        add_event(ev);
        if (answers[i].code == SAGA_CODE_OK) {
            ev.paused = true;
            add_event(ev);
            ev.paused = false;
            ev.when_mask = UINT64_MAX;
            add_event(ev);
        }
        if (attempts > 1 && !answers[i].unsent) {
            ev.attempt = 1;
            add_event(ev);
        }
    }
}

static void add_acts(uint8_t step)
{
    static const enum saga_act acts[] = {SAGA_ACT_RETRY,   SAGA_ACT_CANCEL,     SAGA_ACT_SKIP,
                                         SAGA_ACT_RESOLVE, SAGA_ACT_COMPENSATE, SAGA_ACT_PAUSE,
                                         SAGA_ACT_RESUME};
    for (size_t i = 0; i < sizeof acts / sizeof acts[0]; i++) {
        bool whole =
            acts[i] == SAGA_ACT_CANCEL || acts[i] == SAGA_ACT_PAUSE || acts[i] == SAGA_ACT_RESUME;
        if (whole && step != SAGA_STEP_ALL) {
            continue;
        }
        add_event((struct saga_event){
            .kind = SAGA_EVENT_OPERATOR, .now_unix_ms = NOW, .step = step, .act = acts[i]});
    }
}

static void list_events(const struct saga *saga)
{
    world.event_count = 0;
    for (uint8_t i = 0; i < saga->step_count; i++) {
        const struct saga_step_run *run = &saga->steps[i];
        add_replies(saga, i, SAGA_OP_CALL);
        add_replies(saga, i, SAGA_OP_UNDO);
        add_acts(i);
        if (run->wait == SAGA_WAIT_DURABLE) {
            add_event((struct saga_event){
                .kind = SAGA_EVENT_DURABLE,
                .now_unix_ms = NOW,
                .step = i,
                .op = run->state == SAGA_STEP_CALLED ? SAGA_OP_CALL : SAGA_OP_UNDO,
                .attempt =
                    run->state == SAGA_STEP_CALLED ? run->call_attempts : run->undo_attempts});
        }
        if (run->due_unix_ms != 0) {
            /* `step` is not the engine's business: it says whose time is due. */
            add_event((struct saga_event){.kind = SAGA_EVENT_TIMER, .now_unix_ms = NOW, .step = i});
        }
    }
    add_acts(SAGA_STEP_ALL);
    add_event((struct saga_event){.kind = SAGA_EVENT_TIMER,
                                  .now_unix_ms = NOW,
                                  .step = SAGA_STEP_ALL,
                                  .attempt = CLOCK_BACK});
    static const enum saga_event_kind whole[] = {SAGA_EVENT_TIMER, SAGA_EVENT_RECOVERED,
                                                 SAGA_EVENT_REVERSE};
    for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
        add_event((struct saga_event){.kind = whole[i], .now_unix_ms = NOW, .step = SAGA_STEP_ALL});
    }
}

/* Sets the times so that the timer of the event, and no other, is due. */
static void set_times(struct saga *saga, const struct saga_event *ev)
{
    if (ev->kind == SAGA_EVENT_TIMER && ev->attempt == CLOCK_BACK) {
        for (uint8_t i = 0; i < saga->step_count; i++) {
            saga->steps[i].due_unix_ms += saga->steps[i].due_unix_ms != 0 ? BACK_MS : 0;
        }
        saga->deadline_unix_ms += BACK_MS;
    } else if (ev->kind == SAGA_EVENT_TIMER && ev->step < saga->step_count) {
        saga->steps[ev->step].due_unix_ms = NOW;
    } else if (ev->kind == SAGA_EVENT_TIMER) {
        saga->deadline_unix_ms = NOW;
    }
}

/* Explores a definition; calls found for each row. */
static void explore(void (*found)(const char *row, const struct node *from,
                                  const struct saga_event *ev))
{
    struct saga_update up;
    world.count = 0;
    memset(world.slots, 0, SLOTS * sizeof *world.slots);
    const struct saga_event starts[] = {
        {.kind = SAGA_EVENT_START, .now_unix_ms = NOW, .seed = 1, .step = SAGA_STEP_ALL},
        {.kind = SAGA_EVENT_START,
         .now_unix_ms = NOW,
         .seed = 1,
         .step = SAGA_STEP_ALL,
         .paused = true}};
    struct node none;
    memset(&none, 0, sizeof none);
    none.parent = -1;
    for (int32_t at = -1; at < world.count; at++) {
        struct node from = at < 0 ? none : world.nodes[at];
        if (at < 0) {
            memcpy(world.events, starts, sizeof starts);
            world.event_count = 2;
        } else {
            list_events(&from.saga);
        }
        for (size_t i = 0; i < world.event_count; i++) {
            struct saga before = from.saga;
            const struct saga_event *ev = &world.events[i];
            char row[ROW_SIZE];
            set_times(&before, ev);
            struct saga after = before;
            saga_step(&world.def, &after, ev, &up);
            if (row_of(&world.def, &before, ev, &after, up.verdict, row)) {
                found(row, at < 0 ? NULL : &world.nodes[at], ev);
            }
            if (up.verdict == SAGA_VERDICT_TAKEN) {
                normalize(&after);
                put_node(&after, ev, at);
            }
        }
    }
}

/* ---- what transcripts hit ---- */

static struct rows hit;       /* by transcripts */
static struct rows reachable; /* by the engine */
static struct rows listed;    /* in rows.txt */

static void read_all(const char *path, struct saga_buf *out)
{
    FILE *file = fopen(path, "rb");
    assert_non_null(file);
    uint8_t chunk[4096];
    size_t got = 0;
    while ((got = fread(chunk, 1, sizeof chunk, file)) > 0) {
        assert_int_equal(saga_buf_append(out, (struct saga_bytes){chunk, got}), SAGA_ERR_OK);
    }
    (void)fclose(file);
}

/* Runs the transcripts; with_made: also those that --rewrite made. */
static void run_transcripts(bool with_made)
{
    DIR *folder = opendir(FOLDER);
    assert_non_null(folder);
    for (struct dirent *entry = readdir(folder); entry != NULL; entry = readdir(folder)) {
        const char *name = entry->d_name;
        size_t size = strlen(name);
        bool text = size > 4 && strcmp(name + size - 4, ".txt") == 0;
        bool made = strncmp(name, "rows-", 5) == 0;
        if (!text || strcmp(name, "CMakeLists.txt") == 0 || strcmp(name, "rows.txt") == 0 ||
            (made && !with_made)) {
            continue;
        }
        char path[PATH_SIZE];
        (void)snprintf(path, sizeof path, "%s/%s", FOLDER, name);
        struct saga_buf in = {0};
        struct saga_buf out = {0};
        read_all(path, &in);
        const char *wrong = transcript_run(saga_buf_view(&in), &out, &hit);
        if (wrong != NULL) {
            fail_msg("%s: %s", name, wrong);
        }
        saga_buf_fini(&in);
        saga_buf_fini(&out);
    }
    (void)closedir(folder);
}

static void read_list(void)
{
    struct saga_buf text = {0};
    read_all(FOLDER "/rows.txt", &text);
    assert_int_equal(saga_buf_append(&text, (struct saga_bytes){(const uint8_t *)"", 1}),
                     SAGA_ERR_OK);
    char *rest = NULL;
    for (char *line = strtok_r((char *)text.data, "\n", &rest); line != NULL;
         line = strtok_r(NULL, "\n", &rest)) {
        if (line[0] != '#') {
            (void)rows_put(&listed, line);
        }
    }
    saga_buf_fini(&text);
}

/* ---- writing ---- */

static FILE *made;

static const char step_names[] = "abcd";

/* Writes the line of an event, with the clock's line before it if a time must pass. */
static void write_event(const struct saga_event *ev, const struct saga *saga, int64_t *now)
{
    static const char *const acts[] = {"?",          "retry",   "cancel", "skip",
                                       "compensate", "resolve", "pause",  "resume"};
    char step = ev->step < saga->step_count ? step_names[ev->step] : '-';
    const char *op = ev->op == SAGA_OP_UNDO ? "undo" : "call";
    const char *paused = ev->paused ? " paused" : "";
    switch (ev->kind) {
    case SAGA_EVENT_START:
        (void)fprintf(made, "start%s\n", paused);
        break;
    case SAGA_EVENT_REPLY:
        (void)fprintf(made, "reply %c %s %s attempt %" PRIu32 "%s%s%s", step, op,
                      saga_code_name(ev->code), ev->attempt, ev->not_sent ? " unsent" : "",
                      ev->key_reused ? " reused" : "", paused);
        for (uint8_t i = 0; ev->when_mask != 0 && i < world.def.step_count; i++) {
            (void)fprintf(made, " when %c", step_names[i]);
        }
        (void)fprintf(made, "\n");
        break;
    case SAGA_EVENT_TIMER: {
        if (ev->attempt == CLOCK_BACK) {
            (void)fprintf(made, "+-%d\n", BACK_MS);
            *now -= BACK_MS;
            (void)fprintf(made, "timer\n");
            break;
        }
        int64_t due = step == '-' ? saga->deadline_unix_ms : saga->steps[ev->step].due_unix_ms;
        if (due > *now) {
            (void)fprintf(made, "+%" PRId64 "\n", due - *now);
            *now = due;
        }
        (void)fprintf(made, "timer%s\n", paused);
        break;
    }
    case SAGA_EVENT_DURABLE:
        (void)fprintf(made, "durable %c %s\n", step, op);
        break;
    case SAGA_EVENT_RECOVERED:
        (void)fprintf(made, "recovered%s\n", paused);
        break;
    case SAGA_EVENT_REVERSE:
        (void)fprintf(made, "reverse\n");
        break;
    case SAGA_EVENT_OPERATOR:
        (void)fprintf(made, "operator %s", acts[ev->act]);
        if (step != '-') {
            (void)fprintf(made, " %c", step);
        }
        (void)fprintf(made, "\n");
        break;
    }
}

static const struct saga_event *way_to(const struct node *from, const struct saga_event *ev,
                                       size_t *count)
{
    static struct saga_event way[EVENTS_MAX];
    size_t at = EVENTS_MAX;
    way[--at] = *ev;
    for (const struct node *node = from; node != NULL;
         node = node->parent < 0 ? NULL : &world.nodes[node->parent]) {
        way[--at] = node->ev;
    }
    *count = EVENTS_MAX - at;
    return &way[at];
}

/* A saga on a way, with true times. */
static struct {
    struct saga saga;
    int64_t now;
    const struct node *at; /* where it stands, if what is refused there can go on from it */
    bool begun;            /* a way was written: the next one begins with another saga */
} walker;

/* Takes one event; writes it if asked. Numbers of attempts above two are others here: the present
 * one is meant. Returns whether it comes to the row. */
static bool walk(const struct saga_event *given, bool write, const char *row)
{
    struct saga_event ev = *given;
    struct saga *saga = &walker.saga;
    const struct saga_step_run *run = ev.step < saga->step_count ? &saga->steps[ev.step] : NULL;
    if (run != NULL && ev.attempt > 1) {
        ev.attempt = ev.op == SAGA_OP_CALL ? run->call_attempts : run->undo_attempts;
    }
    if (write) {
        write_event(&ev, saga, &walker.now);
    } else if (ev.kind == SAGA_EVENT_TIMER && ev.attempt == CLOCK_BACK) {
        walker.now -= BACK_MS;
    } else if (ev.kind == SAGA_EVENT_TIMER) {
        int64_t due = run == NULL ? saga->deadline_unix_ms : run->due_unix_ms;
        walker.now = due > walker.now ? due : walker.now;
    }
    ev.now_unix_ms = walker.now;
    struct saga before = *saga;
    struct saga_update up;
    char got[ROW_SIZE];
    saga_step(&world.def, saga, &ev, &up);
    return row_of(&world.def, &before, &ev, saga, up.verdict, got) && strcmp(got, row) == 0;
}

static bool walk_way(const struct saga_event *way, size_t count, bool write, const char *row)
{
    bool same = false;
    memset(&walker.saga, 0, sizeof walker.saga);
    walker.now = NOW;
    walker.at = NULL;
    for (size_t i = 0; i < count; i++) {
        same = walk(&way[i], write, row);
    }
    return same;
}

static void write_way(const char *row, const struct node *from, const struct saga_event *ev)
{
    size_t count = 0;
    if (rows_have(&hit, row)) {
        return;
    }
    if (from != NULL && walker.at == from) {
        struct saga saga = walker.saga;
        bool same = walk(ev, false, row);
        walker.saga = saga;
        if (same) {
            (void)fprintf(made, "# %s\n", row);
            (void)walk(ev, true, row);
            (void)rows_put(&hit, row);
        }
        return;
    }
    const struct saga_event *way = way_to(from, ev, &count);
    if (walk_way(way, count, false, row)) {
        (void)fprintf(made, "%s# %s\n", walker.begun ? "again\n" : "", row);
        (void)walk_way(way, count, true, row);
        (void)rows_put(&hit, row);
        walker.begun = true;
        walker.at = strstr(row, "refused") != NULL ? from : NULL;
    }
}

/* What is refused changes nothing: all that is refused of one saga goes into one way. */
static void write_refused(const char *row, const struct node *from, const struct saga_event *ev)
{
    if (strstr(row, "refused") != NULL) {
        write_way(row, from, ev);
    }
}

static void note_row(const char *row, const struct node *from, const struct saga_event *ev)
{
    (void)from;
    (void)ev;
    (void)rows_put(&reachable, row);
}

static void write_list(void)
{
    FILE *file = fopen(FOLDER "/rows.txt", "wb");
    assert_non_null(file);
    (void)fprintf(file, "# The transition table of the engine: saga, step (kind, state/what it "
                        "waits for) | event -> saga, step.\n"
                        "# What is not here changes nothing. Each row is hit by a transcript of "
                        "this folder; made by\n"
                        "# test_golden_rows --rewrite, its diff is to be reviewed.\n");
    for (size_t i = 0; i < hit.count; i++) {
        (void)fprintf(file, "%s\n", hit.texts[i]);
    }
    assert_int_equal(fclose(file), 0);
}

/* Writes the ways to rows that no transcript by hand hits. */
static void write_ways(const char *name, const char *text)
{
    char path[PATH_SIZE];
    (void)snprintf(path, sizeof path, "%s/rows-%s.txt", FOLDER, name);
    made = fopen(path, "wb");
    assert_non_null(made);
    (void)fprintf(made,
                  "# Ways to rows of the transition table (rows.txt) that the transcripts by hand "
                  "do not hit; made by test_golden_rows --rewrite.\n%s",
                  text);
    walker.begun = false;
    walker.at = NULL;
    explore(write_refused);
    walker.at = NULL;
    explore(write_way);
    assert_int_equal(fclose(made), 0);
}

/* ---- the test ---- */

static size_t report(const struct rows *all, const struct rows *part, const char *what)
{
    size_t count = 0;
    for (size_t i = 0; i < all->count; i++) {
        if (!rows_have(part, all->texts[i])) {
            count++;
            if (!canary && count <= REPORT_MAX) {
                print_error("%s: %s\n", what, all->texts[i]);
            }
        }
    }
    return count;
}

static void test_rows_when_the_engine_can_come_there_then_a_transcript_does(void **state)
{
    (void)state;
    run_transcripts(!rewrite);
    for (size_t i = 0; i < sizeof worlds / sizeof worlds[0]; i++) {
        assert_null(transcript_definition(worlds[i].text, &world.def));
        if (rewrite) {
            write_ways(worlds[i].name, worlds[i].text);
        }
        explore(note_row);
        print_message("%s: %" PRId32 " sagas\n", worlds[i].name, world.count);
        assert_true(world.count > 10);
    }
    if (rewrite) {
        write_list();
    }
    read_list();
    if (canary) {
        (void)rows_put(&reachable, "RUNNING | a row that nothing hits -> RUNNING");
        (void)rows_put(&hit, "RUNNING | a row that is not listed -> RUNNING");
        (void)rows_put(&listed, "RUNNING | a row that is not there -> RUNNING");
    }
    size_t lines = listed.count;
    print_message("%zu rows, %zu reachable in these definitions\n", lines, reachable.count);
    assert_int_equal(report(&reachable, &hit, "no transcript comes to"), canary ? 1 : 0);
    assert_int_equal(report(&hit, &listed, "rows.txt does not have"), canary ? 1 : 0);
    assert_int_equal(report(&listed, &hit, "rows.txt has, and no transcript hits"), canary ? 1 : 0);
    assert_true(reachable.count >= 100);
}

int main(int argc, char **argv)
{
    rewrite = argc > 1 && strcmp(argv[1], "--rewrite") == 0;
    canary = argc > 1 && strcmp(argv[1], "--canary") == 0;
    world.nodes = calloc(NODES_MAX, sizeof *world.nodes);
    world.slots = calloc(SLOTS, sizeof *world.slots);
    if (world.nodes == NULL || world.slots == NULL) {
        return 1;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows_when_the_engine_can_come_there_then_a_transcript_does),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    free(world.nodes);
    free(world.slots);
    return failed;
}
