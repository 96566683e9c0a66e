"""The barrier (docs/wire.md, section 3): what this participant has done and answered, one row for each (saga, step, op), written in
the transaction of the effect. Its rows are the outbox too: `position` is their order. SQL and decisions, no I/O of its own."""
from __future__ import annotations

import dataclasses
import enum
import hashlib
import json
import sqlite3
import uuid
from typing import Any, Iterator, Optional, Sequence

OP_NONE, OP_CALL, OP_UNDO = 0, 1, 2
VIA_NNG, VIA_KAFKA = 1, 2
ROWS_MAX = 64  # a saga has at most 32 steps, each with a call and an undo


class Code(enum.IntEnum):
    """gRPC's status codes."""

    OK = 0
    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# A definitive no: no effect, and it will stay a no.
REJECTS = frozenset({Code.INVALID_ARGUMENT, Code.NOT_FOUND, Code.ALREADY_EXISTS, Code.FAILED_PRECONDITION, Code.OUT_OF_RANGE})


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What is answered to one command."""

    code: int = Code.OK
    reason: str = ""
    message: str = ""
    retry_after_ms: int = 0
    payload: bytes = b""
    replayed: bool = False
    empty: bool = False


class Refusal(Exception):
    """Raised by a handler, or by what checks for it: the command is answered with this status and has no effect."""

    def __init__(self, code: Code, reason: str, message: str, retry_after_ms: int = 0) -> None:
        super().__init__(message)
        self.outcome = Outcome(code, reason, message, retry_after_ms)


@dataclasses.dataclass(frozen=True)
class Row:
    """A row as the relay publishes it."""

    position: int
    saga_id: uuid.UUID
    step: str
    op: int
    method: str
    outcome: Outcome
    attempt: int
    via: int
    traceparent: str
    time_unix_ms: int


@dataclasses.dataclass(frozen=True)
class Letter:
    """A record that could not be used."""

    number: int
    key: Optional[bytes]
    value: bytes
    headers: list[tuple[str, bytes]]


TABLES = (
    """CREATE TABLE IF NOT EXISTS barrier (
      position     INTEGER PRIMARY KEY AUTOINCREMENT,
      saga_id      BLOB    NOT NULL,
      step         TEXT    NOT NULL,
      op           INTEGER NOT NULL,
      method       TEXT    NOT NULL,
      digest       BLOB    NOT NULL,
      code         INTEGER NOT NULL,
      reason       TEXT    NOT NULL,
      message      TEXT    NOT NULL,
      payload      BLOB    NOT NULL,
      empty        INTEGER NOT NULL,
      attempt      INTEGER NOT NULL,
      via          INTEGER NOT NULL,
      epoch        INTEGER NOT NULL,
      traceparent  TEXT    NOT NULL,
      time_unix_ms INTEGER NOT NULL,
      UNIQUE (saga_id, step, op)
    ) STRICT""",
    "CREATE TABLE IF NOT EXISTS relay_cursor (id INTEGER PRIMARY KEY CHECK (id = 1), position INTEGER NOT NULL) STRICT",
    "INSERT INTO relay_cursor VALUES (1, 0) ON CONFLICT DO NOTHING",
    """CREATE TABLE IF NOT EXISTS dead_letter (
      number INTEGER PRIMARY KEY AUTOINCREMENT, key BLOB, value BLOB NOT NULL, headers TEXT NOT NULL) STRICT""",
    """CREATE TABLE IF NOT EXISTS kafka_position (
      topic TEXT NOT NULL, partition INTEGER NOT NULL, next_offset INTEGER NOT NULL, PRIMARY KEY (topic, partition)) STRICT""",
)


def open_database(path: str) -> sqlite3.Connection:
    """Opens the one connection that writes. A commit is on the disk when it returns."""
    db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA journal_mode = WAL")
    db.execute("PRAGMA synchronous = FULL")
    db.execute("PRAGMA foreign_keys = ON")
    return db


def open_reader(path: str) -> sqlite3.Connection:
    """Opens a connection that only reads what is committed."""
    db = sqlite3.connect(f"file:{path}?mode=ro", uri=True, isolation_level=None, check_same_thread=False)
    db.execute("PRAGMA query_only = ON")
    return db


def digest_of(command: Any) -> bytes:
    """B5: what a key stands for."""
    return hashlib.sha256(command.method.encode() + b"\0" + command.payload).digest()


def enter(db: sqlite3.Connection, command: Any, starter_undo: bool = False) -> Optional[Outcome]:
    """Decides on a command of a saga. Gives what to answer without running it; None: run the handler. Raises Refusal. An empty
    undo (B2) is given too, and is to be stored. Pre: a transaction is open."""
    rows = db.execute("SELECT step, op, epoch, digest, code, reason, message, payload, empty, position FROM barrier"
                      " WHERE saga_id = ? LIMIT ?", (command.saga_id, ROWS_MAX)).fetchall()
    of_step = {row[1]: row for row in rows if row[0] == command.step}
    own, call, undo = of_step.get(command.op), of_step.get(OP_CALL), of_step.get(OP_UNDO)
    epoch = min(command.epoch, 2**63 - 1)
    if any(epoch < row[2] for row in rows):  # S8
        raise Refusal(Code.ABORTED, "FENCED", "a newer orchestrator owns this saga")
    if own is not None:
        if own[3] != digest_of(command):  # B5
            raise Refusal(Code.INVALID_ARGUMENT, "KEY_REUSED",
                          "the same saga, step and op were used with another method or payload")
        if epoch > own[2]:  # an old orchestrator must not act through a replay either
            db.execute("UPDATE barrier SET epoch = ? WHERE position = ?", (epoch, own[9]))
        return Outcome(own[4], own[5], own[6], 0, own[7], replayed=True, empty=bool(own[8]))  # B1, B4, B6
    if command.op == OP_CALL and undo is not None:  # B3
        raise Refusal(Code.FAILED_PRECONDITION, "SAGA_UNDONE", "this step was undone before its call came")
    if len(rows) >= ROWS_MAX:
        raise Refusal(Code.INVALID_ARGUMENT, "LIMIT_EXCEEDED", "this saga has as many steps here as a saga can have")
    if command.op == OP_UNDO and not starter_undo and not (call is not None and call[4] == Code.OK):  # B2
        return Outcome(empty=True)
    return None


def keeps(op: int, code: int) -> bool:
    """B6: whether an answer is stored. An undo is tried until it succeeds."""
    return code == Code.OK or (op == OP_CALL and code in REJECTS)


def store(db: sqlite3.Connection, command: Any, outcome: Outcome, via: int, now_unix_ms: int) -> None:
    """Stores the answer to a command. Pre: keeps()."""
    db.execute(
        "INSERT INTO barrier (saga_id, step, op, method, digest, code, reason, message, payload, empty, attempt, via, epoch,"
        " traceparent, time_unix_ms) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (command.saga_id, command.step, command.op, command.method, digest_of(command), int(outcome.code), outcome.reason,
         outcome.message, outcome.payload, int(outcome.empty), command.attempt, via, min(command.epoch, 2**63 - 1),
         command.traceparent, now_unix_ms))


def prune(db: sqlite3.Connection, position_max: int, before_unix_ms: int, count_max: int) -> int:
    """B7: deletes the oldest rows that are published and older than a time; gives their count."""
    return db.execute(
        "DELETE FROM barrier WHERE position IN (SELECT position FROM (SELECT position, time_unix_ms FROM barrier"
        " WHERE position <= ? ORDER BY position LIMIT ?) WHERE time_unix_ms < ?)",
        (position_max, count_max, before_unix_ms)).rowcount


# ---- The outbox ----


def cursor(db: sqlite3.Connection) -> int:
    """The last position that is known to be published."""
    return int(db.execute("SELECT position FROM relay_cursor").fetchone()[0])


def move_cursor(db: sqlite3.Connection, position: int, letter: int) -> None:
    """Remembers what is published."""
    db.execute("UPDATE relay_cursor SET position = ? WHERE position < ?", (position, position))
    db.execute("DELETE FROM dead_letter WHERE number <= ?", (letter,))


def rows_after(db: sqlite3.Connection, position: int, count_max: int) -> Iterator[Row]:
    """Rows that are not published, in order."""
    for row in db.execute(
            "SELECT position, saga_id, step, op, method, code, reason, message, payload, empty, attempt, via, traceparent,"
            " time_unix_ms FROM barrier WHERE position > ? ORDER BY position LIMIT ?", (position, count_max)):
        yield Row(row[0], uuid.UUID(bytes=row[1]), row[2], row[3], row[4],
                  Outcome(row[5], row[6], row[7], 0, row[8], empty=bool(row[9])), row[10], row[11], row[12], row[13])


def bury(db: sqlite3.Connection, key: Optional[bytes], value: bytes, headers: Sequence[tuple[str, bytes]]) -> None:
    """Stores a dead letter to be published."""
    text = json.dumps([[name, content.decode("latin-1")] for name, content in headers])
    db.execute("INSERT INTO dead_letter (key, value, headers) VALUES (?, ?, ?)", (key, value, text))


def letters_after(db: sqlite3.Connection, number: int, count_max: int) -> Iterator[Letter]:
    """Dead letters that are not published."""
    for row in db.execute("SELECT number, key, value, headers FROM dead_letter WHERE number > ? ORDER BY number LIMIT ?",
                          (number, count_max)):
        yield Letter(row[0], row[1], row[2], [(name, content.encode("latin-1")) for name, content in json.loads(row[3])])


# ---- Offsets ----


def positions(db: sqlite3.Connection, topic: str) -> dict[int, int]:
    """Where each partition goes on."""
    return dict(db.execute("SELECT partition, next_offset FROM kafka_position WHERE topic = ?", (topic,)).fetchall())


def move_position(db: sqlite3.Connection, topic: str, partition: int, next_offset: int) -> None:
    """Stores where a partition goes on, in the transaction of the record's effect."""
    db.execute("INSERT INTO kafka_position VALUES (?, ?, ?) ON CONFLICT (topic, partition)"
               " DO UPDATE SET next_offset = excluded.next_offset", (topic, partition, next_offset))
