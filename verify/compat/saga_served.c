/* What sagas in flight will still send and read, against the services of NEW: they keep the version
 * that they began with, the participants are new. */
#include <stdio.h>
#include <string.h>

#include "verify/compat/internal.h"

enum { PATH_TEXT_SIZE = 1024, WRONG_SIZE = PATH_TEXT_SIZE + 256 };

/* One command of a step: its call or its undo. */
struct command {
    const struct compat_saga *saga;
    const struct saga_step_decl *step;
    bool undo;
    const struct saga_method *a; /* OLD's */
    const struct saga_service *service;
    const struct saga_bind_table *bind;
    enum saga_via via;
};

static const char *verb(const struct command *command)
{
    return command->undo ? "undo" : "call";
}

static struct compat_saga_note about(const struct command *command, enum saga_compat_code call,
                                     enum saga_compat_code undo)
{
    return (struct compat_saga_note){.code = command->undo ? undo : call, .step = command->step};
}

/* ---- Who reads whose bytes ---- */

/* A message on its way: `writer` is what it is sent as, `reader` what it is read as. */
struct reading {
    const struct saga_message_type *writer, *reader;
    const char *path; /* "items." */
};

struct reader {
    struct saga_compat *report;
    struct reading *queue;
    size_t queue_count;
    size_t queue_max;
    bool request; /* every field counts; of a reply only what is there must have its form */
    char wrong[WRONG_SIZE];
};

/* Puts a nested message behind, each pair of types once. */
static void enqueue(struct reader *reader, const struct reading *from, const struct saga_field *a,
                    const struct saga_field *b)
{
    for (size_t i = 0; i < reader->queue_count; i++) {
        if (reader->queue[i].writer == a->message && reader->queue[i].reader == b->message) {
            return;
        }
    }
    if (reader->queue_count == reader->queue_max) {
        return;
    }
    char path[PATH_TEXT_SIZE];
    int size = snprintf(path, sizeof path, "%s%s.", from->path, a->name);
    if (size < 0 || (size_t)size >= sizeof path) {
        return;
    }
    char *kept = compat_take(reader->report, (size_t)size + 1, 1);
    if (kept != NULL) {
        memcpy(kept, path, (size_t)size);
        reader->queue[reader->queue_count++] = (struct reading){a->message, b->message, kept};
    }
}

/* Judges one field: false and what is wrong. */
static bool field_read(struct reader *reader, const struct reading *reading,
                       const struct saga_field *a, const struct saga_field *b)
{
    char *wrong = reader->wrong;
    if (b == NULL) {
        if (reader->request) {
            (void)snprintf(wrong, WRONG_SIZE, "%s%s (number %u) is sent and no longer read",
                           reading->path, a->name, (unsigned)a->number);
        }
        return !reader->request;
    }
    enum saga_compat_fit fit = saga_compat_types_fit(a->type, b->type);
    /* Numbers of a reply are copied, not read; text and messages in it are checked. */
    bool checked = b->type == SAGA_FIELD_STRING || b->type == SAGA_FIELD_MESSAGE;
    bool narrowed = fit == SAGA_COMPAT_FIT_NARROWED && (reader->request || checked);
    if (fit == SAGA_COMPAT_FIT_BROKEN || narrowed) {
        (void)snprintf(wrong, WRONG_SIZE, "%s%s (number %u) %s another type", reading->path,
                       a->name, (unsigned)a->number, reader->request ? "is read as" : "has");
        return false;
    }
    if (a->repeated != b->repeated && (reader->request || b->packed || a->packed)) {
        (void)snprintf(wrong, WRONG_SIZE, "%s%s (number %u) is sent %s and read %s", reading->path,
                       a->name, (unsigned)a->number, a->repeated ? "repeated" : "singular",
                       b->repeated ? "repeated" : "singular");
        return false;
    }
    if (reader->request && strcmp(a->name, b->name) != 0) {
        (void)snprintf(wrong, WRONG_SIZE, "%s%s (number %u) is read as \"%s\"", reading->path,
                       a->name, (unsigned)a->number, b->name);
        return false;
    }
    if (a->message != NULL && b->message != NULL) {
        enqueue(reader, reading, a, b);
    }
    return true;
}

static bool open_reader(struct reader *reader, const struct saga_message_type *writer,
                        const struct saga_message_type *type)
{
    const struct compat_set *sets[] = {&reader->report->old_set, &reader->report->new_set};
    reader->queue_max = sets[0]->item_count + sets[1]->item_count + 1;
    reader->queue = compat_take(reader->report, reader->queue_max, sizeof *reader->queue);
    if (reader->queue != NULL) {
        reader->queue[reader->queue_count++] = (struct reading){writer, type, ""};
    }
    return reader->queue != NULL;
}

/* Reads all fields of what is in the queue, from its `from`-th entry on. */
static bool read_queue(struct reader *reader, size_t from)
{
    for (size_t i = from; i < reader->queue_count; i++) {
        const struct reading reading = reader->queue[i];
        for (size_t k = 0; k < reading.writer->field_count; k++) {
            const struct saga_field *a = &reading.writer->fields[k];
            if (!field_read(reader, &reading, a,
                            saga_message_field_by_number(reading.reader, a->number))) {
                return false;
            }
        }
    }
    return true;
}

/* ---- Requests and replies ---- */

static void check_request(const struct command *command, const struct saga_method *b)
{
    struct reader reader = {.report = command->saga->report, .request = true};
    bool good = true;
    if (!open_reader(&reader, command->a->request, b->request)) {
        return;
    }
    const struct reading top = reader.queue[0];
    for (size_t i = 0; good && i < command->bind->count; i++) {
        uint32_t number = command->bind->fields[i].to;
        const struct saga_field *sent = saga_message_field_by_number(top.writer, number);
        good = sent == NULL ||
               field_read(&reader, &top, sent, saga_message_field_by_number(top.reader, number));
    }
    if (!good || !read_queue(&reader, 1)) {
        struct compat_saga_note what =
            about(command, SAGA_COMPAT_CALL_REQUEST_CHANGED, SAGA_COMPAT_UNDO_REQUEST_CHANGED);
        compat_saga_add(
            command->saga, what,
            "sagas in flight send the %s %s as it was: %s; keep reading the old form until "
            "they have drained, then take it out",
            verb(command), command->a->full_name, reader.wrong);
    }
}

/* What a participant of NEW answers is checked against OLD's response, and read by its numbers. */
static void check_reply(const struct command *command, const struct saga_method *b)
{
    struct reader reader = {.report = command->saga->report};
    struct compat_saga_note what =
        about(command, SAGA_COMPAT_CALL_REPLY_CHANGED, SAGA_COMPAT_UNDO_REPLY_CHANGED);
    if (!open_reader(&reader, b->response, command->a->response)) {
        return;
    }
    if (!read_queue(&reader, 0)) {
        compat_saga_add(
            command->saga, what,
            "in the reply to the %s %s, %s: sagas in flight take it for BAD_REPLY, that "
            "is INTERNAL, and ask again and again; add a field with a new number",
            verb(command), command->a->full_name, reader.wrong);
        return;
    }
    for (size_t i = 0; !command->undo && i < command->step->result_bind.count; i++) {
        uint32_t number = command->step->result_bind.fields[i].from;
        const struct saga_field *a = saga_message_field_by_number(command->a->response, number);
        if (a != NULL && saga_message_field_by_number(b->response, number) == NULL) {
            compat_saga_add(command->saga, what,
                            "the reply to the call %s no longer has %s (number %u), which sagas in "
                            "flight put into their context: it becomes empty, and later steps send "
                            "that; keep answering with it until they have drained",
                            command->a->full_name, a->name, (unsigned)number);
        }
    }
}

/* ---- Roads and effects ---- */

static const char *topic_text(const struct command *command, const char *topic)
{
    return topic[0] == '\0' ? "no topic" : compat_quote(command->saga->report, topic);
}

static void check_topics(const struct command *command)
{
    const struct saga_service *now =
        saga_schema_service(command->saga->report->new_schema, command->service->name);
    if (command->via != SAGA_VIA_KAFKA || now == NULL) {
        return;
    }
    struct compat_saga_note what =
        about(command, SAGA_COMPAT_CALL_TOPIC_MOVED, SAGA_COMPAT_UNDO_TOPIC_MOVED);
    if (strcmp(command->service->command_topic, now->command_topic) != 0) {
        compat_saga_add(command->saga, what,
                        "sagas in flight put the %s %s on topic \"%s\", %s takes commands from %s: "
                        "it is retried for ever and reaches nobody; take both topics until they "
                        "have drained",
                        verb(command), command->a->full_name, command->service->command_topic,
                        now->name, topic_text(command, now->command_topic));
    }
    if (strcmp(command->service->reply_topic, now->reply_topic) != 0) {
        compat_saga_add(
            command->saga, what,
            "sagas in flight wait for the reply to the %s %s on topic \"%s\", %s answers "
            "on %s: a reply counts only from the topic of the saga's version; "
            "answer on the old topic until they have drained",
            verb(command), command->a->full_name, command->service->reply_topic, now->name,
            topic_text(command, now->reply_topic));
    }
}

static void check_call_effect(const struct command *command, const struct saga_method *b)
{
    struct compat_saga_note what = {.code = SAGA_COMPAT_STEP_EFFECT_CHANGED, .step = command->step};
    if (!b->no_side_effects) {
        /* Of a step that is not read-only the undo is there, or not needed. */
        if (command->step->read_only) {
            compat_saga_add(
                command->saga, what,
                "%s has side effects now, and for sagas in flight the step is read-only: "
                "what it does is never undone; add a method for what has an effect",
                command->a->full_name);
        }
        return;
    }
    what.lower = true;
    compat_saga_add(command->saga, what,
                    command->step->undo != NULL
                        ? "%s has no side effects now, and so no row at the barrier: the undo of "
                          "sagas in flight finds no call and is empty (B2)"
                        : "%s has no side effects now, and so no row at the barrier: what sagas in "
                          "flight go on from is not done, and the audit misses it in the effects' "
                          "book (S13)",
                    command->a->full_name);
}

/* An undo is told by its row at the barrier, by which it finds its call and keeps later ones out.
 */
static void check_undo_effect(const struct command *command, const struct saga_method *b)
{
    struct compat_saga_note what = {.code = SAGA_COMPAT_UNDO_EFFECT_CHANGED, .step = command->step};
    what.lower = !b->no_side_effects;
    compat_saga_add(command->saga, what,
                    b->no_side_effects
                        ? "the undo %s has no side effects now, and so no row at the barrier: "
                          "sagas in flight take what the step did for undone and it stays, and a "
                          "call that comes later is not refused (S4, B3); add a method for what "
                          "has no effect"
                        : "the undo %s has side effects now, and so a row at the barrier: sagas in "
                          "flight take back by it what they left before, or find no call there and "
                          "it is empty (B2)",
                    command->a->full_name);
}

static void check_effect(const struct command *command, const struct saga_method *b)
{
    if (command->a->no_side_effects != b->no_side_effects) {
        (command->undo ? check_undo_effect : check_call_effect)(command, b);
    }
}

static void check_command(const struct command *command)
{
    struct saga_compat *report = command->saga->report;
    const struct saga_method *b = saga_schema_method(report->new_schema, command->a->full_name);
    const struct compat_item *service =
        compat_set_find(&report->old_set, command->service->name, ITEM_SERVICE);
    bool elsewhere = service != NULL && service->file->elsewhere &&
                     compat_set_find(&report->new_set, service->name, ITEM_SERVICE) == NULL;
    if (b == NULL && elsewhere) {
        return;
    }
    /* What streams is no step's: OLD's method does not. */
    if (b == NULL || b->streaming) {
        struct compat_saga_note what =
            about(command, SAGA_COMPAT_CALL_UNSERVED, SAGA_COMPAT_UNDO_UNSERVED);
        compat_saga_add(command->saga, what,
                        "sagas in flight %s %s, which the new schema %s: %s; serve it until they "
                        "have drained, then take it out",
                        command->undo ? "will undo by" : "will call", command->a->full_name,
                        b == NULL ? "does not have" : "makes streaming",
                        command->undo ? "an undo is retried for ever, and what the step did stays"
                                      : "it is answered UNIMPLEMENTED, and they are parked");
        return;
    }
    check_request(command, b);
    check_reply(command, b);
    check_topics(command);
    check_effect(command, b);
}

void compat_saga_served(const struct compat_saga *saga)
{
    for (size_t i = 0; i < saga->old_decl->step_count; i++) {
        const struct saga_step_decl *step = &saga->old_decl->steps[i];
        struct command command = {
            .saga = saga,
            .step = step,
            .a = step->call,
            .service = step->call_service,
            .bind = &step->call_bind,
            .via = step->call_via,
        };
        if (step->call != NULL) {
            check_command(&command);
        }
        if (step->undo != NULL) {
            command.undo = true;
            command.a = step->undo;
            command.service = step->undo_service;
            command.bind = &step->undo_bind;
            command.via = step->undo_via;
            check_command(&command);
        }
    }
}
