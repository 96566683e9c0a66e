"""The bounds of what a sagad runs: what would exceed one is refused with its name, whether it is applied or started with, and what
is refused leaves everything as it was. What nothing needs any more makes room again, also in the store."""
import base64
import json
import os
import pathlib
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest
import uuid

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ["SAGA_BUILD_DIR"]) / "bin"
SECONDS = 60
APPLY = "saga.v1.OrchestratorService/ApplyDefinitions"
SERVICES_MAX = 64
VERSIONS_MAX = 256
TOPICS_MAX = 256


def service(name):
    return (f'service {name} {{ option (saga.v1.topics) = {{ command: "limits-to-{name}" reply: "limits-from-{name}" }}; '
            "rpc Do(Request) returns (Nothing); rpc Undo(Request) returns (Nothing); }\n")


def saga(name, *steps):
    steps = " ".join(f"step {{ {step} }}" for step in steps)
    context = "Saga" + name.replace("-", "")
    return (f'message {context} {{ option (saga.v1.definition) = {{ name: "{name}" deadline_ms: 60000 {steps} }}; '
            "string id = 1; }\n")


def step(name):
    return f'name: "a" call: "limits.v1.{name}/Do" undo: "limits.v1.{name}/Undo"'


def wide(prefix, count, name="wide"):
    """As many sagas as services."""
    return "".join(service(f"{prefix}{i}") + saga(f"{name}-{i}", step(f"{prefix}{i}")) for i in range(count))


OWN = service("Own") + saga("own", step("Own"))


class ApplyLimitsTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="saga-test-")
        self.where = pathlib.Path(self.folder.name)
        self.process = None
        self.own = self.compile("own", OWN)

    def tearDown(self):
        if self.process is not None:
            self.stop()
        self.folder.cleanup()

    def compile(self, name, text):
        file = self.where / f"{name}.proto"
        file.write_text('syntax = "proto3";\npackage limits.v1;\nimport "saga/v1/options.proto";\n'
                        "message Request { string id = 1; }\nmessage Nothing {}\n" + text, encoding="utf-8")
        out = self.where / f"{name}.binpb"
        subprocess.run(["protoc", f"--descriptor_set_out={out}", "--include_imports", "-I", ROOT / "proto", "-I", self.where,
                        "saga/v1/orchestrator.proto", file],
                       check=True, timeout=SECONDS)
        return out

    def launch(self, descriptor_set):
        """Gives None when it serves, else how it ended."""
        ready = self.where / "ready"
        ready.unlink(missing_ok=True)
        with open(self.where / "log", "wb") as log:
            process = subprocess.Popen(
                [BIN / "sagad", f"--listen=ipc://{self.where}/sagad.ipc", f"--data={self.where}/sagad.db", "--http-port=0",
                 f"--ready-file={ready}", f"--descriptor-set={descriptor_set}"], stdout=log, stderr=log)
        end = time.monotonic() + SECONDS
        while not ready.exists():
            if process.poll() is not None:
                return process.returncode
            self.assertLess(time.monotonic(), end, self.log())
            time.sleep(0.02)
        self.process = process
        return None

    def log(self):
        return (self.where / "log").read_text(encoding="utf-8")

    def start(self):
        self.assertIsNone(self.launch(self.own), self.log())

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(SECONDS)
        self.process = None
        self.assertEqual(status, 0, self.log())

    def ctl(self, *arguments, expect=0, stdin=None):
        done = subprocess.run([BIN / "sagactl", *arguments, f"--address=ipc://{self.where}/sagad.ipc"], input=stdin,
                              capture_output=True, text=True, timeout=SECONDS, check=False)
        if expect is not None:
            self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done

    def apply(self, descriptor_set, addresses=(), reason=None, **more):
        """Past sagactl's own checks. addresses: pairs; reason: why it is refused. Gives what was done by name, or the text."""
        places = [{"service": f"limits.v1.{name}", "addresses": [address]} for name, address in addresses]
        request = {"descriptorSet": base64.b64encode(descriptor_set.read_bytes()).decode(), "participants": places,
                   "who": "tester", "why": "to see", **more}
        done = self.ctl("call", f"ipc://{self.where}/sagad.ipc", APPLY, "-d", "@-", expect=None, stdin=json.dumps(request))
        text = done.stdout + done.stderr
        if reason is not None:
            self.assertNotEqual(done.returncode, 0, text)
            self.assertIn(f" {reason}:", text)
            return text
        self.assertEqual(done.returncode, 0, text)
        answer = json.loads(done.stdout)
        return {one["name"]: one["outcome"].removeprefix("APPLY_OUTCOME_") for one in answer["definitions"]}

    def known(self):
        return sorted(one["name"] for one in json.loads(self.ctl("definitions", "-o", "json").stdout))

    def rows(self, query):
        with sqlite3.connect(f"file:{self.where}/sagad.db?mode=ro", uri=True, timeout=SECONDS) as store:
            found = store.execute(query).fetchall()
        store.close()
        return found

    def begin(self, key):
        return json.loads(self.ctl("start", "own", f"--key={key}", "-d", '{"id": "1"}', "-o", "json").stdout)["id"]

    def refuses_start(self, descriptor_set, limit):
        """A start that is refused says which limit and what to do, and changes nothing."""
        before = self.rows("SELECT hash, current FROM definition ORDER BY hash")
        self.assertEqual(self.launch(descriptor_set), 1)
        self.assertIn(limit, self.log())
        self.assertIn("nothing is changed", self.log())
        self.assertEqual(self.rows("SELECT hash, current FROM definition ORDER BY hash"), before)
        self.start()

    # ---- Started with ----

    def test_start_when_the_set_has_too_many_services_then_the_next_one_is_as_before(self):
        self.start()
        old = self.begin("1")
        self.stop()
        self.refuses_start(self.compile("many", wide("S", SERVICES_MAX + 6)), "more than 64 services (SAGA_PARTICIPANTS_MAX)")
        self.assertEqual(self.known(), ["own"])
        self.assertEqual(json.loads(self.ctl("get", old, "-o", "json").stdout)["definition"], "own")

    def test_start_when_the_services_of_set_and_store_are_too_many_then_the_next_one_is_as_before(self):
        self.start()
        self.apply(self.compile("applied", wide("S", SERVICES_MAX - 1)))
        self.stop()
        other = self.compile("other", OWN + wide("Other", 1, "other"))
        self.refuses_start(other, "more than 64 services (SAGA_PARTICIPANTS_MAX)")
        self.ctl("remove", "wide-0", "--why=room")
        self.stop()
        self.assertIsNone(self.launch(other), self.log())
        self.assertIn("other-0", self.known())

    def test_start_when_the_versions_are_too_many_then_the_next_one_is_as_before(self):
        self.start()
        sagas = "".join(saga(f"one-{i}", step("Own")) for i in range(VERSIONS_MAX - 1))
        self.apply(self.compile("applied", service("Own") + sagas))
        self.stop()
        self.refuses_start(self.compile("other", OWN + saga("other", step("Own"))), "more than 256 versions (SAGA_DEFINITIONS_MAX)")
        self.assertEqual(len(self.known()), VERSIONS_MAX)

    # ---- Applied ----

    def test_apply_when_an_address_is_none_then_nothing_is_taken_of_it(self):
        self.start()
        count = SERVICES_MAX - 4
        for i in range(TOPICS_MAX // count + 1):
            text = self.apply(self.compile("bad", wide(f"Bad{i}x", count)), [(f"Bad{i}x0", "nonsense://x")],
                              reason="BAD_PARTICIPANT")
            self.assertIn(f"limits.v1.Bad{i}x0", text)
        self.apply(self.compile("bad", wide("Dry", 1)), [("Dry0", "nonsense://x")], reason="BAD_PARTICIPANT", dryRun=True)
        self.assertEqual(self.known(), ["own"])
        self.assertEqual(self.rows("SELECT count(*) FROM participant"), [(0,)])
        self.assertEqual(set(self.apply(self.compile("good", wide("Good", count))).values()), {"ADDED"})

    def test_apply_when_the_services_are_too_many_then_a_dry_run_tells_too(self):
        self.start()
        many = self.compile("many", wide("S", SERVICES_MAX))
        for dry in (True, False):
            self.assertIn("SAGA_PARTICIPANTS_MAX", self.apply(many, reason="TOO_MANY_SERVICES", dryRun=dry))
        self.assertEqual(self.known(), ["own"])
        self.assertEqual(len(self.apply(self.compile("most", wide("T", SERVICES_MAX - 1)))), SERVICES_MAX - 1)

    def test_apply_when_services_are_called_no_more_then_others_have_their_room(self):
        self.start()
        count = SERVICES_MAX // 2 - 1
        for i in range(4):
            done = self.apply(self.compile("round", wide(f"Round{i}x", count)), [(f"Round{i}x1", f"ipc://{self.where}/{i}")])
            self.assertEqual(set(done.values()), {"ADDED" if i == 0 else "REPLACED"})
        self.apply(self.own, [("Own", f"ipc://{self.where}/own")])
        self.stop() # its last turn too
        self.assertEqual(self.rows("SELECT service FROM participant ORDER BY service"), [("limits.v1.Own",), ("limits.v1.Round3x1",)])

    def test_apply_when_nothing_calls_a_service_then_its_address_is_refused(self):
        self.start()
        both = self.compile("both", wide("Both", 2) + service("Spare"))
        address = f"ipc://{self.where}/there"
        for name in ("Spare", "No-such"):
            text = self.apply(both, [("Both0", address), (name, address)], reason="BAD_PARTICIPANT")
            self.assertIn(f"limits.v1.{name}", text)
            self.assertIn("calls this service", text)
        self.apply(both, [("Both1", address)], reason="BAD_PARTICIPANT", definitions=["wide-0"])
        self.assertIn("given twice", self.apply(both, [("Both0", address)] * 2, reason="BAD_PARTICIPANT"))
        self.assertEqual(self.rows("SELECT count(*) FROM participant"), [(0,)])
        self.apply(both, [("Both0", address), ("Own", address)]) # what is in use calls it
        self.assertEqual(self.rows("SELECT count(*) FROM participant"), [(2,)])
        self.ctl("remove", "wide-0", "--why=closed")
        self.stop()
        self.assertEqual(self.rows("SELECT service FROM participant"), [("limits.v1.Own",)])

    def test_apply_when_one_saga_is_named_then_those_that_run_in_it_come_along(self):
        self.start()
        family = self.compile("family", service("S") + saga("grandchild", step("S")) + saga("other", step("S")) +
                              saga("child", 'name: "a" saga: "grandchild"') + saga("parent", 'name: "a" saga: "child"'))
        done = self.apply(family, definitions=["parent"])
        self.assertEqual(done, {"child": "ADDED", "grandchild": "ADDED", "parent": "ADDED"})
        self.assertEqual(self.known(), ["child", "grandchild", "own", "parent"])

    # ---- What no saga began with ----

    def stored(self, name):
        return [row[0] for row in self.rows(f"SELECT hex(hash) FROM definition WHERE name = '{name}' ORDER BY created_unix_ms, hash")]

    def history(self, name):
        return json.loads(self.ctl("definitions", name, "--history", "-o", "json").stdout)

    def later(self, name, deadline_ms, more=""):
        return self.compile(f"later{deadline_ms}", service("Own") + saga(name, step("Own")).replace("60000", str(deadline_ms)) + more)

    def settles(self, seen, expected):
        """What is let go goes in turns of its own, a few at a time."""
        end = time.monotonic() + SECONDS
        while seen() != expected:
            self.assertLess(time.monotonic(), end, f"{seen()}, not {expected}")
            time.sleep(0.05)

    def cancel(self, one):
        """Nobody answers: an undo that has left is said to be done."""
        self.ctl("cancel", one, "--why=over")

        def state():
            self.ctl("resolve", one, "--step=a", "--why=by hand", expect=None)
            return json.loads(self.ctl("get", one, "-o", "json").stdout)["state"]
        self.settles(state, "COMPENSATED")

    def test_apply_when_no_saga_began_with_a_version_then_only_its_name_and_time_stay(self):
        self.start()
        for i in range(12):
            self.apply(self.later("own", 61000 + i))
        self.settles(lambda: len(self.stored("own")), 1)
        self.assertEqual(self.rows("SELECT count(*) FROM definition_past WHERE name = 'own'"), [(12,)])
        told = self.history("own")
        self.assertEqual(len({one["hash"] for one in told}), 13)
        self.assertEqual([one["current"] for one in told], [True] + 12 * [False])
        for i in range(3):
            self.apply(self.compile("one", service("Own") + saga(f"one-{i}", step("Own"))))
            self.ctl("remove", f"one-{i}", "--why=over")
        self.settles(lambda: [self.stored(f"one-{i}") for i in range(3)], [[], [], []])
        self.assertEqual([one["removed"] for one in self.history("one-1")], [True])
        done = self.ctl("graph", "one-1", expect=None)
        self.assertNotEqual(done.returncode, 0)
        self.assertEqual(self.apply(self.compile("one", service("Own") + saga("one-1", step("Own")))), {"one-1": "RESTORED"})
        self.stop()
        # The daemon's own set has the first version, which is not stored any more: it is not taken for a new one.
        current = self.rows("SELECT hex(hash) FROM definition WHERE name = 'own' AND current")
        self.start()
        self.assertIn("definition_not_current", self.log())
        self.assertEqual(self.rows("SELECT hex(hash) FROM definition WHERE name = 'own' AND current"), current)

    def test_apply_when_a_saga_began_with_a_version_then_it_stays_for_good(self):
        self.start()
        live = self.begin("live")
        self.apply(self.later("own", 61000))
        ended = self.begin("ended")
        self.cancel(ended)
        for i in range(6):
            self.apply(self.later("own", 62000 + i))
        self.settles(lambda: len(self.stored("own")), 3)
        self.process.kill()
        self.process.wait(SECONDS)
        self.process = None
        self.start()
        self.assertEqual(len(self.stored("own")), 3)
        for one in (live, ended):
            self.assertEqual(json.loads(self.ctl("get", one, "-o", "json").stdout)["steps"][0]["name"], "a")
            self.assertEqual(json.loads(self.ctl("replay", one, "-o", "json").stdout)["same"], 1)
        self.stop()
        report = json.loads(self.ctl("replay", "--all", f"--store={self.where}/sagad.db", "-o", "json").stdout)
        self.assertEqual((report["same"], report["in_flight"]), (2, 1))

    def test_apply_when_a_saga_may_yet_run_another_in_it_then_that_version_stays(self):
        """Nothing has begun with the child's version, but its parent is on the way to it."""
        self.start()
        family = service("Own") + saga("parent", step("Own"), 'name: "b" saga: "child" after: "a"').replace("60000", "90000")
        self.apply(self.compile("family", family + saga("child", step("Own"))))
        parent = json.loads(self.ctl("start", "parent", "--key=1", "-d", '{"id": "1"}', "-o", "json").stdout)["id"]
        for i in range(5):
            self.apply(self.compile("family", family + saga("child", step("Own")).replace("60000", str(61000 + i))))
        self.settles(lambda: (len(self.stored("parent")), len(self.stored("child"))), (2, 2))
        for _ in range(2):
            self.process.kill()
            self.process.wait(SECONDS)
            self.start()
            self.ctl("remove", "child", "--why=over")
        newest, *_, oldest = self.history("child")
        self.assertEqual([(one["live"], one["steps"]) for one in (newest, oldest)], [(0, ["a"])] * 2) # loaded: parents need them
        self.cancel(parent)
        self.apply(self.own, [("Own", f"ipc://{self.where}/own")])
        self.settles(lambda: self.stored("child"), [newest["hash"].upper()])

    def is_replayed(self, name, count):
        """Whatever sagas of this name began with can be read, now and without the daemon."""
        sagas = [str(uuid.UUID(bytes=row[0])) for row in self.rows(f"SELECT id FROM saga WHERE definition_name = '{name}'")]
        self.assertEqual(len(sagas), count)
        for one in sagas:
            self.assertEqual(json.loads(self.ctl("replay", one, "-o", "json").stdout)["same"], 1)
            self.assertIn(f"saga {name}", self.ctl("graph", one).stdout)
        self.assertEqual(self.rows("SELECT count(*) FROM saga WHERE definition_hash NOT IN (SELECT hash FROM definition WHERE used)"), [(0,)])

    def test_start_when_a_child_was_replaced_and_let_go_then_it_is_stored_with_its_new_parent(self):
        kid = service("Own") + saga("kid", step("Own"))
        both = self.compile("both", kid + saga("dad", 'name: "a" saga: "kid"'))
        self.assertIsNone(self.launch(self.compile("kid", kid)), self.log())
        self.apply(self.later("kid", 50000))
        self.settles(lambda: len(self.stored("kid")), 1)
        current = self.stored("kid")
        self.stop()
        self.assertIsNone(self.launch(both), self.log())
        self.assertIn("definition_not_current", self.log())
        self.assertEqual(self.rows("SELECT hex(hash) FROM definition WHERE name = 'kid' AND current"), [tuple(current)])
        self.assertEqual(len(self.stored("kid")), 2)
        self.assertEqual(len(self.history("kid")), 2)
        self.ctl("start", "dad", "--key=1", "-d", '{"id": "1"}')
        self.is_replayed("kid", 1)
        self.stop()
        # A store in which it is missing, as daemons left it once, is mended by the next start.
        store = sqlite3.connect(self.where / "sagad.db")
        store.execute("INSERT INTO definition_past SELECT hash, name, created_unix_ms FROM definition WHERE name = 'kid' AND NOT current")
        store.execute("DELETE FROM definition WHERE name = 'kid' AND NOT current")
        store.commit()
        store.close()
        self.assertIsNone(self.launch(both), self.log())
        self.is_replayed("kid", 1)
        self.ctl("start", "dad", "--key=2", "-d", '{"id": "2"}')
        self.is_replayed("kid", 2)
        for i in range(3): # neither is needed any more
            self.apply(self.compile("next", kid.replace("60000", str(51000 + i)) + saga("dad", 'name: "a" saga: "kid"')))
        self.stop()
        report = json.loads(self.ctl("replay", "--all", f"--store={self.where}/sagad.db", "-o", "json").stdout)
        self.assertEqual((report["same"], report["in_flight"]), (4, 4))

    def test_start_when_a_child_was_removed_then_its_new_version_is_stored_with_its_parent(self):
        kid = service("Own") + saga("kid", step("Own"))
        self.assertIsNone(self.launch(self.compile("kid", kid)), self.log())
        self.apply(self.own) # one at least stays
        self.ctl("remove", "kid", "--why=over")
        self.settles(lambda: self.stored("kid"), [])
        self.stop()
        both = self.compile("both", kid.replace("60000", "50000") + saga("dad", 'name: "a" saga: "kid"'))
        for key in ("1", "2"):
            self.assertIsNone(self.launch(both), self.log())
            self.assertIn("definition_stays_removed", self.log())
            self.assertEqual(self.rows("SELECT current FROM definition WHERE name = 'kid'"), [(0,)])
            self.assertIn("DEFINITION_REMOVED", self.ctl("start", "kid", "--key=1", "-d", '{"id": "1"}', expect=None).stderr)
            self.ctl("start", "dad", f"--key={key}", "-d", '{"id": "1"}')
            self.is_replayed("kid", int(key))
            self.stop()

    def test_remove_when_the_newest_version_was_let_go_then_the_one_before_still_answers(self):
        self.start()
        kid = self.compile("kid", service("Own") + saga("kid", step("Own")))
        self.apply(kid)
        start = ("start", "kid", "--key=1", "-d", '{"id": "1"}', "-o", "json")
        first = json.loads(self.ctl(*start).stdout)["id"]
        old = self.stored("kid")
        self.apply(self.later("kid", 61000))
        self.ctl("remove", "kid", "--why=over")
        self.settles(lambda: self.stored("kid"), old)
        self.assertEqual(json.loads(self.ctl(*start).stdout)["id"], first) # the same start, once more
        ask = ("call", f"ipc://{self.where}/sagad.ipc", "saga.v1.ReflectionService/GetDescriptorSet", "--descriptor-set",
               ROOT / "generated" / "sagad.binpb", "-d")
        given = json.loads(self.ctl(*ask, '{"definition": "kid"}').stdout)
        self.assertEqual(base64.b64decode(given.get("descriptor_set", given.get("descriptorSet"))), kid.read_bytes())
        self.apply(self.compile("one", service("Own") + saga("one", step("Own"))))
        self.ctl("remove", "one", "--why=over")
        self.settles(lambda: self.stored("one"), [])
        self.assertNotEqual(self.ctl("start", "one", "--key=1", "-d", '{"id": "1"}', expect=None).returncode, 0)
        self.assertIn("let go", self.ctl(*ask, '{"definition": "one"}', expect=None).stderr)


if __name__ == "__main__":
    sys.exit(unittest.main())
