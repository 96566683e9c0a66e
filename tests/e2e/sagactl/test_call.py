"""sagactl call against daemons of every kind: those that refuse, lie, say too much, say nothing, die; and against readers that go away."""
import os
import pathlib
import signal
import subprocess
import tempfile
import threading
import unittest

import fake_daemon
import test_sagactl as base
from fake_daemon import reply
from harness import schema, util

ROOT = pathlib.Path(__file__).resolve().parents[3]
METHOD = "customer.v1.CustomerService/ValidateCustomer"
LIST = "saga.v1.OrchestratorService/ListSagas"
FAILED, UNKNOWN, LATE, UNIMPLEMENTED = 1, 64 + 2, 64 + 4, 64 + 12
BATCH_MAX = 256
MIB = 1024 * 1024
CODES = ["CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
         "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED", "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS",
         "UNAUTHENTICATED"]


class CallTest(unittest.TestCase):
    def fake(self, answer, reflection=None):
        daemon = fake_daemon.FakeDaemon(answer, reflection)
        self.addCleanup(daemon.close)
        return daemon

    @staticmethod
    def arguments(daemon, *more, method=METHOD):
        return [str(util.bin_dir() / "sagactl"), "call", daemon.url, method, "--descriptor-set", str(ROOT / "generated/sagad.binpb"), *more]

    def call(self, daemon, *more, expect=0, data="", method=METHOD):
        done = subprocess.run(self.arguments(daemon, *more, method=method), input=data, capture_output=True, text=True, check=False,
                              timeout=base.VERB_SECONDS)
        self.assertEqual(done.returncode, expect, done.stdout[:2000] + done.stderr[:2000])
        return done.stdout, done.stderr

    def test_every_status_is_an_exit_status(self):
        for code, name in enumerate(CODES, 1):
            daemon = self.fake(lambda commands, code=code: [reply(one, code, "WHY", "as it is") for one in commands])
            _, problem = self.call(daemon, "-d", "{}", expect=64 + code)
            self.assertEqual(problem, f"sagactl: {METHOD}: {name} WHY: as it is\n")

    def test_a_status_that_is_none_counts_as_unknown(self):
        for code in 17, 64, 4000000000:
            daemon = self.fake(lambda commands, code=code: [reply(one, code) for one in commands])
            self.call(daemon, "-d", "{}", expect=UNKNOWN)

    def test_what_a_daemon_says_does_not_steer_the_terminal(self):
        daemon = self.fake(lambda commands: [reply(one, 9, "A\033[31mB", "x\033]0;title\007\r\ny") for one in commands])
        _, problem = self.call(daemon, "-d", "{}", "-v", expect=64 + 9)
        self.assertNotRegex(problem, "[\x00-\x09\x0b-\x1f\x7f]")
        self.assertIn("A?[31mB", problem)

    def test_names_of_services_do_not_steer_the_terminal(self):
        answer = schema.message("saga.v1.GetDescriptorSetResponse")(descriptor_set=(ROOT / "generated/sagad.binpb").read_bytes(),
                                                                    services=["a\033]0;x\007b\nc", "customer.v1.CustomerService"])
        daemon = self.fake(None, answer)
        for form in ([], ["-o", "json"]):
            done = subprocess.run([str(util.bin_dir() / "sagactl"), "list-services", daemon.url, *form], capture_output=True, text=True, check=False,
                                  timeout=base.VERB_SECONDS)
            self.assertEqual(done.returncode, 0, done.stderr)
            self.assertIn("a?]0;x?b?c", done.stdout)
            self.assertIn("customer.v1.CustomerService", done.stdout)
            self.assertNotIn("\033", done.stdout)

    def test_without_reflection_the_built_in_schema_is_used_and_said_so(self):
        daemon = self.fake(lambda commands: [reply(one) for one in commands])
        self.call(daemon, "-d", "{}")
        for words, status, word in ((["call", daemon.url, METHOD], 0, "no reflection; the built-in schema is used"),
                                    (["describe", daemon.url, METHOD], 0, "another by --descriptor-set"),
                                    (["describe", daemon.url], FAILED, "it does not tell what it serves"),
                                    (["list-services", daemon.url], UNIMPLEMENTED, "it does not tell what it serves")):
            done = subprocess.run([str(util.bin_dir() / "sagactl"), *words], capture_output=True, text=True, check=False,
                                  timeout=base.VERB_SECONDS)
            self.assertEqual(done.returncode, status, done.stderr)
            self.assertIn(word, done.stderr, words)

    def test_a_command_that_nobody_decided_is_warned_of_once(self):
        daemon = self.fake(lambda commands: [reply(one) for one in commands])
        by_hand = ["--saga=0198c5a2-7b1e-7000-8000-000000000007", "--step=stock", "--op=undo"]
        undo = "product.v1.ProductService/ReleaseStock"
        out, problem = self.call(daemon, *by_hand, "-d", "@", method=undo, data="{}" * 3)
        self.assertEqual((out.count("{}"), problem.count("UNDECIDED")), (3, 1), problem)
        # Not of what leaves no effect, and not without a saga.
        self.assertNotIn("UNDECIDED", self.call(daemon, *by_hand[:2], "-d", "{}")[1])
        self.assertNotIn("UNDECIDED", self.call(daemon, "-d", "{}", method=undo)[1])

    def test_batches_can_be_smaller(self):
        daemon = self.fake(lambda commands: [reply(one) for one in commands])
        self.call(daemon, "-d", "@", "--batch=3", data="{}" * 7)
        self.assertEqual([len(batch) for batch in daemon.batches], [3, 3, 1])
        for wrong in "0", "257", "x":
            self.assertIn("--batch", self.call(daemon, "-d", "{}", f"--batch={wrong}", expect=2)[1])

    def test_a_daemon_that_dies_in_the_middle_ends_the_batch(self):
        daemon = self.fake(lambda commands: [reply(one) for one in commands] if len(daemon.batches) < 3 else None)
        out, problem = self.call(daemon, "-d", "@", "--timeout=500ms", data='{"customer_id":1}\n' * BATCH_MAX * 4, expect=LATE)
        answered = out.count("{}\n")
        self.assertEqual(answered, sum(len(batch) for batch in daemon.batches[:2]))
        self.assertIn(daemon.url, problem)
        self.assertIn(f"values {answered + 1} to {answered + len(daemon.batches[2])}", problem)

    def test_a_daemon_that_says_nothing_is_late(self):
        over = threading.Event()
        daemon = self.fake(lambda commands: over.wait(base.VERB_SECONDS) and None)
        self.addCleanup(over.set)
        _, problem = self.call(daemon, "-d", "{}", "--timeout=200ms", expect=LATE)
        self.assertIn(daemon.url, problem)

    def test_answers_that_are_none_are_told(self):
        for answer, word in ((lambda commands: b"\xff\xff", "not a ReplyBatch"), (lambda commands: [], "batch is empty"),
                             (lambda commands: [reply(commands[0])] * 2, "2 replies to 1"),
                             (lambda commands: [reply(commands[0], payload=b"\xff")], "ValidateCustomerResponse")):
            daemon = self.fake(answer)
            out, problem = self.call(daemon, "-d", "{}", "--timeout=2s", expect=1)
            self.assertEqual(out, "")
            self.assertIn(word, problem)

    def test_large_answers(self):
        sagas = schema.message("saga.v1.ListSagasResponse")()
        while sagas.ByteSize() < MIB - 20000:
            sagas.sagas.add(key="k" * 10000)
        good = self.fake(lambda commands: [reply(one, payload=sagas.SerializeToString()) for one in commands])
        self.assertEqual(self.call(good, "-d", "{}", method=LIST)[0].count('"key"'), len(sagas.sagas))
        # Up to 4 MiB it is read and refused; beyond, the connection is closed unread.
        for size, status, word in ((2 * MIB, FAILED, "SAGA_MESSAGE_SIZE_MAX"), (4 * MIB - 100, FAILED, "SAGA_MESSAGE_SIZE_MAX"),
                                   (4 * MIB + 1, LATE, "the connection broke"), (5 * MIB, LATE, "the connection broke")):
            daemon = self.fake(lambda commands, size=size: [reply(one, payload=b"\x0a" * size) for one in commands])
            self.assertIn(word, self.call(daemon, "-d", "{}", "--timeout=1s", expect=status)[1])

    def test_a_reader_that_goes_away_ends_it_without_a_word(self):
        daemon = self.fake(lambda commands: [reply(one) for one in commands])
        process = subprocess.Popen(self.arguments(daemon, "-d", "@"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        process.stdin.write(b"{}\n")
        process.stdin.flush()
        self.assertEqual(process.stdout.readline(), b"{}\n")
        process.stdout.close()
        process.stdin.write(b"{}\n")
        process.stdin.close()
        self.assertEqual(process.stderr.read(), b"")
        process.stderr.close()
        self.assertEqual(process.wait(base.VERB_SECONDS), -signal.SIGPIPE)

    def test_a_full_disk_is_told_by_every_verb(self):
        daemon = self.fake(lambda commands: [reply(one) for one in commands])
        ctl = str(util.bin_dir() / "sagactl")
        whole = str(ROOT / "generated/sagad.binpb")
        for words in (self.arguments(daemon, "-d", "{}"), [ctl, "describe", "--descriptor-set", whole], [ctl, "completion", "bash"],
                      [ctl, "graph", "--saga=create-order"], [ctl, "describe", "create-order", "--template"]):
            with open("/dev/full", "wb") as full:
                done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=base.VERB_SECONDS)
            self.assertEqual((done.returncode, "No space left" in done.stderr), (1, True), (words, done.stderr))

    def test_control_c_in_the_middle_keeps_what_was_answered(self):
        daemon = self.fake(lambda commands: [reply(one) for one in commands])
        process = subprocess.Popen(self.arguments(daemon, "-d", "@"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        self.addCleanup(process.stdin.close)
        self.addCleanup(process.stderr.close)
        self.addCleanup(process.stdout.close)
        for _ in range(3):
            process.stdin.write(b"{}\n")
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), b"{}\n")
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(base.VERB_SECONDS), -signal.SIGINT)
        self.assertEqual(process.stdout.read(), b"")

    def test_metadata_goes_as_it_is_given(self):
        daemon = self.fake(lambda commands: [reply(one) for one in commands])
        given = {"X-Who: ann": ("x-who", "ann"), "b:c": ("b", "c"), " k : v w ": ("k", "v w"), "empty:": ("empty", ""),
                 "u: é:=,\"'": ("u", "é:=,\"'"), "k-bin: //8=": ("k-bin", "//8=")}
        self.call(daemon, "-d", "{}", *[word for header in given for word in ("-H", header)])
        self.assertEqual([(one.key, one.value) for one in daemon.batches[0][0].metadata], list(given.values()))
        for wrong, word in (("k: a\nb", "control character (byte 10)"), ("k: \x1b[31m", "control character (byte 27)"),
                            (b"k: \xff", "not UTF-8"), (" : v", "KEY: VALUE"), ("k", "KEY: VALUE"), ("é: v", "letters")):
            self.assertIn(word, self.call(daemon, "-d", "{}", "-H", wrong, expect=2)[1])
        self.assertEqual(len(daemon.batches), 1)

    def test_no_value_calls_nothing_and_says_so(self):
        daemon = self.fake(lambda commands: [reply(one) for one in commands])
        for given in "", "  \n":
            self.assertIn("{} is a request", self.call(daemon, "-d", given, expect=2)[1])
            self.assertIn("stdin has no value; nothing was called", self.call(daemon, "-d", "@", data=given)[1])
        with tempfile.NamedTemporaryFile() as file:
            self.assertIn(f"{file.name} has no value", self.call(daemon, "-d", f"@{file.name}")[1])
        self.assertEqual(daemon.batches, [])

    def test_a_deadline_that_is_past_goes_with_the_command(self):
        daemon = self.fake(lambda commands: [reply(one) for one in commands])
        self.call(daemon, "-d", "{}", "--deadline=0")
        self.call(daemon, "-d", "{}", "--deadline=1h")
        past, far = (batch[0].deadline_unix_ms for batch in daemon.batches)
        self.assertGreater(far - past, 3600 * 1000 - 1)
        for wrong in "-1s", "", "soon", "99999999h", "1us":
            self.assertIn("--deadline", self.call(daemon, "-d", "{}", f"--deadline={wrong}", expect=2)[1])


if __name__ == "__main__":
    unittest.main()
