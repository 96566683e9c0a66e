/* A stage for the judge: one saga of the ordering system, played by hand. The engine and the codec
 * make its events; everything else is said as the test wants it. */
#ifndef SAGA_TESTS_SIM_STAGE_H
#define SAGA_TESTS_SIM_STAGE_H

#include "common/wire/schema.h"
#include "orchestrator/codec/codec.h"
#include "verify/sim/judge.h"

enum { STAGE_EVENTS_MAX = 64, STAGE_ROWS_MAX = 32, STAGE_SERVICES_MAX = 8 };

/* Steps of create-order. */
enum { ORDER, CUSTOMER, STOCK, TICKET, PAYMENT, ACCEPT, CONFIRM };

struct stage {
    struct saga_schema *schema;
    struct saga_version version;
    struct saga_judge *judge;
    struct saga_judge_config config;
    struct saga_id id;
    struct saga saga;
    uint8_t hash[SAGA_DIGEST_SIZE];
    struct saga_update up;
    struct saga_buf events[STAGE_EVENTS_MAX];
    size_t event_count;
    size_t told; /* events committed so far */
    struct saga_judge_row rows[STAGE_ROWS_MAX];
    uint32_t attempts[STAGE_ROWS_MAX]; /* of each row */
    const char *methods[STAGE_ROWS_MAX];
    size_t row_count;
    int64_t positions[STAGE_SERVICES_MAX];
    int64_t now;
    uint64_t epoch;
    uint64_t broken[SAGA_RULE_COUNT];
    char last[SAGA_JUDGE_TEXT_SIZE + 64];
    struct saga_judge_counts counts;
};

void stage_open(struct stage *stage);
void stage_close(struct stage *stage);

/* Nothing was told; or this rule was, at least once. */
void stage_clean(struct stage *stage);
void stage_broke(struct stage *stage, enum saga_rule rule);

/* Gives the engine an event and encodes what comes of it. Not yet told to the judge. */
void stage_event(struct stage *stage, struct saga_event ev, const struct saga_judge_act *act);

/* Commits what has not been told. */
void stage_commit(struct stage *stage);

/* Both. */
void stage_take(struct stage *stage, struct saga_event ev);

/* A client starts the saga and is answered. */
void stage_start(struct stage *stage);
struct saga_judge_start stage_start_of(void);
struct saga_answer stage_answer_of(const struct stage *stage);

/* An operator asks, the event is taken, the operator is answered. */
void stage_act(struct stage *stage, enum saga_act act, uint8_t step);

/* What was done to the definition: the event of its stream, committed. */
struct saga_judge_act stage_pause_of(void);
void stage_pause(struct stage *stage, struct saga_buf *event);

/* The command of a step's present attempt. */
struct saga_command stage_command(const struct stage *stage, uint8_t step, enum saga_op op);
void stage_send(struct stage *stage, uint8_t step, enum saga_op op);

/* What a participant did. Fields left out: as for a first command that goes well. */
struct stage_deed {
    uint8_t step;
    enum saga_op op;
    struct saga_bytes payload; /* of the command */
    uint64_t epoch;            /* 0: the stage's */
    uint32_t code;
    const char *reason;
    struct saga_bytes reply; /* its payload */
    bool not_run;
    bool replayed;
    bool empty;
    bool not_stored;
};
void stage_deed(struct stage *stage, struct stage_deed deed);

/* A reply is taken. */
void stage_reply(struct stage *stage, uint8_t step, enum saga_op op, uint32_t code);

/* A step's call or undo goes well: sent, done, answered. */
void stage_do(struct stage *stage, uint8_t step, enum saga_op op);

/* Up to, without, the pivot; and the whole way. */
void stage_forward(struct stage *stage, uint8_t last);

/* A no of the payment turns the saga back; all is undone. */
void stage_turn_back(struct stage *stage);
void stage_undo_all(struct stage *stage);

/* Says everything about the end: log, tables, topics; then finishes. */
void stage_log(struct stage *stage);
void stage_publish_event(struct stage *stage, size_t index);
void stage_publish_row(struct stage *stage, size_t index);
void stage_tables(struct stage *stage);
void stage_finish(struct stage *stage);
void stage_end(struct stage *stage);

#endif
