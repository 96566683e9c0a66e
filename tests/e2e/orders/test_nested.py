"""order-nested (tests/support/nested): the same order as sagas in sagas, with the real daemons, also when they are killed."""
import json
import os
import pathlib
import random
import re
import subprocess
import tempfile
import unittest
import uuid

from harness import schema, util
from harness.case import SystemCase
from harness.databases import check_reasons, query
from harness.orders import REASONS, Load, make_order
from harness.util import ROOT, until

CHILDREN = {"prepare": "prepare", "settle": "settle", "goods": "hold-goods"}
NESTED = ROOT / "tests" / "support" / "nested" / "v1" / "nested.proto"
SERVED = ("order", "customer", "product", "kitchen", "payment")


class NestedTest(SystemCase):
    SAGA = "order-nested"

    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="saga-nested-")
        cls.addClassCleanup(cls.folder.cleanup)
        cls.addClassCleanup(os.environ.pop, "SAGAD_DESCRIPTOR_SET", None)
        cls.declare()
        super().setUpClass()

    @classmethod
    def declare(cls, change=lambda text: text):
        """Makes the descriptor set that sagad is started with, of the schema with a change."""
        where = pathlib.Path(cls.folder.name)
        source = where / "nested" / "v1" / "nested.proto"
        source.parent.mkdir(parents=True, exist_ok=True)
        source.write_text(change(NESTED.read_text(encoding="utf-8")), encoding="utf-8")
        subprocess.run(["protoc", f"--descriptor_set_out={where / 'nested.binpb'}", "--include_imports",
                        "--include_source_info", "-I", ROOT / "proto", "-I", where, "nested/v1/nested.proto",
                        *(f"{name}/v1/{name}.proto" for name in SERVED), "saga/v1/orchestrator.proto"], check=True)
        os.environ["SAGAD_DESCRIPTOR_SET"] = str(where / "nested.binpb")

    def sagactl(self, *arguments, status=0):
        done = subprocess.run([util.bin_dir() / "sagactl", *arguments, f"--address={self.system.sagad.nng}"],
                              capture_output=True, text=True, timeout=60)
        self.assertEqual(done.returncode, status, done.stdout + done.stderr)
        return done.stdout

    def get(self, saga_id):
        return json.loads(self.sagactl("get", str(saga_id), "-o", "json"))

    def family(self, order):
        """{definition: saga} of an order, found from its saga by the ids that each tells."""
        found, waiting = {}, [order["saga_id"]]
        while waiting:
            saga = self.get(waiting.pop())
            found[saga["definition"]] = saga
            for step in saga["steps"]:
                self.assertEqual(step.get("saga"), CHILDREN.get(step["name"]))
                if step.get("child_id"):
                    waiting.append(step["child_id"])
        return found

    def test_order_when_all_say_yes_then_every_saga_of_it_completes(self):
        order = self.orders.decide(make_order("approved", random.Random(1)))
        self.assertEqual((order["state"], order["reason"]), ("APPROVED", ""))
        trail = self.check_all()
        family = self.family(order)
        self.assertEqual({name: saga["state"] for name, saga in family.items()},
                         dict.fromkeys(["order-nested", "prepare", "hold-goods", "settle"], "COMPLETED"))
        self.assertEqual(family["order-nested"]["context"]["ticket_id"], family["hold-goods"]["context"]["ticket_id"])
        self.assertEqual(family["settle"]["parent_id"], order["saga_id"])
        start = trail.audit[uuid.UUID(family["hold-goods"]["id"]).bytes][0]
        self.assertEqual((uuid.UUID(bytes=start.parent_saga_id), start.parent_step),
                         (uuid.UUID(family["prepare"]["id"]), "goods"))

    def test_order_when_refused_then_rejected_with_its_reason_and_all_is_undone(self):
        for kind, reason in REASONS.items():
            if kind == "approved":
                continue
            with self.subTest(kind):
                order = self.orders.decide(make_order(kind, random.Random(kind)))
                self.assertEqual((order["state"], order["reason"]), ("REJECTED", reason))
                until(lambda: self.get(order["saga_id"])["state"] == "COMPENSATED", 30, "it is not compensated")
                for saga in self.family(order).values():
                    self.assertEqual(saga["state"], "COMPENSATED", saga)
        self.check_all()

    def test_why_when_asked_for_a_saga_in_sagas_then_tells_all_of_them(self):
        order = self.orders.decide(make_order("refused", random.Random(3)))
        until(lambda: self.get(order["saga_id"])["state"] == "COMPENSATED", 30, "it is not compensated")
        family = self.family(order)
        told = re.sub(r"\s+", " ", self.sagactl("why", order["saga_id"]))
        for name, saga in family.items():
            self.assertIn(f"Saga {saga['id']} ({name}, ", told)
        self.assertIn(f"prepare (saga prepare {family['prepare']['id']}) succeeded", told)
        self.assertIn(f"step goods of saga {family['prepare']['id']}", told)
        self.assertIn("The saga that it is a step of undid it as a whole", told)
        self.assertIn(f"part of   {order['saga_id']}, step settle", self.sagactl("get", family["settle"]["id"]))
        self.assertIn("started      settle, step settle of saga", self.sagactl("watch", family["settle"]["id"], status=1))
        self.sagactl("audit", "verify", f"--kafka={self.broker.bootstrap}",
                     f"--descriptor-set={os.environ['SAGAD_DESCRIPTOR_SET']}")

    def test_child_when_cancelled_by_an_operator_then_the_order_is_rejected(self):
        self.assertEqual(self.system.kitchend.stop(), 0)
        placed = self.orders.place(make_order("approved", random.Random(4)))
        saga = until(lambda: self.orders.get(placed["order_id"]).get("saga_id"), 30, "no saga")
        goods = until(lambda: [row[0] for row in query(
            self.system.sagad, "SELECT id FROM saga WHERE live AND definition_name = 'hold-goods'")], 30, "no child")
        self.sagactl("cancel", str(uuid.UUID(bytes=goods[0])), "--why", "the kitchen burns")
        self.system.kitchend.start()
        order = self.orders.decided(placed["order_id"])
        self.assertEqual((order["state"], order["reason"]), ("REJECTED", "CANCELLED"))
        self.assertIn("the kitchen burns", self.sagactl("why", saga))
        self.check_all()

    def test_order_when_its_children_are_declared_anew_then_goes_on_with_those_it_began_with(self):
        before = self.family(self.orders.decide(make_order("approved", random.Random(5))))
        self.assertEqual(self.system.kitchend.stop(), 0)
        placed = self.orders.place(make_order("approved", random.Random(6)))
        until(lambda: query(self.system.sagad, "SELECT id FROM saga WHERE live AND definition_name = 'hold-goods'"), 30,
              "no child")
        self.system.sagad.kill()
        self.declare(lambda text: text.replace("deadline_ms: 12000", "deadline_ms: 13000"))  # of settle
        self.system.sagad.start()
        self.system.kitchend.start()
        order = self.orders.decided(placed["order_id"])
        self.assertEqual(order["state"], "APPROVED")
        for name, saga in self.family(order).items():  # settle began after the change
            self.assertEqual(saga["definition_hash"], before[name]["definition_hash"])
        after = self.family(self.orders.decide(make_order("approved", random.Random(7))))
        self.assertEqual({name for name in after if after[name]["definition_hash"] != before[name]["definition_hash"]},
                         {"settle", "order-nested"})
        self.check_all()

    def test_start_when_its_key_is_a_childs_then_refused(self):
        self.sagactl("start", "hold-goods", "--key", "child:1/goods", "-d", '{"order_id": 1}', status=64 + 3)

    def test_orders_when_sagad_is_killed_again_and_again_then_each_ends_as_it_must(self):
        load = Load(self.orders, 300, 21, seconds=6, name="nested").begin()
        for count in (40, 120, 200):
            until(lambda: load.placed_count >= count, 60, "the load stands still")  # pylint: disable=cell-var-from-loop
            self.system.sagad.kill()
            self.system.sagad.start()
        kinds = load.placed()
        trail = self.check_all(120)
        check_reasons(self.system, kinds)
        self.assertGreater(len(trail.sagas), 2 * len(kinds))
        self.sagactl("replay", "--all", f"--store={self.system.sagad.data_file}")  # S7


if __name__ == "__main__":
    unittest.main()
