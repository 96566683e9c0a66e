/* sagactl certify: the rules of the barrier, asked of a participant in any language. */
#include "client/verbs.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/address.h"
#include "client/conn.h"
#include "client/proto_file.h"
#include "common/sys/clock.h"
#include "saga/v1/health.pb-c.h"
#include "saga/v1/reflection.pb-c.h"
#include "verify/certify/certify.h"

static const struct saga_option certify_options[] = {
    {"saga", "NAME", NULL, "judge the steps of this definition only", false},
    {"call", "METHOD", NULL,
     "package.Service/Method to be judged instead of the schema's definitions; with the --undo at "
     "the same place, or none: --undo -",
     true},
    {"undo", "METHOD", NULL,
     "what undoes the --call at the same place, which must be there; -: nothing does", true},
    {"service", "NAME", NULL,
     "the participant's services; default: what its reflection says, or all of the schema", true},
    {"values", "FILE", NULL, "requests that the participant accepts, as JSON by method", false},
    {"descriptor-set", "FILE", NULL,
     "take the schema from this .proto or FileDescriptorSet instead of asking the participant",
     false},
    SAGA_PROTO_PATH_OPTION,
    {"restart", "COMMAND", NULL,
     "kills the participant and starts it again, in the background (for /bin/sh); without it, or "
     "when the connection does not break, nothing is judged over a restart",
     false},
    {"restart-timeout", "TIME", "30s", "for the command, and until it answers again", false},
    {"probe", "METHOD=JSON", NULL,
     "a method without side effects that tells what effects there are: its answer must not change "
     "by duplicates nor by refused calls; one that a call does not change is not judged by",
     false},
    {"balance", "METHOD=JSON", NULL,
     "a probe whose answer must be the same again when a call was undone (a history's is not); "
     "default for --probe",
     false},
    {"case", "PATTERN", NULL, "run only the cases whose id is like this: 'CERT-B1-*'", false},
    {"list", NULL, "false", "list the cases that would run, and stop", false},
    {"template", NULL, "false", "print a values file to begin with, and stop", false},
    {"rounds", "N", "20", "rounds of the cases that race", false},
    {"at-once", "N", "16", "messages sent at the same time, 2 to 64", false},
    {"seed", "N", NULL, "of generated values and garbage; default: by lot, and told", false},
    {"junit", "FILE", NULL, "write the report as JUnit XML too", false},
    {"strict", NULL, "false", "what could not be judged counts as failed", false},
    {"live-effects", NULL, "false",
     "go on at a participant that has Kafka: what is done there is seen by all who read its topics",
     false},
    {"quiet", NULL, "false", "tell no progress; short -q", false},
    {"verbose", NULL, "false", "tell passed cases too; short -v", false},
};

/* Exit status: nothing failed, but not everything that matters was judged. */
enum { EXIT_UNJUDGED = 3 };

struct certify {
    const struct saga_options *options;
    char address[SAGA_ADDRESS_SIZE_MAX + 1];
    struct saga_schema *schema;
    char **services; /* of reflection */
    size_t service_count;
    bool reflection;
    bool kafka; /* its health tells of one */
    struct saga_certify_steps steps;
    struct saga_certify_values *values;
    struct saga_certify_nng *nng;
    struct saga_certify_config config;
    char *probe_method; /* with its JSON behind it */
    char *balance_method;
    int64_t seed;
};

/* ---- The schema ---- */

static int take_services(struct certify *certify, const Saga__V1__GetDescriptorSetResponse *set)
{
    certify->services = calloc(set->n_services + 1, sizeof *certify->services);
    if (certify->services == NULL) {
        return saga_client_fail("out of memory");
    }
    for (size_t i = 0; i < set->n_services; i++) {
        certify->services[i] = strdup(set->services[i]);
        if (certify->services[i] == NULL) {
            return saga_client_fail("out of memory");
        }
        certify->service_count++;
    }
    return SAGA_EXIT_OK;
}

/* Asks the participant; the schema may have been given, then only its services count. */
static int ask_reflection(struct certify *certify, struct saga_conn *conn)
{
    Saga__V1__GetDescriptorSetRequest message = SAGA__V1__GET_DESCRIPTOR_SET_REQUEST__INIT;
    struct saga_conn_request request = {
        .method = "saga.v1.ReflectionService/GetDescriptorSet",
        .request = &message.base,
        .response_type = &saga__v1__get_descriptor_set_response__descriptor,
    };
    const ProtobufCMessage *response = NULL;
    struct saga_err_detail detail = {{0}};
    int status = saga_conn_call(conn, &request, &response);
    if (status != SAGA_EXIT_OK) {
        return certify->schema != NULL
                   ? SAGA_EXIT_OK
                   : saga_client_fail("it does not tell its schema: give --descriptor-set FILE");
    }
    const Saga__V1__GetDescriptorSetResponse *set =
        (const Saga__V1__GetDescriptorSetResponse *)response;
    certify->reflection = true;
    status = take_services(certify, set);
    struct saga_bytes bytes = {set->descriptor_set.data, set->descriptor_set.len};
    if (status == SAGA_EXIT_OK && certify->schema == NULL &&
        saga_schema_load(bytes, &certify->schema, &detail) != SAGA_ERR_OK) {
        status = saga_client_fail("its descriptor set: %s", detail.text);
    }
    return status;
}

/* Tells whether a participant has Kafka, by what its health says: the part "kafka", in whatever
 * state, unless it says that it is not configured (docs/wire.md). */
static bool has_kafka(const Saga__V1__CheckResponse *health)
{
    static const char none[] = "not configured";
    for (size_t i = 0; i < health->n_parts; i++) {
        const Saga__V1__HealthPart *part = health->parts[i];
        if (strcmp(part->name, "kafka") == 0) {
            return part->state == SAGA__V1__HEALTH_STATE__HEALTH_STATE_SERVING ||
                   strncmp(part->detail, none, sizeof none - 1) != 0;
        }
    }
    return false;
}

static void ask_health(struct certify *certify, struct saga_conn *conn)
{
    Saga__V1__CheckRequest message = SAGA__V1__CHECK_REQUEST__INIT;
    struct saga_conn_request request = {
        .method = "saga.v1.HealthService/Check",
        .request = &message.base,
        .response_type = &saga__v1__check_response__descriptor,
    };
    const ProtobufCMessage *response = NULL;
    /* One without health is judged: CERT-HEALTH tells. */
    if (saga_conn_call(conn, &request, &response) == SAGA_EXIT_OK) {
        certify->kafka = has_kafka((const Saga__V1__CheckResponse *)response);
    }
}

static int certify_schema(struct certify *certify)
{
    const char *path = saga_options_text(certify->options, "descriptor-set");
    struct saga_conn *conn = NULL;
    if (path != NULL) {
        int status = saga_proto_file_schema(certify->options, path, &certify->schema);
        if (status != SAGA_EXIT_OK) {
            return status;
        }
    }
    int status =
        saga_address_open(certify->options, saga_options_operand(certify->options, 0), &conn);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    (void)snprintf(certify->address, sizeof certify->address, "%s", saga_conn_address(conn));
    status = ask_reflection(certify, conn);
    if (status == SAGA_EXIT_OK) {
        ask_health(certify, conn);
    }
    saga_conn_close(conn);
    return status;
}

/* ---- The steps ---- */

static int find_method(const struct certify *certify, const char *name,
                       const struct saga_method **method)
{
    *method = NULL;
    if (strcmp(name, "-") == 0) {
        return SAGA_EXIT_OK;
    }
    *method = saga_schema_method(certify->schema, name);
    if (*method == NULL) {
        return saga_client_usage("%s: there is no such method in the schema", name);
    }
    return SAGA_EXIT_OK;
}

static int given_steps(struct certify *certify)
{
    size_t calls = saga_options_count(certify->options, "call");
    size_t undos = saga_options_count(certify->options, "undo");
    if (undos > calls) {
        /* An undo alone would be asked to undo what nobody has done. */
        return saga_client_usage(
            "--undo %s: --call is needed too, the method that it undoes, at the same place (--call "
            "- only for a step that the saga's starter has done itself)",
            saga_options_at(certify->options, "undo", calls));
    }
    for (size_t i = 0; i < calls; i++) {
        const struct saga_method *call = NULL;
        const struct saga_method *undo = NULL;
        struct saga_err_detail detail = {{0}};
        int status = find_method(certify, saga_options_at(certify->options, "call", i), &call);
        if (status == SAGA_EXIT_OK && i < undos) {
            status = find_method(certify, saga_options_at(certify->options, "undo", i), &undo);
        }
        if (status != SAGA_EXIT_OK) {
            return status;
        }
        if (saga_certify_steps_add(&certify->steps, NULL, call, undo, &detail) != SAGA_ERR_OK) {
            return saga_client_usage("%s", detail.text);
        }
    }
    return SAGA_EXIT_OK;
}

enum { SERVICES_MAX = 256 };

static int found_steps(struct certify *certify)
{
    const char *services[SERVICES_MAX];
    size_t count = 0;
    size_t given = saga_options_count(certify->options, "service");
    struct saga_err_detail detail = {{0}};
    for (size_t i = 0; i < given && count < SERVICES_MAX; i++) {
        services[count++] = saga_options_at(certify->options, "service", i);
        if (saga_schema_service(certify->schema, services[i]) == NULL) {
            return saga_client_usage("--service %s: the schema does not have it", services[i]);
        }
    }
    for (size_t i = 0; given == 0 && i < certify->service_count && count < SERVICES_MAX; i++) {
        services[count++] = certify->services[i];
    }
    for (size_t i = 0;
         count == 0 && i < saga_schema_service_count(certify->schema) && i < SERVICES_MAX; i++) {
        services[i] = saga_schema_service_at(certify->schema, i)->name;
        count += i + 1 == saga_schema_service_count(certify->schema) || i + 1 == SERVICES_MAX
                     ? i + 1
                     : 0;
    }
    enum saga_err err = saga_certify_steps_find(&certify->steps, certify->schema,
                                                saga_options_text(certify->options, "saga"),
                                                services, count, &detail);
    return err == SAGA_ERR_OK ? SAGA_EXIT_OK : saga_client_usage("%s", detail.text);
}

static int certify_steps(struct certify *certify)
{
    bool given = saga_options_count(certify->options, "call") > 0 ||
                 saga_options_count(certify->options, "undo") > 0;
    int status = given ? given_steps(certify) : found_steps(certify);
    if (status == SAGA_EXIT_OK && certify->steps.count == 0) {
        bool own = saga_options_text(certify->options, "descriptor-set") == NULL;
        status = saga_client_usage(
            "no definition of the %s schema has a step at this participant: %s"
            "name its methods with --call METHOD --undo METHOD",
            own ? "participant's own" : "given",
            own ? "give the saga's file, --descriptor-set YOUR_SAGA.proto; or " : "");
    }
    return status;
}

/* ---- Settings ---- */

static int certify_values(struct certify *certify)
{
    const char *path = saga_options_text(certify->options, "values");
    struct saga_buf text = {0};
    struct saga_err_detail detail = {{0}};
    char given[4096];
    int status = SAGA_EXIT_OK;
    if (path != NULL) {
        if (snprintf(given, sizeof given, "@%s", path) >= (int)sizeof given) {
            return saga_client_usage("--values: the path is too long");
        }
        status = saga_client_data(given, &text);
    }
    if (status == SAGA_EXIT_OK &&
        saga_certify_values_make(certify->schema, &certify->steps, saga_buf_view(&text),
                                 (uint64_t)certify->seed, &certify->values,
                                 &detail) != SAGA_ERR_OK) {
        status = saga_client_usage("%s: %s", path == NULL ? "values" : path, detail.text);
    }
    saga_buf_fini(&text);
    return status;
}

/* Takes METHOD=JSON of an option apart; *copy holds both. Without the option *method stays NULL. */
static int take_probe(const struct certify *certify, const char *option, char **copy,
                      const char **method, const char **request)
{
    const char *given = saga_options_text(certify->options, option);
    if (given == NULL) {
        return SAGA_EXIT_OK;
    }
    *copy = strdup(given);
    if (*copy == NULL) {
        return saga_client_fail("out of memory");
    }
    char *equals = strchr(*copy, '=');
    if (equals != NULL) {
        *equals = '\0';
    }
    *method = *copy;
    *request = equals == NULL ? "{}" : equals + 1;
    const struct saga_method *found = saga_schema_method(certify->schema, *method);
    if (found == NULL || !found->no_side_effects) {
        return saga_client_usage("--%s %s: it must be a method of the schema with "
                                 "idempotency_level = NO_SIDE_EFFECTS",
                                 option, *method);
    }
    return SAGA_EXIT_OK;
}

static int certify_probe(struct certify *certify)
{
    struct saga_certify_config *config = &certify->config;
    int status = take_probe(certify, "probe", &certify->probe_method, &config->probe_method,
                            &config->probe_request);
    if (status == SAGA_EXIT_OK) {
        status = take_probe(certify, "balance", &certify->balance_method, &config->balance_method,
                            &config->balance_request);
    }
    if (config->probe_method == NULL) {
        config->probe_method = config->balance_method;
        config->probe_request = config->balance_request;
    }
    return status;
}

static int certify_numbers(struct certify *certify)
{
    const struct saga_options *options = certify->options;
    struct saga_certify_config *config = &certify->config;
    int64_t rounds = 0;
    int64_t at_once = 0;
    if (saga_client_int(options, "rounds", 1, SAGA_CERTIFY_ROUNDS_MAX, &rounds) != SAGA_EXIT_OK ||
        saga_client_int(options, "at-once", 2, SAGA_CERTIFY_AT_ONCE_MAX, &at_once) !=
            SAGA_EXIT_OK ||
        saga_client_duration(options, "timeout", 5000, &config->timeout_ms) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    config->rounds = (size_t)rounds;
    config->at_once = (size_t)at_once;
    saga_random_fill(&config->nonce, sizeof config->nonce);
    if (saga_options_text(options, "seed") != NULL) {
        return saga_client_int(options, "seed", 0, INT64_MAX, &certify->seed);
    }
    uint32_t drawn = 0; /* short, so that it can be typed */
    saga_random_fill(&drawn, sizeof drawn);
    certify->seed = drawn;
    return SAGA_EXIT_OK;
}

static void certify_progress(void *user, const struct saga_certify_result *result, size_t done,
                             size_t total)
{
    const struct certify *certify = user;
    bool terminal = isatty(STDERR_FILENO) == 1;
    if (saga_options_on(certify->options, "quiet")) {
        return;
    }
    fprintf(stderr, "%s[%zu/%zu] %s %s%s%s%s", terminal ? "\r\033[K" : "", done, total,
            saga_certify_verdict_name(result->verdict), result->about->id,
            result->step == NULL ? "" : " ", result->step == NULL ? "" : result->step->name,
            terminal && done < total ? "" : "\n");
}

/* ---- Output ---- */

static int certify_list(const struct certify *certify, bool json)
{
    struct saga_certify_report plan;
    struct saga_table table = {.column_count = 4};
    json_t *array = json ? json_array() : NULL;
    if (saga_certify_plan(&certify->config, &plan) != SAGA_ERR_OK) {
        json_decref(array);
        return saga_client_fail("out of memory");
    }
    if (!json) {
        saga_table_add(&table, "CASE");
        saga_table_add(&table, "RULE");
        saga_table_add(&table, "STEP");
        saga_table_add(&table, "WHAT");
    }
    for (size_t i = 0; i < plan.count; i++) {
        const struct saga_certify_about *about = plan.results[i].about;
        const char *step = plan.results[i].step == NULL ? NULL : plan.results[i].step->name;
        if (json) {
            (void)json_array_append_new(array, json_pack("{s:s,s:s,s:s?,s:s,s:s,s:s}", "id",
                                                         about->id, "rule", about->rule, "step",
                                                         step, "title", about->title, "expected",
                                                         about->expected, "hint", about->hint));
            continue;
        }
        saga_table_add(&table, "%s", about->id);
        saga_table_add(&table, "%s", about->rule);
        saga_table_add(&table, "%s", step == NULL ? "-" : step);
        saga_table_add(&table, "%s", about->title);
    }
    saga_certify_report_fini(&plan);
    return json ? saga_client_print_json(array) : saga_table_print(&table);
}

static int write_junit(const char *path, const struct saga_certify_report *report,
                       const struct saga_certify_head *head)
{
    struct saga_buf text = {0};
    if (saga_certify_report_junit(report, head, &text) != SAGA_ERR_OK) {
        saga_buf_fini(&text);
        return saga_client_fail("out of memory");
    }
    FILE *file = fopen(path, "w");
    bool good = file != NULL && fwrite(text.data, 1, text.size, file) == text.size;
    int code = errno;
    if (file != NULL && fclose(file) != 0) {
        good = false;
        code = errno;
    }
    saga_buf_fini(&text);
    return good ? SAGA_EXIT_OK : saga_client_fail("%s: %s", path, strerror(code));
}

/* Tells whether --strict has something to say. Not every participant ever answers "later", and what
 * cannot come need not be judged. */
static bool certify_lacking(const struct saga_certify_report *report)
{
    for (size_t i = 0; i < report->count; i++) {
        if (report->results[i].verdict == SAGA_CERTIFY_SKIP &&
            strcmp(report->results[i].about->id, "CERT-B6-RETRY") != 0) {
            return true;
        }
    }
    return false;
}

static int certify_report(const struct certify *certify, const struct saga_certify_report *report,
                          bool json)
{
    struct saga_certify_head head = {
        .address = certify->address,
        .seed = (uint64_t)certify->seed,
        .all = saga_options_on(certify->options, "verbose"),
    };
    const char *path = saga_options_text(certify->options, "junit");
    int status = SAGA_EXIT_OK;
    if (json) {
        status = saga_client_print_json(saga_certify_report_json(report, &head));
    } else {
        saga_certify_report_text(report, &head, stdout);
    }
    if (status == SAGA_EXIT_OK && path != NULL) {
        status = write_junit(path, report, &head);
    }
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    enum saga_certify_outcome outcome = saga_certify_outcome(report);
    if (outcome == SAGA_CERTIFY_BROKEN ||
        (saga_options_on(certify->options, "strict") && certify_lacking(report))) {
        return SAGA_EXIT_FAILED;
    }
    return outcome == SAGA_CERTIFY_UNJUDGED ? EXIT_UNJUDGED : SAGA_EXIT_OK;
}

/* ---- The verb ---- */

static int certify_open(struct certify *certify)
{
    const struct saga_options *options = certify->options;
    struct saga_err_detail detail = {{0}};
    struct saga_certify_nng_config nng = {
        .address = certify->address,
        .tls_ca = saga_options_text(options, "tls-ca"),
        .tls_cert = saga_options_text(options, "tls-cert"),
        .tls_key = saga_options_text(options, "tls-key"),
        .restart_command = saga_options_text(options, "restart"),
        .connect_ms_max = certify->config.timeout_ms,
    };
    if (saga_client_duration(options, "restart-timeout", 30000, &nng.restart_ms_max) !=
        SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    if (saga_certify_nng_open(&nng, &certify->nng, &certify->config.port, &detail) != SAGA_ERR_OK) {
        saga_client_warn("%s: %s", certify->address, detail.text);
        return SAGA_EXIT_STATUS + SAGA_CODE_UNAVAILABLE;
    }
    return SAGA_EXIT_OK;
}

/* Calls that no saga decided have effects all the same, and who reads the topics believes them. */
static int certify_live(const struct certify *certify)
{
    if (!certify->kafka) {
        return SAGA_EXIT_OK;
    }
    saga_client_warn("%s has Kafka: what certify does there goes to its topics, and audit verify "
                     "will find effects that nobody decided (S13)",
                     certify->address);
    if (saga_options_on(certify->options, "live-effects")) {
        return SAGA_EXIT_OK;
    }
    return saga_client_usage("start a participant of its own for certify, with a database of its "
                             "own and without Kafka; or, knowing that, give --live-effects");
}

/* A pattern that no case is like would judge nothing. */
static int certify_some(const struct certify *certify)
{
    struct saga_certify_report plan;
    if (saga_certify_plan(&certify->config, &plan) != SAGA_ERR_OK) {
        return saga_client_fail("out of memory");
    }
    size_t count = plan.count;
    saga_certify_report_fini(&plan);
    return count > 0 ? SAGA_EXIT_OK
                     : saga_client_usage("--case %s: no case that applies to this participant has "
                                         "such an id; --list tells them",
                                         certify->config.cases);
}

static int certify_judge(struct certify *certify, bool json)
{
    struct saga_certify_report report = {0};
    struct saga_err_detail detail = {{0}};
    int status = certify_live(certify);
    if (status == SAGA_EXIT_OK) {
        status = certify_open(certify);
    }
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    if (!saga_options_on(certify->options, "quiet")) {
        fprintf(stderr, "%s: %zu steps, seed %" PRId64 "\n", certify->address, certify->steps.count,
                certify->seed);
    }
    enum saga_err err = saga_certify_run(&certify->config, &report, &detail);
    if (err == SAGA_ERR_UNAVAILABLE) {
        saga_client_warn("%s: %s", certify->address, detail.text);
        return SAGA_EXIT_STATUS + SAGA_CODE_UNAVAILABLE;
    }
    if (err != SAGA_ERR_OK) {
        return saga_client_fail("%s", detail.text[0] == '\0' ? saga_err_text(err) : detail.text);
    }
    status = certify_report(certify, &report, json);
    saga_certify_report_fini(&report);
    return status;
}

static int certify_prepare(struct certify *certify)
{
    int status = certify_numbers(certify);
    if (status == SAGA_EXIT_OK) {
        status = certify_schema(certify);
    }
    if (status == SAGA_EXIT_OK) {
        status = certify_steps(certify);
    }
    if (status == SAGA_EXIT_OK) {
        status = certify_values(certify);
    }
    if (status == SAGA_EXIT_OK) {
        status = certify_probe(certify);
    }
    struct saga_certify_config *config = &certify->config;
    config->schema = certify->schema;
    config->steps = &certify->steps;
    config->values = certify->values;
    config->seed = (uint64_t)certify->seed;
    config->cases = saga_options_text(certify->options, "case");
    config->narrowed = saga_options_text(certify->options, "saga") != NULL;
    config->reflection = certify->reflection;
    config->progress = certify_progress;
    config->user = certify;
    return status;
}

static int certify_run(const struct saga_options *options)
{
    if (saga_client_operands(options, 1, 1, "ADDRESS") != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    int json = saga_client_output_json(options);
    struct certify *certify = calloc(1, sizeof *certify);
    if (json < 0 || certify == NULL) {
        free(certify);
        return json < 0 ? SAGA_EXIT_USAGE : saga_client_fail("out of memory");
    }
    certify->options = options;
    int status = certify_prepare(certify);
    if (status == SAGA_EXIT_OK) {
        status = certify_some(certify);
    }
    if (status == SAGA_EXIT_OK && saga_options_on(options, "template")) {
        status =
            saga_client_print_json(saga_certify_values_template(certify->values, &certify->steps));
    } else if (status == SAGA_EXIT_OK && saga_options_on(options, "list")) {
        status = certify_list(certify, json == 1);
    } else if (status == SAGA_EXIT_OK) {
        status = certify_judge(certify, json == 1);
    }
    saga_certify_nng_close(certify->nng);
    saga_certify_values_free(certify->values);
    saga_schema_free(certify->schema);
    for (size_t i = 0; i < certify->service_count; i++) {
        free(certify->services[i]);
    }
    free(certify->services);
    free(certify->probe_method);
    free(certify->balance_method);
    free(certify);
    return status;
}

const struct saga_verb saga_verb_certify = {
    .name = "certify",
    .usage = "ADDRESS [--values FILE] [--restart COMMAND] [--junit FILE]",
    .summary = "checks a participant of any language against the rules of the barrier",
    .epilog =
        "ADDRESS is an NNG URL, or the name of a daemon of endpoints.json. The steps are those of "
        "the definitions in the\nparticipant's schema, or --call and --undo. docs/certify.md tells "
        "every case, and what a values file holds.\n"
        "Calls are made and undone again; what has no undo stays, and no saga decided any of it. "
        "So "
        "use a participant of its own, with a\ndatabase of its own and without Kafka, never one of "
        "a running system.\n\n"
        "Examples:\n"
        "  paymentd --listen ipc:///tmp/try.ipc --data /tmp/try.db --seed seed.json &\n"
        "  sagactl certify ipc:///tmp/try.ipc --template > values.json\n"
        "  sagactl certify ipc:///tmp/try.ipc --values values.json --junit certify.xml\n"
        "  sagactl certify tcp://127.0.0.1:7001 --descriptor-set my_saga.proto --values "
        "values.json\n"
        "  sagactl certify tcp://127.0.0.1:7001 --restart 'kill -9 $(cat pid); ./participant & "
        "echo $! > pid'\n"
        "  sagactl certify tcp://127.0.0.1:7001 --call bank.v1.Bank/Debit --undo "
        "bank.v1.Bank/Refund\n\n"
        "Exit status: 0 certified, or (--case, --saga) what was asked passed; 1 a case failed "
        "(--strict: or was not judged);\n2 wrong usage; 3 nothing failed, but not everything that "
        "matters was judged; 78 nobody answers.",
    .options = certify_options,
    .option_count = sizeof certify_options / sizeof certify_options[0],
    .shorts = "o=output q=quiet v=verbose " SAGA_PROTO_PATH_SHORT,
    .run = certify_run,
};
