/* sagad and a real Kafka: undos and their replies, records that mean nothing, a broker that is
 * away. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "saga/v1/audit.pb-c.h"
#include "tests/integration/orchestrator/sagad_fixture.h"

#define STATE(name) SAGA__V1__SAGA_STATE__SAGA_STATE_##name
#define BROKER SAGA_SOURCE_DIR "/tests/support/kafka-broker"

enum { BROKER_MS = 60000, SERVING = 1 };

static int setup(void **state)
{
    struct sagad *sagad = NULL;
    char bootstrap[SAGA_TEST_PATH_MAX];
    (void)saga_test_kafka(bootstrap);
    (void)sagad_setup((void **)&sagad);
    (void)snprintf(sagad->kafka, sizeof sagad->kafka, "%s", bootstrap);
    fakes_join_kafka(sagad->fakes, bootstrap);
    sagad_start(sagad);
    *state = sagad;
    return 0;
}

static struct saga_id begin_refused(struct sagad *sagad, const char *key)
{
    fake_set(sagad->fakes, FAKE_END, FAKE_CODE, SAGA_CODE_FAILED_PRECONDITION);
    struct start start = {.key = key, .n = 1};
    struct started started = sagad_begin(sagad, &start);
    assert_int_equal(started.code, SAGA_CODE_OK);
    return started.id;
}

static void test_saga_when_its_pivot_is_refused_then_both_branches_are_undone(void **state)
{
    struct sagad *sagad = *state;
    struct saga_id id = begin_refused(sagad, "refused");
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 0);
    assert_int_equal(sagad_decisions(sagad, id, "left", SAGA__V1__OP__OP_UNDO), 1);
    assert_int_equal(sagad_decisions(sagad, id, "right", SAGA__V1__OP__OP_UNDO), 1);
    (void)sagad_check_events(sagad, id);
    struct fake_record record = fakes_find(sagad->fakes, id);
    assert_int_equal(record.undo[STEP_LEFT], 1);
    assert_int_equal(record.empty[STEP_LEFT], 0);
}

static void test_saga_when_attempts_are_exhausted_then_the_unknown_step_is_undone_too(void **state)
{
    struct sagad *sagad = *state;
    fakes_set_brief(sagad->fakes, true);
    fake_set(sagad->fakes, FAKE_LEFT, FAKE_CODE, SAGA_CODE_UNKNOWN);
    struct start start = {.definition = "brief", .key = "unknown", .n = 1, .wait_ms = DEADLINE_MS};
    struct started ended = sagad_begin(sagad, &start);
    assert_int_equal(ended.state, STATE(COMPENSATED));
    struct fake_record record = fakes_find(sagad->fakes, ended.id);
    assert_int_equal(record.undo[STEP_LEFT], 1); /* S5 */
    assert_int_equal(record.empty[STEP_LEFT], 1);
}

/* ---- Records that mean nothing ---- */

struct letters {
    pthread_mutex_t lock;
    char topic[SAGA_TEST_PATH_MAX];
    size_t count;
    bool good;
};

/* Thread: the consumer's. */
static bool letter_came(void *user, const struct saga_kafka_record *record)
{
    struct letters *letters = user;
    struct saga_bytes topic = saga_kafka_header(record, "dead-letter-topic");
    (void)pthread_mutex_lock(&letters->lock);
    if (saga_bytes_equal(topic, saga_bytes_text(letters->topic))) {
        letters->good = letters->good && saga_kafka_header(record, "dead-letter-reason").size > 0 &&
                        saga_kafka_header(record, "dead-letter-partition").size > 0 &&
                        saga_kafka_header(record, "dead-letter-offset").size > 0;
        letters->count += 1;
    }
    (void)pthread_mutex_unlock(&letters->lock);
    return true;
}

static int64_t from_the_beginning(void *user, const char *topic, int32_t partition)
{
    (void)user;
    (void)topic;
    (void)partition;
    return -1;
}

static bool three_letters(void *argument)
{
    struct letters *letters = argument;
    (void)pthread_mutex_lock(&letters->lock);
    bool enough = letters->count >= 3;
    (void)pthread_mutex_unlock(&letters->lock);
    return enough;
}

static void put_reply(struct sagad *sagad, struct saga_id key, struct saga_bytes value)
{
    char topic[SAGA_TEST_PATH_MAX];
    char text[SAGA_ID_TEXT_SIZE];
    saga_id_format(key, text);
    struct saga_kafka_record record = {.topic = fakes_topic(sagad->fakes, "left-replies", topic),
                                       .key = saga_bytes_text(text),
                                       .value = value};
    assert_int_equal(saga_kafka_produce(sagad->fakes->producer, &record, 0), SAGA_ERR_OK);
}

static void put_good_reply(struct sagad *sagad, struct saga_id id, const char *step,
                           enum saga_op op)
{
    struct saga_buf value = {0};
    struct saga_reply reply = {
        .saga_id = id, .step = step, .op = op, .status = saga_status_ok(), .attempt = 1};
    assert_int_equal(saga_reply_encode(&reply, &value), SAGA_ERR_OK);
    put_reply(sagad, id, saga_buf_view(&value));
    saga_buf_fini(&value);
}

static void
test_replies_when_they_are_garbage_then_become_dead_letters_and_others_follow(void **state)
{
    struct sagad *sagad = *state;
    struct letters letters = {.good = true};
    struct saga_err_detail detail = {.text = ""};
    (void)pthread_mutex_init(&letters.lock, NULL);
    (void)fakes_topic(sagad->fakes, "left-replies", letters.topic);
    static const char *const topics[] = {"saga-dead-letter"};
    struct saga_kafka_consumer *consumer = NULL;
    struct saga_kafka_consumer_config config = {
        .kafka = {.bootstrap = sagad->kafka, .client_id = "letters"},
        .topics = topics,
        .topic_count = 1,
        .position = from_the_beginning,
        .received = letter_came,
        .user = &letters,
    };
    assert_int_equal(saga_kafka_consumer_start(&config, &consumer, &detail), SAGA_ERR_OK);
    static const struct saga_id nobody = {.b = {1, 2, 3, 4, 5, 6, 0x70, 8, 0x80}};
    put_reply(sagad, nobody, saga_bytes_text("\xff\xff\xff no reply"));
    put_reply(sagad, nobody, (struct saga_bytes){0});
    put_good_reply(sagad, nobody, "left", SAGA_OP_UNDO); /* a saga that nobody knows */
    put_reply(sagad, nobody, saga_bytes_text("\x0a\x7f"));
    /* Behind them on both partitions: replies that count. */
    for (int i = 0; i < 8; i++) {
        char key[16];
        (void)snprintf(key, sizeof key, "behind%d", i);
        struct saga_id id = begin_refused(sagad, key);
        put_good_reply(sagad, id, "nowhere", SAGA_OP_UNDO);
        put_good_reply(sagad, id, "pivot", SAGA_OP_UNDO);
        put_good_reply(sagad, id, "last", SAGA_OP_CALL); /* never asked for */
        assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 0);
    }
    assert_true(saga_test_until(three_letters, &letters, DEADLINE_MS));
    assert_true(letters.good);
    assert_int_equal(letters.count, 3);
    assert_true(sagad_metric(sagad, "saga_dead_letters_total") == 3);
    /* After a restart the offsets go on: nothing is a dead letter twice. */
    sagad_stop(sagad, DEADLINE_MS);
    sagad_start(sagad);
    struct saga_id id = begin_refused(sagad, "after");
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 0);
    assert_true(sagad_metric(sagad, "saga_dead_letters_total") == 0);
    saga_kafka_consumer_free(consumer);
    (void)pthread_mutex_destroy(&letters.lock);
}

/* ---- A broker that is away ---- */

static void run_broker(const char *verb, const struct saga_test_dir *dir)
{
    struct saga_test_child child;
    const char *const argv[] = {BROKER, verb, dir->path, NULL};
    saga_test_spawn(&child, argv, "/dev/null");
    assert_true(saga_test_wait(&child, BROKER_MS));
    if (child.status != 0) {
        fail_msg("kafka-broker %s: %d", verb, child.status);
    }
}

static bool kafka_is_down(void *argument)
{
    return sagad_health(argument, "kafka", NULL) != SERVING;
}

static void test_undo_when_kafka_is_away_then_waits_and_is_decided_on_once(void **state)
{
    struct sagad *sagad = NULL;
    struct saga_test_dir broker;
    char path[SAGA_TEST_PATH_MAX];
    (void)state;
    saga_test_dir_open(&broker);
    (void)sagad_setup((void **)&sagad);
    run_broker("start", &broker);
    char *bootstrap = saga_test_read(saga_test_path(&broker, "bootstrap", path), NULL);
    assert_non_null(bootstrap);
    (void)sscanf(bootstrap, "%511s", sagad->kafka);
    free(bootstrap);
    fakes_join_kafka(sagad->fakes, sagad->kafka);
    run_broker("kill", &broker);
    sagad_start(sagad); /* configured, and down */
    assert_int_equal(sagad_http(sagad, "/readyz"), 200);
    assert_true(saga_test_until(kafka_is_down, sagad, DEADLINE_MS));
    struct saga_id id = begin_refused(sagad, "waits");
    sagad_wait_state(sagad, id, STATE(COMPENSATING), DEADLINE_MS);
    sagad_kill(sagad);
    sagad_start(sagad);
    assert_int_equal(sagad_state(sagad, id), STATE(COMPENSATING));
    run_broker("restart", &broker);
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, BROKER_MS), 0);
    assert_int_equal(sagad_decisions(sagad, id, "left", SAGA__V1__OP__OP_UNDO), 1);
    assert_int_equal(sagad_decisions(sagad, id, "right", SAGA__V1__OP__OP_UNDO), 1);
    assert_int_equal(sagad_teardown((void **)&sagad), 0);
    run_broker("remove", &broker);
    saga_test_dir_close(&broker);
}

static void test_undo_when_no_kafka_is_configured_then_waits_for_one(void **state)
{
    struct sagad *sagad = *state;
    char bootstrap[SAGA_TEST_PATH_MAX];
    (void)snprintf(bootstrap, sizeof bootstrap, "%s", sagad->kafka);
    sagad_stop(sagad, DEADLINE_MS);
    sagad->kafka[0] = '\0';
    sagad_start(sagad);
    assert_int_not_equal(sagad_health(sagad, "kafka", NULL), SERVING);
    assert_int_equal(sagad_http(sagad, "/readyz"), 200);
    struct saga_id id = begin_refused(sagad, "unconfigured");
    sagad_wait_state(sagad, id, STATE(COMPENSATING), DEADLINE_MS);
    sagad_stop(sagad, DEADLINE_MS);
    (void)snprintf(sagad->kafka, sizeof sagad->kafka, "%s", bootstrap);
    sagad_start(sagad);
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 0);
    assert_int_equal(sagad_decisions(sagad, id, "left", SAGA__V1__OP__OP_UNDO), 1);
}

/* ---- Definitions that are applied while it runs ---- */

static int setup_other(void **state)
{
    struct sagad *sagad = NULL;
    char bootstrap[SAGA_TEST_PATH_MAX];
    (void)saga_test_kafka(bootstrap);
    (void)sagad_setup((void **)&sagad);
    (void)snprintf(sagad->kafka, sizeof sagad->kafka, "%s", bootstrap);
    *state = sagad;
    return 0;
}

/* Applies a set; with other, what is in it by the name other[0] is other[1], of the same length. */
static void apply_changed(struct sagad *sagad, const char *path, const char *const *other)
{
    Saga__V1__ApplyDefinitionsRequest request = SAGA__V1__APPLY_DEFINITIONS_REQUEST__INIT;
    size_t size = 0;
    char *set = saga_test_read(path, &size);
    assert_non_null(set);
    size_t changes = 0;
    for (size_t i = 0; other != NULL && i + strlen(other[0]) <= size; i++) {
        if (memcmp(set + i, other[0], strlen(other[0])) == 0) {
            memcpy(set + i, other[1], strlen(other[1]));
            changes++;
        }
    }
    assert_int_equal(changes, other == NULL ? 0 : 1);
    request.descriptor_set = (ProtobufCBinaryData){size, (uint8_t *)set};
    request.who = (char *)(uintptr_t) "tester";
    request.why = (char *)(uintptr_t) "to see";
    struct saga_reply reply = sagad_ask(sagad, ORCHESTRATOR "ApplyDefinitions", &request.base);
    free(set);
    if (reply.status.code != SAGA_CODE_OK) {
        fail_msg("not applied: %s: %s", reply.status.reason, reply.status.message);
    }
}

static void apply_set(struct sagad *sagad, const char *path)
{
    apply_changed(sagad, path, NULL);
}

static bool kafka_names_the_topic(void *argument)
{
    char detail[256];
    return sagad_health(argument, "kafka", detail) != SERVING &&
           strstr(detail, "breaker-lost-commands-") != NULL &&
           strstr(detail, "sagactl topics apply") != NULL;
}

static bool kafka_is_up(void *argument)
{
    return sagad_health(argument, "kafka", NULL) == SERVING;
}

static void make_topic(const struct sagad *sagad, const char *name)
{
    struct saga_kafka_config kafka = {.bootstrap = sagad->kafka, .client_id = "test"};
    struct saga_kafka_topic topic = {.name = name, .partitions = 2, .replication = -1};
    struct saga_err_detail detail = {.text = ""};
    assert_int_equal(saga_kafka_topics_create(&kafka, &topic, 1, NULL, DEADLINE_MS, &detail),
                     SAGA_ERR_OK);
}

/* A saga whose undo cannot leave holds up no other's, over a crash too. */
static void test_undo_when_its_topic_is_missing_then_those_of_other_topics_go_on(void **state)
{
    struct sagad *sagad = *state;
    static const char *const lost[] = {"breaker-left-commands-", "breaker-lost-commands-"};
    char lost_topic[SAGA_TEST_PATH_MAX];
    (void)snprintf(lost_topic, sizeof lost_topic, "%s%s", lost[1], sagad->fakes->run);
    apply_changed(sagad, sagad->set, lost);
    struct saga_id stuck = begin_refused(sagad, "stuck");
    sagad_wait_state(sagad, stuck, STATE(COMPENSATING), DEADLINE_MS);
    assert_true(saga_test_until(kafka_names_the_topic, sagad, DEADLINE_MS));
    apply_set(sagad, sagad->set);
    double before = sagad_metric(sagad, "saga_outbox_published_position");
    struct saga_id id = begin_refused(sagad, "goes on");
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 0);
    assert_int_equal(fakes_find(sagad->fakes, id).undo[STEP_LEFT], 1);
    assert_true(sagad_metric(sagad, "saga_outbox_published_position") == before);
    sagad_kill(sagad);
    sagad_start(sagad);
    id = begin_refused(sagad, "after");
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 0);
    assert_true(saga_test_until(kafka_names_the_topic, sagad, DEADLINE_MS));
    assert_int_equal(sagad_http(sagad, "/readyz"), 200);
    assert_int_equal(sagad_state(sagad, stuck), STATE(COMPENSATING));
    make_topic(sagad, lost_topic);
    assert_true(saga_test_until(kafka_is_up, sagad, DEADLINE_MS));
    assert_int_equal(sagad_decisions(sagad, stuck, "left", SAGA__V1__OP__OP_UNDO), 1);
}

/* The daemon does not know the services, and their topics are not there, when it starts. */
static void test_undo_when_its_service_was_applied_then_its_reply_topic_is_read_live(void **state)
{
    struct sagad *sagad = *state;
    char own[SAGA_TEST_PATH_MAX];
    (void)snprintf(own, sizeof own, "%s", sagad->set);
    (void)snprintf(sagad->set, sizeof sagad->set, "%s", SAGA_SOURCE_DIR "/generated/sagad.binpb");
    sagad_start(sagad);
    apply_set(sagad, own);
    struct start good = {.key = "good", .n = 1, .wait_ms = DEADLINE_MS};
    assert_int_equal(sagad_begin(sagad, &good).state, STATE(COMPLETED));
    fakes_join_kafka(sagad->fakes, sagad->kafka);
    struct saga_id id = begin_refused(sagad, "live");
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 0);
    assert_int_equal(sagad_decisions(sagad, id, "left", SAGA__V1__OP__OP_UNDO), 1);
    assert_int_equal(fakes_find(sagad->fakes, id).undo[STEP_RIGHT], 1);
    sagad_kill(sagad);
    sagad_start(sagad);
    id = begin_refused(sagad, "after");
    assert_int_equal(sagad_wait_ended(sagad, &id, 1, DEADLINE_MS), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, sagad_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_saga_when_its_pivot_is_refused_then_both_branches_are_undone),
        TEST(test_saga_when_attempts_are_exhausted_then_the_unknown_step_is_undone_too),
        TEST(test_replies_when_they_are_garbage_then_become_dead_letters_and_others_follow),
        TEST(test_undo_when_no_kafka_is_configured_then_waits_for_one),
        TEST(test_undo_when_its_topic_is_missing_then_those_of_other_topics_go_on),
        cmocka_unit_test_setup_teardown(
            test_undo_when_its_service_was_applied_then_its_reply_topic_is_read_live, setup_other,
            sagad_teardown),
        cmocka_unit_test(test_undo_when_kafka_is_away_then_waits_and_is_decided_on_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
