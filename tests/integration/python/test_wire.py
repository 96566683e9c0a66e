"""docs/wire.md against the real thing: its bytes are sent to a C daemon and compared, sagad's own connection is written down on its
way, and a participant that was written from it keeps the rules, however it is talked to."""
import concurrent.futures
import contextlib
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import socket
import sqlite3
import struct
import subprocess
import tempfile
import threading
import unittest
import uuid

from harness import daemons, orders, schema, sp, util
from harness.util import ROOT, until
from loyalty_daemon import EXAMPLE, SERVICE, Loyalty, environment, make_schema

import saga_barrier  # examples/python
import saga_participant
import saga_sp
import start
from saga_schema import Schema

OK, INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION = 0, 3, 4, 8, 9
ABORTED, UNIMPLEMENTED = 10, 12
HEX_BLOCK = re.compile(r"^```hex ([a-z-]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEALTH = "saga.v1.HealthService/Check"
CRASHES = re.compile(r"Traceback|Task exception|never retrieved")


def documented():
    """The hex dumps of docs/wire.md: {name: bytes}."""
    text = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
    return {name: bytes.fromhex("".join(line.partition("#")[0] for line in block.splitlines()))
            for name, block in HEX_BLOCK.findall(text)}


class Folder(unittest.TestCase):
    """A folder for daemons; what still runs is killed."""

    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="saga-wire-"))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def add(self, daemon):
        self.addCleanup(lambda: daemon.running() and daemon.kill())
        daemon.start()
        return daemon


class Tap:
    """A TCP proxy of one connection after the other that keeps what it has seen: [(from the client, from the server)]."""

    def __init__(self, target):
        self.target = target
        self.seen = []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"tcp://127.0.0.1:{self.listener.getsockname()[1]}"
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        with contextlib.suppress(OSError):
            while True:
                client = self.listener.accept()[0]
                server = sp.connect(self.target, timeout=None)
                streams = (bytearray(), bytearray())
                self.seen.append(streams)
                for source, sink, stream in ((client, server, streams[0]), (server, client, streams[1])):
                    threading.Thread(target=self.copy, args=(source, sink, stream), daemon=True).start()

    @staticmethod
    def copy(source, sink, stream):
        with contextlib.suppress(OSError):
            while part := source.recv(65536):
                stream += part
                sink.sendall(part)
            sink.shutdown(socket.SHUT_WR)

    def close(self):
        self.listener.close()


def frames(stream):
    """The whole frames behind a handshake."""
    at, found = 8, []
    while at + 8 <= len(stream):
        (size,) = struct.unpack(">Q", stream[at : at + 8])
        if at + 8 + size > len(stream):
            break
        found.append(bytes(stream[at + 8 : at + 8 + size]))
        at += 8 + size
    return found


class DocumentTest(Folder):
    def setUp(self):
        super().setUp()
        seed = self.directory / "seed.json"
        seed.write_text(json.dumps(orders.seed()), encoding="utf-8")
        self.customerd = daemons.Daemon("customerd", self.directory, [f"--seed={seed}"])
        self.customerd.nng = "tcp://127.0.0.1:0"
        self.add(self.customerd)
        self.url = self.customerd.endpoint["nng"]

    def test_bytes_when_sent_as_documented_then_answered_as_documented(self):
        dump = documented()
        self.assertEqual(set(dump), {"client-handshake", "server-handshake", "request", "reply"})
        with sp.connect(self.url) as sock:
            sock.sendall(dump["client-handshake"])
            self.assertEqual(sp.read_exactly(sock, 8), dump["server-handshake"])
            sock.sendall(dump["request"])
            self.assertEqual(sp.read_exactly(sock, len(dump["reply"])).hex(" "), dump["reply"].hex(" "))
        self.assertEqual(saga_sp.handshake(saga_sp.REQ), dump["client-handshake"])
        self.assertEqual(saga_sp.handshake(saga_sp.REP), dump["server-handshake"])
        batch = schema.CommandBatch.FromString(dump["request"][12:])  # and they are what the comments say
        self.assertEqual(batch.SerializeToString(deterministic=True), dump["request"][12:])
        self.assertEqual([str(uuid.UUID(bytes=c.saga_id))[-3:] for c in batch.commands], ["a1b", "a1c"])
        self.assertEqual({(c.method, c.op, c.attempt, c.epoch) for c in batch.commands},
                         {("customer.v1.CustomerService/ValidateCustomer", schema.OP_CALL, 1, 3)})

    def test_table_when_made_as_documented_then_it_is_that_of_python_and_of_c(self):
        text = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
        (documented_table,) = re.findall(r"^```sql\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)

        def columns(db):
            return [(row[1], row[2]) for row in db.execute("PRAGMA table_info(barrier)")]

        with contextlib.closing(sqlite3.connect(":memory:")) as db:
            db.executescript(documented_table)
            wanted = columns(db)
        with contextlib.closing(sqlite3.connect(":memory:")) as db:
            db.execute(saga_barrier.TABLES[0])
            self.assertEqual(columns(db), wanted)
        with contextlib.closing(sqlite3.connect(f"file:{self.customerd.data_file}?mode=ro", uri=True)) as db:
            self.assertEqual(columns(db), wanted)

    def test_reasons_when_named_in_the_document_then_c_gives_them(self):
        text = (ROOT / "docs" / "wire.md").read_text(encoding="utf-8")
        sources = "".join(path.read_text(encoding="utf-8") for room in ("services", "common/wire", "orchestrator", "common/base")
                          for path in sorted((ROOT / room).rglob("*.[ch]")))
        statuses = {name for name in re.findall(r"X\(([A-Z_]+), \d+, [A-Z]+\)", sources)}
        self.assertEqual(len(statuses), 17)
        named = {word for word in re.findall(r"\b[A-Z]+_[A-Z_]+\b", text) if not word.startswith(("SAGA_M", "VIA_", "UPPER_"))}
        self.assertGreater(len(named), 15)
        words_of_others = {"NO_SIDE_EFFECTS"}  # protobuf's
        self.assertEqual({name for name in named - statuses - words_of_others if f'"{name}"' not in sources}, set())

    def test_header_when_it_has_several_words_then_all_come_back(self):
        for url in (self.url, self.add(Loyalty(self.directory)).nng):
            with sp.Peer(url) as peer:
                header = bytes.fromhex("00000007 00000009 80001234")
                peer.send_frame(header + schema.CommandBatch(commands=[schema.Command(method=HEALTH)]).SerializeToString())
                self.assertEqual(peer.receive_frame()[:12], header)

    def test_sagad_when_it_talks_to_a_participant_then_as_documented(self):
        tap = Tap(self.url)
        self.addCleanup(tap.close)
        loyalty = Loyalty(self.directory)
        sagad = daemons.Daemon("sagad", self.directory, [
            "--http-port=0", f"--descriptor-set={make_schema()}", f"--participant=customer.v1.CustomerService={tap.url}",
            f"--participant={SERVICE}={loyalty.nng}"])
        self.add(sagad)
        starter_schema = Schema.load(make_schema())
        sagad_url = sagad.endpoint["nng"]
        batch = schema.CommandBatch(commands=[schema.Command(
            method=start.START, payload=starter_schema.message("saga.v1.StartSagaRequest")(
                definition="purchase", key="k", input=starter_schema.message("loyalty.v1.Purchase")(
                    purchase_id=1, customer_id=orders.ABNORMAL_CUSTOMER, total_cents=1).SerializeToString(),
                wait_ms=20000).SerializeToString())])
        answer = schema.ReplyBatch.FromString(sp.request(sagad_url, batch.SerializeToString(), timeout=30))
        self.assertEqual([r.status.code for r in answer.replies], [0], answer)
        from_client, from_server = tap.seen[0]
        dump = documented()
        self.assertEqual(bytes(from_client[:8]), dump["client-handshake"])
        self.assertEqual(bytes(from_server[:8]), dump["server-handshake"])
        (request,), (reply,) = frames(from_client), frames(from_server)
        self.assertTrue(request[0] & 0x80)
        self.assertEqual(request[:4], reply[:4])
        (command,) = schema.CommandBatch.FromString(request[4:]).commands
        self.assertEqual((command.step, command.op, command.method, command.attempt),
                         ("customer", schema.OP_CALL, "customer.v1.CustomerService/ValidateCustomer", 1))
        self.assertEqual((len(command.saga_id), command.saga_id[6] >> 4), (16, 7))
        self.assertGreater(command.epoch, 0)
        self.assertGreater(command.deadline_unix_ms, 0)
        self.assertEqual(len(command.metadata), 0)
        (said,) = schema.ReplyBatch.FromString(reply[4:]).replies
        self.assertEqual((said.saga_id, said.step, said.op, said.attempt, said.status.reason),
                         (command.saga_id, "customer", schema.OP_CALL, 1, "CUSTOMER_ABNORMAL"))


class IpcTest(Folder):
    def test_ipc_when_python_talks_to_c_and_c_talks_to_python_then_both_answer(self):
        customerd = self.add(daemons.Daemon("customerd", self.directory, []))
        loyalty = Loyalty(self.directory)
        loyalty.nng = f"ipc://{self.directory}/loyalty.ipc"
        self.add(loyalty)
        batch = schema.CommandBatch(commands=[schema.Command(method=HEALTH)]).SerializeToString()
        for url in (customerd.nng, loyalty.nng):
            with saga_sp.Client(url) as client:
                self.assertEqual(schema.ReplyBatch.FromString(client.request(batch)).replies[0].status.code, OK)
        told = subprocess.run([util.bin_dir() / "sagactl", "list-services", loyalty.nng], capture_output=True, text=True,
                              timeout=30, check=True).stdout  # NNG's own socket
        self.assertIn(SERVICE, told)
        with sp.connect(loyalty.nng) as sock:  # a frame without its mark
            sock.sendall(saga_sp.handshake(saga_sp.REQ) + b"\0" * 30)
            self.assertEqual(sp.read_exactly(sock, 8), saga_sp.handshake(saga_sp.REP))
            self.assertEqual(sock.recv(1), b"")
        self.assertEqual(loyalty.stop(), 0)

    def test_address_when_it_is_none_then_said(self):
        self.assertEqual(saga_sp.parse_address("tcp://[::1]:7400"), ("::1", 7400))
        for url in ("", "tcp://", "tcp://host", "tcp://host:x", "tcp://host:70000", "ipc://", "http://host:80"):
            with self.assertRaises(ValueError):
                saga_sp.parse_address(url)


class ParticipantCase(Folder):
    """The participant in Python, without Kafka."""

    def setUp(self):
        super().setUp()
        self.loyalty = self.add(Loyalty(self.directory))
        self.url = self.loyalty.nng
        self.schema = Schema.load(make_schema())

    def tearDown(self):
        self.assertTrue(self.loyalty.running(), self.loyalty.log_tail())
        self.assertEqual(self.health().status.code, OK)
        self.assertEqual(self.loyalty.stop(), 0)
        self.assertNotRegex(self.loyalty.log_text(), CRASHES)

    def health(self):
        (reply,) = sp.call_batch(self.url, [schema.Command(method=HEALTH)], timeout=20)
        return reply

    def add_points(self, saga_id, number, **fields):
        request = self.schema.message("loyalty.v1.AddPointsRequest")(purchase_id=number, customer_id=7, total_cents=500)
        return schema.Command(**({"saga_id": saga_id, "step": "points", "op": 1, "attempt": 1, "method": f"{SERVICE}/AddPoints",
                                  "payload": request.SerializeToString()} | fields))

    def take_back(self, saga_id, number, **fields):
        request = self.schema.message("loyalty.v1.TakePointsBackRequest")(purchase_id=number)
        return self.add_points(saga_id, number, **({"op": 2, "method": f"{SERVICE}/TakePointsBack",
                                                    "payload": request.SerializeToString()} | fields))

    def call(self, *commands):
        return sp.call_batch(self.url, list(commands), timeout=20)

    def outcome(self, *commands):
        (reply,) = self.call(*commands)
        return reply.status.code, reply.status.reason, reply.replayed, reply.empty

    def pending(self):
        request = self.schema.message("loyalty.v1.GetBalanceRequest")(customer_id=7)
        (reply,) = self.call(schema.Command(method=f"{SERVICE}/GetBalance", payload=request.SerializeToString()))
        return self.schema.message("loyalty.v1.GetBalanceResponse").FromString(reply.payload).pending_points


class AwayTest(Folder):
    def test_kafka_when_it_is_away_then_calls_are_done_health_says_it_and_the_stop_is_clean(self):
        loyalty = self.add(Loyalty(self.directory, "127.0.0.1:1"))
        request = Schema.load(make_schema()).message("loyalty.v1.AddPointsRequest")(purchase_id=1, customer_id=7, total_cents=500)
        command = schema.Command(saga_id=uuid.uuid4().bytes, step="points", op=1, attempt=1, method=f"{SERVICE}/AddPoints",
                                 payload=request.SerializeToString())
        done, health = sp.call_batch(loyalty.nng, [command, schema.Command(method=HEALTH)])
        self.assertEqual(done.status.code, OK)
        report = schema.message("saga.v1.CheckResponse").FromString(health.payload)
        self.assertEqual((report.state, [(part.name, part.state) for part in report.parts]), (2, [("store", 1), ("kafka", 2)]))
        self.assertEqual(loyalty.stop(), 0)
        self.assertNotRegex(loyalty.log_text(), CRASHES)


class BarrierTest(ParticipantCase):
    def test_barrier_when_call_comes_again_then_stored_reply_also_after_kill(self):
        saga = uuid.uuid4().bytes
        first, again = self.call(self.add_points(saga, 1), self.add_points(saga, 1, attempt=2))
        self.assertEqual((first.payload, first.replayed), (again.payload, False))
        self.assertEqual((again.replayed, again.attempt), (True, 2))
        self.loyalty.kill()
        self.loyalty.start()
        (after,) = self.call(self.add_points(saga, 1, attempt=3))
        self.assertEqual((after.payload, after.replayed), (first.payload, True))
        self.assertEqual(self.pending(), 5)

    def test_barrier_when_duplicates_come_at_once_then_one_effect(self):
        saga = uuid.uuid4().bytes
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            replies = [r for r, in pool.map(lambda n: self.call(self.add_points(saga, 2, attempt=n)), range(1, 17))]
        self.assertEqual([r.replayed for r in replies].count(False), 1)
        self.assertEqual({(r.status.code, r.payload) for r in replies}, {(OK, replies[0].payload)})
        self.assertEqual(self.pending(), 5)

    def test_barrier_when_undo_comes_first_then_empty_and_the_call_is_forbidden(self):
        saga = uuid.uuid4().bytes
        self.assertEqual(self.outcome(self.take_back(saga, 3)), (OK, "", False, True))
        self.assertEqual(self.outcome(self.add_points(saga, 3)), (FAILED_PRECONDITION, "SAGA_UNDONE", False, False))
        self.assertEqual(self.outcome(self.take_back(saga, 3, attempt=2)), (OK, "", True, True))
        self.assertEqual(self.pending(), 0)

    def test_barrier_when_undone_twice_then_once(self):
        saga = uuid.uuid4().bytes
        self.call(self.add_points(saga, 4), self.add_points(uuid.uuid4().bytes, 5))
        self.assertEqual(self.outcome(self.take_back(saga, 4)), (OK, "", False, False))
        self.assertEqual(self.outcome(self.take_back(saga, 4, attempt=2)), (OK, "", True, False))
        self.assertEqual(self.outcome(self.add_points(saga, 4, attempt=2)), (OK, "", True, False))  # B1: its reply, no effect
        self.assertEqual(self.pending(), 5)

    def test_barrier_when_key_has_other_bytes_or_method_then_key_reused(self):
        saga = uuid.uuid4().bytes
        self.call(self.add_points(saga, 6))
        self.assertEqual(self.outcome(self.add_points(saga, 7)), (INVALID_ARGUMENT, "KEY_REUSED", False, False))
        same = self.add_points(saga, 6).payload
        self.assertEqual(self.outcome(self.add_points(saga, 6, method=f"{SERVICE}/ConfirmPoints", payload=same))[:2],
                         (INVALID_ARGUMENT, "KEY_REUSED"))
        self.assertEqual(self.pending(), 5)

    def test_barrier_when_no_is_definitive_then_stored_and_its_undo_is_empty(self):
        saga = uuid.uuid4().bytes
        bad = self.schema.message("loyalty.v1.AddPointsRequest")(purchase_id=8, total_cents=-1).SerializeToString()
        self.assertEqual(self.outcome(self.add_points(saga, 8, payload=bad)), (INVALID_ARGUMENT, "AMOUNT_INVALID", False, False))
        self.assertEqual(self.outcome(self.add_points(saga, 8, payload=bad)), (INVALID_ARGUMENT, "AMOUNT_INVALID", True, False))
        self.assertEqual(self.outcome(self.take_back(saga, 8)), (OK, "", False, True))

    def test_barrier_when_undo_fails_then_it_is_not_stored(self):
        saga = uuid.uuid4().bytes
        self.call(self.add_points(saga, 9))
        garbled = self.take_back(saga, 9, payload=b"\xff\xff")
        for _ in range(2):
            self.assertEqual(self.outcome(garbled), (INVALID_ARGUMENT, "MALFORMED_PAYLOAD", False, False))
        self.assertEqual(self.outcome(self.take_back(saga, 9)), (OK, "", False, False))

    def test_barrier_when_undo_is_refused_by_its_handler_then_it_is_tried_again(self):
        saga = uuid.uuid4().bytes
        self.call(self.add_points(saga, 50))
        for attempt in (1, 2):  # B6: of an undo no failure is stored
            self.assertEqual(self.outcome(self.take_back(saga, 51, attempt=attempt)),
                             (FAILED_PRECONDITION, "NOT_PENDING", False, False))
        self.assertEqual(self.outcome(self.take_back(saga, 50, attempt=3)), (OK, "", False, False))
        self.assertEqual(self.pending(), 0)

    def test_handler_when_it_refuses_then_what_it_wrote_is_gone(self):
        full = self.schema.message("loyalty.v1.AddPointsRequest")(purchase_id=60, customer_id=60, total_cents=10**9)
        refused = self.add_points(uuid.uuid4().bytes, 60, payload=full.SerializeToString())
        self.assertEqual(self.outcome(refused)[1], "ACCOUNT_FULL")
        self.assertEqual(self.outcome(self.add_points(uuid.uuid4().bytes, 61))[0], OK)
        with contextlib.closing(sqlite3.connect(f"file:{self.loyalty.data_file}?mode=ro", uri=True)) as db:
            self.assertEqual(db.execute("SELECT customer_id FROM account").fetchall(), [(7,)])

    def test_barrier_when_call_cannot_be_understood_then_its_no_is_stored(self):
        saga = uuid.uuid4().bytes
        for replayed in (False, True):
            self.assertEqual(self.outcome(self.add_points(saga, 10, payload=b"\xff")),
                             (INVALID_ARGUMENT, "MALFORMED_PAYLOAD", replayed, False))

    def test_epoch_when_older_than_what_was_seen_then_fenced(self):
        saga = uuid.uuid4().bytes
        self.assertEqual(self.outcome(self.add_points(saga, 11, epoch=5))[0], OK)
        for command in (self.add_points(saga, 11, epoch=4), self.take_back(saga, 11, epoch=4),
                        self.add_points(saga, 12, epoch=4, step="other")):
            self.assertEqual(self.outcome(command), (ABORTED, "FENCED", False, False))
        self.assertEqual(self.outcome(self.add_points(saga, 11, epoch=9)), (OK, "", True, False))  # raises it
        self.assertEqual(self.outcome(self.take_back(saga, 11, epoch=8)), (ABORTED, "FENCED", False, False))
        self.assertEqual(self.outcome(self.add_points(uuid.uuid4().bytes, 13, epoch=1))[0], OK)  # of another saga
        self.assertEqual(self.outcome(self.take_back(saga, 11, epoch=9))[0], OK)

    def test_batch_when_one_is_refused_then_the_others_are_done_in_their_order(self):
        sagas = [uuid.uuid4().bytes for _ in range(256)]
        commands = [self.add_points(saga, 100 + i // 2) for i, saga in enumerate(sagas)]  # each purchase twice
        replies = self.call(*commands)
        self.assertEqual([r.saga_id for r in replies], sagas)
        self.assertEqual([r.status.reason for r in replies], ["", "PURCHASE_EXISTS"] * 128)
        self.assertEqual(self.pending(), 128 * 5)


class EnvelopeTest(ParticipantCase):
    """The same commands to the participant in Python and to one in C: the same code and reason."""

    def setUp(self):
        super().setUp()
        self.customerd = self.add(daemons.Daemon("customerd", self.directory, []))

    def both(self, body, timeout=30):
        answers = [schema.ReplyBatch.FromString(sp.request(url, body, timeout)) for url in (self.url, self.customerd.nng)]
        told = [[(r.status.code, r.status.reason, r.saga_id, r.step, r.op, r.attempt) for r in a.replies] for a in answers]
        self.assertEqual(told[0], told[1], body[:100])
        return told[0]

    def test_envelope_when_it_is_broken_then_both_say_the_same(self):
        good = {"saga_id": bytes(16), "step": "s", "op": 1, "method": "x.Y/Z", "attempt": 1}
        cases = [
            ({}, UNIMPLEMENTED, "METHOD_UNKNOWN"),
            ({"saga_id": b"short"}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"step": ""}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"step": "Upper"}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"step": "s" * 32}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"step": "line\n"}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"op": 3}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"op": 0}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"attempt": 0}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"method": ""}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"method": "a b"}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"method": "m" * 256}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"payload": bytes(65536)}, UNIMPLEMENTED, "METHOD_UNKNOWN"),
            ({"payload": bytes(65537)}, RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED"),
            ({"deadline_unix_ms": -1}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"traceparent": "t" * 64}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"metadata": [{"key": "K", "value": "v"}]}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"metadata": [{"key": "k", "value": "v" * 1025}]}, INVALID_ARGUMENT, "INVALID_FIELD"),
            ({"metadata": [{"key": "k", "value": "v"}] * 33}, RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED"),
            ({"metadata": [{"key": "k", "value": "v"}] * 32}, UNIMPLEMENTED, "METHOD_UNKNOWN"),
            ({"epoch": 2**64 - 1}, UNIMPLEMENTED, "METHOD_UNKNOWN"),
        ]
        for fields, code, reason in cases:
            with self.subTest(fields=str(fields)[:60]):
                told = self.both(schema.CommandBatch(commands=[schema.Command(**(good | fields))]).SerializeToString())
                self.assertEqual([t[:2] for t in told], [(code, reason)])

    def test_body_when_it_is_no_batch_then_both_say_the_same(self):
        health = schema.Command(method=HEALTH)
        cases = [
            (b"", INVALID_ARGUMENT, "INVALID_FIELD"),
            (b"\xff garbage", INVALID_ARGUMENT, "MALFORMED_MESSAGE"),
            (schema.CommandBatch(commands=[health] * 257).SerializeToString(), RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED"),
            (b"\x0a" * (1024 * 1024 + 1), RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED"),
            (b"\x0a" * (4 * 1024 * 1024), RESOURCE_EXHAUSTED, "LIMIT_EXCEEDED"),
            (schema.CommandBatch(commands=[health, schema.Command(method="a b")]).SerializeToString(),
             INVALID_ARGUMENT, "INVALID_FIELD"),  # none of it is done
            (schema.CommandBatch(commands=[schema.Command(method=HEALTH, deadline_unix_ms=1)]).SerializeToString(),
             DEADLINE_EXCEEDED, "DEADLINE_PAST"),
            (schema.CommandBatch(commands=[schema.Command(method=HEALTH, payload=b"\xff")]).SerializeToString(),
             INVALID_ARGUMENT, "MALFORMED_PAYLOAD"),
        ]
        for body, code, reason in cases:
            with self.subTest(code=code, reason=reason, size=len(body)):
                self.assertEqual([t[:2] for t in self.both(body)], [(code, reason)])

    def test_reflection_when_asked_then_the_schema_with_the_service(self):
        (reply,) = self.call(schema.Command(method="saga.v1.ReflectionService/GetDescriptorSet"))
        told = schema.message("saga.v1.GetDescriptorSetResponse").FromString(reply.payload)
        self.assertEqual(list(told.services), [SERVICE, "saga.v1.HealthService", "saga.v1.ReflectionService"])
        self.assertIn("AddPoints", Schema(told.descriptor_set).methods(SERVICE))


class RobustnessTest(ParticipantCase):
    def test_peers_when_they_do_not_speak_sp_then_dropped(self):
        hellos = [b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", b"\0SP\1\0\x30\0\0", b"\xff" * 64,
                  struct.pack(">4sHH", b"\0SP\0", 0x31, 0)]
        for hello in hellos:
            with sp.connect(self.url) as sock:
                with contextlib.suppress(OSError):
                    sock.sendall(hello)
                    sock.shutdown(socket.SHUT_WR)
                    while sock.recv(4096):
                        pass
            self.assertEqual(self.health().status.code, OK)

    def test_frames_when_they_lie_about_their_size_then_only_that_peer_is_dropped(self):
        for size in (4 * 1024 * 1024 + 5, 1 << 40, (1 << 64) - 1, 0, 3):
            with sp.Peer(self.url) as peer:
                peer.send_frame(b"\x80\0\0\1garbage", size=size)
                with self.assertRaises((EOFError, ConnectionError)):  # at once, not by a timeout
                    peer.receive_frame()
        for body in (b"\0\0\0\1no request id", bytes(400)):
            with sp.Peer(self.url) as peer:
                peer.send_frame(body)
                with self.assertRaises((EOFError, ConnectionError)):  # at once, not by a timeout
                    peer.receive_frame()

    def test_bodies_when_cut_or_changed_then_a_status_for_each(self):
        whole = schema.CommandBatch(commands=[self.add_points(uuid.uuid4().bytes, 20, method="x.Y/Z")] * 3).SerializeToString()
        with sp.Peer(self.url, timeout=20) as peer:
            for end in range(1, len(whole)):
                answer = schema.ReplyBatch.FromString(peer.request(whole[:end]))
                self.assertTrue(answer.replies and all(r.status.code for r in answer.replies), end)
            for at in range(len(whole)):
                for bit in (0, 3, 7):
                    body = bytearray(whole)
                    body[at] ^= 1 << bit
                    self.assertTrue(schema.ReplyBatch.FromString(peer.request(bytes(body))).replies)

    def test_connections_when_more_come_than_are_kept_then_the_idle_ones_yield(self):
        peers = [sp.Peer(self.url) for _ in range(saga_sp.CONNECTIONS_MAX + 40)]
        try:
            self.assertEqual(self.health().status.code, OK)
            newest = peers[-1]
            batch = schema.CommandBatch(commands=[schema.Command(method=HEALTH)]).SerializeToString()
            self.assertEqual(schema.ReplyBatch.FromString(newest.request(batch)).replies[0].status.code, OK)
            with self.assertRaises((EOFError, ConnectionError)):  # at once, not by a timeout  # the first has been idle for longest
                peers[0].receive_frame()
        finally:
            for peer in peers:
                peer.sock.close()

    def test_frame_when_it_comes_slowly_then_others_are_served(self):
        with sp.Peer(self.url) as peer:
            peer.sock.sendall(struct.pack(">Q", 1000) + b"\x80\0\0\1")  # and no more
            self.assertEqual(self.outcome(self.add_points(uuid.uuid4().bytes, 30))[0], OK)

    def test_requests_when_many_are_out_on_a_connection_then_each_is_answered(self):
        with sp.Peer(self.url, timeout=20) as peer:
            for i in range(500):
                batch = schema.CommandBatch(commands=[self.add_points(uuid.uuid4().bytes, 1000 + i)])
                peer.send_frame(struct.pack(">I", 0x80000000 | i) + batch.SerializeToString())
            got = {}
            for _ in range(500):
                frame = peer.receive_frame()
                got[struct.unpack(">I", frame[:4])[0] & 0x7FFFFFFF] = schema.ReplyBatch.FromString(frame[4:])
        self.assertEqual(set(got), set(range(500)))
        self.assertEqual({r.status.code for b in got.values() for r in b.replies}, {OK})

    def test_peer_when_it_does_not_read_its_answers_then_others_are_served(self):
        batch = schema.CommandBatch(commands=[schema.Command(method="saga.v1.ReflectionService/GetDescriptorSet")] * 7)
        with contextlib.ExitStack() as stack:
            for peer in [stack.enter_context(sp.Peer(self.url, timeout=1)) for _ in range(8)]:
                with contextlib.suppress(OSError):
                    for i in range(64):
                        peer.send_frame(struct.pack(">I", 0x80000000 | i) + batch.SerializeToString())
            for number in range(40, 60):  # turns enough for all of those requests
                self.assertEqual(self.outcome(self.add_points(uuid.uuid4().bytes, number))[0], OK)
        status = pathlib.Path(f"/proc/{self.loyalty.process.pid}/status").read_text(encoding="utf-8")
        self.assertLess(int(re.search(r"VmHWM:\s+(\d+) kB", status).group(1)), 300 * 1024)

    def test_stop_when_requests_are_out_then_they_are_answered_first(self):
        with sp.Peer(self.url, timeout=20) as peer:
            for i in range(50):
                batch = schema.CommandBatch(commands=[self.add_points(uuid.uuid4().bytes, 2000 + i)])
                peer.send_frame(struct.pack(">I", 0x80000000 | i) + batch.SerializeToString())
            first = peer.receive_frame()
            self.loyalty.process.send_signal(signal.SIGTERM)
            codes = [schema.ReplyBatch.FromString(first[4:]).replies[0].status.code]
            with contextlib.suppress(EOFError, OSError):
                while True:
                    codes.append(schema.ReplyBatch.FromString(peer.receive_frame()[4:]).replies[0].status.code)
        self.assertEqual(self.loyalty.process.wait(20), 0)
        self.loyalty.process = None
        self.loyalty.start()
        self.assertEqual(self.pending(), 5 * codes.count(OK))
        self.assertLessEqual(set(codes), {OK, 14})

    def test_database_when_it_is_in_use_then_a_second_process_is_refused(self):
        command = [argument for argument in self.loyalty.command() if not argument.startswith("--listen")]
        done = subprocess.run([*command, "--listen=tcp://127.0.0.1:0"], capture_output=True, text=True, timeout=20, check=False)
        self.assertEqual(done.returncode, 1)
        self.assertIn("another process uses it", done.stderr)


class CertifyTest(Folder):
    """sagactl certify, which knows of the participant only its address."""

    def setUp(self):
        super().setUp()
        self.loyalty = Loyalty(self.directory)
        self.pid_file = self.directory / "pid"
        self.addCleanup(self.kill)
        log = shlex.quote(str(self.loyalty.log_file))
        self.restart = self.directory / "restart"
        self.restart.write_text(
            f"#!/bin/sh\n[ ! -f {self.pid_file} ] || kill -9 $(cat {self.pid_file})\n"
            f"{shlex.join(self.loyalty.command())} >>{log} 2>&1 &\necho $! >{self.pid_file}\n", encoding="utf-8")
        self.restart.chmod(0o700)
        self.run_restart()
        until(self.loyalty.ready_file.exists, 30, self.loyalty.log_tail)

    def run_restart(self):
        subprocess.run([self.restart], check=True, env=environment(), stdin=subprocess.DEVNULL)

    def kill(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(int(self.pid_file.read_text(encoding="utf-8")), signal.SIGKILL)

    def certify(self, *arguments):
        """Gives exit status and report."""
        done = subprocess.run([util.bin_dir() / "sagactl", "certify", self.loyalty.nng, "-q", "-o", "json", *arguments,
                               f"--values={EXAMPLE / 'certify.json'}"], capture_output=True, text=True, timeout=120, check=False)
        self.assertIn(done.returncode, (0, 1), done.stdout + done.stderr)
        return done.returncode, json.loads(done.stdout)

    def test_certify_when_everything_is_judged_then_nothing_fails(self):
        before = self.pid_file.read_text(encoding="utf-8")
        status, report = self.certify(
            f"--balance={SERVICE}/GetBalance={json.dumps({'customer_id': 7})}", f"--restart={self.restart}", "--strict")
        self.assertEqual(status, 0, report)
        self.assertNotEqual(self.pid_file.read_text(encoding="utf-8"), before)  # it was killed and came back
        self.assertNotRegex(self.loyalty.log_text(), CRASHES)


class BarrierTableTest(unittest.TestCase):
    """What no one sees from outside: pruning (B7), and which errors are the store's."""

    def setUp(self):
        self.db = sqlite3.connect(":memory:", isolation_level=None)
        self.addCleanup(self.db.close)
        for statement in saga_barrier.TABLES:
            self.db.execute(statement)

    def test_prune_when_rows_are_old_then_only_published_ones_go_and_no_position_comes_again(self):
        for n in range(1, 6):
            command = schema.Command(saga_id=bytes([n]) * 16, step="s", op=1, method="x.Y/Z", attempt=1)
            saga_barrier.store(self.db, command, saga_barrier.Outcome(), saga_barrier.VIA_NNG, now_unix_ms=n * 1000)
        saga_barrier.move_cursor(self.db, 4, 0)
        self.assertEqual(saga_barrier.prune(self.db, saga_barrier.cursor(self.db), 3500, 100), 3)  # 4 is young, 5 unpublished
        self.assertEqual(saga_barrier.prune(self.db, saga_barrier.cursor(self.db), 9999, 100), 1)
        self.assertEqual([row.position for row in saga_barrier.rows_after(self.db, 0, 100)], [5])
        saga_barrier.move_cursor(self.db, 5, 0)
        self.assertEqual(saga_barrier.prune(self.db, 5, 9999, 100), 1)
        command = schema.Command(saga_id=bytes(16), step="s", op=1, method="x.Y/Z", attempt=1)
        saga_barrier.store(self.db, command, saga_barrier.Outcome(), saga_barrier.VIA_NNG, now_unix_ms=1)
        self.assertEqual([row.position for row in saga_barrier.rows_after(self.db, 0, 100)], [6])

    def test_error_when_it_is_of_a_statement_then_not_of_the_store(self):
        for sql, of_store in (("SELECT nothing FROM nowhere", False), ("INSERT INTO relay_cursor VALUES (1, 0)", False),
                              ("INSERT INTO relay_cursor VALUES (2, 0)", False)):
            with self.assertRaises(sqlite3.Error) as raised:
                self.db.execute(sql)
            self.assertEqual(saga_participant.is_store_failure(raised.exception), of_store)
        self.db.execute("PRAGMA max_page_count = 8")
        with self.assertRaises(sqlite3.Error) as raised:
            self.db.execute("INSERT INTO dead_letter (value, headers) VALUES (zeroblob(1000000), '')")
        self.assertTrue(saga_participant.is_store_failure(raised.exception))
        self.assertFalse(saga_participant.is_store_failure(KeyError("a handler's")))


class LimitsTest(unittest.TestCase):
    def test_limits_when_named_in_python_then_those_of_the_wire(self):
        text = (ROOT / "common" / "base" / "limits.h").read_text(encoding="utf-8")

        def limit(name):
            expression = re.search(rf"SAGA_{name} = ([0-9 *]+)", text).group(1)
            value = 1
            for factor in expression.split("*"):
                value *= int(factor)
            return value

        self.assertEqual(saga_sp.MESSAGE_SIZE_MAX, limit("MESSAGE_SIZE_MAX"))
        self.assertEqual(saga_sp.MESSAGE_SIZE_HARD, limit("MESSAGE_SIZE_HARD"))
        for name in ("BATCH_COUNT_MAX", "PAYLOAD_SIZE_MAX", "METADATA_COUNT_MAX", "STATUS_MESSAGE_MAX", "STATUS_REASON_MAX"):
            self.assertEqual(getattr(saga_participant, name), limit(name), name)


if __name__ == "__main__":
    unittest.main()
