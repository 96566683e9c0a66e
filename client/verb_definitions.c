/* sagactl definitions, remove: the versions of saga definitions that an orchestrator has. */
#include "client/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/definition_pages.h"
#include "client/sagas.h"
#include "common/base/limits.h"
#include "common/sys/clock.h"

static const struct saga_option definitions_options[] = {
    {"history", NULL, "false", "also versions that are neither current nor have sagas in flight",
     false},
};

static const struct saga_option remove_options[] = {
    {"why", "TEXT", NULL, "why; it is recorded; required", false},
    {"who", "NAME", NULL, "who; it is recorded; default: USER, LOGNAME, or the user's name", false},
    {"wait", "TIME", NULL, "wait until the last saga of it has ended, at most so long", false},
};

/* What a version is now. */
static const char *state_of(const Saga__V1__DefinitionView *view)
{
    if (view->current) {
        return "current";
    }
    if (view->removed) {
        return view->live_count > 0 ? "removed, drains" : "removed";
    }
    return view->live_count > 0 ? "old, drains" : "old";
}

/* ---- definitions ---- */

static json_t *definition_json(const Saga__V1__DefinitionView *view)
{
    json_t *steps = json_array();
    char hash[2 * SAGA_HASH_SIZE + 1] = "";
    char created[SAGA_TIME_TEXT_SIZE];
    for (size_t i = 0; i < view->hash.len && i < SAGA_HASH_SIZE; i++) {
        snprintf(hash + 2 * i, 3, "%02x", view->hash.data[i]);
    }
    for (size_t i = 0; i < view->n_steps; i++) {
        (void)json_array_append_new(steps, json_string(view->steps[i]));
    }
    json_t *participants = json_array();
    for (size_t i = 0; i < view->n_participants; i++) {
        const Saga__V1__ParticipantAddress *place = view->participants[i];
        json_t *addresses = json_array();
        for (size_t j = 0; j < place->n_addresses; j++) {
            (void)json_array_append_new(addresses, json_string(place->addresses[j]));
        }
        (void)json_array_append_new(participants, json_pack("{s:s,s:o}", "service", place->service,
                                                            "addresses", addresses));
    }
    saga_client_time_text(view->created_unix_ms, created);
    return json_pack("{s:s,s:s,s:s,s:b,s:b,s:s,s:I,s:s,s:o,s:o,s:o}", "name", view->name, "hash",
                     hash, "context_type", view->context_type, "current", (int)view->current,
                     "removed", (int)view->removed, "state", state_of(view), "live",
                     (json_int_t)view->live_count, "created", created, "pause",
                     saga_view_pause_json(view->pause), "steps", steps, "participants",
                     participants);
}

/* What is shown of a listing: JSON, or a table. */
struct showing {
    json_t *array; /* NULL: a table */
    struct saga_table table;
    struct saga_table places;
    size_t count;
};

/* Adds the services of a version that are not in the table yet. */
static void add_places(struct saga_table *table, const Saga__V1__DefinitionView *view)
{
    for (size_t i = 0; i < view->n_participants; i++) {
        const Saga__V1__ParticipantAddress *place = view->participants[i];
        char addresses[SAGA_ADDRESSES_MAX * (SAGA_ADDRESS_SIZE_MAX + 1) + 1] = "";
        bool told = false;
        for (size_t k = 0; k < table->cell_count && !told; k += table->column_count) {
            told = table->cells[k] != NULL && strcmp(table->cells[k], place->service) == 0;
        }
        for (size_t j = 0; j < place->n_addresses && j < SAGA_ADDRESSES_MAX; j++) {
            size_t used = strlen(addresses);
            snprintf(addresses + used, sizeof addresses - used, "%s%.255s", j == 0 ? "" : " ",
                     place->addresses[j]);
        }
        if (!told) {
            saga_table_add(table, "%s", place->service);
            saga_table_add(table, "%s", addresses[0] == '\0' ? "none: its steps wait" : addresses);
        }
    }
}

static void add_heads(struct saga_table *table)
{
    static const char *const heads[] = {"NAME",   "VERSION", "STATE", "LIVE",
                                        "PAUSED", "CREATED", "STEPS"};
    for (size_t i = 0; i < table->column_count; i++) {
        saga_table_add(table, "%s", heads[i]);
    }
}

static void add_row(struct saga_table *table, const Saga__V1__DefinitionView *view)
{
    char hash[13] = "";
    char steps[512] = "";
    char created[SAGA_TIME_TEXT_SIZE];
    char pause[SAGA_WHO_MAX + SAGA_WHY_MAX + 64];
    for (size_t k = 0; k < view->hash.len && k < 6; k++) {
        snprintf(hash + 2 * k, 3, "%02x", view->hash.data[k]);
    }
    for (size_t k = 0; k < view->n_steps; k++) {
        size_t used = strlen(steps);
        snprintf(steps + used, sizeof steps - used, "%s%s", k == 0 ? "" : " ", view->steps[k]);
    }
    saga_view_pause_text(view->pause, pause, sizeof pause);
    saga_client_time_text(view->created_unix_ms, created);
    saga_table_add(table, "%s", view->name);
    saga_table_add(table, "%s", hash);
    saga_table_add(table, "%s", state_of(view));
    saga_table_add(table, "%" PRIu64, view->live_count);
    saga_table_add(table, "%s", pause[0] == '\0' ? "no" : pause);
    saga_table_add(table, "%s", created);
    saga_table_add(table, "%s", steps[0] == '\0' ? "-" : steps);
}

static int show_definition(void *user, const Saga__V1__DefinitionView *view)
{
    struct showing *showing = user;
    showing->count += 1;
    if (showing->array == NULL) {
        add_row(&showing->table, view);
        add_places(&showing->places, view);
        return SAGA_EXIT_OK;
    }
    return json_array_append_new(showing->array, definition_json(view)) == 0
               ? SAGA_EXIT_OK
               : saga_client_fail("out of memory");
}

static void drop_table(struct saga_table *table)
{
    for (size_t i = 0; i < table->cell_count; i++) {
        free(table->cells[i]);
    }
    free(table->cells);
}

/* Prints what was gathered when all went well; lets it go either way. */
static int print_shown(struct showing *showing, int status)
{
    if (status != SAGA_EXIT_OK) {
        json_decref(showing->array);
        drop_table(&showing->table);
        drop_table(&showing->places);
        return status;
    }
    if (showing->array != NULL) {
        return saga_client_print_json(showing->array);
    }
    status = saga_table_print(&showing->table);
    if (status != SAGA_EXIT_OK || showing->places.cell_count <= showing->places.column_count) {
        drop_table(&showing->places); /* nothing but its heads */
        return status;
    }
    putchar('\n');
    return saga_table_print(&showing->places);
}

static int definitions_run(const struct saga_options *options)
{
    int json = saga_client_output_json(options);
    if (json < 0 || saga_client_operands(options, 0, 1, "[NAME]") != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    const char *name =
        saga_options_operand_count(options) > 0 ? saga_options_operand(options, 0) : NULL;
    struct saga_definition_list list = {name, saga_options_on(options, "history")};
    struct showing showing = {.table = {.column_count = 7}, .places = {.column_count = 2}};
    struct saga_conn *conn = NULL;
    int status = saga_conn_open_orchestrator(options, &conn);
    if (status == SAGA_EXIT_OK && json == 1) {
        showing.array = json_array();
        status = showing.array == NULL ? saga_client_fail("out of memory") : SAGA_EXIT_OK;
    }
    if (status == SAGA_EXIT_OK) {
        if (json == 0) {
            add_heads(&showing.table);
            saga_table_add(&showing.places, "SERVICE");
            saga_table_add(&showing.places, "ADDRESSES IN USE");
        }
        status = saga_definitions_each(conn, &list, show_definition, &showing);
    }
    if (status == SAGA_EXIT_OK && name != NULL && showing.count == 0) {
        saga_client_warn("%s: there is no such saga definition", name);
        status = SAGA_EXIT_STATUS + SAGA_CODE_NOT_FOUND;
    }
    status = print_shown(&showing, status);
    saga_conn_close(conn);
    return status;
}

const struct saga_verb saga_verb_definitions = {
    .name = "definitions",
    .usage = "[NAME] [--history] [-o json]",
    .summary = "list the versions of saga definitions and how many sagas are in flight on each",
    .epilog =
        "current: new sagas begin on it. old, drains: sagas that began with it are in flight, or "
        "others run it\n"
        "as a step. removed: none starts any more (sagactl apply brings it back). Below: the "
        "services that they call,\n"
        "and where (with -o json: participants of each version).\n"
        "\n"
        "  sagactl definitions                        what there is\n"
        "  sagactl definitions create-order --history -o json\n",
    .options = definitions_options,
    .option_count = sizeof definitions_options / sizeof definitions_options[0],
    .shorts = "o=output",
    .run = definitions_run,
};

/* ---- remove ---- */

enum { REMOVE_LOOK_MS = 250, REMOVE_TELL_MS = 2000 };

/* What is sent. */
struct removing {
    char definition[SAGA_DEFINITION_NAME_MAX + 1];
    char who[SAGA_WHO_MAX + 1];
    char why[SAGA_WHY_MAX + 1];
    int64_t wait_ms; /* -1: do not */
    bool json;
};

static int read_removing(const struct saga_options *options, struct removing *removing)
{
    int json = saga_client_output_json(options);
    if (json < 0 || saga_client_operands(options, 1, 1, "NAME of the saga definition") != 0) {
        return SAGA_EXIT_USAGE;
    }
    const char *name = saga_options_operand(options, 0);
    const char *why = saga_options_text(options, "why");
    const char *who = saga_client_who(options);
    who = who == NULL ? "unknown" : who;
    if (why == NULL || why[0] == '\0') {
        return saga_client_usage(
            "missing: --why TEXT; an operator's act is recorded with its reason");
    }
    if (strlen(name) > SAGA_DEFINITION_NAME_MAX) {
        return saga_client_usage("NAME may have %d bytes", SAGA_DEFINITION_NAME_MAX);
    }
    if (strlen(why) > SAGA_WHY_MAX || strlen(who) > SAGA_WHO_MAX) {
        return saga_client_usage("--why may have %d bytes, --who %d", SAGA_WHY_MAX, SAGA_WHO_MAX);
    }
    snprintf(removing->definition, sizeof removing->definition, "%s", name);
    snprintf(removing->who, sizeof removing->who, "%s", who);
    snprintf(removing->why, sizeof removing->why, "%s", why);
    removing->json = json == 1;
    return saga_client_duration(options, "wait", -1, &removing->wait_ms);
}

static int remove_call(struct saga_conn *conn, struct removing *removing, bool *changed,
                       uint64_t *live)
{
    Saga__V1__RemoveDefinitionRequest message = SAGA__V1__REMOVE_DEFINITION_REQUEST__INIT;
    message.definition = removing->definition;
    message.who = removing->who;
    message.why = removing->why;
    struct saga_conn_request request = {
        .method = "saga.v1.OrchestratorService/RemoveDefinition",
        .request = &message.base,
        .response_type = &saga__v1__remove_definition_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    int status = saga_conn_call(conn, &request, &answer);
    if (status == SAGA_EXIT_OK) {
        const Saga__V1__RemoveDefinitionResponse *response =
            (const Saga__V1__RemoveDefinitionResponse *)answer;
        *changed = response->changed;
        *live = response->live_count;
    }
    return status;
}

static void print_removed(const struct removing *removing, bool changed, uint64_t live)
{
    if (removing->json) {
        return; /* told at the end */
    }
    printf(changed ? "%s is removed: no saga of it starts any more" : "%s was removed already",
           removing->definition);
    if (live == 0) {
        puts("; none is in flight");
    } else {
        printf("; %" PRIu64 " in flight go%s on to %s end\n", live, live == 1 ? "es" : "",
               live == 1 ? "its" : "their");
    }
    fflush(stdout);
}

static int add_live(void *user, const Saga__V1__DefinitionView *view)
{
    uint64_t *live = user;
    *live += view->live_count;
    return SAGA_EXIT_OK;
}

/* Looks until nothing is in flight, or the time is over. */
static int drain(struct saga_conn *conn, const struct removing *removing, uint64_t *live)
{
    int64_t end_us = saga_clock_mono_us() + removing->wait_ms * 1000;
    int64_t tell_us = saga_clock_mono_us() + REMOVE_TELL_MS * 1000;
    int status = SAGA_EXIT_OK;
    while (status == SAGA_EXIT_OK && *live > 0 && saga_clock_mono_us() < end_us) {
        struct timespec pause = {0, REMOVE_LOOK_MS * 1000000L};
        (void)nanosleep(&pause, NULL);
        struct saga_definition_list list = {removing->definition, false};
        *live = 0;
        status = saga_definitions_each(conn, &list, add_live, live);
        if (status == SAGA_EXIT_OK && *live > 0 && saga_clock_mono_us() >= tell_us) {
            tell_us += REMOVE_TELL_MS * 1000;
            fprintf(stderr, "%s: %" PRIu64 " in flight\n", removing->definition, *live);
        }
    }
    return status;
}

static int remove_run(const struct saga_options *options)
{
    struct removing removing = {.wait_ms = -1};
    int status = read_removing(options, &removing);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    bool changed = false;
    uint64_t live = 0;
    struct saga_conn *conn = NULL;
    status = saga_conn_open_orchestrator(options, &conn);
    if (status == SAGA_EXIT_OK) {
        status = remove_call(conn, &removing, &changed, &live);
    }
    if (status == SAGA_EXIT_OK) {
        print_removed(&removing, changed, live);
        bool waits = removing.wait_ms >= 0 && live > 0;
        status = waits ? drain(conn, &removing, &live) : SAGA_EXIT_OK;
        if (status == SAGA_EXIT_OK && waits && !removing.json) {
            printf(live == 0 ? "%s is drained: none is in flight\n"
                             : "%s is not drained yet (sagactl list --saga %s shows them)\n",
                   removing.definition, removing.definition);
        }
        if (status == SAGA_EXIT_OK && removing.json) {
            status = saga_client_print_json(json_pack("{s:s,s:b,s:b,s:I}", "definition",
                                                      removing.definition, "removed", 1, "changed",
                                                      (int)changed, "live", (json_int_t)live));
        }
        if (status == SAGA_EXIT_OK && waits && live > 0) {
            status = SAGA_EXIT_GOING;
        }
    }
    saga_conn_close(conn);
    return status;
}

const struct saga_verb saga_verb_remove = {
    .name = "remove",
    .usage = "NAME --why TEXT [--who NAME] [--wait TIME]",
    .summary = "remove a saga definition: none of it starts any more, those in flight go on",
    .epilog =
        "From now on every start of it is refused for good (NOT_FOUND, DEFINITION_REMOVED): who "
        "asks "
        "is told no, and an order\n"
        "that waits for its saga is REJECTED. To hold new sagas back and take them later: `sagactl "
        "pause`. A start key that was\n"
        "used answers with its saga.\n"
        "Sagas that run it as a step run it still: their own version holds it. It stays removed "
        "over restarts;\n"
        "`sagactl apply FILE --definition NAME` brings it back. FILE: the .proto that declares it "
        "and imports the files of its\n"
        "participants, or a descriptor set with all of them (the ordering system's: "
        "generated/sagad.binpb).\n"
        "Exit status 4: with --wait, sagas are still in flight.\n"
        "\n"
        "  sagactl pause create-order --why \"the shop is closed for an hour\"     keeps starts\n"
        "  sagactl remove create-order --why \"the shop is closed\" --wait 1m\n"
        "  sagactl apply generated/sagad.binpb --definition create-order --why \"it opens "
        "again\"\n",
    .options = remove_options,
    .option_count = sizeof remove_options / sizeof remove_options[0],
    .shorts = "o=output",
    .run = remove_run,
};
