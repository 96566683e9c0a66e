/* sagactl sim with the simulator itself: a few worlds of the sagas that sagad ships with. */
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>
#include <jansson.h>

#include "client/run.h"

static char text_out[1 << 20];

/* Runs `sagactl sim ARGUMENTS` in a process of its own; gives its exit status. */
static int sim(const char *arguments)
{
    FILE *out = tmpfile();
    assert_non_null(out);
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char line[1024];
        char sagactl[] = "sagactl";
        char verb[] = "sim";
        char *argv[64] = {sagactl, verb};
        int argc = 2;
        (void)snprintf(line, sizeof line, "%s", arguments);
        char *rest = NULL;
        for (char *word = strtok_r(line, " ", &rest); word != NULL && argc < 60;
             word = strtok_r(NULL, " ", &rest)) {
            argv[argc++] = word;
        }
        (void)signal(SIGPIPE, SIG_IGN);
        (void)dup2(fileno(out), STDOUT_FILENO);
        int status = saga_client_run(argc, argv);
        (void)fflush(NULL);
        _exit(status);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    rewind(out);
    size_t got = fread(text_out, 1, sizeof text_out - 1, out);
    text_out[got] = '\0';
    (void)fclose(out);
    return WEXITSTATUS(status);
}

/* Runs worlds that must break no rule; gives their hash. */
static void hash_of(const char *arguments, char hash[32])
{
    char line[1024];
    json_error_t error;
    (void)snprintf(line, sizeof line, "%s -o json", arguments);
    int status = sim(line);
    json_t *object = json_loads(text_out, 0, &error);
    if (status != 0 || object == NULL) {
        fail_msg("sagactl sim %s: status %d: %s", line, status, text_out);
    }
    (void)snprintf(hash, 32, "%s", json_string_value(json_object_get(object, "trace_hash")));
    assert_int_equal(strlen(hash), 16);
    json_int_t sagas = json_integer_value(json_object_get(object, "sagas"));
    assert_true(sagas > 0);
    assert_int_equal(sagas, json_integer_value(json_object_get(object, "completed")) +
                                json_integer_value(json_object_get(object, "compensated")));
    json_decref(object);
}

static void test_sim_when_same_seeds_then_same_hash_however_run(void **state)
{
    (void)state;
    static const char *const same[] = {
        "--saga create-order --seed 77 --runs 6 --sagas 40 -j 1",
        "--saga create-order --seed 77 --runs 6 --sagas 40 -j 1",
        "--saga create-order --seed 77 --runs 6 --sagas 40 -j 3",
        /* what is built in, as a user's file */
        SAGA_SOURCE_DIR "/generated/sagad.binpb --saga create-order --seed 77 --runs 6 --sagas 40",
    };
    char first[32];
    char hash[32];
    hash_of(same[0], first);
    for (size_t i = 1; i < sizeof same / sizeof same[0]; i++) {
        hash_of(same[i], hash);
        assert_string_equal(hash, first);
    }
    hash_of("--saga create-order --seed 78 --runs 6 --sagas 40", hash);
    assert_string_not_equal(hash, first);
}

static void test_sim_when_by_kafka_alone_then_no_rule_is_broken(void **state)
{
    (void)state;
    char hash[32];
    hash_of("--saga create-order-async --seed 5 --runs 4 --sagas 40", hash);
}

static void test_sim_when_told_then_transcript_holds_every_saga(void **state)
{
    (void)state;
    assert_int_equal(
        sim("--saga create-order --seed 3 --runs 1 --sagas 2 --no-faults --transcript -"), 0);
    assert_non_null(strstr(text_out, "saga-0"));
    assert_non_null(strstr(text_out, "saga-1"));
    assert_non_null(strstr(text_out, "ends COMPLETED"));
    assert_null(strstr(text_out, "FAULT "));
    assert_non_null(strstr(text_out, "\nviolations   0\n"));
}

/* Names, not numbers; every saga that has started has ended, children too. */
static void test_sim_when_told_then_steps_codes_and_acts_have_names(void **state)
{
    (void)state;
    assert_int_equal(
        sim("--saga create-order --seed 3 --runs 1 --sagas 2 --no-faults --transcript -"), 0);
    assert_non_null(strstr(text_out, "call of payment for saga-0: OK, done\n"));
    assert_non_null(strstr(text_out, "an operator resumes the definition\n"));
    assert_null(strstr(text_out, "code 0"));
    assert_null(strstr(text_out, "step \"\""));
}

int main(void)
{
    static const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sim_when_same_seeds_then_same_hash_however_run),
        cmocka_unit_test(test_sim_when_by_kafka_alone_then_no_rule_is_broken),
        cmocka_unit_test(test_sim_when_told_then_transcript_holds_every_saga),
        cmocka_unit_test(test_sim_when_told_then_steps_codes_and_acts_have_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
