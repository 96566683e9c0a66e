#include "tests/integration/orchestrator/sagad_fixture.h"

#include <openssl/sha.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "saga/v1/audit.pb-c.h"
#include "tests/unit/http/http_client.h"

enum { ARGS_MAX = 40, READY_MS = 30000 };

/* ---- Life ---- */

/* Compiles the sagas with topics of this run's own. */
static void make_schema(struct sagad *sagad)
{
    char path[SAGA_TEST_PATH_MAX];
    char out[SAGA_TEST_PATH_MAX + 32];
    char *text =
        saga_test_read(SAGA_SOURCE_DIR "/tests/integration/orchestrator/breaker.proto.in", NULL);
    assert_non_null(text);
    FILE *file = fopen(saga_test_path(&sagad->dir, "breaker.proto", path), "w");
    assert_non_null(file);
    const char *at = text;
    const char *mark = NULL;
    while ((mark = strstr(at, "@RUN@")) != NULL) {
        (void)fprintf(file, "%.*s%s", (int)(mark - at), at, sagad->fakes->run);
        at = mark + strlen("@RUN@");
    }
    (void)fputs(at, file);
    assert_int_equal(fclose(file), 0);
    free(text);
    (void)saga_test_path(&sagad->dir, "set.binpb", sagad->set);
    (void)snprintf(out, sizeof out, "--descriptor_set_out=%s", sagad->set);
    const char *const argv[] = {"protoc",
                                "-I",
                                SAGA_SOURCE_DIR "/proto",
                                "-I",
                                sagad->dir.path,
                                "--include_imports",
                                "--include_source_info",
                                out,
                                "breaker.proto",
                                NULL};
    struct saga_test_child child;
    saga_test_spawn(&child, argv, NULL);
    assert_true(saga_test_wait(&child, READY_MS));
    assert_int_equal(child.status, 0);
}

int sagad_setup(void **state)
{
    struct sagad *sagad = calloc(1, sizeof *sagad);
    assert_non_null(sagad);
    sagad->fakes = calloc(1, sizeof *sagad->fakes);
    assert_non_null(sagad->fakes);
    saga_test_dir_open(&sagad->dir);
    char path[SAGA_TEST_PATH_MAX];
    (void)snprintf(sagad->nng, sizeof sagad->nng, "ipc://%.480s",
                   saga_test_path(&sagad->dir, "sagad.sock", path));
    (void)saga_test_path(&sagad->dir, "sagad.db", sagad->data);
    (void)saga_test_path(&sagad->dir, "sagad.log", sagad->log);
    fakes_init(sagad->fakes, &sagad->dir);
    make_schema(sagad);
    fakes_up(sagad->fakes);
    *state = sagad;
    return 0;
}

int sagad_teardown(void **state)
{
    struct sagad *sagad = *state;
    size_t violations = sagad->fakes->violations;
    if (sagad->child.pid != 0) {
        fakes_set(sagad->fakes, FAKE_OK);
        for (int i = 0; i < FAKE_COUNT; i++) {
            fake_release(sagad->fakes, (enum fake_name)i);
        }
        sagad_stop(sagad, DEADLINE_MS);
    }
    fakes_fini(sagad->fakes);
    if (violations > 0) {
        print_error("%zu violations; the first: %s\n", violations, sagad->fakes->violation);
    }
    free(sagad->fakes);
    saga_arena_fini(&sagad->arena);
    saga_test_dir_close(&sagad->dir);
    free(sagad);
    return violations == 0 ? 0 : -1;
}

void sagad_spawn(struct sagad *sagad)
{
    static const char *const services[] = {"breaker.v1.LeftService", "breaker.v1.RightService",
                                           "breaker.v1.EndService"};
    char ready[SAGA_TEST_PATH_MAX];
    char participants[FAKE_COUNT][SAGA_TEST_PATH_MAX + 64];
    (void)unlink(saga_test_path(&sagad->dir, "ready.json", ready));
    static const char limited[] = "ulimit -f \"$0\"; exec \"$@\"";
    const char *argv[ARGS_MAX] = {"/bin/sh", "-c", limited,
                                  sagad->blocks_max == NULL ? "unlimited" : sagad->blocks_max};
    const char *const always[] = {SAGAD,       "--listen",         sagad->nng, "--data",
                                  sagad->data, "--descriptor-set", sagad->set, "--http-port",
                                  "0",         "--ready-file",     ready};
    size_t count = 4;
    for (size_t i = 0; i < sizeof always / sizeof always[0]; i++) {
        argv[count++] = always[i];
    }
    for (int i = 0; i < FAKE_COUNT; i++) {
        if (sagad->without != NULL && strcmp(sagad->without, services[i]) == 0) {
            continue;
        }
        (void)snprintf(participants[i], sizeof participants[i], "%s=%s", services[i],
                       sagad->fakes->fakes[i].address);
        argv[count++] = "--participant";
        argv[count++] = participants[i];
    }
    if (sagad->kafka[0] != '\0') {
        argv[count++] = "--kafka";
        argv[count++] = sagad->kafka;
    }
    if (sagad->live_max != NULL) {
        argv[count++] = "--live-max";
        argv[count++] = sagad->live_max;
    }
    sagad->port = 0;
    saga_test_spawn(&sagad->child, argv, sagad->log);
}

static bool is_ready(void *argument)
{
    struct sagad *sagad = argument;
    char path[SAGA_TEST_PATH_MAX];
    char *text = saga_test_read(saga_test_path(&sagad->dir, "ready.json", path), NULL);
    if (text == NULL) {
        return !saga_test_running(&sagad->child);
    }
    const char *http = strstr(text, "http://127.0.0.1:");
    unsigned port = 0;
    bool got = http != NULL && sscanf(http, "http://127.0.0.1:%u", &port) == 1;
    sagad->port = (uint16_t)port;
    free(text);
    return got;
}

void sagad_await(struct sagad *sagad, unsigned deadline_ms)
{
    if (!saga_test_until(is_ready, sagad, deadline_ms) || sagad->port == 0) {
        char *text = saga_test_read(sagad->log, NULL);
        fail_msg("sagad is not ready: %s", text == NULL ? "" : text);
    }
    const char *addresses[] = {sagad->nng};
    struct saga_rpc_client_config config = {
        .addresses = addresses, .address_count = 1, .contexts = 2048};
    struct saga_err_detail detail;
    assert_int_equal(saga_rpc_client_start(&config, &sagad->client, &detail), SAGA_ERR_OK);
    assert_int_equal(saga_rpc_client_wait(sagad->client, DEADLINE_MS), SAGA_ERR_OK);
}

void sagad_start(struct sagad *sagad)
{
    sagad_spawn(sagad);
    sagad_await(sagad, READY_MS);
}

void sagad_check_log(struct sagad *sagad)
{
    char *text = saga_test_read(sagad->log, NULL);
    if (text != NULL && (strstr(text, "Sanitizer") != NULL ||
                         strstr(text, "runtime error") != NULL || strstr(text, "assert") != NULL)) {
        (void)fprintf(stderr, "%s\n", text); /* print_error would cut it */
        free(text);
        fail_msg("sagad's log tells of an error");
    }
    free(text);
}

bool sagad_log_has(struct sagad *sagad, const char *text)
{
    char *log = saga_test_read(sagad->log, NULL);
    bool has = log != NULL && strstr(log, text) != NULL;
    free(log);
    return has;
}

static void close_client(struct sagad *sagad)
{
    saga_rpc_client_free(sagad->client);
    sagad->client = NULL;
}

void sagad_kill(struct sagad *sagad)
{
    saga_test_signal(&sagad->child, SIGKILL);
    assert_true(saga_test_wait(&sagad->child, DEADLINE_MS));
    close_client(sagad);
    sagad_check_log(sagad);
}

void sagad_stop(struct sagad *sagad, unsigned deadline_ms)
{
    bool clean = saga_test_stop(&sagad->child, deadline_ms);
    close_client(sagad);
    sagad_check_log(sagad);
    if (!clean) {
        char *text = saga_test_read(sagad->log, NULL);
        fail_msg("sagad did not stop as it should (status %d): %s", sagad->child.status,
                 text == NULL ? "" : text);
    }
}

/* ---- Admin API ---- */

struct saga_reply *sagad_send(struct sagad *sagad, struct saga_bytes bytes, size_t *count)
{
    struct saga_buf answer = {0};
    struct saga_err_detail detail = {.text = ""};
    struct saga_reply *replies = NULL;
    struct saga_status status;
    saga_arena_clear(&sagad->arena);
    if (saga_rpc_client_call(sagad->client, bytes, DEADLINE_MS, &answer, &detail) != SAGA_ERR_OK) {
        fail_msg("sagad did not answer: %s", detail.text);
    }
    if (saga_reply_batch_decode(saga_buf_view(&answer), &sagad->arena, &replies, count, &status) !=
        SAGA_ERR_OK) {
        fail_msg("sagad's answer is none: %s", status.message);
    }
    saga_buf_fini(&answer);
    return replies;
}

static void add_request(const char *method, const ProtobufCMessage *request, struct saga_buf *batch)
{
    struct saga_buf payload = {0};
    assert_int_equal(saga_message_encode(request, &payload), SAGA_ERR_OK);
    struct saga_command command = {.step = "",
                                   .method = method,
                                   .payload = saga_buf_view(&payload),
                                   .traceparent = "",
                                   .cause_step = "",
                                   .cause_status = saga_status_ok()};
    assert_int_equal(saga_command_batch_add(&command, batch), SAGA_ERR_OK);
    saga_buf_fini(&payload);
}

struct saga_reply sagad_ask(struct sagad *sagad, const char *method,
                            const ProtobufCMessage *request)
{
    struct saga_buf batch = {0};
    size_t count = 0;
    add_request(method, request, &batch);
    struct saga_reply *replies = sagad_send(sagad, saga_buf_view(&batch), &count);
    saga_buf_fini(&batch);
    assert_int_equal(count, 1);
    return replies[0];
}

void start_add(const struct start *start, struct saga_buf *batch)
{
    Saga__V1__StartSagaRequest request = SAGA__V1__START_SAGA_REQUEST__INIT;
    uint8_t input[16] = {0x08};
    size_t size = 1;
    for (uint64_t n = (uint64_t)start->n; size == 1 || n > 0; n >>= 7) {
        input[size++] = (uint8_t)((n & 0x7f) | (n > 0x7f ? 0x80 : 0));
    }
    char definition[128];
    char key[512];
    (void)snprintf(definition, sizeof definition, "%s",
                   start->definition == NULL ? "pair" : start->definition);
    (void)snprintf(key, sizeof key, "%s", start->key);
    request.definition = definition;
    request.key = key;
    request.input = (ProtobufCBinaryData){size, input};
    request.wait_ms = start->wait_ms;
    add_request(ORCHESTRATOR "StartSaga", &request.base, batch);
}

struct started started_of(const struct saga_reply *reply, struct saga_arena *arena)
{
    struct started started = {.code = reply->status.code};
    (void)snprintf(started.reason, sizeof started.reason, "%s", reply->status.reason);
    if (reply->status.code == SAGA_CODE_OK) {
        const Saga__V1__StartSagaResponse *response =
            (const Saga__V1__StartSagaResponse *)(const void *)saga_message_decode(
                &saga__v1__start_saga_response__descriptor, reply->payload, arena);
        assert_non_null(response);
        assert_int_equal(response->saga_id.len, SAGA_ID_SIZE);
        memcpy(started.id.b, response->saga_id.data, SAGA_ID_SIZE);
        started.existing = response->existing;
        started.state = response->state;
    }
    return started;
}

struct started sagad_begin(struct sagad *sagad, const struct start *start)
{
    struct saga_buf batch = {0};
    size_t count = 0;
    start_add(start, &batch);
    struct saga_reply *replies = sagad_send(sagad, saga_buf_view(&batch), &count);
    saga_buf_fini(&batch);
    assert_int_equal(count, 1);
    return started_of(&replies[0], &sagad->arena);
}

void sagad_begin_many(struct sagad *sagad, const char *prefix, size_t count, struct saga_id *ids)
{
    for (size_t done = 0; done < count;) {
        struct saga_buf batch = {0};
        size_t some = count - done < BATCH_MAX ? count - done : BATCH_MAX;
        for (size_t i = 0; i < some; i++) {
            char key[64];
            (void)snprintf(key, sizeof key, "%s%zu", prefix, done + i);
            struct start start = {.key = key, .n = (int64_t)(done + i)};
            start_add(&start, &batch);
        }
        size_t got = 0;
        struct saga_reply *replies = sagad_send(sagad, saga_buf_view(&batch), &got);
        saga_buf_fini(&batch);
        assert_int_equal(got, some);
        for (size_t i = 0; i < some; i++) {
            struct started started = started_of(&replies[i], &sagad->arena);
            if (started.code != SAGA_CODE_OK) {
                fail_msg("start %zu: %s", done + i, started.reason);
            }
            if (ids != NULL) {
                ids[done + i] = started.id;
            }
        }
        done += some;
    }
}

static void add_get(struct saga_id *id, bool events, struct saga_buf *batch)
{
    Saga__V1__GetSagaRequest request = SAGA__V1__GET_SAGA_REQUEST__INIT;
    request.saga_id = (ProtobufCBinaryData){SAGA_ID_SIZE, id->b};
    request.with_events = events;
    add_request(ORCHESTRATOR "GetSaga", &request.base, batch);
}

static const Saga__V1__GetSagaResponse *got_of(struct sagad *sagad, const struct saga_reply *reply)
{
    if (reply->status.code != SAGA_CODE_OK) {
        fail_msg("GetSaga: %s %s", reply->status.reason, reply->status.message);
    }
    const Saga__V1__GetSagaResponse *response =
        (const Saga__V1__GetSagaResponse *)(const void *)saga_message_decode(
            &saga__v1__get_saga_response__descriptor, reply->payload, &sagad->arena);
    assert_non_null(response);
    return response;
}

const Saga__V1__GetSagaResponse *sagad_get(struct sagad *sagad, struct saga_id id, bool events)
{
    struct saga_buf batch = {0};
    size_t count = 0;
    add_get(&id, events, &batch);
    struct saga_reply *replies = sagad_send(sagad, saga_buf_view(&batch), &count);
    saga_buf_fini(&batch);
    assert_int_equal(count, 1);
    return got_of(sagad, &replies[0]);
}

Saga__V1__SagaState sagad_state(struct sagad *sagad, struct saga_id id)
{
    return sagad_get(sagad, id, false)->saga->state;
}

struct awaited {
    struct sagad *sagad;
    struct saga_id id;
    Saga__V1__SagaState state;
    uint64_t seq;
    const struct saga_id *ids;
    size_t count;
    size_t completed;
};

static bool has_state(void *argument)
{
    struct awaited *awaited = argument;
    return sagad_state(awaited->sagad, awaited->id) == awaited->state;
}

static void fail_with(struct sagad *sagad, struct saga_id id, const char *what)
{
    const Saga__V1__SagaView *saga = sagad_get(sagad, id, false)->saga;
    char text[1024] = "";
    size_t size = 0;
    for (size_t i = 0; i < saga->n_steps && size < sizeof text; i++) {
        const Saga__V1__StepView *step = saga->steps[i];
        int more = snprintf(text + size, sizeof text - size, " %s=%d/%u/%u", step->name,
                            (int)step->state, step->call_attempts, step->undo_attempts);
        size += more > 0 ? (size_t)more : 0;
    }
    fail_msg("%s: state %d seq %llu%s", what, (int)saga->state, (unsigned long long)saga->seq,
             text);
}

void sagad_wait_state(struct sagad *sagad, struct saga_id id, Saga__V1__SagaState state,
                      unsigned deadline_ms)
{
    struct awaited awaited = {.sagad = sagad, .id = id, .state = state};
    if (!saga_test_until(has_state, &awaited, deadline_ms)) {
        fail_with(sagad, id, "the saga is not in the state that was waited for");
    }
}

static bool has_seq(void *argument)
{
    struct awaited *awaited = argument;
    return sagad_get(awaited->sagad, awaited->id, false)->saga->seq >= awaited->seq;
}

void sagad_wait_seq(struct sagad *sagad, struct saga_id id, uint64_t seq)
{
    struct awaited awaited = {.sagad = sagad, .id = id, .seq = seq};
    if (!saga_test_until(has_seq, &awaited, DEADLINE_MS)) {
        fail_with(sagad, id, "the saga has too few events");
    }
}

/* What the participants hold must be what the saga's end says. */
static void check_end(struct sagad *sagad, struct saga_id id, Saga__V1__SagaState state)
{
    struct fake_record record = fakes_find(sagad->fakes, id);
    bool completed = state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPLETED;
    for (int i = 0; i < STEP_COUNT; i++) {
        bool effect = record.call[i] == 1;
        if (completed && (!effect || record.undo[i])) {
            fail_with(sagad, id, "COMPLETED, but a participant has not done its step");
        }
        if (!completed && effect && !record.undo[i]) {
            fail_with(sagad, id, "COMPENSATED, but a participant still has its effect");
        }
    }
}

static bool all_ended(void *argument)
{
    struct awaited *awaited = argument;
    struct sagad *sagad = awaited->sagad;
    awaited->completed = 0;
    for (size_t done = 0; done < awaited->count;) {
        struct saga_buf batch = {0};
        size_t got = 0;
        size_t some = awaited->count - done < BATCH_MAX ? awaited->count - done : BATCH_MAX;
        for (size_t i = 0; i < some; i++) {
            struct saga_id id = awaited->ids[done + i];
            add_get(&id, false, &batch);
        }
        struct saga_reply *replies = sagad_send(sagad, saga_buf_view(&batch), &got);
        saga_buf_fini(&batch);
        assert_int_equal(got, some);
        for (size_t i = 0; i < some; i++) {
            Saga__V1__SagaState state = got_of(sagad, &replies[i])->saga->state;
            if (state != SAGA__V1__SAGA_STATE__SAGA_STATE_COMPLETED &&
                state != SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATED) {
                awaited->id = awaited->ids[done + i];
                return false;
            }
            awaited->completed += state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPLETED ? 1 : 0;
        }
        done += some;
    }
    return true;
}

size_t sagad_wait_ended(struct sagad *sagad, const struct saga_id *ids, size_t count,
                        unsigned deadline_ms)
{
    struct awaited awaited = {.sagad = sagad, .ids = ids, .count = count};
    if (!saga_test_until(all_ended, &awaited, deadline_ms)) {
        fail_with(sagad, awaited.id, "a saga has not ended");
    }
    for (size_t i = 0; i < count && !sagad->fakes->forgetful; i++) {
        check_end(sagad, ids[i], sagad_state(sagad, ids[i]));
    }
    return awaited.completed;
}

uint32_t sagad_operate(struct sagad *sagad, struct saga_id id, Saga__V1__OperatorAct act,
                       const char *step, char reason[64])
{
    Saga__V1__OperateSagaRequest request = SAGA__V1__OPERATE_SAGA_REQUEST__INIT;
    char name[64];
    char who[] = "tester";
    char why[] = "to see";
    (void)snprintf(name, sizeof name, "%s", step);
    request.saga_id = (ProtobufCBinaryData){SAGA_ID_SIZE, id.b};
    request.act = act;
    request.step = name;
    request.who = who;
    request.why = why;
    struct saga_reply reply = sagad_ask(sagad, ORCHESTRATOR "OperateSaga", &request.base);
    if (reason != NULL) {
        (void)snprintf(reason, 64, "%s", reply.status.reason);
    }
    return reply.status.code;
}

size_t sagad_check_events(struct sagad *sagad, struct saga_id id)
{
    const Saga__V1__GetSagaResponse *got = sagad_get(sagad, id, true);
    uint8_t before[SHA256_DIGEST_LENGTH];
    assert_int_equal(got->n_events, got->saga->seq);
    for (size_t i = 0; i < got->n_events; i++) {
        Saga__V1__AuditEvent *event = got->events[i];
        struct saga_buf bytes = {0};
        uint8_t hash[SHA256_DIGEST_LENGTH];
        ProtobufCBinaryData kept = event->hash;
        assert_int_equal(event->seq, i + 1);
        assert_int_equal(kept.len, sizeof hash);
        assert_int_equal(event->prev_hash.len, i == 0 ? 0 : sizeof before);
        if (i > 0) {
            assert_memory_equal(event->prev_hash.data, before, sizeof before);
        }
        event->hash = (ProtobufCBinaryData){0, NULL};
        assert_int_equal(saga_message_encode(&event->base, &bytes), SAGA_ERR_OK);
        event->hash = kept;
        (void)SHA256(bytes.data, bytes.size, hash);
        saga_buf_fini(&bytes);
        assert_memory_equal(hash, kept.data, sizeof hash);
        memcpy(before, hash, sizeof before);
    }
    return got->n_events;
}

size_t sagad_decisions(struct sagad *sagad, struct saga_id id, const char *step, Saga__V1__Op op)
{
    const Saga__V1__GetSagaResponse *got = sagad_get(sagad, id, true);
    size_t count = 0;
    for (size_t i = 0; i < got->n_events; i++) {
        for (size_t j = 0; j < got->events[i]->n_decisions; j++) {
            const Saga__V1__Decision *decision = got->events[i]->decisions[j];
            count += decision->op == op && strcmp(decision->step, step) == 0 ? 1 : 0;
        }
    }
    return count;
}

int sagad_health(struct sagad *sagad, const char *part, char detail[256])
{
    Saga__V1__CheckRequest request = SAGA__V1__CHECK_REQUEST__INIT;
    struct saga_reply reply = sagad_ask(sagad, "saga.v1.HealthService/Check", &request.base);
    assert_int_equal(reply.status.code, SAGA_CODE_OK);
    const Saga__V1__CheckResponse *response =
        (const Saga__V1__CheckResponse *)(const void *)saga_message_decode(
            &saga__v1__check_response__descriptor, reply.payload, &sagad->arena);
    assert_non_null(response);
    for (size_t i = 0; i < response->n_parts; i++) {
        if (strcmp(response->parts[i]->name, part) == 0) {
            if (detail != NULL) {
                (void)snprintf(detail, 256, "%s", response->parts[i]->detail);
            }
            return (int)response->parts[i]->state;
        }
    }
    assert_string_equal(part, "");
    return (int)response->state;
}

/* ---- HTTP ---- */

static struct reply http_reply;

unsigned sagad_http(struct sagad *sagad, const char *path)
{
    char request[256];
    (void)snprintf(request, sizeof request, "GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", path);
    client_ask(sagad->port, request, &http_reply);
    return http_reply.status;
}

double sagad_metric(struct sagad *sagad, const char *name)
{
    char line[128];
    assert_int_equal(sagad_http(sagad, "/metrics"), 200);
    (void)snprintf(line, sizeof line, "\n%s ", name);
    const char *at = strstr(http_reply.body, line);
    if (at == NULL) {
        fail_msg("there is no metric %s", name);
    }
    return strtod(at + strlen(line), NULL);
}

size_t sagad_rss_kib(const struct sagad *sagad)
{
    char path[64];
    size_t kib = 0;
    (void)snprintf(path, sizeof path, "/proc/%ld/status", (long)sagad->child.pid);
    char *text = saga_test_read(path, NULL);
    assert_non_null(text);
    const char *at = strstr(text, "VmRSS:");
    assert_non_null(at);
    assert_int_equal(sscanf(at, "VmRSS: %zu", &kib), 1);
    free(text);
    return kib;
}
