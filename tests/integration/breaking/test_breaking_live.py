"""sagactl breaking --live: sagas that are held in given steps, and which of them each break would hit."""
import json
import os
import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "tests/e2e"))
from harness import schema, sp  # pylint: disable=wrong-import-position

BIN = pathlib.Path(os.environ["SAGA_BUILD_DIR"]) / "bin"
HERE = pathlib.Path(__file__).resolve().parent
SECONDS = 60
UNAVAILABLE = 14
REP = 0x31


def read_exactly(sock, size):
    data = b""
    while len(data) < size:
        part = sock.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data


class Participant:
    """HoldService: does everything, but "comes later" to the step that the request names. An NNG REP peer over ipc."""

    def __init__(self, path):
        self.url = f"ipc://{path}"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(sock,), daemon=True).start()

    def serve(self, sock):
        try:
            sock.sendall(b"\0SP\0" + struct.pack(">HH", REP, 0))
            read_exactly(sock, 8)
            while True:
                _, size = struct.unpack(">BQ", read_exactly(sock, 9))
                body = read_exactly(sock, size)
                end = 4
                while not body[end - 4] & 0x80:
                    end += 4
                answer = body[:end] + self.answer(body[end:])
                sock.sendall(struct.pack(">BQ", 1, len(answer)) + answer)
        except (EOFError, OSError):
            sock.close()

    @staticmethod
    def answer(data):
        batch = schema.CommandBatch.FromString(data)
        replies = schema.ReplyBatch()
        for command in batch.commands:
            reply = replies.replies.add(saga_id=command.saga_id, step=command.step, op=command.op, attempt=command.attempt)
            # DoRequest is one string, the name of the step that is held.
            if command.payload[2:].decode() == command.step:
                reply.status.code = UNAVAILABLE
                reply.status.retry_after_ms = 600000
        return replies.SerializeToString()


class LiveTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="saga-test-")
        self.addCleanup(folder.cleanup)
        self.where = pathlib.Path(folder.name)
        self.participant = Participant(self.where / "hold.ipc")
        self.addCleanup(self.participant.listener.close)
        self.text = (HERE / "hold.proto.in").read_text()
        self.process = None
        self.addCleanup(self.stop)

    def make_set(self, name, *changes):
        """A descriptor set of hold.proto with changes."""
        text = self.text
        for was, now in changes:
            self.assertIn(was, text)
            text = text.replace(was, now)
        folder = self.where / name
        folder.mkdir()
        (folder / "hold.proto").write_text(text)
        out = folder / "set.binpb"
        subprocess.run(["protoc", "-I", folder, "-I", ROOT / "proto", "--include_imports", "--include_source_info",
                        f"--descriptor_set_out={out}", "hold.proto"], check=True)
        return out

    def start(self, descriptor_set):
        ready = self.where / "ready"
        ready.unlink(missing_ok=True)
        with open(self.where / "log", "ab") as log:
            self.process = subprocess.Popen(
                [BIN / "sagad", f"--listen=ipc://{self.where}/sagad.ipc", f"--data={self.where}/sagad.db", "--http-port=0",
                 f"--ready-file={ready}", f"--descriptor-set={descriptor_set}",
                 f"--participant=hold.v1.HoldService={self.participant.url}"], stdout=log, stderr=log)
        self.wait(ready.exists, "sagad is not ready")

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.assertEqual(self.process.wait(SECONDS), 0)
            self.process = None

    def wait(self, holds, what):
        end = time.monotonic() + SECONDS
        while not holds():
            self.assertIsNone(self.process.poll(), (self.where / "log").read_text())
            self.assertLess(time.monotonic(), end, what)
            time.sleep(0.02)

    def run_ctl(self, *arguments):
        return subprocess.run([BIN / "sagactl", arguments[0], "--timeout=30s", f"--address=ipc://{self.where}/sagad.ipc", *arguments[1:]],
                              capture_output=True, text=True, timeout=SECONDS, check=False)

    def ctl(self, *arguments, expect=0):
        done = self.run_ctl(*arguments, "-o", "json")
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def held(self, name, key, step):
        """Starts a saga and waits until it is held in a step."""
        saga = self.ctl("start", name, f"--key={key}", "-d", json.dumps({"hold": step}))["id"]
        self.wait(lambda: self.step(saga, step)["state"] == "CALLED" and self.step(saga, step).get("last_status"), f"{key}: not in {step}")
        return saga

    def step(self, saga, name):
        return next(s for s in self.ctl("get", saga)["steps"] if s["name"] == name)

    def breaking(self, new, expect, *flags):
        report = self.ctl("breaking", "--live", *flags, new, expect=expect)
        return report, {(f["code"], f["saga"], f["step"]): f for f in report["findings"]}

    def hits(self, finding):
        self.assertEqual(len(finding["live"]["first"]), min(5, finding["live"]["count"]))
        return set(finding["live"]["first"])

    def test_each_break_hits_the_sagas_that_are_in_its_way(self):
        first = self.make_set("old")
        self.start(first)
        in_a, in_b = self.held("line", "1", "a"), self.held("line", "2", "b")
        in_z, back = self.held("line", "3", "z"), self.held("line", "4", "b")
        self.ctl("cancel", back, "--why=test", "--who=test")
        self.wait(lambda: self.step(back, "a")["state"] == "UNDOING" or self.step(back, "b")["state"] == "UNDOING", "not undone")
        done = self.ctl("start", "line", "--key=5", "-d", "{}", "--wait=30s")["id"]
        self.assertEqual(self.ctl("get", done)["state"], "COMPLETED")

        # Nothing changes: nothing is looked at.
        report, found = self.breaking(first, 0)
        self.assertEqual((report["verdict"], found, report["walked"]), ("compatible", {}, 0))

        # Methods that the new participant does not serve.
        new = self.make_set("unserved", ("rpc UndoA(", "rpc RevertA("), ("Service/UndoA", "Service/RevertA"),
                            ("rpc DoB(", "rpc PerformB("), ("Service/DoB", "Service/PerformB"))
        report, found = self.breaking(new, 1)
        self.assertEqual(report["walked"], 4)
        undo, call = found["UNDO_UNSERVED", "line", "a"], found["CALL_UNSERVED", "line", "b"]
        self.assertEqual((self.hits(undo), undo["severity"]), ({in_a, in_b, back}, "error"))
        self.assertEqual((self.hits(call), call["severity"]), ({in_a, in_b}, "error"))
        self.assertRegex(undo["live"]["version"], "^line@[0-9a-f]{12}$")
        # As text, for people.
        text = self.run_ctl("breaking", "--live", "--saga-only", new).stdout
        self.assertIn(f"3 sagas of {undo['live']['version']} are hit: ", text)
        self.assertIn("4 sagas in flight looked at", text)

        # The pivot: those going forward before it.
        new = self.make_set("pivot", ("pivot: true after: \"b\"", "undo: \"hold.v1.HoldService/UndoB\" after: \"b\""),
                            ("after: \"p\"", "pivot: true after: \"p\""))
        _, found = self.breaking(new, 1)
        self.assertEqual(self.hits(found["PIVOT_MOVED", "line", None]), {in_a, in_b})

        # A step behind the pivot: all that have not done it.
        _, found = self.breaking(self.make_set("renamed", ('name: "z"', 'name: "last"')), 1)
        self.assertEqual(self.hits(found["STEP_RENAMED", "line", "z"]), {in_a, in_b, in_z})

    def test_what_hits_none_is_a_note_and_a_version_that_drains_still_counts(self):
        self.start(self.make_set("old"))
        old = self.held("line", "1", "b")
        # Nobody is on calm: its undo may go.
        calm = self.make_set("calm", ("rpc UndoC(", "rpc RevertC("), ("Service/UndoC", "Service/RevertC"))
        report, found = self.breaking(calm, 0, "--saga-only", "--fail-on", "warning")
        self.assertEqual({f["severity"] for f in found.values()}, {"note"})
        self.assertEqual((found["UNDO_UNSERVED", "calm", "c"]["live"]["count"], report["errors"]), (0, 0))
        # A new version of line; a saga is on the old one still, whose step b undoes by UndoB.
        second = self.make_set("second", ('call: "hold.v1.HoldService/DoB" undo: "hold.v1.HoldService/UndoB"',
                                          'call: "hold.v1.HoldService/DoB" undo: "hold.v1.HoldService/UndoA"'))
        self.stop()
        self.start(second)
        new = self.held("line", "2", "b")
        third = self.make_set("third", ('call: "hold.v1.HoldService/DoB" undo: "hold.v1.HoldService/UndoB"',
                                        'call: "hold.v1.HoldService/DoB" undo: "hold.v1.HoldService/UndoA"'),
                              ("rpc DoB(", "rpc PerformB("), ("Service/DoB", "Service/PerformB"))
        report, _ = self.breaking(third, 1, "--saga-only")
        calls = [f for f in report["findings"] if f["code"] == "CALL_UNSERVED"]
        self.assertEqual(sorted(f["live"]["first"][0] for f in calls), sorted([old, new]))
        self.assertEqual(len({f["live"]["version"] for f in calls}), 2)
        undone = [f for f in report["findings"] if f["code"] == "UNDO_CHANGED" and f["saga"] == "line"]
        self.assertEqual([f["live"]["first"] for f in undone], [[old]])

    def test_a_child_that_has_ended_counts_while_its_parent_may_turn_back(self):
        self.start(self.make_set("old"))
        parent = self.held("outer", "1", "rest")
        child = self.step(parent, "kid")["child_id"]
        self.assertEqual(self.ctl("get", child)["state"], "COMPLETED")
        alone = self.ctl("start", "inner", "--key=1", "-d", "{}", "--wait=30s")["id"]
        self.assertEqual(self.ctl("get", alone)["state"], "COMPLETED")
        new = self.make_set("new", ("rpc UndoX(", "rpc RevertX("), ("Service/UndoX", "Service/RevertX"))
        _, found = self.breaking(new, 1, "--saga-only")
        self.assertEqual(self.hits(found["UNDO_UNSERVED", "inner", "x"]), {child})

    def test_more_sagas_than_a_page_are_each_looked_at_once(self):
        self.start(self.make_set("old"))
        count = 450
        start = schema.message("saga.v1.StartSagaRequest")
        commands = [schema.Command(method="saga.v1.OrchestratorService/StartSaga", payload=start(
            definition="line", key=str(i), input=b"\x0a\x01a").SerializeToString()) for i in range(count)]
        for at in range(0, count, 150):
            replies = sp.call_batch(f"ipc://{self.where}/sagad.ipc", commands[at:at + 150], timeout=SECONDS)
            self.assertEqual({r.status.code for r in replies}, {0})
        new = self.make_set("new", ("rpc UndoA(", "rpc RevertA("), ("Service/UndoA", "Service/RevertA"))
        report, found = self.breaking(new, 1, "--saga-only")
        self.assertEqual((report["walked"], found["UNDO_UNSERVED", "line", "a"]["live"]["count"]), (count, count))
        self.assertEqual(len(set(found["UNDO_UNSERVED", "line", "a"]["live"]["first"])), 5)

    def test_what_was_applied_unchanged_breaks_nothing(self):
        self.start(self.make_set("old"))
        applied = [(path, "-I", ROOT / "proto", "-I", path.parents[2]) for path in sorted(ROOT.glob("examples/*/proto/*/v*/*.proto"))]
        self.assertGreaterEqual(len(applied), 5)
        applied.append((self.where / "old/hold.proto",))
        for path, *flags in applied:
            if "saga.v1.definition" in path.read_text():
                self.ctl("apply", "--no-topics", *flags, path)
        # What the orchestrator began with, and participants' files that declare no saga, as well.
        own = [p for p in sorted(ROOT.glob("proto/*/v1/*.proto")) if p.name != "create_order.proto" and p.parts[-3] != "saga"]
        for path, *flags in [*applied, *((p, "-I", ROOT / "proto") for p in own)]:
            with self.subTest(file=path.name):
                report, found = self.breaking(path, 0, "--fail-on", "warning", *flags)
                self.assertEqual((report["verdict"], found), ("compatible", {}))
        # Under which path a file is known depends on how protoc was run.
        trip = self.where / "moved.proto"
        shutil.copy(ROOT / "examples/trip/proto/trip/v1/trip.proto", trip)
        self.assertEqual(self.breaking(trip, 0, "--fail-on", "warning", "-I", self.where)[1], {})
        text = trip.read_text()
        self.assertIn("service CarService", text)
        trip.write_text(text.replace("CarService", "AutoService"))
        self.assertIn(("SERVICE_REMOVED", None, None), self.breaking(trip, 1, "--wire-only", "-I", self.where)[1])

    def test_a_part_of_a_package_says_nothing_of_the_rest(self):
        """NEW has one of two files of a package: the other one stays as it is; of its own what is gone is told."""
        folder = self.where / "parts"
        (folder / "hold/v1").mkdir(parents=True)
        line, service = self.text.index("message Line"), self.text.index("service HoldService")
        (folder / "hold/v1/service.proto").write_text(self.text[:line] + self.text[service:])
        (folder / "hold/v1/sagas.proto").write_text(self.text[:self.text.index("// What a step")] + self.text[line:service])
        out = folder / "set.binpb"
        subprocess.run(["protoc", "-I", folder, "-I", ROOT / "proto", "--include_imports", "--include_source_info",
                        f"--descriptor_set_out={out}", "hold/v1/service.proto", "hold/v1/sagas.proto"], check=True)
        self.start(out)
        own = folder / "hold/v1/service.proto"
        self.assertEqual(self.breaking(own, 0, "--fail-on", "warning")[1], {})
        own.write_text(own.read_text().replace("rpc UndoX(", "rpc RevertX("))
        report, found = self.breaking(own, 1)
        self.assertEqual(set(found), {("METHOD_REMOVED", None, None), ("UNDO_UNSERVED", "inner", "x")})
        # The place is in what the orchestrator has.
        self.assertTrue(found["UNDO_UNSERVED", "inner", "x"]["in_old"])
        self.assertIn("METHOD_REMOVED (as the orchestrator has it): ", self.run_ctl("breaking", "--live", own).stdout)
        self.assertEqual(report["sagas_not_judged"], [])

    def test_a_saga_without_its_participants_is_refused_at_its_step(self):
        self.start(ROOT / "generated/sagad.binpb")
        new = ROOT / "proto/order/v1/create_order.proto"
        report, found = self.breaking(new, 1, "-I", ROOT / "proto")
        lines = new.read_text().splitlines()
        self.assertEqual({code for code, _, _ in found}, {"SAGA_REFUSED"})
        self.assertEqual(report["sagas_not_judged"], ["create-order", "create-order-async"])
        for finding in found.values():
            self.assertEqual((finding["file"], finding["in_old"]), (str(new), False))
            self.assertIn("customer.v1.CustomerService/ValidateCustomer", lines[finding["line"] - 1])
            self.assertRegex(finding["message"], r"^SAGA\d{3}: .*; other breaks of this saga were not judged$")

    def test_of_an_old_file_and_of_a_version_a_break_is_told_once(self):
        old = self.make_set("old")
        self.start(old)
        held = self.held("line", "1", "b")
        new = self.make_set("new", ('name: "z"', 'name: "last"'), ("message Calm {", "message Still {"))
        done = self.run_ctl("breaking", "--live", "-o", "json", old, new)
        self.assertEqual(done.returncode, 1, done.stderr)
        findings = json.loads(done.stdout)["findings"]
        self.assertEqual(len({(f["code"], f["where"]) for f in findings}), len(findings))
        renamed = next(f for f in findings if f["code"] == "STEP_RENAMED")
        self.assertEqual(self.hits(renamed), {held})
        self.assertIn("MESSAGE_REMOVED", {f["code"] for f in findings})
        # An OLD that the orchestrator never had: its breaks are told, of no version.
        other = self.make_set("other", ('name: "line"', 'name: "queue"'))
        done = self.run_ctl("breaking", "--live", "--saga-only", "-o", "json", other, old)
        findings = json.loads(done.stdout)["findings"]
        self.assertEqual([(f["code"], f["saga"], f["live"]) for f in findings], [("SAGA_RENAMED", "queue", None)])

    def test_without_a_daemon_it_says_so(self):
        new = self.make_set("new")
        done = self.run_ctl("breaking", "--live", new, "--timeout=200ms")
        self.assertEqual(done.returncode, 64 + UNAVAILABLE, done.stderr)


if __name__ == "__main__":
    unittest.main()
