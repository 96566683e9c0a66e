"""sagactl certify as a person runs it: the five daemons keep every rule, also when they are killed on the way; one that
forgets is found out; reports, statuses, and what is printed to begin with."""
import contextlib
import json
import os
import pathlib
import shlex
import shutil
import signal
import subprocess
import tempfile
import unittest
import xml.etree.ElementTree as xml

from harness import util

SOURCE = pathlib.Path(__file__).resolve().parents[3]
VALUES = pathlib.Path(__file__).with_name("values.json")
SEED = SOURCE / "services" / "seed.json"
SECONDS = 120
# Waits until the process $pid has ended, and its last thread with it: one whose files are no longer to be seen may still hold
# its address. A zombie that nobody has waited for holds nothing.
AWAIT_END = """while [ -e /proc/$pid ] && ! awk '$1 == "State:" && $2 == "Z" { z = 1 } $1 == "Threads:" && $2 == 1 { t = 1 } """ \
    """END { exit !(z && t) }' /proc/$pid/status 2>/dev/null; do sleep 0.02; done"""
OK, FAILED, USAGE, UNJUDGED, UNAVAILABLE = 0, 1, 2, 3, 64 + 14
AUTHORIZE, REFUND = "payment.v1.PaymentService/AuthorizePayment", "payment.v1.PaymentService/RefundPayment"


class Participant:
    """A daemon alone: without orchestrator, without Kafka. Its pid is in a file, for whoever restarts it."""

    def __init__(self, directory, name):
        self.directory = pathlib.Path(directory)
        self.name = name
        self.address = f"ipc://{directory}/{name}.ipc"
        self.pid_file = self.directory / f"{name}.pid"
        arguments = [str(util.bin_dir() / name), f"--listen={self.address}", f"--data={directory}/{name}.db"]
        if name == "orderd":
            arguments += [f"--orchestrator=ipc://{directory}/nobody.ipc", "--http-port=0"]
        else:
            arguments.append(f"--seed={SEED}")
        self.command = f"{shlex.join(arguments)} </dev/null >>{directory}/{name}.log 2>&1 & echo $! >{self.pid_file}"

    def start(self):
        subprocess.run(["/bin/sh", "-c", self.command], check=True)

    def restart(self, between=":"):
        """The command that kills it and starts it again; the address is free only when the old one is gone."""
        return (f"pid=$(cat {self.pid_file}); kill -9 $pid; {AWAIT_END}; {between}; {self.command}")

    def pid(self):
        return int(self.pid_file.read_text(encoding="ascii"))

    def end(self):
        os.kill(self.pid(), signal.SIGKILL)


class CertifyTest(unittest.TestCase):
    def setUp(self):
        # Not too long: the path of an ipc socket has at most 107 bytes.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="saga-cert-", dir=os.environ.get("TMPDIR", "/tmp")))
        self.addCleanup(shutil.rmtree, self.directory, ignore_errors=True)

    def start(self, name):
        participant = Participant(self.directory, name)
        participant.start()
        self.addCleanup(participant.end)
        return participant

    def end_example(self):
        """Ends the document's participant, should its script not have come so far."""
        with contextlib.suppress(FileNotFoundError, ProcessLookupError, ValueError):
            os.kill(json.loads((self.directory / "try.ready").read_text(encoding="utf-8"))["pid"], signal.SIGKILL)

    def certify(self, *arguments, status=OK):
        ended = subprocess.run([str(util.bin_dir() / "sagactl"), "certify", *map(str, arguments)], timeout=SECONDS,
                               capture_output=True, encoding="utf-8", stdin=subprocess.DEVNULL, check=False)
        self.assertEqual(ended.returncode, status, ended.stdout + ended.stderr)
        return ended

    def report(self, participant, *arguments, status=OK):
        """Runs it; gives the JSON report after comparing it with the JUnit one."""
        junit = self.directory / "junit.xml"
        ended = self.certify(participant.address, "--timeout=20s", "--rounds=4", "-o", "json", f"--junit={junit}",
                             *arguments, status=status)
        report = json.loads(ended.stdout)
        suite = xml.parse(junit).getroot().find("testsuite")
        self.assertEqual(suite.get("name"), participant.address)
        self.assertEqual(int(suite.get("tests")), len(report["cases"]))
        self.assertEqual(len(suite.findall("testcase/failure")), report["failed"])
        self.assertEqual(len(suite.findall("testcase/skipped")), report["skipped"])
        told = {one.get("name"): one.get("value") for one in suite.findall("properties/property")}
        self.assertEqual({rule: told[rule] for rule in report["rules"]}, report["rules"])
        self.assertEqual(told["central_unjudged"], str(report["central_unjudged"]))
        self.assertEqual(report["unjudged"], report["skipped"])
        self.assertEqual([case.get("name") for case in suite.findall("testcase")],
                         [case["id"] for case in report["cases"]])
        self.assertIn(f"seed {report['seed']}", ended.stderr)
        return report

    def certified(self, name, *arguments, skipped=(), rules=("B1", "B2", "B3", "B4", "B5", "B6", "S4", "S8")):
        participant = self.start(name)
        before = participant.pid()
        report = self.report(participant, f"--values={VALUES}", "--restart", participant.restart(), *arguments)
        self.assertTrue(report["certified"])
        self.assertEqual([], [case for case in report["cases"] if case["verdict"] == "FAIL"])
        self.assertEqual({case["id"] for case in report["cases"] if case["verdict"] == "SKIP"}, set(skipped))
        unjudged = {case["rule"] for case in report["cases"] if case["verdict"] == "SKIP"}
        for rule in rules:
            self.assertEqual(report["rules"][rule], "PART" if rule in unjudged else "PASS", rule)
        self.assertNotEqual(before, participant.pid(), "it was not restarted")
        return report

    def test_paymentd_when_killed_on_the_way_then_every_rule_is_kept(self):
        # Nobody at paymentd tells what effects there are; nothing of it answers "later".
        report = self.certified("paymentd", skipped=["CERT-B1-EFFECT", "CERT-B6-EFFECT", "CERT-B6-RETRY"])
        self.assertEqual(report["effects_left"], 0)

    def test_productd_when_killed_on_the_way_then_every_rule_is_kept(self):
        self.certified("productd", skipped=["CERT-B1-EFFECT", "CERT-B6-EFFECT", "CERT-B6-RETRY", "CERT-UNDO-EFFECT"])

    def test_kitchend_when_a_ticket_must_be_there_before_then_the_pivot_is_judged_too(self):
        report = self.certified("kitchend", skipped=["CERT-B1-EFFECT", "CERT-B5-METHOD", "CERT-B6-EFFECT", "CERT-B6-RETRY",
                                                    "CERT-UNDO-EFFECT"])
        accept = {case["id"]: case["verdict"] for case in report["cases"] if case["step"] == "accept"}
        self.assertEqual(accept["CERT-B1-CONCURRENT"], "PASS")
        self.assertEqual(accept["CERT-B5-CALL"], "PASS")
        self.assertNotIn("CERT-B2-UNDO-FIRST", accept, "it has no undo")

    def test_orderd_when_asked_for_its_orders_then_duplicates_change_none(self):
        report = self.certified("orderd", "--probe",
                                'order.v1.OrderService/ListOrders={"customer_id": "1", "limit": 1000}',
                                skipped=["CERT-B6-RETRY"], rules=("B1", "B4", "B5", "B6", "S8"))
        effect = [case for case in report["cases"] if case["id"] == "CERT-B1-EFFECT"]
        self.assertEqual([case["verdict"] for case in effect], ["PASS"])

    def test_customerd_when_it_changes_nothing_then_its_answers_and_envelope_are_judged(self):
        participant = self.start("customerd")
        report = self.report(participant, f"--values={VALUES}")
        self.assertTrue(report["certified"])
        self.assertEqual(report["skipped"], 0)
        self.assertIn("CERT-READ", [case["id"] for case in report["cases"]])

    def test_participant_when_its_memory_is_gone_after_a_restart_then_it_is_found_out(self):
        participant = self.start("paymentd")
        report = self.report(participant, f"--values={VALUES}", "--restart",
                             participant.restart(f"rm -f {self.directory}/paymentd.db*"), status=FAILED)
        self.assertFalse(report["certified"])
        self.assertEqual([case["id"] for case in report["cases"] if case["verdict"] == "FAIL"],
                         ["CERT-RESTART-CALL", "CERT-RESTART-NO", "CERT-RESTART-UNDO", "CERT-RESTART-FORBIDDEN",
                          "CERT-RESTART-FLIGHT-UNDO", "CERT-RESTART-FLIGHT"])
        text = self.certify(participant.address, "--case=CERT-RESTART-CALL", "-q", "--restart",
                            participant.restart(f"rm -f {self.directory}/paymentd.db*"), status=FAILED).stdout
        self.assertIn("not certified", text)
        self.assertIn("replayed", text)
        self.assertIn("to mend", text)

    def test_participant_when_what_it_answered_last_is_not_kept_then_the_commands_under_way_tell(self):
        """It is as if it answered first and committed later: a kill loses what it has committed in the last moments. What is
        asked well before the kill, and again after it, does not show that."""
        participant = self.start("paymentd")
        saved = self.directory / "saved"
        script = self.directory / "restart.py"
        script.write_text(f"""
import os, pathlib, signal, sqlite3, subprocess, sys, time
data, pid = pathlib.Path({f"{self.directory}/paymentd.db"!r}), {participant.pid()}
with sqlite3.connect(data) as live, sqlite3.connect({str(saved)!r}) as copy:
    live.backup(copy)
copy.close()
# Half of the time until the kill, however slow the machine is: that much is lost.
time.sleep(max(0.2, time.time() - float(sys.argv[1])))
os.kill(pid, signal.SIGKILL)
subprocess.run(["/bin/sh", "-c", f"pid={{pid}}; " + {AWAIT_END!r}], check=True)
live.close()
for name in data.parent.glob(data.name + "*"):
    name.unlink()
os.rename({str(saved)!r}, data)
subprocess.run(["/bin/sh", "-c", {participant.command!r}], check=True)
""", encoding="utf-8")
        report = self.report(participant, f"--values={VALUES}", "--case=CERT-RESTART-*", "--rounds=20", "--restart",
                             f"/usr/bin/python3 {script} $(date +%s.%N)", status=FAILED)
        self.assertEqual([case["id"] for case in report["cases"] if case["verdict"] == "FAIL"],
                         ["CERT-RESTART-FLIGHT-UNDO", "CERT-RESTART-FLIGHT"])

    def test_participant_when_the_restart_fails_then_that_is_said(self):
        participant = self.start("paymentd")
        for command, says in (("exit 3", "status 3"), ("/nowhere/restart", "status 127"), (f"{SEED}", "status 126"),
                              ("kill -9 $$", "signal 9"), ("true", "the connection did not break"),
                              ("kill -9 $(cat nobody.pid) 2>/dev/null; true", "the connection did not break"),
                              ("sleep 60", "does not end")):
            report = self.report(participant, f"--values={VALUES}", "--case=CERT-RESTART-*", "--restart", command,
                                 "--restart-timeout=300ms", status=UNJUDGED)
            for case in report["cases"]:
                self.assertEqual(case["verdict"], "SKIP", command)
                self.assertIn(says, case["reason"], command)
                self.assertIn("it was not restarted", case["reason"], command)
            self.assertEqual(report["central_unjudged"], len(report["cases"]), command)
            self.assertEqual(report["outcome"], "not judged", command)

    def test_participant_when_it_is_killed_but_its_command_fails_then_nothing_is_broken(self):
        participant = self.start("paymentd")
        pid = participant.pid()
        report = self.report(participant, f"--values={VALUES}", "--case=CERT-RESTART-*", "--restart",
                             f"pid={pid}; kill -9 $pid; {AWAIT_END}; exit 9", status=UNJUDGED)
        self.assertEqual({case["verdict"] for case in report["cases"]}, {"SKIP"})
        self.assertIn("status 9", report["cases"][0]["reason"])
        participant.start()

    def test_participant_when_its_kill_comes_behind_the_command_then_it_counts_as_restarted(self):
        participant = self.start("paymentd")
        report = self.report(participant, f"--values={VALUES}", "--case=CERT-RESTART-*", "--restart",
                             f"{{ sleep 0.2; {participant.restart()}; }} &")
        self.assertEqual({case["verdict"] for case in report["cases"]}, {"PASS"})

    def test_probe_when_it_sees_no_call_then_nothing_is_judged_by_it(self):
        # No such customer: the same empty list, whatever is done.
        participant = self.start("orderd")
        report = self.report(participant, f"--values={VALUES}", "--case=CERT-B?-EFFECT", "--probe",
                             'order.v1.OrderService/ListOrders={"customer_id": "4711", "limit": 1000}', status=UNJUDGED)
        for case in report["cases"]:
            self.assertEqual(case["verdict"], "SKIP")
            self.assertIn("does not tell of this call", case["reason"])

    def test_values_when_made_by_template_then_they_can_be_given_back(self):
        participant = self.start("paymentd")
        text = self.certify(participant.address, "--template").stdout
        self.assertEqual(json.loads(text)[REFUND], [{"order_id": "${id}"}])
        values = self.directory / "values.json"
        values.write_text(text, encoding="utf-8")
        report = self.report(participant, f"--values={values}", "--case=CERT-B[14]-*")
        self.assertFalse(report["certified"])  # only some cases were asked for
        self.assertTrue(any(case["verdict"] == "PASS" for case in report["cases"]))
        self.assertFalse(any(case["verdict"] == "FAIL" for case in report["cases"]))
        # Used as it is, it judges no less than no values at all.
        seed = f"--seed={report['seed']}"
        reports = [self.report(participant, seed, "--case=CERT-B[1456]-*", *more) for more in ([], [f"--values={values}"])]
        self.assertEqual(*[[(case["id"], case["verdict"]) for case in one["cases"]] for one in reports])

    def test_document_when_its_first_example_is_run_then_it_certifies(self):
        text = (SOURCE / "docs" / "certify.md").read_text(encoding="utf-8")
        script = text.split("```sh\n", 1)[1].split("```", 1)[0]
        (self.directory / "services").symlink_to(SOURCE / "services")
        self.addCleanup(self.end_example)
        ended = subprocess.run(["/usr/bin/env", "bash", "-euc", script], cwd=self.directory, timeout=SECONDS, capture_output=True,
                               encoding="utf-8", stdin=subprocess.DEVNULL, check=False,
                               env={**os.environ, "PATH": f"{util.bin_dir()}:{os.environ['PATH']}"})
        self.assertEqual(ended.returncode, 0, ended.stdout + ended.stderr)
        self.assertRegex(ended.stdout, r"(?m)^certified: ipc://.* 0 failed")
        self.assertNotIn("CERT-RESTART", ended.stdout)  # nothing was left out there
        self.assertTrue((self.directory / "certify.xml").exists())

    def test_pair_when_named_then_the_definitions_do_not_count(self):
        participant = self.start("paymentd")
        listed = json.loads(self.certify(participant.address, "--list", "-o", "json", f"--call={AUTHORIZE}").stdout)
        self.assertIn("authorize-payment", {case["step"] for case in listed})
        self.assertNotIn("CERT-B2-UNDO-FIRST", {case["id"] for case in listed})
        report = self.report(participant, f"--call={AUTHORIZE}", f"--undo={REFUND}", "--case=CERT-B2-*")
        self.assertEqual([case["undo"] for case in report["cases"]], [REFUND])

    def test_seed_when_given_then_the_same_values_are_made(self):
        participant = self.start("paymentd")
        one, two, three = (self.certify(participant.address, "--template", f"--seed={seed}").stdout
                           for seed in (5, 5, 6))
        self.assertEqual(one, two)
        self.assertEqual(json.loads(three).keys(), json.loads(one).keys())

    def test_usage_when_wrong_then_status_2_and_what_to_do(self):
        participant = self.start("paymentd")
        values = self.directory / "bad.json"
        values.write_text('{"a.B/C": {}}', encoding="utf-8")
        for arguments, says in (
                ([], "ADDRESS"),
                ([participant.address, "--saga=nobody"], "nobody"),
                ([participant.address, "--call=a.B/C"], "a.B/C"),
                ([participant.address, "--service=a.B"], "a.B"),
                ([participant.address, f"--values={values}"], "a.B/C"),
                ([participant.address, "--at-once=1"], "at-once"),
                ([participant.address, "--case=FOO"], "--list"),
                ([participant.address, f"--probe={AUTHORIZE}"], "NO_SIDE_EFFECTS"),
                ([participant.address, f"--undo={REFUND}"], "--call is needed"),
                ([participant.address, f"--call={AUTHORIZE}", f"--undo={REFUND}", f"--undo={REFUND}"], "--call is needed"),
                ([participant.address, "--service=saga.v1.HealthService"], "--call"),
        ):
            self.assertIn(says, self.certify(*arguments, status=USAGE).stderr, arguments)

    def test_address_when_nobody_is_there_then_unavailable(self):
        ended = self.certify(f"ipc://{self.directory}/nobody.ipc", "--timeout=300ms", status=UNAVAILABLE)
        self.assertIn("nobody answers", ended.stderr)

    def test_strict_when_something_is_not_judged_then_status_1(self):
        participant = self.start("paymentd")
        self.certify(participant.address, "--case=CERT-RESTART-CALL", "--strict", status=FAILED)
        self.certify(participant.address, "--case=CERT-RESTART-CALL", status=UNJUDGED)


if __name__ == "__main__":
    unittest.main()
