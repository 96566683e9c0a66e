"""What real shells complete with the scripts of `sagactl completion`: bash, zsh and fish, from a system that runs."""
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

import shells
import test_sagactl as base
from harness import orders, util

VALIDATE = "customer.v1.CustomerService/ValidateCustomer"
RESERVE = "product.v1.ProductService/ReserveStock"
QUIET_SECONDS = 10
ROOT = pathlib.Path(__file__).resolve().parents[3]


class CompletionTest(unittest.TestCase):
    """One system, and each shell once, in a folder with files of odd names."""

    @classmethod
    def setUpClass(cls):
        cls.directory = pathlib.Path(tempfile.mkdtemp(prefix="saga-shell-", dir=os.environ.get("TMPDIR", "/tmp")))
        cls.addClassCleanup(shutil.rmtree, cls.directory, ignore_errors=True)
        cls.run_dir = cls.directory / "my run"
        cls.run_dir.mkdir()
        (cls.run_dir / "seed.json").write_text(json.dumps(orders.seed()), encoding="utf-8")
        cls.dev = base.Dev(cls.run_dir)
        cls.addClassCleanup(cls.dev.end)
        cls.addClassCleanup(cls.dev.interrupt)
        place = orders.Orders(lambda: cls.dev.endpoints()["orderd"]["http"]).place
        cls.sagas = [place({"customer_id": customer, "items": [{"product_id": 1, "quantity": 1}]}, wait="10s")["saga_id"]
                     for customer in (1, orders.POOR_CUSTOMER)]
        cls.address = cls.dev.endpoints()["customerd"]["nng"]
        cls.place = cls.directory / "place"
        for name in "some file.proto", "it's.proto", 'x"y.proto', "a:b.proto", "sub dir/in.proto":
            (cls.place / name).parent.mkdir(parents=True, exist_ok=True)
            (cls.place / name).write_text("", encoding="utf-8")
        cls.path = f"{util.bin_dir()}:{os.environ['PATH']}"
        cls.shells = {}
        for name, shell in shells.SHELLS.items():
            cls.shells[name] = shell(cls.place, cls.path, {
                "SAGACTL_DIR": str(cls.run_dir), "RUN": str(cls.run_dir), "ADDR": cls.address, "NOWHERE": str(cls.directory / "nowhere")})
            cls.addClassCleanup(cls.shells[name].close)
        home = cls.place / "home"
        (home / "sagactl").symlink_to(util.bin_dir() / "sagactl")
        (home / "run").symlink_to(cls.run_dir)

    def each(self, text, wanted, check=None):
        """What every shell completes; order is the shell's own."""
        for name, shell in self.shells.items():
            with self.subTest(shell=name, line=text):
                offered = shell.complete(text)
                (check or (lambda a, b: self.assertEqual(sorted(a), sorted(b))))(offered, wanted)
                self.assertNotRegex(shell.shown, r"sagactl: |rror|not found|\bno such\b")

    def each_has(self, text, wanted):
        self.each(text, wanted, lambda offered, some: self.assertLessEqual(set(some), set(offered)))

    def test_verbs_options_and_values(self):
        self.each("sagactl li", ["list", "lint", "list-services"])
        self.each_has("sagactl ", ["call", "graph", "dev", "help"])
        self.each("sagactl --ver", ["--version"])
        self.each("sagactl help descr", ["describe"])
        self.each("sagactl no-such-verb ", [])
        self.each("sagactl call --desc", ["--descriptor-set"])
        self.each_has("sagactl graph --", ["--format", "--live", "--out", "--help"])
        self.each("sagactl graph --format ", ["text", "dot", "svg", "mermaid", "json"])
        self.each("sagactl graph --format=", [f"--format={one}" for one in ("text", "dot", "svg", "mermaid", "json")])
        self.each("sagactl call --op=u", ["--op=undo"])
        self.each("sagactl get -o j", ["json"])
        self.each("sagactl list --state COMP", ["COMPENSATING", "COMPLETED", "COMPENSATED"])
        self.each("sagactl lint --disable PACKAGE_DEF", ["PACKAGE_DEFINED"])
        self.each("sagactl breaking --disable=FIELD_RENA", ["--disable=FIELD_RENAMED"])
        self.each("sagactl completion ", ["bash", "zsh", "fish"])
        self.each("sagactl topics pr", ["probe"])

    def test_files_where_a_file_is_due(self):
        self.each("sagactl lint so", ["some file.proto"])
        self.each("sagactl lint it", ["it's.proto"])
        self.each("sagactl lint x", ['x"y.proto'])
        self.each("sagactl lint a:", ["a:b.proto"])
        for name in "bash", "zsh":
            with self.subTest(shell=name):
                self.assertEqual(self.shells[name].line("sagactl lint so"), r"sagactl lint some\ file.proto ")
                self.assertEqual(self.shells[name].line("sagactl lint 'so"), "sagactl lint 'some file.proto' ")
                self.assertEqual(self.shells[name].line('sagactl lint "so'), 'sagactl lint "some file.proto" ')
        self.each("sagactl check --tls-ca so", ["some file.proto"])
        self.each("sagactl check --tls-ca=so", ["--tls-ca=some file.proto"])
        self.each(f"sagactl call customerd {VALIDATE} -d @so", ["@some file.proto"])
        self.each(f"sagactl call customerd {VALIDATE} --data=@so", ["--data=@some file.proto"])
        self.each(f"sagactl call customerd {VALIDATE} -d @ < so", ["some file.proto"],
                  lambda offered, wanted: self.assertEqual(offered[-1:], wanted))
        self.each("sagactl list --dir su", ["sub dir"], lambda a, b: self.assertEqual([one.rstrip("/") for one in a], b))
        self.each("sagactl list --dir=so", [])
        self.each(r"sagactl lint sub\ dir/", ["sub dir/in.proto"])

    def test_names_of_a_daemon_that_runs(self):
        self.each("sagactl call cust", ["customerd"])
        self.each(f"sagactl call {self.quoted(self.address[:-5])}", [self.address])
        self.each("sagactl call customerd customer.v1.C", [VALIDATE])
        self.each_has("sagactl call productd ", [RESERVE])
        self.each("sagactl list-services customerd ",
                  ["customer.v1.CustomerService", "saga.v1.HealthService", "saga.v1.ReflectionService"])
        self.each("sagactl describe customerd customer.v1.ValidateCustomerRe",
                  ["customer.v1.ValidateCustomerRequest", "customer.v1.ValidateCustomerResponse"])
        for verb in "get", "why", "watch", "cancel":
            self.each(f"sagactl {verb} 0", self.sagas)
        self.each_has("sagactl graph 0", self.sagas)
        for name in "zsh", "fish": # the newest first; bash sorts
            self.assertEqual(self.shells[name].complete("sagactl get "), self.sagas[::-1])
        self.each_has("sagactl start create-", ["create-order", "create-order-async"])
        self.each("sagactl list --saga=create-order-", ["--saga=create-order-async"])
        self.each_has(f"sagactl skip {self.sagas[0]} --step ", ["payment", "stock"])

    def quoted(self, text):
        return text.replace(" ", "\\ ")

    def test_words_before_are_read_as_the_shell_reads_them(self):
        url = self.address
        for address in f"'{url}'", f'"{url}"', self.quoted(url), "$ADDR", '"$ADDR"', "'customer'd":
            self.each(f"sagactl call {address} customer.v1.C", [VALIDATE])
        self.each('sagactl call -H "a: b c" customerd customer.v1.C', [VALIDATE])
        self.each("""sagactl call -d '{"a": "it is \\" = :"}' customerd customer.v1.C""", [VALIDATE])
        for place in f"'{self.run_dir}'", self.quoted(str(self.run_dir)), "$RUN", "~/run":
            self.each(f"sagactl get --dir {place} 0", self.sagas)
        self.each("sagactl get --dir=$RUN 0", self.sagas)
        self.each("~/sagactl completion ", ["bash", "zsh", "fish"])

    def test_nothing_is_run_to_complete(self):
        mark = self.place / "mark"
        for word in f"$(touch {mark.name})", f"`touch {mark.name}`", f'"$(touch {mark.name})"', f"'; touch {mark.name}; '":
            for shell in self.shells.values():
                shell.complete(f"sagactl call {word} customer.v1.C")
        self.assertFalse(mark.exists())

    def test_daemons_that_are_not_there_offer_nothing_quickly(self):
        stale = self.place / "stale"
        stale.mkdir(exist_ok=True)
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as deaf:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen()
            url = f"tcp://127.0.0.1:{deaf.getsockname()[1]}"
            endpoints = {name: {**told, "nng": url} for name, told in self.dev.endpoints().items() if name != "kafka"}
            (stale / "endpoints.json").write_text(json.dumps({**self.dev.endpoints(), **endpoints}), encoding="utf-8")
            for line in ("get --dir=$NOWHERE ", "call --dir=$NOWHERE customerd ", "start --dir=$NOWHERE ", "call ipc:///nowhere/at/all ",
                         "get --dir=stale ", "call --dir=stale customerd ", f"call {url} "):
                begun = time.monotonic()
                self.each(f"sagactl {line}", [])
                self.assertLess(time.monotonic() - begun, len(self.shells) * QUIET_SECONDS)

    def test_what_a_saga_is_called_cannot_spoil_the_line(self):
        key = """it's "odd": $x `y` = @z \\ ;|&<>*"""
        done = subprocess.run([str(util.bin_dir() / "sagactl"), "start", "create-order", "--key", key, "-o", "json", f"--dir={self.run_dir}"],
                              capture_output=True, text=True, check=False, timeout=base.VERB_SECONDS)
        self.assertEqual(done.returncode, 0, done.stderr)
        saga = re.search(base.ID, done.stdout)[0]
        self.each(f"sagactl get {saga[:-3]}", [saga])
        self.each("sagactl get 0", [*self.sagas, saga])
        self.sagas.append(saga)

    def test_ways_to_install_it_that_the_help_names(self):
        text = subprocess.run([str(util.bin_dir() / "sagactl"), "completion", "--help"], capture_output=True, text=True, check=True,
                              timeout=base.VERB_SECONDS).stdout
        ways = {"bash": r"^  (source <\(sagactl completion bash\)) ", "zsh": r"^  (source <\(sagactl completion zsh\)) ",
                "fish": r"^  (sagactl completion fish \| source) "}
        for name, way in ways.items():
            load = re.search(way, text, re.M)
            self.assertIsNotNone(load, name)
            self.offers_when(name, load[1], {})

    def offers_when(self, name, load, settings):
        place = self.place / "again"
        place.mkdir(exist_ok=True)
        shell = shells.SHELLS[name](place, self.path, settings, load=load)
        try:
            self.assertEqual(shell.complete("sagactl topics pr"), ["probe"], name)
        finally:
            shell.close()

    def test_what_is_installed_is_found_by_the_shells(self):
        prefix = self.place / "in stalled"
        done = subprocess.run(["cmake", "--install", os.environ["SAGA_BUILD_DIR"], "--prefix", str(prefix), "--component", "completion"],
                              capture_output=True, text=True, check=False, timeout=base.VERB_SECONDS)
        self.assertEqual(done.returncode, 0, done.stderr)
        share = prefix / "share"
        self.assertEqual(sorted(str(one.relative_to(share)) for one in share.rglob("*") if one.is_file()),
                         ["bash-completion/completions/sagactl", "fish/vendor_completions.d/sagactl.fish", "zsh/site-functions/_sagactl"])
        # bash-completion loads by name when it is needed, zsh by #compdef on fpath, fish by its folders.
        self.offers_when("bash", f". '{share}/bash-completion/completions/sagactl'", {})
        self.offers_when("zsh", f"fpath=('{share}/zsh/site-functions' $fpath); compinit -u -D", {})
        self.offers_when("fish", f"set fish_complete_path '{share}/fish/vendor_completions.d' $fish_complete_path", {})

    def test_another_shell_is_refused(self):
        done = subprocess.run([str(util.bin_dir() / "sagactl"), "completion", "ksh"], capture_output=True, text=True, check=False,
                              timeout=base.VERB_SECONDS)
        self.assertEqual(done.returncode, 2)
        self.assertIn("bash, zsh or fish", done.stderr)


if __name__ == "__main__":
    unittest.main()
