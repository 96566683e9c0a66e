/* Every limit of the project, in one place; docs/limits.md states them for users. */
#ifndef SAGA_BASE_LIMITS_H
#define SAGA_BASE_LIMITS_H

enum {
    /* Definitions. */
    SAGA_STEPS_MAX = 32,           /* steps in a definition; step sets are 64-bit masks */
    SAGA_STEP_NAME_MAX = 31,       /* bytes of a step's name */
    SAGA_DEFINITION_NAME_MAX = 63, /* bytes of a definition's name */
    SAGA_DEFINITIONS_MAX = 256,    /* definitions (versions) loaded at once */
    SAGA_METHOD_NAME_MAX = 255,    /* bytes of "package.Service/Method" */
    SAGA_BINDS_MAX = 64,           /* fields moved by one bind table */
    SAGA_NEST_DEPTH_MAX = 4,       /* sagas in sagas, the outermost counted */
    SAGA_NEST_COUNT_MAX = 64,      /* sagas that one saga may come to, with all that are in it */
    SAGA_TYPE_NAME_MAX = 511,      /* bytes of a full protobuf name */
    SAGA_FIELDS_MAX = 4096,        /* fields in a message type */
    SAGA_FINDINGS_MAX = 100,       /* findings of the static checks that are kept per definition */
    SAGA_STYLE_FINDINGS_MAX = 10000,  /* findings of the style rules that are kept of a set */
    SAGA_COMPAT_FINDINGS_MAX = 10000, /* findings of a comparison of two schemas that are kept */
    SAGA_TOPIC_NAME_MAX = 249,        /* bytes of a Kafka topic's name (Kafka's own limit) */

    /* Messages. */
    SAGA_MESSAGE_SIZE_MAX = 1024 * 1024,            /* bytes of an NNG message or a Kafka value */
    SAGA_MESSAGE_SIZE_HARD = 4 * 1024 * 1024,       /* above this the peer is disconnected unread */
    SAGA_BATCH_COUNT_MAX = 256,                     /* commands in a batch */
    SAGA_CONTEXT_SIZE_MAX = 64 * 1024,              /* bytes of a saga's context */
    SAGA_PAYLOAD_SIZE_MAX = 64 * 1024,              /* bytes of one command's or reply's payload */
    SAGA_STATUS_MESSAGE_MAX = 511,                  /* bytes of a status message */
    SAGA_STATUS_REASON_MAX = 63,                    /* bytes of a status reason */
    SAGA_START_KEY_MAX = 127,                       /* bytes of a start's idempotency key */
    SAGA_TRACEPARENT_MAX = 63,                      /* bytes of a W3C traceparent */
    SAGA_METADATA_COUNT_MAX = 32,                   /* pairs of metadata of a request */
    SAGA_METADATA_KEY_MAX = 63,                     /* bytes of a metadata key */
    SAGA_METADATA_VALUE_MAX = 1024,                 /* bytes of a metadata value */
    SAGA_WHO_MAX = 63,                              /* bytes of an operator's name */
    SAGA_WHY_MAX = 255,                             /* bytes of an operator's reason */
    SAGA_DESCRIPTOR_SET_SIZE_MAX = 4 * 1024 * 1024, /* bytes of a FileDescriptorSet */
    SAGA_FORMS_SIZE_MAX =
        512 * 1024 * 1024, /* bytes hashed for the definitions of one set: each with its types */
    SAGA_MESSAGE_DEPTH_MAX = 64,         /* messages in messages */
    SAGA_MESSAGE_NODES_MAX = 256 * 1024, /* messages in one message, at all depths */
    SAGA_JSON_DEPTH_MAX = 64,            /* nesting of a message in JSON */

    /* Time, in milliseconds. */
    SAGA_WAIT_MS_MAX = 60 * 1000,                /* longest wait of a client's request */
    SAGA_DEADLINE_MS_DEFAULT = 60 * 1000,        /* saga deadline */
    SAGA_CALL_DEADLINE_MS_DEFAULT = 5 * 1000,    /* one attempt of a call */
    SAGA_UNDO_DEADLINE_MS_DEFAULT = 10 * 1000,   /* one attempt of an undo */
    SAGA_RETRY_DELAY_MS_DEFAULT = 50,            /* first retry delay */
    SAGA_RETRY_DELAY_MS_MAX_DEFAULT = 10 * 1000, /* capped retry delay */
    SAGA_RETRY_ATTEMPTS_DEFAULT = 5,             /* attempts of a call */
    SAGA_DEADLINE_MS_LIMIT =
        14 * 24 * 3600 * 1000, /* longest deadline that can be asked for: 14 days */
    SAGA_RETRY_DELAY_MS_LIMIT =
        24 * 3600 * 1000,             /* longest retry delay that can be asked for: a day */
    SAGA_RETRY_ATTEMPTS_LIMIT = 1000, /* most attempts that can be asked for */
    SAGA_CLOCK_BACK_MS_MAX =
        60 * 1000, /* a clock that goes back by more is noticed: what it had put
                      off for longer than anything is put off counts as due */

    /* Queues and tables of a daemon. */
    SAGA_INBOX_COUNT_MAX = 16384, /* entries of a loop's inbox; a full inbox refuses at the door */
    SAGA_TURN_COUNT_MAX = 1024,   /* entries taken in one turn: one store transaction */
    SAGA_RUNNING_COUNT_MAX = 20480, /* sagas going forward at once: more would wait longer for their
                                       turn than an attempt lasts */
    SAGA_LIVE_COUNT_MAX = 1000000,  /* sagas in flight in one orchestrator */
    SAGA_PARTICIPANTS_MAX = 64,     /* services an orchestrator talks to */
    SAGA_REPLY_TOPICS_MAX = 256,    /* reply topics that an orchestrator reads since its start */
    SAGA_ADDRESSES_MAX = 8,         /* NNG URLs of one service */
    SAGA_ADDRESS_SIZE_MAX = 255,    /* bytes of an NNG URL */
    SAGA_RPC_CONTEXTS = 64,         /* requests that a server works on at once */
    SAGA_CLIENT_CONTEXTS = 16, /* requests that a client has outstanding with one participant */
    SAGA_WAITERS_MAX = 4096,   /* clients waiting (start with wait, watch) in one orchestrator */
    SAGA_RELAY_BATCH = 1000,   /* rows a relay reads and publishes at once */
    SAGA_RELAY_WINDOW_MAX = 50000, /* commands that go on behind one whose topic is missing */
    SAGA_RELAY_TOPICS_MAX = 256,   /* topics that a relay knows at once */
    SAGA_OFFSETS_MAX = 4096,       /* consumed Kafka partitions whose offsets a store keeps */
    SAGA_LIST_COUNT_MAX = 1000,    /* rows of a listing */

    /* Participants (the kit). */
    SAGA_KIT_PARTITIONS_MAX = 1024,               /* partitions of a command topic */
    SAGA_KIT_RECORDS_MAX = 4096,                  /* Kafka records taken and not yet committed */
    SAGA_KIT_RECORDS_SIZE_MAX = 32 * 1024 * 1024, /* their bytes */
    SAGA_KIT_STATEMENTS_MAX = 64,                 /* different SQL statements of one handler call */
    SAGA_KIT_DEAD_LETTER_SIZE_MAX = 512 * 1024,   /* bytes kept of an unusable record's value */
    SAGA_KIT_DEAD_LETTER_SIDE_SIZE_MAX = 64 * 1024, /* bytes kept of its key, and of its headers */
    SAGA_KIT_PRUNE_COUNT_MAX = 500,                 /* barrier rows looked at in one pruning */
    SAGA_KIT_RETENTION_DAYS_DEFAULT = 7,            /* age at which barrier rows are pruned */
    SAGA_KIT_RETENTION_DAYS_MAX = 3650,             /* longest retention */
    SAGA_KIT_SEED_SIZE_MAX = 64 * 1024 * 1024,      /* bytes of a seed file */

    /* The order service. */
    SAGA_ORDER_LINES_MAX = 100,             /* lines of an order */
    SAGA_ORDER_QUANTITY_MAX = 10000,        /* pieces of a line */
    SAGA_ORDER_KEY_MAX = 127,               /* bytes of an idempotency key */
    SAGA_ORDER_BODY_SIZE_MAX = 64 * 1024,   /* bytes of a request's body */
    SAGA_ORDER_HEADER_SIZE_MAX = 16 * 1024, /* bytes of a request's line and headers */
    SAGA_ORDER_JSON_DEPTH_MAX = 8,          /* nesting of a request's body */
    SAGA_ORDER_CONNECTIONS_MAX = 1024,      /* HTTP connections */
    SAGA_ORDER_TIMEOUT_S = 30,              /* idle or slow HTTP connection */
    SAGA_ORDER_START_QUEUE_MAX =
        16384, /* orders whose start waits in memory; more wait in the table */
    SAGA_ORDER_START_BATCHES_MAX =
        16, /* batches of starts that are sent, wait for their retry, or are being saved */
    SAGA_ORDER_START_OUTSTANDING_MAX =
        4, /* of those, batches that the orchestrator has not answered */
};

_Static_assert(SAGA_STEPS_MAX <= 64, "step sets are 64-bit masks");
_Static_assert(SAGA_PAYLOAD_SIZE_MAX < SAGA_MESSAGE_SIZE_MAX, "a payload fits into a message");
_Static_assert(SAGA_CONTEXT_SIZE_MAX < SAGA_MESSAGE_SIZE_MAX, "a context fits into a message");
_Static_assert(SAGA_MESSAGE_SIZE_MAX < SAGA_MESSAGE_SIZE_HARD,
               "oversized messages can be answered");
_Static_assert(SAGA_TURN_COUNT_MAX <= SAGA_INBOX_COUNT_MAX, "a turn empties a part of the inbox");

#endif
