"""One order, end to end: approved, and every refusal with its undo through Kafka."""
import contextlib
import random
import re
import sqlite3
import subprocess
import unittest
import uuid

from harness import databases, kafka, schema
from harness.case import SystemCase
from harness.orders import REASONS, GOOD_CUSTOMERS, make_order
from harness.trail import check_cloud_event
from harness.util import until

# The undos of an order whose ticket is refused at the pivot: everything before it.
UNDONE = {
    "payment": ("payment.v1.PaymentService", "RefundPayment"),
    "ticket": ("kitchen.v1.KitchenService", "CancelTicket"),
    "stock": ("product.v1.ProductService", "ReleaseStock"),
    "order": ("order.v1.OrderService", "RejectOrder"),
}
CAPACITY = 5


class OrderTest(SystemCase):
    CAPACITY = CAPACITY

    def setUp(self):
        super().setUp()
        self.rng = random.Random(self.id())

    def saga_of(self, order):
        return uuid.UUID(order["saga_id"])

    def test_order_when_all_say_yes_then_approved(self):
        order = self.orders.decide(make_order("approved", self.rng))
        self.assertEqual((order["state"], order["reason"]), ("APPROVED", ""))
        trail = self.check_all()
        saga_id = self.saga_of(order).bytes
        self.assertEqual(trail.sagas[saga_id][0], schema.COMPLETED)
        moved = [t.step for event in trail.audit[saga_id] for t in event.transitions if t.to == schema.SUCCEEDED]
        self.assertEqual(moved[0], "order")
        self.assertEqual(set(moved[1:3]), {"customer", "stock"})
        self.assertEqual(moved[3:], ["ticket", "payment", "accept", "confirm"])

    def test_order_when_refused_then_rejected_with_its_reason_and_nothing_held(self):
        for kind, reason in REASONS.items():
            if kind == "approved":
                continue
            with self.subTest(kind):
                order = self.orders.decide(make_order(kind, self.rng))
                self.assertEqual((order["state"], order["reason"]), ("REJECTED", reason))
        self.check_all()

    def test_order_when_kitchen_is_full_then_rejected_and_those_inside_go_on(self):
        self.assertEqual(self.system.paymentd.stop(), 0)  # tickets stay PENDING
        inside = [self.orders.place(make_order("approved", self.rng))["order_id"] for _ in range(CAPACITY)]
        until(lambda: databases.query(self.system.kitchend, "SELECT count(*) FROM ticket WHERE state = 1")[0][0]
              == CAPACITY, 30, "the kitchen is not full")
        order = self.orders.decide(make_order("approved", self.rng))
        self.assertEqual((order["state"], order["reason"]), ("REJECTED", "KITCHEN_FULL"))
        self.system.paymentd.start()
        for order_id in inside:
            self.assertEqual(self.orders.decided(order_id)["state"], "APPROVED")
        self.check_all()

    def test_undo_when_ticket_is_refused_then_it_travels_through_kafka_and_back(self):
        order = self.orders.decide(make_order("refused", self.rng))
        saga = self.saga_of(order)
        trail = self.check_all()
        key = str(saga).encode()
        replied_at = {}
        for step, (service, method) in UNDONE.items():
            with self.subTest(step):
                (sent,) = [r for r in self.broker.read(kafka.COMMAND_TOPICS[service]) if r.key == key]
                self.check_undo(sent, saga, step, f"{service}/{method}", order["order_id"])
                (answer,) = [r for r in self.broker.read(kafka.REPLY_TOPICS[service]) if r.key == key]
                reply = schema.Reply()
                reply.ParseFromString(answer.value)
                self.assertEqual((reply.saga_id, reply.step, reply.op, reply.status.code, reply.empty),
                                 (saga.bytes, step, schema.OP_UNDO, 0, False))
                (effect,) = [e for e in trail.effects[saga.bytes] if (e.step, e.op) == (step, schema.OP_UNDO)]
                self.assertEqual(answer.headers["ce_id"], f"{effect.event_id}/reply")
                self.assertEqual(answer.headers["ce_type"], "saga.v1.Reply")
                replied_at[step] = (sent.time_ms, answer.time_ms)
        # S5: in reverse order; the order itself last.
        self.assertLessEqual(replied_at["payment"][1], replied_at["ticket"][0] + 1)
        self.assertLessEqual(replied_at["ticket"][1], replied_at["stock"][0] + 1)
        self.assertLessEqual(replied_at["stock"][1], replied_at["order"][0] + 1)

    def check_undo(self, record, saga, step, method, order_id):
        command = schema.Command()
        command.ParseFromString(record.value)
        self.assertEqual((command.saga_id, command.step, command.op, command.method, command.attempt),
                         (saga.bytes, step, schema.OP_UNDO, method, 1))
        self.assertEqual((command.cause.step, command.cause.status.reason), ("accept", "TICKET_REFUSED"))
        service, name = method.split("/")
        request = schema.message(f"{service.rsplit('.', 1)[0]}.{name}Request")()
        request.ParseFromString(command.payload)
        self.assertEqual(request.order_id, order_id)
        self.assertRegex(record.headers["ce_id"], r"^sagad/[0-9]+$")
        check_cloud_event(record, record.headers["ce_id"], "/sagad", "saga.v1.Command", saga.bytes)

    def test_undo_when_looked_at_with_kcat_then_key_and_headers_are_readable(self):
        order = self.orders.decide(make_order("declined", self.rng))
        out = subprocess.run(["kcat", "-b", self.broker.bootstrap, "-C", "-q", "-e", "-o", "beginning", "-t",
                              "order-to-kitchen-status", "-f", "%k | %h | %S bytes\n"], stdout=subprocess.PIPE, text=True,
                             check=True, timeout=30).stdout
        (line,) = [line for line in out.splitlines() if line.startswith(order["saga_id"])]
        for header in [r"ce_id=sagad/\d+", r"ce_type=saga\.v1\.Command", r"ce_specversion=1\.0",
                       "content-type=application/protobuf"]:
            self.assertTrue(re.search(f"[ ,]{header}[ ,]", line), line)

    def test_place_when_repeated_with_its_key_then_one_order(self):
        body = make_order("approved", self.rng)
        first = self.orders.place(body, key="the-same")
        self.assertEqual(self.orders.place(body, key="the-same")["order_id"], first["order_id"])
        status, answer = self.orders.request("POST", "/orders", make_order("approved", random.Random(0)),
                                             {"Idempotency-Key": "the-same"})
        self.assertEqual((status, answer["error"]["code"]), (422, "IDEMPOTENCY_KEY_REUSED"), answer)
        self.check_all()

    def test_list_when_asked_by_customer_then_newest_first(self):
        customer = GOOD_CUSTOMERS[-1]
        placed = []
        for _ in range(3):
            body = make_order("approved", self.rng)
            body["customer_id"] = customer
            placed.append(self.orders.decide(body)["order_id"])
        status, answer = self.orders.request("GET", f"/orders?customer_id={customer}")
        self.assertEqual(status, 200)
        listed = [order["order_id"] for order in answer["orders"]]
        self.assertEqual(listed[:3], placed[::-1])

    # ---- The checks themselves: what they must catch ----

    def tamper(self, daemon, sql, back):
        """Changes a database behind its daemon's back and back again; the check must see it in between."""
        for text, context in [(sql, self.assertRaises(AssertionError)), (back, contextlib.nullcontext())]:
            with sqlite3.connect(daemon.data_file) as connection:
                self.assertGreater(connection.execute(text).rowcount, 0)
            with context:
                databases.check_invariants(self.system)

    def test_check_when_a_database_was_tampered_with_then_it_is_found(self):
        order = self.orders.decide(make_order("approved", self.rng))["order_id"]
        databases.wait_rest(self.system)
        for name in ["productd", "paymentd", "kitchend", "orderd"]:
            self.assertEqual(self.system.daemons[name].stop(), 0)
        self.tamper(self.system.productd, "UPDATE product SET stock = stock - 1 WHERE product_id = 1",
                    "UPDATE product SET stock = stock + 1 WHERE product_id = 1")
        self.tamper(self.system.paymentd, f"UPDATE payment SET state = 2 WHERE order_id = {order}",
                    f"UPDATE payment SET state = 1 WHERE order_id = {order}")
        self.tamper(self.system.kitchend, f"UPDATE ticket SET state = 1 WHERE order_id = {order}",
                    f"UPDATE ticket SET state = 2 WHERE order_id = {order}")
        self.tamper(self.system.orderd, f"UPDATE orders SET state = 3, reason = 'X' WHERE order_id = {order}",
                    f"UPDATE orders SET state = 2, reason = '' WHERE order_id = {order}")
        self.system.start()

    def test_check_when_a_trail_was_tampered_with_then_it_is_found(self):
        saga_id = self.saga_of(self.orders.decide(make_order("refused", self.rng))).bytes
        trail = self.check_all()
        events, effects = trail.audit[saga_id], trail.effects[saga_id]
        for tampered in [events[:-1], events[1:], [*events[:2], events[3], events[2], *events[4:]],
                         [schema.AuditEvent(saga_id=saga_id, seq=1, kind=1), *events[1:]]]:
            trail.audit[saga_id] = tampered
            with self.assertRaises(AssertionError):
                trail.check()
        trail.audit[saga_id] = events
        stranger = schema.EffectEvent(saga_id=saga_id, step="nothing", op=1, event_id="x/1")
        for tampered in [effects[:-1], effects[1:], [*effects, effects[0]], [*effects, stranger]]:
            trail.effects[saga_id] = tampered
            with self.assertRaises(AssertionError):
                trail.check()
        trail.effects[saga_id] = effects
        trail.check()


if __name__ == "__main__":
    unittest.main()
