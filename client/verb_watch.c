/* sagactl watch, why, and the operator's acts: cancel, retry, skip, resolve, compensate. */
#include "client/verbs.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "client/sagas.h"
#include "client/story.h"
#include "common/base/limits.h"
#include "common/sys/clock.h"

/* ---- watch ---- */

static const struct saga_option watch_options[] = {
    {"saga", "NAME", NULL, "find the saga by the name of its definition and --key", false},
    {"key", "KEY", NULL, "see --saga", false},
    {"for", "TIME", NULL, "give up after this time; default: never", false},
};

/* When each step began what it is doing, so that its end can be told with a duration. */
struct watch_step {
    char name[SAGA_STEP_NAME_MAX + 1];
    int64_t since_ms;
};

struct watch {
    struct saga_id id;
    bool json;
    int64_t start_ms; /* time of the first event */
    uint64_t seq;
    Saga__V1__SagaState state;
    struct watch_step steps[SAGA_STEPS_MAX];
    size_t step_count;
};

static struct watch_step *watch_step(struct watch *watch, const char *name)
{
    for (size_t i = 0; i < watch->step_count; i++) {
        if (strcmp(watch->steps[i].name, name) == 0) {
            return &watch->steps[i];
        }
    }
    if (watch->step_count == SAGA_STEPS_MAX) {
        return &watch->steps[SAGA_STEPS_MAX - 1];
    }
    struct watch_step *made = &watch->steps[watch->step_count++];
    snprintf(made->name, sizeof made->name, "%s", name);
    made->since_ms = -1;
    return made;
}

/* Tells whether an event hands a step to a saga of its own. */
static bool watch_nests(const Saga__V1__AuditEvent *event, const char *step)
{
    for (size_t i = 0; i < event->n_decisions; i++) {
        if (event->decisions[i]->via == SAGA__V1__VIA__VIA_CHILD &&
            strcmp(event->decisions[i]->step, step) == 0) {
            return true;
        }
    }
    return false;
}

static void watch_print_move(struct watch *watch, const Saga__V1__AuditEvent *event,
                             const Saga__V1__Transition *move)
{
    struct watch_step *step = watch_step(watch, move->step);
    int64_t at_ms = event->time_unix_ms - watch->start_ms;
    if (move->from == SAGA__V1__STEP_STATE__STEP_STATE_UNSPECIFIED &&
        move->to == SAGA__V1__STEP_STATE__STEP_STATE_WAITING) {
        return; /* at the start every step begins to wait: no news */
    }
    bool begins = move->to == SAGA__V1__STEP_STATE__STEP_STATE_CALLED ||
                  move->to == SAGA__V1__STEP_STATE__STEP_STATE_UNDOING;
    printf("%+9.3f s  %-12s %s -> %s", (double)at_ms / 1000, move->step,
           saga_view_step_state(move->from), saga_view_step_state(move->to));
    if (!begins && step->since_ms >= 0) {
        char took[SAGA_DURATION_TEXT_SIZE];
        saga_client_duration_text(at_ms - step->since_ms, took);
        printf("  in %s", took);
    }
    if (begins && watch_nests(event, move->step)) {
        fputs("  (a saga of its own)", stdout);
    }
    bool about = strcmp(event->step, move->step) == 0 && event->status != NULL &&
                 event->status->code != SAGA_CODE_OK;
    if (about) {
        char text[640];
        snprintf(text, sizeof text, "  %s %s %s", saga_code_name(event->status->code),
                 event->status->reason, event->status->message);
        saga_client_clean(text);
        fputs(text, stdout);
    }
    putchar('\n');
    step->since_ms = begins ? at_ms : -1;
}

static void watch_print_retries(const struct watch *watch, const Saga__V1__AuditEvent *event)
{
    for (size_t i = 0; i < event->n_decisions; i++) {
        const Saga__V1__Decision *decision = event->decisions[i];
        if (decision->attempt > 1) {
            printf("%+9.3f s  %-12s %s attempt %" PRIu32 "\n",
                   (double)(event->time_unix_ms - watch->start_ms) / 1000, decision->step,
                   decision->op == SAGA__V1__OP__OP_UNDO ? "undo" : "call", decision->attempt);
        }
    }
}

/* Tells a refusal that moved nothing: it will be tried again, or waits for an operator. */
static void watch_print_refusal(const struct watch *watch, const Saga__V1__AuditEvent *event)
{
    bool moved = false;
    for (size_t i = 0; i < event->n_transitions; i++) {
        moved = moved || strcmp(event->transitions[i]->step, event->step) == 0;
    }
    if (moved || event->status == NULL || event->status->code == SAGA_CODE_OK) {
        return;
    }
    char text[640];
    snprintf(text, sizeof text, "%s %s %s", saga_code_name(event->status->code),
             event->status->reason, event->status->message);
    saga_client_clean(text);
    printf("%+9.3f s  %-12s %s attempt %" PRIu32 ": %s\n",
           (double)(event->time_unix_ms - watch->start_ms) / 1000, event->step,
           event->op == SAGA__V1__OP__OP_UNDO ? "undo" : "call", event->attempt, text);
}

static void watch_print_start(const Saga__V1__AuditEvent *event)
{
    if (event->parent_step[0] != 0) {
        char parent[SAGA_ID_TEXT_SIZE];
        saga_view_id_text(&event->parent_saga_id, parent);
        printf("%+9.3f s  started      %s, step %s of saga %s\n", 0.0, event->definition,
               event->parent_step, parent);
    } else {
        printf("%+9.3f s  started      %s, key %s\n", 0.0, event->definition, event->start_key);
    }
}

static void watch_print(struct watch *watch, const Saga__V1__AuditEvent *event)
{
    if (watch->json) {
        json_t *object = saga_view_event_json(event);
        (void)json_dumpf(object, stdout, JSON_COMPACT);
        putchar('\n');
        json_decref(object);
    } else {
        double at = (double)(event->time_unix_ms - watch->start_ms) / 1000;
        if (event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_START) {
            watch_print_start(event);
        } else if (event->kind == SAGA__V1__EVENT_KIND__EVENT_KIND_RECOVERED) {
            printf("%+9.3f s  recovered    the orchestrator took it up again\n", at);
        } else if (event->operator_ != NULL) {
            char why[SAGA_WHY_MAX + SAGA_WHO_MAX + 8];
            snprintf(why, sizeof why, "%s: %s", event->operator_->who, event->operator_->why);
            saga_client_clean(why);
            printf("%+9.3f s  operator     %s\n", at, why);
        }
        for (size_t i = 0; i < event->n_transitions; i++) {
            watch_print_move(watch, event, event->transitions[i]);
        }
        watch_print_refusal(watch, event);
        watch_print_retries(watch, event);
        if (event->state != watch->state && event->kind != SAGA__V1__EVENT_KIND__EVENT_KIND_START) {
            printf("%+9.3f s  saga         %s\n", at, saga_view_state(event->state));
        }
    }
    watch->state = event->state;
    watch->seq = event->seq;
    fflush(stdout);
}

static bool watch_ended(Saga__V1__SagaState state)
{
    return state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPLETED ||
           state == SAGA__V1__SAGA_STATE__SAGA_STATE_COMPENSATED ||
           state == SAGA__V1__SAGA_STATE__SAGA_STATE_PARKED;
}

/* Asks for the events after the last seen one; waits up to wait_ms for the first. *caught_up: there
 * are no more at the moment. */
static int watch_more(struct saga_conn *conn, struct watch *watch, int64_t wait_ms, bool *caught_up)
{
    Saga__V1__WatchSagaRequest message = SAGA__V1__WATCH_SAGA_REQUEST__INIT;
    message.saga_id = (ProtobufCBinaryData){sizeof watch->id.b, watch->id.b};
    message.after_seq = watch->seq;
    message.wait_ms = wait_ms;
    struct saga_conn_request request = {
        .method = "saga.v1.OrchestratorService/WatchSaga",
        .request = &message.base,
        .response_type = &saga__v1__watch_saga_response__descriptor,
        .wait_ms = wait_ms,
    };
    const ProtobufCMessage *answer = NULL;
    int status = saga_conn_call(conn, &request, &answer);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    const Saga__V1__WatchSagaResponse *response = (const Saga__V1__WatchSagaResponse *)answer;
    for (size_t i = 0; i < response->n_events; i++) {
        if (watch->seq == 0) {
            watch->start_ms = response->events[i]->time_unix_ms;
        }
        watch_print(watch, response->events[i]);
    }
    *caught_up = response->n_events == 0 || watch->state == response->state;
    return SAGA_EXIT_OK;
}

static int watch_follow(struct saga_conn *conn, struct watch *watch, int64_t give_up_ms)
{
    bool caught_up = false;
    while (!(caught_up && watch_ended(watch->state))) {
        int64_t left_ms =
            give_up_ms < 0 ? SAGA_WAIT_MS_MAX : give_up_ms - saga_clock_mono_us() / 1000;
        if (left_ms <= 0) {
            saga_client_warn("it has not ended yet");
            return SAGA_EXIT_GOING;
        }
        int64_t wait_ms = left_ms < 10000 ? left_ms : 10000;
        int status = watch_more(conn, watch, wait_ms, &caught_up);
        if (status != SAGA_EXIT_OK) {
            return status;
        }
    }
    return saga_view_exit(watch->state);
}

/* The saga that is meant: by its id, which need not be asked for, or by its name and key. */
static int watch_find(struct saga_conn *conn, const struct saga_options *options,
                      struct saga_id *id)
{
    const Saga__V1__GetSagaResponse *response = NULL;
    if (saga_options_operand_count(options) == 1) {
        return saga_view_operand_id(options, id);
    }
    int status = saga_view_fetch(conn, options, false, &response);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    const ProtobufCBinaryData *found = &response->saga->saga_id;
    return saga_client_id(found->data, found->len, id) == SAGA_ERR_OK
               ? SAGA_EXIT_OK
               : saga_client_fail("%s: its answer tells no saga id", saga_conn_address(conn));
}

static int watch_run(const struct saga_options *options)
{
    struct watch watch = {0};
    int64_t for_ms = 0;
    int json = saga_client_output_json(options);
    if (json < 0 || saga_view_check_named(options) != SAGA_EXIT_OK ||
        saga_client_duration(options, "for", -1, &for_ms) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    watch.json = json == 1;
    struct saga_conn *conn = NULL;
    int status = saga_conn_open_orchestrator(options, &conn);
    if (status == SAGA_EXIT_OK) {
        status = watch_find(conn, options, &watch.id);
    }
    if (status == SAGA_EXIT_OK) {
        status = watch_follow(conn, &watch, for_ms < 0 ? -1 : saga_clock_mono_us() / 1000 + for_ms);
    }
    saga_conn_close(conn);
    return status;
}

const struct saga_verb saga_verb_watch = {
    .name = "watch",
    .usage = "ID | --saga NAME --key KEY [--for TIME]",
    .summary = "follow a saga until it has ended",
    .epilog = "With -o json: one event a line.\n\n"
              "  sagactl watch --saga create-order --key order-17 --for 30s\n\n"
              "Exit status: 0 COMPLETED, 1 COMPENSATED, 3 PARKED, 4 it had not ended in the time "
              "given with --for.",
    .options = watch_options,
    .option_count = sizeof watch_options / sizeof watch_options[0],
    .shorts = "o=output",
    .run = watch_run,
};

/* ---- why ---- */

static const struct saga_option why_options[] = {
    {"saga", "NAME", NULL, "find the saga by the name of its definition and --key", false},
    {"key", "KEY", NULL, "see --saga", false},
    {"width", "N", "100", "fold lines at this column; 0: do not fold", false},
};

/* Sagas whose stories are to be told: the one that was asked for, then those in it. */
struct why_list {
    struct saga_id ids[SAGA_NEST_COUNT_MAX];
    size_t count;
};

/* Lists the sagas that the steps of one have run. */
static void why_note_children(struct why_list *list, const Saga__V1__SagaView *saga)
{
    for (size_t i = 0; i < saga->n_steps; i++) {
        const ProtobufCBinaryData *child = &saga->steps[i]->child_saga_id;
        if (list->count < SAGA_NEST_COUNT_MAX &&
            saga_client_id(child->data, child->len, &list->ids[list->count]) == SAGA_ERR_OK) {
            list->count++;
        }
    }
}

/* Appends a saga's story. Exit status; the message is printed. */
static int why_story(const Saga__V1__GetSagaResponse *response, size_t width, struct saga_buf *text)
{
    struct saga_story story = {
        .saga = response->saga,
        .events = response->events,
        .event_count = response->n_events,
        .now_unix_ms = saga_clock_unix_ms(),
        .width = width,
    };
    enum saga_err err = saga_story_tell(&story, text);
    if (err == SAGA_ERR_INVALID) {
        return saga_client_fail("the orchestrator has no events of this saga any more");
    }
    return err == SAGA_ERR_OK ? SAGA_EXIT_OK : saga_client_fail("%s", saga_err_text(err));
}

static int why_print(const Saga__V1__GetSagaResponse *response, size_t width)
{
    struct saga_buf text = {0};
    int status = why_story(response, width, &text);
    if (status == SAGA_EXIT_OK) {
        fwrite(text.data, 1, text.size, stdout);
    }
    saga_buf_fini(&text);
    return status;
}

static json_t *why_children_json(const Saga__V1__SagaView *saga)
{
    json_t *children = json_array();
    for (size_t i = 0; i < saga->n_steps; i++) {
        const Saga__V1__StepView *step = saga->steps[i];
        char id[SAGA_ID_TEXT_SIZE];
        if (step->child_saga_id.len > 0) {
            saga_view_id_text(&step->child_saga_id, id);
            (void)json_array_append_new(children, json_pack("{s:s,s:s,s:s}", "step", step->name,
                                                            "saga", step->saga, "id", id));
        }
    }
    return children;
}

static int why_print_json(const Saga__V1__GetSagaResponse *response)
{
    struct saga_buf text = {0};
    int status = why_story(response, 0, &text);
    if (status == SAGA_EXIT_OK) {
        char id[SAGA_ID_TEXT_SIZE];
        saga_view_id_text(&response->saga->saga_id, id);
        status = saga_client_print_json(json_pack("{s:s,s:s,s:s%,s:o}", "id", id, "state",
                                                  saga_view_state(response->saga->state), "story",
                                                  (const char *)text.data, text.size - 1,
                                                  "children", why_children_json(response->saga)));
    }
    saga_buf_fini(&text);
    return status;
}

static int why_tell(struct saga_conn *conn, const struct saga_options *options, size_t width,
                    bool json)
{
    const Saga__V1__GetSagaResponse *response = NULL;
    struct why_list list = {.count = 0};
    int status = saga_view_fetch(conn, options, true, &response);
    if (status != SAGA_EXIT_OK || json) {
        return status == SAGA_EXIT_OK ? why_print_json(response) : status;
    }
    status = why_print(response, width);
    why_note_children(&list, response->saga);
    for (size_t i = 0; i < list.count && status == SAGA_EXIT_OK; i++) {
        putchar('\n');
        status = saga_view_fetch_id(conn, list.ids[i], true, &response);
        if (status == SAGA_EXIT_OK) {
            status = why_print(response, width);
            why_note_children(&list, response->saga);
        }
    }
    return status;
}

static int why_run(const struct saga_options *options)
{
    int64_t width = 0;
    int json = saga_client_output_json(options);
    if (json < 0 || saga_view_check_named(options) != SAGA_EXIT_OK ||
        saga_client_int(options, "width", 0, 1000, &width) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    struct saga_conn *conn = NULL;
    int status = saga_conn_open_orchestrator(options, &conn);
    if (status == SAGA_EXIT_OK) {
        status = why_tell(conn, options, (size_t)width, json == 1);
    }
    saga_conn_close(conn);
    return status;
}

const struct saga_verb saga_verb_why = {
    .name = "why",
    .usage = "ID | --saga NAME --key KEY",
    .summary = "tell the story of a saga: what happened, why, and what to do next",
    .options = why_options,
    .option_count = sizeof why_options / sizeof why_options[0],
    .shorts = "o=output",
    .run = why_run,
};

/* ---- the operator's acts ---- */

static const struct saga_option act_options[] = {
    {"why", "TEXT", NULL, "why; it is recorded; required", false},
    {"who", "NAME", NULL, "who; it is recorded; default: USER, LOGNAME, or the user's name", false},
    {"step", "STEP", NULL,
     "the step; retry: just this one; compensate: a parked pivot that has not happened", false},
};

/* cancel is about no step: without the last option. */
enum { ACT_OPTIONS = sizeof act_options / sizeof act_options[0], CANCEL_OPTIONS = ACT_OPTIONS - 1 };

static int act_send(struct saga_conn *conn, Saga__V1__OperateSagaRequest *message, bool json)
{
    struct saga_conn_request request = {
        .method = "saga.v1.OrchestratorService/OperateSaga",
        .request = &message->base,
        .response_type = &saga__v1__operate_saga_response__descriptor,
    };
    const ProtobufCMessage *answer = NULL;
    int status = saga_conn_call(conn, &request, &answer);
    if (status != SAGA_EXIT_OK) {
        return status;
    }
    const Saga__V1__OperateSagaResponse *response = (const Saga__V1__OperateSagaResponse *)answer;
    if (json) {
        return saga_client_print_json(
            json_pack("{s:s}", "state", saga_view_state(response->state)));
    }
    puts(saga_view_state(response->state));
    return SAGA_EXIT_OK;
}

static int act_run(const struct saga_options *options, Saga__V1__OperatorAct act, bool needs_step)
{
    Saga__V1__OperateSagaRequest message = SAGA__V1__OPERATE_SAGA_REQUEST__INIT;
    struct saga_id id;
    char step[SAGA_STEP_NAME_MAX + 2] = "";
    char who[SAGA_WHO_MAX + 2] = "";
    char why[SAGA_WHY_MAX + 2] = "";
    int json = saga_client_output_json(options);
    if (json < 0 || saga_client_operands(options, 1, 1, "ID of the saga") != SAGA_EXIT_OK ||
        saga_view_operand_id(options, &id) != SAGA_EXIT_OK) {
        return SAGA_EXIT_USAGE;
    }
    bool cancels = act == SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_CANCEL;
    const char *given_step = cancels ? NULL : saga_options_text(options, "step");
    const char *given_why = saga_options_text(options, "why");
    const char *given_who = saga_client_who(options);
    if (given_why == NULL) {
        return saga_client_usage(
            "missing: --why TEXT; an operator's act is recorded with its reason");
    }
    if (needs_step && given_step == NULL) {
        return saga_client_usage("missing: --step STEP");
    }
    if (strlen(given_why) > SAGA_WHY_MAX ||
        (given_who != NULL && strlen(given_who) > SAGA_WHO_MAX)) {
        return saga_client_usage("--why may have %d bytes, --who %d", SAGA_WHY_MAX, SAGA_WHO_MAX);
    }
    snprintf(step, sizeof step, "%s", given_step == NULL ? "" : given_step);
    snprintf(who, sizeof who, "%s", given_who == NULL ? "unknown" : given_who);
    snprintf(why, sizeof why, "%s", given_why);
    message.saga_id = (ProtobufCBinaryData){sizeof id.b, id.b};
    message.act = act;
    message.step = step;
    message.who = who;
    message.why = why;
    struct saga_conn *conn = NULL;
    int status = saga_conn_open_orchestrator(options, &conn);
    if (status == SAGA_EXIT_OK) {
        status = act_send(conn, &message, json == 1);
    }
    saga_conn_close(conn);
    return status;
}

static int cancel_run(const struct saga_options *options)
{
    return act_run(options, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_CANCEL, false);
}

static int retry_run(const struct saga_options *options)
{
    return act_run(options, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RETRY, false);
}

static int skip_run(const struct saga_options *options)
{
    return act_run(options, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_SKIP, true);
}

static int resolve_run(const struct saga_options *options)
{
    return act_run(options, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_RESOLVE, true);
}

static int compensate_run(const struct saga_options *options)
{
    return act_run(options, SAGA__V1__OPERATOR_ACT__OPERATOR_ACT_COMPENSATE, false);
}

#define ACT(verb, words, count, what)                                                              \
    const struct saga_verb saga_verb_##verb = {                                                    \
        .name = #verb,                                                                             \
        .usage = (words),                                                                          \
        .summary = (what),                                                                         \
        .options = act_options,                                                                    \
        .option_count = (count),                                                                   \
        .shorts = "o=output",                                                                      \
        .run = verb##_run,                                                                         \
    }

ACT(cancel, "ID --why TEXT [--who NAME]", CANCEL_OPTIONS,
    "give a saga up: undo what was done (not after its pivot)");
ACT(retry, "ID [--step STEP] --why TEXT [--who NAME]", ACT_OPTIONS,
    "try what waits, is stalled or is parked again, now");
ACT(skip, "ID --step STEP --why TEXT [--who NAME]", ACT_OPTIONS,
    "take a step whose call has never left as skipped");
ACT(resolve, "ID --step STEP --why TEXT [--who NAME]", ACT_OPTIONS,
    "say that a step's pending command has been done by hand");
ACT(compensate, "ID [--step PIVOT] --why TEXT [--who NAME]", ACT_OPTIONS,
    "turn a parked saga back; a parked pivot must be named: it has certainly not happened");
