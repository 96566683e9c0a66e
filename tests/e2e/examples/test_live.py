"""The sagas of examples/ on a system that runs: it was started with the ordering system's schema, the others are applied to
it, and orders are placed all the time."""
import json
import random
import subprocess
import threading
import unittest

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory

import known
from harness import databases, orders, schema, sp, util
from harness.case import SystemCase
from harness.daemons import Daemon
from harness.orders import Load
from harness.util import ROOT, until

CHAOS_SAGAS = 70  # of each example
COMPLETED, COMPENSATED = schema.COMPLETED, schema.COMPENSATED
StartSagaRequest = schema.message("saga.v1.StartSagaRequest")
ApplyDefinitionsRequest = schema.message("saga.v1.ApplyDefinitionsRequest")
GetSagaRequest = schema.message("saga.v1.GetSagaRequest")
GetSagaResponse = schema.message("saga.v1.GetSagaResponse")


class Example:
    """One of known.ALL with its daemons beside a running system."""

    def __init__(self, kind, system):
        self.kind, self.system = kind, system
        self.proto = ROOT / "examples" / kind.NAME / "proto" / kind.NAME / "v1" / f"{kind.NAME}.proto"
        seed_file = system.directory / f"{kind.NAME}.json"
        seed_file.write_text(json.dumps(kind.SEED), encoding="utf-8")
        self.daemons = {name: Daemon(name, system.directory, [f"--kafka={system.bootstrap}", f"--seed={seed_file}"])
                        for name in kind.SERVICES}
        self.context = self._context()

    def _context(self):
        """The class of the saga's context."""
        self.set_file = self.system.directory / f"{self.kind.NAME}.binpb"
        subprocess.run(["protoc", "-I", self.proto.parents[2], "-I", ROOT / "proto", "--include_imports", "--include_source_info",
                        f"--descriptor_set_out={self.set_file}", self.proto], check=True)
        pool, files = descriptor_pool.DescriptorPool(), descriptor_pb2.FileDescriptorSet()
        files.ParseFromString(self.set_file.read_bytes())
        for one in files.file:
            pool.Add(one)
        found = pool.FindMessageTypeByName(f"{self.kind.NAME}.v1.{self.kind.SAGA.capitalize()}")
        if hasattr(message_factory, "GetMessageClass"):
            return message_factory.GetMessageClass(found)
        return message_factory.MessageFactory(pool).GetPrototype(found)

    def apply(self, ctl):
        """Makes the saga known to the running orchestrator, and starts who takes part."""
        ctl("topics", "apply", f"--kafka={self.system.bootstrap}", f"--descriptor-set={self.set_file}", address=False)
        for daemon in self.daemons.values():
            daemon.start(wait=False)
        for daemon in self.daemons.values():
            daemon.wait_ready()
        request = ApplyDefinitionsRequest(descriptor_set=self.set_file.read_bytes(), who="test", why="examples")
        for name, service in self.kind.SERVICES.items():
            request.participants.add(service=service, addresses=[self.daemons[name].nng])
        code, reason, answer = sp.call(self.system.sagad.nng, "saga.v1.OrchestratorService/ApplyDefinitions", request,
                                       "saga.v1.ApplyDefinitionsResponse")
        assert code == 0 and not answer.services_without_address, f"{code} {reason} {answer}"
        assert self.kind.SAGA in {one.name for one in answer.definitions}, answer

    def request(self, key, message):
        wire = json_format.ParseDict(message, self.context()).SerializeToString()
        return StartSagaRequest(definition=self.kind.SAGA, key=key, input=wire)

    def start(self, requests, stop=lambda: False):
        """Starts sagas, each once whatever happens to the orchestrator meanwhile (S10)."""
        waiting = list(requests)
        while waiting and not stop():
            commands = [schema.Command(method="saga.v1.OrchestratorService/StartSaga", payload=one.SerializeToString())
                        for one in waiting]
            try:
                replies = sp.call_batch(self.system.sagad.nng, commands, timeout=10)
            except (OSError, EOFError):
                threading.Event().wait(0.05)  # the pace of the tries
                continue
            left = [one for one, reply in zip(waiting, replies) if reply.status.code != 0]
            for reply in replies:
                assert reply.status.code in (0, 14), reply.status
            waiting = left

    def known(self, prefix):
        """How many sagas with such a key there are, also while sagad is away."""
        return databases.query(self.system.sagad, "SELECT count(*) FROM saga WHERE definition_name = ? AND start_key LIKE ?",
                               self.kind.SAGA, f"{prefix}%")[0][0]

    def sagas(self):
        """{key: (state, reason)}."""
        found = {}
        keys = [row[0] for row in databases.query(self.system.sagad, "SELECT start_key FROM saga WHERE definition_name = ?",
                                                  self.kind.SAGA)]
        for at in range(0, len(keys), 50):
            commands = [schema.Command(method="saga.v1.OrchestratorService/GetSaga", payload=GetSagaRequest(
                definition=self.kind.SAGA, key=key).SerializeToString()) for key in keys[at : at + 50]]
            for reply in sp.call_batch(self.system.sagad.nng, commands):
                assert reply.status.code == 0, reply.status
                saga = GetSagaResponse.FromString(reply.payload).saga
                found[saga.key] = (saga.state, saga.cause.status.reason)
        return found

    def check(self):
        """The books of the participants, at rest."""
        completed = {key for key, (state, _) in self.sagas().items() if state == COMPLETED}
        self.kind.check(self.daemons, completed)


class LiveTest(SystemCase):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.examples = []
        cls.addClassCleanup(lambda: [daemon.kill() for one in cls.examples for daemon in one.daemons.values()
                                     if daemon.running()])
        for kind in known.ALL:
            cls.examples.append(Example(kind, cls.system))
            cls.examples[-1].apply(cls.ctl)

    @classmethod
    def tearDownClass(cls):
        """Who took part ends cleanly, and has no leak to tell of."""
        if not cls.failed:
            statuses = {name: daemon.stop() for one in cls.examples for name, daemon in one.daemons.items()}
            assert not any(statuses.values()), statuses

    @classmethod
    def ctl(cls, *arguments, address=True):
        command = [util.bin_dir() / "sagactl", *arguments] + ([f"--address={cls.system.sagad.nng}"] if address else [])
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, f"{arguments}: {done.returncode}\n{done.stdout}{done.stderr}"
        return done.stdout

    def wait_rest(self, seconds):
        databases.wait_rest(self.system, seconds)

    def check_books(self):
        for one in self.examples:
            with self.subTest(one.kind.NAME):
                one.check()
        databases.check_invariants(self.system)
        self.assertIn("no violation", self.ctl("audit", "verify", f"--kafka={self.system.bootstrap}"))

    @staticmethod
    def feed(one, requests, stopped, problems):
        """Starts sagas, a few at a time."""
        try:
            for at in range(0, len(requests), 5):
                one.start(requests[at : at + 5], stopped.is_set)
                stopped.wait(0.15)  # the pace of the load
        except Exception as problem:  # told by the main thread
            problems.append(problem)

    def kill(self, victims):
        """SIGKILL to some at once, wherever they are; then they are started again."""
        daemons = {name: daemon for one in self.examples for name, daemon in one.daemons.items()} | self.system.daemons
        for name in victims:
            daemons[name].kill()
        for name in victims:
            daemons[name].start()

    def check_ends(self, one, kinds):
        """Whoever had to be refused was, with the reason; of the others at most a few ran out of time."""
        ended, late = one.sagas(), 0
        for key, kind in kinds.items():
            state, reason = ended[key]
            if one.kind.REASONS[kind]:
                self.assertEqual(state, COMPENSATED, f"{one.kind.NAME} {key}: {kind}")
            elif state != COMPLETED:
                self.assertEqual(state, COMPENSATED, f"{one.kind.NAME} {key}: {kind}")
                late += 1
        self.assertLess(late, len(kinds) / 4, f"{one.kind.NAME}: {ended}")

    def test_applied_when_started_then_each_ends_as_its_rules_say(self):
        pid = self.system.sagad.process.pid
        for one in self.examples:
            rng = random.Random(one.kind.NAME)
            kinds = {f"quiet-{i}": kind for i, kind in enumerate(one.kind.REASONS)}
            one.start([one.request(key, one.kind.make(kind, key, rng)) for key, kind in kinds.items()])
            self.wait_rest(60)
            ended = one.sagas()
            for key, kind in kinds.items():
                reason = one.kind.REASONS[kind]
                self.assertEqual(ended[key], (COMPENSATED, reason) if reason else (COMPLETED, ""), f"{one.kind.NAME}: {kind}")
        self.assertEqual(self.system.sagad.process.pid, pid)
        self.check_books()

    def test_onboarding_when_a_name_or_domain_is_taken_then_the_first_keeps_it(self):
        one = next(one for one in self.examples if one.kind is known.Onboarding)
        rng = random.Random(7)
        first = one.kind.make("with domain", "first", rng)
        one.start([one.request("first", first)])
        self.wait_rest(60)
        one.start([one.request("again", first), one.request("second", {**first, "tenant": "second"})])
        self.wait_rest(60)
        ended = one.sagas()
        self.assertEqual(ended["first"], (COMPLETED, ""))
        self.assertEqual(ended["again"], (COMPENSATED, "NAME_TAKEN"))
        self.assertEqual(ended["second"], (COMPENSATED, "DOMAIN_TAKEN"))
        self.check_books()

    def test_all_when_participants_and_sagad_are_killed_then_nothing_is_lost_or_doubled(self):
        rng = random.Random(11)
        plans, threads, problems = {}, [], []
        load = Load(orders.Orders(lambda: self.system.orderd.http), 60, 5, seconds=3, name="beside").begin()
        stopped = threading.Event()
        self.addCleanup(stopped.set)
        for one in self.examples:
            good = [kind for kind, reason in one.kind.REASONS.items() if not reason]
            bad = [kind for kind, reason in one.kind.REASONS.items() if reason]
            plans[one] = {f"chaos-{i}": rng.choice(bad if i % 3 == 0 else good) for i in range(CHAOS_SAGAS)}
            requests = [one.request(key, one.kind.make(kind, key, rng)) for key, kind in plans[one].items()]
            threads.append(threading.Thread(target=self.feed, args=(one, requests, stopped, problems)))
        for thread in threads:
            thread.start()
        for count, victims in ((10, ["creditd", "hoteld", "databased"]), (25, ["sagad"]), (40, ["debitd", "cardd", "billingd"]),
                               (55, ["sagad", "flightd", "tenantd"])):
            until(lambda: all(problems or one.known("chaos-") >= count for one in self.examples), 60, "the load stands still")
            self.kill(victims)
        for thread in threads:
            thread.join(120)
            self.assertFalse(thread.is_alive(), "sagas are not started")
        self.assertEqual(problems, [])
        load.placed()
        self.wait_rest(150)
        for one, kinds in plans.items():
            self.check_ends(one, kinds)
        self.check_books()
        self.ctl("replay", "--all", f"--store={self.system.sagad.data_file}", address=False)  # S7


if __name__ == "__main__":
    unittest.main()
