/* The story of a saga, inside: what became of each step, gathered from the events. */
#ifndef SAGA_CLIENT_STORY_INTERNAL_H
#define SAGA_CLIENT_STORY_INTERNAL_H

#include "client/story.h"
#include "common/base/limits.h"

/* How often one command was tried. An attempt that could not leave the orchestrator is none. Times
 * are milliseconds since the start; -1: did not happen. */
struct effort {
    uint32_t decided;             /* number of the last attempt decided on */
    uint32_t unsent;              /* of these: could not be sent */
    bool open;                    /* the last one has no outcome yet */
    bool outbox;                  /* the last one waits for Kafka to take it */
    bool last_unsent;             /* the last outcome was that it could not be sent */
    int64_t open_ms;              /* when the last one was decided on, or Kafka took it */
    int64_t first_ms;             /* when the first one left */
    const Saga__V1__Status *last; /* last outcome other than OK of one that left */
};

/* What became of one step. */
struct chapter {
    const char *name;
    int64_t called_ms;
    int64_t answered_ms;
    int64_t undo_ms;
    int64_t undone_ms;
    size_t call_event; /* event by which it was called: steps of one event went out together */
    size_t undo_event;
    struct effort call;
    struct effort undo;
    Saga__V1__StepState state;
    bool uncertain; /* it was given up, or the saga turned back, before its call was answered */
    bool empty;     /* its undo found nothing */
    bool nested;    /* it is a saga of its own */
    const Saga__V1__Operator *call_by; /* whose hand settled its call, its undo; NULL: nobody's */
    const Saga__V1__Operator *undo_by;
    bool told;
};

struct teller {
    const struct saga_story *story;
    struct saga_buf *out;
    enum saga_err err;
    size_t line; /* columns used of the present line */
    struct chapter chapters[SAGA_STEPS_MAX];
    size_t chapter_count;
    int64_t start_ms;
    int64_t turned_ms; /* when it turned back; -1: it did not */
    size_t turned_event;
    const Saga__V1__Failure *cause;
    const Saga__V1__Operator *turned_by;
    int64_t recovered_ms;
    size_t recovered_count;
    Saga__V1__Status late; /* stands for an attempt whose answer did not come in time */
    char late_words[32];
};

/* Gathers all events of t->story into t. Sets t->err. */
void story_gather(struct teller *t);

/* Counts the attempts that left. */
uint32_t story_left_count(const struct effort *effort);

#endif
