"""A participant of sagas in Python: the author writes handlers and tables, this does the rest (docs/wire.md).

    participant = Participant(Settings(...), Schema.load("loyalty.binpb"), "loyalty.v1.LoyaltyService", tables=[...])

    @participant.handles("AddPoints")
    def add_points(call, request):
        call.db.execute("UPDATE ...")           # in the transaction of the barrier's row
        if ...:
            raise Refusal(Code.FAILED_PRECONDITION, "ACCOUNT_FULL", "...")   # what was written is rolled back
        return AddPointsResponse(points=7)

    sys.exit(participant.run())

Threads: the event loop (main) owns the sockets; the worker owns the database and runs the handlers; the intake reads Kafka; the
relay writes to it. The worker takes what waits, runs all of it in one transaction with a savepoint for each command, commits
once, and only then anything is answered."""
from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import fcntl
import json
import logging
import os
import pathlib
import queue
import re
import signal
import sqlite3
import threading
import time
import uuid
from typing import Any, Callable, Optional, Sequence, Union

from google.protobuf.message import DecodeError, Message

import saga_barrier
import saga_sp
from saga_barrier import OP_CALL, OP_NONE, OP_UNDO, VIA_KAFKA, VIA_NNG, Code, Outcome, Refusal
from saga_schema import Method, Schema

VERSION = "1.0"
MESSAGE_SIZE_MAX = saga_sp.MESSAGE_SIZE_MAX
BATCH_COUNT_MAX = 256
PAYLOAD_SIZE_MAX = 64 * 1024
METADATA_COUNT_MAX = 32
STATUS_MESSAGE_MAX, STATUS_REASON_MAX = 511, 63
SHORT_REPLY_SIZE = 256  # room for a reply without payload
INBOX_COUNT_MAX = 1024  # requests and records that wait
INBOX_SIZE_MAX = 64 * 1024 * 1024  # bytes of the requests in work
RECORDS_MAX = 256  # records that are taken and not committed
TURN_COMMANDS_MAX = 1024
RETRY_AFTER_MS = 50
CHORES_SECONDS = 0.2  # the worker looks up at least so often
PRUNE_SECONDS = 60.0
PRUNE_COUNT_MAX = 500
DRAIN_SECONDS = 10.0
RELAY_DRAIN_SECONDS = 2.0
STEP = re.compile(r"[a-z][a-z0-9_-]{0,30}\Z")
GRAPHIC = re.compile(r"[!-~]*\Z")
METADATA_KEY = re.compile(r"[a-z0-9._-]{1,63}\Z")

log = logging.getLogger("saga")


@dataclasses.dataclass(frozen=True)
class Settings:
    """How a participant runs."""

    name: str
    listen: str  # tcp://HOST:PORT (port 0: a free one) or ipc://PATH
    data: str  # SQLite file
    kafka: Optional[str] = None  # bootstrap servers; None: no intake, effects wait
    kafka_properties: dict[str, str] = dataclasses.field(default_factory=dict)
    ready_file: Optional[str] = None
    retention_days: int = 7  # B7: must be longer than a saga may live, parked ones too


@dataclasses.dataclass(frozen=True)
class Call:
    """What a handler is given beside its request."""

    db: sqlite3.Connection  # inside the transaction; neither commit nor roll back
    command: Any  # saga.v1.Command
    now_unix_ms: int

    @property
    def saga_id(self) -> uuid.UUID:
        """The saga."""
        return uuid.UUID(bytes=self.command.saga_id)


Handle = Callable[[Call, Any], Message]


@dataclasses.dataclass
class _Request:
    """A request of the socket; its future gets the encoded ReplyBatch."""

    body: bytes
    future: "concurrent.futures.Future[Optional[bytes]]"


_Entry = Union[_Request, Any]  # Any: a saga_kafka.Record; Kafka's module is loaded only where Kafka is


class Participant:
    """One service, its database, its doors."""

    def __init__(self, settings: Settings, schema: Schema, service: str, tables: Sequence[str],
                 starter_undos: Sequence[str] = ()) -> None:
        self.settings, self.schema, self.service = settings, schema, service
        self._tables = tables
        self._starter_undos = frozenset(starter_undos)  # methods: undos of steps that the starter does itself (B2's exception)
        self._handles: dict[str, Handle] = {}
        self._methods: dict[str, Method] = {}
        self._own = schema.methods(service)
        self._command_topic = schema.topics(service)[0]
        self._batch = schema.message("saga.v1.CommandBatch")
        self._command = schema.message("saga.v1.Command")
        self._replies = schema.message("saga.v1.ReplyBatch")
        self._reply = schema.message("saga.v1.Reply")
        self._serve_builtins()
        self._inbox: queue.Queue[_Entry] = queue.Queue(INBOX_COUNT_MAX)
        self._inbox_size = 0  # event loop only
        self._records = threading.Semaphore(RECORDS_MAX)
        self._stopping = threading.Event()
        self._stopping_intake = False
        self._failed: Optional[str] = None
        self._loop: Optional[asyncio.AbstractEventLoop] = None
        self._stop_wanted: Optional[asyncio.Event] = None
        self._intake: Any = None
        self._relay: Any = None
        self._published = (0, 0)  # position and dead letter that the relay has told; written by it alone
        self._saved = (0, 0)  # of these, what is in the database; written by the worker alone
        self._commits = 0

    # ---- For the author ----

    def handles(self, method: str) -> Callable[[Handle], Handle]:
        """Decorates the handler of a method of the service."""

        def add(handle: Handle) -> Handle:
            self._add(self._own[method], handle)
            return handle

        return add

    def run(self) -> int:
        """Serves until SIGTERM or SIGINT; gives the exit status."""
        missing = sorted(name for name, method in self._own.items() if method.full_name not in self._methods)
        if missing:
            raise ValueError(f"{self.service}: no handler for {', '.join(missing)}")
        lock = self._lock_database()
        try:
            self._db = saga_barrier.open_database(self.settings.data)
            for statement in (*saga_barrier.TABLES, *self._tables):
                self._db.execute(statement)
            self._published = self._saved = (saga_barrier.cursor(self._db), 0)
            return asyncio.run(self._serve())
        finally:
            os.close(lock)

    # ---- Methods ----

    def _add(self, method: Method, handle: Handle) -> None:
        self._methods[method.full_name] = method
        self._handles[method.full_name] = handle

    def _serve_builtins(self) -> None:
        reflection = self.schema.methods("saga.v1.ReflectionService")["GetDescriptorSet"]
        health = self.schema.methods("saga.v1.HealthService")["Check"]
        self._add(dataclasses.replace(reflection, read_only=True), lambda call, request: reflection.response(
            descriptor_set=self.schema.data,
            services=[self.service, "saga.v1.HealthService", "saga.v1.ReflectionService"]))
        self._add(dataclasses.replace(health, read_only=True), lambda call, request: self._health(health))

    def _health(self, method: Method) -> Message:
        serving, degraded = 1, 2
        state, detail = serving, ""
        if self._relay is None:
            state, detail = degraded, "not configured: no compensations are taken, effects wait"
        elif not self._relay.up:
            state, detail = degraded, "no broker can be reached: effects wait"
        elif self._intake is not None and not self._intake.up:
            state, detail = degraded, "the command topic is not being read: compensations wait"
        report = method.response(state=max(serving, state), version=f"{self.settings.name} {VERSION}")
        report.parts.add(name="store", state=serving, detail=f"commits={self._commits}")
        report.parts.add(name="kafka", state=state, detail=detail)
        return report

    # ---- Start and end ----

    def _lock_database(self) -> int:
        """One process for a database: two would both read the command topic."""
        lock = os.open(f"{self.settings.data}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(lock)
            raise SystemExit(f"{self.settings.data}: another process uses it") from None
        return lock

    async def _serve(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._stop_wanted = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(number, self._stop_wanted.set)
        self._start_kafka()
        worker = threading.Thread(target=self._work, name="worker", daemon=True)
        worker.start()
        server = saga_sp.Server(self._receive)
        address = await server.start(self.settings.listen)
        self._tell_ready(address)
        log.info("serves %s on %s", self.service, address)
        await self._stop_wanted.wait()
        log.info("stops")
        if self.settings.ready_file is not None:
            pathlib.Path(self.settings.ready_file).unlink(missing_ok=True)
        server.close_door()
        if self._intake is not None:
            await asyncio.to_thread(self._stop_intake)
        self._stopping.set()
        await asyncio.to_thread(worker.join)
        self._refuse_rest()
        await server.stop(DRAIN_SECONDS)
        if self._relay is not None:
            await asyncio.to_thread(self._relay.stop, RELAY_DRAIN_SECONDS)
            if self._failed is None:
                self._save_cursor()
        self._db.close()
        return 0 if self._failed is None else 1

    def _start_kafka(self) -> None:
        if self.settings.kafka is None:
            return
        import saga_kafka  # pylint: disable=import-outside-toplevel

        config = {"bootstrap.servers": self.settings.kafka, "client.id": self.settings.name, **self.settings.kafka_properties}
        self._relay = saga_kafka.Relay(config, self.settings.data, self.settings.name, self.service, self.schema,
                                       self._set_published)
        self._relay.start()
        if self._command_topic:
            positions = saga_barrier.positions(self._db, self._command_topic)
            self._intake = saga_kafka.Intake(config, self._command_topic, positions, self._put_record)
            self._intake.start()

    def _stop_intake(self) -> None:
        self._stopping_intake = True
        self._intake.stop()

    def _tell_ready(self, address: str) -> None:
        if self.settings.ready_file is None:
            return
        path = pathlib.Path(self.settings.ready_file)
        temporary = path.with_name(path.name + ".tmp")
        temporary.write_text(json.dumps({"name": self.settings.name, "pid": os.getpid(), "nng": address}), encoding="utf-8")
        temporary.replace(path)

    def _give_up(self, error: BaseException) -> None:
        """The store may have lost something: nothing is acknowledged any more, and the process ends."""
        self._failed = f"{type(error).__name__}: {error}"
        log.error("store failed: %s; nothing of this turn was acknowledged; stopping", self._failed, exc_info=error)
        if self._loop is not None and self._stop_wanted is not None:
            self._loop.call_soon_threadsafe(self._stop_wanted.set)

    # ---- Doors ----

    async def _receive(self, body: Optional[bytes]) -> Optional[bytes]:
        """A request from the socket. On the event loop."""
        if body is None:
            return self._refuse(Code.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED",
                                f"the message is too large, limit {MESSAGE_SIZE_MAX} (SAGA_MESSAGE_SIZE_MAX)")
        if self._stopping.is_set() or self._failed is not None:
            return self._refuse(Code.UNAVAILABLE, "STOPPING", "the participant is stopping", RETRY_AFTER_MS)
        entry = _Request(body, concurrent.futures.Future())
        if self._inbox_size + len(body) > INBOX_SIZE_MAX:
            return self._refuse(Code.RESOURCE_EXHAUSTED, "INBOX_FULL", "too much waits", RETRY_AFTER_MS)
        try:
            self._inbox.put_nowait(entry)
        except queue.Full:
            return self._refuse(Code.RESOURCE_EXHAUSTED, "INBOX_FULL", "too much waits", RETRY_AFTER_MS)
        self._inbox_size += len(body)
        try:
            return await asyncio.wrap_future(entry.future)
        finally:
            self._inbox_size -= len(body)

    def _refuse(self, code: Code, reason: str, message: str, retry_after_ms: int = 0) -> bytes:
        """One reply for a whole batch."""
        reply = self._reply()
        self._fill_status(reply, Outcome(code, reason, message, retry_after_ms))
        return self._replies(replies=[reply]).SerializeToString()

    def _put_record(self, record: Any) -> bool:
        """A record of the command topic. On the intake's thread."""
        while not self._records.acquire(timeout=0.1):
            if self._stopping_intake:
                return False
        while True:
            try:
                self._inbox.put(record, timeout=0.1)
                return True
            except queue.Full:
                if self._stopping_intake:
                    return False

    def _set_published(self, position: int, letter: int) -> None:
        """On the relay's thread: the worker writes it with the next turn, or soon."""
        self._published = (position, letter)

    # ---- The worker ----

    def _work(self) -> None:
        started = time.time(), time.monotonic()
        next_prune = time.monotonic()
        try:
            while self._failed is None:
                entries = self._take()
                if entries:
                    self._turn(entries)
                elif self._stopping.is_set():
                    return
                elif self._published != self._saved:
                    self._save_cursor()
                if time.monotonic() >= next_prune:
                    # By the smaller of two clocks: one that jumps ahead must not make rows look old.
                    now = min(time.time(), started[0] + time.monotonic() - started[1])
                    next_prune = time.monotonic() + (0 if self._prune(now) == PRUNE_COUNT_MAX else PRUNE_SECONDS)
        except Exception as error:  # pylint: disable=broad-except
            self._give_up(error)
        finally:
            self._refuse_rest()

    def _take(self) -> list[_Entry]:
        """What waits; waits a little for a first entry."""
        entries: list[_Entry] = []
        try:
            entries.append(self._inbox.get(timeout=CHORES_SECONDS))
            while len(entries) < INBOX_COUNT_MAX:
                entries.append(self._inbox.get_nowait())
        except queue.Empty:
            pass
        return entries

    def _turn(self, entries: list[_Entry]) -> None:
        """Runs entries, a transaction for as many as make a good one; answers each after its commit."""
        while entries:
            now_unix_ms = int(time.time() * 1000)
            answers: list[tuple[_Request, bytes]] = []
            directs: list[Any] = []
            taken = count = 0
            published = self._published
            self._db.execute("BEGIN IMMEDIATE")
            try:
                for entry in entries:
                    if isinstance(entry, _Request):
                        reply, commands = self._run_request(entry.body, now_unix_ms)
                        answers.append((entry, reply))
                        count += commands
                    else:
                        directs += self._run_record(entry, now_unix_ms)
                        count += 1
                    taken += 1
                    if count >= TURN_COMMANDS_MAX:
                        break
                saga_barrier.move_cursor(self._db, *published)
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                for entry in entries:
                    self._refuse_one(entry)
                raise
            self._commits += 1
            self._saved = published
            self._after_commit(entries[:taken], answers, directs)
            del entries[:taken]

    def _after_commit(self, entries: list[_Entry], answers: list[tuple[_Request, bytes]], directs: list[Any]) -> None:
        for request, reply in answers:
            request.future.set_result(reply)
        for entry in entries:
            if not isinstance(entry, _Request):
                self._records.release()
        if self._relay is not None:
            for direct in directs:
                self._relay.direct(direct)
            self._relay.wake()

    def _refuse_one(self, entry: _Entry) -> None:
        if isinstance(entry, _Request) and not entry.future.done():
            entry.future.set_result(self._refuse(Code.UNAVAILABLE, "STOPPING", "the participant is stopping", RETRY_AFTER_MS))

    def _refuse_rest(self) -> None:
        while True:
            try:
                self._refuse_one(self._inbox.get_nowait())
            except queue.Empty:
                return

    def _save_cursor(self) -> None:
        published = self._published
        self._db.execute("BEGIN IMMEDIATE")
        saga_barrier.move_cursor(self._db, *published)
        self._db.execute("COMMIT")
        self._saved = published

    def _prune(self, now: float) -> int:
        self._db.execute("BEGIN IMMEDIATE")
        before = int((now - self.settings.retention_days * 86400) * 1000)
        count = saga_barrier.prune(self._db, self._saved[0], before, PRUNE_COUNT_MAX)
        self._db.execute("COMMIT")
        return count

    # ---- Commands ----

    def _run_request(self, body: bytes, now_unix_ms: int) -> tuple[bytes, int]:
        """Runs a batch; gives the encoded ReplyBatch and the number of its commands."""
        try:
            batch = self._batch.FromString(body)
        except DecodeError:
            return self._refuse(Code.INVALID_ARGUMENT, "MALFORMED_MESSAGE", "the body is no saga.v1.CommandBatch"), 1
        try:
            if not 1 <= len(batch.commands) <= BATCH_COUNT_MAX:
                raise Refusal(Code.RESOURCE_EXHAUSTED if batch.commands else Code.INVALID_ARGUMENT,
                              "LIMIT_EXCEEDED" if batch.commands else "INVALID_FIELD",
                              f"the batch has {len(batch.commands)} elements, limit {BATCH_COUNT_MAX} (SAGA_BATCH_COUNT_MAX)")
            for i, command in enumerate(batch.commands):
                check_command(command, f"commands[{i}]: ")
        except Refusal as refusal:
            outcome = refusal.outcome
            return self._refuse(Code(outcome.code), outcome.reason, outcome.message), 1
        replies = self._replies()
        size = 0
        for command in batch.commands:
            outcome, _ = self._dispatch(command, VIA_NNG, now_unix_ms)
            reply = self._reply_to(command, outcome)
            if size + reply.ByteSize() > MESSAGE_SIZE_MAX - SHORT_REPLY_SIZE * BATCH_COUNT_MAX:
                # What was done is stored: asked for again, it is answered alone.
                reply = self._reply_to(command, Outcome(Code.UNKNOWN, "REPLY_TOO_LARGE", "the batch does not fit; ask again"))
            size += reply.ByteSize() + 8
            replies.replies.append(reply)
        return replies.SerializeToString(), len(batch.commands)

    def _run_record(self, record: Any, now_unix_ms: int) -> list[Any]:
        """Runs a record of the command topic and moves its offset; gives the reply if no row carries it."""
        import saga_kafka  # pylint: disable=import-outside-toplevel

        saga_barrier.move_position(self._db, record.topic, record.partition, record.offset + 1)
        reason = ""
        command = self._command()
        try:
            if len(record.value) > MESSAGE_SIZE_MAX:
                raise Refusal(Code.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED", f"larger than {MESSAGE_SIZE_MAX} bytes")
            command.ParseFromString(record.value)
            check_command(command)
            if command.op == OP_NONE:
                reason = "not a command of a saga (op)"
            elif not command.method.startswith(f"{self.service}/"):
                reason = "method of another service"
        except DecodeError:
            reason, command = "no saga.v1.Command", self._command()
        except Refusal as refusal:
            reason, command = refusal.outcome.message, self._command()
        if reason:
            log.warning("dead letter: %s/%d/%d: %s", record.topic, record.partition, record.offset, reason)
            saga_barrier.bury(self._db, *saga_kafka.dead_letter_headers(record, reason))
        if command.op == OP_NONE:
            return []
        outcome, stored = self._dispatch(command, VIA_KAFKA, now_unix_ms)
        if stored:
            return []
        reply = self._reply_to(command, outcome).SerializeToString()
        return [saga_kafka.Direct(uuid.UUID(bytes=command.saga_id), command.traceparent, reply)]

    def _dispatch(self, command: Any, via: int, now_unix_ms: int) -> tuple[Outcome, bool]:
        """Runs one command in the open transaction; gives what to answer, and whether a row holds it."""
        method = self._methods.get(command.method)
        if method is None:
            return Outcome(Code.UNIMPLEMENTED, "METHOD_UNKNOWN", command.method), False
        if 0 < command.deadline_unix_ms < now_unix_ms:
            return Outcome(Code.DEADLINE_EXCEEDED, "DEADLINE_PAST", "the deadline was past before it was begun"), False
        call = Call(self._db, command, now_unix_ms)
        if method.read_only or command.op == OP_NONE:
            return self._invoke(method, call), False
        try:
            if command.op == OP_UNDO:  # an undo that cannot be understood forbids nothing
                self._decode(method, command)
            outcome = saga_barrier.enter(self._db, command, command.method in self._starter_undos)
        except Refusal as refusal:
            return refusal.outcome, False
        if outcome is None:
            outcome = self._invoke(method, call)
        if outcome.replayed or not saga_barrier.keeps(command.op, outcome.code):
            return outcome, False
        saga_barrier.store(self._db, command, outcome, via, now_unix_ms)
        return outcome, True

    def _invoke(self, method: Method, call: Call) -> Outcome:
        """Runs a handler in a savepoint: its effect stays or goes as one."""
        self._db.execute("SAVEPOINT effect")
        try:
            response = self._handles[method.full_name](call, self._decode(method, call.command))
            payload = response.SerializeToString()
            size_max = MESSAGE_SIZE_MAX // 2 if call.command.op == OP_NONE else PAYLOAD_SIZE_MAX
            if len(payload) > size_max:
                raise Refusal(Code.INTERNAL, "RESPONSE_TOO_LARGE", f"the response has {len(payload)} bytes, limit {size_max}")
            outcome = Outcome(payload=payload)
        except Refusal as refusal:
            outcome = _cut(refusal.outcome)
        except Exception as error:  # pylint: disable=broad-except
            if is_store_failure(error):
                raise  # the store, not the handler: the turn is given up
            log.exception("%s", method.full_name)
            outcome = _cut(Outcome(Code.INTERNAL, "HANDLER_FAILED", f"{type(error).__name__}: {error}"))
        if outcome.code != Code.OK or method.read_only:
            self._db.execute("ROLLBACK TO effect")
        self._db.execute("RELEASE effect")
        return outcome

    @staticmethod
    def _decode(method: Method, command: Any) -> Message:
        try:
            return method.request.FromString(command.payload)
        except DecodeError:
            raise Refusal(Code.INVALID_ARGUMENT, "MALFORMED_PAYLOAD",
                          f"the payload is no {method.request.DESCRIPTOR.full_name}") from None

    # ---- Replies ----

    def _reply_to(self, command: Any, outcome: Outcome) -> Any:
        reply = self._reply(saga_id=command.saga_id, step=command.step, op=command.op, attempt=command.attempt,
                            payload=outcome.payload, replayed=outcome.replayed, empty=outcome.empty)
        self._fill_status(reply, outcome)
        return reply

    @staticmethod
    def _fill_status(reply: Any, outcome: Outcome) -> None:
        if outcome.code != Code.OK:  # absent means OK
            cut = _cut(outcome)
            reply.status.code, reply.status.reason = int(cut.code), cut.reason
            reply.status.message, reply.status.retry_after_ms = cut.message, cut.retry_after_ms


def is_store_failure(error: BaseException) -> bool:
    """Whether an error is the database's own (disk, memory, damage), not one of a statement."""
    if not isinstance(error, sqlite3.Error):
        return isinstance(error, (OSError, MemoryError))
    of_statement = (sqlite3.SQLITE_ERROR, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH, sqlite3.SQLITE_TOOBIG,
                    sqlite3.SQLITE_RANGE, sqlite3.SQLITE_MISUSE)
    return getattr(error, "sqlite_errorcode", sqlite3.SQLITE_MISUSE) & 0xFF not in of_statement


def _cut(outcome: Outcome) -> Outcome:
    """Texts as long as a peer takes them."""

    def cut(text: str, size: int) -> str:
        return text.encode("utf-8", "replace")[:size].decode("utf-8", "ignore")

    return dataclasses.replace(outcome, reason=cut(outcome.reason, STATUS_REASON_MAX),
                               message=cut(outcome.message, STATUS_MESSAGE_MAX))


def check_command(command: Any, where: str = "") -> None:
    """What docs/wire.md, section 2, asks of a command. Raises Refusal."""

    def invalid(what: str) -> Refusal:
        return Refusal(Code.INVALID_ARGUMENT, "INVALID_FIELD", where + what)

    if command.op not in (OP_NONE, OP_CALL, OP_UNDO):
        raise invalid(f"op {command.op} is unknown")
    if command.op == OP_NONE:
        if command.saga_id or command.step:
            raise invalid("saga_id and step must be empty when op is OP_UNSPECIFIED")
    elif len(command.saga_id) != 16:
        raise invalid(f"saga_id has {len(command.saga_id)} bytes, must have 16")
    elif not STEP.match(command.step):
        raise invalid("step must be [a-z][a-z0-9_-]*, 1 to 31 bytes")
    elif command.attempt < 1:
        raise invalid("attempt must be 1 or more")
    elif len(command.payload) > PAYLOAD_SIZE_MAX:
        raise Refusal(Code.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED",
                      f"{where}payload has {len(command.payload)} bytes, limit {PAYLOAD_SIZE_MAX} (SAGA_PAYLOAD_SIZE_MAX)")
    if not 1 <= len(command.method) <= 255 or not GRAPHIC.match(command.method):
        raise invalid('method must be "package.Service/Method"')
    if len(command.traceparent) > 63 or not GRAPHIC.match(command.traceparent):
        raise invalid("traceparent must be printable ASCII, at most 63 bytes")
    if command.deadline_unix_ms < 0:
        raise invalid("deadline_unix_ms is negative")
    if len(command.metadata) > METADATA_COUNT_MAX:
        raise Refusal(Code.RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED",
                      f"{where}metadata has more than {METADATA_COUNT_MAX} pairs (SAGA_METADATA_COUNT_MAX)")
    for pair in command.metadata:
        if not METADATA_KEY.match(pair.key) or len(pair.value.encode()) > 1024:
            raise invalid("metadata: key [a-z0-9._-]+ of at most 63 bytes, value of at most 1024")
