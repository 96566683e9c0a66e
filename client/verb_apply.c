/* sagactl apply. */
#include "client/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/apply_topics.h"
#include "client/findings.h"
#include "client/proto_file.h"
#include "client/sagas.h"
#include "common/base/limits.h"
#include "common/wire/wire.h"

static const struct saga_option apply_options[] = {
    {"definition", "NAME", NULL, "only this saga of FILE, with those that run in it; several",
     true},
    {"participant", "SERVICE=URL", NULL,
     "where a service is; several for one service: balanced; replaces what was applied before",
     true},
    {"why", "TEXT", NULL, "why; it is recorded; default: \"apply FILE\"", false},
    {"who", "NAME", NULL, "who; it is recorded; default: USER, LOGNAME, or the user's name", false},
    {"dry-run", NULL, "false", "check and tell what would change; change nothing", false},
    SAGA_NO_TOPICS_OPTION,
    SAGA_TOPICS_PARTITIONS_OPTION(""),
    SAGA_TOPICS_REPLICATION_OPTION(""),
    SAGA_PROTO_PATH_OPTION,
};

enum {
    SET_ROOM = 64 * 1024, /* of a message, for what goes with the set */
    FILE_FIELD = 1,       /* of FileDescriptorSet */
    SOURCE_INFO_FIELD = 9 /* of FileDescriptorProto */
};

/* What the verb works with. */
struct applying {
    const struct saga_options *options;
    const char *file;
    bool json, dry_run, no_topics;
    char who[SAGA_WHO_MAX + 1];
    char why[SAGA_WHY_MAX + 1];
    struct saga_buf set;      /* as it was read */
    struct saga_buf stripped; /* without source info; empty: not needed */
    struct saga_schema *schema;
    char **definitions;
    size_t definition_count;
    Saga__V1__ParticipantAddress *places;
    Saga__V1__ParticipantAddress **place_list;
    char **addresses; /* of all places, place after place */
    size_t place_count;
    char **services; /* of the places; owned */
};

/* ---- What is given ---- */

static int read_texts(struct applying *applying)
{
    const char *why = saga_options_text(applying->options, "why");
    const char *who = saga_client_who(applying->options);
    const char *slash = strrchr(applying->file, '/');
    who = who == NULL ? "unknown" : who;
    if ((why != NULL && strlen(why) > SAGA_WHY_MAX) || strlen(who) > SAGA_WHO_MAX) {
        return saga_client_usage("--why may have %d bytes, --who %d", SAGA_WHY_MAX, SAGA_WHO_MAX);
    }
    snprintf(applying->who, sizeof applying->who, "%s", who);
    if (why != NULL && why[0] != '\0') {
        snprintf(applying->why, sizeof applying->why, "%s", why);
    } else {
        snprintf(applying->why, sizeof applying->why, "apply %.200s",
                 slash == NULL ? applying->file : slash + 1);
    }
    return SAGA_EXIT_OK;
}

static char *dup_text(const char *text, size_t size)
{
    char *copy = malloc(size + 1);
    if (copy != NULL) {
        memcpy(copy, text, size);
        copy[size] = '\0';
    }
    return copy;
}

/* Finds the place of a service, or makes it. NULL: out of memory. */
static Saga__V1__ParticipantAddress *place_of(struct applying *applying, const char *service,
                                              size_t size)
{
    for (size_t i = 0; i < applying->place_count; i++) {
        if (strlen(applying->services[i]) == size &&
            memcmp(applying->services[i], service, size) == 0) {
            return &applying->places[i];
        }
    }
    char *name = dup_text(service, size);
    if (name == NULL) {
        return NULL;
    }
    size_t at = applying->place_count++;
    Saga__V1__ParticipantAddress *place = &applying->places[at];
    saga__v1__participant_address__init(place);
    applying->services[at] = name;
    applying->place_list[at] = place;
    place->service = name;
    place->addresses = &applying->addresses[at * SAGA_ADDRESSES_MAX];
    return place;
}

static int read_places(struct applying *applying)
{
    size_t count = saga_options_count(applying->options, "participant");
    applying->places = calloc(count + 1, sizeof *applying->places);
    applying->place_list = calloc(count + 1, sizeof *applying->place_list);
    applying->services = calloc(count + 1, sizeof *applying->services);
    applying->addresses = calloc((count + 1) * SAGA_ADDRESSES_MAX, sizeof *applying->addresses);
    if (applying->places == NULL || applying->place_list == NULL || applying->services == NULL ||
        applying->addresses == NULL) {
        return saga_client_fail("out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        const char *text = saga_options_at(applying->options, "participant", i);
        const char *equals = strchr(text, '=');
        if (equals == NULL || equals == text || equals[1] == '\0') {
            return saga_client_usage("--participant %s: it must be SERVICE=URL", text);
        }
        Saga__V1__ParticipantAddress *place = place_of(applying, text, (size_t)(equals - text));
        if (place == NULL) {
            return saga_client_fail("out of memory");
        }
        if (place->n_addresses == SAGA_ADDRESSES_MAX) {
            return saga_client_usage("--participant %s: more than %d addresses of the service",
                                     text, SAGA_ADDRESSES_MAX);
        }
        place->addresses[place->n_addresses++] = (char *)(uintptr_t)(equals + 1);
    }
    return SAGA_EXIT_OK;
}

static int read_definitions(struct applying *applying)
{
    size_t count = saga_options_count(applying->options, "definition");
    applying->definitions = calloc(count + 1, sizeof *applying->definitions);
    if (applying->definitions == NULL) {
        return saga_client_fail("out of memory");
    }
    for (size_t i = 0; i < count; i++) {
        const char *name = saga_options_at(applying->options, "definition", i);
        if (saga_schema_decl(applying->schema, name) == NULL) {
            saga_client_warn("%s: there is no saga %s; there are:", applying->file, name);
            for (size_t k = 0; k < saga_schema_decl_count(applying->schema); k++) {
                fprintf(stderr, "  %s\n", saga_schema_decl_at(applying->schema, k)->name);
            }
            return SAGA_EXIT_USAGE;
        }
        applying->definitions[applying->definition_count++] = (char *)(uintptr_t)name;
    }
    return SAGA_EXIT_OK;
}

/* ---- The file ---- */

/* Steals the findings. */
static void print_refused_json(const struct applying *applying, json_t *findings)
{
    (void)saga_client_print_json(json_pack("{s:s,s:s,s:o}", "file", applying->file, "verdict",
                                           "refused", "findings", findings));
}

static int tell_findings(const struct applying *applying)
{
    const struct saga_schema *schema = applying->schema;
    size_t count = saga_schema_finding_count(schema);
    bool source = saga_proto_file_is_source(applying->file);
    struct saga_findings findings = {
        .given = {applying->options, &applying->file, source ? 1 : 0},
    };
    saga_findings_print(&findings, schema, stderr);
    if (count > 0) {
        saga_client_warn("%s: %zu finding%s (docs/lint.md says what to do): nothing is applied",
                         applying->file, count, count == 1 ? "" : "s");
    } else {
        saga_client_warn("%s: it declares no saga; a saga is the option (saga.v1.definition) of "
                         "its context message (saga/v1/options.proto)",
                         applying->file);
    }
    if (applying->json) {
        print_refused_json(applying, saga_findings_json(&findings, schema));
    }
    saga_findings_fini(&findings);
    return SAGA_EXIT_FAILED;
}

/* Reads the file, and says as JSON what protoc refuses. Exit status; the message is printed. */
static int read_file(struct applying *applying)
{
    json_t *errors = applying->json ? json_array() : NULL;
    int status =
        saga_proto_file_read_noting(applying->options, applying->file, &applying->set, errors);
    if (status != SAGA_EXIT_OK && json_array_size(errors) > 0) {
        print_refused_json(applying, errors);
    } else {
        json_decref(errors);
    }
    return status;
}

static enum saga_err append_field(struct saga_buf *out, uint32_t number, struct saga_bytes bytes)
{
    enum saga_err err = saga_buf_reserve(out, 2 * SAGA_VARINT_SIZE_MAX + bytes.size);
    if (err == SAGA_ERR_OK) {
        uint8_t *end = saga_wire_put_bytes(out->data + out->size, number, bytes);
        out->size = (size_t)(end - out->data);
    }
    return err;
}

/* Copies a FileDescriptorProto without where its lines are. */
static enum saga_err strip_file(struct saga_bytes file, struct saga_buf *out)
{
    struct saga_wire_reader reader = saga_wire_read(file);
    struct saga_wire_field field;
    enum saga_err err = SAGA_ERR_OK;
    const uint8_t *from = reader.at;
    while (err == SAGA_ERR_OK && saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD) {
        if (field.number != SOURCE_INFO_FIELD) {
            err = saga_buf_append(out, (struct saga_bytes){from, (size_t)(reader.at - from)});
        }
        from = reader.at;
    }
    return err;
}

/* A set that does not fit into a message goes without source info: findings were told here. */
static int strip_set(struct applying *applying)
{
    struct saga_wire_reader reader = saga_wire_read(saga_buf_view(&applying->set));
    struct saga_wire_field field;
    struct saga_buf file = {0};
    enum saga_err err = SAGA_ERR_OK;
    if (applying->set.size <= SAGA_MESSAGE_SIZE_MAX - SET_ROOM) {
        return SAGA_EXIT_OK;
    }
    while (err == SAGA_ERR_OK && saga_wire_next(&reader, &field) == SAGA_WIRE_NEXT_FIELD) {
        saga_buf_clear(&file);
        if (field.number == FILE_FIELD && field.type == SAGA_WIRE_LEN) {
            err = strip_file(field.bytes, &file);
            err = err == SAGA_ERR_OK
                      ? append_field(&applying->stripped, FILE_FIELD, saga_buf_view(&file))
                      : err;
        }
    }
    saga_buf_fini(&file);
    if (err != SAGA_ERR_OK) {
        return saga_client_fail("out of memory");
    }
    if (applying->stripped.size > SAGA_MESSAGE_SIZE_MAX - SET_ROOM) {
        return saga_client_fail(
            "%s: the descriptor set has %zu bytes without source info, more than %d; leave out "
            "files that its sagas do not import",
            applying->file, applying->stripped.size, SAGA_MESSAGE_SIZE_MAX - SET_ROOM);
    }
    return SAGA_EXIT_OK;
}

static int open_file(struct applying *applying)
{
    struct saga_err_detail detail = {{0}};
    int status = read_file(applying);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    if (saga_schema_load(saga_buf_view(&applying->set), &applying->schema, &detail) !=
        SAGA_ERR_OK) {
        return saga_client_fail("%s: %s", applying->file, detail.text);
    }
    if (saga_schema_finding_count(applying->schema) > 0 ||
        saga_schema_decl_count(applying->schema) == 0) {
        return tell_findings(applying);
    }
    return strip_set(applying);
}

/* ---- What it did ---- */

static const char *outcome_text(Saga__V1__ApplyOutcome outcome, bool dry_run)
{
    switch (outcome) {
    case SAGA__V1__APPLY_OUTCOME__APPLY_OUTCOME_ADDED:
        return dry_run ? "would be added" : "added";
    case SAGA__V1__APPLY_OUTCOME__APPLY_OUTCOME_REPLACED:
        return dry_run ? "would be replaced" : "replaced";
    case SAGA__V1__APPLY_OUTCOME__APPLY_OUTCOME_UNCHANGED:
        return "unchanged";
    case SAGA__V1__APPLY_OUTCOME__APPLY_OUTCOME_RESTORED:
        return dry_run ? "would be restored" : "restored";
    case SAGA__V1__APPLY_OUTCOME__APPLY_OUTCOME_UNSPECIFIED:
    case _SAGA__V1__APPLY_OUTCOME_IS_INT_SIZE:
    default:
        return "?";
    }
}

static const char *outcome_word(Saga__V1__ApplyOutcome outcome)
{
    switch (outcome) {
    case SAGA__V1__APPLY_OUTCOME__APPLY_OUTCOME_ADDED:
        return "ADDED";
    case SAGA__V1__APPLY_OUTCOME__APPLY_OUTCOME_REPLACED:
        return "REPLACED";
    case SAGA__V1__APPLY_OUTCOME__APPLY_OUTCOME_UNCHANGED:
        return "UNCHANGED";
    case SAGA__V1__APPLY_OUTCOME__APPLY_OUTCOME_RESTORED:
        return "RESTORED";
    case SAGA__V1__APPLY_OUTCOME__APPLY_OUTCOME_UNSPECIFIED:
    case _SAGA__V1__APPLY_OUTCOME_IS_INT_SIZE:
    default:
        return "UNSPECIFIED";
    }
}

enum { HASH_TEXT_SIZE = 2 * SAGA_HASH_SIZE + 1 };

static void hash_text(const ProtobufCBinaryData *hash, size_t bytes, char text[HASH_TEXT_SIZE])
{
    text[0] = '\0';
    for (size_t i = 0; i < hash->len && i < bytes; i++) {
        snprintf(text + 2 * i, 3, "%02x", hash->data[i]);
    }
}

static json_t *texts_json(char *const *texts, size_t count)
{
    json_t *array = json_array();
    for (size_t i = 0; i < count; i++) {
        (void)json_array_append_new(array, json_string(texts[i]));
    }
    return array;
}

static json_t *changes_json(const Saga__V1__ApplyDefinitionsResponse *response)
{
    json_t *array = json_array();
    for (size_t i = 0; i < response->n_address_changes; i++) {
        const Saga__V1__AddressChange *change = response->address_changes[i];
        (void)json_array_append_new(array,
                                    json_pack("{s:s,s:o,s:o}", "service", change->service, "before",
                                              texts_json(change->before, change->n_before), "after",
                                              texts_json(change->after, change->n_after)));
    }
    return array;
}

static int print_json(const struct applying *applying,
                      const Saga__V1__ApplyDefinitionsResponse *response,
                      const struct saga_apply_topics *topics)
{
    json_t *definitions = json_array();
    json_t *names = json_array();
    for (size_t i = 0; i < response->n_definitions; i++) {
        const Saga__V1__AppliedDefinition *one = response->definitions[i];
        char hash[HASH_TEXT_SIZE];
        char before[HASH_TEXT_SIZE];
        hash_text(&one->hash, SAGA_HASH_SIZE, hash);
        hash_text(&one->previous_hash, SAGA_HASH_SIZE, before);
        (void)json_array_append_new(
            definitions, json_pack("{s:s,s:s,s:s,s:o,s:I}", "name", one->name, "outcome",
                                   outcome_word(one->outcome), "hash", hash, "previous_hash",
                                   before[0] == '\0' ? json_null() : json_string(before),
                                   "previous_live", (json_int_t)one->previous_live_count));
    }
    json_t *created = json_array();
    for (size_t i = 0; i < topics->list.count; i++) {
        (void)json_array_append_new(names, json_string(topics->list.topics[i].name));
        if (topics->created[i]) {
            (void)json_array_append_new(created, json_string(topics->list.topics[i].name));
        }
    }
    return saga_client_print_json(json_pack(
        "{s:s,s:b,s:o,s:o,s:o,s:o,s:o,s:o}", "file", applying->file, "dry_run",
        (int)applying->dry_run, "definitions", definitions, "address_changes",
        changes_json(response), "services_without_address",
        texts_json(response->services_without_address, response->n_services_without_address),
        "services_overruled",
        texts_json(response->services_overruled, response->n_services_overruled), "topics", names,
        "topics_created", created));
}

/* The options of the command line by which FILE is read, so that a command that is told can be
 * pasted. */
static void print_paths(const struct applying *applying)
{
    for (size_t i = 0; i < saga_options_count(applying->options, "proto-path"); i++) {
        printf(" -I %s", saga_options_at(applying->options, "proto-path", i));
    }
}

static void print_topics(const struct applying *applying, const struct saga_apply_topics *topics)
{
    if (topics->list.count > 0) {
        printf("\nKafka topics%s:\n", topics->ensured ? "" : " that must exist");
    }
    for (size_t i = 0; i < topics->list.count; i++) {
        const char *state = topics->created[i] ? "created" : "was there";
        printf("  %s%s%s\n", topics->list.topics[i].name, topics->ensured ? "  " : "",
               topics->ensured ? state : "");
    }
    if (topics->list.count > 0 && !topics->ensured) {
        printf("What is missing is made by%s sagactl topics apply",
               applying->no_topics ? ":" : " apply itself; without it, by:");
        print_paths(applying);
        printf(" --descriptor-set %s\n", applying->file);
    }
}

static void print_addresses(char *const *addresses, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        printf("%s%s", i == 0 ? "" : ", ", addresses[i]);
    }
    fputs(count == 0 ? "(no address)" : "", stdout);
}

/* They hold for sagas in flight too, so they are told even if no definition changes. */
static void print_changes(const struct applying *applying,
                          const Saga__V1__ApplyDefinitionsResponse *response)
{
    if (response->n_address_changes > 0) {
        printf("\nAddresses that %s, also for sagas in flight:\n",
               applying->dry_run ? "would change" : "have changed");
    }
    for (size_t i = 0; i < response->n_address_changes; i++) {
        const Saga__V1__AddressChange *change = response->address_changes[i];
        printf("  %s: ", change->service);
        print_addresses(change->before, change->n_before);
        fputs(" -> ", stdout);
        print_addresses(change->after, change->n_after);
        putchar('\n');
    }
}

static void print_notes(const struct applying *applying,
                        const Saga__V1__ApplyDefinitionsResponse *response,
                        const struct saga_apply_topics *topics, uint64_t drain)
{
    print_changes(applying, response);
    if (drain > 0) {
        printf("\n%" PRIu64
               " in flight on older versions go on on them. What the new schema breaks "
               "for them:\n  sagactl breaking",
               drain);
        print_paths(applying);
        printf(" --live %s\n", applying->file);
    }
    if (response->n_services_without_address > 0) {
        puts("\nServices without address; their steps wait until it is told where they are:");
    }
    for (size_t i = 0; i < response->n_services_without_address; i++) {
        printf("  sagactl apply");
        print_paths(applying);
        printf(" %s --participant %s=URL\n", applying->file, response->services_without_address[i]);
    }
    for (size_t i = 0; i < response->n_services_overruled; i++) {
        printf("\n%s: the orchestrator was started with its address (--participant), which stands; "
               "the one given is kept for a start without\n",
               response->services_overruled[i]);
    }
    print_topics(applying, topics);
}

static int print_text(const struct applying *applying,
                      const Saga__V1__ApplyDefinitionsResponse *response,
                      const struct saga_apply_topics *topics)
{
    struct saga_table table = {.column_count = 5};
    static const char *const heads[] = {"NAME", "WAS", "IS", "OUTCOME", "ON OLDER"};
    uint64_t drain = 0;
    for (size_t i = 0; i < table.column_count; i++) {
        saga_table_add(&table, "%s", heads[i]);
    }
    for (size_t i = 0; i < response->n_definitions; i++) {
        const Saga__V1__AppliedDefinition *one = response->definitions[i];
        char hash[HASH_TEXT_SIZE];
        hash_text(&one->previous_hash, 6, hash);
        saga_table_add(&table, "%s", one->name);
        saga_table_add(&table, "%s", hash[0] == '\0' ? "-" : hash);
        hash_text(&one->hash, 6, hash);
        saga_table_add(&table, "%s", hash);
        saga_table_add(&table, "%s", outcome_text(one->outcome, applying->dry_run));
        saga_table_add(&table, "%" PRIu64, one->previous_live_count);
        drain += one->previous_live_count;
    }
    int status = saga_table_print(&table);
    if (status == SAGA_EXIT_OK) {
        print_notes(applying, response, topics, drain);
    }
    return status;
}

/* ---- The verb ---- */

/* Asks the orchestrator. *response lives until the next request. */
static int ask(struct applying *applying, struct saga_conn *conn, bool dry_run,
               const Saga__V1__ApplyDefinitionsResponse **response)
{
    Saga__V1__ApplyDefinitionsRequest message = SAGA__V1__APPLY_DEFINITIONS_REQUEST__INIT;
    const struct saga_buf *set = applying->stripped.size > 0 ? &applying->stripped : &applying->set;
    message.descriptor_set = (ProtobufCBinaryData){set->size, set->data};
    message.definitions = applying->definitions;
    message.n_definitions = applying->definition_count;
    message.participants = applying->place_list;
    message.n_participants = applying->place_count;
    message.who = applying->who;
    message.why = applying->why;
    message.dry_run = dry_run;
    struct saga_conn_request request = {
        .method = "saga.v1.OrchestratorService/ApplyDefinitions",
        .request = &message.base,
        .response_type = &saga__v1__apply_definitions_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    int status = saga_conn_call(conn, &request, &answer);
    *response = (const Saga__V1__ApplyDefinitionsResponse *)answer;
    return status;
}

/* Topics are made before sagas can begin that need them, and not for what would be refused. */
static int call(struct applying *applying, struct saga_conn *conn)
{
    const Saga__V1__ApplyDefinitionsResponse *response = NULL;
    struct saga_apply_topics *topics = calloc(1, sizeof *topics);
    if (topics == NULL) {
        return saga_client_fail("out of memory");
    }
    int status = SAGA_EXIT_OK;
    if (!applying->dry_run && !applying->no_topics) {
        status = ask(applying, conn, true, &response);
        if (status == SAGA_EXIT_OK) {
            saga_apply_topics_find(applying->schema, response, topics);
            status = saga_apply_topics_make(applying->options, topics);
        }
    }
    if (status == SAGA_EXIT_OK) {
        status = ask(applying, conn, applying->dry_run, &response);
    }
    if (status == SAGA_EXIT_OK) {
        saga_apply_topics_find(applying->schema, response, topics);
        status = applying->json ? print_json(applying, response, topics)
                                : print_text(applying, response, topics);
    }
    free(topics);
    return status;
}

static void applying_fini(struct applying *applying)
{
    for (size_t i = 0; i < applying->place_count; i++) {
        free(applying->services[i]);
    }
    free(applying->services);
    free(applying->addresses);
    free(applying->place_list);
    free(applying->places);
    free(applying->definitions);
    saga_schema_free(applying->schema);
    saga_buf_fini(&applying->stripped);
    saga_buf_fini(&applying->set);
}

static int run_apply(const struct saga_options *options)
{
    int json = saga_client_output_json(options);
    if (json < 0 || saga_client_operands(options, 1, 1, "FILE with saga definitions") != 0) {
        return SAGA_EXIT_USAGE;
    }
    struct applying applying = {
        .options = options,
        .file = saga_options_operand(options, 0),
        .json = json == 1,
        .dry_run = saga_options_on(options, "dry-run"),
        .no_topics = saga_options_on(options, "no-topics"),
    };
    int status = read_texts(&applying);
    if (status == SAGA_EXIT_OK) {
        status = read_places(&applying);
    }
    if (status == SAGA_EXIT_OK) {
        status = open_file(&applying);
    }
    if (status == SAGA_EXIT_OK) {
        status = read_definitions(&applying);
    }
    struct saga_conn *conn = NULL;
    if (status == SAGA_EXIT_OK) {
        status = saga_conn_open_orchestrator(options, &conn);
    }
    if (status == SAGA_EXIT_OK) {
        status = call(&applying, conn);
    }
    saga_conn_close(conn);
    applying_fini(&applying);
    return status;
}

const struct saga_verb saga_verb_apply = {
    .name = "apply",
    .usage = "FILE [--definition NAME]… [--participant SERVICE=URL]… [--why TEXT] [--no-topics] "
             "[--dry-run]",
    .summary = "check the saga definitions of a file and apply them to a running orchestrator",
    .epilog = SAGA_PROTO_FILE_HELP
    "New sagas begin on what was applied; sagas in flight keep the version that they began "
    "with. All of it or\n"
    "nothing; it holds over restarts. An older version that is applied again is current again. "
    "With a finding\n"
    "(docs/lint.md) nothing is sent. Kafka topics of their services that are missing are made "
    "before "
    "(--no-topics: not).\n"
    "An address that is given counts at once, also for sagas in flight: each that changes is told "
    "(--dry-run: would\n"
    "change); sagactl definitions shows those in use.\n"
    "Addresses are stored, and forgotten once neither a current definition nor one with sagas in "
    "flight calls\n"
    "the service: give them again with the definition that calls it again.\n"
    "Exit status: 0 applied, or nothing to do; 1 a finding, or "
    "no such file; 2\n"
    "wrong usage; 64 + N the orchestrator answered with gRPC status N.\n"
    "\n"
    "  sagactl apply shop.proto --dry-run\n"
    "  sagactl apply shop.proto --participant shop.v1.StockService=tcp://stock:7001 --why "
    "\"stock is reserved\"\n"
    "  sagactl apply shop.binpb --definition book-seats -o json\n",
    .options = apply_options,
    .option_count = sizeof apply_options / sizeof apply_options[0],
    .shorts = "o=output " SAGA_PROTO_PATH_SHORT,
    .run = run_apply,
};
