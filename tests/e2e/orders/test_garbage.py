"""Garbage, truncated, oversized and unknown messages on every NNG socket, HTTP endpoint and Kafka topic: a clear status or a
dead letter; no crash, no leak (under ASan: SAGA_ASAN_BIN names the folder of such daemons, or the build is one)."""
import contextlib
import json
import os
import random
import re
import socket
import struct
import unittest
import urllib.parse
import uuid

from harness import kafka, schema, sp
from harness.case import SystemCase
from harness.daemons import NAMES, SERVICES
from harness.orders import make_order
from harness.util import until

INVALID_ARGUMENT, DEADLINE_EXCEEDED, RESOURCE_EXHAUSTED, UNIMPLEMENTED = 3, 4, 8, 12
SERVING, DEGRADED = 1, 2
MESSAGE_SIZE_MAX, MESSAGE_SIZE_HARD = 1024 * 1024, 4 * 1024 * 1024
BATCH_COUNT_MAX = 256
CRASHES = re.compile(r"AddressSanitizer|LeakSanitizer|runtime error:|assertion failed|event=panic")
CHECK = "saga.v1.HealthService/Check"


def unknown_call(method, **fields):
    """A command of a saga that nobody knows."""
    return schema.Command(saga_id=uuid.uuid4().bytes, step="garbage", op=schema.OP_CALL, method=method, attempt=1,
                          **fields)


class GarbageTest(SystemCase):
    @classmethod
    def setUpClass(cls):
        if os.environ.get("SAGA_ASAN_BIN"):
            os.environ["SAGA_BIN"] = os.environ["SAGA_ASAN_BIN"]
        super().setUpClass()

    def setUp(self):
        super().setUp()
        self.rng = random.Random(self.id())

    def tearDown(self):
        for name, daemon in self.system.daemons.items():
            self.assertTrue(daemon.running(), f"{name} has ended:\n{daemon.log_tail()}")
            self.assert_serves(name)

    def assert_serves(self, name):
        code, _, answer = sp.call(self.system.daemons[name].nng, CHECK, schema.message("saga.v1.CheckRequest")(),
                                  "saga.v1.CheckResponse", timeout=30)
        self.assertEqual(code, 0, name)
        self.assertIn(answer.state, (SERVING, DEGRADED), f"{name}: {answer}")

    def each_daemon(self):
        for name in NAMES:
            yield name, self.system.daemons[name].nng
            self.assert_serves(name)

    # ---- NNG ----

    def test_nng_when_the_peer_does_not_speak_sp_then_it_is_dropped(self):
        hellos = [b"", b"\0", b"GET / HTTP/1.1\r\n\r\n", b"\0SP\0", b"\0SP\1\0\x30\0\0", b"\xff" * 64,
                  struct.pack(">BBBBHH", 0, 83, 80, 0, 0x21, 0), sp.garbage(self.rng, 3000)]
        for _, url in self.each_daemon():
            for hello in hellos:
                with sp.connect(url) as sock:
                    with contextlib.suppress(OSError):
                        sock.sendall(hello)
                        sock.shutdown(socket.SHUT_WR)
                        while sock.recv(4096):
                            pass

    def test_nng_when_frames_lie_about_their_size_then_only_that_peer_is_dropped(self):
        for _, url in self.each_daemon():
            for size in [MESSAGE_SIZE_HARD + 1, 1 << 40, (1 << 64) - 1]:
                with sp.Peer(url) as peer:
                    peer.send_frame(b"\x80\0\0\1garbage", size=size)
                    with self.assertRaises((EOFError, OSError)):
                        peer.receive_frame()
            with sp.Peer(url) as peer:  # cut in the middle
                peer.send_frame(b"\x80\0\0\1garbage", size=4000)
            for body in [b"", b"\0", b"\x80\0\0", b"\0\0\0\1no request id", b"\x80\0\0\1"]:
                with sp.Peer(url) as peer:
                    peer.send_frame(body)

    def test_nng_when_the_body_is_garbage_then_invalid_argument(self):
        for _, url in self.each_daemon():
            with sp.Peer(url, timeout=30) as peer:
                for size in [1, 2, 3, 7, 50, 500, 5000, 60000]:
                    answer = schema.ReplyBatch.FromString(peer.request(b"\xff" + sp.garbage(self.rng, size)))
                    self.assertEqual([r.status.code for r in answer.replies], [INVALID_ARGUMENT])
                    self.assertTrue(answer.replies[0].status.message)

    def test_nng_when_a_batch_is_cut_or_changed_then_a_status_for_each(self):
        commands = [unknown_call(f"{service}/NoSuchMethod", payload=b"\x08\x01", traceparent="00-x")
                    for service in SERVICES.values()]
        whole = schema.CommandBatch(commands=commands).SerializeToString()
        for _, url in self.each_daemon():
            with sp.Peer(url, timeout=30) as peer:
                for end in range(1, len(whole), 7):
                    answer = schema.ReplyBatch.FromString(peer.request(whole[:end]))
                    self.assertTrue(all(r.status.code for r in answer.replies), end)
                for _ in range(300):
                    body = bytearray(whole)
                    for _ in range(self.rng.randint(1, 6)):
                        body[self.rng.randrange(len(body))] = self.rng.randrange(256)
                    answer = schema.ReplyBatch.FromString(peer.request(bytes(body)))
                    self.assertTrue(answer.replies)
                    self.assertTrue(all(r.status.code for r in answer.replies), answer)

    def test_nng_when_oversized_then_resource_exhausted_that_names_the_limit(self):
        for _, url in self.each_daemon():
            with sp.Peer(url, timeout=30) as peer:
                for size in [MESSAGE_SIZE_MAX + 1, MESSAGE_SIZE_HARD - 100]:
                    answer = schema.ReplyBatch.FromString(peer.request(b"\x0a" * size))
                    self.assertEqual([r.status.code for r in answer.replies], [RESOURCE_EXHAUSTED])
                    self.assertIn(str(MESSAGE_SIZE_MAX), answer.replies[0].status.message)
                commands = [schema.Command(method=CHECK)] * (BATCH_COUNT_MAX + 1)
                answer = schema.ReplyBatch.FromString(
                    peer.request(schema.CommandBatch(commands=commands).SerializeToString()))
                self.assertEqual([r.status.code for r in answer.replies], [RESOURCE_EXHAUSTED])
                self.assertIn(str(BATCH_COUNT_MAX), answer.replies[0].status.message)

    def test_nng_when_unknown_or_wrong_then_the_status_says_what(self):
        for name, url in self.each_daemon():
            service = SERVICES.get(name, "saga.v1.OrchestratorService")
            no_step = INVALID_ARGUMENT if name == "sagad" else UNIMPLEMENTED  # sagad takes no step of a saga
            wrong = [
                (unknown_call(f"{service}/NoSuchMethod"), no_step),
                (unknown_call("no.such.Service/Method"), no_step),
                (unknown_call("nonsense"), None),
                (schema.Command(method=f"{service}/NoSuchMethod"), UNIMPLEMENTED),
                (schema.Command(saga_id=b"short", step="s", op=1, method=f"{service}/X"), INVALID_ARGUMENT),
                (schema.Command(method=CHECK, payload=b"\xff\xff\xff"), INVALID_ARGUMENT),
                (schema.Command(method=CHECK, deadline_unix_ms=1), DEADLINE_EXCEEDED),
            ]
            for command, code in wrong:
                (reply,) = sp.call_batch(url, [command], timeout=30)
                self.assertTrue(reply.status.code == code if code else reply.status.code != 0,
                                f"{command}: {reply.status}")
                self.assertTrue(reply.status.message, f"{command}: no message")

    def test_nng_when_a_good_command_stands_among_bad_ones_then_it_is_done(self):
        for name, url in self.each_daemon():
            bad = schema.Command(method=f"{SERVICES.get(name, 'x.X')}/NoSuchMethod")
            replies = sp.call_batch(url, [bad, schema.Command(method=CHECK), bad], timeout=30)
            self.assertEqual([r.status.code for r in replies], [UNIMPLEMENTED, 0, UNIMPLEMENTED])

    def test_nng_when_many_peers_come_and_go_then_served(self):
        for _, url in self.each_daemon():
            peers = [sp.Peer(url) for _ in range(100)]
            for i, peer in enumerate(peers):
                peer.send_frame(struct.pack(">I", 0x80000000 | i) + schema.CommandBatch(
                    commands=[schema.Command(method=CHECK)]).SerializeToString())
            for peer in peers[::2]:  # half do not wait for their answer
                peer.sock.close()
            for peer in peers[1::2]:
                peer.receive_frame()
                peer.sock.close()

    def test_sagad_when_asked_nonsense_then_a_status(self):
        url = self.system.sagad.nng
        start = schema.message("saga.v1.StartSagaRequest")
        service = "saga.v1.OrchestratorService"
        asked = [
            ("StartSaga", start(definition="nope", key="k"), 5),
            ("StartSaga", start(definition="create-order", key=""), INVALID_ARGUMENT),
            ("StartSaga", start(definition="create-order", key="k" * 200), INVALID_ARGUMENT),
            ("StartSaga", start(definition="create-order", key="k", input=b"\xff"), INVALID_ARGUMENT),
            ("StartSaga", start(definition="create-order", key="k", input=b"\x12\x01x" * 30000), None),
            ("GetSaga", schema.message("saga.v1.GetSagaRequest")(saga_id=b"x"), INVALID_ARGUMENT),
            ("GetSaga", schema.message("saga.v1.GetSagaRequest")(saga_id=b"x" * 16), 5),
            ("OperateSaga", schema.message("saga.v1.OperateSagaRequest")(saga_id=b"x" * 16, act=99), None),
            ("WatchSaga", schema.message("saga.v1.WatchSagaRequest")(wait_ms=-5), None),
            ("ListSagas", schema.message("saga.v1.ListSagasRequest")(state=77, limit=4000000000), None),
        ]
        for method, message, code in asked:
            (reply,) = sp.call_batch(url, [schema.Command(method=f"{service}/{method}",
                                                          payload=message.SerializeToString())], timeout=30)
            self.assertTrue(reply.status.code == code if code is not None else reply.status.code in (0, 3, 5, 8, 9, 11),
                            f"{method} {message}: {reply.status}")

    # ---- HTTP ----

    def raw_http(self, name, data, half=False):
        """Sends bytes and reads what comes until the end; the status, None without one."""
        address = urllib.parse.urlsplit(self.system.daemons[name].http)
        with socket.create_connection((address.hostname, address.port), timeout=60) as sock:
            answer = b""
            with contextlib.suppress(OSError):
                sock.sendall(data)
                if half:
                    sock.shutdown(socket.SHUT_WR)
                while part := sock.recv(65536):
                    answer += part
        match = re.match(rb"HTTP/1\.[01] (\d{3})", answer)
        return int(match.group(1)) if match else None

    def post(self, body, *headers):
        head = "".join(f"{header}\r\n" for header in headers)
        return f"POST /orders HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body

    def test_http_when_the_request_is_garbage_then_refused(self):
        close = "Host: x\r\nConnection: close\r\n\r\n"
        cases = [
            (sp.garbage(self.rng, 5000) + b"\r\n\r\n", {None, 400, 431, 414}),
            (b"\0" * 1000, {None, 400, 431}),
            (b"GET\r\n\r\n", {None, 400}),
            (b"GET / HTTP/9.9\r\n\r\n", {None, 400, 404, 505}),
            (f"GET /nothing HTTP/1.1\r\n{close}".encode(), {404}),
            (f"GET /../../../../etc/passwd HTTP/1.1\r\n{close}".encode(), {400, 404}),
            (f"GET /%2e%2e/%2e%2e/etc/passwd%00 HTTP/1.1\r\n{close}".encode(), {None, 400, 404}),
            (f"DELETE /livez HTTP/1.1\r\n{close}".encode(), {405}),
            (f"GET /{'a' * 100000} HTTP/1.1\r\n{close}".encode(), {None, 414, 431, 400, 404}),
            (f"GET /livez HTTP/1.1\r\nX: {'a' * 200000}\r\n{close}".encode(), {None, 431, 400, 413}),
            (f"GET /livez HTTP/1.1\r\n{close}".encode(), {200}),
        ]
        for name in ["sagad", "orderd"]:
            for data, statuses in cases:
                with self.subTest(name, data=data[:40]):
                    self.assertIn(self.raw_http(name, data, half=True), statuses)

    def test_http_orders_when_the_body_is_wrong_then_400_with_code_and_field(self):
        good = {"customer_id": 1, "items": [{"product_id": 1, "quantity": 1}]}
        wrong = [
            (b"", None), (b"{", None), (b"[]", None), (b"null", None), (b'"x"', None), (b"\xff\xfe", None),
            (b"[" * 20000, None), (json.dumps({**good, "customer_id": "x"}).encode(), "customer_id"),
            (json.dumps({**good, "customer_id": -1}).encode(), "customer_id"),
            (json.dumps({**good, "customer_id": 2**70}).encode(), None),
            (json.dumps({**good, "items": []}).encode(), "items"),
            (json.dumps({**good, "items": {}}).encode(), "items"),
            (json.dumps({**good, "items": [1]}).encode(), "items"),
            (json.dumps({**good, "items": [{"product_id": 1, "quantity": 0}]}).encode(), "quantity"),
            (json.dumps({**good, "items": [{"product_id": 1, "quantity": 1.5}]}).encode(), "quantity"),
            (json.dumps({**good, "items": [{"product_id": 1, "quantity": 10**6}]}).encode(), "quantity"),
            (json.dumps({**good, "items": [{"product_id": 1}]}).encode(), "quantity"),
            (json.dumps({**good, "items": [{"product_id": 1, "quantity": 1}] * 101}).encode(), "items"),
            (json.dumps({**good, "surprise": 1}).encode(), "surprise"),
            (json.dumps(good).encode() + b"trailing", None),
        ]
        for body, field in wrong:
            with self.subTest(body=body[:60]):
                status, answer = self.orders_raw(body)
                self.assertEqual(status, 400, answer)
                self.assertTrue(answer["error"]["code"] and answer["error"]["message"], answer)
                if field:
                    self.assertIn(field, answer["error"]["field"], answer)

    def orders_raw(self, body):
        address = urllib.parse.urlsplit(self.system.orderd.http)
        with socket.create_connection((address.hostname, address.port), timeout=60) as sock:
            sock.sendall(self.post(body, "Content-Type: application/json"))
            answer = b""
            while part := sock.recv(65536):
                answer += part
        head, _, data = answer.partition(b"\r\n\r\n")
        return int(head.split()[1]), json.loads(data)

    def test_http_orders_when_oversized_cut_or_smuggled_then_refused(self):
        self.assertIn(self.raw_http("orderd", self.post(b"x" * 3000000)), {413, None})
        lie = b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000000\r\n\r\n{}"
        self.assertIn(self.raw_http("orderd", lie, half=True), {413, None})
        cut = b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 500\r\n\r\n{\"customer_id\":"
        self.assertIn(self.raw_http("orderd", cut, half=True), {None, 400, 408})
        both = (b"POST /orders HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\nConnection: close"
                b"\r\n\r\n0\r\n\r\nGET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        self.assertIn(self.raw_http("orderd", both, half=True), {None, 400})
        chunks = b"POST /orders HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\nzz\r\n"
        self.assertIn(self.raw_http("orderd", chunks, half=True), {None, 400})
        for path in ["/orders/x", "/orders/-1", "/orders/99999999999999999999", "/orders?customer_id=",
                     "/orders?customer_id=1&limit=x", "/orders/1?wait=forever", "/orders/1?wait=-1s"]:
            status, answer = self.orders.request("GET", path)
            self.assertEqual(status, 400, f"{path}: {answer}")
        self.assertEqual(self.orders.request("GET", "/orders/4000000000")[0], 404)

    # ---- Kafka ----

    def dead_letters(self):
        return self.broker.read("saga-dead-letter")

    def test_kafka_when_records_are_unusable_then_dead_letters_and_the_topic_goes_on(self):
        key = str(uuid.uuid4())
        whole = unknown_call("kitchen.v1.KitchenService/CancelTicket", payload=b"\x08\x01").SerializeToString()
        values = {
            "empty": b"", "garbage": b"\xff" + sp.garbage(self.rng, 300), "cut": whole[:-3],
            "large": b"\xff" * 1000000, "text": b"hello\nworld", "unknown": unknown_call("no.such.S/M").SerializeToString(),
            "ordinary": schema.Command(method=CHECK).SerializeToString(),
        }
        before = len(self.dead_letters())
        topics = [*kafka.COMMAND_TOPICS.values(), *kafka.REPLY_TOPICS.values()]
        for topic in topics:
            for value in values.values():
                self.broker.write(topic, value, key=key, headers={"ce_id": "x"})
            self.broker.write(topic, values["garbage"])  # without key and headers
        expected = len(topics) * (len(values) + 1)
        until(lambda: len(self.dead_letters()) - before >= expected, 90,
              lambda: f"{len(self.dead_letters()) - before} of {expected} dead letters\n{self.system.logs()}")
        letters = self.dead_letters()[:]
        self.assertEqual(len(letters) - before, expected)
        for letter in letters:
            self.assertTrue(letter.headers["dead-letter-reason"], letter)
            self.assertIn(letter.headers["dead-letter-topic"], topics)
            self.assertRegex(letter.headers["dead-letter-partition"], r"^\d+$")
            self.assertRegex(letter.headers["dead-letter-offset"], r"^\d+$")
        origins = {(l.headers["dead-letter-topic"], l.headers["dead-letter-partition"], l.headers["dead-letter-offset"])
                   for l in letters}
        self.assertEqual(len(origins), len(letters), "a record was buried twice")
        kept = [l for l in letters if l.value == values["garbage"]]
        self.assertGreaterEqual(len(kept), len(topics))
        for kind, state in [("approved", "APPROVED"), ("refused", "REJECTED")]:  # both go on
            self.assertEqual(self.orders.decide(make_order(kind, self.rng))["state"], state)

    def test_kafka_when_replies_come_for_what_nobody_asked_then_ignored(self):
        order = self.orders.decide(make_order("refused", self.rng))
        saga_id = uuid.UUID(order["saga_id"]).bytes
        for topic in kafka.REPLY_TOPICS.values():
            for saga, step, op in [(saga_id, "payment", 2), (saga_id, "nothing", 1), (uuid.uuid4().bytes, "ticket", 2)]:
                reply = schema.Reply(saga_id=saga, step=step, op=op, attempt=1)
                self.broker.write(topic, reply.SerializeToString(), key=str(uuid.UUID(bytes=saga)))
        self.assertEqual(self.orders.decide(make_order("approved", self.rng))["state"], "APPROVED")
        self.assertEqual(self.orders.get(order["order_id"])["state"], "REJECTED")
        self.check_all()

    # ---- At last ----

    def test_zz_when_all_is_over_then_clean_exits_and_clean_logs(self):
        """Runs last (by its name): leaks show at the exit of a sanitized daemon."""
        self.check_all()
        statuses = self.system.stop()
        for name, daemon in self.system.daemons.items():
            found = CRASHES.search(daemon.log_text())
            self.assertIsNone(found, f"{name}: {found and daemon.log_text()[found.start():][:3000]}")
        self.assertEqual(set(statuses.values()), {0}, statuses)
        self.system.start()


if __name__ == "__main__":
    unittest.main()
