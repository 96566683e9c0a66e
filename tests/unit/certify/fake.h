/* A participant in memory, on the port of certify: it keeps every rule, but for the one that is
 * broken by a switch. */
#ifndef TESTS_CERTIFY_FAKE_H
#define TESTS_CERTIFY_FAKE_H

#include "common/wire/envelope.h"
#include "verify/certify/certify.h"

/* X(name): what the participant does wrong. */
#define FAKE_FAULT_LIST(X)                                                                         \
    X(NONE)                                                                                        \
    X(SILENT)           /* answers nothing at all */                                               \
    X(HEALTH_STATE)     /* its health has no state */                                              \
    X(REFLECTION_EMPTY) /* an empty descriptor set */                                              \
    X(ECHO_SAGA)        /* the reply's saga_id is another */                                       \
    X(ECHO_STEP)                                                                                   \
    X(ECHO_ATTEMPT)                                                                                \
    X(ORDER_REVERSED)   /* the replies of a batch come in the other order */                       \
    X(REPLY_MISSING)    /* a batch of 64 has a reply too few */                                    \
    X(METHOD_NOT_FOUND) /* an unknown method is NOT_FOUND */                                       \
    X(EMPTY_OK)         /* an empty message is answered with no replies */                         \
    X(GARBAGE_DROPPED)  /* garbage drops the connection */                                         \
    X(GARBAGE_DEADLY)   /* garbage ends the process */                                             \
    X(TRUNCATED_OK)                                                                                \
    X(WIRE_TYPE_OK)                                                                                \
    X(UNKNOWN_REFUSED) /* a field of a newer peer is refused */                                    \
    X(BATCH_SHORT)     /* takes 255 commands */                                                    \
    X(BATCH_LONG_OK)   /* takes 257 */                                                             \
    X(OVERSIZED_DROPPED)                                                                           \
    X(FLOOD_DEADLY) /* a message without end ends it */                                            \
    X(PAYLOAD_LARGE_OK)                                                                            \
    X(SAGA_ID_OK)                                                                                  \
    X(STEP_OK)                                                                                     \
    X(OP_OK)                                                                                       \
    X(ATTEMPT_OK)                                                                                  \
    X(METADATA_OK)                                                                                 \
    X(READ_RESTLESS) /* tells of effects otherwise each time: nothing can be judged by it */       \
    X(READ_INTERNAL)                                                                               \
    X(CALL_RESPONSE)    /* a response that is not of its type */                                   \
    X(CALL_REPLAYED)    /* a first reply is marked as replayed */                                  \
    X(PAYLOAD_INTERNAL) /* a malformed payload is INTERNAL */                                      \
    X(LATE_DONE)        /* a call past its deadline is done */                                     \
    X(LATE_STORED)      /* it is refused, and the refusal is stored */                             \
    X(LATE_UNDO_STORED) /* an undo past its deadline forbids its call */                           \
    X(BATCH_ONE_FATE)   /* one bad command spoils its batch */                                     \
    X(CALL_TWICE)       /* no duplicate of a call is known */                                      \
    X(KEY_ATTEMPT)      /* the attempt is part of the key */                                       \
    X(BATCH_BLIND)      /* a call does not see itself in its own batch */                          \
    X(AT_ONCE_BLIND)    /* a call does not see itself among what comes at once */                  \
    X(EFFECT_TWICE)     /* the reply is replayed, the effect happens again */                      \
    X(BYTES_CHANGE)     /* the replayed response has other bytes */                                \
    X(KEY_NO_STEP)      /* the step is not part of the key */                                      \
    X(KEY_SAGA_CUT)     /* 15 bytes of the saga's id are */                                        \
    X(REUSED_CALL)      /* other values under a call's key are replayed */                         \
    X(REUSED_REASON)    /* their reason is not KEY_REUSED */                                       \
    X(REUSED_KEPT)      /* the refusal replaces the stored reply */                                \
    X(REUSED_METHOD)    /* the method does not count */                                            \
    X(REUSED_UNDO)                                                                                 \
    X(NO_FORGOTTEN) /* a definitive no is not stored */                                            \
    X(NO_UNDO_FULL) /* the undo of a refused call is not empty */                                  \
    X(RETRY_STORED)                                                                                \
    X(EPOCH_IGNORED)                                                                               \
    X(EPOCH_STORED)       /* a fenced command leaves a row */                                      \
    X(EPOCH_REPLAY)       /* a replay does not raise the epoch */                                  \
    X(UNDO_PAYLOAD_KEPT)  /* an undo that cannot be read is stored */                              \
    X(EMPTY_REFUSED)      /* an undo without its call is NOT_FOUND */                              \
    X(EMPTY_UNSAID)       /* it is not marked empty */                                             \
    X(EMPTY_FORGOTTEN)    /* it is not stored */                                                   \
    X(FORBIDDEN_DONE)     /* a call after its undo is done */                                      \
    X(FORBIDDEN_ONCE)     /* it is refused, and done when it comes again */                        \
    X(FORBIDDEN_REASON)   /* it is refused without the reason */                                   \
    X(FORBIDDEN_IN_BATCH) /* it is done when both are in one batch */                              \
    X(LATE_DUPLICATE)     /* a duplicate after the undo is done again */                           \
    X(LATE_ANEW)          /* so it is, but for what comes at once with the undo */                 \
    X(UNDO_IDLE)          /* an undo answers OK and does nothing */                                \
    X(UNDO_MORE)          /* it takes back more than the call has done */                          \
    X(NO_EFFECT)          /* a refused call has an effect */                                       \
    X(UNDO_RESPONSE)      /* the undo's response is not of its type */                             \
    X(UNDO_SAYS_EMPTY)    /* the undo of a done call says empty */                                 \
    X(UNDO_EMPTY_SOON)    /* so it does right behind its call, when its answer arrives */          \
    X(UNDO_TWICE)                                                                                  \
    X(EMPTY_ONCE)   /* a replayed undo never says empty */                                         \
    X(KEY_CAUSE)    /* the cause is part of an undo's key */                                       \
    X(UNDO_AT_ONCE) /* an undo does not see itself among what comes at once */                     \
    X(RACE_BLIND)   /* a call does not see its undo among what comes at once */                    \
    X(LOST_CALLS)   /* a restart forgets calls that were done */                                   \
    X(LOST_NOES)                                                                                   \
    X(LOST_UNDOS)                                                                                  \
    X(LOST_FORBIDDEN)                                                                              \
    X(LOST_LATE_CALLS)   /* calls are answered before they are kept: a kill loses the last ones */ \
    X(LOST_LATE_UNDOS)   /* the same for undos */                                                  \
    X(LOST_LATE)         /* and for both */                                                        \
    X(ANSWER_CUT)        /* the last answers before a kill cannot be read */                       \
    X(UNANSWERED_ANEW)   /* a call whose answer a kill took is done anew each time */              \
    X(UNANSWERED_EFFECT) /* it is replayed, and has an effect each time */                         \
    X(RESTART_NEVER)     /* it does not come back */

enum fake_fault {
#define X(name) FAKE_##name,
    FAKE_FAULT_LIST(X)
#undef X
};

const char *fake_fault_name(enum fake_fault fault);

enum {
    FAKE_FAULT_COUNT = 0
#define X(name) +1 /* NOLINT(bugprone-macro-parentheses): a summand */
    FAKE_FAULT_LIST(X)
#undef X
};

/* What it remembers of one key. */
struct fake_row {
    struct saga_id saga;
    char step[32];
    enum saga_op op;
    char method[96];
    struct saga_bytes payload; /* own copy */
    uint32_t code;
    char reason[32];
    struct saga_bytes response; /* own copy */
    bool empty;
    uint32_t attempt;
    char cause[32];
    size_t batch;     /* the message that made it */
    size_t exchange;  /* the messages that came with it */
    bool forbade;     /* it has refused a call */
    bool killed_soon; /* made shortly before a kill */
    bool unanswered;  /* its answer never arrived */
};

struct fake {
    enum fake_fault fault;
    bool dead;
    bool refuses;                /* says no to every call */
    bool idle_restart;           /* what should restart it does nothing */
    bool deadly_restart;         /* what should restart it kills it, fails, and does not start it */
    size_t room;                 /* and above so many that stand; 0: there is room for all */
    const char *probe, *balance; /* methods that a test names */
    struct fake_row *rows;
    size_t row_count, row_capacity;
    uint64_t epoch_max;
    struct saga_id epoch_saga;
    uint64_t effects;
    int64_t now_ms;
    size_t batch, exchange;
    size_t replayed_count;
    size_t restarts;
    size_t taken;      /* calls of 77 cents that stand: there may be one */
    size_t open_calls; /* done and not undone */
    size_t flights;    /* messages that a restart was given */
    bool killed_soon;
    bool unanswered;
    uint64_t asked;
};

/* Makes the port of a fake. */
struct saga_certify_port fake_port(struct fake *fake);
void fake_fini(struct fake *fake);

#endif
