#include "verify/replay/books.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "common/base/arena.h"
#include "common/sql/sql.h"
#include "common/wire/envelope.h"
#include "orchestrator/codec/codec.h"
#include "orchestrator/runtime/runtime.h"
#include "saga/v1/audit.pb-c.h"
#include "saga/v1/command.pb-c.h"

enum {
    PROGRESS_EVENTS = 65536, /* events between two looks at the progress */
    MESSAGE_SIZE = 1024,
};

/* The saga (or stream of acts on a definition) whose events are passed. */
struct group {
    bool open;
    bool has_row;
    bool told;   /* nothing more is told of it */
    bool stream; /* its events are acts on a definition */
    struct saga_id id;
    char definition[SAGA_DEFINITION_NAME_MAX + 1]; /* by its events; "": none could be read */
    int64_t position;                              /* of the last event, as are these */
    int64_t seq;
    int64_t time_unix_ms;
};

struct books {
    const struct replay_books_config *config;
    struct saga_replay_counts *counts;
    struct saga_err_detail *detail;
    struct saga_sql *sql;
    struct saga_arena arena; /* of the event */
    /* The rows of sagas, passed beside the events; by id too. */
    struct saga_sql_stmt *rows;
    bool row_there;
    struct group group;
    uint64_t events;
    /* What the events come to. */
    bool unreadable; /* of some: the numbers below are not all */
    int64_t position_max;
    int64_t kafka; /* commands that were decided on for Kafka: each took a position of the outbox */
};

/* ---- What was told ---- */

static int compare_ids(const void *a, const void *b)
{
    return memcmp(a, b, sizeof(struct saga_id));
}

enum saga_err replay_note(struct replay_noted *noted, struct saga_id id)
{
    if (noted->ids == NULL) {
        noted->ids = calloc(SAGA_REPLAY_NOTED_MAX, sizeof *noted->ids);
        if (noted->ids == NULL) {
            return SAGA_ERR_NO_MEMORY;
        }
    }
    if (noted->count < SAGA_REPLAY_NOTED_MAX) {
        noted->ids[noted->count++] = id;
    }
    return SAGA_ERR_OK;
}

void replay_noted_free(struct replay_noted *noted)
{
    free(noted->ids);
    *noted = (struct replay_noted){0};
}

static bool is_noted(const struct replay_noted *noted, const struct saga_id *id)
{
    return noted->count > 0 &&
           bsearch(id, noted->ids, noted->count, sizeof *noted->ids, compare_ids) != NULL;
}

/* ---- Findings ---- */

static void tell(struct books *books, const struct saga_replay_finding *partial, const char *format,
                 ...) __attribute__((format(printf, 3, 4)));

static void tell(struct books *books, const struct saga_replay_finding *partial, const char *format,
                 ...)
{
    char message[MESSAGE_SIZE];
    struct saga_replay_finding finding = *partial;
    va_list args;
    va_start(args, format);
    (void)vsnprintf(message, sizeof message, format, args);
    va_end(args);
    finding.kind = SAGA_REPLAY_DIFFERENT;
    finding.event = "";
    finding.message = message;
    finding.definition = finding.definition == NULL ? "" : finding.definition;
    books->counts->found[SAGA_REPLAY_DIFFERENT] += 1;
    if (books->config->told != NULL) {
        books->config->told(books->config->user, &finding);
    }
}

/* Makes a finding of the saga that is passed, at its event of a number (0: as a whole), and sees to
 * it that there is just one. */
static struct saga_replay_finding of_group(struct books *books, int64_t seq)
{
    struct group *group = &books->group;
    group->told = true;
    if (group->has_row && books->counts->same > 0) {
        books->counts->same -= 1;
    }
    return (struct saga_replay_finding){
        .id = group->id, .definition = group->definition, .seq = (uint64_t)seq};
}

/* ---- Events and rows, side by side ---- */

static enum saga_err read_id(struct books *books, struct saga_sql_stmt *stmt, int at,
                             struct saga_id *id)
{
    struct saga_bytes bytes = saga_sql_bytes(stmt, at);
    if (bytes.size != SAGA_ID_SIZE) {
        return saga_err_set(books->detail, SAGA_ERR_CORRUPT, "the id of a saga has %zu bytes",
                            bytes.size);
    }
    memcpy(id->b, bytes.data, SAGA_ID_SIZE);
    return SAGA_ERR_OK;
}

/* Goes on in the rows to the first that is not before an id; tells whether it is of this id. Rows
 * that are passed over have no events, which running them again has told. */
static enum saga_err find_row(struct books *books, const struct saga_id *id, bool *there)
{
    struct saga_id row;
    *there = false;
    while (books->row_there) {
        enum saga_err err = read_id(books, books->rows, 0, &row);
        if (err != SAGA_ERR_OK) {
            return err;
        }
        int order = compare_ids(&row, id);
        if (order >= 0) {
            *there = order == 0;
            return SAGA_ERR_OK;
        }
        err = saga_sql_step(books->rows, &books->row_there, books->detail);
        if (err != SAGA_ERR_OK) {
            return err;
        }
    }
    return SAGA_ERR_OK;
}

/* The row of a saga against the last of its events. */
static void compare_row(struct books *books)
{
    struct group *group = &books->group;
    const char *name = saga_sql_text(books->rows, 1);
    int64_t seq = saga_sql_int(books->rows, 2);
    int64_t updated = saga_sql_int(books->rows, 3);
    if (group->definition[0] != '\0' && strcmp(name, group->definition) != 0) {
        struct saga_replay_finding finding = of_group(books, 0);
        tell(books, &finding,
             "saga.definition_name: stored \"%s\", recorded \"%s\" (S10: a start with its key does "
             "not find it)",
             name, group->definition);
    } else if (seq != group->seq) {
        struct saga_replay_finding finding = of_group(books, group->seq);
        tell(books, &finding, "saga.seq: stored %" PRId64 ", recorded %" PRId64, seq, group->seq);
    } else if (updated != group->time_unix_ms) {
        struct saga_replay_finding finding = of_group(books, group->seq);
        tell(books, &finding, "saga.updated_unix_ms: stored %" PRId64 ", recorded %" PRId64,
             updated, group->time_unix_ms);
    }
}

/* A file of a program that knew no pauses has no table of them. */
static enum saga_err find_pause(struct books *books, bool *there, int64_t *seq)
{
    struct saga_sql_stmt *stmt = NULL;
    *there = false;
    enum saga_err err = saga_sql_prepare(
        books->sql,
        "SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = 'definition_pause'", &stmt,
        books->detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_step(stmt, there, books->detail);
    }
    if (err != SAGA_ERR_OK || !*there) {
        return err;
    }
    saga_sql_reset(stmt);
    err = saga_sql_prepare(books->sql, "SELECT seq FROM definition_pause WHERE name = ?1", &stmt,
                           books->detail);
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_text(stmt, 1, books->group.definition);
        err = saga_sql_step(stmt, there, books->detail);
    }
    if (err == SAGA_ERR_OK && *there) {
        *seq = saga_sql_int(stmt, 0);
        saga_sql_reset(stmt);
    }
    return err;
}

static enum saga_err compare_pause(struct books *books)
{
    struct group *group = &books->group;
    bool there = false;
    int64_t seq = 0;
    enum saga_err err = find_pause(books, &there, &seq);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (!there) {
        struct saga_replay_finding finding = of_group(books, group->seq);
        tell(books, &finding,
             "definition_pause: stored no row, recorded %" PRId64
             " acts (S12: what was paused would go on)",
             group->seq);
    } else if (seq != group->seq) {
        struct saga_replay_finding finding = of_group(books, group->seq);
        tell(books, &finding, "definition_pause.seq: stored %" PRId64 ", recorded %" PRId64, seq,
             group->seq);
    }
    return SAGA_ERR_OK;
}

static enum saga_err end_group(struct books *books)
{
    struct group *group = &books->group;
    if (!group->open || group->told) {
        return SAGA_ERR_OK;
    }
    if (group->has_row) {
        compare_row(books);
        return SAGA_ERR_OK;
    }
    if (group->stream) {
        return compare_pause(books);
    }
    struct saga_replay_finding finding = of_group(books, group->seq);
    tell(books, &finding, "saga: stored no row, recorded events up to %" PRId64, group->seq);
    return SAGA_ERR_OK;
}

static enum saga_err begin_group(struct books *books, const struct saga_id *id)
{
    enum saga_err err = end_group(books);
    books->group =
        (struct group){.open = true, .id = *id, .told = is_noted(books->config->noted, id)};
    return err == SAGA_ERR_OK ? find_row(books, id, &books->group.has_row) : err;
}

/* What is in an event: its time, whose it is, and its commands for Kafka. */
static void pass_content(struct books *books, const Saga__V1__AuditEvent *event, int64_t seq,
                         int64_t time_unix_ms)
{
    struct group *group = &books->group;
    if (group->definition[0] == '\0') {
        (void)snprintf(group->definition, sizeof group->definition, "%s", event->definition);
        struct saga_id stream = saga_runtime_pause_stream(saga_codec_port(), group->definition);
        group->stream = saga_id_equal(stream, group->id);
    }
    for (size_t i = 0; i < event->n_decisions; i++) {
        books->kafka += event->decisions[i]->via == SAGA__V1__VIA__VIA_KAFKA ? 1 : 0;
    }
    group->time_unix_ms = event->time_unix_ms;
    if (time_unix_ms != event->time_unix_ms && !group->told) {
        struct saga_replay_finding finding = of_group(books, seq);
        tell(books, &finding, "audit.time_unix_ms: stored %" PRId64 ", recorded %" PRId64,
             time_unix_ms, event->time_unix_ms);
    }
}

static enum saga_err pass_event(struct books *books, struct saga_sql_stmt *stmt)
{
    struct group *group = &books->group;
    struct saga_id id;
    enum saga_err err = read_id(books, stmt, 1, &id);
    if (err == SAGA_ERR_OK && (!group->open || !saga_id_equal(group->id, id))) {
        err = begin_group(books, &id);
    }
    if (err != SAGA_ERR_OK) {
        return err;
    }
    int64_t position = saga_sql_int(stmt, 0);
    int64_t seq = saga_sql_int(stmt, 2);
    saga_arena_clear(&books->arena);
    const Saga__V1__AuditEvent *event = (const Saga__V1__AuditEvent *)saga_message_decode(
        &saga__v1__audit_event__descriptor, saga_sql_bytes(stmt, 4), &books->arena);
    if (event == NULL) {
        books->unreadable = true; /* running it again has told, or its row is gone */
    } else {
        pass_content(books, event, seq, saga_sql_int(stmt, 3));
    }
    if (position <= group->position && !group->told) {
        struct saga_replay_finding finding = of_group(books, seq);
        tell(books, &finding,
             "audit.position: stored %" PRId64 ", recorded after %" PRId64
             " of the event before (S9: published out of order)",
             position, group->position);
    }
    group->position = position;
    group->seq = seq;
    books->position_max = position > books->position_max ? position : books->position_max;
    return SAGA_ERR_OK;
}

static enum saga_err look_at_progress(struct books *books)
{
    const struct replay_books_config *config = books->config;
    books->events += 1;
    if (books->events % PROGRESS_EVENTS == 0 && config->progress != NULL &&
        !config->progress(config->user, books->counts)) {
        return saga_err_set(books->detail, SAGA_ERR_CLOSED, "stopped");
    }
    return SAGA_ERR_OK;
}

static enum saga_err pass_events(struct books *books)
{
    struct saga_sql_stmt *events = NULL;
    bool there = false;
    enum saga_err err = saga_sql_prepare(books->sql,
                                         "SELECT id, definition_name, seq, updated_unix_ms"
                                         " FROM saga INDEXED BY saga_id ORDER BY id",
                                         &books->rows, books->detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_prepare(books->sql,
                               "SELECT position, saga_id, seq, time_unix_ms, event"
                               " FROM audit INDEXED BY audit_saga ORDER BY saga_id, seq",
                               &events, books->detail);
    }
    if (err == SAGA_ERR_OK) {
        err = saga_sql_step(books->rows, &books->row_there, books->detail);
    }
    while (err == SAGA_ERR_OK) {
        err = saga_sql_step(events, &there, books->detail);
        if (err != SAGA_ERR_OK || !there) {
            break;
        }
        err = pass_event(books, events);
        err = err == SAGA_ERR_OK ? look_at_progress(books) : err;
    }
    return err == SAGA_ERR_OK ? end_group(books) : err;
}

/* ---- The outbox ---- */

/* A row of the outbox. */
struct command {
    int64_t position;
    struct saga_id id;
    int64_t step;
    int64_t op;
    int64_t attempt;
    const char *topic;
    struct saga_bytes value;
    const struct saga_version *version; /* of its saga */
    const char *step_name;
};

static void tell_command(struct books *books, const struct command *command, const char *format,
                         const char *what)
{
    struct saga_replay_finding finding = {
        .id = command->id,
        .definition = command->version == NULL ? "(unknown)" : command->version->name};
    char words[MESSAGE_SIZE / 2];
    (void)snprintf(words, sizeof words, "step %" PRId64 "%s%s %s attempt %" PRId64, command->step,
                   command->step_name == NULL ? "" : " ",
                   command->step_name == NULL ? "" : command->step_name,
                   command->op == SAGA_OP_CALL   ? "CALL"
                   : command->op == SAGA_OP_UNDO ? "UNDO"
                                                 : "(no op)",
                   command->attempt);
    tell(books, &finding, "outbox, position %" PRId64 ": stored %s, %s%s", command->position, words,
         format, what);
}

/* Finds the version of a command's saga. */
static enum saga_err find_version(struct books *books, struct command *command, bool *there)
{
    struct saga_sql_stmt *stmt = NULL;
    enum saga_err err = saga_sql_prepare(
        books->sql, "SELECT definition_hash FROM saga WHERE id = ?1", &stmt, books->detail);
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_bytes(stmt, 1, (struct saga_bytes){command->id.b, SAGA_ID_SIZE});
        err = saga_sql_step(stmt, there, books->detail);
    }
    if (err != SAGA_ERR_OK || !*there) {
        return err;
    }
    struct saga_bytes hash = saga_sql_bytes(stmt, 0);
    if (hash.size == SAGA_DIGEST_SIZE) {
        command->version = saga_catalog_find(books->config->catalog, hash.data);
    }
    if (command->version != NULL && command->step >= 0 &&
        command->step < command->version->def.step_count) {
        command->step_name = command->version->step_names[command->step];
    }
    saga_sql_reset(stmt);
    return SAGA_ERR_OK;
}

static bool decides(const Saga__V1__AuditEvent *event, const struct command *command)
{
    for (size_t i = 0; i < event->n_decisions; i++) {
        const Saga__V1__Decision *decision = event->decisions[i];
        if (decision->via == SAGA__V1__VIA__VIA_KAFKA && (int64_t)decision->op == command->op &&
            decision->attempt == command->attempt &&
            strcmp(decision->step, command->step_name) == 0) {
            return true;
        }
    }
    return false;
}

/* Looks for the event that decided a command. */
static enum saga_err find_decision(struct books *books, const struct command *command, bool *found)
{
    struct saga_sql_stmt *stmt = NULL;
    bool there = false;
    *found = false;
    enum saga_err err =
        saga_sql_prepare(books->sql, "SELECT event FROM audit WHERE saga_id = ?1 ORDER BY seq",
                         &stmt, books->detail);
    if (err == SAGA_ERR_OK) {
        saga_sql_bind_bytes(stmt, 1, (struct saga_bytes){command->id.b, SAGA_ID_SIZE});
    }
    while (err == SAGA_ERR_OK && !*found) {
        err = saga_sql_step(stmt, &there, books->detail);
        if (err != SAGA_ERR_OK || !there) {
            return err;
        }
        saga_arena_clear(&books->arena);
        const Saga__V1__AuditEvent *event = (const Saga__V1__AuditEvent *)saga_message_decode(
            &saga__v1__audit_event__descriptor, saga_sql_bytes(stmt, 0), &books->arena);
        *found = event != NULL && decides(event, command);
    }
    saga_sql_reset(stmt);
    return err;
}

/* What goes to Kafka must be the command that the row says. */
static void compare_value(struct books *books, const struct command *command)
{
    saga_arena_clear(&books->arena);
    const Saga__V1__Command *value = (const Saga__V1__Command *)saga_message_decode(
        &saga__v1__command__descriptor, command->value, &books->arena);
    bool same = value != NULL && value->saga_id.len == SAGA_ID_SIZE &&
                memcmp(value->saga_id.data, command->id.b, SAGA_ID_SIZE) == 0 &&
                (int64_t)value->op == command->op && value->attempt == command->attempt &&
                strcmp(value->step, command->step_name) == 0;
    const char *topic = saga_codec_port()->command_topic(command->version, (uint8_t)command->step,
                                                         (enum saga_op)command->op);
    if (!same) {
        tell_command(books, command, "its value is not that command", "");
    } else if (topic == NULL || strcmp(topic, command->topic) != 0) {
        tell_command(books, command, "its topic is not that of the definition, ",
                     topic == NULL ? "(none)" : topic);
    }
}

static enum saga_err look_at_command(struct books *books, struct command *command)
{
    bool there = false;
    bool decided = false;
    if (is_noted(books->config->noted, &command->id)) {
        return SAGA_ERR_OK;
    }
    enum saga_err err = find_version(books, command, &there);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (!there) {
        tell_command(books, command, "recorded no such saga", "");
        return SAGA_ERR_OK;
    }
    if (command->version == NULL) {
        return SAGA_ERR_OK; /* its definition cannot be used: told */
    }
    if (command->step_name != NULL) {
        err = find_decision(books, command, &decided);
    }
    if (err == SAGA_ERR_OK && !decided) {
        tell_command(books, command, "recorded no decision of it for Kafka", "");
    } else if (err == SAGA_ERR_OK) {
        compare_value(books, command);
    }
    return err;
}

static enum saga_err pass_outbox(struct books *books)
{
    struct saga_sql_stmt *stmt = NULL;
    bool there = false;
    enum saga_err err =
        saga_sql_prepare(books->sql,
                         "SELECT position, saga_id, step, op, attempt, topic, value FROM outbox"
                         " ORDER BY position",
                         &stmt, books->detail);
    while (err == SAGA_ERR_OK) {
        err = saga_sql_step(stmt, &there, books->detail);
        if (err != SAGA_ERR_OK || !there) {
            return err;
        }
        struct command command = {.position = saga_sql_int(stmt, 0),
                                  .step = saga_sql_int(stmt, 2),
                                  .op = saga_sql_int(stmt, 3),
                                  .attempt = saga_sql_int(stmt, 4),
                                  .topic = saga_sql_text(stmt, 5),
                                  .value = saga_sql_bytes(stmt, 6)};
        err = read_id(books, stmt, 1, &command.id);
        if (err == SAGA_ERR_OK) {
            err = look_at_command(books, &command);
        }
        err = err == SAGA_ERR_OK ? look_at_progress(books) : err;
    }
    return err;
}

/* ---- What the relays have behind them ---- */

static enum saga_err read_number(struct books *books, const char *text, int64_t *number)
{
    struct saga_sql_stmt *stmt = NULL;
    bool there = false;
    *number = 0;
    enum saga_err err = saga_sql_prepare(books->sql, text, &stmt, books->detail);
    if (err == SAGA_ERR_OK) {
        err = saga_sql_step(stmt, &there, books->detail);
    }
    if (err == SAGA_ERR_OK && there) {
        *number = saga_sql_int(stmt, 0);
        saga_sql_reset(stmt);
    }
    return err;
}

#define OUTBOX_CURSOR "coalesce((SELECT position FROM cursor WHERE name = 'outbox'), 0)"

/* The outbox is emptied up to its cursor, so its rows do not tell which position was the last; but
 * every command that was decided on for Kafka took one, and none else. */
static enum saga_err compare_outbox(struct books *books, bool rows_are_well)
{
    const struct saga_replay_finding store = {0};
    int64_t cursor = 0;
    int64_t behind = 0;
    int64_t ahead = 0;
    enum saga_err err = read_number(books, "SELECT " OUTBOX_CURSOR, &cursor);
    if (err == SAGA_ERR_OK) {
        err = read_number(books, "SELECT count(*) FROM outbox WHERE position <= " OUTBOX_CURSOR,
                          &behind);
    }
    if (err == SAGA_ERR_OK) {
        err = read_number(books, "SELECT count(*) FROM outbox WHERE position > " OUTBOX_CURSOR,
                          &ahead);
    }
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (behind > 0) {
        tell(books, &store,
             "cursor.position of \"outbox\": stored %" PRId64 " as published, but %" PRId64
             " commands up to it are in the outbox and would not be",
             cursor, behind);
    } else if (!books->unreadable && cursor > books->kafka) {
        tell(books, &store,
             "cursor.position of \"outbox\": stored %" PRId64 ", recorded %" PRId64
             " commands for Kafka in all",
             cursor, books->kafka);
    } else if (!books->unreadable && rows_are_well && cursor + ahead != books->kafka) {
        tell(books, &store,
             "outbox: stored %" PRId64 " commands after its cursor (%" PRId64
             "), recorded %" PRId64,
             ahead, cursor, books->kafka - cursor);
    }
    return SAGA_ERR_OK;
}

static enum saga_err compare_cursors(struct books *books, bool rows_are_well)
{
    const struct saga_replay_finding store = {0};
    int64_t audit = 0;
    enum saga_err err = read_number(
        books, "SELECT coalesce((SELECT position FROM cursor WHERE name = 'audit'), 0)", &audit);
    if (err != SAGA_ERR_OK) {
        return err;
    }
    if (audit > books->position_max) {
        tell(books, &store,
             "cursor.position of \"audit\": stored %" PRId64 ", the last event recorded is %" PRId64
             " (S9: what follows would not be published)",
             audit, books->position_max);
    }
    return compare_outbox(books, rows_are_well);
}

/* ---- All ---- */

static enum saga_err look(struct books *books)
{
    /* Nothing moves between the queries, and the daemon is not held up: its log just grows. */
    enum saga_err err = saga_sql_exec(books->sql, "BEGIN", books->detail);
    if (err == SAGA_ERR_OK) {
        err = pass_events(books);
    }
    uint64_t before = books->counts->found[SAGA_REPLAY_DIFFERENT];
    if (err == SAGA_ERR_OK) {
        err = pass_outbox(books);
    }
    if (err == SAGA_ERR_OK) {
        err = compare_cursors(books, before == books->counts->found[SAGA_REPLAY_DIFFERENT]);
    }
    return err;
}

enum saga_err replay_books(const struct replay_books_config *config,
                           struct saga_replay_counts *counts, struct saga_err_detail *detail)
{
    struct saga_err_detail own = {{0}};
    struct books books = {
        .config = config, .counts = counts, .detail = detail == NULL ? &own : detail};
    if (config->noted->count > 0) {
        qsort(config->noted->ids, config->noted->count, sizeof *config->noted->ids, compare_ids);
    }
    enum saga_err err = saga_sql_open(config->path, SAGA_SQL_INSPECT, &books.sql, books.detail);
    if (err == SAGA_ERR_OK) {
        err = look(&books);
    }
    saga_sql_close(books.sql); /* and with it the transaction */
    saga_arena_fini(&books.arena);
    return err;
}
