/* The protocol of docs/semantics.md - the barrier (B1-B4, B6), undo, retry, persist-send-acknowledge, recovery - for two
 * participants and an orchestrator that crashes. It is a statement of its own: written from the rules, not from the C code,
 * which is held against it by comparing reachable outcomes (run, agree).
 *
 * A network that loses, doubles, delays and reorders without bound is a set: what was sent may arrive at any time,
 * any number of times, or never. So messages are bits. When faults stop (`healed`) each message that is still under way is lost or
 * kept, at will; from then on what is sent arrives, once, and participants say yes or no.
 *
 * Variants, one of:  -DSEQ    a, then b; both can be undone
 *                    -DPAR    a and b at once; both can be undone
 *                    -DPIVOT  a, then b, which is the pivot
 *                    -DTAIL   a is the pivot, then b, which is retried for ever and whose participant never says a definitive no
 * -DATTEMPTS=N  how often a call that can be undone is tried.  -DBREAK_x  breaks rule x (canaries: run).
 * -DOUTCOMES  prints each outcome that is reached. */

#ifndef ATTEMPTS
#define ATTEMPTS 2
#endif

#if defined(SEQ) || defined(PAR)
#define HAS_PIVOT 0
#define P 0
#define is_pivot(s) (false)
#define is_tail(s) (false)
#elif defined(PIVOT)
#define HAS_PIVOT 1
#define P 1
#define is_pivot(s) ((s) == 1)
#define is_tail(s) (false)
#elif defined(TAIL)
#define HAS_PIVOT 1
#define P 0
#define is_pivot(s) ((s) == 0)
#define is_tail(s) ((s) == 1)
#else
#error "define SEQ, PAR, PIVOT or TAIL"
#endif

mtype:saga_state = { RUNNING, COMPENSATING, COMPLETED, COMPENSATED, PARKED };
mtype:step_state = { WAITING, CALLED, SUCCEEDED, REJECTED, UNKNOWN, UNDOING, UNDONE, SKIPPED };
mtype:waits = { NOTHING, REPLY, RETRY };
mtype:row = { NO_ROW, DONE, REFUSED, EMPTY };

/* ---- the orchestrator: what is in its memory, and the same on disk ---- */

#define FIELDS(name)                  \
    mtype:saga_state name##saga = RUNNING;       \
    mtype:step_state name##st[2] = WAITING;      \
    mtype:waits name##wt[2] = NOTHING;      \
    byte name##failures[2];           \
    bool name##maybe[2];              \
    bool name##parked[2]

FIELDS(m_); /* memory */
FIELDS(d_); /* disk */
bool d_started; /* the saga is on disk: its start was acknowledged */

/* Commands decided on in this turn, that go out when it is durable. They are in memory only. */
bool out_call[2], out_undo[2];
/* The network took nothing: the command certainly did not leave. Known to this process only. */
bool unsent[2];

mtype = { IDLE, DECIDED, SENDING };
mtype phase = IDLE;

/* ---- the network ---- */

/* Commands, of whatever attempt: all attempts have one key. */
bool net_call[2], net_undo[2];
/* Definitive answers, to whatever attempt. The others (try later, set up wrongly) leave no trace at a participant (B6) and
 * mean something only while the attempt is awaited (S3): they are events of the orchestrator (step_event), not messages. */
bool say_ok[2], say_no[2], say_undone[2];

/* ---- the participants ---- */

mtype:row row_call[2] = NO_ROW;
mtype:row row_undo[2] = NO_ROW;
byte effects[2]; /* how often the call had its effect, the undo its */
byte undos[2];

bool healed;

#define COPY(to, from)                                                   \
    to##saga = from##saga;                                               \
    to##st[0] = from##st[0]; to##st[1] = from##st[1];                    \
    to##wt[0] = from##wt[0]; to##wt[1] = from##wt[1];                    \
    to##failures[0] = from##failures[0]; to##failures[1] = from##failures[1]; \
    to##maybe[0] = from##maybe[0]; to##maybe[1] = from##maybe[1];        \
    to##parked[0] = from##parked[0]; to##parked[1] = from##parked[1]

#define running (m_saga == RUNNING || m_saga == PARKED)

/* S2: a pivot that has left and was not definitively answered may have happened. */
#ifdef BREAK_S2_DEADLINE
#define pivot_reached (HAS_PIVOT && m_st[P] == SUCCEEDED)
#else
#define pivot_reached (HAS_PIVOT && (m_st[P] == SUCCEEDED || (m_st[P] == CALLED && (m_maybe[P] || m_wt[P] == REPLY))))
#endif

/* Nothing of step s is under way. */
#define silent(s) (!net_call[s] && !net_undo[s] && !say_ok[s] && !say_no[s] && !say_undone[s] && !unsent[s])

/* S1: where a saga may stay. A parked step that is no pivot ends with the saga's deadline at the latest. */
#define at_rest (d_saga == COMPLETED || d_saga == COMPENSATED || (d_saga == PARKED && HAS_PIVOT && d_parked[P]))

inline call_step(s)
{
    m_st[s] = CALLED;
    m_wt[s] = REPLY;
    out_call[s] = true
}

/* A step that can be called is called; when all are done the saga is. */
inline forward()
{
    if
    :: m_saga == RUNNING ->
#ifdef PAR
        skip;
#else
        if
        :: m_st[0] == SUCCEEDED && m_st[1] == WAITING -> call_step(1)
        :: else
        fi;
#endif
        if
        :: m_st[0] == SUCCEEDED && m_st[1] == SUCCEEDED -> m_saga = COMPLETED
        :: else
        fi
    :: else
    fi
}

#define can_be_undone(s) ((m_st[s] == SUCCEEDED || m_st[s] == UNKNOWN) && !is_pivot(s) && !is_tail(s))
#define left_to_undo(s) (can_be_undone(s) || m_st[s] == UNDOING)

inline undo_step(s)
{
    m_st[s] = UNDOING;
    m_wt[s] = REPLY;
    m_failures[s] = 0;
    out_undo[s] = true
}

/* S5: b before a where b came behind a; at once where they are branches. */
inline backward()
{
#ifndef TAIL
#ifndef PIVOT
    if
    :: can_be_undone(1) -> undo_step(1)
    :: else
    fi;
#endif
    if
#if defined(PAR) || defined(PIVOT) || defined(BREAK_S5_ORDER)
    :: can_be_undone(0) -> undo_step(0)
#else
    :: can_be_undone(0) && !left_to_undo(1) -> undo_step(0)
#endif
    :: else
    fi;
#endif
    if
    :: !left_to_undo(0) && !left_to_undo(1) -> m_saga = COMPENSATED
    :: else
    fi
}

inline abandon(s)
{
    if
    :: m_st[s] == WAITING -> m_st[s] = SKIPPED
#ifdef BREAK_S4_OUT
    :: m_st[s] == CALLED && m_maybe[s] -> m_st[s] = UNKNOWN
    :: m_st[s] == CALLED && !m_maybe[s] -> m_st[s] = SKIPPED
#elif defined(BREAK_S5_UNKNOWN)
    :: m_st[s] == CALLED -> m_st[s] = SKIPPED
#else
    /* S4: what is out may have an effect; its undo may overtake it, and forbids it then. */
    :: m_st[s] == CALLED && (m_maybe[s] || m_wt[s] == REPLY) -> m_st[s] = UNKNOWN
    :: m_st[s] == CALLED && !m_maybe[s] && m_wt[s] != REPLY -> m_st[s] = SKIPPED
#endif
    :: else
    fi;
    m_wt[s] = NOTHING;
    m_parked[s] = false
}

inline turn_back()
{
    m_saga = COMPENSATING;
    abandon(0);
    abandon(1);
    backward()
}

inline unpark()
{
    if
    :: m_saga == PARKED && !m_parked[0] && !m_parked[1] -> m_saga = RUNNING
    :: else
    fi
}

inline take_ok(s)
{
    m_st[s] = SUCCEEDED;
    m_wt[s] = NOTHING;
    m_maybe[s] = false;
    m_parked[s] = false;
    unpark();
    forward()
}

inline take_no(s)
{
    m_st[s] = REJECTED;
    m_wt[s] = NOTHING;
    m_maybe[s] = false;
    m_parked[s] = false;
    turn_back()
}

/* An attempt is over without a definitive answer: a participant that says later, or nobody who says anything in time. */
inline take_failure(s)
{
    m_maybe[s] = true;
    if
#ifdef BREAK_S2_GUESS
    :: m_failures[s] + 1 >= ATTEMPTS && !is_tail(s) ->
#else
    :: m_failures[s] + 1 >= ATTEMPTS && !is_pivot(s) && !is_tail(s) ->
#endif
        m_wt[s] = NOTHING;
        turn_back()
    :: else ->
        if
        :: is_pivot(s) || is_tail(s) -> skip /* tried for ever: not counted */
        :: else -> m_failures[s]++
        fi;
        m_wt[s] = RETRY
    fi
}

inline take_park(s)
{
    m_maybe[s] = true;
    m_parked[s] = true;
    m_wt[s] = NOTHING;
    m_saga = PARKED
}

/* Once faults have stopped, a message is taken once. */
inline consume(flag)
{
    if
    :: healed -> flag = false
    :: else
    fi
}

#define idle (phase == IDLE && d_started)

#define awaited(s) (idle && m_wt[s] == REPLY && !unsent[s])

/* What may happen to one step. Late and doubled answers change nothing: they are those that no option takes (dropped below). */
inline step_event(s)
{
    if
    :: idle && running && m_st[s] == CALLED && say_ok[s] -> consume(say_ok[s]); take_ok(s)
    :: idle && running && m_st[s] == CALLED && say_no[s] && !is_tail(s) -> consume(say_no[s]); take_no(s)
    /* The participant, which has the call, says: try later. */
    :: awaited(s) && m_st[s] == CALLED && net_call[s] && !healed -> take_failure(s)
    /* It says that something is set up wrongly. */
    :: awaited(s) && m_st[s] == CALLED && net_call[s] && !healed && !is_tail(s) -> take_park(s)
    /* Nobody says anything in time; once faults have stopped only if nothing can come. */
    :: awaited(s) && m_st[s] == CALLED && (!healed || silent(s)) -> take_failure(s)
    /* It certainly did not leave: no attempt. */
    :: idle && m_wt[s] == REPLY && unsent[s] -> unsent[s] = false; m_wt[s] = RETRY
    :: idle && m_st[s] == CALLED && m_wt[s] == RETRY -> call_step(s)
    :: idle && m_st[s] == UNDOING && say_undone[s] ->
        consume(say_undone[s]);
        m_st[s] = UNDONE;
        m_wt[s] = NOTHING;
        backward()
    /* An undo never ends in failure: whatever the answer or without one, it is tried again. */
    :: awaited(s) && m_st[s] == UNDOING && (!healed || silent(s)) ->
#ifdef BREAK_S1
        m_wt[s] = NOTHING
#else
        m_wt[s] = RETRY
#endif
    :: idle && m_st[s] == UNDOING && m_wt[s] == RETRY -> undo_step(s)
    fi
}

/* An answer that means nothing any more leaves the network (it matters only once faults have stopped). */
#define stale_answer(s)                                                             \
    (healed && ((m_st[s] != CALLED && (say_ok[s] || say_no[s])) || (m_st[s] != UNDOING && say_undone[s])))

inline drop_stale(s)
{
    if
    :: m_st[s] != CALLED -> say_ok[s] = false; say_no[s] = false
    :: else
    fi;
    if
    :: m_st[s] != UNDOING -> say_undone[s] = false
    :: else
    fi
}

inline persist()
{
    COPY(d_, m_);
    d_started = true
}

inline send(s)
{
    if
    :: out_call[s] ->
        out_call[s] = false;
        if
        :: net_call[s] = true
        :: !healed -> unsent[s] = true
        fi
    :: out_undo[s] ->
        out_undo[s] = false;
        if
        :: net_undo[s] = true
        :: !healed -> unsent[s] = true
        fi
    fi
}

/* S6: one transaction per turn, then sends. */
#define decided (out_call[0] || out_call[1] || out_undo[0] || out_undo[1])

active proctype Orchestrator()
{
    atomic {
        call_step(0);
#ifdef PAR
        call_step(1);
#endif
        phase = DECIDED
    }
end:
    do
    :: atomic { step_event(0); phase = DECIDED }
    :: atomic { step_event(1); phase = DECIDED }
    /* The deadline, or a cancel (S11). Not from the pivot on: then a cancel is refused. */
    :: atomic { idle && running && !pivot_reached ->
#ifdef BREAK_S11
            m_saga = COMPENSATED; /* killed, nothing undone */
            m_st[0] = SKIPPED; m_wt[0] = NOTHING; m_parked[0] = false;
            m_st[1] = SKIPPED; m_wt[1] = NOTHING; m_parked[1] = false;
#else
            turn_back();
#endif
            phase = DECIDED }
    :: atomic { idle && stale_answer(0) -> drop_stale(0) }
    :: atomic { idle && stale_answer(1) -> drop_stale(1) }
#ifdef BREAK_S6_ORDER
    :: atomic { phase == DECIDED -> phase = SENDING }
    :: atomic { phase == SENDING && (out_call[0] || out_undo[0]) -> send(0) }
    :: atomic { phase == SENDING && (out_call[1] || out_undo[1]) -> send(1) }
    :: atomic { phase == SENDING && !decided -> persist(); phase = IDLE }
#else
    :: atomic { phase == DECIDED -> persist(); phase = SENDING }
    :: atomic { phase == SENDING && (out_call[0] || out_undo[0]) -> send(0) }
    :: atomic { phase == SENDING && (out_call[1] || out_undo[1]) -> send(1) }
    :: atomic { phase == SENDING && !decided -> phase = IDLE }
#endif
    od
}

/* A new process takes the saga up: it cannot know whether what was decided has left, and sends again with the same key. */
inline recover(s)
{
    if
    :: m_st[s] == CALLED && m_wt[s] == REPLY -> m_maybe[s] = true; out_call[s] = true
    :: m_st[s] == UNDOING && m_wt[s] == REPLY -> out_undo[s] = true
    :: else
    fi
}

/* A crash takes what is in memory, at any point of a turn: after the decision, before it is durable, between two sends. A
 * saga that was not durable yet was not acknowledged: who asked for it asks again, which is its start. */
active proctype Crash()
{
end:
    do
    :: atomic { !healed ->
            out_call[0] = false; out_call[1] = false; out_undo[0] = false; out_undo[1] = false;
            unsent[0] = false; unsent[1] = false;
            COPY(m_, d_);
            if
            :: d_started ->
#ifdef BREAK_S6_RECOVERY
                phase = IDLE;
                m_wt[0] = (m_wt[0] == REPLY -> NOTHING : m_wt[0]);
                m_wt[1] = (m_wt[1] == REPLY -> NOTHING : m_wt[1])
#else
                recover(0);
                recover(1);
                phase = (decided -> DECIDED : IDLE)
#endif
            :: else ->
                call_step(0);
#ifdef PAR
                call_step(1);
#endif
                phase = DECIDED
            fi }
    od
}

/* The call's effect, and what must hold then. */
inline do_call(s)
{
    effects[s]++;
    assert(effects[s] <= 1);                                        /* S3 */
    assert(undos[s] == 0 && row_undo[s] == NO_ROW);                 /* S4 */
    assert(d_started && d_st[s] != WAITING && d_st[s] != SKIPPED);  /* S6 */
    assert(d_saga != COMPENSATED);                                  /* S5 */
#ifdef SEQ
    assert(s == 0 || undos[0] == 0);                                /* S5: nothing behind what was undone */
#endif
#ifdef PIVOT
    assert(s == 0 || (undos[0] == 0 && row_undo[0] == NO_ROW));     /* S2 */
    assert(s == 0 || running);                                      /* S2 */
#endif
    row_call[s] = DONE
}

inline do_undo(s)
{
    undos[s]++;
    assert(undos[s] <= 1);                                          /* S3 */
    assert(effects[s] == 1);                                        /* B2 */
    assert(d_st[s] == UNDOING || d_st[s] == UNDONE);                /* S6 */
#ifdef SEQ
    assert(s == 1 || effects[1] == undos[1]);                       /* S5 */
#endif
#ifdef PIVOT
    assert(effects[1] == 0);                                        /* S2 */
#endif
    row_undo[s] = DONE
}

/* A participant with its barrier. What it does and its row are one transaction. A crash of it before the commit is a message
 * that was lost, one after it an answer that was. */
inline serve_call(s)
{
    if
#ifdef BREAK_B1
    :: row_call[s] == DONE -> do_call(s); say_ok[s] = true
#else
    :: row_call[s] == DONE -> say_ok[s] = true    /* B1 */
#endif
    :: row_call[s] == REFUSED -> say_no[s] = true /* B6 */
#ifndef TAIL
#ifdef BREAK_B3
    :: row_call[s] == NO_ROW && row_undo[s] != NO_ROW -> do_call(s); say_ok[s] = true
#else
    :: row_call[s] == NO_ROW && row_undo[s] != NO_ROW -> say_no[s] = true /* B3: SAGA_UNDONE */
#endif
#endif
    :: row_call[s] == NO_ROW && row_undo[s] == NO_ROW ->
        if
        :: do_call(s); say_ok[s] = true
        :: !is_tail(s) ->
#ifndef BREAK_B6_NO
            row_call[s] = REFUSED;
#endif
            say_no[s] = true
#ifdef BREAK_B6_LATER
        :: !healed -> row_call[s] = EMPTY
#endif
        fi
#ifdef BREAK_B6_LATER
    :: row_call[s] == EMPTY -> skip /* says again and again: later */
#endif
    fi
}

inline serve_undo(s)
{
    if
#ifdef BREAK_B4
    :: row_undo[s] == DONE -> do_undo(s); say_undone[s] = true
    :: row_undo[s] == EMPTY -> say_undone[s] = true
#else
    :: row_undo[s] != NO_ROW -> say_undone[s] = true /* B4 */
#endif
    :: row_undo[s] == NO_ROW && row_call[s] == DONE -> do_undo(s); say_undone[s] = true
#ifdef BREAK_B2
    :: row_undo[s] == NO_ROW && row_call[s] != DONE -> say_undone[s] = true
#else
    :: row_undo[s] == NO_ROW && row_call[s] != DONE -> row_undo[s] = EMPTY; say_undone[s] = true /* B2 */
#endif
    fi
}

active proctype ParticipantA()
{
end:
    do
    :: atomic { net_call[0] -> consume(net_call[0]); serve_call(0) }
    :: atomic { net_undo[0] -> consume(net_undo[0]); serve_undo(0) }
    od
}

active proctype ParticipantB()
{
end:
    do
    :: atomic { net_call[1] -> consume(net_call[1]); serve_call(1) }
    :: atomic { net_undo[1] -> consume(net_undo[1]); serve_undo(1) }
    od
}

inline lose(flag)
{
    if
    :: flag -> flag = false
    :: true
    fi
}

/* Faults stop. What is under way is lost or kept, each message for itself. */
active proctype Healer()
{
    byte s;
    atomic {
        healed = true;
        do
        :: s < 2 ->
            lose(net_call[s]);
            lose(net_undo[s]);
            lose(say_ok[s]);
            lose(say_no[s]);
            lose(say_undone[s]);
            s++
        :: else -> break
        od;
        s = 0
    }
}

/* What must hold wherever the saga stays. */
#define whole(s) (effects[s] == 1 && undos[s] == 0)
#define clean(s) (effects[s] == undos[s])

active proctype Observer()
{
end:
    do
    :: d_step { d_saga == COMPLETED && !(whole(0) && whole(1)) ->
           assert(d_saga != COMPLETED || (whole(0) && whole(1))) /* S1: COMPLETED is the effect of all */ }
    :: d_step { d_saga == COMPENSATED && !(clean(0) && clean(1)) ->
           assert(d_saga != COMPENSATED || (clean(0) && clean(1))) /* S5: COMPENSATED leaves nothing */ }
#ifdef OUTCOMES
    :: atomic { d_saga == COMPLETED || d_saga == COMPENSATED || (healed && idle && at_rest && silent(0) && silent(1)) ->
           if
           :: d_saga == COMPLETED -> printf("OUTCOME COMPLETED %d%d %d%d\n", effects[0], undos[0], effects[1], undos[1])
           :: d_saga == COMPENSATED -> printf("OUTCOME COMPENSATED %d%d %d%d\n", effects[0], undos[0], effects[1], undos[1])
           :: d_saga == PARKED -> printf("OUTCOME PARKED %d%d %d%d\n", effects[0], undos[0], effects[1], undos[1])
           fi;
           break }
#endif
    od
}

/* S1: once faults stop, the saga ends and stays ended. */
ltl s1 { [] (healed -> <> [] at_rest) }
