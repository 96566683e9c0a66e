"""A start of sagad that fails has changed nothing: what its options make impossible is refused before the store is touched, and
whatever fails later fails before the definitions that it brings are current. A daemon that serves the same store goes on."""
import json
import os
import pathlib
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ["SAGA_BUILD_DIR"]) / "bin"
SECONDS = 60
CUSTOMER = "customer.v1.CustomerService"


class StartRefusedTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="saga-test-")
        self.addCleanup(folder.cleanup)
        self.where = pathlib.Path(folder.name)
        self.processes = []
        self.addCleanup(self.stop)
        self.newer = self.compile("newer", 61000)

    def compile(self, name, deadline_ms, customer=""):
        """The whole schema, with another deadline of create-order: with another but 60000, another version. customer: more of that step."""
        text = (ROOT / "proto" / "order" / "v1" / "create_order.proto").read_text(encoding="utf-8")
        self.assertIn("deadline_ms: 60000", text)
        changed = self.where / name / "order" / "v1" / "create_order.proto"
        changed.parent.mkdir(parents=True)
        step = 'read_only: true after: "order" }'
        self.assertEqual(text.count(step), 1)
        text = text.replace(step, step.replace("}", customer + " }"))
        changed.write_text(text.replace("deadline_ms: 60000", f"deadline_ms: {deadline_ms}"), encoding="utf-8")
        out = self.where / f"{name}.binpb"
        files = [file.relative_to(ROOT / "proto") for file in sorted((ROOT / "proto").rglob("*.proto"))]
        subprocess.run(["protoc", f"--descriptor_set_out={out}", "--include_imports", "-I", self.where / name, "-I", ROOT / "proto",
                        *files], check=True, timeout=SECONDS)
        return out

    def launch(self, *arguments):
        """Gives None when it serves, else how it ended. The last of options given twice counts."""
        ready = self.where / "ready"
        ready.unlink(missing_ok=True)
        given = {one.split("=")[0] for one in arguments}
        standard = [one for one in (f"--listen=ipc://{self.where}/sagad.ipc", "--http-port=0", f"--ready-file={ready}")
                    if one.split("=")[0] not in given]
        with open(self.where / "log", "wb") as log:
            process = subprocess.Popen([BIN / "sagad", f"--data={self.where}/sagad.db", *standard, *arguments], stdout=log, stderr=log)
        end = time.monotonic() + SECONDS
        while not ready.exists():
            if process.poll() is not None:
                return process.returncode
            self.assertLess(time.monotonic(), end, self.log())
            time.sleep(0.02)
        self.processes.append(process)
        return None

    def start(self, *arguments):
        self.assertIsNone(self.launch(*arguments), self.log())

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)
        self.processes = []

    def log(self):
        return (self.where / "log").read_text(encoding="utf-8")

    def ctl(self, *arguments, expect=0):
        done = subprocess.run([BIN / "sagactl", *arguments, f"--address=ipc://{self.where}/sagad.ipc"], capture_output=True, text=True,
                              timeout=SECONDS, check=False)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done.stdout

    def rows(self, *queries):
        store = sqlite3.connect(f"file:{self.where}/sagad.db?mode=ro", uri=True, timeout=SECONDS)
        found = [store.execute(query).fetchall() for query in queries]
        store.close()
        return found

    def definitions(self):
        return self.rows("SELECT hash, name, current, created_unix_ms, descriptor_set FROM definition ORDER BY hash",
                         "SELECT hash, length(bytes) FROM descriptor_set ORDER BY hash", "SELECT * FROM participant",
                         "SELECT * FROM definition_pause")

    def lease(self):
        return self.rows("SELECT epoch, owner FROM lease")

    def begin(self, key):
        return json.loads(self.ctl("start", "create-order", f"--key={key}", "-d", '{"order_id": 1, "customer_id": 1}', "-o", "json"))["id"]

    def goes_on(self):
        """The set before is current as it was."""
        self.start()
        self.assertNotIn("definition_not_current", self.log())
        self.stop()

    def taken(self, family, address):
        taken = socket.socket(family)
        self.addCleanup(taken.close)
        taken.bind(address)
        taken.listen()
        return taken

    def impossible(self):
        """Arguments, and what the error names."""
        port = self.taken(socket.AF_INET, ("127.0.0.1", 0)).getsockname()[1]
        self.taken(socket.AF_UNIX, f"{self.where}/taken.ipc")
        lint = ROOT / "tests" / "contract" / "schema" / "lint"
        refused = self.where / "refused.binpb"
        subprocess.run(["protoc", f"--descriptor_set_out={refused}", "--include_imports", "-I", ROOT / "proto", "-I", lint,
                        lint / "SAGA007-bad.proto"], check=True, timeout=SECONDS, capture_output=True)
        return [
            ([f"--participant={CUSTOMER}=nonsense://x"], CUSTOMER),
            ([f"--participant={CUSTOMER}"], "is not SERVICE=URL"),
            ([f"--participant={CUSTOMER}=tls+tcp://127.0.0.1:1", *(f"--tls-{one}={self.where}/none.pem" for one in ("ca", "cert", "key"))], "none.pem"),
            ([f"--http-port={port}"], str(port)),
            (["--http-address=nonsense"], "nonsense"),
            ([f"--listen=tcp://127.0.0.1:{port}"], f"tcp://127.0.0.1:{port}"),
            ([f"--listen=ipc://{self.where}/taken.ipc"], "taken.ipc"),
            (["--listen=nonsense://x"], "nonsense://x"),
            (["--live-max=0"], "live-max"),
            (["--running-max=many"], "running-max"),
            (["--kafka=127.0.0.1:1", "--kafka.no.such.property=1"], "no.such.property"),
            (["--kafka=127.0.0.1:1", "--kafka.security.protocol=ssl", f"--kafka.ssl.ca.location={self.where}/none.pem"], "none.pem"),
            ([f"--ready-file={self.where}/none/ready"], "none/ready"),
            ([f"--descriptor-set={self.where}/none.binpb"], "none.binpb"),
            ([f"--descriptor-set={refused}"], "SAGA007"),
        ]

    def test_options_when_impossible_then_the_store_is_not_touched(self):
        impossible = self.impossible()
        for arguments, _ in impossible:
            with self.subTest(arguments):
                self.assertIn(self.launch(*arguments), (1, 2), self.log())
                self.assertFalse((self.where / "sagad.db").exists())
        self.start()
        self.begin("1")
        self.stop()
        before, lease = self.definitions(), self.lease()
        for arguments, named in impossible:
            with self.subTest(arguments):
                new = [] if "--descriptor-set" in arguments[0] else [f"--descriptor-set={self.newer}"]
                self.assertIn(self.launch(*new, *arguments), (1, 2), self.log())
                self.assertIn(named, self.log())
                self.assertIn("cannot_start", self.log())
                self.assertEqual((self.definitions(), self.lease()), (before, lease))
                self.assertEqual([one.name for one in self.where.glob("ready*")], [])
        self.goes_on()
        self.assertEqual(self.definitions(), before)

    def test_recovery_when_it_fails_then_the_definitions_are_as_before(self):
        self.start()
        self.begin("1")
        self.ctl("apply", self.newer, "--no-topics", f"--participant={CUSTOMER}=ipc://{self.where}/customer.ipc", "--definition=create-order",
                 "--why=more time")
        self.ctl("apply", self.compile("own", 60000), "--no-topics", "--definition=create-order", "--why=back")
        self.stop()
        other = self.compile("other", 62000)
        before = self.definitions()
        store = sqlite3.connect(self.where / "sagad.db")
        record = store.execute("SELECT record FROM saga").fetchone()
        store.execute("UPDATE saga SET record = x'ff'")
        store.commit()
        self.assertEqual(self.launch(f"--descriptor-set={other}"), 1)
        self.assertIn("its record cannot be read", self.log())
        self.assertEqual(self.definitions(), before)
        store.execute("UPDATE saga SET record = ?", record)
        store.commit()
        store.close()
        self.goes_on()
        self.start(f"--descriptor-set={other}")
        self.assertNotEqual(self.definitions(), before)
        self.assertNotIn("definition_not_current", self.log())

    def test_kafka_when_it_cannot_be_opened_then_the_definitions_are_as_before(self):
        """The last thing that can fail. By then sagas were recovered, and what they tried again cannot be sent: there is a turn."""
        again = f"--descriptor-set={self.compile('again', 63000, 'retry { delay_ms: 1 delay_ms_max: 2 }')}"
        self.start(again)
        self.begin("1")
        self.process_killed()
        store = sqlite3.connect(self.where / "sagad.db") # what a daemon that serves would let go
        store.execute("INSERT INTO definition(hash, name, descriptor_set, created_unix_ms, current) "
                      "SELECT zeroblob(32), name, descriptor_set, created_unix_ms, 0 FROM definition WHERE name = 'create-order'")
        store.execute("INSERT INTO participant SELECT 'nobody.v1.Calls', 0, 'ipc:///nowhere'")
        store.commit()
        store.close()
        before = self.definitions()
        self.assertEqual(self.launch(f"--descriptor-set={self.newer}", "--kafka=127.0.0.1:1", "--kafka.max.poll.interval.ms=1000"), 1)
        self.assertIn("max.poll.interval.ms", self.log())
        self.assertIn("event=recovered sagas=1", self.log())
        self.assertEqual(self.definitions(), before)
        self.start(again)
        self.stop()
        self.assertNotEqual(self.definitions(), before)

    def process_killed(self):
        for process in self.processes:
            process.kill()
            process.wait(SECONDS)
        self.processes = []

    def test_second_daemon_when_its_door_is_taken_then_the_first_goes_on(self):
        """The same command once more, as an operator's slip: it must not take the store's lease away."""
        self.start()
        first = self.processes[0]
        text = (self.where / "ready").read_text(encoding="utf-8")
        lease, before = self.lease(), self.definitions()
        for arguments in ([], [f"--descriptor-set={self.newer}"]):
            with open(self.where / "log", "wb") as log:
                done = subprocess.run(
                    [BIN / "sagad", f"--listen=ipc://{self.where}/sagad.ipc", f"--data={self.where}/sagad.db", "--http-port=0",
                     f"--ready-file={self.where}/ready", *arguments], stdout=log, stderr=log, timeout=SECONDS, check=False)
            self.assertEqual(done.returncode, 1, self.log())
            self.assertIn("sagad.ipc", self.log())
        self.assertIsNone(first.poll())
        self.assertEqual((self.lease(), self.definitions()), (lease, before))
        self.assertEqual((self.where / "ready").read_text(encoding="utf-8"), text)
        self.begin("1")

    def test_start_when_it_serves_then_its_own_set_is_current(self):
        self.start()
        old = self.begin("1")
        self.stop()
        self.start(f"--descriptor-set={self.newer}")
        new = self.begin("2")
        hashes = [json.loads(self.ctl("get", one, "-o", "json"))["definition_hash"] for one in (old, new)]
        self.assertEqual(len(set(hashes)), 2)
        current = [one["hash"] for one in json.loads(self.ctl("definitions", "-o", "json")) if one["name"] == "create-order" and one["current"]]
        self.assertEqual(current, [hashes[1]])


if __name__ == "__main__":
    sys.exit(unittest.main())
