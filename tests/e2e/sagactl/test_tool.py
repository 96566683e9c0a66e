"""sagactl as a protobuf client: list-services, describe, call as somebody uses them who knows grpcurl, and
the picture of a saga that runs."""
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time
import unittest
import xml.etree.ElementTree as ElementTree

import fake_daemon
import test_sagactl as base
from harness import orders, schema, sp, util

VALIDATE = "customer.v1.CustomerService/ValidateCustomer"
RESERVE = "product.v1.ProductService/ReserveStock"
RELEASE = "product.v1.ProductService/ReleaseStock"
REJECTED, NOT_FOUND, LATE, UNAVAILABLE = 64 + 9, 64 + 5, 64 + 4, 64 + 14
SAGA = "0198c5a2-7b1e-7000-8000-00000000000{}"
MANY = 10000
MEMORY_KB_MAX = 64 * 1024
ROOT = pathlib.Path(__file__).resolve().parents[3]


class ToolTest(unittest.TestCase):
    """One system for all."""

    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="saga-tool-", dir=os.environ.get("TMPDIR", "/tmp")))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.run_dir = cls.directory / "run"
        cls.run_dir.mkdir()
        (cls.run_dir / "seed.json").write_text(json.dumps(orders.seed()), encoding="utf-8")
        cls.dev = base.Dev(cls.run_dir)
        cls.addClassCleanup(cls.dev.end)
        cls.addClassCleanup(cls.dev.interrupt)
        place = orders.Orders(lambda: cls.dev.endpoints()["orderd"]["http"]).place
        cls.approved = place({"customer_id": 1, "items": [{"product_id": 1, "quantity": 2}]}, wait="10s")
        cls.rejected = place({"customer_id": orders.POOR_CUSTOMER, "items": [{"product_id": 1, "quantity": 1}]}, wait="10s")

    def ctl(self, *arguments, expect=0, data=None, env=None):
        done = subprocess.run([str(util.bin_dir() / "sagactl"), *map(str, arguments), f"--dir={self.run_dir}"], capture_output=True,
                              text=True, timeout=base.VERB_SECONDS, check=False, input=data or "", env=env)
        if isinstance(expect, int):
            expect = (expect,)
        self.assertIn(done.returncode, expect, f"{arguments}: {done.stdout}{done.stderr}")
        return done.stdout, done.stderr

    def saga_of(self, order):
        return json.loads(self.ctl("get", "--saga=create-order", f"--key={order['order_id']}", "-o", "json")[0])["id"]

    # ---- describe, list-services ----

    def test_describe_of_a_daemon_tells_what_it_serves(self):
        text, _ = self.ctl("describe", "customerd")
        self.assertEqual(re.findall(r"^service (\S+)", text, re.M),
                         ["customer.v1.CustomerService", "saga.v1.HealthService", "saga.v1.ReflectionService"])
        address = self.dev.endpoints()["customerd"]["nng"]
        self.assertEqual(self.ctl("describe", address)[0], text)

    def test_describe_takes_every_spelling_of_a_symbol(self):
        one, _ = self.ctl("describe", "customerd", VALIDATE)
        for spelling in VALIDATE.replace("/", "."), "." + VALIDATE.replace("/", "."), "/" + VALIDATE:
            self.assertEqual(self.ctl("describe", "customerd", spelling)[0], one)
        self.assertTrue(self.ctl("describe", "customerd", "customer.v1.ValidateCustomerRequest")[0]
                        .startswith("// Asks whether a customer may order.\nmessage "))
        self.assertIn("enum saga.v1.SagaState {", self.ctl("describe", "saga.v1.SagaState")[0])

    def test_wrong_symbols_are_told_with_what_may_be_meant(self):
        for verb in ("describe", "customerd"), ("call", "customerd"):
            for wrong in "customer.v1.CustomerService/ValidateCustomers", "ValidateCustomer", "CustomerService.ValidateCustomer", \
                    "customer.v1.customerservice/validatecustomer":
                _, problem = self.ctl(*verb, wrong, expect=1)
                self.assertIn(f"did you mean {VALIDATE}", problem)
        self.assertIn("create-order", self.ctl("describe", "createorder", expect=1)[1])
        self.assertNotIn("did you mean", self.ctl("describe", "nothing.like.it.Here", expect=1)[1])
        self.assertIn("did you mean product.v1.ProductService?",
                      self.ctl("list-services", "productd", "product.v1.ProductServic", expect=1)[1])

    def test_list_services_of_one_service(self):
        self.assertEqual(self.ctl("list-services", "productd", "product.v1.ProductService")[0],
                         f"product.v1.ProductService\n  {RESERVE}\n  {RELEASE}\n")

    def test_template_can_be_called(self):
        for daemon in "customerd", "productd", "kitchend", "paymentd", "orderd":
            text, _ = self.ctl("list-services", daemon, "-o", "json")
            for service in json.loads(text):
                for method in service["methods"]:
                    template, _ = self.ctl("describe", daemon, method, "--template")
                    done = subprocess.run([str(util.bin_dir() / "sagactl"), "call", daemon, method, "-d", "@", f"--dir={self.run_dir}"],
                                          input=template, capture_output=True, text=True, check=False, timeout=base.VERB_SECONDS)
                    self.assertNotIn(done.returncode, (1, 2), f"{method}: {done.stderr}")

    # ---- call ----

    def test_call_takes_data_from_anywhere(self):
        file = self.directory / "request.json"
        file.write_text('{"customer_id": 1}', encoding="utf-8")
        for given in "@", "@-":
            self.assertEqual(self.ctl("call", "customerd", VALIDATE, "-d", given, data='{"customerId": "1"}')[0], "{}\n")
        for given in f"@{file}", '{"customer_id": 1}', ' {"customer_id":1}\n':
            self.assertEqual(self.ctl("call", "customerd", VALIDATE.replace("/", "."), "-d", given)[0], "{}\n")
        self.assertIn("No such file", self.ctl("call", "customerd", VALIDATE, "-d", "@/nowhere/at/all", expect=1)[1])

    def test_values_are_answered_in_order_and_a_refusal_stops_none(self):
        data = '{"customer_id":1}{"customer_id":424242}\n\n {"customer_id":%d}' % orders.POOR_CUSTOMER
        out, problem = self.ctl("call", "customerd", VALIDATE, "-d", "@", data=data, expect=NOT_FOUND)
        self.assertEqual(out, "{}\n{}\n")
        self.assertRegex(problem, rf"value 2 \(line 1\): {VALIDATE}: NOT_FOUND CUSTOMER_UNKNOWN: ")
        out, _ = self.ctl("call", "customerd", VALIDATE, "-d", "@", "-o", "json", data=data, expect=NOT_FOUND)
        decoder, at, values = json.JSONDecoder(), 0, []
        while out[at:].strip():
            value, end = decoder.raw_decode(out[at:].lstrip())
            at = len(out) - len(out[at:].lstrip()) + end
            values.append(value)
        self.assertEqual([values[0], values[2]], [{}, {}])
        error = values[1]["error"]
        self.assertEqual((error["code"], error["status"], error["reason"], error["value"], error["method"]),
                         (5, "NOT_FOUND", "CUSTOMER_UNKNOWN", 2, VALIDATE))

    def test_ten_thousand_values_go_in_batches_through_little_memory(self):
        data = "".join('{"customer_id": %d}\n' % (i if i == 777 else 1) for i in range(MANY))
        file = self.directory / "many.json"
        file.write_text(data, encoding="utf-8")
        with open(file, "rb") as stdin, open(self.directory / "out", "wb") as out, open(self.directory / "err", "wb") as err:
            process = subprocess.Popen([str(util.bin_dir() / "sagactl"), "call", "customerd", VALIDATE, "-d", "@",
                                        f"--dir={self.run_dir}"], stdin=stdin, stdout=out, stderr=err)
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        self.assertEqual(process.returncode, NOT_FOUND)
        self.assertEqual((self.directory / "out").read_text(encoding="utf-8"), "{}\n" * (MANY - 1))
        self.assertIn("value 778 (line 778)", (self.directory / "err").read_text(encoding="utf-8"))
        if "address" not in os.environ.get("SAGA_SANITIZE", "") and "thread" not in os.environ.get("SAGA_SANITIZE", ""):
            self.assertLess(usage.ru_maxrss, MEMORY_KB_MAX)

    def test_whoever_writes_values_one_by_one_is_answered_one_by_one(self):
        process = subprocess.Popen([str(util.bin_dir() / "sagactl"), "call", "customerd", VALIDATE, "-d", "@", f"--dir={self.run_dir}"],
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.addCleanup(process.stdout.close)
        self.addCleanup(process.kill)
        for _ in range(3):
            process.stdin.write('{"customer_id": 1}\n')
            process.stdin.flush()
            self.assertEqual(process.stdout.readline(), "{}\n")
        process.stdin.close()
        self.assertEqual(process.wait(base.VERB_SECONDS), 0)

    def test_what_is_no_request_is_told_with_its_place_and_stops_what_follows(self):
        out, problem = self.ctl("call", "productd", RESERVE, "-d", '{"order_id":1,"items":[{},{"quantitty":1}]}', expect=2)
        self.assertEqual(out, "")
        self.assertIn('items[1]: order.v1.OrderItem has no field "quantitty"', problem)
        out, problem = self.ctl("call", "customerd", VALIDATE, "-d", "@", data='{"customer_id":1}\n{"x":1}\n{"customer_id":1}', expect=2)
        self.assertEqual(out, "{}\n")
        self.assertIn("value 2 (line 2): ", problem)
        for broken in '{"customer_id":1', '"', "[1", '{"customer_id":1}}', "nonsense", '{"customer_id":1,}':
            self.assertIn(self.ctl("call", "customerd", VALIDATE, "-d", broken, expect=2)[0], ("", "{}\n"))
        out, problem = self.ctl("call", "customerd", VALIDATE, "-d", "@", data='{"customer_id":1} {"customer_id":', expect=2)
        self.assertEqual(out, "{}\n")
        self.assertIn("stdin, line 1: the value that begins here does not end", problem)

    def test_verbose_shows_what_was_sent_and_what_came(self):
        out, told = self.ctl("call", "productd", RESERVE, "-d", '{"order_id":7,"items":[{"product_id":1,"quantity":1}]}', "-v",
                             f"--saga={SAGA.format(1)}", "--step=stock", "--attempt=3", "--epoch=4",
                             "--traceparent=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
        self.assertGreater(int(json.loads(out)["total_cents"]), 0)
        self.assertRegex(told, rf"> {RESERVE} to ipc://\S+, request of 8 bytes, deadline 20\S+Z\n")
        self.assertIn(f"> saga {SAGA.format(1)} step stock op CALL attempt 3 epoch 4\n", told)
        self.assertIn("> traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01\n", told)
        self.assertRegex(told, r"< status OK, attempt 3, response of \d+ bytes, in \d+\.\d{3} ms\n")
        _, told = self.ctl("call", "customerd", VALIDATE, "-d", '{"customer_id":1}', "-v", "-H", "X-Who: ann", "-H", "b:c")
        self.assertIn("> x-who: ann\n> b: c\n", told)

    def test_orchestrator_can_be_played(self):
        played = f"--saga={SAGA.format(2)}", "--step=stock", "-v"
        data = '{"order_id":8,"items":[{"product_id":1,"quantity":1}]}'
        self.assertNotIn("replayed", self.ctl("call", "productd", RESERVE, "-d", data, *played)[1])
        self.assertIn("replayed", self.ctl("call", "productd", RESERVE, "-d", data, *played, "--attempt=2")[1])
        cause = "--cause=payment:FAILED_PRECONDITION:POOR"
        _, told = self.ctl("call", "productd", RELEASE, "-d", '{"order_id":8}', *played, "--op=undo", cause)
        self.assertIn("> cause payment FAILED_PRECONDITION POOR\n", told)
        _, told = self.ctl("call", "productd", RELEASE, "-d", '{"order_id":9}', f"--saga={SAGA.format(3)}", "--step=stock", "-v", "--op=undo")
        self.assertIn(", empty", told)
        _, problem = self.ctl("call", "productd", RESERVE, "-d", '{"order_id":9,"items":[{"product_id":1,"quantity":1}]}',
                              f"--saga={SAGA.format(3)}", "--step=stock", expect=REJECTED)
        self.assertIn("SAGA_UNDONE", problem)

    def test_wrong_use_of_call_is_told(self):
        for arguments, word in ((("--step=s",), "--step needs --saga"), (("--saga=x",), "no saga id"), (("--op=undo",), "--op undo needs"),
                                (("--op=do",), "--op do"), ((f"--saga={SAGA.format(1)}",), "--step"), (("-H", "nocolon"), "KEY: VALUE"),
                                (("-H", "a b: c"), "letters"), (("-H", "a: " + "x" * 2000), "at most"), (("--deadline=soon",), "--deadline"),
                                (("--max-time=soon",), "--max-time"), (("-o", "yaml"), "--output yaml"), (("--cause=x",), "--cause needs"),
                                ((f"--saga={SAGA.format(1)}", "--step=s", "--op=undo", "--cause=s:WHAT"), "--cause s:WHAT")):
            self.assertIn(word, self.ctl("call", "customerd", VALIDATE, *arguments, expect=2)[1])
        self.assertIn("nor a daemon", self.ctl("call", "localhost:50051", VALIDATE, expect=2)[1])
        self.assertIn("scheme", self.ctl("call", "http://localhost:1", VALIDATE, expect=2)[1])

    def test_what_is_too_large_does_not_leave(self):
        items = ",".join('{"product_id":%d,"quantity":1}' % i for i in range(20000))
        played = f"--saga={SAGA.format(4)}", "--step=stock"
        _, problem = self.ctl("call", "productd", RESERVE, "-d", "@", *played, data='{"items":[%s]}' % items, expect=1)
        self.assertIn("SAGA_PAYLOAD_SIZE_MAX", problem)
        _, problem = self.ctl("call", "productd", RESERVE, "-d", "@", data='{"items":[%s]}' % ",".join([items] * 10), expect=1)
        self.assertRegex(problem, "SAGA_MESSAGE_SIZE_MAX|more than")

    def test_times_end_a_call(self):
        begun = time.monotonic()
        self.ctl("call", f"ipc://{self.directory}/nobody", VALIDATE, "--timeout=200ms", expect=UNAVAILABLE)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            self.ctl("call", f"tcp://127.0.0.1:{deaf.getsockname()[1]}", VALIDATE, "--timeout=200ms", expect=UNAVAILABLE)
        process = subprocess.Popen([str(util.bin_dir() / "sagactl"), "call", "customerd", VALIDATE, "-d", "@", "--max-time=200ms",
                                    f"--dir={self.run_dir}"], stdin=subprocess.PIPE, stderr=subprocess.DEVNULL)
        self.addCleanup(process.stdin.close)
        self.assertEqual(process.wait(base.VERB_SECONDS), LATE)
        self.assertLess(time.monotonic() - begun, base.VERB_SECONDS)

    def test_schema_can_come_from_a_file(self):
        for name in "generated/sagad.binpb", "proto/customer/v1/customer.proto":
            self.assertEqual(self.ctl("call", "customerd", VALIDATE, "-d", '{"customer_id":1}', "--descriptor-set", ROOT / name)[0], "{}\n")
        stream = self.directory / "stream.proto"
        stream.write_text('syntax = "proto3"; package s; message M {} service S { rpc Many(stream M) returns (M); }', encoding="utf-8")
        _, problem = self.ctl("call", "customerd", "s.S/Many", "--descriptor-set", stream, expect=1)
        self.assertIn("streaming", problem)
        self.assertIn("streaming", self.ctl("describe", "--descriptor-set", stream)[0])

    # ---- graph ----

    def test_graph_of_a_saga_tells_its_states(self):
        text, _ = self.ctl("graph", self.saga_of(self.rejected))
        self.assertIn("\nstock: compensatable, after order\n  state  UNDONE, 1 call, 1 undo\n", text)
        self.assertIn("PAYMENT_DECLINED", text)
        self.assertNotIn("\033", text)
        self.assertIn("\033[33mUNDONE", self.ctl("graph", self.saga_of(self.rejected), "--colour=always")[0])
        by_key, _ = self.ctl("graph", "--saga=create-order", f"--key={self.rejected['order_id']}", "--format=json")
        told = {step["name"]: step for step in json.loads(by_key)["steps"]}
        self.assertEqual([told[name]["state"]["name"] for name in ("order", "stock", "payment", "accept")],
                         ["UNDONE", "UNDONE", "REJECTED", "SKIPPED"])
        picture = ElementTree.fromstring(self.ctl("graph", self.saga_of(self.approved), "--format=svg")[0])
        classes = [g.get("class").split() for g in picture.iter("{http://www.w3.org/2000/svg}g") if "step" in g.get("class")]
        self.assertEqual(len(classes), 7)
        self.assertTrue(all("good" in one for one in classes), classes)

    def test_graph_of_the_live_definition(self):
        self.assertEqual(self.ctl("graph", "--live", "--saga=create-order")[0], self.ctl("graph", "--saga=create-order")[0])
        self.ctl("graph", "--live", "--saga=no-such", expect=NOT_FOUND)
        for how in "text", "dot", "svg", "mermaid", "json":
            self.assertIn("there is no such saga", self.ctl("graph", base.UNKNOWN_ID, f"--format={how}", expect=NOT_FOUND)[1])
        self.assertIn("No such file or directory, and it is no saga id", self.ctl("graph", base.UNKNOWN_ID[:-1], expect=1)[1])

    def test_graph_of_a_saga_is_of_its_own_version(self):
        source = (ROOT / "tests/contract/graph/graphs.proto").read_text(encoding="utf-8")
        head = source[:source.index("// Two at once")].replace("graphs.v1", "replaced.v1").replace("graph-", "replaced-").replace("-graph", "-replaced")
        work = f"--participant=replaced.v1.Work=ipc://{self.directory}/nobody"

        def apply(*names):
            after = ["", *(f' after: "{name}"' for name in names)]
            steps = "".join(f'step {{ name: "{name}" call: "replaced.v1.Work/Do" undo: "replaced.v1.Work/Undo"{before} }}\n'
                            for name, before in zip(names, after))
            path = self.directory / "replaced.proto"
            path.write_text(f'{head}message M {{\n option (saga.v1.definition) = {{ name: "replaced" deadline_ms: 3600000\n{steps}'
                            f'step {{ name: "settle" call: "replaced.v1.Work/Tell" pivot: true after: "{names[-1]}" }} }};\n int64 id = 1;\n}}\n',
                            encoding="utf-8")
            self.ctl("apply", path, work, "--why=x")

        apply("first", "second")
        saga = json.loads(self.ctl("start", "replaced", "-d", '{"id":1}', "-o", "json")[0])["id"]
        apply("third")
        for _ in range(2):
            told = json.loads(self.ctl("graph", saga, "--format=json")[0])
            self.assertEqual([step["name"] for step in told["steps"]], ["first", "second", "settle"])
            for how in "text", "dot", "svg", "mermaid":
                drawing = self.ctl("graph", saga, f"--format={how}")[0]
                self.assertEqual(("second" in drawing, "third" in drawing), (True, False), how)
            self.ctl("remove", "replaced", "--why=x", expect=(0, NOT_FOUND))
        self.ctl("graph", "--live", "--saga=replaced", expect=NOT_FOUND)

    def test_reasons_of_any_text_spoil_no_drawing(self):
        odd = '</text><script>x</script>"`;#&\\|}] %% \x1b[31m\x9b1m\u202e\u2028\ufffe\n'
        sagad = self.dev.endpoints()["sagad"]["nng"]

        def answer(commands):
            replies = sp.call_batch(sagad, commands)
            for command, one in zip(commands, replies):
                if command.method.endswith("/GetSaga"):
                    view = schema.message("saga.v1.GetSagaResponse").FromString(one.payload)
                    view.saga.next_action = odd
                    for step in view.saga.steps:
                        step.last_status.code, step.last_status.reason, step.last_status.message = 9, odd, odd
                    one.payload = view.SerializeToString()
            return replies

        daemon = fake_daemon.FakeDaemon(answer)
        self.addCleanup(daemon.close)
        for how in "text", "dot", "svg", "mermaid", "json":
            drawing, _ = self.ctl("graph", self.saga_of(self.rejected), f"--format={how}", f"--address={daemon.url}")
            if how == "json": # what reads it wants it as it is
                self.assertEqual({step["state"]["last_status"]["reason"] for step in json.loads(drawing)["steps"]}, {odd})
                continue
            self.assertNotRegex(drawing, "[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028-\u202e\ufffe]", how)
            if how == "svg":
                ElementTree.fromstring(drawing)
            elif how == "dot":
                done = subprocess.run(["dot", "-Tsvg"], input=drawing, capture_output=True, text=True, check=False, timeout=base.VERB_SECONDS)
                self.assertEqual((done.returncode, done.stderr), (0, ""))
            if how in ("svg", "mermaid"):
                self.assertNotIn("<script>", drawing)


if __name__ == "__main__":
    unittest.main()
