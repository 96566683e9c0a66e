/* Stores as the real runtime leaves them: sagas of both kinds, driven by chance through every kind
 * of event, with crashes; and what a tamperer does to them. */
#ifndef SAGA_TESTS_UNIT_REPLAY_DRIVE_H
#define SAGA_TESTS_UNIT_REPLAY_DRIVE_H

#include "tests/unit/runtime/world.h"

enum { DRIVE_SAGAS_MAX = 256 };

struct drive {
    struct world world;
    uint64_t prng;
    struct saga_id ids[DRIVE_SAGAS_MAX];
    size_t count;
};

/* Opens a world, and closes it with its file. */
void drive_open(struct drive *drive, uint64_t seed);
void drive_close(struct drive *drive);

/* Starts a saga and gives its place in ids; count when it is refused. */
size_t drive_start(struct drive *drive, const char *definition);

/* Lets `steps` things happen: starts, replies of every class, late and twice, timers, Kafka, acts
 * on sagas and on definitions, crashes. */
void drive_run(struct drive *drive, unsigned steps);

/* Answers what is out of the saga with OK until it has ended. */
void drive_finish(struct drive *drive, size_t saga);

/* Answers one step's call, as of its present attempt. */
void drive_reply(struct drive *drive, size_t saga, uint8_t step, enum saga_code code,
                 const char *reason);

/* Lets time pass and timers fire. */
void drive_wait(struct drive *drive, int64_t ms);

/* Pauses a definition or lets it go on. */
void drive_pause(struct drive *drive, const char *definition, enum saga_act act);

/* Acts as an operator. */
void drive_operate(struct drive *drive, size_t saga, enum saga_act act, const char *step);

/* ---- On the file, while no runtime has it ---- */

/* Runs SQL. */
void drive_sql(struct drive *drive, const char *text);

struct Saga__V1__AuditEvent;

/* Changes one recorded event and then hashes it, all that follow, and the saga's row anew, as
 * somebody would who has the key to the house: only the engine can tell. */
void drive_rewrite(struct drive *drive, size_t saga, uint64_t seq,
                   void (*change)(struct Saga__V1__AuditEvent *event));

#endif
