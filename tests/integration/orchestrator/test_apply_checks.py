"""A running sagad refuses each wrong definition with the code of its static check, and applies each right one; what was applied
stands in its store as it stands in its audit stream. sagactl apply says the same before it sends anything."""
import base64
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ["SAGA_BUILD_DIR"]) / "bin"
LINT = ROOT / "tests" / "contract" / "schema" / "lint"
SECONDS = 60
APPLY = "saga.v1.OrchestratorService/ApplyDefinitions"


def protoc(out, *files, include=(LINT,)):
    """A descriptor set of some files."""
    command = ["protoc", f"--descriptor_set_out={out}", "--include_imports", "--include_source_info", "-I", ROOT / "proto"]
    for folder in include:
        command += ["-I", folder]
    subprocess.run([*command, *files], check=True, timeout=SECONDS, capture_output=True)
    return out


class ApplyChecksTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = tempfile.TemporaryDirectory(prefix="saga-test-")
        cls.where = pathlib.Path(cls.folder.name)
        cls.process = None
        cls.start()

    @classmethod
    def tearDownClass(cls):
        cls.stop()
        cls.folder.cleanup()

    @classmethod
    def start(cls):
        ready = cls.where / "ready"
        ready.unlink(missing_ok=True)
        with open(cls.where / "log", "ab") as log:
            cls.process = subprocess.Popen(
                [BIN / "sagad", f"--listen=ipc://{cls.where}/sagad.ipc", f"--data={cls.where}/sagad.db", "--http-port=0",
                 f"--ready-file={ready}"], stdout=log, stderr=log)
        end = time.monotonic() + SECONDS
        while not ready.exists():
            assert cls.process.poll() is None and time.monotonic() < end, (cls.where / "log").read_text()
            time.sleep(0.02)

    @classmethod
    def stop(cls):
        if cls.process is not None:
            cls.process.send_signal(signal.SIGTERM)
            status = cls.process.wait(SECONDS)
            cls.process = None
            assert status == 0, (cls.where / "log").read_text()

    def ctl(self, *arguments, expect=0, stdin=None):
        done = subprocess.run([BIN / "sagactl", *arguments, f"--address=ipc://{self.where}/sagad.ipc"], input=stdin,
                              capture_output=True, text=True, timeout=SECONDS, check=False)
        if expect is not None:
            self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return done

    @staticmethod
    def run_ctl(*arguments):
        """Without a daemon."""
        return subprocess.run([BIN / "sagactl", *arguments], capture_output=True, text=True, timeout=SECONDS, check=False)

    def compile(self, file):
        return protoc(self.where / (file.stem + ".binpb"), file)

    def post(self, files):
        """Past sagactl's own checks: the bytes go to the daemon as they are, all of them from one sagactl. Gives each answer."""
        requests = [{"descriptor_set": base64.b64encode(self.compile(file).read_bytes()).decode(), "who": "tester", "why": "to see"}
                    for file in files]
        done = self.ctl("call", f"ipc://{self.where}/sagad.ipc", APPLY, "-d", "@-", "-o", "json", expect=None,
                        stdin="\n".join(map(json.dumps, requests)))
        answers, rest, decoder = [], done.stdout.lstrip(), json.JSONDecoder()
        while rest:
            answer, end = decoder.raw_decode(rest)
            answers.append(answer)
            rest = rest[end:].lstrip()
        self.assertEqual(len(answers), len(files), done.stderr)
        return zip(files, answers)

    def test_each_wrong_definition_is_refused_with_its_code(self):
        files = sorted(LINT.glob("*-bad*.proto"))
        self.assertGreater(len(files), 40)
        before = self.ctl("definitions", "--history", "-o", "json").stdout
        for file, answer in self.post(files):
            with self.subTest(file.name):
                self.assertEqual(answer["error"]["status"], "INVALID_ARGUMENT", answer)
                self.assertEqual(answer["error"]["reason"], re.match(r"SAGA\d+", file.name).group(), answer)
                self.assertRegex(answer["error"]["message"], rf"{re.escape(file.name)}:\d+:\d+: ")
        self.assertEqual(self.ctl("definitions", "--history", "-o", "json").stdout, before)

    def test_each_right_definition_is_applied(self):
        files = sorted(LINT.glob("*-good*.proto"))
        self.assertGreater(len(files), 40)
        for file, answer in self.post(files):
            with self.subTest(file.name):
                self.assertNotIn("error", answer)

    def test_sagactl_tells_all_findings_and_sends_nothing(self):
        file = LINT / "SAGA007-bad.proto"
        done = self.ctl("apply", self.compile(file), "-o", "json", expect=1)
        self.assertIn("SAGA007", done.stderr)
        report = json.loads(done.stdout)
        self.assertEqual(report["verdict"], "refused")
        self.assertEqual(report["findings"][0]["code"], "SAGA007")

    def test_a_saga_without_its_participants_is_told_what_to_give(self):
        file = ROOT / "proto" / "order" / "v1" / "create_order.proto"
        for words in ["apply", file], ["lint", file], ["check", file, "--saga=create-order"], ["graph", file, "--saga=create-order"]:
            done = self.run_ctl(*words, "-I", ROOT / "proto")
            self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
            self.assertRegex(done.stdout + done.stderr, r"SAGA016: .*import the file that declares it, or give a descriptor set")

    def test_sagactl_applies_removes_and_the_books_agree(self):
        protos = self.where / "shop"
        protos.mkdir()
        text = (ROOT / "proto" / "order" / "v1" / "create_order.proto").read_text(encoding="utf-8")
        self.assertIn("deadline_ms: 60000", text)
        saga = self.ctl("start", "create-order", "--key=1", "-d", '{"order_id": 1, "customer_id": 1}', "-o", "json")
        old = json.loads(saga.stdout)["id"]
        watched = [self.ctl("watch", *words, "--for=1ms", expect=4).stdout for words in ([old], ["--saga=create-order", "--key=1"])]
        self.assertIn("create-order, key 1", watched[0])
        self.assertEqual(*(text.splitlines()[0] for text in watched))
        self.ctl("watch", "--saga=create-order", "--key=nobody", expect=64 + 5)
        self.assertIn("missing: ID, or --saga NAME and --key KEY", self.ctl("watch", "--saga=create-order", expect=2).stderr)
        changed = protos / "order" / "v1" / "create_order.proto"
        changed.parent.mkdir(parents=True)
        changed.write_text(text.replace("deadline_ms: 60000", "deadline_ms: 61000"), encoding="utf-8")
        newer = self.newer(protos)
        dry = json.loads(self.ctl("apply", newer, "--definition=create-order", "--dry-run", "-o", "json").stdout)
        self.assertEqual([(one["name"], one["outcome"], one["previous_live"]) for one in dry["definitions"]],
                         [("create-order", "REPLACED", 1)])
        done = self.ctl("apply", newer, "--definition=create-order", "--kafka=127.0.0.1:1", "--timeout=300ms", expect=64 + 14)
        self.assertIn("nothing is applied", done.stderr)
        self.assertIn("--no-topics", done.stderr)
        done = self.ctl("apply", newer, "--definition=create-order", "--why=more time", "--no-topics").stdout
        self.assertRegex(done, r"create-order +[0-9a-f]{12} +[0-9a-f]{12} +replaced +1")
        self.assertIn("sagactl breaking --live", done)
        self.assertIn("--participant kitchen.v1.KitchenService=URL", done)
        self.assertIn("topics apply --descriptor-set", done)
        self.assertIn("unchanged", self.ctl("apply", newer, "--definition=create-order", "--no-topics").stdout)
        new = json.loads(self.ctl("start", "create-order", "--key=2", "-d", '{"order_id": 2, "customer_id": 1}', "-o",
                                  "json").stdout)["id"]
        hashes = [json.loads(self.ctl("get", one, "-o", "json").stdout)["definition_hash"] for one in (old, new)]
        self.assertNotEqual(*hashes)
        listed = json.loads(self.ctl("definitions", "create-order", "-o", "json").stdout)
        self.assertEqual([(one["hash"], one["state"], one["live"]) for one in listed],
                         [(hashes[1], "current", 1), (hashes[0], "old, drains", 1)])
        self.ctl("pause", "create-order", "--why=a look")
        done = self.ctl("remove", "create-order", "--why=closed", "--wait=1", expect=4)
        self.assertIn("2 in flight go on", done.stdout)
        self.assertEqual(json.loads(self.ctl("remove", "create-order", "--why=closed", "-o", "json").stdout)["changed"], False)
        refused = self.ctl("start", "create-order", "--key=3", "-d", '{"order_id": 3, "customer_id": 1}', expect=64 + 5)
        self.assertIn("DEFINITION_REMOVED", refused.stderr)
        self.ctl("resume", "create-order", "--why=seen")
        self.assertEqual(self.ctl("definitions", "no-such", expect=64 + 5).stdout, "")
        self.assertEqual(json.loads(self.ctl("apply", newer, "--definition=create-order", "--no-topics", "-o",
                                             "json").stdout)["definitions"][0]["outcome"], "RESTORED")
        self.books_agree(streams=1)

    def test_an_address_that_moves_is_told_and_listed(self):
        service, here, there = "payment.v1.PaymentService", "ipc:///nonexistent/here", "ipc:///nonexistent/there"
        words = ["apply", ROOT / "generated" / "sagad.binpb", "--definition=create-order", "--no-topics"]
        self.assertNotIn("Addresses that", self.ctl(*words).stdout)
        self.assertRegex(self.ctl("definitions", "create-order").stdout, rf"{re.escape(service)} +none: its steps wait")
        self.assertIn(f"{service}: (no address) -> {here}\n", self.ctl(*words, f"--participant={service}={here}").stdout)
        move = [*words, f"--participant={service}={there}"]
        report = self.ctl(*move, "--dry-run").stdout
        self.assertIn("unchanged", report)
        self.assertIn(f"Addresses that would change, also for sagas in flight:\n  {service}: {here} -> {there}\n", report)
        self.assertRegex(self.ctl("definitions").stdout, rf"{re.escape(service)} +{here}")
        told = json.loads(self.ctl(*move, "-o", "json").stdout)
        self.assertEqual(told["address_changes"], [{"service": service, "before": [here], "after": [there]}])
        places = json.loads(self.ctl("definitions", "create-order", "-o", "json").stdout)[0]["participants"]
        self.assertIn({"service": service, "addresses": [there]}, places)
        self.assertEqual(json.loads(self.ctl(*move, "-o", "json").stdout)["address_changes"], [])
        self.assertRegex((self.where / "log").read_text(encoding="utf-8"),
                         rf'participant_moved.*service={re.escape(service)} old="{here}" new="{there}" who="')

    def newer(self, protos):
        """The schema with the changed file in the place of its own."""
        for file in (ROOT / "proto").rglob("*.proto"):
            place = protos / file.relative_to(ROOT / "proto")
            place.parent.mkdir(parents=True, exist_ok=True)
            if not place.exists():
                place.write_bytes(file.read_bytes())
        out = self.where / "newer.binpb"
        subprocess.run(["protoc", f"--descriptor_set_out={out}", "--include_imports", "--include_source_info", "-I", protos,
                        *sorted(protos.rglob("*.proto"))], check=True, timeout=SECONDS)
        return out

    def books_agree(self, streams):
        """Decisions, streams of acts and rows run again from the log are what is stored."""
        self.stop()
        try:
            done = self.ctl("replay", "--all", f"--store={self.where}/sagad.db", "-o", "json")
            report = json.loads(done.stdout)
            self.assertGreaterEqual(report["same"], 2)
            self.assertGreaterEqual(report.get("definitions", report.get("streams", streams)), streams)
        finally:
            self.start()


if __name__ == "__main__":
    sys.exit(unittest.main())
