/* The story of a saga in plain English, told from its audit events. Pure: no I/O. */
#ifndef SAGA_CLIENT_STORY_H
#define SAGA_CLIENT_STORY_H

#include "common/base/bytes.h"
#include "common/base/err.h"
#include "saga/v1/orchestrator.pb-c.h"

/* What the story is told from. */
struct saga_story {
    const Saga__V1__SagaView *saga; /* for its key and what to do next; may be NULL */
    Saga__V1__AuditEvent *const *events;
    size_t event_count;
    int64_t now_unix_ms; /* for "has not answered for 3 s" */
    size_t width;        /* columns; 0: one line */
};

/* Appends the story, one paragraph, with a newline at its end. Errors: NO_MEMORY; INVALID when
 * there are no events; LIMIT when there are more steps than a definition may have. */
enum saga_err saga_story_tell(const struct saga_story *story,
                              struct saga_buf *out) SAGA_WARN_UNUSED;

#endif
