/* What a new schema breaks: on the wire, and for sagas.
 *
 * Two descriptor sets in, findings out. On the wire both sides are taken to be alive at once: the
 * old schema's bytes are read by the new one's readers and the reverse, in protobuf and in JSON. Of
 * sagas it is taken that those in flight keep the version that they began with (its hash) while the
 * participants are deployed from the new schema.
 *
 * Pure: no files, no network, no clock. Thread: any; a report is immutable once made. */
#ifndef SAGA_VERIFY_COMPAT_H
#define SAGA_VERIFY_COMPAT_H

#include <stdbool.h>
#include <stddef.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/wire/schema.h"
#include "saga/v1/orchestrator.pb-c.h"

/* How bad a finding is. */
enum saga_compat_severity {
    SAGA_COMPAT_NOTE,    /* breaks nothing now: nothing in flight is hit */
    SAGA_COMPAT_WARNING, /* needs draining or care */
    SAGA_COMPAT_ERROR,   /* breaks what runs */
};

/* What a finding is about. */
enum saga_compat_kind { SAGA_COMPAT_KIND_WIRE, SAGA_COMPAT_KIND_SAGA };

/* Which sagas in flight a finding hits; of "its step" where the finding has one. */
enum saga_compat_hit {
    SAGA_COMPAT_HIT_NONE,  /* none: it is about callers, or sagas yet to come */
    SAGA_COMPAT_HIT_CALL,  /* those whose call of its step may still be sent or answered */
    SAGA_COMPAT_HIT_UNDO,  /* those whose undo of its step may still be sent or answered */
    SAGA_COMPAT_HIT_OPEN,  /* those in which its step is not over: call, undo, operator's acts */
    SAGA_COMPAT_HIT_PIVOT, /* those going forward that have not passed their pivot */
    SAGA_COMPAT_HIT_ALL,   /* all in flight */
};

/* X(code, kind, severity, hit, summary). Stable: names are neither changed nor used again.
 * docs/breaking.md says of each what it means; tests/contract/baseline/cases shows it. */
#define SAGA_COMPAT_CODES(X)                                                                       \
    X(FILE_REMOVED, WIRE, WARNING, NONE, "a .proto is gone or has another path")                   \
    X(FILE_OPTION_CHANGED, WIRE, WARNING, NONE,                                                    \
      "an option of a file that generated code hangs on")                                          \
    X(SYNTAX_CHANGED, WIRE, ERROR, NONE, "proto2 became proto3 or the reverse")                    \
    X(PACKAGE_CHANGED, WIRE, ERROR, NONE, "a file has another package")                            \
    X(TYPE_MOVED, WIRE, WARNING, NONE, "a type stands in another file")                            \
    X(MESSAGE_REMOVED, WIRE, ERROR, NONE, "a message is gone or renamed")                          \
    X(FIELD_REMOVED, WIRE, ERROR, NONE, "a field is gone and its number is free to be used again") \
    X(FIELD_NAME_RELEASED, WIRE, ERROR, NONE,                                                      \
      "a field is gone and its name is free to be used again")                                     \
    X(FIELD_RENUMBERED, WIRE, ERROR, NONE, "a field has another number")                           \
    X(FIELD_RENAMED, WIRE, ERROR, NONE, "a field has another name: JSON and data flow go by name") \
    X(FIELD_JSON_NAME_CHANGED, WIRE, ERROR, NONE, "a field has another name in JSON")              \
    X(FIELD_TYPE_CHANGED, WIRE, ERROR, NONE, "values are lost or read wrongly")                    \
    X(FIELD_TYPE_NARROWED, WIRE, ERROR, NONE, "not every old value fits the new type")             \
    X(FIELD_TYPE_WIDENED, WIRE, WARNING, NONE, "not every new value fits the old type")            \
    X(FIELD_TYPE_JSON_CHANGED, WIRE, ERROR, NONE, "the bytes agree, JSON does not")                \
    X(FIELD_MESSAGE_TYPE_CHANGED, WIRE, ERROR, NONE, "a field has another message or enum type")   \
    X(FIELD_CARDINALITY_CHANGED, WIRE, ERROR, NONE, "singular became repeated or the reverse")     \
    X(FIELD_MAP_CHANGED, WIRE, ERROR, NONE, "a map became a repeated message or the reverse")      \
    X(FIELD_REQUIRED_CHANGED, WIRE, ERROR, NONE, "a required field is new, or no longer required") \
    X(FIELD_ONEOF_CHANGED, WIRE, ERROR, NONE, "a field went into, out of, or between oneofs")      \
    X(ONEOF_RENAMED, WIRE, WARNING, NONE, "a oneof has another name")                              \
    X(FIELD_PRESENCE_CHANGED, WIRE, WARNING, NONE,                                                 \
      "absent and default became, or ceased to be, one")                                           \
    X(FIELD_DEFAULT_CHANGED, WIRE, ERROR, NONE, "an absent field means another value")             \
    X(RESERVED_REMOVED, WIRE, WARNING, NONE, "a number or name is no longer reserved")             \
    X(RESERVED_REUSED, WIRE, ERROR, NONE, "a reserved number or name is used again")               \
    X(EXTENSION_RANGE_REMOVED, WIRE, ERROR, NONE, "extensions have lost their numbers")            \
    X(EXTENSION_REMOVED, WIRE, ERROR, NONE, "an extension is gone")                                \
    X(ENUM_REMOVED, WIRE, ERROR, NONE, "an enum is gone or renamed")                               \
    X(ENUM_VALUE_REMOVED, WIRE, ERROR, NONE,                                                       \
      "an enum value is gone and its number is free to be used again")                             \
    X(ENUM_VALUE_NAME_RELEASED, WIRE, ERROR, NONE,                                                 \
      "an enum value is gone and its name is free to be used again")                               \
    X(ENUM_VALUE_RENAMED, WIRE, ERROR, NONE, "an enum value has another name: JSON goes by name")  \
    X(ENUM_DEFAULT_CHANGED, WIRE, ERROR, NONE, "an absent enum means another value")               \
    X(SERVICE_REMOVED, WIRE, ERROR, NONE, "a service is gone or renamed")                          \
    X(METHOD_REMOVED, WIRE, ERROR, NONE, "a method is gone or renamed")                            \
    X(METHOD_REQUEST_CHANGED, WIRE, ERROR, NONE, "a method takes another message")                 \
    X(METHOD_RESPONSE_CHANGED, WIRE, ERROR, NONE, "a method answers with another message")         \
    X(METHOD_STREAMING_CHANGED, WIRE, ERROR, NONE, "a method became streaming or ceased to be")    \
    X(METHOD_IDEMPOTENCY_CHANGED, WIRE, ERROR, NONE, "a method's idempotency_level is another")    \
    X(SERVICE_TOPICS_CHANGED, WIRE, ERROR, NONE, "a service's Kafka topics are others")            \
    X(SAGA_REMOVED, SAGA, ERROR, ALL, "a saga definition is gone")                                 \
    X(SAGA_RENAMED, SAGA, ERROR, ALL, "a saga definition has another name")                        \
    X(SAGA_REFUSED, SAGA, ERROR, NONE, "the new definition does not pass the static checks")       \
    X(CONTEXT_TYPE_CHANGED, SAGA, ERROR, NONE, "another message is the context")                   \
    X(INPUT_FIELD_CHANGED, SAGA, ERROR, NONE,                                                      \
      "what starters send is read otherwise or not at all")                                        \
    X(INPUT_FIELD_ADDED, SAGA, WARNING, NONE, "steps need an input that starters do not yet send") \
    X(CONTEXT_FIELD_CHANGED, SAGA, WARNING, NONE,                                                  \
      "kept contexts are shown wrongly by the new schema")                                         \
    X(CONTEXT_UNDO_FIELD_CHANGED, SAGA, ERROR, UNDO,                                               \
      "a pending undo needs a context field that changed")                                         \
    X(CALL_UNSERVED, SAGA, ERROR, CALL, "a call that sagas in flight will send has no method")     \
    X(UNDO_UNSERVED, SAGA, ERROR, UNDO, "an undo that sagas in flight will send has no method")    \
    X(CALL_REQUEST_CHANGED, SAGA, ERROR, CALL, "a call of sagas in flight is read otherwise")      \
    X(UNDO_REQUEST_CHANGED, SAGA, ERROR, UNDO, "an undo of sagas in flight is read otherwise")     \
    X(CALL_REPLY_CHANGED, SAGA, ERROR, CALL, "sagas in flight cannot use the new reply to a call") \
    X(UNDO_REPLY_CHANGED, SAGA, ERROR, UNDO,                                                       \
      "sagas in flight cannot use the new reply to an undo")                                       \
    X(CALL_TOPIC_MOVED, SAGA, ERROR, CALL, "calls by Kafka of sagas in flight reach nobody")       \
    X(UNDO_TOPIC_MOVED, SAGA, ERROR, UNDO, "undos of sagas in flight reach nobody")                \
    X(STEP_EFFECT_CHANGED, SAGA, ERROR, CALL, "a call has, or no longer has, an effect")           \
    X(UNDO_EFFECT_CHANGED, SAGA, ERROR, UNDO, "an undo has, or no longer has, an effect")          \
    X(STEP_REMOVED, SAGA, ERROR, OPEN, "a step is gone")                                           \
    X(STEP_RENAMED, SAGA, ERROR, OPEN, "a step has another name")                                  \
    X(STEP_ADDED, SAGA, WARNING, ALL, "a step that sagas in flight do not have")                   \
    X(STEP_KIND_CHANGED, SAGA, ERROR, OPEN, "a step can, or can no longer, be undone")             \
    X(STEP_CALL_CHANGED, SAGA, WARNING, CALL, "a step calls another method")                       \
    X(UNDO_CHANGED, SAGA, ERROR, UNDO, "a step is undone by another method")                       \
    X(UNDO_REMOVED, SAGA, ERROR, UNDO, "a step is no longer undone")                               \
    X(UNDO_ADDED, SAGA, WARNING, UNDO, "a step is undone that sagas in flight do not undo")        \
    X(STEP_ORDER_CHANGED, SAGA, WARNING, OPEN, "a step comes after others than before")            \
    X(STEP_VIA_CHANGED, SAGA, WARNING, OPEN, "commands take another road")                         \
    X(STEP_FLOW_CHANGED, SAGA, WARNING, OPEN, "a field comes from elsewhere or goes elsewhere")    \
    X(STEP_CONDITION_CHANGED, SAGA, WARNING, CALL, "a step runs under another condition")          \
    X(STEP_CHILD_CHANGED, SAGA, WARNING, OPEN, "a step runs another saga")                         \
    X(PIVOT_MOVED, SAGA, ERROR, PIVOT, "the point of no return is another")                        \
    X(DEADLINE_SHORTENED, SAGA, WARNING, NONE, "less time for the saga or an attempt")             \
    X(RETRY_REDUCED, SAGA, WARNING, NONE, "fewer attempts before a step is given up")

/* The codes. */
enum saga_compat_code {
#define X(code, kind, severity, hit, summary) SAGA_COMPAT_##code,
    SAGA_COMPAT_CODES(X)
#undef X
        SAGA_COMPAT_CODE_COUNT
};

/* What is known of a code. */
struct saga_compat_code_info {
    const char *name; /* "FIELD_RENAMED" */
    enum saga_compat_kind kind;
    enum saga_compat_severity severity;
    enum saga_compat_hit hit;
    const char *summary; /* what it says, in a few words */
};

/* Gives what is known of a code. Pre: code < SAGA_COMPAT_CODE_COUNT. */
const struct saga_compat_code_info *saga_compat_code_info(enum saga_compat_code code);

/* Finds a code by its name. Gives false when there is none. */
bool saga_compat_code_find(const char *name, enum saga_compat_code *code);

/* Gives "error", "warning" or "note"; "wire" or "saga"; "none", "call", … */
const char *saga_compat_severity_name(enum saga_compat_severity severity);
const char *saga_compat_kind_name(enum saga_compat_kind kind);
const char *saga_compat_hit_name(enum saga_compat_hit hit);

/* One finding. Texts are never NULL but where it says so. */
struct saga_compat_finding {
    enum saga_compat_code code;
    enum saga_compat_severity severity;
    const char *file;    /* as the descriptor set names it */
    int line, column;    /* from 1; 0 without source info */
    bool in_old;         /* the place is in OLD: NEW does not have the thing any more */
    const char *where;   /* "order.v1.Order.items", "order.v1.CreateOrder step \"payment\"" */
    const char *message; /* what is wrong, what it does, how to mend it */
    const char *saga;    /* OLD's definition; NULL: the finding is of no saga */
    const char *step;    /* the step of it, by its name in OLD; NULL: of the whole */
    int step_index;      /* of the step that the place is of, in the definition there; -1: none */
    enum saga_compat_hit hit;
    /* SAGA_REFUSED: what NEW's static checks found, which the place is of. NULL otherwise. It lives
     * as long as the report. */
    const struct saga_finding *refused;
};

/* Tells whether two findings, of any reports, say the same of the same thing. */
bool saga_compat_same(const struct saga_compat_finding *a, const struct saga_compat_finding *b);

/* What is compared. All zero: everything. */
struct saga_compat_config {
    const char *saga; /* only this saga of OLD, when its findings are asked for; NULL: all */
    bool without_wire;
    bool without_sagas;
    /* NEW may be a part of the whole: a file that it does not have is somebody else's and stays as
     * it is, unless a file that NEW was made for (which no other one of NEW imports) has of its
     * things under the same package. saga/v1/ is the orchestrator's. */
    bool partial;
    bool disabled[SAGA_COMPAT_CODE_COUNT];
};

struct saga_compat;

/* Compares two FileDescriptorSets (borrowed for the call): wire first, then sagas, each in OLD's
 * order. google/protobuf/ files are not looked at. Owns: *report is the caller's on success, until
 * saga_compat_free. Errors: MALFORMED, INVALID, LIMIT (a set that cannot be loaded; detail begins
 * with OLD or NEW); NO_MEMORY. */
enum saga_err saga_compat_compare(struct saga_bytes old_set, struct saga_bytes new_set,
                                  const struct saga_compat_config *config,
                                  struct saga_compat **report,
                                  struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Frees a report. NULL is nothing. */
void saga_compat_free(struct saga_compat *report);

/* Walks the findings; at most SAGA_COMPAT_FINDINGS_MAX are kept, the count of those beyond is
 * `dropped`. */
size_t saga_compat_count(const struct saga_compat *report);
const struct saga_compat_finding *saga_compat_at(const struct saga_compat *report, size_t index);
size_t saga_compat_dropped(const struct saga_compat *report);

/* Gives the schemas that were compared; they live as long as the report. */
const struct saga_schema *saga_compat_old_schema(const struct saga_compat *report);
const struct saga_schema *saga_compat_new_schema(const struct saga_compat *report);

/* Tells whether a finding hits a saga of OLD's version, as GetSaga shows it. held_by_parent: it is
 * a step of a saga in flight, which may turn it back even when it is COMPLETED. */
bool saga_compat_hits(const struct saga_compat_finding *finding, const Saga__V1__SagaView *saga,
                      bool held_by_parent);

/* How values of one singular field type fare when they are read as another. */
enum saga_compat_fit {
    SAGA_COMPAT_FIT_SAME,     /* both ways every value survives */
    SAGA_COMPAT_FIT_WIDENED,  /* every old value survives, not every new one the way back */
    SAGA_COMPAT_FIT_NARROWED, /* some old values do not survive */
    SAGA_COMPAT_FIT_BROKEN,   /* another wire type, or the same with another meaning */
};

/* Judges a pair of types on the wire. An enum counts as open (proto3). */
enum saga_compat_fit saga_compat_types_fit(enum saga_field_type from, enum saga_field_type to);

/* Tells whether JSON written of one type is read as the other (within the range of both). */
bool saga_compat_types_fit_json(enum saga_field_type from, enum saga_field_type to);

#endif
