#include "tests/sim/judge/stage.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "common/wire/envelope.h"
#include "generated/descriptor_set.h"
#include "saga/v1/audit.pb-c.h"

#define KEY "order-1"
#define WHO "ann"
#define WHY "a ticket says so"

static const uint8_t input[] = {0x08, 0x07}; /* order_id: 7 */

static void told(void *user, const struct saga_violation_fact *violation)
{
    struct stage *stage = user;
    stage->broken[violation->rule]++;
    (void)snprintf(stage->last, sizeof stage->last, "%s %s: %s", saga_rule_name(violation->rule),
                   violation->step, violation->text);
}

static const struct saga_version *find_version(void *user, const uint8_t hash[SAGA_DIGEST_SIZE])
{
    struct stage *stage = user;
    return memcmp(hash, stage->version.hash, SAGA_DIGEST_SIZE) == 0 ? &stage->version : NULL;
}

void stage_open(struct stage *stage)
{
    struct saga_bytes set = {.data = saga_descriptor_set, .size = saga_descriptor_set_size};
    struct saga_err_detail detail = {{0}};
    *stage = (struct stage){.now = 1700000000000, .epoch = 1, .id = {{1, 2, 3, 4, 5}}};
    assert_int_equal(saga_schema_load(set, &stage->schema, &detail), SAGA_ERR_OK);
    const struct saga_decl *decl = saga_schema_decl(stage->schema, "create-order");
    assert_non_null(decl);
    assert_int_equal(saga_version_compile(decl, &stage->version, &detail), SAGA_ERR_OK);
    stage->config =
        (struct saga_judge_config){.version = find_version, .told = told, .user = stage};
    assert_int_equal(saga_judge_new(&stage->config, &stage->judge), SAGA_ERR_OK);
    saga_judge_lease(stage->judge, stage->epoch);
}

void stage_close(struct stage *stage)
{
    saga_judge_free(stage->judge);
    saga_schema_free(stage->schema);
    for (size_t i = 0; i < STAGE_EVENTS_MAX; i++) {
        saga_buf_fini(&stage->events[i]);
    }
}

void stage_clean(struct stage *stage)
{
    for (int i = 0; i < SAGA_RULE_COUNT; i++) {
        if (stage->broken[i] != 0) {
            fail_msg("%s", stage->last);
        }
    }
}

void stage_broke(struct stage *stage, enum saga_rule rule)
{
    if (stage->broken[rule] == 0) {
        fail_msg("%s was not told; last: %s", saga_rule_name(rule), stage->last);
    }
    memset(stage->broken, 0, sizeof stage->broken);
}

/* ---- Events ---- */

void stage_event(struct stage *stage, struct saga_event ev, const struct saga_judge_act *act)
{
    stage->now += 10;
    ev.now_unix_ms = stage->now;
    ev.when_mask = UINT64_MAX >> (64 - stage->version.def.step_count);
    saga_step(&stage->version.def, &stage->saga, &ev, &stage->up);
    assert_int_equal(stage->up.verdict, SAGA_VERDICT_TAKEN);
    bool failed = ev.kind == SAGA_EVENT_REPLY && ev.code != SAGA_CODE_OK;
    struct saga_audit_input in = {
        .version = &stage->version,
        .saga = &stage->saga,
        .ev = &ev,
        .up = &stage->up,
        .reason = failed || stage->up.cause_set ? "A_REASON" : "",
        .message = "",
        .who = act == NULL ? "" : act->who,
        .why = act == NULL ? "" : act->why,
        .start_key = KEY,
        .prev_hash = stage->hash,
    };
    if (ev.kind == SAGA_EVENT_START) {
        in.payload = (struct saga_bytes){.data = input, .size = sizeof input};
    }
    assert_true(stage->event_count < STAGE_EVENTS_MAX);
    assert_int_equal(saga_audit_encode(&in, &stage->events[stage->event_count], stage->hash),
                     SAGA_ERR_OK);
    stage->event_count++;
}

void stage_commit(struct stage *stage)
{
    saga_judge_commit_begin(stage->judge, stage->epoch);
    for (; stage->told < stage->event_count; stage->told++) {
        saga_judge_commit_event(stage->judge, saga_buf_view(&stage->events[stage->told]));
    }
    saga_judge_commit_end(stage->judge);
}

void stage_take(struct stage *stage, struct saga_event ev)
{
    stage_event(stage, ev, NULL);
    stage_commit(stage);
}

struct saga_judge_start stage_start_of(void)
{
    return (struct saga_judge_start){
        .definition = "create-order", .key = KEY, .input = {.data = input, .size = sizeof input}};
}

struct saga_answer stage_answer_of(const struct stage *stage)
{
    return (struct saga_answer){.code = SAGA_CODE_OK,
                                .reason = "",
                                .message = "",
                                .id = stage->id,
                                .state = (enum saga_state)stage->saga.state,
                                .seq = stage->saga.seq};
}

void stage_start(struct stage *stage)
{
    struct saga_judge_start start = stage_start_of();
    saga_judge_start_asked(stage->judge, &start);
    stage_take(stage, (struct saga_event){.kind = SAGA_EVENT_START, .id = stage->id, .seed = 5});
    struct saga_answer answer = stage_answer_of(stage);
    saga_judge_start_answered(stage->judge, &start, &answer);
}

void stage_act(struct stage *stage, enum saga_act act, uint8_t step)
{
    struct saga_judge_act asked = {
        .saga_id = stage->id,
        .definition = "create-order",
        .act = act,
        .step = step == SAGA_STEP_ALL ? "" : stage->version.step_names[step],
        .who = WHO,
        .why = WHY,
    };
    saga_judge_act_asked(stage->judge, &asked);
    stage_event(stage, (struct saga_event){.kind = SAGA_EVENT_OPERATOR, .act = act, .step = step},
                &asked);
    stage_commit(stage);
    struct saga_answer answer = stage_answer_of(stage);
    saga_judge_act_answered(stage->judge, &asked, &answer);
}

struct saga_judge_act stage_pause_of(void)
{
    return (struct saga_judge_act){
        .definition = "create-order", .act = SAGA_ACT_PAUSE, .step = "", .who = WHO, .why = WHY};
}

void stage_pause(struct stage *stage, struct saga_buf *event)
{
    struct saga stream = {.id = {{0xde, 0xf1}}, .seq = 1};
    struct saga_event ev = {.kind = SAGA_EVENT_OPERATOR,
                            .act = SAGA_ACT_PAUSE,
                            .step = SAGA_STEP_ALL,
                            .now_unix_ms = stage->now};
    struct saga_update up = {.verdict = SAGA_VERDICT_TAKEN};
    struct saga_audit_input in = {
        .version = &stage->version,
        .saga = &stream,
        .ev = &ev,
        .up = &up,
        .reason = "",
        .message = "",
        .who = WHO,
        .why = WHY,
        .start_key = "",
        .prev_hash = stage->hash,
    };
    uint8_t hash[SAGA_DIGEST_SIZE];
    assert_int_equal(saga_audit_encode(&in, event, hash), SAGA_ERR_OK);
    saga_judge_commit_begin(stage->judge, stage->epoch);
    saga_judge_commit_event(stage->judge, saga_buf_view(event));
    saga_judge_commit_end(stage->judge);
}

/* ---- Commands ---- */

static const struct saga_step_decl *decl_of(const struct stage *stage, uint8_t step)
{
    const struct saga_decl *decl = stage->version.decl;
    return &decl->steps[step];
}

static uint16_t participant_of(const struct stage *stage, uint8_t step, enum saga_op op)
{
    const struct saga_step_decl *decl = decl_of(stage, step);
    const struct saga_service *service =
        op == SAGA_OP_CALL ? decl->call_service : decl->undo_service;
    for (uint16_t i = 0; i < saga_schema_service_count(stage->schema); i++) {
        if (saga_schema_service_at(stage->schema, i) == service) {
            return i;
        }
    }
    fail_msg("no service");
    return 0;
}

struct saga_command stage_command(const struct stage *stage, uint8_t step, enum saga_op op)
{
    const struct saga_step_decl *decl = decl_of(stage, step);
    const struct saga_step_run *run = &stage->saga.steps[step];
    return (struct saga_command){
        .saga_id = stage->id,
        .step = decl->name,
        .op = op,
        .method = op == SAGA_OP_CALL ? decl->call->full_name : decl->undo->full_name,
        .attempt = op == SAGA_OP_CALL ? run->call_attempts : run->undo_attempts,
        .traceparent = "",
        .cause_step = "",
        .epoch = stage->epoch,
    };
}

void stage_send(struct stage *stage, uint8_t step, enum saga_op op)
{
    struct saga_command command = stage_command(stage, step, op);
    saga_judge_command_sent(stage->judge, &command,
                            op == SAGA_OP_CALL ? SAGA_VIA_NNG : SAGA_VIA_KAFKA);
}

void stage_deed(struct stage *stage, struct stage_deed deed)
{
    struct saga_command command = stage_command(stage, deed.step, deed.op);
    command.payload = deed.payload;
    command.epoch = deed.epoch == 0 ? stage->epoch : deed.epoch;
    command.attempt = command.attempt == 0 ? 1 : command.attempt;
    struct saga_reply reply = {
        .saga_id = stage->id,
        .step = command.step,
        .op = deed.op,
        .status = {.code = deed.code,
                   .reason = deed.reason == NULL ? "" : deed.reason,
                   .message = ""},
        .payload = deed.reply,
        .replayed = deed.replayed,
        .empty = deed.empty,
        .attempt = command.attempt,
    };
    const struct saga_step_decl *decl = decl_of(stage, deed.step);
    bool silent = deed.op == SAGA_OP_CALL && decl->call->no_side_effects;
    uint16_t participant = participant_of(stage, deed.step, deed.op);
    struct saga_judge_deed fact = {
        .participant = participant,
        .command = &command,
        .reply = &reply,
        .ran = !deed.not_run,
        .read_only = silent,
        .starter_undo = decl->call == NULL,
        .now_unix_ms = stage->now,
    };
    if (!deed.not_stored && !silent) {
        assert_true(stage->row_count < STAGE_ROWS_MAX && participant < STAGE_SERVICES_MAX);
        fact.position = ++stage->positions[participant];
        stage->attempts[stage->row_count] = command.attempt;
        stage->methods[stage->row_count] = command.method;
        stage->rows[stage->row_count++] = (struct saga_judge_row){
            .participant = participant,
            .position = fact.position,
            .saga_id = stage->id,
            .step = command.step,
            .op = deed.op,
            .code = deed.code,
            .empty = deed.empty,
        };
    }
    saga_judge_deed(stage->judge, &fact);
}

void stage_reply(struct stage *stage, uint8_t step, enum saga_op op, uint32_t code)
{
    const struct saga_step_run *run = &stage->saga.steps[step];
    stage_take(stage, (struct saga_event){.kind = SAGA_EVENT_REPLY,
                                          .step = step,
                                          .op = op,
                                          .code = code,
                                          .attempt = op == SAGA_OP_CALL ? run->call_attempts
                                                                        : run->undo_attempts});
}

void stage_do(struct stage *stage, uint8_t step, enum saga_op op)
{
    stage_send(stage, step, op);
    stage_deed(stage, (struct stage_deed){.step = step, .op = op});
    stage_reply(stage, step, op, SAGA_CODE_OK);
}

void stage_forward(struct stage *stage, uint8_t last)
{
    for (uint8_t step = CUSTOMER; step <= last; step++) {
        stage_do(stage, step, SAGA_OP_CALL);
    }
}

void stage_turn_back(struct stage *stage)
{
    stage_start(stage);
    stage_forward(stage, TICKET);
    stage_send(stage, PAYMENT, SAGA_OP_CALL);
    stage_deed(stage, (struct stage_deed){.step = PAYMENT,
                                          .op = SAGA_OP_CALL,
                                          .code = SAGA_CODE_FAILED_PRECONDITION,
                                          .reason = "A_REASON"});
    stage_reply(stage, PAYMENT, SAGA_OP_CALL, SAGA_CODE_FAILED_PRECONDITION);
}

void stage_undo_all(struct stage *stage)
{
    stage_do(stage, TICKET, SAGA_OP_UNDO);
    stage_do(stage, STOCK, SAGA_OP_UNDO);
    stage_do(stage, ORDER, SAGA_OP_UNDO);
}

/* ---- The end ---- */

void stage_log(struct stage *stage)
{
    saga_judge_log_begin(stage->judge);
    for (size_t i = 0; i < stage->event_count; i++) {
        saga_judge_log_event(stage->judge, saga_buf_view(&stage->events[i]));
    }
    saga_judge_log_saga(stage->judge, stage->id, (enum saga_state)stage->saga.state,
                        stage->saga.seq);
    saga_judge_log_end(stage->judge);
}

static struct saga_bytes key_of(const struct stage *stage, char text[SAGA_ID_TEXT_SIZE])
{
    saga_id_format(stage->id, text);
    return saga_bytes_text(text);
}

void stage_publish_event(struct stage *stage, size_t index)
{
    char text[SAGA_ID_TEXT_SIZE];
    assert_true(index < stage->event_count);
    saga_judge_topic_audit(stage->judge, 1, key_of(stage, text),
                           saga_buf_view(&stage->events[index]));
}

void stage_publish_row(struct stage *stage, size_t index)
{
    char text[SAGA_ID_TEXT_SIZE];
    char step[SAGA_STEP_NAME_MAX + 1];
    char service[SAGA_METHOD_NAME_MAX + 1];
    char event_id[SAGA_METHOD_NAME_MAX + 32];
    const struct saga_judge_row *row = &stage->rows[index];
    (void)snprintf(service, sizeof service, "%s", stage->methods[index]);
    *strchr(service, '/') = '\0';
    (void)snprintf(event_id, sizeof event_id, "%s/%lld", service, (long long)row->position);
    (void)snprintf(step, sizeof step, "%s", row->step);
    Saga__V1__Status status = SAGA__V1__STATUS__INIT;
    status.code = row->code;
    Saga__V1__EffectEvent effect = SAGA__V1__EFFECT_EVENT__INIT;
    effect.event_id = event_id;
    effect.service = service;
    effect.position = (uint64_t)row->position;
    effect.saga_id.data = stage->id.b;
    effect.saga_id.len = SAGA_ID_SIZE;
    effect.step = step;
    effect.op = (Saga__V1__Op)row->op;
    effect.status = &status;
    effect.empty = row->empty;
    effect.attempt = stage->attempts[index];
    struct saga_buf buf = {0};
    assert_int_equal(saga_message_encode(&effect.base, &buf), SAGA_ERR_OK);
    saga_judge_topic_effect(stage->judge, 0, key_of(stage, text), saga_buf_view(&buf));
    saga_buf_fini(&buf);
}

void stage_tables(struct stage *stage)
{
    saga_judge_tables_begin(stage->judge, stage->now);
    for (size_t i = 0; i < stage->row_count; i++) {
        const struct saga_judge_row *row = &stage->rows[i];
        saga_judge_table_row(stage->judge, row);
        if (row->code == SAGA_CODE_OK && !row->empty) {
            saga_judge_table_effect(stage->judge, row->participant, row->saga_id, row->step,
                                    row->op);
        }
    }
    saga_judge_tables_end(stage->judge);
}

void stage_finish(struct stage *stage)
{
    struct saga_judge_end end = {.healed = true, .audit_drained = true, .effects_drained = true};
    assert_int_equal(saga_judge_finish(stage->judge, &end, &stage->counts), SAGA_ERR_OK);
}

void stage_end(struct stage *stage)
{
    stage_log(stage);
    for (size_t i = 0; i < stage->event_count; i++) {
        stage_publish_event(stage, i);
    }
    for (size_t i = 0; i < stage->row_count; i++) {
        stage_publish_row(stage, i);
    }
    stage_tables(stage);
    stage_finish(stage);
}
