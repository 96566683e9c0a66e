/* sagactl sim, with a simulator of which the answers are known: this file has its functions. */
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

#include "client/client.h"
#include "client/run.h"
#include "client/sim_report.h"
#include "verify/sim/sim.h"

/* ---- The simulator ---- */

enum { FAULTS = 40 };

/* What the worlds do; set before a run, inherited by the workers. */
static struct {
    uint64_t bad_seed, bad_seed_too; /* break S5 when faults 3 and 17 happen; 0: none */
    uint64_t dying_seed;             /* the process aborts */
    uint64_t failing_seed;           /* the world cannot be run */
    uint64_t stopped_seed;           /* meanwhile sagactl gets this signal: */
    int stop_signal;
    bool stop_in_shrinking; /* not before */
    uint32_t children;      /* of the sagas of each world */
} plan;

struct saga_sim {
    size_t set_size;
};

enum saga_err saga_sim_new(struct saga_bytes descriptor_set, const char *definition,
                           struct saga_sim **sim, struct saga_err_detail *detail)
{
    if (strcmp(definition, "create-order") != 0) {
        return saga_err_set(detail, SAGA_ERR_NOT_FOUND, "no saga %s here", definition);
    }
    *sim = calloc(1, sizeof **sim);
    assert_non_null(*sim);
    (*sim)->set_size = descriptor_set.size;
    return SAGA_ERR_OK;
}

void saga_sim_free(struct saga_sim *sim)
{
    free(sim);
}

const char *saga_sim_fault_name(enum saga_sim_fault kind)
{
    return kind == SAGA_SIM_REQUEST_LOST ? "REQUEST_LOST" : "OTHER";
}

const char *saga_sim_fault_text(enum saga_sim_fault kind)
{
    return kind == SAGA_SIM_REQUEST_LOST ? "a request is lost" : "other";
}

enum saga_sim_fault saga_sim_fault_find(const char *name)
{
    return strcmp(name, "REQUEST_LOST") == 0 ? SAGA_SIM_REQUEST_LOST : SAGA_SIM_FAULT_COUNT;
}

static bool happens(const struct saga_sim_config *config, uint64_t identity)
{
    bool there = !config->has_only;
    for (size_t i = 0; i < config->only_count; i++) {
        there |= config->only[i].identity == identity;
    }
    return there && !config->faults_off;
}

enum saga_err saga_sim_run(struct saga_sim *sim, const struct saga_sim_config *config,
                           struct saga_sim_result *result, struct saga_err_detail *detail)
{
    assert_non_null(sim);
    memset(result, 0, sizeof *result);
    if (plan.failing_seed != 0 && config->seed == plan.failing_seed) {
        return saga_err_set(detail, SAGA_ERR_LIMIT, "too much of everything");
    }
    if (plan.stop_signal != 0 && config->seed == plan.stopped_seed &&
        (!plan.stop_in_shrinking || config->has_only)) {
        (void)kill(getppid(), plan.stop_signal);
    }
    result->fired = calloc(FAULTS, sizeof *result->fired);
    bool three = false;
    bool seventeen = false;
    for (uint64_t i = 0; i < FAULTS; i++) {
        if (happens(config, i)) {
            three |= i == 3;
            seventeen |= i == 17;
            struct saga_sim_fired *fired = &result->fired[result->fired_count++];
            fired->hit = (struct saga_sim_hit){SAGA_SIM_REQUEST_LOST, i};
            fired->at_us = (int64_t)i * 1000;
            (void)snprintf(fired->text, sizeof fired->text, "request %d", (int)i);
            if (i == 3 && config->seed == plan.dying_seed && config->seed != 0 &&
                (config->saga_count == 0 || config->saga_count >= 5)) {
                abort();
            }
            if (config->transcript != NULL) {
                fprintf(config->transcript, "request %d is lost\n", (int)i);
            }
        }
    }
    bool bad = config->seed == plan.bad_seed || config->seed == plan.bad_seed_too;
    result->violated = bad && config->seed != 0 && three && seventeen;
    if (result->violated) {
        strcpy(result->rule, "S5");
        strcpy(result->violation, "saga 4: \"payment\" undone after the pivot");
        result->violated_at_us = 17000;
    }
    result->trace_hash = config->seed * 1000 + result->fired_count;
    result->started = config->saga_count == 0 ? SAGA_SIM_SAGAS_DEFAULT : config->saga_count;
    result->completed = result->started - 1;
    result->compensated = 1;
    result->children = plan.children;
    result->virtual_ms = 60000;
    result->fired_by_kind[SAGA_SIM_REQUEST_LOST] = result->fired_count;
    return SAGA_ERR_OK;
}

void saga_sim_result_fini(struct saga_sim_result *result)
{
    free(result->fired);
    memset(result, 0, sizeof *result);
}

/* ---- Running the verb ---- */

static char text_out[1 << 20];
static char text_err[1 << 16];

static void read_back(FILE *file, char *to, size_t size)
{
    rewind(file);
    size_t got = fread(to, 1, size - 1, file);
    to[got] = '\0';
    (void)fclose(file);
}

/* Runs `sagactl sim ARGUMENTS` in a process of its own; gives its exit status. */
static int sim(const char *arguments)
{
    FILE *out = tmpfile();
    FILE *err = tmpfile();
    assert_true(out != NULL && err != NULL);
    (void)fflush(NULL);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        char line[1024];
        char *argv[64] = {(char *)"sagactl", (char *)"sim"};
        int argc = 2;
        (void)snprintf(line, sizeof line, "%s", arguments);
        char *rest = NULL;
        for (char *word = strtok_r(line, " ", &rest); word != NULL && argc < 60;
             word = strtok_r(NULL, " ", &rest)) {
            argv[argc++] = word;
        }
        (void)signal(SIGPIPE, SIG_IGN);
        (void)dup2(fileno(out), STDOUT_FILENO);
        (void)dup2(fileno(err), STDERR_FILENO);
        int status = saga_client_run(argc, argv);
        (void)fflush(NULL);
        _exit(status);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    read_back(out, text_out, sizeof text_out);
    read_back(err, text_err, sizeof text_err);
    return WEXITSTATUS(status);
}

static void assert_says(const char *text)
{
    if (strstr(text_out, text) == NULL) {
        fail_msg("\"%s\" is not in:\n%s%s", text, text_out, text_err);
    }
}

static json_t *sim_json(const char *arguments, int expected)
{
    char line[1024];
    json_error_t error;
    (void)snprintf(line, sizeof line, "%s -o json", arguments);
    assert_int_equal(sim(line), expected);
    json_t *object = json_loads(text_out, 0, &error);
    if (object == NULL) {
        fail_msg("%s: %s%s", error.text, text_out, text_err);
    }
    return object;
}

static int64_t number_at(const json_t *object, const char *name)
{
    const json_t *value = json_object_get(object, name);
    assert_true(json_is_integer(value));
    return json_integer_value(value);
}

static const char *text_at(const json_t *object, const char *name)
{
    const char *value = json_string_value(json_object_get(object, name));
    assert_non_null(value);
    return value;
}

static int setup(void **state)
{
    (void)state;
    memset(&plan, 0, sizeof plan);
    return 0;
}

/* ---- The tests ---- */

static void test_sim_when_nothing_is_broken_then_summary_and_zero(void **state)
{
    (void)state;
    assert_int_equal(sim("--saga create-order --runs 10 --seed 5 -j 3"), 0);
    assert_says("seeds        5 to 14, trace hash ");
    assert_says("sagas        1280 ");
    assert_says("ends         1270 completed, 10 compensated, 0 not ended");
    assert_says("faults       400 of 1 kinds");
    assert_says("       400  REQUEST_LOST               a request is lost");
    assert_says("violations   0");
}

static void test_sim_when_run_with_other_processes_then_same_hash(void **state)
{
    (void)state;
    char hash[32];
    json_t *one = sim_json("--saga create-order --runs 50 -j 1", 0);
    (void)snprintf(hash, sizeof hash, "%s", text_at(one, "trace_hash"));
    json_decref(one);
    static const char *const same[] = {"--saga create-order --runs 50 -j 4",
                                       "--saga create-order --runs 50 -j 200"};
    for (size_t i = 0; i < 2; i++) {
        json_t *object = sim_json(same[i], 0);
        assert_string_equal(text_at(object, "trace_hash"), hash);
        assert_int_equal(number_at(object, "runs"), 50);
        assert_int_equal(number_at(object, "sagas"), 50 * 128);
        json_decref(object);
    }
    json_t *other = sim_json("--saga create-order --runs 50 --seed 2 -j 4", 0);
    assert_string_not_equal(text_at(other, "trace_hash"), hash);
    json_decref(other);
    json_t *single = sim_json("--saga create-order --runs 1 --seed 7", 0);
    assert_string_equal(text_at(single, "trace_hash"), "0000000000001b80"); /* the world's own */
    json_decref(single);
}

static void test_sim_when_a_rule_breaks_then_first_seed_shrunk_and_one(void **state)
{
    (void)state;
    plan.bad_seed = 33;
    plan.bad_seed_too = 21;
    static const char *const lines[] = {"--saga create-order --runs 60 -j 1",
                                        "--saga create-order --runs 60 -j 7"};
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(sim(lines[i]), 1);
        assert_says("Seed 21 breaks S5 at 0.017000 s: saga 4: \"payment\" undone after the pivot");
        assert_says(
            "from 40 faults and 128 sagas to 2 and 1; none of these faults can be left out");
        assert_says("0.003000 s  REQUEST_LOST               request 3\n");
        assert_says("request 3 is lost\nrequest 17 is lost\n");
        assert_says("To run it again: sagactl sim --saga create-order --seed 21 --runs 1 --sagas 1 "
                    "--faults-for ");
        assert_says(" --only REQUEST_LOST:3 --only REQUEST_LOST:11\n");
    }
}

static void test_sim_when_the_command_is_run_then_same_violation(void **state)
{
    (void)state;
    plan.bad_seed = 21;
    json_t *object = sim_json("--saga create-order --runs 60", 1);
    const json_t *violation = json_object_get(object, "violation");
    const char *command = text_at(violation, "command");
    static const char prefix[] = "sagactl sim ";
    assert_memory_equal(command, prefix, strlen(prefix));
    json_t *again = sim_json(command + strlen(prefix), 1);
    const json_t *same = json_object_get(again, "violation");
    assert_string_equal(text_at(same, "rule"), "S5");
    assert_string_equal(text_at(same, "command"), command);
    assert_string_equal(text_at(again, "trace_hash"),
                        text_at(json_object_get(violation, "shrunk"), "trace_hash"));
    assert_string_equal(text_at(violation, "transcript"),
                        "request 3 is lost\nrequest 17 is lost\n");
    json_decref(object);
    json_decref(again);
}

static void test_sim_when_told_to_keep_going_then_all_violations_counted(void **state)
{
    (void)state;
    plan.bad_seed = 33;
    plan.bad_seed_too = 21;
    json_t *object = sim_json("--saga create-order --runs 60 --keep-going --no-shrink -j 3", 1);
    assert_int_equal(number_at(object, "runs"), 60);
    assert_int_equal(number_at(object, "violations"), 2);
    assert_int_equal(number_at(json_object_get(object, "violation"), "seed"), 21);
    assert_null(json_object_get(json_object_get(object, "violation"), "shrunk"));
    json_decref(object);
}

static void test_sim_when_sagas_have_children_then_each_counts_once(void **state)
{
    (void)state;
    plan.children = 3;
    assert_int_equal(sim("--saga create-order --runs 2 -j 1 --sagas 10"), 0);
    assert_says("sagas        20 (6 of them children)\n");
    assert_says("ends         18 completed, 2 compensated, 0 not ended\n");
    assert_says(" by 1 process;");
    json_t *object = sim_json("--saga create-order --runs 2 --sagas 10", 0);
    assert_int_equal(number_at(object, "sagas"),
                     number_at(object, "completed") + number_at(object, "compensated"));
    json_decref(object);
}

static void test_sim_when_it_begins_then_its_seed_is_told(void **state)
{
    (void)state;
    assert_int_equal(sim("--saga create-order --seed 7 --runs 1 -j 4"), 0);
    assert_string_equal(text_err, "sagactl sim: create-order, --seed 7 -j 1, 1 world\n");
    json_t *object = sim_json("--saga create-order --seed fresh --runs 3 --seconds 9 -j 2", 0);
    char line[128];
    (void)snprintf(line, sizeof line,
                   "sagactl sim: create-order, --seed %lld -j 2, 3 worlds, 9 s\n",
                   (long long)number_at(object, "seed"));
    assert_string_equal(text_err, line);
    json_decref(object);
}

static void test_sim_when_interrupted_then_what_there_is_and_the_signal(void **state)
{
    (void)state;
    static const int signals[] = {SIGINT, SIGTERM};
    for (size_t i = 0; i < 2; i++) {
        plan.stop_signal = signals[i];
        plan.stopped_seed = 40;
        assert_int_equal(sim("--saga create-order --seed 5 -j 2 --runs 1000000000"),
                         128 + signals[i]);
        assert_says("seeds        5 to ");
        assert_says(" of these worlds had ended");
        assert_says("violations   0\n");
        json_t *object =
            sim_json("--saga create-order --seed 5 -j 2 --runs 1000000000", 128 + signals[i]);
        assert_true(number_at(object, "begun") >= 36);
        assert_true(json_is_true(json_object_get(object, "interrupted")));
        json_decref(object);
    }
}

static void test_sim_when_interrupted_while_shrinking_then_seed_and_command(void **state)
{
    (void)state;
    plan.bad_seed = 7;
    plan.stopped_seed = 7;
    plan.stop_signal = SIGTERM;
    plan.stop_in_shrinking = true;
    assert_int_equal(sim("--saga create-order --seed 7 -j 1 --runs 1"), 143);
    assert_says("Seed 7 breaks S5");
    assert_says("It could not be shrunk: interrupted\n");
    assert_says("To run it again: sagactl sim --saga create-order --seed 7 --runs 1\n");
}

static void test_sim_when_no_time_for_faults_then_none(void **state)
{
    (void)state;
    assert_int_equal(sim("--saga create-order --runs 2 --faults-for 0s"), 0);
    assert_says("faults       0 of 0 kinds");
}

static void test_sim_when_two_worlds_are_bad_then_both_seeds_are_told(void **state)
{
    (void)state;
    plan.bad_seed = 33;
    plan.bad_seed_too = 21;
    assert_int_equal(sim("--saga create-order --runs 60 --keep-going -j 3"), 1);
    assert_says("violations   2: seeds 21, 33; the first is told below\n");
    assert_says("\nSeed 21 breaks S5");
    json_t *object = sim_json("--saga create-order --runs 60 --keep-going --no-shrink", 1);
    const json_t *seeds = json_object_get(object, "bad_seeds");
    assert_int_equal(json_array_size(seeds), 2);
    assert_int_equal(json_integer_value(json_array_get(seeds, 1)), 33);
    json_decref(object);
}

static void test_sim_when_a_world_dies_then_its_seed_is_named(void **state)
{
    (void)state;
    plan.dying_seed = 9;
    assert_int_equal(sim("--saga create-order --runs 20 -j 2"), 1);
    assert_says("Seed 9: the simulator's process died (signal 6)");
    assert_says("runs from 128 sagas to 5; the faults of a world whose process dies are");
    assert_says("request 2 is lost\n\nTo run it again: sagactl sim --saga create-order --seed 9 "
                "--runs 1 --sagas 5 --faults-for ");
    assert_int_equal(sim("--saga create-order --runs 20 -j 2 --no-shrink"), 1);
    assert_says("To run it again: sagactl sim --saga create-order --seed 9 --runs 1\n");
}

static void test_sim_when_a_world_cannot_be_run_then_error_names_the_seed(void **state)
{
    (void)state;
    plan.failing_seed = 9;
    assert_int_equal(sim("--saga create-order --runs 20 -j 2"), 1);
    assert_non_null(strstr(text_err, "seed 9: too much of everything"));
}

static void test_sim_when_time_is_over_then_ends(void **state)
{
    (void)state;
    json_t *object = sim_json("--saga create-order --seconds 1 --seed fresh -j 2", 0);
    assert_true(number_at(object, "runs") > 10);
    assert_true(number_at(object, "seed") > 1000000);
    json_decref(object);
}

static void
test_sim_when_no_world_breaks_a_rule_then_transcript_is_not_written_and_it_says_so(void **state)
{
    (void)state;
    assert_int_equal(sim("--saga create-order --runs 3 --transcript /nonexistent/story"), 0);
    assert_non_null(strstr(text_err, "--transcript /nonexistent/story: nothing was written; no "
                                     "world broke a rule"));
    assert_int_equal(sim("--saga create-order --runs 3"), 0);
    assert_null(strstr(text_err, "nothing was written"));
    plan.bad_seed = 2;
    assert_int_equal(sim("--saga create-order --runs 3 --no-shrink --transcript /nonexistent/s"),
                     1);
    assert_non_null(strstr(text_err, "no shortest story was found or asked for"));
}

static void test_sim_when_one_world_is_told_then_transcript_on_stdout_or_in_file(void **state)
{
    (void)state;
    assert_int_equal(sim("--saga create-order --runs 1 --only REQUEST_LOST:5 --transcript -"), 0);
    assert_memory_equal(text_out, "request 5 is lost\nsaga  ", 24);
    char path[] = "/tmp/saga-sim-XXXXXX";
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    char line[256];
    plan.bad_seed = 1;
    (void)snprintf(line, sizeof line, "--saga create-order --runs 1 --transcript %s", path);
    assert_int_equal(sim(line), 1);
    (void)snprintf(line, sizeof line, "Its transcript is in %s.", path);
    assert_says(line);
    assert_null(strstr(text_err, "nothing was written"));
    char bytes[256] = {0};
    assert_true(read(fd, bytes, sizeof bytes - 1) > 0);
    assert_string_equal(bytes, "request 3 is lost\nrequest 17 is lost\n");
    (void)close(fd);
    (void)unlink(path);
}

static void test_sim_when_used_wrongly_then_two_and_what_to_do(void **state)
{
    (void)state;
    static const char *const lines[][2] = {
        {"", "--saga NAME is needed"},
        {"--saga nothing", "create-order"},
        {"--saga create-order --runs 0", "--runs"},
        {"--saga create-order --runs x", "--runs"},
        {"--saga create-order --seed -1", "--seed -1: it must be a whole number from 0 to 9e18"},
        {"--saga create-order --seed 9000000000000000001", "from 0 to 9e18, or fresh"},
        {"--saga create-order --seed x", "--seed x"},
        {"--saga create-order --heal-for 0s", "--heal-for"},
        {"--saga create-order -j 0", "--processes"},
        {"--saga create-order -j 100000", "--processes"},
        {"--saga create-order --sagas 1000000", "--sagas"},
        {"--saga create-order --seconds 0", "--seconds"},
        {"--saga create-order --faults-for soon", "--faults-for"},
        {"--saga create-order --only NOTHING:1", "REQUEST_LOST:1f"},
        {"--saga create-order --only REQUEST_LOST:", "REQUEST_LOST:1f"},
        {"--saga create-order --only REQUEST_LOST:12345678901234567", "REQUEST_LOST:1f"},
        {"--saga create-order --shrink-runs 0", "--shrink-runs"},
        {"a b --saga create-order", "too many arguments"},
        {"--saga create-order --no-such", "--no-such"},
    };
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        assert_int_equal(sim(lines[i][0]), 2);
        if (strstr(text_err, lines[i][1]) == NULL) {
            fail_msg("%s: \"%s\" is not in: %s", lines[i][0], lines[i][1], text_err);
        }
    }
    assert_int_equal(sim("/nonexistent/shop.proto --saga create-order"), 1);
    assert_non_null(strstr(text_err, "/nonexistent/shop.proto"));
    assert_int_equal(sim("/nonexistent/x.binpb --saga create-order"), 1);
    assert_non_null(strstr(text_err, "/nonexistent/x.binpb"));
    assert_int_equal(sim("--saga create-order --runs 1 --transcript /nonexistent/x"), 1);
    assert_non_null(strstr(text_err, "/nonexistent/x"));
}

static void test_sim_when_asked_for_help_then_examples(void **state)
{
    (void)state;
    assert_int_equal(sim("--help"), 0);
    assert_says("Examples:");
    assert_says("--seconds");
    assert_says("Exit status: 0 no rule was broken; 1 ");
}

static void test_fault_when_written_and_read_then_same(void **state)
{
    (void)state;
    const struct saga_sim_hit hit = {SAGA_SIM_REQUEST_LOST, UINT64_MAX};
    struct saga_sim_hit back = {0};
    char text[SAGA_SIM_HIT_TEXT_SIZE];
    saga_sim_hit_text(&hit, text);
    assert_string_equal(text, "REQUEST_LOST:ffffffffffffffff");
    assert_true(saga_sim_hit_parse(text, &back));
    assert_true(back.identity == UINT64_MAX && back.kind == SAGA_SIM_REQUEST_LOST);
}

#define CASE(test) cmocka_unit_test_setup(test, setup)

int main(void)
{
    static const struct CMUnitTest tests[] = {
        CASE(test_sim_when_nothing_is_broken_then_summary_and_zero),
        CASE(test_sim_when_run_with_other_processes_then_same_hash),
        CASE(test_sim_when_a_rule_breaks_then_first_seed_shrunk_and_one),
        CASE(test_sim_when_the_command_is_run_then_same_violation),
        CASE(test_sim_when_told_to_keep_going_then_all_violations_counted),
        CASE(test_sim_when_sagas_have_children_then_each_counts_once),
        CASE(test_sim_when_it_begins_then_its_seed_is_told),
        CASE(test_sim_when_interrupted_then_what_there_is_and_the_signal),
        CASE(test_sim_when_interrupted_while_shrinking_then_seed_and_command),
        CASE(test_sim_when_no_time_for_faults_then_none),
        CASE(test_sim_when_two_worlds_are_bad_then_both_seeds_are_told),
        CASE(test_sim_when_a_world_dies_then_its_seed_is_named),
        CASE(test_sim_when_a_world_cannot_be_run_then_error_names_the_seed),
        CASE(test_sim_when_time_is_over_then_ends),
        CASE(test_sim_when_no_world_breaks_a_rule_then_transcript_is_not_written_and_it_says_so),
        CASE(test_sim_when_one_world_is_told_then_transcript_on_stdout_or_in_file),
        CASE(test_sim_when_used_wrongly_then_two_and_what_to_do),
        CASE(test_sim_when_asked_for_help_then_examples),
        CASE(test_fault_when_written_and_read_then_same),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
