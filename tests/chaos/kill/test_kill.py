"""kill -9 of sagad, of each service, of all at once, at moments drawn from a printed seed, under a load of 500 orders of
which a third must be refused. After the last restart every saga ends, the invariants hold, nothing was done twice, and both
trails agree.

SAGA_CHAOS_SEED=N repeats a run's orders and moments (what happens between them is up to the machine); SAGA_CHAOS_ROUNDS=N
makes it longer."""
import os
import random
import sys
import threading
import time
import unittest

from harness import databases
from harness.case import SystemCase
from harness.daemons import NAMES
from harness.orders import Load

ORDERS = 500
LOAD_SECONDS = 12
DOWN_SECONDS_MAX = 0.6
END_SECONDS = 200


class Watched:
    """A load that is waited for on a thread of its own: daemons are started by the main thread alone."""

    def __init__(self, load):
        self.kinds = None
        self.problem = None
        self.thread = threading.Thread(target=self._run, args=(load,))
        self.thread.start()

    def _run(self, load):
        try:
            self.kinds = load.begin().placed()
        except Exception as problem:  # told by join
            self.problem = problem

    def join(self):
        self.thread.join()
        if self.problem is not None:
            raise self.problem
        return self.kinds


class KillTest(SystemCase):
    @classmethod
    def setUpClass(cls):
        cls.seed = int(os.environ.get("SAGA_CHAOS_SEED") or random.SystemRandom().randrange(10**9))
        print(f"SAGA_CHAOS_SEED={cls.seed}", file=sys.stderr, flush=True)
        super().setUpClass()

    def kill_and_restart(self, target, rng):
        if target == "all":
            self.system.kill()
            time.sleep(rng.random() * DOWN_SECONDS_MAX)  # how long it is away is part of the test
            self.system.start()
        else:
            daemon = self.system.daemons[target]
            daemon.kill()
            time.sleep(rng.random() * DOWN_SECONDS_MAX)
            daemon.start()

    def check_refusals(self, kinds):
        """Faults may refuse a good order; no fault may approve a bad one."""
        by_id = databases.Orders(self.system).by_id
        self.assertEqual(len(kinds), ORDERS)
        for order_id, kind in kinds.items():
            if kind != "approved":
                self.assertEqual(by_id[order_id][0], "REJECTED", f"order {order_id} ({kind})")
        approved = sum(1 for row in by_id.values() if row[0] == "APPROVED")
        self.assertGreater(approved, len(by_id) // 3, "hardly an order was approved")

    def round(self, number, targets):
        rng = random.Random(self.seed * 1000 + number)
        rng.shuffle(targets)
        begin = time.monotonic()
        load = Watched(Load(self.orders, ORDERS, self.seed + number, seconds=LOAD_SECONDS, name=f"kill-{number}"))
        moments = sorted(rng.random() * LOAD_SECONDS for _ in targets)
        for target, moment in zip(targets, moments):
            time.sleep(max(0, begin + moment - time.monotonic()))
            print(f"{time.monotonic() - begin:6.2f} s: kill -9 {target}", file=sys.stderr, flush=True)
            self.kill_and_restart(target, rng)
        kinds = load.join()
        self.check_all(END_SECONDS)
        self.check_refusals(kinds)

    def test_kill_when_each_and_all_under_load_then_every_saga_ends_and_nothing_twice(self):
        for number in range(int(os.environ.get("SAGA_CHAOS_ROUNDS", "1"))):
            with self.subTest(round=number):
                self.round(number, [*NAMES, "all", "sagad"])

    def test_kill_when_sagad_again_and_again_then_every_saga_ends_and_nothing_twice(self):
        self.round(100, ["sagad"] * 8)

    def test_kill_when_the_broker_too_then_every_saga_ends_and_nothing_twice(self):
        rng = random.Random(self.seed)
        load = Watched(Load(self.orders, ORDERS, self.seed + 7, seconds=LOAD_SECONDS, name="broker"))
        time.sleep(1 + 3 * rng.random())
        self.broker.kill()
        self.kill_and_restart("sagad", rng)
        self.kill_and_restart(rng.choice(NAMES[1:]), rng)
        self.broker.restart()
        self.kill_and_restart("all", rng)
        kinds = load.join()
        self.check_all(END_SECONDS)
        self.check_refusals(kinds)


if __name__ == "__main__":
    unittest.main()
