/* The rules of the barrier (docs/semantics.md, B1-B6, S3, S4, S8) and of the envelope, asked of a
 * participant from outside: commands go in, replies come out, and what may not be shows.
 *
 * It knows nothing of the participant but its address and its schema. Every key is fresh, so that a
 * run can be repeated against the same participant; what a case did is undone where it can be.
 * Cases are a table (cases.c); the transport is a port, so that tests can put a participant in
 * memory there. One thread. */
#ifndef SAGA_CERTIFY_CERTIFY_H
#define SAGA_CERTIFY_CERTIFY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <jansson.h>

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "common/wire/schema.h"

enum {
    SAGA_CERTIFY_STEPS_MAX = 64,     /* steps of one participant */
    SAGA_CERTIFY_AT_ONCE_MAX = 64,   /* messages sent at the same time */
    SAGA_CERTIFY_ROUNDS_MAX = 10000, /* of the cases that race */
    SAGA_CERTIFY_TEXT_SIZE = 600,    /* what a result says, each part */
    SAGA_CERTIFY_VARIANTS_MAX = 64,  /* of a method's values */
};

/* ---- The way to the participant ---- */

/* One message and its answer. */
struct saga_certify_message {
    struct saga_bytes request;
    struct saga_buf answer; /* appended to */
    bool answered;          /* false: none came in time, or the connection broke */
};

struct saga_certify_port {
    void *context;
    /* Sends all messages at once and returns when each was answered or timed out. */
    void (*exchange)(void *context, struct saga_certify_message *messages, size_t count,
                     int64_t timeout_ms);
    /* Kills the participant, starts it again, and returns when it answers. While that goes on it
     * sends the messages, in their order and as close to the kill as can be; those that came too
     * late to be sent are not answered. NULL: it cannot be restarted. Errors: TIMEOUT (it does not
     * answer again: the participant's fault); all others say that there was no restart, which is
     * not its fault: INVALID (the command did not do its work), IO, NO_MEMORY. */
    enum saga_err (*restart)(void *context, struct saga_certify_message *messages, size_t count,
                             int64_t timeout_ms, struct saga_err_detail *detail);
    /* Sends a message of so many bytes over a connection of its own and hangs up; what comes of it
     * does not matter. False: it could not be sent at all (tls). NULL: neither. */
    bool (*flood)(void *context, uint64_t size);
    int64_t (*now_unix_ms)(void *context);
    void (*pause)(void *context, int64_t ms);
};

/* The port over NNG. */
struct saga_certify_nng;

struct saga_certify_nng_config {
    const char *address;
    const char *tls_ca, *tls_cert, *tls_key; /* NULL: none */
    const char *restart_command;             /* for /bin/sh -c; NULL: none */
    int64_t restart_ms_max;                  /* for the command and the way back */
    int64_t connect_ms_max;
};

/* Opens a few connections to an address. Errors: INVALID (address), UNAVAILABLE (nobody answers),
 * NO_MEMORY; detail says. Owns: the caller, until close. */
enum saga_err saga_certify_nng_open(const struct saga_certify_nng_config *config,
                                    struct saga_certify_nng **nng, struct saga_certify_port *port,
                                    struct saga_err_detail *detail) SAGA_WARN_UNUSED;
void saga_certify_nng_close(struct saga_certify_nng *nng);

/* ---- What is asked ---- */

/* One step to be judged. */
struct saga_certify_step {
    char name[SAGA_STEP_NAME_MAX + 1];
    const struct saga_method *call; /* NULL: done by the starter of the saga */
    const struct saga_method *undo; /* NULL: none */
};

/* A list of steps. */
struct saga_certify_steps {
    struct saga_certify_step list[SAGA_CERTIFY_STEPS_MAX];
    size_t count;
};

/* Adds a pair of methods; one that is there already is not added again. name may be NULL: it is
 * made of the method's. Errors: LIMIT, INVALID (both NULL). */
enum saga_err saga_certify_steps_add(struct saga_certify_steps *steps, const char *name,
                                     const struct saga_method *call, const struct saga_method *undo,
                                     struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Adds the steps of the schema's definitions (of one of them: saga) whose methods belong to one of
 * the services. Errors: LIMIT, NOT_FOUND (no such definition). */
enum saga_err saga_certify_steps_find(struct saga_certify_steps *steps,
                                      const struct saga_schema *schema, const char *saga,
                                      const char *const *services, size_t service_count,
                                      struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Request values: JSON by method, with placeholders (docs/certify.md). */
struct saga_certify_values;

/* Makes values: those of a file's text (empty: none), and for the methods of steps that it does not
 * have generated ones, the same for the same seed. Errors: INVALID (detail names method and place),
 * NO_MEMORY. Owns: the caller, until free; the schema must outlive it. */
enum saga_err saga_certify_values_make(const struct saga_schema *schema,
                                       const struct saga_certify_steps *steps,
                                       struct saga_bytes text, uint64_t seed,
                                       struct saga_certify_values **values,
                                       struct saga_err_detail *detail) SAGA_WARN_UNUSED;
void saga_certify_values_free(struct saga_certify_values *values);

/* Gives the values as JSON, a values file; borrowed. */
const json_t *saga_certify_values_json(const struct saga_certify_values *values);

/* Makes a values file to begin with: the values as they are, and for each call whose values were
 * generated the empty request as one that is refused, so that the file, used as it is, judges what
 * is judged without it. NULL: no memory. Owns: the caller's reference. */
json_t *saga_certify_values_template(const struct saga_certify_values *values,
                                     const struct saga_certify_steps *steps);

/* ---- What is found ---- */

enum saga_certify_verdict { SAGA_CERTIFY_PASS, SAGA_CERTIFY_FAIL, SAGA_CERTIFY_SKIP };

/* A case, as the table has it. */
struct saga_certify_about {
    const char *id;       /* "CERT-B1-DUPLICATE" */
    const char *rule;     /* "B1" */
    const char *title;    /* what is done */
    const char *expected; /* what must come */
    const char *hint;     /* how to mend a participant that fails */
};

struct saga_certify_result {
    const struct saga_certify_about *about;
    const struct saga_certify_step *step; /* NULL: of the participant as a whole */
    enum saga_certify_verdict verdict;
    char reason[SAGA_CERTIFY_TEXT_SIZE]; /* FAIL: what is wrong; SKIP: why not judged */
    char sent[SAGA_CERTIFY_TEXT_SIZE];
    char got[SAGA_CERTIFY_TEXT_SIZE];
    int64_t took_ms;
};

struct saga_certify_report {
    struct saga_certify_result *results;
    size_t count;
    size_t capacity;
    size_t passed, failed, skipped;
    size_t commands;     /* sent in all */
    size_t effects_left; /* calls that were done and could not be undone */
    bool narrowed;       /* not all of the participant was asked */
    bool restart_void;   /* a restart was asked for, and there was none */
};

/* What a report comes to. */
enum saga_certify_outcome {
    SAGA_CERTIFY_CERTIFIED, /* each central case of each rule that applies was judged and passed */
    SAGA_CERTIFY_BROKEN,    /* a case failed */
    SAGA_CERTIFY_UNJUDGED,  /* nothing failed, but a central case could not be judged */
    SAGA_CERTIFY_NARROWED,  /* what was asked passed, but it was not all */
};

/* Judges a report. A case is central unless it needs more than an address and good values: a probe,
 * a restart, refused values, a second method. A restart that was asked for and did not come makes
 * its cases central. */
enum saga_certify_outcome saga_certify_outcome(const struct saga_certify_report *report);

/* Counts the central cases that could not be judged. */
size_t saga_certify_unjudged(const struct saga_certify_report *report);

/* Gives "certified", "failed", "not judged" or "passed (narrowed)". */
const char *saga_certify_outcome_name(enum saga_certify_outcome outcome);

struct saga_certify_config {
    const struct saga_schema *schema;
    const struct saga_certify_steps *steps;
    const struct saga_certify_values *values;
    struct saga_certify_port port;
    uint64_t seed;  /* garbage, and what else is drawn by lot */
    uint64_t nonce; /* different in each run: saga ids and the values' ${id} */
    size_t rounds;  /* of the cases that race */
    size_t at_once; /* 2 to SAGA_CERTIFY_AT_ONCE_MAX */
    int64_t timeout_ms;
    const char *cases;         /* pattern of ids ('*', '?'), or NULL: all */
    const char *probe_method;  /* read-only method that tells effects; NULL: none */
    const char *probe_request; /* its JSON, with placeholders */
    /* A read-only method whose answer is the same again when a call was undone; NULL: none. */
    const char *balance_method;
    const char *balance_request;
    bool reflection; /* the participant must answer reflection */
    bool narrowed;   /* the steps are not all that the participant has */
    /* Told after each result; may be NULL. */
    void (*progress)(void *user, const struct saga_certify_result *result, size_t done,
                     size_t total);
    void *user;
};

/* Walks the table of cases. NULL at its end. */
const struct saga_certify_about *saga_certify_case(size_t index);

/* Tells how many results a run would have; list may be NULL, else gets them (verdict SKIP, no
 * reason), in the order of running. Errors: NO_MEMORY. */
enum saga_err saga_certify_plan(const struct saga_certify_config *config,
                                struct saga_certify_report *list) SAGA_WARN_UNUSED;

/* Runs the cases. Errors: NO_MEMORY, INVALID (probe), UNAVAILABLE (the participant answers nothing
 * from the start); what a participant does wrong is no error but a result. Owns: the caller, fini.
 */
enum saga_err saga_certify_run(const struct saga_certify_config *config,
                               struct saga_certify_report *report,
                               struct saga_err_detail *detail) SAGA_WARN_UNUSED;
void saga_certify_report_fini(struct saga_certify_report *report);

/* What a report is about. */
struct saga_certify_head {
    const char *address;
    uint64_t seed;
    bool all; /* print passed cases too */
};

/* Writes a report for people; as JSON (NULL: no memory; the caller's reference); as JUnit XML. */
void saga_certify_report_text(const struct saga_certify_report *report,
                              const struct saga_certify_head *head, FILE *file);
json_t *saga_certify_report_json(const struct saga_certify_report *report,
                                 const struct saga_certify_head *head);
enum saga_err saga_certify_report_junit(const struct saga_certify_report *report,
                                        const struct saga_certify_head *head,
                                        struct saga_buf *out) SAGA_WARN_UNUSED;

/* Gives "PASS", "FAIL" or "SKIP". */
const char *saga_certify_verdict_name(enum saga_certify_verdict verdict);

#endif
