"""create-order-async: the same saga, every command over Kafka."""
import random
import unittest
import uuid

from harness import kafka, schema
from harness.case import SystemCase
from harness.databases import check_reasons
from harness.orders import REASONS, Load, make_order

CALLS = {
    "customer": "customer.v1.CustomerService",
    "stock": "product.v1.ProductService",
    "ticket": "kitchen.v1.KitchenService",
    "payment": "payment.v1.PaymentService",
    "accept": "kitchen.v1.KitchenService",
    "confirm": "order.v1.OrderService",
}


class AsyncTest(SystemCase):
    SAGA = "create-order-async"

    def test_async_order_when_all_say_yes_then_every_call_went_by_kafka(self):
        order = self.orders.decide(make_order("approved", random.Random(1)))
        self.assertEqual(order["state"], "APPROVED")
        trail = self.check_all()
        saga = uuid.UUID(order["saga_id"])
        decisions = [d for event in trail.audit[saga.bytes] for d in event.decisions]
        self.assertEqual({d.via for d in decisions}, {schema.VIA_KAFKA})
        self.assertEqual({d.step for d in decisions}, set(CALLS))
        durable = {event.step for event in trail.audit[saga.bytes] if event.kind == schema.KIND_DURABLE}
        self.assertTrue(durable, "nothing became durable in Kafka")
        for step, service in CALLS.items():
            for topic in (kafka.COMMAND_TOPICS[service], kafka.REPLY_TOPICS[service]):
                kind = schema.Command if topic == kafka.COMMAND_TOPICS[service] else schema.Reply
                steps = [kind.FromString(r.value).step for r in self.broker.read(topic) if r.key == str(saga).encode()]
                self.assertIn(step, steps, topic)

    def test_async_order_when_refused_then_rejected_with_its_reason(self):
        for kind, reason in REASONS.items():
            with self.subTest(kind):
                order = self.orders.decide(make_order(kind, random.Random(kind)))
                self.assertEqual(order["reason"], reason)
        self.check_all()

    def test_async_orders_when_many_then_each_ends_as_it_must(self):
        kinds = Load(self.orders, 150, 11, name="async").begin().placed()
        self.check_all(120)
        check_reasons(self.system, kinds)


if __name__ == "__main__":
    unittest.main()
