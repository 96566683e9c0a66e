"""A participant in Python takes part in a saga with participants in C, on a real broker: to COMPLETED, to COMPENSATED, killed in
between; and what it did agrees with what was decided (S9, S13)."""
import collections
import contextlib
import json
import pathlib
import random
import shutil
import sqlite3
import subprocess
import tempfile
import unittest
import uuid

from harness import daemons, orders, schema, sp, trail, util
from harness.kafka import Broker
from harness.util import until
from loyalty_daemon import SERVICE, Loyalty, make_schema, run_start

import start  # examples/python
from saga_schema import Schema

COMMANDS, REPLIES = "loyalty-commands", "loyalty-replies"
GOOD, POOR, ABNORMAL = orders.GOOD_CUSTOMERS[0], orders.POOR_CUSTOMER, orders.ABNORMAL_CUSTOMER
PARTICIPANTS = {"customerd": "customer.v1.CustomerService", "paymentd": "payment.v1.PaymentService", "loyalty": SERVICE}


class SagaTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.failed = False
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="saga-python-"))
        cls.addClassCleanup(cls.clean_up)
        cls.schema_file = make_schema()
        cls.schema = Schema.load(cls.schema_file)
        cls.broker = Broker(cls.directory / "broker")
        cls.sagactl("topics", "apply", f"--kafka={cls.broker.bootstrap}", f"--descriptor-set={cls.schema_file}")
        seed = cls.directory / "seed.json"
        seed.write_text(json.dumps(orders.seed()), encoding="utf-8")
        common = [f"--kafka={cls.broker.bootstrap}"]
        cls.daemons = {name: daemons.Daemon(name, cls.directory, [*common, f"--seed={seed}"])
                       for name in ("customerd", "paymentd")}
        cls.loyalty = cls.daemons["loyalty"] = Loyalty(cls.directory, cls.broker.bootstrap)
        cls.sagad = daemons.Daemon("sagad", cls.directory, [
            *common, "--http-port=0", f"--descriptor-set={cls.schema_file}",
            *(f"--participant={service}={cls.daemons[name].nng}" for name, service in PARTICIPANTS.items())])
        cls.sagad.nng = "tcp://127.0.0.1:0"
        cls.daemons["sagad"] = cls.sagad
        for daemon in cls.daemons.values():
            daemon.start(wait=False)
        for daemon in cls.daemons.values():
            daemon.wait_ready()
        cls.starter = start.Starter(cls.sagad.endpoint["nng"], cls.schema)
        cls.numbers = iter(range(1, 100000))

    @classmethod
    def clean_up(cls):
        for daemon in getattr(cls, "daemons", {}).values():
            if daemon.running():
                daemon.kill()
        if hasattr(cls, "broker"):
            cls.broker.remove()
        if cls.failed:
            print(f"logs and databases: {cls.directory}", flush=True)
        else:
            shutil.rmtree(cls.directory, ignore_errors=True)

    def run(self, result=None):
        before = len(result.failures) + len(result.errors)
        super().run(result)
        type(self).failed |= len(result.failures) + len(result.errors) > before
        return result

    @classmethod
    def sagactl(cls, *arguments, status=0):
        done = subprocess.run([util.bin_dir() / "sagactl", *arguments], capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == status, done.stdout + done.stderr
        return done.stdout

    def purchase(self, customer, cents=1250):
        return {"purchase_id": next(self.numbers), "customer_id": customer, "total_cents": cents}

    def query(self, sql, *parameters):
        with contextlib.closing(sqlite3.connect(f"file:{self.loyalty.data_file}?mode=ro", uri=True)) as db:
            return db.execute(sql, parameters).fetchall()

    def state_of(self, purchase):
        rows = self.query("SELECT state FROM purchase WHERE purchase_id = ?", purchase["purchase_id"])
        return rows[0][0] if rows else None

    def balance(self, customer):
        """GetBalance, asked over the wire."""
        request = self.schema.message("loyalty.v1.GetBalanceRequest")(customer_id=customer)
        (reply,) = sp.call_batch(self.loyalty.nng, [schema.Command(method=f"{SERVICE}/GetBalance",
                                                                   payload=request.SerializeToString())])
        self.assertEqual(reply.status.code, 0, reply)
        return self.schema.message("loyalty.v1.GetBalanceResponse").FromString(reply.payload)

    def run_saga(self, purchase):
        """Starts a saga with start.py and waits for its end; gives (exit status, answer)."""
        return run_start(self.schema_file, self.sagad.endpoint["nng"], "purchase", purchase, "--wait=30",
                         f"--key=purchase-{purchase['purchase_id']}")

    # ---- One saga ----

    def test_topics_when_a_definition_needs_new_ones_then_apply_makes_them(self):
        changed = self.directory / "topics.binpb"
        changed.write_bytes(pathlib.Path(self.schema_file).read_bytes().replace(COMMANDS.encode(), b"loyalty-commandz"))
        common = (f"--address={self.sagad.endpoint['nng']}", f"--kafka={self.broker.bootstrap}")
        dry = self.sagactl("apply", str(changed), "--dry-run", "-I", "/tmp", *common)
        self.assertIn(f"sagactl topics apply -I /tmp --descriptor-set {changed}", dry)
        done = json.loads(self.sagactl("apply", str(changed), "--partitions=2", "-o", "json", *common))
        self.assertEqual(done["topics_created"], ["loyalty-commandz"])
        self.assertIn(REPLIES, done["topics"])
        self.assertRegex(self.sagactl("apply", str(changed), *common), r"loyalty-commandz +was there")
        self.assertRegex(self.sagactl("topics", "list", f"--descriptor-set={changed}", *common[1:]), r"loyalty-commandz +2 ")
        self.sagactl("apply", str(self.schema_file), *common)

    def test_saga_when_all_say_yes_then_completed_and_points_are_confirmed(self):
        purchase = self.purchase(GOOD)
        before = self.balance(GOOD).points
        status, answer = self.run_saga(purchase)
        self.assertEqual((status, answer["state"], answer["existing"]), (0, "COMPLETED", False), answer)
        self.assertEqual(self.state_of(purchase), "CONFIRMED")
        self.assertEqual((self.balance(GOOD).points, self.balance(GOOD).pending_points), (before + 12, 0))
        again = self.run_saga(purchase)  # S10
        self.assertEqual((again[1]["saga_id"], again[1]["existing"]), (answer["saga_id"], True))

    def test_saga_when_payment_is_declined_then_compensated_and_points_are_taken_back_by_kafka(self):
        purchase = self.purchase(POOR)
        status, answer = self.run_saga(purchase)
        self.assertEqual((status, answer["state"]), (1, "COMPENSATED"), answer)
        self.assertEqual(self.state_of(purchase), "TAKEN_BACK")
        self.assertEqual(self.balance(POOR).pending_points, 0)
        rows = self.query("SELECT op, method, code, via FROM barrier WHERE saga_id = ? ORDER BY position",
                          uuid.UUID(answer["saga_id"]).bytes)
        self.assertEqual(rows, [(1, f"{SERVICE}/AddPoints", 0, 1), (2, f"{SERVICE}/TakePointsBack", 0, 2)])

    def test_saga_when_customer_may_not_buy_then_no_points(self):
        purchase = self.purchase(ABNORMAL)
        self.assertEqual(self.run_saga(purchase)[1]["state"], "COMPENSATED")
        self.assertIsNone(self.state_of(purchase))

    def test_saga_when_python_says_no_then_compensated_with_its_reason(self):
        purchase = self.purchase(orders.GOOD_CUSTOMERS[1], cents=200_000_000)
        status, answer = self.run_saga(purchase)
        self.assertEqual((status, answer["state"]), (1, "COMPENSATED"))
        shown = json.loads(self.sagactl("get", answer["saga_id"], "-o", "json", f"--address={self.sagad.endpoint['nng']}"))
        self.assertIn("ACCOUNT_FULL", json.dumps(shown))
        rows = self.query("SELECT code, reason FROM barrier WHERE saga_id = ?", uuid.UUID(answer["saga_id"]).bytes)
        self.assertEqual(rows, [(9, "ACCOUNT_FULL")])  # B6

    def test_start_when_refused_then_the_status_is_its_exit(self):
        status, text = run_start(self.schema_file, self.sagad.endpoint["nng"], "purchase", {"purchase_id": 5}, "--key=child:x")
        self.assertEqual(status, 64 + 3, text)
        self.assertIn("INVALID_ARGUMENT", text)

    # ---- Many ----

    def test_sagas_when_the_participant_is_killed_again_and_again_then_each_ends_as_it_must(self):
        rng = random.Random(5)
        wanted = {}
        for i in range(240):
            customer = rng.choice([POOR, *orders.GOOD_CUSTOMERS[2:6]])
            purchase = self.purchase(customer)
            answer = self.starter.start("purchase", f"many-{i}", purchase)
            wanted[answer.saga_id] = (purchase, customer)
            if i % 80 == 40:
                self.loyalty.kill()
                self.loyalty.start()
        until(lambda: not self.live(wanted), 60, lambda: f"{len(self.live(wanted))} are in flight\n{self.loyalty.log_tail()}")
        states = self.states()
        for saga_id, (purchase, customer) in wanted.items():
            ended = schema.COMPENSATED if customer == POOR else schema.COMPLETED
            self.assertEqual(states[saga_id], ended, saga_id.hex())
            self.assertEqual(self.state_of(purchase), "TAKEN_BACK" if customer == POOR else "CONFIRMED")
        self.check_accounts()

    def states(self):
        with contextlib.closing(sqlite3.connect(f"file:{self.sagad.data_file}?mode=ro", uri=True)) as db:
            return dict(db.execute("SELECT id, state FROM saga").fetchall())

    def live(self, wanted):
        states = self.states()
        return [saga_id for saga_id in wanted if states[saga_id] not in (schema.COMPLETED, schema.COMPENSATED)]

    def check_accounts(self):
        """At rest: the points of an account are those of its confirmed purchases, and nothing is pending."""
        self.assertEqual(self.query("SELECT count(*) FROM purchase WHERE state = 'PENDING'"), [(0,)])
        self.assertEqual(self.query(
            "SELECT customer_id, points, pending_points FROM account ORDER BY customer_id"), self.query(
            "SELECT a.customer_id, coalesce(sum(p.points), 0), 0 FROM account a LEFT JOIN purchase p"
            " ON p.customer_id = a.customer_id AND p.state = 'CONFIRMED' GROUP BY 1 ORDER BY 1"))

    def test_undo_when_the_participant_is_away_then_waits_in_kafka(self):
        purchase = self.purchase(POOR)
        self.daemons["paymentd"].kill()
        answer = self.starter.start("purchase", "away", purchase)
        until(lambda: self.state_of(purchase) == "PENDING", 30, "no points")
        self.loyalty.kill()
        self.daemons["paymentd"].start()
        until(lambda: self.states()[answer.saga_id] == schema.COMPENSATING, 30, "it is not compensating")
        until(lambda: any(r.key == str(uuid.UUID(bytes=answer.saga_id)).encode() for r in self.broker.read(COMMANDS)), 30,
              "no undo record")
        self.assertEqual(self.state_of(purchase), "PENDING")
        self.loyalty.start()
        until(lambda: self.states()[answer.saga_id] == schema.COMPENSATED, 30, self.loyalty.log_tail)
        self.assertEqual(self.state_of(purchase), "TAKEN_BACK")

    def test_saga_when_kafka_is_away_then_its_undo_waits_and_is_done(self):
        self.broker.kill()
        purchase = self.purchase(POOR)
        answer = self.starter.start("purchase", "no-kafka", purchase)
        until(lambda: self.states()[answer.saga_id] == schema.COMPENSATING, 30, "it does not turn back")
        self.assertEqual(self.state_of(purchase), "PENDING")
        self.broker.restart()
        until(lambda: self.states()[answer.saga_id] == schema.COMPENSATED, 60, self.loyalty.log_tail)
        self.assertEqual(self.state_of(purchase), "TAKEN_BACK")

    # ---- Kafka ----

    def undo(self, saga_id, **fields):
        """A command record as sagad makes them."""
        payload = self.schema.message("loyalty.v1.TakePointsBackRequest")(purchase_id=4000000).SerializeToString()
        command = schema.Command(**({"saga_id": saga_id, "step": "points", "op": schema.OP_UNDO, "attempt": 1,
                                     "method": f"{SERVICE}/TakePointsBack", "payload": payload} | fields))
        return command.SerializeToString()

    def replies_to(self, saga_id):
        found = [r for r in self.broker.read(REPLIES) if r.key == str(uuid.UUID(bytes=saga_id)).encode()]
        return found, [schema.Reply.FromString(r.value) for r in found]

    def test_records_when_a_saga_turns_back_then_as_documented(self):
        answer = self.run_saga(self.purchase(POOR))[1]
        saga_id = uuid.UUID(answer["saga_id"]).bytes
        (record,) = [r for r in self.broker.read(COMMANDS) if r.key == answer["saga_id"].encode()]
        self.assertRegex(record.headers["ce_id"], r"^sagad/\d+$")
        trail.check_cloud_event(record, record.headers["ce_id"], "/sagad", "saga.v1.Command", saga_id)
        command = schema.Command.FromString(record.value)
        self.assertEqual((command.saga_id, command.step, command.op, command.method, command.attempt, command.deadline_unix_ms),
                         (saga_id, "points", schema.OP_UNDO, f"{SERVICE}/TakePointsBack", 1, 0))
        self.assertEqual((command.cause.step, command.cause.status.code, command.cause.status.reason),
                         ("payment", 9, "PAYMENT_DECLINED"))
        self.assertGreater(command.epoch, 0)
        (record,), (reply,) = self.replies_to(saga_id)
        (position,) = self.query("SELECT position FROM barrier WHERE saga_id = ? AND op = 2", saga_id)[0]
        trail.check_cloud_event(record, f"{SERVICE}/{position}/reply", "/loyalty", "saga.v1.Reply", saga_id)
        self.assertEqual((reply.saga_id, reply.step, reply.op, reply.attempt, reply.status.code, reply.replayed, reply.empty),
                         (saga_id, "points", schema.OP_UNDO, 1, 0, False, False))

    def test_record_when_it_comes_again_then_replayed_and_answered_once_more(self):
        answer = self.run_saga(self.purchase(POOR))[1]
        saga_id = uuid.UUID(answer["saga_id"]).bytes
        (record,) = [r for r in self.broker.read(COMMANDS) if r.key == answer["saga_id"].encode()]
        self.broker.write(COMMANDS, record.value, key=answer["saga_id"])
        until(lambda: len(self.replies_to(saga_id)[1]) == 2, 30, "no second reply")
        self.assertEqual([r.replayed for r in self.replies_to(saga_id)[1]], [False, True])
        self.assertEqual(self.query("SELECT count(*) FROM barrier WHERE saga_id = ?", saga_id), [(2,)])

    def test_records_when_unusable_then_dead_letters_and_the_topic_goes_on(self):
        other = uuid.uuid4()
        values = {
            "no saga.v1.Command": b"\xff\xff\xff garbage",
            "saga_id has 5 bytes": self.undo(b"short"),
            "not a command of a saga": schema.Command(method=f"{SERVICE}/GetBalance").SerializeToString(),
            "method of another service": self.undo(other.bytes, method="kitchen.v1.KitchenService/CancelTicket"),
        }
        for value in values.values():
            self.broker.write(COMMANDS, value, key="k", headers={"ce_id": "x"})
        def letters():
            return [r for r in self.broker.read("saga-dead-letter") if r.headers.get("dead-letter-topic") == COMMANDS]

        until(lambda: len(letters()) >= len(values), 30, lambda: f"{letters()}\n{self.loyalty.log_tail()}")
        for reason, value in values.items():
            (letter,) = [r for r in letters() if r.value == value]
            self.assertIn(reason, letter.headers["dead-letter-reason"])
            self.assertEqual((letter.key, letter.headers["ce_id"]), (b"k", "x"))
            self.assertRegex(letter.headers["dead-letter-partition"] + letter.headers["dead-letter-offset"], r"^\d+$")
        until(lambda: self.replies_to(other.bytes)[1], 30, "who waits is not told")
        self.assertEqual(self.replies_to(other.bytes)[1][0].status.reason, "METHOD_UNKNOWN")
        self.assertEqual(self.run_saga(self.purchase(POOR))[1]["state"], "COMPENSATED")

    # ---- At last ----

    def test_zz_when_all_is_over_then_both_books_agree_and_it_stops_cleanly(self):
        """Runs last (by its name)."""
        rows = self.query("SELECT position FROM barrier")
        self.assertGreater(len(rows), 0)

        def effects():
            found = {}
            for record in self.broker.read("saga-effects"):
                effect = schema.EffectEvent.FromString(record.value)
                if effect.service == SERVICE:
                    self.assertEqual(found.setdefault(effect.position, record).value, record.value, "two effects of one id")
            return found

        until(lambda: set(effects()) == {row[0] for row in rows}, 30, "not every row is published")
        for position, record in effects().items():
            effect = schema.EffectEvent.FromString(record.value)
            trail.check_cloud_event(record, f"{SERVICE}/{position}", "/loyalty", "saga.v1.EffectEvent", effect.saga_id)
        self.assertEqual(self.loyalty.stop(), 0)
        offsets = collections.Counter(record.partition for record in self.broker.read(COMMANDS))
        self.assertEqual(dict(self.query("SELECT partition, next_offset FROM kafka_position")), dict(offsets))
        cursor = self.query("SELECT position FROM relay_cursor")
        self.assertEqual(cursor, [(max(rows)[0],)])
        told = self.sagactl("audit", "verify", f"--kafka={self.broker.bootstrap}", f"--descriptor-set={self.schema_file}",
                            "-o", "json")
        counts = json.loads(told)
        self.assertGreaterEqual(counts["effects"], len(rows), told)


if __name__ == "__main__":
    unittest.main()
