"""Kafka's side of a participant (docs/wire.md, section 4): the intake of commands, and the relay of what the barrier holds."""
from __future__ import annotations

import collections
import contextlib
import dataclasses
import datetime
import logging
import sqlite3
import threading
import time
import uuid
from typing import Any, Callable, Optional

import confluent_kafka

import saga_barrier
from saga_barrier import VIA_KAFKA, Row
from saga_schema import Schema

LOOK_SECONDS = 5.0  # between looks for new partitions, and at the broker
LOOK_MISSING_SECONDS = 0.5
RELAY_ROWS_MAX = 500
RELAY_WAIT_SECONDS = 1.0
DIRECT_MAX = 4096  # replies that are in no outbox; when more wait the oldest is dropped: its command comes again
PAUSE_SECONDS = 0.5
DEAD_LETTER_SIZE_MAX = 512 * 1024
DEAD_LETTER_SIDE_SIZE_MAX = 64 * 1024

log = logging.getLogger("saga.kafka")


@dataclasses.dataclass(frozen=True)
class Record:
    """One record of the command topic."""

    topic: str
    partition: int
    offset: int
    key: Optional[bytes]
    value: bytes
    headers: list[tuple[str, bytes]]


@dataclasses.dataclass(frozen=True)
class Direct:
    """A reply record that comes from no row: it is produced once."""

    saga_id: uuid.UUID
    traceparent: str
    value: bytes


def dead_letter_headers(record: Record, reason: str) -> tuple[Optional[bytes], bytes, list[tuple[str, bytes]]]:
    """Key, value and headers of the dead letter of a record: no larger than what a broker takes."""
    headers = list(record.headers)
    if sum(len(name) + len(value) for name, value in headers) > DEAD_LETTER_SIDE_SIZE_MAX:
        headers = []
    headers += [("dead-letter-reason", reason.encode()), ("dead-letter-topic", record.topic.encode()),
                ("dead-letter-partition", str(record.partition).encode()), ("dead-letter-offset", str(record.offset).encode())]
    if len(record.value) > DEAD_LETTER_SIZE_MAX:
        headers.append(("dead-letter-full-size", str(len(record.value)).encode()))
    key = None if record.key is None else record.key[:DEAD_LETTER_SIDE_SIZE_MAX]
    return key, record.value[:DEAD_LETTER_SIZE_MAX], headers


class Intake(threading.Thread):
    """Reads all partitions of a topic, from the offsets of the database on. `put` gives a record to the worker and waits for
    room; it gives False when the participant stops."""

    def __init__(self, config: dict[str, Any], topic: str, positions: dict[int, int], put: Callable[[Record], bool]) -> None:
        super().__init__(name="intake", daemon=True)
        self._topic, self._positions, self._put = topic, positions, put
        self._assigned: set[int] = set()
        self._stopping = threading.Event()
        self.up = False
        self._consumer = confluent_kafka.Consumer({
            "group.id": config["client.id"], "enable.auto.commit": False, "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest", "fetch.wait.max.ms": 10, "queued.max.messages.kbytes": 16384, **config})

    def stop(self) -> None:
        self._stopping.set()
        self.join()
        self._consumer.close()

    def run(self) -> None:
        next_look = 0.0
        while not self._stopping.is_set():
            try:
                if time.monotonic() >= next_look:
                    next_look = time.monotonic() + (LOOK_SECONDS if self._look() else LOOK_MISSING_SECONDS)
                message = self._consumer.poll(0.1)
            except confluent_kafka.KafkaException as error:
                log.warning("intake: %s", error)
                self.up = False
                self._stopping.wait(PAUSE_SECONDS)
                continue
            if message is not None and not self._take(message):
                return

    def _look(self) -> bool:
        """Assigns partitions that are new."""
        try:
            metadata = self._consumer.list_topics(self._topic, timeout=1.0).topics[self._topic]
        except confluent_kafka.KafkaException:
            self.up = False
            return False
        new = set(metadata.partitions) - self._assigned
        if new:
            self._consumer.incremental_assign([
                confluent_kafka.TopicPartition(self._topic, n, self._positions.get(n, confluent_kafka.OFFSET_BEGINNING))
                for n in sorted(new)])
            self._assigned |= new
        self.up = bool(self._assigned)
        return self.up

    def _take(self, message: Any) -> bool:
        if message.error() is not None:
            log.warning("fetch: %s", message.error())
            return True
        return self._put(Record(message.topic(), message.partition(), message.offset(), message.key(), message.value() or b"",
                                [(name, value or b"") for name, value in message.headers() or []]))


class Relay(threading.Thread):
    """Publishes the rows of the barrier in order, at least once, and dead letters. `advanced` is told what Kafka has."""

    def __init__(self, config: dict[str, Any], path: str, name: str, service: str, schema: Schema,
                 advanced: Callable[[int, int], None]) -> None:
        super().__init__(name="relay", daemon=True)
        self._config, self._path, self._name, self._service = config, path, name, service
        self._effect = schema.message("saga.v1.EffectEvent")
        self._reply = schema.message("saga.v1.Reply")
        self._reply_topic = schema.topics(service)[1]
        self._advanced = advanced
        self._directs: collections.deque[Direct] = collections.deque(maxlen=DIRECT_MAX)
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._failures = 0
        self.up = False
        self._producer = self._make_producer()

    def wake(self) -> None:
        """There is something to publish."""
        self._wake.set()

    def direct(self, reply: Direct) -> None:
        """Produces a reply that is in no row, once."""
        self._directs.append(reply)
        self._wake.set()

    def stop(self, seconds: float) -> None:
        """Publishes what is there, for at most so long; the rest is published after the next start."""
        self._stopping.set()
        self._wake.set()
        self.join(seconds)

    def _make_producer(self) -> confluent_kafka.Producer:
        return confluent_kafka.Producer({
            "enable.idempotence": True, "message.timeout.ms": 0, "linger.ms": 5, "partitioner": "murmur2_random",
            "message.max.bytes": 1048588, "error_cb": self._on_error, **self._config})

    def _on_error(self, error: confluent_kafka.KafkaError) -> None:
        if error.code() == confluent_kafka.KafkaError._ALL_BROKERS_DOWN:
            self.up = False

    def _on_delivery(self, error: Optional[confluent_kafka.KafkaError], _: Any) -> None:
        if error is None:
            self.up = True
        else:
            self._failures += 1
            log.warning("produce: %s", error)

    def run(self) -> None:
        self._look()
        while not self._stopping.is_set():
            try:
                with contextlib.closing(saga_barrier.open_reader(self._path)) as db:
                    self._relay_all(db)
            except sqlite3.Error as error:  # what is not published waits
                log.error("relay: %s", error)
                self.up = False
                self._stopping.wait(PAUSE_SECONDS)

    def _relay_all(self, db: sqlite3.Connection) -> None:
        """Publishes what is there and what comes, until the end."""
        position = saga_barrier.cursor(db)
        letter = 0
        while True:
            self._wake.clear()
            rows = list(saga_barrier.rows_after(db, position, RELAY_ROWS_MAX))
            letters = list(saga_barrier.letters_after(db, letter, RELAY_ROWS_MAX))
            directs = [self._directs.popleft() for _ in range(len(self._directs))]
            if not rows and not letters and not directs:
                if self._stopping.is_set():
                    return
                if not self._wake.wait(RELAY_WAIT_SECONDS) and not self.up:
                    self._look()
                self._producer.poll(0)
                continue
            if self._publish(rows, letters, directs):
                position = rows[-1].position if rows else position
                letter = letters[-1].number if letters else letter
                self._advanced(position, letter)
            elif self._stopping.wait(PAUSE_SECONDS):
                return

    def _look(self) -> None:
        try:
            self._producer.list_topics(timeout=1.0)
            self.up = True
        except confluent_kafka.KafkaException:
            self.up = False

    def _publish(self, rows: list[Row], letters: list[saga_barrier.Letter], directs: list[Direct]) -> bool:
        """Produces all and waits until Kafka has it. False: from the cursor again."""
        self._failures = 0
        try:
            for row in rows:
                self._produce_row(row)
            for letter in letters:
                self._produce("saga-dead-letter", letter.key, letter.value, letter.headers)
            for reply in directs:
                self._produce(self._reply_topic, str(reply.saga_id).encode(), reply.value,
                              self._headers(str(uuid.uuid4()), "saga.v1.Reply", reply.traceparent, None))
        except confluent_kafka.KafkaException as error:
            self._failures += 1
            log.warning("produce: %s", error)
            if error.args[0].fatal():
                self._producer = self._make_producer()
                return False
        while self._producer.flush(0.5) > 0:
            if self._stopping.is_set():
                return self._producer.flush(2.0) == 0 and self._failures == 0
        return self._failures == 0

    def _produce_row(self, row: Row) -> None:
        event_id = f"{self._service}/{row.position}"
        key = str(row.saga_id).encode()
        effect = self._effect(event_id=event_id, service=self._service, position=row.position, saga_id=row.saga_id.bytes,
                              step=row.step, op=row.op, method=row.method, empty=row.outcome.empty,
                              time_unix_ms=row.time_unix_ms, attempt=row.attempt)
        effect.status.code = row.outcome.code
        effect.status.reason, effect.status.message = row.outcome.reason, row.outcome.message
        self._produce("saga-effects", key, effect.SerializeToString(deterministic=True),
                      self._headers(event_id, "saga.v1.EffectEvent", row.traceparent, row.time_unix_ms))
        if row.via == VIA_KAFKA and self._reply_topic:
            reply = self._reply(saga_id=row.saga_id.bytes, step=row.step, op=row.op, attempt=row.attempt,
                                payload=row.outcome.payload, empty=row.outcome.empty)
            if row.outcome.code:
                reply.status.code = row.outcome.code
                reply.status.reason, reply.status.message = row.outcome.reason, row.outcome.message
            self._produce(self._reply_topic, key, reply.SerializeToString(),
                          self._headers(f"{event_id}/reply", "saga.v1.Reply", row.traceparent, row.time_unix_ms))

    def _produce(self, topic: str, key: Optional[bytes], value: bytes, headers: list[tuple[str, bytes]]) -> None:
        while True:
            try:
                self._producer.produce(topic, value, key, headers=headers, on_delivery=self._on_delivery)
                self._producer.poll(0)
                return
            except BufferError:  # librdkafka's queue is full
                self._producer.poll(0.1)
                if self._stopping.is_set():
                    raise confluent_kafka.KafkaException(confluent_kafka.KafkaError(
                        confluent_kafka.KafkaError._QUEUE_FULL)) from None

    def _headers(self, event_id: str, kind: str, traceparent: str, time_unix_ms: Optional[int]) -> list[tuple[str, bytes]]:
        """CloudEvents 1.0, binary mode."""
        utc = datetime.timezone.utc
        when = datetime.datetime.now(utc) if time_unix_ms is None else datetime.datetime.fromtimestamp(time_unix_ms / 1000, utc)
        headers = {"ce_specversion": "1.0", "ce_id": event_id, "ce_source": f"/{self._name}", "ce_type": kind,
                   "ce_time": when.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
                   "content-type": "application/protobuf"}
        if traceparent:
            headers["traceparent"] = traceparent
        return [(name, text.encode()) for name, text in headers.items()]

