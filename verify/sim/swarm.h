/* The swarm: which faults one seed turns on, how often they strike and how long they last.
 *
 * Each seed turns whole groups of faults off and weights the rest: a run with everything on at once
 * hides what only shows when one thing goes wrong for long. Nothing here makes a fault happen; the
 * world reads the knobs and rolls its own dice. Chances are in parts per million (ppm) of the
 * occasion named, times in milliseconds of virtual time. Thread: any; it is data. */
#ifndef SAGA_SIM_SWARM_H
#define SAGA_SIM_SWARM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/err.h"

/* Groups: each is on or off as a whole. LOAD is always on: it is no fault. */
enum saga_swarm_group {
    SAGA_SWARM_LOAD,
    SAGA_SWARM_NNG,         /* messages are lost, doubled, late */
    SAGA_SWARM_PARTITION,   /* links are cut for a while, some one way only */
    SAGA_SWARM_KAFKA,       /* records are late, refused, come again; Kafka is away */
    SAGA_SWARM_CRASH,       /* the orchestrator dies */
    SAGA_SWARM_ZOMBIE,      /* the orchestrator stops for a while and comes back */
    SAGA_SWARM_STORE,       /* the orchestrator's disk fails */
    SAGA_SWARM_PARTICIPANT, /* participants die */
    SAGA_SWARM_CLOCK,       /* wall clocks jump */
    SAGA_SWARM_ANSWERS,     /* participants say no, or nobody knows what */
    SAGA_SWARM_CLIENTS,     /* starters ask twice, operators act */
    SAGA_SWARM_GROUP_COUNT,
};

/* X(name, group, low, high, text): the value is drawn between low and high, small ones as likely as
 * large ones (by their logarithm); 0 when its group is off, and for half of the chances in a group
 * that is on. */
#define SAGA_SWARM_LIST(X)                                                                         \
    X(saga_count, LOAD, 1, 200, "sagas started in the safety phase")                               \
    X(start_every_ms, LOAD, 1, 400, "time between two starts")                                     \
    X(safety_ms, LOAD, 2000, 180000, "length of the safety phase")                                 \
    X(nng_lose_request_ppm, NNG, 1000, 200000, "a request is lost and nobody is told")             \
    X(nng_lose_reply_ppm, NNG, 1000, 200000, "a reply is lost and nobody is told")                 \
    X(nng_double_ppm, NNG, 1000, 200000, "a request arrives twice, the second one late")           \
    X(nng_refuse_ppm, NNG, 1000, 200000, "a request certainly does not leave")                     \
    X(nng_delay_ppm, NNG, 1000, 500000, "a message is late")                                       \
    X(nng_delay_ms_max, NNG, 10, 30000, "by at most so much")                                      \
    X(partition_every_ms, PARTITION, 500, 30000, "mean time between two cuts of a link")           \
    X(partition_ms_max, PARTITION, 100, 90000, "longest cut")                                      \
    X(partition_one_way_ppm, PARTITION, 100000, 900000, "a cut lets one direction through")        \
    X(kafka_refuse_ppm, KAFKA, 1000, 200000, "a record is not taken and must be tried again")      \
    X(kafka_delay_ppm, KAFKA, 1000, 500000, "a partition's consumer is late")                      \
    X(kafka_delay_ms_max, KAFKA, 10, 30000, "by at most so much")                                  \
    X(kafka_rewind_ppm, KAFKA, 100, 50000, "a consumer goes back to its committed offset")         \
    X(kafka_away_every_ms, KAFKA, 2000, 60000, "mean time between two absences of Kafka")          \
    X(kafka_away_ms_max, KAFKA, 100, 120000, "longest absence")                                    \
    X(crash_ppm, CRASH, 100, 20000, "the orchestrator dies at a point of a turn")                  \
    X(crash_restart_ms_max, CRASH, 1, 60000, "longest time until it is started again")             \
    X(crash_power_ppm, CRASH, 100000, 1000000, "with it, writes since the last fsync are lost")    \
    X(pause_every_ms, ZOMBIE, 2000, 60000, "mean time between two stops of the orchestrator")      \
    X(pause_ms_max, ZOMBIE, 1000, 90000, "longest stop")                                           \
    X(zombie_ppm, ZOMBIE, 200000, 1000000, "another one takes over meanwhile")                     \
    X(store_eio_ppm, STORE, 10, 2000, "a write or sync fails: EIO")                                \
    X(store_full_ppm, STORE, 10, 2000, "a write fails: ENOSPC")                                    \
    X(store_read_ppm, STORE, 10, 1000, "a read fails or is short")                                 \
    X(store_torn_ppm, STORE, 100000, 1000000, "a crash tears the write it falls into")             \
    X(participant_crash_ppm, PARTICIPANT, 100, 20000, "a participant dies at a point of a turn")   \
    X(participant_restart_ms_max, PARTICIPANT, 1, 60000, "longest time until it is back")          \
    X(participant_pause_every_ms, PARTICIPANT, 2000, 60000, "mean time between two stops of one")  \
    X(participant_pause_ms_max, PARTICIPANT, 100, 90000, "longest stop")                           \
    X(clock_jump_every_ms, CLOCK, 1000, 60000, "mean time between two jumps of a wall clock")      \
    X(clock_jump_ms_max, CLOCK, 10, 120000, "longest jump, ahead or back")                         \
    X(reject_ppm, ANSWERS, 1000, 200000, "a call's fate is a definitive no")                       \
    X(retry_ppm, ANSWERS, 1000, 300000, "an attempt is answered: no effect, try later")            \
    X(unknown_done_ppm, ANSWERS, 1000, 200000, "it has its effect, the answer is unknown")         \
    X(unknown_ppm, ANSWERS, 1000, 200000, "it has no effect, the answer is unknown")               \
    X(park_ppm, ANSWERS, 1000, 50000, "an attempt is answered: wrong set-up")                      \
    X(bad_reply_ppm, ANSWERS, 1000, 50000, "it has its effect, the response does not fit")         \
    X(slow_ppm, ANSWERS, 1000, 300000, "an attempt is slow")                                       \
    X(slow_ms_max, ANSWERS, 10, 30000, "by at most so much")                                       \
    X(failures_max, ANSWERS, 1, 9, "attempts that go wrong before the fate, at most")              \
    X(start_again_ppm, CLIENTS, 10000, 500000, "a start is sent a second time")                    \
    X(start_other_ppm, CLIENTS, 1000, 200000, "a start's key is used with another input")          \
    X(cancel_ppm, CLIENTS, 1000, 300000, "a saga is cancelled at some time")                       \
    X(act_ppm, CLIENTS, 1000, 300000, "an operator acts on a saga at some time")                   \
    X(hold_every_ms, CLIENTS, 2000, 60000, "mean time between two holds of a definition")          \
    X(hold_ms_max, CLIENTS, 100, 60000, "longest hold")

/* All zero is: no faults, nothing to do. */
struct saga_swarm {
    uint64_t seed;        /* that it was drawn from */
    uint32_t groups_mask; /* bit of each group that is on */
#define X(name, group, low, high, text) int64_t name;
    SAGA_SWARM_LIST(X)
#undef X
};

/* What is to be known of a knob. */
struct saga_swarm_knob {
    const char *name;
    enum saga_swarm_group group;
    int64_t low, high; /* bounds of what is drawn */
    const char *text;
};

/* Draws a swarm. The same seed gives the same one. */
void saga_swarm_draw(uint64_t seed, struct saga_swarm *swarm);

/* Turns every fault off; the load stays: what holds from the heal on. */
void saga_swarm_heal(struct saga_swarm *swarm);

/* Walks the knobs, in the order of the list. */
size_t saga_swarm_knob_count(void);
const struct saga_swarm_knob *saga_swarm_knob_at(size_t index);
int64_t saga_swarm_value(const struct saga_swarm *swarm, size_t index);

/* Sets one knob by name ("crash_ppm"); a fault's may be 0 (off) up to its highest value. Errors:
 * NOT_FOUND, LIMIT; detail says what would be good. */
enum saga_err saga_swarm_set(struct saga_swarm *swarm, const char *name, int64_t value,
                             struct saga_err_detail *detail) SAGA_WARN_UNUSED;

/* Turns a group off ("CRASH"); used when a failing seed is made smaller. Errors: NOT_FOUND. */
enum saga_err saga_swarm_group_off(struct saga_swarm *swarm, const char *name) SAGA_WARN_UNUSED;
const char *saga_swarm_group_name(enum saga_swarm_group group);

/* Rolls: true with a chance of so many parts per million. */
bool saga_swarm_strikes(uint64_t *prng, int64_t ppm);

/* Draws a length of time from 1 to its longest (0 when that is 0), mostly short ones; and the time
 * to the next of what happens every so many milliseconds in the mean. */
int64_t saga_swarm_length_ms(uint64_t *prng, int64_t ms_max);
int64_t saga_swarm_next_ms(uint64_t *prng, int64_t every_ms);

#endif
