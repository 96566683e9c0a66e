"""sagactl as a person uses it: dev and its endpoints.json, every verb's exit status and key output, an operator's act
followed by audit verify, --restart, and an end that leaves no process."""
import ctypes
import json
import os
import pathlib
import pwd
import re
import shutil
import signal
import subprocess
import tempfile
import unittest

from harness import orders, util
from harness.daemons import NAMES, SERVICES

START_SECONDS = 60
STOP_SECONDS = 30
VERB_SECONDS = 90
WATCH_SECONDS = 60
ID = r"[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}"
UNKNOWN_ID = "018f3c1e-8a5b-7c00-9d3e-0123456789ab"
DONE, FAILED, USAGE, GOING, NOT_FOUND, UNAVAILABLE = 0, 1, 2, 4, 64 + 5, 64 + 14
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def alive(pid):
    """Whether a process runs; a zombie does not."""
    try:
        status = pathlib.Path(f"/proc/{pid}/stat").read_text(encoding="utf-8")
    except (FileNotFoundError, ProcessLookupError):
        return False
    return status.rpartition(")")[2].split()[0] != "Z"


class Dev:
    """`sagactl dev` in a folder."""

    def __init__(self, directory, *arguments):
        self.directory = directory
        self.log_file = directory / "dev.log"
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [str(util.bin_dir() / "sagactl"), "dev", f"--dir={directory}", "--http-port=0",
                 f"--seed={directory}/seed.json", *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=die_with_parent)
        util.until(self.is_up, START_SECONDS, lambda: f"dev is not up:\n{self.log()}")

    def is_up(self):
        if self.process.poll() is not None:
            raise AssertionError(f"dev ended with {self.process.returncode}:\n{self.log()}")
        return (self.directory / "endpoints.json").exists()

    def endpoints(self):
        return json.loads((self.directory / "endpoints.json").read_text(encoding="utf-8"))

    def log(self):
        return self.log_file.read_text(encoding="utf-8", errors="replace")

    def kill_daemon(self, name):
        """Kills a daemon by its pid in endpoints.json; gives the pid."""
        pid = self.endpoints()[name]["pid"]
        os.kill(pid, signal.SIGKILL)
        util.until(lambda: not alive(pid), STOP_SECONDS, f"{name} ({pid}) does not end")
        return pid

    def interrupt(self):
        """ctrl-C; gives the exit status."""
        self.process.send_signal(signal.SIGINT)
        return self.process.wait(STOP_SECONDS)

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


class SagactlTest(unittest.TestCase):
    """One system for all verbs; the tests of what ends daemons start one of their own."""

    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="saga-ctl-", dir=os.environ.get("TMPDIR", "/tmp")))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.dev = cls.start_dev("system")
        cls.orders = orders.Orders(lambda: cls.dev.endpoints()["orderd"]["http"])
        cls.approved = cls.orders.place({"customer_id": 1, "items": [{"product_id": 1, "quantity": 2}]}, wait="10s")
        cls.rejected = cls.orders.place(
            {"customer_id": orders.POOR_CUSTOMER, "items": [{"product_id": 1, "quantity": 1}]}, wait="10s")

    @classmethod
    def start_dev(cls, name, *arguments):
        directory = cls.directory / name
        directory.mkdir()
        (directory / "seed.json").write_text(json.dumps(orders.seed()), encoding="utf-8")
        dev = Dev(directory, *arguments)
        cls.addClassCleanup(dev.end)
        return dev

    def ctl(self, *arguments, dev=None, expect=DONE, env=None):
        """Runs a verb, demands its exit status; gives (stdout, stderr)."""
        directory = (dev or self.dev).directory
        done = subprocess.run([str(util.bin_dir() / "sagactl"), *arguments, f"--dir={directory}"], capture_output=True,
                              text=True, timeout=VERB_SECONDS, check=False, stdin=subprocess.DEVNULL, env=env)
        self.assertEqual(done.returncode, expect, f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def ctl_json(self, *arguments, **more):
        return json.loads(self.ctl(*arguments, "-o", "json", **more)[0])

    def saga_of(self, order, dev=None):
        return self.ctl_json("get", "--saga=create-order", f"--key={order['order_id']}", dev=dev)["id"]

    def test_endpoints_have_the_documented_shape(self):
        text = (self.dev.directory / "endpoints.json").read_text(encoding="utf-8")
        endpoints = json.loads(text)
        self.assertTrue(text.endswith("}\n"))
        self.assertEqual(sorted(endpoints), sorted([*NAMES, "kafka"]))
        for name in NAMES:
            keys = {"nng", "pid"} | ({"http"} if name in ("sagad", "orderd") else set())
            self.assertEqual(set(endpoints[name]), keys, name)
            self.assertRegex(endpoints[name]["nng"], r"^ipc://|^tcp://")
            self.assertTrue(alive(endpoints[name]["pid"]), name)
        self.assertRegex(endpoints["orderd"]["http"], r"^http://127\.0\.0\.1:\d+$")
        self.assertEqual(set(endpoints["kafka"]), {"bootstrap", "pid"})
        self.assertRegex(endpoints["kafka"]["bootstrap"], r"^[\w.]+:\d+")
        self.assertEqual(endpoints["kafka"]["pid"], self.dev.process.pid)

    def test_list_tells_both_and_leaves_out_what_it_does_not_know(self):
        self.assertEqual(self.approved["state"], "APPROVED")
        self.assertEqual((self.rejected["state"], self.rejected["reason"]), ("REJECTED", "PAYMENT_DECLINED"))
        self.ctl("watch", self.saga_of(self.rejected), expect=FAILED)
        text, _ = self.ctl("list")
        for order, state in (self.approved, "COMPLETED"), (self.rejected, "COMPENSATED"):
            self.assertRegex(text, rf"{ID}  create-order +{order['order_id']} +{state} ")
        listed = self.ctl_json("list", "--state=completed")
        self.assertIn(str(self.approved["order_id"]), [saga["key"] for saga in listed])
        for saga in listed:
            self.assertEqual(saga["state"], "COMPLETED")
            self.assertNotIn(None, [saga.get(key, "") for key in ("deadline", "cause", "next_action")])
        self.ctl("list", "--state=nowhere", expect=USAGE)

    def test_get_tells_the_reason_at_the_step_that_said_no(self):
        saga = self.ctl_json("get", self.saga_of(self.rejected), "--events")
        payment = next(step for step in saga["steps"] if step["name"] == "payment")
        self.assertEqual((payment["state"], payment["last_status"]["reason"]), ("REJECTED", "PAYMENT_DECLINED"))
        self.assertIn("cents", payment["last_status"]["message"])
        self.assertEqual([event["seq"] for event in saga["events"]], list(range(1, saga["seq"] + 1)))
        _, problem = self.ctl("get", UNKNOWN_ID, expect=NOT_FOUND)
        self.assertNotIn("NOT_FOUND NOT_FOUND", problem)
        self.ctl("get", "nonsense", expect=USAGE)
        self.assertIn("needs -o json", self.ctl("get", self.saga_of(self.rejected), "--events", expect=USAGE)[1])

    def test_watch_ends_as_the_saga_did(self):
        text, _ = self.ctl("watch", self.saga_of(self.approved))
        self.assertIn("COMPLETED", text)
        text, _ = self.ctl("watch", self.saga_of(self.rejected), expect=FAILED)
        self.assertIn("COMPENSATED", text)
        named, _ = self.ctl("watch", "--saga=create-order", f"--key={self.rejected['order_id']}", expect=FAILED)
        self.assertEqual(named, text)

    def test_why_tells_the_story(self):
        self.assertIn("It ended COMPLETED", self.ctl("why", self.saga_of(self.approved), "--width=0")[0])
        self.ctl("watch", self.saga_of(self.rejected), expect=FAILED)
        story, _ = self.ctl("why", "--saga=create-order", f"--key={self.rejected['order_id']}", "--width=0")
        self.assertIn("payment said no", story)
        self.assertIn("PAYMENT_DECLINED", story)
        self.assertIn("It ended COMPENSATED", story)

    def test_replay_of_one_and_of_the_store_of_a_running_sagad(self):
        store = f"--store={self.dev.directory}/data/sagad.db"
        for order in self.approved, self.rejected:
            text, _ = self.ctl("replay", self.saga_of(order))
            self.assertIn("1 the same", text)
            self.assertEqual(self.ctl_json("replay", "--saga=create-order", f"--key={order['order_id']}", store)["same"], 1)
        report = self.ctl_json("replay", "--all", store)
        self.assertGreaterEqual(report["sagas"], 2)
        self.assertEqual((report["same"], report["findings"]), (report["sagas"], []))
        self.ctl("replay", UNKNOWN_ID, expect=NOT_FOUND)
        self.ctl("replay", UNKNOWN_ID, store, expect=NOT_FOUND)
        self.ctl("replay", "--all", expect=USAGE)
        self.ctl("replay", "--all", f"--store={self.dev.directory}/seed.json", expect=FAILED)
        self.ctl("replay", expect=USAGE)

    def test_pause_holds_orders_which_go_on_with_resume(self):
        dev = self.start_dev("pause")
        there = orders.Orders(lambda: dev.endpoints()["orderd"]["http"])
        self.ctl("pause", "create-order", dev=dev, expect=USAGE)
        self.ctl("pause", "nosuch", "--why=x", dev=dev, expect=NOT_FOUND)
        text, _ = self.ctl("pause", "create-order", "--why=new prices", "--who=ann", dev=dev)
        self.assertIn("create-order is paused", text)
        again = self.ctl_json("pause", "create-order", "--why=again", "--who=bob", dev=dev)
        self.assertEqual((again["changed"], again["pause"]["who"], again["pause"]["why"]), (False, "ann", "new prices"))
        order = there.place({"customer_id": 1, "items": [{"product_id": 1, "quantity": 1}]}, wait="1s")
        self.assertEqual((order["state"], order["saga_id"]), ("PENDING", ""))
        _, problem = self.ctl("start", "create-order", "-d", "{}", dev=dev, expect=UNAVAILABLE)
        self.assertIn("DEFINITION_PAUSED", problem)
        shown = {one["name"]: one["pause"] for one in self.ctl_json("definitions", dev=dev)}
        self.assertEqual(shown["create-order"]["who"], "ann")
        self.assertIsNone(shown["create-order-async"])
        self.assertRegex(self.ctl("definitions", dev=dev)[0], r"create-order .* since .* by ann: “new prices”")
        self.assertIn("definitions 1 paused", self.ctl("health", "sagad", dev=dev)[0])
        self.assertIn("goes on", self.ctl("resume", "create-order", "--why=done", dev=dev)[0])
        self.assertEqual(there.decided(order["order_id"])["state"], "APPROVED")
        self.assertIn("was not paused", self.ctl("resume", "create-order", "--why=done", dev=dev)[0])
        report = self.ctl_json("audit", "verify", dev=dev)
        self.assertEqual((report["violation_count"], report["definitions"]), (0, 1))
        self.stop(dev, DONE)

    def test_health_of_all_and_of_one(self):
        text, _ = self.ctl("health")
        for name in NAMES:
            self.assertRegex(text, rf"(?m)^{name} +SERVING +{name} ")
        self.assertEqual(self.ctl_json("health", "paymentd")[0]["state"], "SERVING")
        text, problem = self.ctl("health", "nosuch", expect=USAGE)
        self.assertEqual(text, "")
        self.assertIn("nosuch", problem)

    def test_call_answers_in_json_and_with_the_status(self):
        method = "customer.v1.CustomerService/ValidateCustomer"
        self.assertEqual(json.loads(self.ctl("call", "customerd", method, "-d", '{"customer_id": 1}')[0]), {})
        _, problem = self.ctl("call", "customerd", method, "-d", '{"customer_id": 999}', expect=NOT_FOUND)
        self.assertIn("CUSTOMER_UNKNOWN", problem)
        _, problem = self.ctl("call", "customerd", method, "-d", '{"customer": 1}', expect=USAGE)
        self.assertEqual(problem.count("customer.v1.ValidateCustomerRequest"), 1)
        self.ctl("call", f"ipc://{self.directory}/nobody.ipc", method, "--timeout=200ms", expect=UNAVAILABLE)

    def test_describe_and_list_services(self):
        text, _ = self.ctl("describe", "customer.v1.CustomerService")
        self.assertIn("rpc ValidateCustomer(", text)
        json.loads(self.ctl("describe", "create-order", "--template")[0])
        self.ctl("describe", "no.such.Thing", expect=FAILED)
        self.ctl("describe", "create-order", "-o", "json", expect=USAGE)
        for name, service in SERVICES.items():
            services = {one["name"]: one["methods"] for one in self.ctl_json("list-services", name)}
            self.assertTrue(services[service], name)
            self.assertTrue(all(method.startswith(service + "/") for method in services[service]))

    def test_start_refuses_what_is_no_saga(self):
        self.ctl("start", "nosuch", expect=NOT_FOUND)
        _, problem = self.ctl("start", "create-order", "-d", '{"x": 1}', expect=USAGE)
        self.assertIn('order.v1.CreateOrder has no field "x"', problem)
        self.assertNotIn("order.v1.CreateOrder: order.v1.CreateOrder", problem)
        key = str(self.approved["order_id"])
        started = self.ctl_json("start", "create-order", f"--key={key}", "-d", json.dumps(
            {"order_id": self.approved["order_id"], "customer_id": 1, "items": [{"product_id": 1, "quantity": 2}]}))
        self.assertEqual((started["existing"], started["state"]), (True, "COMPLETED"))

    def test_what_was_applied_is_found_and_one_who_is_away_does_not_hold_dev_up(self):
        dev = self.start_dev("applied")
        _, problem = self.ctl("graph", "--saga=transfer", dev=dev, expect=NOT_FOUND)
        self.assertIn("no such definition", problem)
        protos = util.ROOT / "examples/transfer/proto"
        self.ctl("apply", f"-I{protos}", f"-I{util.ROOT}/proto", str(protos / "transfer/v1/transfer.proto"), "--why=x",
                 f"--participant=transfer.v1.DebitService=ipc://{self.directory}/nobody", dev=dev)
        story, _ = self.ctl("describe", "sagad", "transfer", dev=dev)
        self.assertTrue(story.startswith("// saga transfer: deadline "))
        self.assertEqual(self.ctl("describe", "transfer", dev=dev)[0], story)
        self.assertIn("message transfer.v1.Transfer {", self.ctl("describe", "transfer.v1.Transfer", dev=dev)[0])
        self.assertIn("transfer_id", json.loads(self.ctl("describe", "transfer", "--template", dev=dev)[0]))
        self.ctl("describe", "customerd", "transfer", dev=dev, expect=FAILED)
        self.assertTrue(self.ctl("graph", "--saga=transfer", dev=dev)[0].startswith("saga transfer,"))
        self.assertIn("1 definition was acted on (1 applied)", self.ctl("audit", "verify", dev=dev)[0])
        self.ctl("start", "transfer", "--key=1", "--wait=100ms", "-d", '{"transfer_id": "1"}', dev=dev, expect=GOING)
        self.assertIn("not run by dev", self.ctl("health", "sagad", dev=dev, expect=FAILED)[0])
        self.ctl("health", "--allow-degraded", dev=dev)
        self.stop(dev, DONE)
        again = Dev(dev.directory)
        self.addCleanup(again.end)
        self.assertIn("not waited for", again.log())
        self.assertNotIn("not every daemon is well", again.log())
        self.stop(again, DONE)
        _, problem = self.ctl("graph", "--saga=transfer", dev=again, expect=USAGE)
        self.assertIn("--live", problem)
        _, problem = self.ctl("describe", "transfer", dev=again, expect=FAILED)
        self.assertIn("--address", problem)

    def test_slips_are_told_with_what_may_be_meant(self):
        for arguments, text in ((("lst",), "did you mean list?"), (("def",), "did you mean definitions?"), (("help", "wacth"), "did you mean watch?"),
                                (("-o", "json", "list"), "the verb comes first"), (("qqqqqqq",), "`sagactl --help` lists them"),
                                (("breaking", "new.proto"), "--live NEW"), (("list", "--timeout=0"), "more than 0")):
            self.assertIn(text, self.ctl(*arguments, expect=USAGE)[1])

    def test_help_of_what_asks_no_daemon_lists_no_daemons(self):
        for verb in "lint", "check", "sim", "completion":
            text, _ = self.ctl(verb, "--help")
            self.assertNotRegex(text, "(?m)^  --(address|kafka|tls-ca|timeout) ", verb)
            self.assertIn("--output table|json", text)
        self.assertIn("--tls-ca", self.ctl("breaking", "--help")[0])
        self.ctl("lint", "--list-rules", "--timeout=1s")
        self.assertRegex(self.ctl("call", "--help")[0], r"-H\. May be\s+repeated\.")

    def health_json(self, name, dev):
        """What -o json says, whether all is well or not."""
        done = subprocess.run([str(util.bin_dir() / "sagactl"), "health", name, "-o", "json", f"--dir={dev.directory}"],
                              capture_output=True, text=True, timeout=VERB_SECONDS, check=False, stdin=subprocess.DEVNULL)
        return json.loads(done.stdout)

    def check_bench(self, dev):
        seed = f"--seed={dev.directory}/seed.json"
        report = self.ctl_json("bench", "--clients=4", "--seconds=1", "--warmup=0", seed, dev=dev)
        self.assertLessEqual({"clients", "seconds", "mix_percent", "orders", "orders_per_second", "latency_ms",
                              "results", "cpu_ms_per_order", "reconnects"}, set(report))
        self.assertEqual(set(report["latency_ms"]), {"p50", "p90", "p99", "max"})
        self.assertLessEqual(set(NAMES), set(report["cpu_ms_per_order"]))
        self.assertGreater(report["orders"], 0)
        self.assertEqual(sum(report["results"].values()), report["orders"])
        self.assertEqual(report["clients"], 4)

    def test_cancel_while_a_participant_is_away_leaves_a_clean_trail(self):
        dev = self.start_dev("cancel")
        there = orders.Orders(lambda: dev.endpoints()["orderd"]["http"])
        self.assertEqual(there.place({"customer_id": 1, "items": [{"product_id": 1, "quantity": 1}]}, wait="10s")["state"],
                         "APPROVED")
        # What a dead daemon has not published yet stays in its database: here it must be on Kafka before.
        self.ctl("audit", "verify", dev=dev)
        dev.kill_daemon("paymentd")
        text, _ = self.ctl("health", "customerd", "paymentd", "--timeout=1s", dev=dev, expect=UNAVAILABLE)
        self.assertRegex(text, r"(?m)^customerd +SERVING")
        self.assertRegex(text, r"(?m)^paymentd +UNREACHABLE")

        def noticed():
            sagad = next(one for one in self.health_json("sagad", dev) if one["daemon"] == "sagad")
            return any(part["name"] == SERVICES["paymentd"] and part["state"] == "DEGRADED" for part in sagad["parts"])

        # What goes into a connection whose end has not been seen yet may have been done: it could be undone by paymentd only.
        util.until(noticed, START_SECONDS, "sagad does not notice that paymentd is away")
        order = there.place({"customer_id": 2, "items": [{"product_id": 2, "quantity": 1}]})
        saga = util.until(lambda: there.get(order["order_id"])["saga_id"], 20, "the order has no saga")

        def tried():
            steps = {step["name"]: step for step in self.ctl_json("get", saga, dev=dev)["steps"]}
            return steps["payment"]["call_attempts"] >= 2

        util.until(tried, 20, "payment is not tried")
        self.ctl("health", "sagad", dev=dev, expect=FAILED)
        self.ctl("health", "sagad", "--allow-degraded", dev=dev)
        story, _ = self.ctl("why", saga, "--width=0", dev=dev)
        self.assertIn("What to do next:", story)
        self.assertNotIn("resolve", story)
        self.ctl("cancel", saga, dev=dev, expect=USAGE)
        nobody = {key: value for key, value in os.environ.items() if key not in ("USER", "LOGNAME")}
        self.assertIn("COMPENSAT", self.ctl("cancel", saga, "--why=no payments today", dev=dev, env=nobody)[0])
        self.ctl("watch", saga, f"--for={WATCH_SECONDS}s", dev=dev, expect=FAILED)
        story, _ = self.ctl("why", saga, "--width=0", dev=dev)
        who = pwd.getpwuid(os.getuid()).pw_name
        self.assertIn(f"{who} cancelled it: “no payments today”.", story)
        self.assertRegex(story, r"payment .*could not be sent: the participant was not connected")
        self.assertLess(story.index("could not be sent"), story.index("cancelled it"))
        self.assertLess(story.index("cancelled it"), story.index("undid"))
        self.assertEqual(there.decided(order["order_id"])["state"], "REJECTED")
        _, problem = self.ctl("cancel", saga, "--why=again", dev=dev, expect=NOT_FOUND)
        self.assertIn("ended", problem)
        text, _ = self.ctl("audit", "verify", dev=dev)
        self.assertIn("no violation", text)
        self.assertEqual(self.ctl_json("audit", "verify", "--idle=1s", dev=dev)["violation_count"], 0)
        self.stop(dev, FAILED)  # a daemon died
        self.assertRegex(dev.log(), r"paymentd DIED")

    def test_restart_brings_a_killed_daemon_back_then_bench_then_an_end_that_leaves_nothing(self):
        dev = self.start_dev("restart", "--restart")
        pid = dev.kill_daemon("customerd")

        def back():
            new = dev.endpoints()["customerd"]["pid"]
            return new not in (0, pid) and alive(new)

        util.until(back, START_SECONDS, lambda: f"customerd is not back:\n{dev.log()}")
        self.assertIn("customerd is back", dev.log())
        there = orders.Orders(lambda: dev.endpoints()["orderd"]["http"])
        order = there.place({"customer_id": 3, "items": [{"product_id": 3, "quantity": 1}]}, wait="20s")
        self.assertEqual(order["state"], "APPROVED")
        self.check_bench(dev)
        self.stop(dev, None)

    def stop(self, dev, expect):
        """ctrl-C: the exit status, and no process stays."""
        endpoints = dev.endpoints()
        status = dev.interrupt()
        if expect is not None:
            self.assertEqual(status, expect, dev.log())
        left = {name: entry["pid"] for name, entry in endpoints.items() if alive(entry["pid"])}
        self.assertEqual(left, {})
        here = str(dev.directory).encode()
        others = [path.parent.name for path in pathlib.Path("/proc").glob("[0-9]*/cmdline")
                  if here in read_quietly(path)]
        self.assertEqual(others, [])
        self.assertFalse((dev.directory / "endpoints.json").exists())


def read_quietly(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


class LastTest(unittest.TestCase):
    """A clean end; by itself, for it ends what it runs on."""

    def test_a_clean_end_is_status_0(self):
        directory = pathlib.Path(tempfile.mkdtemp(prefix="saga-ctl-", dir=os.environ.get("TMPDIR", "/tmp")))
        self.addCleanup(shutil.rmtree, directory, ignore_errors=True)
        (directory / "seed.json").write_text(json.dumps(orders.seed()), encoding="utf-8")
        dev = Dev(directory)
        self.addCleanup(dev.end)
        pids = [entry["pid"] for entry in dev.endpoints().values()]
        self.assertEqual(dev.interrupt(), DONE, dev.log())
        self.assertEqual([pid for pid in pids if alive(pid)], [])
        self.assertTrue(re.search(r"stopping", dev.log()))


if __name__ == "__main__":
    unittest.main()
