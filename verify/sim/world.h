/* Inside the world of the simulator. (Judge, workload and swarm have headers of their own and know
 * nothing of it.)
 *
 *   world.c fault.c phase.c   clock, happenings, hash, faults, safety and heal
 *   prepare.c                 definitions and database images, once for many worlds
 *   orch*.c                   the orchestrator's processes around the real runtime and store
 *   part*.c                   the participants' processes around the kit's real dispatch and
 * barrier net.c kafka.c relay.c     messages; logs, consumers; from outboxes to logs client.c those
 * who start sagas, and operators book.c                    which saga is which; what the store
 * holds durably; telling the judge
 *
 * A happening is a struct sim_event in a heap by virtual time. It belongs to a life of a process
 * (or to none): when that life has ended it is dropped, while the process hangs it waits. */
#ifndef SAGA_SIM_WORLD_H
#define SAGA_SIM_WORLD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "common/wire/envelope.h"
#include "orchestrator/runtime/runtime.h"
#include "services/kit/room.h"
#include "verify/sim/judge.h"
#include "verify/sim/sim.h"
#include "verify/sim/swarm.h"
#include "verify/sim/workload.h"
#include "verify/vfs/vfs.h"

enum {
    SIM_PARTICIPANTS_MAX = SAGA_PARTICIPANTS_MAX,
    SIM_KEY_SIZE = SAGA_START_KEY_MAX + 1,
    SIM_FAILED_STARTS_MAX = 50,
    SIM_KAFKA_US_MAX = 8000, /* of a record from producer to log, and to a consumer */
    SIM_ORCHS_MAX = 6,  /* orchestrators that exist at once: one, and those that lost the lease */
    SIM_PARTITIONS = 2, /* of each topic */
    SIM_TOPICS_MAX = 2 * SAGA_PARTICIPANTS_MAX + 3,
    SIM_SAY_SIZE = 256,
    SIM_FETCH_MAX = 256,  /* rows that a relay takes at once */
    SIM_QUEUE_MAX = 1024, /* entries of one turn */
};

/* What virtual 0 is on a clock without skew. */
/* No saga's index. */
#define SIM_NOBODY UINT32_MAX
#define SIM_EPOCH_MS INT64_C(1700000000000)

/* ---- Happenings ---- */

enum sim_kind {
    SIM_REQUEST_ARRIVES, /* data: message, subject: participant */
    SIM_ANSWER_ARRIVES,  /* data: message, subject: orchestrator */
    SIM_START_ARRIVES,   /* data: ask, subject: orchestrator */
    SIM_ORCH_TURN,
    SIM_ORCH_BEGIN, /* a new process is started */
    SIM_ORCH_END,   /* a process that has failed is stopped */
    SIM_PART_TURN,
    SIM_PART_BEGIN,
    SIM_PART_CHORES,
    SIM_RELAY_LOOK, /* data: relay; this and what follows: subject its process */
    SIM_RELAY_APPEND,
    SIM_RELAY_ACK,
    SIM_DIRECT_APPEND, /* data: record */
    SIM_ORCH_POLL,
    SIM_PART_POLL,
    SIM_CLIENT_SENDS, /* data: ask */
    SIM_CLIENT_HEARS, /* data: ask */
    SIM_CLIENT_LATE,  /* data: ask; no answer came */
    SIM_OPERATORS,    /* look over all sagas after healing */
    SIM_OPERATOR,     /* data: ask */
    SIM_CUT_ENDS,     /* data: participant */
    SIM_SLOT,         /* faults by time; asking whether all is over */
    SIM_HEAL,
};

struct sim_event {
    int64_t at_us;
    uint64_t order;
    enum sim_kind kind;
    uint32_t life;
    struct sim_process *process; /* NULL: of none */
    void *data;
    uint64_t number;
};

/* ---- Processes ---- */

enum sim_state { SIM_DOWN, SIM_UP, SIM_HUNG };

struct sim_process {
    enum sim_state state;
    uint32_t life;  /* unique in the world; 0: none */
    uint32_t index; /* participant's number, orchestrator's slot; for identities and texts */
    bool orch;
    int64_t skew_ms;
    int64_t wake_us; /* HUNG: until then */
    int64_t days_ms; /* its clock is so far ahead for a moment */
    int64_t days_until_us;
};

/* ---- Roads ---- */

struct sim_command {
    struct saga_outgoing outgoing;
    struct saga_bytes element; /* encoded, for a batch */
};

/* A request with many commands, and its answer. Lives in the world's arena. */
struct sim_message {
    struct sim_orch *orch;
    uint32_t life; /* of its sender */
    uint16_t participant;
    uint32_t copy;
    uint64_t identity; /* of its first command */
    size_t count;
    struct saga_outgoing *outgoing;
    struct saga_bytes request;
    int64_t timeout_us; /* so long its sender waits */
    enum { SIM_REPLIED, SIM_NOT_SENT, SIM_NO_REPLY } outcome;
    struct saga_bytes answer;
    bool *over; /* shared by copies: the sender has heard of it */
};

/* A record of a log; bytes in the world's arena. */
struct sim_entry_of_log {
    struct saga_bytes key, value;
    const char *event_id;
    int64_t at_us, visible_us;
    uint64_t order; /* over all logs */
};

struct sim_log {
    struct sim_entry_of_log *records;
    size_t count, capacity;
};

struct sim_topic {
    const char *name;
    struct sim_log logs[SIM_PARTITIONS];
};

/* One record on its way to a log. */
struct sim_produced {
    struct sim_topic *topic;
    struct saga_bytes key, value;
    const char *event_id;
    int64_t position; /* of its row */
};

/* What DURABLE needs of an outbox row. */
struct sim_durable {
    int64_t position;
    struct saga_id id;
    uint8_t step;
    enum saga_op op;
    uint32_t attempt;
};

/* From an outbox to the logs: one batch at a time, in order, again from what was acknowledged after
 * a failure (mirrors common/bus/kafka/relay.c). */
struct sim_relay {
    struct sim_world *world;
    struct sim_process *process;
    enum { SIM_RELAY_AUDIT, SIM_RELAY_OUTBOX, SIM_RELAY_EFFECTS } kind;
    void *owner;      /* struct sim_orch or sim_part */
    int64_t position; /* acknowledged */
    bool busy;        /* a batch is out, or a look is planned */
    bool again;       /* there may be more */
    struct sim_produced *batch;
    size_t count, capacity;
    struct sim_durable *durable; /* OUTBOX: of the batch */
    size_t durable_count, durable_capacity;
    int64_t last; /* position of the batch's last row */
};

/* ---- Clients ---- */

/* One wish: a start or an act. Lives in the world's arena; it is the ticket given to the runtime.
 */
struct sim_ask {
    struct sim_saga *saga;
    bool start;
    bool
        other; /* the start has another input; the act is on another definition than the main one */
    bool repeated;
    bool sure;      /* asked again until it is answered */
    int64_t number; /* of acts: makes each its own */
    bool heard;     /* answered; or given up */
    uint32_t tries;
    struct saga_bytes input, other_input;
    enum saga_act act;
    const char *step;
    const char *who;
    const char *why;
    struct saga_id target;              /* of an act */
    const struct saga_version *version; /* saga NULL: what is paused or goes on */
};

/* An answer on its way. */
struct sim_given {
    struct sim_ask *ask;
    struct saga_answer answer;
    char reason[SAGA_STATUS_REASON_MAX + 1];
};

/* ---- Orchestrator ---- */

/* An input of the loop. In the world's arena. */
struct sim_input {
    struct sim_input *next;
    enum { SIM_IN_ASK, SIM_IN_ANSWER, SIM_IN_REPLY, SIM_IN_ADVANCED } kind;
    uint64_t identity;
    struct sim_ask *ask;
    struct sim_message *message;
    /* REPLY */
    struct sim_topic *topic;
    int32_t partition;
    int64_t offset;
    /* ADVANCED */
    const char *relay;
    int64_t position;
    struct sim_durable *durable;
    size_t durable_count;
};

/* Where a turn is cut off. */
enum sim_cut {
    SIM_CUT_NONE,
    SIM_CUT_COMMIT_BEFORE,
    SIM_CUT_COMMIT_AFTER,
    SIM_CUT_SENDS,
    SIM_CUT_BETWEEN,
    SIM_CUT_ANSWERS,
    SIM_CUT_HANG, /* hangs before its sends */
};

/* Commands that wait for one participant. */
struct sim_pending {
    struct sim_command *commands;
    size_t count, capacity;
    size_t outstanding;
};

struct sim_orch {
    struct sim_process process;
    struct sim_world *world;
    unsigned vfs_process;
    struct saga_store_port inner;
    struct saga_store_ops ops;
    struct saga_runtime *runtime;
    uint64_t epoch;
    bool lost;       /* a successor has the lease */
    bool stopped;    /* its store has failed: nothing is taken any more */
    bool dead;       /* it died inside the code that runs now */
    bool hanging;    /* it hung after a commit: sends and answers wait */
    bool committing; /* or opening its store: it may die at any operation of the disk */
    bool serving;
    bool taking; /* the transaction that is open takes the lease */
    enum sim_cut cut;
    uint32_t cut_after; /* messages before the cut */
    uint64_t cut_identity;
    uint64_t io_life;     /* what is before it takes the lease, and the base of what follows */
    uint64_t io_identity; /* of the transaction: its place, or the event that it began with */
    uint64_t transactions;
    bool io_event; /* the transaction holds an event: it is that one's, wherever it stands */
    uint32_t io_count;
    uint32_t stop_after; /* operations of the disk until it dies; 0: none */
    struct sim_input *first, **tail;
    size_t input_count;
    int64_t turn_us; /* of the planned turn; 0: none */
    int64_t busy_us; /* the present turn lasts until then */
    struct sim_pending pending[SAGA_PARTICIPANTS_MAX];
    struct sim_given **answers; /* held back while it hangs */
    size_t answer_count, answer_capacity;
    struct sim_relay audit, outbox;
    int64_t *positions; /* of reply topics: next offsets to give to the loop */
    size_t position_capacity;
    int64_t poll_us; /* planned; 0: none */
    /* The transaction that is open: what the judge is told when it commits. */
    struct sim_change *changes;
    size_t change_count, change_capacity;
    struct saga_buf events; /* size (4 bytes), event, … */
};

/* A row that a transaction writes. */
struct sim_change {
    struct sim_saga *saga;
    struct saga state;
};

/* ---- Participants ---- */

struct sim_entry {
    struct sim_message *message; /* NULL: a record */
    struct saga_buf replies;
    struct sim_topic *topic;
    int32_t partition;
    int64_t offset;
};

struct sim_part {
    struct saga_kit kit; /* first: a call leads back to its participant */
    struct sim_process process;
    struct sim_world *world;
    struct saga_kit_app app;
    ProtobufCService service;
    struct sim_entry *queue;
    size_t queue_count, queue_capacity;
    bool turn_planned;
    int64_t poll_us;
    int64_t chores_us, prune_us, busy_us;
    struct sim_relay relay;
    int64_t positions[SIM_PARTITIONS]; /* next offsets to queue */
    struct sim_topic *commands;
    struct sim_topic *replies;
    bool cut_out, cut_back; /* the link to it */
    uint64_t cut_number;    /* of the present cut */
    uint64_t turns;
    int64_t slow_us;        /* of the present turn */
    int64_t stored;         /* position of the last row that is durable */
    struct sim_deed *deeds; /* of the present turn */
    size_t deed_count, deed_capacity;
    /* The command that runs now. */
    bool ran;
    struct saga_behaviour behaviour;
};

/* What the judge is told of a command when its turn is durable; memory of the turn. */
struct sim_deed {
    struct saga_command command;
    struct saga_reply reply;
    bool ran, read_only, starter_undo;
    int64_t position;
};

/* ---- The book ---- */

/* A saga by its key. Those below saga_count are the workload's, those behind are children. */
struct sim_saga {
    uint32_t index;
    uint64_t name; /* for identities: the index, or made of the parent's and its step */
    char key[SIM_KEY_SIZE];
    const struct saga_version *version;
    struct sim_saga *parent; /* NULL: it has none */
    struct saga_bytes input;
    bool parent_cancelled; /* by people, as it was parked */
    bool durable_there;
    struct saga durable; /* as last committed */
    int64_t ended_at_us; /* 0: not ended */
};

struct sim_id_slot {
    struct saga_id id;
    uint32_t saga; /* index + 1; 0: free */
};

/* ---- The world ---- */

/* What is prepared once for many worlds. */
struct saga_sim {
    struct saga_schema *schema;
    struct saga_bytes descriptor_set; /* owned */
    const struct saga_decl *decl;
    struct saga_version *versions; /* of the saga that is run, and of its children */
    size_t version_count;
    const struct saga_version *version; /* of the saga that is run */
    const struct saga_service *services[SIM_PARTICIPANTS_MAX];
    size_t service_count;         /* participants' numbers are indexes */
    struct saga_vfs_image *store; /* an orchestrator's database with the definitions */
};

struct sim_view {
    const struct saga_sim *sim;
    const struct saga_sim_config *config;
    struct saga_swarm swarm, swarm_healed;
    uint32_t ppm[SAGA_SIM_FAULT_COUNT];
    uint64_t seed;
    int64_t now_us;    /* virtual, from 0 */
    int64_t safety_us; /* end of the safety phase */
    bool healing;
    bool violated;
    uint32_t saga_count; /* of the workload */
    struct sim_saga **sagas;
    size_t saga_total; /* with children */
    struct saga_judge *judge;
    struct saga_sim_result *result;
};

struct sim_world {
    struct sim_view view;
    uint64_t hash;
    bool over;

    struct sim_event *heap;
    size_t heap_count, heap_capacity;
    uint64_t orders;
    uint32_t lives;

    struct saga_arena arena;
    struct saga_arena turn_arena; /* of the orchestrator's present turn */
    struct saga_arena tell_arena;
    int64_t logged; /* position of the last event that is durable */
    struct saga_vfs *disk;
    struct sim_orch orchs[SIM_ORCHS_MAX];
    struct sim_orch *orch; /* whom clients know; NULL: none */
    bool orch_planned;     /* one will be started */
    int64_t orch_skew_ms;
    uint32_t failed_starts;
    struct sim_orch *running;
    struct sim_part *parts;
    size_t part_count;
    struct sim_topic topics[SIM_TOPICS_MAX];
    size_t topic_count;
    struct sim_topic *audit_topic, *effects_topic, *reply_topics[SAGA_PARTICIPANTS_MAX];
    size_t reply_topic_count;
    int64_t broker_down_us; /* until then Kafka is away */
    uint32_t acts;

    size_t saga_capacity;
    uint32_t (*asked)[SAGA_STEPS_MAX][2]; /* of each saga: how often handlers were asked */
    size_t asked_capacity;
    struct sim_id_slot *ids;
    size_t id_capacity, id_count;
    uint32_t waiting; /* starts that are not acknowledged */

    uint64_t epoch;   /* of whoever has the lease */
    uint64_t effects; /* orders given */
    uint64_t records;
    uint64_t disk_ops;
    struct saga_sim_hit *hits; /* that happened: once each */
    size_t hit_count, hit_capacity;
    size_t fired_capacity;
    struct saga_buf scratch;
};

/* world.c */
void sim_run(struct sim_world *world);
void sim_at(struct sim_world *world, int64_t delay_us, struct sim_event ev);
void sim_fold(struct sim_world *world, uint64_t number);
void sim_fold_bytes(struct sim_world *world, struct saga_bytes bytes);
void *sim_take(struct sim_world *world, size_t size); /* zeroed; never NULL */
struct saga_bytes sim_keep(struct sim_world *world, struct saga_bytes bytes);
void *sim_grow(void *memory, size_t *capacity, size_t need, size_t size);
int64_t sim_clock_ms(const struct sim_world *world, const struct sim_process *process);

bool sim_talks(const struct sim_world *world);
void sim_say(struct sim_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
/* A rule is broken: the first one counts, the world stops. */
void sim_violate(struct sim_world *world, const char *rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* fault.c */
/* Tells whether a fault hits a thing. Each (kind, identity) happens at most once in a world; none
 * after healing. The text is only made when it happens. */
bool sim_fault(struct sim_world *world, enum saga_sim_fault kind, uint64_t identity,
               const char *what, ...) __attribute__((format(printf, 4, 5)));
/* A number below bound that depends on seed, salt and identity alone. bound 0: 0. */
uint64_t sim_draw(const struct sim_world *world, uint64_t salt, uint64_t identity, uint64_t bound);
uint64_t sim_mix(uint64_t a, uint64_t b);
uint64_t sim_text_mix(const char *text);
/* A length of time from a thousandth of max to max, short ones as likely as long ones. */
int64_t sim_length_us(const struct sim_world *world, uint64_t salt, uint64_t identity,
                      int64_t max_us);

/* chances.c */
void sim_chances(struct sim_world *world);

/* phase.c */
void sim_slot(struct sim_world *world, uint64_t number);
void sim_heal(struct sim_world *world);
void sim_cut_end(struct sim_world *world, struct sim_part *part, uint64_t number);

/* book.c */
struct sim_saga *sim_find(struct sim_world *world, struct saga_id id);
struct sim_saga *sim_saga_new(struct sim_world *world, const char *key);
void sim_remember(struct sim_world *world, struct saga_id id, struct sim_saga *saga);
uint64_t sim_name_of(struct sim_world *world, struct saga_id id);
uint64_t sim_command_identity(struct sim_world *world, struct saga_id id, uint8_t step,
                              enum saga_op op, uint32_t attempt);
struct sim_saga *sim_book_row(struct sim_world *world, const struct saga_row *row);
void sim_book_commit(struct sim_orch *orch);
void sim_book_doubt(struct sim_orch *orch);
void sim_book_clear(struct sim_orch *orch);
void sim_book_event(struct sim_orch *orch, struct saga_bytes event);
bool sim_book_found(void *user, const struct saga_row *row);

/* tell.c */
enum saga_err sim_tell_new(struct sim_world *world);
void sim_tell_asked(struct sim_world *world, const struct sim_ask *ask);
void sim_tell_answered(struct sim_world *world, const struct sim_ask *ask,
                       const struct saga_answer *answer);
void sim_tell_sent(struct sim_world *world, struct saga_bytes batch, uint64_t epoch);
void sim_tell_record(struct sim_world *world, const struct sim_topic *topic, int32_t partition,
                     const struct sim_produced *produced);
void sim_tell_deeds(struct sim_part *part);
void sim_tell_log(struct sim_orch *orch);
void sim_tell_end(struct sim_world *world);

/* orch.c */
void sim_orch_begin(struct sim_world *world, bool successor);
void sim_orch_die(struct sim_orch *orch, bool power);
void sim_orch_plan(struct sim_world *world, int64_t delay_us, bool successor);
void sim_orch_restart(struct sim_world *world);
void sim_orch_hang(struct sim_orch *orch, uint64_t identity);
void sim_orch_fini(struct sim_orch *orch);

/* orch_store.c */
void sim_orch_enter(struct sim_orch *orch);
void sim_orch_leave(struct sim_orch *orch);
void sim_orch_wrap(struct sim_orch *orch);
enum saga_vfs_outcome sim_disk_fault(void *user, const struct saga_vfs_io *io);

/* orch_turn.c */
void sim_orch_put(struct sim_orch *orch, struct sim_input *input);
void sim_orch_turn(struct sim_orch *orch, uint64_t number);
void sim_orch_wants_turn(struct sim_orch *orch);
struct saga_transport_port sim_orch_transport(struct sim_orch *orch);
struct saga_client_port sim_orch_client(struct sim_orch *orch);

/* orch_send.c */
void sim_orch_send(struct sim_orch *orch, const struct saga_outgoing *outgoing,
                   struct saga_bytes element);
void sim_orch_flush(struct sim_orch *orch);
int64_t sim_orch_send_due(const struct sim_orch *orch);
void sim_orch_take_answer(struct sim_orch *orch, struct sim_message *message);

/* part.c */
enum saga_err sim_part_open(struct sim_world *world, size_t number, struct saga_err_detail *detail);
void sim_part_close(struct sim_part *part);
void sim_part_begin(struct sim_part *part);
void sim_part_die(struct sim_part *part, const char *why);
/* part_turn.c */
void sim_part_put(struct sim_part *part, struct sim_entry entry);
void sim_part_turn(struct sim_part *part);
void sim_part_chores(struct sim_part *part, uint64_t number);
void sim_part_wants_chores(struct sim_part *part, int64_t delay_us);
/* part_handler.c */
enum saga_err sim_part_methods(struct sim_part *part);

/* net.c */
void sim_net_send(struct sim_world *world, struct sim_message *message);
void sim_net_answer(struct sim_world *world, const struct sim_message *message,
                    struct saga_bytes bytes, int64_t slow_us);
void sim_net_break(struct sim_world *world, const struct sim_message *message);
void sim_net_arrives(struct sim_world *world, struct sim_event *ev);
int64_t sim_latency_us(const struct sim_world *world, uint64_t identity);

/* kafka.c */
struct sim_topic *sim_topic(struct sim_world *world, const char *name);
uint64_t sim_record_identity(struct sim_world *world, struct saga_bytes key, const char *event_id);
void sim_topic_append(struct sim_world *world, const struct sim_produced *produced);
void sim_topics_free(struct sim_world *world);
void sim_orch_poll(struct sim_orch *orch, uint64_t number);
void sim_part_poll(struct sim_part *part, uint64_t number);
void sim_orch_wants_poll(struct sim_orch *orch, int64_t delay_us);
void sim_part_wants_poll(struct sim_part *part, int64_t delay_us);

/* relay.c */
void sim_relay_init(struct sim_relay *relay, struct sim_process *process, int64_t position);
void sim_relay_fini(struct sim_relay *relay);
void sim_relay_wake(struct sim_relay *relay);
void sim_relay_look(struct sim_relay *relay);
void sim_relay_append(struct sim_relay *relay);
void sim_relay_ack(struct sim_relay *relay);
void sim_direct_append(struct sim_world *world, struct sim_process *process,
                       struct sim_produced *produced);
/* relay_fetch.c */
bool sim_relay_fetch(struct sim_relay *relay);

/* client.c */
void sim_clients_begin(struct sim_world *world);
void sim_client_sends(struct sim_world *world, struct sim_ask *ask);
void sim_client_answer(struct sim_orch *orch, struct sim_given *given);
void sim_client_hears(struct sim_world *world, struct sim_given *given);
void sim_client_late(struct sim_world *world, struct sim_ask *ask, uint64_t tries);
void sim_operators(struct sim_world *world);
void sim_operator(struct sim_world *world, struct sim_ask *ask);
void sim_hold(struct sim_world *world, const struct saga_version *version, enum saga_act act);

#endif
