"""Parts of the system are away: work waits durably, and goes on."""
import random
import threading
import unittest

from harness import databases, schema
from harness.case import SystemCase
from harness.daemons import SERVICES
from harness.databases import check_reasons
from harness.orders import Load, make_order
from harness.util import until

# The step that stands still while a service is away.
STEPS = {"customerd": "customer", "productd": "stock", "kitchend": "ticket", "paymentd": "payment"}


def step_waits(system, saga_id, step):
    """Tells whether a saga has called a step and has no answer."""
    called = answered = False
    for (data,) in databases.query(system.sagad, "SELECT event FROM audit WHERE saga_id = ? ORDER BY seq", saga_id):
        event = schema.AuditEvent.FromString(data)
        called = called or any(d.step == step for d in event.decisions)
        answered = answered or any(t.step == step and t.to == schema.SUCCEEDED for t in event.transitions)
    return called and not answered


class DownTest(SystemCase):
    def setUp(self):
        super().setUp()
        self.rng = random.Random(self.id())

    def place(self, kind):
        return self.orders.place(make_order(kind, self.rng))["order_id"]

    def saga_id(self, order_id):
        return until(lambda: databases.query(self.system.sagad, "SELECT id FROM saga WHERE start_key LIKE ?",
                                             f"%{order_id}"), 20, f"order {order_id} has no saga")[0][0]

    def test_orchestrator_when_down_then_orders_are_accepted_and_start_later(self):
        self.system.sagad.kill()
        kinds = {}
        for kind in ["approved", "abnormal", "approved", "declined", "approved", "refused"]:
            order = self.orders.place(make_order(kind, self.rng))
            self.assertEqual(order["state"], "PENDING")
            kinds[order["order_id"]] = kind
        self.assertEqual(databases.query(self.system.orderd, "SELECT count(*) FROM start_outbox")[0][0], len(kinds))
        self.system.sagad.start()
        for order_id in kinds:
            self.orders.decided(order_id)
        self.check_all()
        check_reasons(self.system, kinds)

    def test_service_when_down_then_its_sagas_wait_and_go_on(self):
        for name, step in STEPS.items():
            with self.subTest(name):
                self.assertEqual(self.system.daemons[name].stop(), 0)
                order_id = self.place("approved")
                saga_id = self.saga_id(order_id)
                until(lambda: step_waits(self.system, saga_id, step), 20, f"{step} was not called")
                until(lambda: self.system.health()[1][SERVICES[name]][0] == "DEGRADED", 20, "health does not say so")
                self.assertEqual(self.orders.get(order_id)["state"], "PENDING")
                self.system.daemons[name].start()
                self.assertEqual(self.orders.decided(order_id)["state"], "APPROVED")
        self.check_all()

    def test_orderd_when_killed_with_orders_in_flight_then_they_are_decided(self):
        self.system.paymentd.stop()
        kinds = {self.place(kind): kind for kind in ["approved", "declined", "approved", "unknown"]}
        self.system.orderd.kill()
        self.system.paymentd.start()
        self.system.orderd.start()
        for order_id in kinds:
            self.orders.decided(order_id)
        self.check_all()
        check_reasons(self.system, kinds)

    def test_kafka_when_down_then_forward_goes_on_and_undo_waits(self):
        self.broker.kill()
        try:
            for _ in range(5):
                order = self.orders.decide(make_order("approved", self.rng))
                self.assertEqual(order["state"], "APPROVED")
            refused = {self.place(kind): kind for kind in ["sold out", "declined", "refused", "abnormal"]}
            for order_id in refused:
                saga_id = self.saga_id(order_id)
                until(lambda: databases.query(self.system.sagad, "SELECT count(*) FROM saga WHERE id = ? AND state = 2",
                                              saga_id)[0][0], 20, "the saga does not turn back")
            until(lambda: self.system.health()[1]["kafka"][0] == "DEGRADED", 30, "health does not say so")
            self.assertEqual(self.system.health()[0], "DEGRADED")
            self.assertIn("outbox", self.system.health()[1]["kafka"][1])
            self.assertGreaterEqual(databases.query(self.system.sagad, "SELECT count(*) FROM outbox")[0][0],
                                    len(refused))
            for order_id in refused:
                self.assertEqual(self.orders.get(order_id)["state"], "PENDING")
            # What waits outlives its keeper.
            self.system.sagad.kill()
            self.system.sagad.start()
        finally:
            self.broker.restart()
        for order_id, _ in refused.items():
            self.assertEqual(self.orders.decided(order_id, 90)["state"], "REJECTED")
        self.check_all()
        check_reasons(self.system, refused)
        until(lambda: self.system.health()[0] == "SERVING", 30, lambda: f"health stays {self.system.health()}")

    def test_sigterm_when_under_load_then_clean_exit_and_nothing_lost(self):
        load = Load(self.orders, 400, 3, seconds=8, name="term").begin()
        problems = []

        def wait_load():
            try:
                self.kinds = load.placed()
            except Exception as problem:  # told by the main thread
                problems.append(problem)

        waiter = threading.Thread(target=wait_load)
        waiter.start()
        for i, name in enumerate(["sagad", "paymentd", "orderd", "kitchend", "productd", "customerd", "sagad"]):
            until(lambda: load.placed_count >= 45 * (i + 1) or not waiter.is_alive(), 60, "the load stands still")
            daemon = self.system.daemons[name]
            self.assertEqual(daemon.stop(), 0, f"{name}:\n{daemon.log_tail()}")
            daemon.start()
        waiter.join()
        self.assertEqual(problems, [])
        self.check_all(150)
        self.assertEqual(len(self.kinds), 400)

    def test_system_when_stopped_with_sagas_in_flight_then_they_go_on_after_the_start(self):
        kinds = Load(self.orders, 100, 4, name="stop").begin().placed()
        self.assertEqual(set(self.system.stop().values()), {0})
        self.system.start()
        self.check_all()
        for order_id, kind in kinds.items():
            if kind != "approved":
                self.assertEqual(self.orders.get(order_id)["state"], "REJECTED")


if __name__ == "__main__":
    unittest.main()
