/* sagactl pause, resume: acts on a saga definition. */
#include "client/verbs.h"

#include <stdio.h>
#include <string.h>

#include "client/sagas.h"
#include "common/base/limits.h"

static const struct saga_option pause_options[] = {
    {"why", "TEXT", NULL, "why; it is recorded; required", false},
    {"who", "NAME", NULL, "who; it is recorded; default: USER, LOGNAME, or the user's name", false},
};

/* What is sent; the texts are cut by the daemon's limits, never by us. */
struct pausing {
    char definition[SAGA_DEFINITION_NAME_MAX + 2];
    char who[SAGA_WHO_MAX + 2];
    char why[SAGA_WHY_MAX + 2];
    bool json;
};

static int read_pausing(const struct saga_options *options, struct pausing *pausing)
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
    snprintf(pausing->definition, sizeof pausing->definition, "%s", name);
    snprintf(pausing->who, sizeof pausing->who, "%s", who);
    snprintf(pausing->why, sizeof pausing->why, "%s", why);
    pausing->json = json == 1;
    return SAGA_EXIT_OK;
}

static int print_paused(const struct pausing *pausing,
                        const Saga__V1__PauseDefinitionResponse *response)
{
    char text[SAGA_WHO_MAX + SAGA_WHY_MAX + 64] = "";
    if (pausing->json) {
        json_t *pause = saga_view_pause_json(response->pause);
        return saga_client_print_json(json_pack("{s:s,s:b,s:b,s:o}", "definition",
                                                pausing->definition, "paused", 1, "changed",
                                                (int)response->changed, "pause", pause));
    }
    if (response->changed) {
        printf("%s is paused: no saga of it starts, no step of its sagas begins; to let it go on: "
               "sagactl resume %s --why TEXT\n",
               pausing->definition, pausing->definition);
        return SAGA_EXIT_OK;
    }
    saga_view_pause_text(response->pause, text, sizeof text);
    printf("%s was paused already %s\n", pausing->definition, text);
    return SAGA_EXIT_OK;
}

static int pause_call(struct saga_conn *conn, struct pausing *pausing)
{
    Saga__V1__PauseDefinitionRequest message = SAGA__V1__PAUSE_DEFINITION_REQUEST__INIT;
    message.definition = pausing->definition;
    message.who = pausing->who;
    message.why = pausing->why;
    struct saga_conn_request request = {
        .method = "saga.v1.OrchestratorService/PauseDefinition",
        .request = &message.base,
        .response_type = &saga__v1__pause_definition_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    int status = saga_conn_call(conn, &request, &answer);
    return status != SAGA_EXIT_OK
               ? status
               : print_paused(pausing, (const Saga__V1__PauseDefinitionResponse *)answer);
}

static int resume_call(struct saga_conn *conn, struct pausing *pausing)
{
    Saga__V1__ResumeDefinitionRequest message = SAGA__V1__RESUME_DEFINITION_REQUEST__INIT;
    message.definition = pausing->definition;
    message.who = pausing->who;
    message.why = pausing->why;
    struct saga_conn_request request = {
        .method = "saga.v1.OrchestratorService/ResumeDefinition",
        .request = &message.base,
        .response_type = &saga__v1__resume_definition_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    int status = saga_conn_call(conn, &request, &answer);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    bool changed = ((const Saga__V1__ResumeDefinitionResponse *)answer)->changed;
    if (pausing->json) {
        return saga_client_print_json(json_pack("{s:s,s:b,s:b}", "definition", pausing->definition,
                                                "paused", 0, "changed", (int)changed));
    }
    printf(changed ? "%s goes on: what was held begins\n" : "%s was not paused\n",
           pausing->definition);
    return SAGA_EXIT_OK;
}

static int run(const struct saga_options *options,
               int (*call)(struct saga_conn *conn, struct pausing *pausing))
{
    struct pausing pausing;
    int status = read_pausing(options, &pausing);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    struct saga_conn *conn = NULL;
    status = saga_conn_open_orchestrator(options, &conn);
    if (status == SAGA_EXIT_OK) {
        status = call(conn, &pausing);
    }
    saga_conn_close(conn);
    return status;
}

static int pause_run(const struct saga_options *options)
{
    return run(options, pause_call);
}

static int resume_run(const struct saga_options *options)
{
    return run(options, resume_call);
}

const struct saga_verb saga_verb_pause = {
    .name = "pause",
    .usage = "NAME --why TEXT [--who NAME]",
    .summary = "hold a saga definition: no saga of it starts, no step of its sagas begins",
    .epilog = "Starts are refused with UNAVAILABLE, DEFINITION_PAUSED, so that whoever starts them "
              "tries\n"
              "again later (orderd keeps its orders meanwhile). What is out goes on: its retries, "
              "undos and\n"
              "deadlines, that of each saga included. It holds until resume, restarts included; "
              "`sagactl\n"
              "definitions` shows it. To pause what is paused changes nothing and says so.",
    .options = pause_options,
    .option_count = sizeof pause_options / sizeof pause_options[0],
    .shorts = "o=output",
    .run = pause_run,
};

const struct saga_verb saga_verb_resume = {
    .name = "resume",
    .usage = "NAME --why TEXT [--who NAME]",
    .summary = "let a paused saga definition go on: starts are taken, what was held begins",
    .options = pause_options,
    .option_count = sizeof pause_options / sizeof pause_options[0],
    .shorts = "o=output",
    .run = resume_run,
};
