/* sagactl replay: recorded events through the engine of this program again (S7). */
#include "client/verbs.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/sagas.h"
#include "common/base/status.h"
#include "common/sys/clock.h"
#include "common/wire/envelope.h"
#include "orchestrator/store/sqlite/store_sqlite.h"
#include "saga/v1/reflection.pb-c.h"
#include "verify/replay/replay.h"

static const struct saga_option replay_options[] = {
    {"all", NULL, "false", "every saga of --store, ended and in flight", false},
    {"store", "FILE", NULL,
     "sagad's SQLite file (its --data); only read, also while sagad runs. Without: ask the daemon",
     false},
    {"saga", "NAME", NULL, "find the saga by the name of its definition and --key", false},
    {"key", "KEY", NULL, "see --saga", false},
    {"findings", "N", "20", "tell at most so many sagas in full; all are counted", false},
};

enum {
    FINDINGS_MAX = 100000,
    PROGRESS_TERMINAL_US = 500 * 1000,
    PROGRESS_FILE_US = 10 * 1000 * 1000,
};

/* Where the replay stands when this program ends at it. */
static struct saga_replay_place place;

static void write_words(const char *words)
{
    (void)!write(STDERR_FILENO, words, strlen(words));
}

/* An assertion outside the engine ends the process (those of the engine are findings). Only what a
 * signal handler may call. */
static void on_abort(int signal)
{
    (void)signal;
    char digits[24];
    size_t at = sizeof digits - 1;
    digits[at] = '\0';
    uint64_t seq = place.seq;
    do {
        digits[--at] = (char)('0' + seq % 10);
        seq /= 10;
    } while (seq != 0);
    write_words("sagactl: replay: this program gave up (see above) at saga ");
    write_words(place.saga[0] == '\0' ? "(none yet)" : place.saga);
    write_words(", event ");
    write_words(&digits[at]);
    write_words(": it does not take what was recorded\n");
    _exit(SAGA_EXIT_FAILED);
}

static void watch_for_abort(void)
{
    struct sigaction action = {.sa_handler = on_abort};
    (void)sigemptyset(&action.sa_mask);
    (void)sigaction(SIGABRT, &action, NULL);
}

/* What is told, and when. */
struct telling {
    bool json;
    json_t *findings; /* with json */
    uint64_t told;
    int64_t told_max;
    uint64_t saga_count; /* in the store; 0: just one */
    bool terminal;
    bool drawn; /* a line of progress stands on the terminal */
    int64_t start_us;
    int64_t progress_us; /* of the last line of progress */
};

static int replay_open_telling(const struct saga_options *options, struct telling *telling)
{
    int json = saga_client_output_json(options);
    *telling = (struct telling){0};
    if (json < 0) {
        return SAGA_EXIT_USAGE;
    }
    *telling = (struct telling){
        .json = json == 1,
        .findings = json == 1 ? json_array() : NULL,
        .terminal = isatty(STDERR_FILENO) == 1,
        .start_us = saga_clock_mono_us(),
    };
    telling->progress_us = telling->start_us;
    return saga_client_int(options, "findings", 0, FINDINGS_MAX, &telling->told_max);
}

/* ---- Findings ---- */

static void wipe_progress(struct telling *telling)
{
    if (telling->drawn) {
        fputs("\r\033[K", stderr);
        (void)fflush(stderr);
        telling->drawn = false;
    }
}

/* Prints "BEFORE TEXT" as a line. */
static void print_text(const char *before, const char *text)
{
    char clean[SAGA_REPLAY_TEXT_SIZE + 8];
    snprintf(clean, sizeof clean, "%s", text);
    saga_client_clean(clean);
    printf("%s%s\n", before, clean[0] == '\0' ? "(nothing)" : clean);
}

static json_t *text_json(const char *text)
{
    json_t *value = json_string(text);
    return value != NULL ? value : json_string("(not UTF-8)");
}

static json_t *finding_json(const struct saga_replay_finding *finding, const char *id)
{
    json_t *object =
        json_pack("{s:s,s:s,s:o,s:I,s:o,s:o}", "kind", saga_replay_kind_name(finding->kind), "saga",
                  id, "definition", text_json(finding->definition), "seq", (json_int_t)finding->seq,
                  "event", text_json(finding->event), "message", text_json(finding->message));
    json_t *fields = json_array();
    for (size_t i = 0; i < finding->field_count; i++) {
        const struct saga_replay_field *field = &finding->fields[i];
        (void)json_array_append_new(
            fields, json_pack("{s:o,s:o,s:o}", "field", text_json(field->name), "recorded",
                              text_json(field->recorded), "now", text_json(field->now)));
    }
    if (finding->time_unix_ms != 0) {
        char time[SAGA_TIME_TEXT_SIZE];
        saga_client_time_text(finding->time_unix_ms, time);
        (void)json_object_set_new(object, "time", json_string(time));
    }
    (void)json_object_set_new(object, "fields", fields);
    return object;
}

static void print_finding(const struct saga_replay_finding *finding, const char *id)
{
    printf("%-10s ", saga_replay_kind_name(finding->kind));
    if (finding->definition[0] == '\0') {
        printf("store");
    } else {
        printf("saga %s of %s", id, finding->definition);
    }
    if (finding->seq != 0) {
        printf(", event %" PRIu64, finding->seq);
    }
    print_text(": ", finding->message);
    if (finding->event[0] != '\0') {
        char time[SAGA_TIME_TEXT_SIZE];
        saga_client_time_text(finding->time_unix_ms, time);
        printf("  at        %s\n", time);
        print_text("  event     ", finding->event);
    }
    for (size_t i = 0; i < finding->field_count; i++) {
        const struct saga_replay_field *field = &finding->fields[i];
        printf("  %s\n", field->name);
        print_text("    recorded: ", field->recorded);
        print_text("    now:      ", field->now);
    }
}

static void replay_told(void *user, const struct saga_replay_finding *finding)
{
    struct telling *telling = user;
    char id[SAGA_ID_TEXT_SIZE];
    telling->told += 1;
    if (telling->told > (uint64_t)telling->told_max) {
        return;
    }
    saga_id_format(finding->id, id);
    if (telling->json) {
        (void)json_array_append_new(telling->findings, finding_json(finding, id));
        return;
    }
    wipe_progress(telling);
    print_finding(finding, id);
    (void)fflush(stdout);
}

/* ---- Progress and result ---- */

static uint64_t found_sum(const struct saga_replay_counts *counts)
{
    uint64_t sum = 0;
    for (size_t i = 0; i < SAGA_REPLAY_KIND_COUNT; i++) {
        sum += counts->found[i];
    }
    return sum;
}

static bool replay_progress(void *user, const struct saga_replay_counts *counts)
{
    struct telling *telling = user;
    int64_t now_us = saga_clock_mono_us();
    int64_t wait_us = telling->terminal ? PROGRESS_TERMINAL_US : PROGRESS_FILE_US;
    if (now_us - telling->progress_us < wait_us || telling->saga_count == 0) {
        return true;
    }
    telling->progress_us = now_us;
    double seconds = (double)(now_us - telling->start_us) / 1e6;
    fprintf(stderr,
            "%ssagactl: replay: %" PRIu64 " of %" PRIu64 " sagas (%.0f %%), %" PRIu64
            " events, %.0f sagas/s, %" PRIu64 " with findings%s",
            telling->terminal ? "\r" : "", counts->sagas, telling->saga_count,
            100.0 * (double)counts->sagas / (double)telling->saga_count, counts->events,
            (double)counts->sagas / seconds, found_sum(counts),
            telling->terminal ? "\033[K" : "\n");
    (void)fflush(stderr);
    telling->drawn = telling->terminal;
    return true;
}

static const char *plural(uint64_t count)
{
    return count == 1 ? "" : "s";
}

static int print_result(struct telling *telling, const struct saga_replay_counts *counts)
{
    uint64_t sum = found_sum(counts);
    wipe_progress(telling);
    if (telling->json) {
        int status = saga_client_print_json(json_pack(
            "{s:s,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:I,s:O}", "program", "sagactl " SAGA_VERSION,
            "sagas", (json_int_t)counts->sagas, "streams", (json_int_t)counts->streams, "ended",
            (json_int_t)counts->ended, "in_flight", (json_int_t)counts->in_flight, "events",
            (json_int_t)counts->events, "same", (json_int_t)counts->same, "different",
            (json_int_t)counts->found[SAGA_REPLAY_DIFFERENT], "broken",
            (json_int_t)counts->found[SAGA_REPLAY_BROKEN], "definition",
            (json_int_t)counts->found[SAGA_REPLAY_DEFINITION], "findings", telling->findings));
        return status == SAGA_EXIT_OK && sum > 0 ? SAGA_EXIT_FAILED : status;
    }
    if (telling->told > (uint64_t)telling->told_max) {
        printf("… and %" PRIu64 " more (--findings N tells more)\n",
               telling->told - (uint64_t)telling->told_max);
    }
    printf("%" PRIu64 " saga%s (%" PRIu64 " ended, %" PRIu64 " in flight), %" PRIu64
           " event%s: %" PRIu64 " the same, %" PRIu64 " different, %" PRIu64
           " with a broken log, %" PRIu64 " whose definition cannot be used\n",
           counts->sagas, plural(counts->sagas), counts->ended, counts->in_flight, counts->events,
           plural(counts->events), counts->same, counts->found[SAGA_REPLAY_DIFFERENT],
           counts->found[SAGA_REPLAY_BROKEN], counts->found[SAGA_REPLAY_DEFINITION]);
    if (counts->streams > 0) {
        printf("%" PRIu64 " definition%s that %s paused or let go on\n", counts->streams,
               plural(counts->streams), counts->streams == 1 ? "was" : "were");
    }
    puts(sum == 0 ? "sagactl " SAGA_VERSION
                    " decides everything as it was recorded, byte for byte (S7)"
                  : "sagactl " SAGA_VERSION " does NOT reproduce what was recorded");
    return sum == 0 ? SAGA_EXIT_OK : SAGA_EXIT_FAILED;
}

/* ---- From a store ---- */

/* There is no such saga: said with the daemon's exit status. */
static int fail_not_found(const struct saga_options *options, const char *path)
{
    if (saga_options_operand_count(options) == 1) {
        saga_client_warn("%s: there is no saga %s", path, saga_options_operand(options, 0));
    } else {
        saga_client_warn("%s: there is no saga of %s with the key “%s”", path,
                         saga_options_text(options, "saga"), saga_options_text(options, "key"));
    }
    return SAGA_EXIT_STATUS + SAGA_CODE_NOT_FOUND;
}

static int fail_store(const struct saga_options *options, const char *path, enum saga_err err,
                      const struct saga_err_detail *detail, uint64_t sagas)
{
    bool all = saga_options_on(options, "all");
    const char *text = detail->text[0] == '\0' ? saga_err_text(err) : detail->text;
    if (err == SAGA_ERR_NOT_FOUND && !all) {
        return fail_not_found(options, path);
    }
    return all ? saga_client_fail("%s: %s (after %" PRIu64 " sagas)", path, text, sagas)
               : saga_client_fail("%s: %s", path, text);
}

static enum saga_err store_saga_id(const struct saga_options *options,
                                   const struct saga_store_port *store, struct saga_id *id,
                                   struct saga_err_detail *detail)
{
    if (saga_options_operand_count(options) == 1) {
        return saga_id_parse(saga_options_operand(options, 0), id);
    }
    struct saga_row row;
    enum saga_err err = store->ops->find_key(store->store, saga_options_text(options, "saga"),
                                             saga_options_text(options, "key"), &row, detail);
    if (err == SAGA_ERR_OK) {
        *id = row.id;
    }
    return err;
}

static int replay_store(const struct saga_options *options, const char *path)
{
    struct telling telling;
    struct saga_store_port store;
    struct saga_replay_counts counts = {0};
    struct saga_err_detail detail = {{0}};
    bool all = saga_options_on(options, "all");
    int status = replay_open_telling(options, &telling);
    if (status != SAGA_EXIT_OK) {
        json_decref(telling.findings);
        return status;
    }
    enum saga_err err =
        saga_store_sqlite_inspect(path, &store, all ? &telling.saga_count : NULL, &detail);
    if (err != SAGA_ERR_OK) {
        json_decref(telling.findings);
        return saga_client_fail("--store: %s", detail.text);
    }
    struct saga_replay_store_config config = {.store = store,
                                              .path = path,
                                              .told = replay_told,
                                              .place = &place,
                                              .progress = replay_progress,
                                              .user = &telling};
    if (all) {
        err = saga_replay_store(&config, &counts, &detail);
    } else {
        struct saga_id id;
        err = store_saga_id(options, &store, &id, &detail);
        if (err == SAGA_ERR_OK) {
            err = saga_replay_store_one(&config, id, &counts, &detail);
        }
    }
    if (err == SAGA_ERR_OK) {
        err = saga_store_sqlite_inspected(&store, &detail);
    }
    store.ops->close(store.store);
    wipe_progress(&telling);
    status = err == SAGA_ERR_OK ? print_result(&telling, &counts)
                                : fail_store(options, path, err, &detail, counts.sagas);
    json_decref(telling.findings);
    return status;
}

/* ---- From a daemon ---- */

static void step_text(char text[128], Saga__V1__StepState state, uint32_t calls, uint32_t undos,
                      bool stalled, int64_t due_unix_ms)
{
    snprintf(text, 128, "%s, calls %" PRIu32 ", undos %" PRIu32 "%s, due %" PRId64,
             saga_view_step_state(state), calls, undos, stalled ? ", stalled" : "", due_unix_ms);
}

static void compare_number(struct saga_replay *replay, const char *name, int64_t recorded,
                           int64_t now)
{
    char texts[2][32];
    snprintf(texts[0], sizeof texts[0], "%" PRId64, recorded);
    snprintf(texts[1], sizeof texts[1], "%" PRId64, now);
    saga_replay_compare(replay, name, texts[0], texts[1]);
}

/* What the daemon shows of the saga against what came out. */
static void compare_view(struct saga_replay *replay, const Saga__V1__SagaView *view)
{
    const struct saga *saga = saga_replay_state(replay);
    if (saga == NULL) {
        saga_replay_break(replay, 1, "event 1 is missing");
        return;
    }
    saga_replay_compare(replay, "state", saga_view_state(view->state),
                        saga_view_state((Saga__V1__SagaState)saga->state));
    compare_number(replay, "seq", (int64_t)view->seq, (int64_t)saga->seq);
    compare_number(replay, "created", view->created_unix_ms, saga->created_unix_ms);
    compare_number(replay, "deadline", view->deadline_unix_ms, saga->deadline_unix_ms);
    compare_number(replay, "ended", view->ended_unix_ms, saga->ended_unix_ms);
    compare_number(replay, "steps", (int64_t)view->n_steps, saga->step_count);
    for (size_t i = 0; i < view->n_steps && i < saga->step_count; i++) {
        const Saga__V1__StepView *step = view->steps[i];
        const struct saga_step_run *run = &saga->steps[i];
        char recorded[128];
        char now[128];
        step_text(recorded, step->state, step->call_attempts, step->undo_attempts, step->stalled,
                  step->due_unix_ms);
        step_text(now, (Saga__V1__StepState)run->state, run->call_attempts, run->undo_attempts,
                  run->stalled, run->due_unix_ms);
        saga_replay_compare(replay, step->name, recorded, now);
    }
    struct saga_bytes context = saga_replay_context(replay);
    if (!saga_bytes_equal(context, (struct saga_bytes){view->context.data, view->context.len})) {
        saga_replay_compare(replay, "context", "(other bytes)", "(the bytes that come out)");
    }
}

/* Gives a page of events to the replay. *seq goes on. Exit status. */
static int feed_page(struct saga_conn *conn, const struct saga_id *id, struct saga_replay *replay,
                     uint64_t *seq, uint64_t seq_max, bool *more)
{
    Saga__V1__WatchSagaRequest message = SAGA__V1__WATCH_SAGA_REQUEST__INIT;
    struct saga_id bytes = *id;
    message.saga_id = (ProtobufCBinaryData){sizeof bytes.b, bytes.b};
    message.after_seq = *seq;
    struct saga_conn_request request = {
        .method = "saga.v1.OrchestratorService/WatchSaga",
        .request = &message.base,
        .response_type = &saga__v1__watch_saga_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    int status = saga_conn_call(conn, &request, &answer);
    const Saga__V1__WatchSagaResponse *page = (const Saga__V1__WatchSagaResponse *)answer;
    struct saga_buf event = {0};
    *more = status == SAGA_EXIT_OK && page->n_events > 0;
    for (size_t i = 0; *more && i < page->n_events; i++) {
        saga_buf_clear(&event);
        if (saga_message_encode(&page->events[i]->base, &event) != SAGA_ERR_OK) {
            status = saga_client_fail("out of memory");
            *more = false;
            break;
        }
        *seq = page->events[i]->seq;
        *more = *seq <= seq_max && saga_replay_event(replay, *seq, saga_buf_view(&event));
    }
    *more = *more && *seq < seq_max;
    saga_buf_fini(&event);
    return status;
}

static int feed_all(struct saga_conn *conn, const Saga__V1__SagaView *view,
                    struct saga_replay *replay, const char *why)
{
    struct saga_id id;
    uint64_t seq = 0;
    bool more = true;
    int status = SAGA_EXIT_OK;
    if (saga_client_id(view->saga_id.data, view->saga_id.len, &id) != SAGA_ERR_OK) {
        return saga_client_fail("%s: the answer holds no saga", saga_conn_address(conn));
    }
    struct saga_replay_subject subject = {
        .id = id,
        .definition_name = view->definition,
        .definition_hash = view->definition_hash.data,
        .ended = view->ended_unix_ms != 0,
    };
    more = saga_replay_begin(replay, &subject, why);
    while (more && status == SAGA_EXIT_OK) {
        status = feed_page(conn, &id, replay, &seq, view->seq, &more);
    }
    if (status == SAGA_EXIT_OK) {
        compare_view(replay, view);
    }
    if (saga_replay_end(replay) != SAGA_ERR_OK) {
        status = saga_client_fail("out of memory");
    }
    return status;
}

/* An answer lives until the next question: the saga is copied before its events are asked for. */
static int fetch_view(struct saga_conn *conn, const struct saga_options *options,
                      struct saga_arena *arena, const Saga__V1__SagaView **view)
{
    const Saga__V1__GetSagaResponse *response = NULL;
    struct saga_buf bytes = {0};
    int status = saga_view_fetch(conn, options, false, &response);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    if (saga_message_encode(&response->saga->base, &bytes) == SAGA_ERR_OK) {
        *view = (const Saga__V1__SagaView *)saga_message_decode(&saga__v1__saga_view__descriptor,
                                                                saga_buf_view(&bytes), arena);
    }
    saga_buf_fini(&bytes);
    return *view == NULL ? saga_client_fail("out of memory") : SAGA_EXIT_OK;
}

/* Asks for the definition that the saga began with, which may be an older one. *why tells what was
 * wrong with it. Exit status. */
static int fetch_definition(struct saga_conn *conn, const Saga__V1__SagaView *view,
                            struct saga_catalog *catalog, struct saga_err_detail *why)
{
    Saga__V1__GetDescriptorSetRequest message = SAGA__V1__GET_DESCRIPTOR_SET_REQUEST__INIT;
    message.definition_hash = view->definition_hash;
    struct saga_conn_request request = {
        .method = "saga.v1.ReflectionService/GetDescriptorSet",
        .request = &message.base,
        .response_type = &saga__v1__get_descriptor_set_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    int status = saga_conn_call(conn, &request, &answer);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    const Saga__V1__GetDescriptorSetResponse *set =
        (const Saga__V1__GetDescriptorSetResponse *)answer;
    struct saga_stored_definition stored = {
        .hash = view->definition_hash.data,
        .name = view->definition,
        .descriptor_set = {set->descriptor_set.data, set->descriptor_set.len},
    };
    struct saga_version *version = NULL;
    enum saga_err err = saga_catalog_add_stored(catalog, &stored, &version, why);
    return err == SAGA_ERR_NO_MEMORY ? saga_client_fail("out of memory") : SAGA_EXIT_OK;
}

static int replay_fetched(struct saga_conn *conn, const struct saga_options *options,
                          struct saga_catalog *catalog, struct telling *telling)
{
    struct saga_arena arena = {0};
    struct saga_err_detail why = {{0}};
    const Saga__V1__SagaView *view = NULL;
    struct saga_replay *replay = NULL;
    struct saga_replay_config config = {
        .catalog = catalog, .place = &place, .told = replay_told, .user = telling};
    int status = fetch_view(conn, options, &arena, &view);
    if (status == SAGA_EXIT_OK && view->definition_hash.len != SAGA_DIGEST_SIZE) {
        status = saga_client_fail("%s: the answer holds no saga", saga_conn_address(conn));
    }
    if (status == SAGA_EXIT_OK) {
        status = fetch_definition(conn, view, catalog, &why);
    }
    if (status == SAGA_EXIT_OK && saga_replay_new(&config, &replay) != SAGA_ERR_OK) {
        status = saga_client_fail("out of memory");
    }
    if (status == SAGA_EXIT_OK) {
        status = feed_all(conn, view, replay, why.text);
    }
    if (status == SAGA_EXIT_OK) {
        status = print_result(telling, saga_replay_counts(replay));
    }
    saga_replay_free(replay);
    saga_arena_fini(&arena);
    return status;
}

static int replay_daemon(const struct saga_options *options)
{
    struct telling telling;
    struct saga_conn *conn = NULL;
    struct saga_catalog *catalog = NULL;
    int status = replay_open_telling(options, &telling);
    if (status == SAGA_EXIT_OK && saga_catalog_new(&catalog) != SAGA_ERR_OK) {
        status = saga_client_fail("out of memory");
    }
    if (status == SAGA_EXIT_OK) {
        status = saga_conn_open_orchestrator(options, &conn);
    }
    if (status == SAGA_EXIT_OK) {
        status = replay_fetched(conn, options, catalog, &telling);
    }
    saga_catalog_free(catalog);
    saga_conn_close(conn);
    json_decref(telling.findings);
    return status;
}

static int replay_run(const struct saga_options *options)
{
    const char *path = saga_options_text(options, "store");
    watch_for_abort();
    if (saga_options_on(options, "all")) {
        if (saga_client_operands(options, 0, 0, "nothing beside --all") != SAGA_EXIT_OK) {
            return SAGA_EXIT_USAGE;
        }
        if (path == NULL) {
            return saga_client_usage("--all: --store FILE is missing: the file that sagad was "
                                     "given as --data (sagactl dev: DIR/data/sagad.db)");
        }
        return replay_store(options, path);
    }
    if (saga_view_check_named(options) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    return path == NULL ? replay_daemon(options) : replay_store(options, path);
}

const struct saga_verb saga_verb_replay = {
    .name = "replay",
    .usage = "ID | --saga NAME --key KEY [--store FILE]\n"
             "       sagactl replay --all --store FILE",
    .summary = "give recorded events to this program's engine again and compare (S7)",
    .epilog =
        "Before an upgrade of sagad, run it with the NEW sagactl over the store of the OLD sagad:\n"
        "  sagactl replay --all --store /var/lib/sagad/sagad.db\n"
        "The file is only read, and sagad may go on meanwhile. Beside a store that sagad has "
        "closed\n"
        "nothing is made; beside one that it left behind, SQLite may make its index (FILE-shm). "
        "Every saga, ended or in flight, "
        "must\n"
        "come out byte for byte as it was recorded: then the new program goes on with the sagas "
        "in\n"
        "flight exactly as the old one would have. The first decision of a saga that differs is "
        "told,\n"
        "also when the new engine's own checks give up on it.\n"
        "\n"
        "Exit status: 0 all the same; 1 something differs, a log is broken, or it could not be "
        "read;\n"
        "2 wrong usage; 64 + N the daemon answered with gRPC status N.",
    .options = replay_options,
    .option_count = sizeof replay_options / sizeof replay_options[0],
    .shorts = "o=output",
    .run = replay_run,
};
