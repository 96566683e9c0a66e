/* Three participants that live in the test: LeftService and RightService (effects that can be
 * undone), EndService (the pivot and what follows it). They keep a barrier as real ones do (B1-B4,
 * B6) in memory that outlives every sagad, note what they were asked, misbehave on demand, and take
 * undos from Kafka. Anything that no participant may ever see (a call before its turn, an undo
 * after the pivot) is noted as a violation. Thread: any, unless said otherwise. */
#ifndef SAGA_TESTS_INTEGRATION_FAKES_H
#define SAGA_TESTS_INTEGRATION_FAKES_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/base/id.h"
#include "common/base/status.h"
#include "common/bus/kafka/kafka.h"
#include "common/bus/nng/rpc.h"
#include "tests/support/support.h"

enum fake_name { FAKE_LEFT, FAKE_RIGHT, FAKE_END, FAKE_COUNT };

enum fake_step { STEP_LEFT, STEP_RIGHT, STEP_PIVOT, STEP_LAST, STEP_COUNT };

/* What a participant does with commands. */
enum fake_mode {
    FAKE_OK,
    FAKE_CODE,       /* answers with `code`, without effect */
    FAKE_GARBAGE,    /* bytes that are no reply */
    FAKE_BAD_OK,     /* OK with a payload that is not the response */
    FAKE_FEW,        /* one reply too few (none for a single command) */
    FAKE_OTHER_SAGA, /* rejects, in the name of another saga */
    FAKE_OTHER_STEP, /* rejects, in the name of another step */
    FAKE_SILENT,     /* does it, never answers */
    FAKE_HOLD,       /* does it, answers when released */
    FAKE_DICE,       /* one of a hundred things, by a seed: mostly good */
};

enum { FAKE_RECORDS = 1 << 17, FAKE_HELD_MAX = 512 };

/* What one saga had here. */
struct fake_record {
    struct saga_id id;
    bool used;
    uint8_t call[STEP_COUNT];  /* 0: none, else 1 + the stored code */
    uint8_t undo[STEP_COUNT];  /* 1: undone */
    uint8_t empty[STEP_COUNT]; /* the undo found nothing */
};

struct fakes;

struct fake {
    struct fakes *all;
    enum fake_name name;
    char address[SAGA_TEST_PATH_MAX];
    struct saga_rpc_server *server; /* NULL: down */
    enum fake_mode mode;
    enum saga_code code;
    size_t messages;
    size_t commands;
    size_t batch_max;                             /* commands of one message */
    struct saga_rpc_request *held[FAKE_HELD_MAX]; /* with FAKE_HOLD */
    size_t held_count;
};

struct fakes {
    pthread_mutex_t lock;
    struct fake fakes[FAKE_COUNT];
    struct fake_record *records; /* a hash table */
    size_t record_count;
    bool brief;     /* the sagas are of the definition "brief", which has no right */
    bool forgetful; /* keeps no records: for load alone */
    uint64_t dice;  /* FAKE_DICE's seed */
    size_t violations;
    char violation[256];      /* the first */
    enum saga_code undo_code; /* of undos from Kafka; OK: done */
    size_t undos;             /* records taken from Kafka */
    char run[32];             /* in the topics' names */
    struct saga_kafka_consumer *consumer;
    struct saga_kafka_producer *producer;
};

/* Makes the three in a directory; they are down. */
void fakes_init(struct fakes *fakes, const struct saga_test_dir *dir);
void fakes_fini(struct fakes *fakes);

/* They come and go; what they have done they remember. Thread: the test's. */
void fake_up(struct fakes *fakes, enum fake_name name);
void fake_down(struct fakes *fakes, enum fake_name name);
void fakes_up(struct fakes *fakes);

void fake_set(struct fakes *fakes, enum fake_name name, enum fake_mode mode, enum saga_code code);
void fakes_set(struct fakes *fakes, enum fake_mode mode);

/* The sagas that come now are of the definition "brief", or not. */
void fakes_set_brief(struct fakes *fakes, bool brief);

/* Answers what was held, and goes on with FAKE_OK. */
void fake_release(struct fakes *fakes, enum fake_name name);

/* Reads under the lock. */
size_t fake_commands(struct fakes *fakes, enum fake_name name);
size_t fake_messages(struct fakes *fakes, enum fake_name name);
size_t fake_held(struct fakes *fakes, enum fake_name name);
struct fake_record fakes_find(struct fakes *fakes, struct saga_id id);

/* Makes the topics and takes commands from Kafka from now on. Thread: the test's. */
void fakes_join_kafka(struct fakes *fakes, const char *bootstrap);

/* Names the topic of a kind: "left-commands", "right-replies". */
const char *fakes_topic(const struct fakes *fakes, const char *kind,
                        char out[static SAGA_TEST_PATH_MAX]);

/* Runs until it is killed: a participant in a process of its own, which can be stopped. Only OK. */
int fake_main(const char *address);

#endif
