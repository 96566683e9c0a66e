/* Sagas as people and programs see them: ids from the command line, JSON and tables. */
#ifndef SAGA_CLIENT_SAGAS_H
#define SAGA_CLIENT_SAGAS_H

#include "client/conn.h"
#include "saga/v1/orchestrator.pb-c.h"

/* Names without their prefix: "RUNNING", "CALLED", "REPLY", "RETRY". Never NULL. */
const char *saga_view_state(Saga__V1__SagaState state);
const char *saga_view_step_state(Saga__V1__StepState state);
const char *saga_view_event_kind(Saga__V1__EventKind kind);
const char *saga_view_act(Saga__V1__OperatorAct act);
const char *saga_view_health(int state);

/* Finds a saga state by its name, in any case. Gives false when there is none. */
bool saga_view_state_find(const char *name, Saga__V1__SagaState *state);

/* Reads the id that is the first operand. Exit status; the message is printed. */
int saga_view_operand_id(const struct saga_options *options, struct saga_id *id);

/* Writes wire bytes of an id as text; "?" when they are none. */
void saga_view_id_text(const ProtobufCBinaryData *data, char text[SAGA_ID_TEXT_SIZE]);

/* Makes JSON of a status, NULL when it is absent or OK. */
json_t *saga_view_status_json(const Saga__V1__Status *status);

/* Gives a step's last status; for the step that turned the saga back with its reason and message.
 * NULL: there is none. */
const Saga__V1__Status *saga_view_last_status(const Saga__V1__SagaView *saga,
                                              const Saga__V1__StepView *step);

/* Makes JSON of a pause; null when there is none. */
json_t *saga_view_pause_json(const Saga__V1__Pause *pause);

/* Writes a pause: "since 2026-11-23T16:47:32.123Z by ann: “new prices”"; "" when there is none. */
void saga_view_pause_text(const Saga__V1__Pause *pause, char *text, size_t size);

/* Makes JSON of a saga; one without steps (from a list) without the fields that a list does not
 * tell; its context by the schema (schema NULL: without). NULL: out of memory. */
json_t *saga_view_json(const Saga__V1__SagaView *saga, const struct saga_schema *schema);

/* Makes JSON of an audit event. NULL: out of memory. */
json_t *saga_view_event_json(const Saga__V1__AuditEvent *event);

/* Decodes a JSON text that the wire room wrote into a value. NULL: it is malformed or memory is
 * out. */
json_t *saga_view_wire_json(const struct saga_schema *schema, const char *type,
                            const ProtobufCBinaryData *wire);

/* How the end of a saga becomes an exit status: 0 COMPLETED, 1 COMPENSATED, 3 PARKED, 4 going on.
 */
int saga_view_exit(Saga__V1__SagaState state);

/* Checks that one saga is named, by id or by definition and key. Exit status; the message is
 * printed. */
int saga_view_check_named(const struct saga_options *options);

/* Fetches one saga with its events. *response is valid until the next call. Exit status; the
 * message is printed. */
int saga_view_fetch(struct saga_conn *conn, const struct saga_options *options, bool with_events,
                    const Saga__V1__GetSagaResponse **response);
int saga_view_fetch_id(struct saga_conn *conn, struct saga_id id, bool with_events,
                       const Saga__V1__GetSagaResponse **response);

#endif
