#include "tests/integration/orchestrator/fakes.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "common/base/arena.h"
#include "common/base/prng.h"
#include "common/sys/clock.h"
#include "common/wire/envelope.h"

enum { KAFKA_MS = 60000, HUNDRED = 100 };

static const char *const step_names[] = {"left", "right", "pivot", "last"};

static void lock(struct fakes *fakes)
{
    (void)pthread_mutex_lock(&fakes->lock);
}

static void unlock(struct fakes *fakes)
{
    (void)pthread_mutex_unlock(&fakes->lock);
}

/* ---- The barrier. Pre of all: locked ---- */

static struct fake_record *find_record(struct fakes *fakes, struct saga_id id, bool make)
{
    uint64_t hash = 0;
    memcpy(&hash, id.b + 8, sizeof hash); /* the random half */
    for (size_t i = 0; i < FAKE_RECORDS; i++) {
        struct fake_record *record = &fakes->records[(hash + i) % FAKE_RECORDS];
        if (record->used && saga_id_equal(record->id, id)) {
            return record;
        }
        if (!record->used) {
            if (make) {
                record->used = true;
                record->id = id;
                fakes->record_count += 1;
            }
            return make ? record : NULL;
        }
    }
    return NULL;
}

static void violate(struct fakes *fakes, struct saga_id id, const char *what, const char *step)
{
    char text[SAGA_ID_TEXT_SIZE];
    saga_id_format(id, text);
    if (fakes->violations++ == 0) {
        (void)snprintf(fakes->violation, sizeof fakes->violation, "saga %s: %s (%s)", text, what,
                       step);
    }
}

static bool has_effect(const struct fake_record *record, enum fake_step step)
{
    return record->call[step] == 1;
}

static void check_order(struct fakes *fakes, const struct fake_record *record, enum fake_step step,
                        bool undo)
{
    if (undo && has_effect(record, STEP_PIVOT)) {
        violate(fakes, record->id, "undone after its pivot (S2)", step_names[step]);
    }
    if (!undo && step == STEP_PIVOT &&
        (!has_effect(record, STEP_LEFT) || (!fakes->brief && !has_effect(record, STEP_RIGHT)))) {
        violate(fakes, record->id, "called before what it comes after", step_names[step]);
    }
    if (!undo && step == STEP_PIVOT && (record->undo[STEP_LEFT] || record->undo[STEP_RIGHT])) {
        violate(fakes, record->id, "the pivot was called after an undo (S2)", step_names[step]);
    }
    if (!undo && step == STEP_LAST && !has_effect(record, STEP_PIVOT)) {
        violate(fakes, record->id, "called before the pivot", step_names[step]);
    }
}

static struct saga_bytes payload_of(enum fake_step step, bool undo)
{
    static const uint8_t place[] = {0x0a, 0x01, 'p'};
    return !undo && (step == STEP_LEFT || step == STEP_RIGHT)
               ? (struct saga_bytes){place, sizeof place}
               : (struct saga_bytes){0};
}

static int step_of(const char *name)
{
    for (int i = 0; i < STEP_COUNT; i++) {
        if (strcmp(step_names[i], name) == 0) {
            return i;
        }
    }
    return -1;
}

/* Does one command as a participant with a barrier does; `wanted` is what its handler says. */
static void judge(struct fakes *fakes, const struct saga_command *command, enum saga_code wanted,
                  struct saga_reply *reply)
{
    int found = step_of(command->step);
    bool undo = command->op == SAGA_OP_UNDO;
    *reply = (struct saga_reply){.saga_id = command->saga_id,
                                 .step = command->step,
                                 .op = command->op,
                                 .status = saga_status_ok(),
                                 .attempt = command->attempt};
    if (found < 0) {
        violate(fakes, command->saga_id, "a step that nobody knows", command->step);
        reply->status = saga_status_make(SAGA_CODE_UNIMPLEMENTED, "STEP", "no such step");
        return;
    }
    enum fake_step step = (enum fake_step)found;
    if (fakes->forgetful) {
        reply->payload = payload_of(step, undo);
        return;
    }
    struct fake_record *record = find_record(fakes, command->saga_id, true);
    assert_non_null(record);
    uint8_t stored = undo ? 0 : record->call[step];
    if (!undo && record->undo[step]) {
        reply->status = saga_status_make(SAGA_CODE_FAILED_PRECONDITION, "SAGA_UNDONE", "undone");
        return;
    }
    bool replayed = stored != 0 || (undo && record->undo[step]);
    enum saga_code code = stored != 0 ? (enum saga_code)(stored - 1) : wanted;
    if (code != SAGA_CODE_OK) {
        reply->status = saga_status_make(code, "SAID_SO", "the test said so");
    } else {
        reply->payload = payload_of(step, undo);
    }
    reply->replayed = replayed;
    if (replayed) {
        return;
    }
    if (code == SAGA_CODE_OK) {
        check_order(fakes, record, step, undo);
    }
    if (undo && code == SAGA_CODE_OK) {
        record->undo[step] = 1;
        record->empty[step] = has_effect(record, step) ? 0 : 1;
        reply->empty = record->empty[step] != 0;
    } else if (!undo && (code == SAGA_CODE_OK || saga_code_class(code) == SAGA_CODE_CLASS_REJECT)) {
        record->call[step] = (uint8_t)(1 + code);
    }
}

/* ---- NNG ---- */

/* What one message meets. */
struct meeting {
    struct saga_arena arena;
    struct saga_command *commands;
    size_t count;
    struct saga_buf out;
};

static void add_reply(struct meeting *meeting, const struct saga_reply *reply)
{
    assert_int_equal(saga_reply_batch_add(reply, &meeting->out), SAGA_ERR_OK);
}

/* Says something wrong about a command that it leaves alone. */
static void misname(struct fake *fake, struct meeting *meeting, const struct saga_command *command)
{
    struct saga_reply reply = {.saga_id = command->saga_id,
                               .step = fake->mode == FAKE_OTHER_STEP ? "elsewhere" : command->step,
                               .op = command->op,
                               .status = saga_status_make(SAGA_CODE_NOT_FOUND, "WRONG", "wrong"),
                               .attempt = command->attempt};
    reply.saga_id.b[15] ^= fake->mode == FAKE_OTHER_SAGA ? 1 : 0;
    add_reply(meeting, &reply);
}

static void answer_command(struct fake *fake, struct meeting *meeting,
                           const struct saga_command *command)
{
    static const uint8_t wrong[] = {0x0a, 0x7f};
    enum saga_code code = fake->mode == FAKE_CODE ? fake->code : SAGA_CODE_OK;
    struct saga_reply reply;
    if (fake->mode == FAKE_OTHER_SAGA || fake->mode == FAKE_OTHER_STEP) {
        misname(fake, meeting, command);
        return;
    }
    if (fake->mode == FAKE_DICE) {
        uint64_t thrown = saga_prng_below(&fake->all->dice, HUNDRED);
        bool behind = step_of(command->step) == STEP_LAST;
        code = thrown < 6 && !behind ? SAGA_CODE_FAILED_PRECONDITION
               : thrown < 12         ? SAGA_CODE_UNAVAILABLE
                                     : SAGA_CODE_OK;
    }
    judge(fake->all, command, code, &reply);
    if (fake->mode == FAKE_BAD_OK) {
        reply.payload = (struct saga_bytes){wrong, sizeof wrong};
    }
    add_reply(meeting, &reply);
}

static bool keeps_silent(struct fake *fake)
{
    return fake->mode == FAKE_SILENT ||
           (fake->mode == FAKE_DICE && saga_prng_below(&fake->all->dice, HUNDRED) < 3);
}

/* Takes a message; gives whether it is to be answered now. Pre: locked. */
static bool meet(struct fake *fake, struct meeting *meeting, struct saga_rpc_request *request)
{
    fake->messages += 1;
    fake->commands += meeting->count;
    fake->batch_max = meeting->count > fake->batch_max ? meeting->count : fake->batch_max;
    size_t count = fake->mode == FAKE_FEW ? meeting->count - 1 : meeting->count;
    bool silent = keeps_silent(fake);
    if (fake->mode == FAKE_GARBAGE) {
        assert_int_equal(saga_buf_append(&meeting->out, saga_bytes_text("\xff\xff garbage")),
                         SAGA_ERR_OK);
        return true;
    }
    for (size_t i = 0; i < count; i++) {
        answer_command(fake, meeting, &meeting->commands[i]);
    }
    if (fake->mode == FAKE_HOLD) {
        struct saga_buf *kept = malloc(sizeof *kept);
        assert_non_null(kept);
        assert_true(fake->held_count < FAKE_HELD_MAX);
        *kept = meeting->out;
        meeting->out = (struct saga_buf){0};
        saga_rpc_request_set_user(request, kept);
        fake->held[fake->held_count++] = request;
        return false;
    }
    if (silent) {
        saga_rpc_request_drop(request);
        return false;
    }
    return true;
}

/* Thread: NNG's. */
static void handle(void *context, struct saga_rpc_request *request)
{
    struct fake *fake = context;
    struct meeting meeting = {0};
    struct saga_status status;
    lock(fake->all);
    bool answer = true;
    if (saga_command_batch_decode(saga_rpc_request_bytes(request), &meeting.arena,
                                  &meeting.commands, &meeting.count, &status) == SAGA_ERR_OK) {
        answer = meet(fake, &meeting, request);
    } else {
        static const struct saga_id none;
        violate(fake->all, none, "a message that cannot be decoded", status.message);
    }
    unlock(fake->all);
    if (answer) {
        saga_rpc_request_answer(request, saga_buf_view(&meeting.out));
    }
    saga_buf_fini(&meeting.out);
    saga_arena_fini(&meeting.arena);
}

static void end_held(struct fake *fake, bool answer)
{
    struct saga_rpc_request *held[FAKE_HELD_MAX];
    lock(fake->all);
    size_t count = fake->held_count;
    memcpy(held, fake->held, count * sizeof held[0]);
    fake->held_count = 0;
    if (fake->mode == FAKE_HOLD) {
        fake->mode = FAKE_OK;
    }
    unlock(fake->all);
    for (size_t i = 0; i < count; i++) {
        struct saga_buf *kept = saga_rpc_request_user(held[i]);
        if (answer) {
            saga_rpc_request_answer(held[i], saga_buf_view(kept));
        } else {
            saga_rpc_request_drop(held[i]);
        }
        saga_buf_fini(kept);
        free(kept);
    }
}

void fake_release(struct fakes *fakes, enum fake_name name)
{
    end_held(&fakes->fakes[name], true);
}

void fake_up(struct fakes *fakes, enum fake_name name)
{
    struct fake *fake = &fakes->fakes[name];
    const char *addresses[] = {fake->address};
    struct saga_rpc_server_config config = {
        .addresses = addresses, .address_count = 1, .handler = handle, .context = fake};
    struct saga_err_detail detail = {.text = ""};
    if (saga_rpc_server_start(&config, &fake->server, &detail) != SAGA_ERR_OK) {
        fail_msg("participant: %s", detail.text);
    }
}

void fakes_up(struct fakes *fakes)
{
    for (int i = 0; i < FAKE_COUNT; i++) {
        fake_up(fakes, (enum fake_name)i);
    }
}

void fake_down(struct fakes *fakes, enum fake_name name)
{
    struct fake *fake = &fakes->fakes[name];
    if (fake->server != NULL) {
        saga_rpc_server_close_door(fake->server);
        end_held(fake, false);
        saga_rpc_server_free(fake->server);
        fake->server = NULL;
    }
}

void fake_set(struct fakes *fakes, enum fake_name name, enum fake_mode mode, enum saga_code code)
{
    lock(fakes);
    fakes->fakes[name].mode = mode;
    fakes->fakes[name].code = code;
    unlock(fakes);
}

void fakes_set(struct fakes *fakes, enum fake_mode mode)
{
    for (int i = 0; i < FAKE_COUNT; i++) {
        fake_set(fakes, (enum fake_name)i, mode, SAGA_CODE_OK);
    }
}

void fakes_set_brief(struct fakes *fakes, bool brief)
{
    lock(fakes);
    fakes->brief = brief;
    unlock(fakes);
}

size_t fake_commands(struct fakes *fakes, enum fake_name name)
{
    lock(fakes);
    size_t count = fakes->fakes[name].commands;
    unlock(fakes);
    return count;
}

size_t fake_messages(struct fakes *fakes, enum fake_name name)
{
    lock(fakes);
    size_t count = fakes->fakes[name].messages;
    unlock(fakes);
    return count;
}

size_t fake_held(struct fakes *fakes, enum fake_name name)
{
    lock(fakes);
    size_t count = fakes->fakes[name].held_count;
    unlock(fakes);
    return count;
}

struct fake_record fakes_find(struct fakes *fakes, struct saga_id id)
{
    lock(fakes);
    const struct fake_record *record = find_record(fakes, id, false);
    struct fake_record found = record == NULL ? (struct fake_record){0} : *record;
    unlock(fakes);
    return found;
}

void fakes_init(struct fakes *fakes, const struct saga_test_dir *dir)
{
    static const char *const files[] = {"left.sock", "right.sock", "end.sock"};
    memset(fakes, 0, sizeof *fakes);
    (void)pthread_mutex_init(&fakes->lock, NULL);
    fakes->records = calloc(FAKE_RECORDS, sizeof *fakes->records);
    assert_non_null(fakes->records);
    (void)snprintf(fakes->run, sizeof fakes->run, "%ld-%llx", (long)getpid(),
                   (unsigned long long)saga_clock_unix_ms());
    for (int i = 0; i < FAKE_COUNT; i++) {
        char path[SAGA_TEST_PATH_MAX];
        fakes->fakes[i].all = fakes;
        fakes->fakes[i].name = (enum fake_name)i;
        (void)snprintf(fakes->fakes[i].address, sizeof fakes->fakes[i].address, "ipc://%.480s",
                       saga_test_path(dir, files[i], path));
    }
}

void fakes_fini(struct fakes *fakes)
{
    saga_kafka_consumer_free(fakes->consumer);
    saga_kafka_producer_free(fakes->producer);
    for (int i = 0; i < FAKE_COUNT; i++) {
        fake_down(fakes, (enum fake_name)i);
    }
    free(fakes->records);
    (void)pthread_mutex_destroy(&fakes->lock);
}

int fake_main(const char *address)
{
    static struct fakes fakes;
    (void)pthread_mutex_init(&fakes.lock, NULL);
    fakes.forgetful = true;
    fakes.fakes[0].all = &fakes;
    (void)snprintf(fakes.fakes[0].address, sizeof fakes.fakes[0].address, "%s", address);
    fake_up(&fakes, FAKE_LEFT);
    for (;;) {
        (void)pause();
    }
    return 0;
}

/* ---- Kafka ---- */

const char *fakes_topic(const struct fakes *fakes, const char *kind,
                        char out[static SAGA_TEST_PATH_MAX])
{
    (void)snprintf(out, SAGA_TEST_PATH_MAX, "breaker-%s-%s", kind, fakes->run);
    return out;
}

static void delivered(void *user, uint64_t token, enum saga_err err)
{
    (void)user;
    (void)token;
    (void)err;
}

/* Thread: the consumer's. */
static bool received(void *user, const struct saga_kafka_record *record)
{
    struct fakes *fakes = user;
    struct saga_arena arena = {0};
    struct saga_command command;
    struct saga_status status;
    struct saga_buf value = {0};
    char topic[SAGA_TEST_PATH_MAX];
    bool left = strstr(record->topic, "-left-") != NULL;
    lock(fakes);
    if (saga_command_decode(record->value, &arena, &command, &status) == SAGA_ERR_OK) {
        struct saga_reply reply;
        fakes->undos += 1;
        judge(fakes, &command, fakes->undo_code, &reply);
        assert_int_equal(saga_reply_encode(&reply, &value), SAGA_ERR_OK);
    }
    unlock(fakes);
    struct saga_kafka_record answer = {
        .topic = fakes_topic(fakes, left ? "left-replies" : "right-replies", topic),
        .key = record->key,
        .value = saga_buf_view(&value)};
    bool taken = value.size == 0 || saga_kafka_produce(fakes->producer, &answer, 0) == SAGA_ERR_OK;
    saga_buf_fini(&value);
    saga_arena_fini(&arena);
    return taken;
}

static int64_t from_the_beginning(void *user, const char *topic, int32_t partition)
{
    (void)user;
    (void)topic;
    (void)partition;
    return -1;
}

static bool is_reading(void *arg)
{
    struct fakes *fakes = arg;
    return saga_kafka_consumer_up(fakes->consumer);
}

void fakes_join_kafka(struct fakes *fakes, const char *bootstrap)
{
    static const char *const kinds[] = {"left-commands", "right-commands", "left-replies",
                                        "right-replies"};
    char names[4][SAGA_TEST_PATH_MAX];
    struct saga_kafka_topic topics[6] = {
        [4] = {.name = "saga-audit", .partitions = 4, .replication = -1},
        [5] = {.name = "saga-dead-letter", .partitions = 4, .replication = -1},
    };
    bool created[6];
    struct saga_err_detail detail = {{0}};
    struct saga_kafka_config kafka = {.bootstrap = bootstrap, .client_id = "fakes"};
    for (size_t i = 0; i < 4; i++) {
        topics[i] = (struct saga_kafka_topic){
            .name = fakes_topic(fakes, kinds[i], names[i]), .partitions = 2, .replication = -1};
    }
    if (saga_kafka_topics_create(&kafka, topics, 6, created, KAFKA_MS, &detail) != SAGA_ERR_OK) {
        fail_msg("topics: %s", detail.text);
    }
    assert_int_equal(saga_kafka_producer_start(&kafka, delivered, NULL, &fakes->producer, &detail),
                     SAGA_ERR_OK);
    const char *read[] = {names[0], names[1]};
    struct saga_kafka_consumer_config consumer = {
        .kafka = kafka,
        .topics = read,
        .topic_count = 2,
        .position = from_the_beginning,
        .received = received,
        .user = fakes,
    };
    assert_int_equal(saga_kafka_consumer_start(&consumer, &fakes->consumer, &detail), SAGA_ERR_OK);
    assert_true(saga_test_until(is_reading, fakes, KAFKA_MS));
}
