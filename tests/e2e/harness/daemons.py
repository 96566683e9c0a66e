"""The daemons, each startable, stoppable and killable alone, at addresses that stay."""
import ctypes
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import urllib.request

from harness import util

SERVICES = {
    "orderd": "order.v1.OrderService",
    "customerd": "customer.v1.CustomerService",
    "productd": "product.v1.ProductService",
    "kitchend": "kitchen.v1.KitchenService",
    "paymentd": "payment.v1.PaymentService",
}
NAMES = ["sagad", *SERVICES]
PR_SET_PDEATHSIG = 1
# A daemon under ASan is slow; an idle one starts in a tenth of a second.
START_SECONDS = 60
STOP_SECONDS = 60
_libc = ctypes.CDLL(None)


def _die_with_parent():
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


class Daemon:
    """One daemon. Start it from the main thread only: it dies with the thread that started it."""

    def __init__(self, name, directory, arguments):
        self.name = name
        self.directory = pathlib.Path(directory)
        self.arguments = arguments
        self.ready_file = self.directory / f"{name}.ready"
        self.log_file = self.directory / f"{name}.log"
        self.data_file = self.directory / f"{name}.db"
        self.nng = f"ipc://{self.directory}/{name}.ipc"
        self.process = None
        self.endpoint = {}

    def start(self, wait=True):
        assert self.process is None, f"{self.name} runs"
        self.ready_file.unlink(missing_ok=True)
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(
                [str(util.bin_dir() / self.name), f"--listen={self.nng}", f"--data={self.data_file}",
                 f"--ready-file={self.ready_file}", *self.arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, preexec_fn=_die_with_parent, cwd=self.directory)
        if wait:
            self.wait_ready()

    def wait_ready(self):
        def ready():
            if self.process.poll() is not None:
                raise AssertionError(f"{self.name} ended with {self.process.returncode}:\n{self.log_tail()}")
            return self.ready_file.exists()

        util.until(ready, START_SECONDS, lambda: f"{self.name} is not ready:\n{self.log_tail()}")
        self.endpoint = json.loads(self.ready_file.read_text(encoding="utf-8"))

    def running(self):
        return self.process is not None and self.process.poll() is None

    def kill(self):
        """SIGKILL: it gets no chance to do anything."""
        self.process.kill()
        self.process.wait()
        self.process = None

    def stop(self, seconds=STOP_SECONDS):
        """SIGTERM; gives the exit status."""
        self.process.terminate()
        try:
            status = self.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.process.send_signal(signal.SIGABRT)
            self.process.wait()
            self.process = None
            raise AssertionError(f"{self.name} does not stop within {seconds} s:\n{self.log_tail()}") from None
        self.process = None
        return status

    @property
    def http(self):
        return self.endpoint["http"]

    def log_tail(self, size=3000):
        if not self.log_file.exists():
            return ""
        with open(self.log_file, "rb") as log:
            log.seek(max(0, os.path.getsize(self.log_file) - size))
            return log.read().decode("utf-8", "replace")

    def log_text(self):
        return self.log_file.read_text(encoding="utf-8", errors="replace")


class System:
    """sagad and the five services on one broker."""

    def __init__(self, bootstrap, seed, saga="create-order", extra=()):
        # Not too long: the path of an ipc socket has at most 107 bytes.
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="saga-e2e-", dir=os.environ.get("TMPDIR", "/tmp")))
        self.seed = seed
        self.bootstrap = bootstrap
        seed_file = self.directory / "seed.json"
        seed_file.write_text(json.dumps(seed), encoding="utf-8")
        common = [f"--kafka={bootstrap}", *(extra if any("--log-level" in e for e in extra) else ["--log-level=info", *extra])]
        self.daemons = {}
        for name in SERVICES:
            arguments = list(common)
            if name == "orderd":
                arguments += [f"--orchestrator=ipc://{self.directory}/sagad.ipc", "--http-port=0", f"--saga={saga}"]
            else:
                arguments.append(f"--seed={seed_file}")
            self.daemons[name] = Daemon(name, self.directory, arguments)
        participants = [f"--participant={service}=ipc://{self.directory}/{name}.ipc"
                        for name, service in SERVICES.items()]
        self.daemons["sagad"] = Daemon("sagad", self.directory, [*common, "--http-port=0", *participants])

    def __getattr__(self, name):
        daemons = self.__dict__.get("daemons", {})
        if name in daemons:
            return daemons[name]
        raise AttributeError(name)

    def start(self):
        """Starts what does not run, all at once, and waits until all serve."""
        started = [daemon for daemon in self.daemons.values() if not daemon.running()]
        for daemon in started:
            daemon.process = None
            daemon.start(wait=False)
        for daemon in started:
            daemon.wait_ready()

    def stop(self):
        """Stops all in order; gives the exit statuses."""
        return {name: self.daemons[name].stop() for name in ["orderd", "sagad", *list(SERVICES)[1:]]
                if self.daemons[name].running()}

    def kill(self):
        """Kills all at once."""
        running = [daemon for daemon in self.daemons.values() if daemon.running()]
        for daemon in running:
            daemon.process.kill()
        for daemon in running:
            daemon.kill()

    def remove(self, keep=False):
        """Ends what still runs and removes the files; kept when a test failed."""
        self.kill()
        if keep:
            print(f"logs and databases: {self.directory}", flush=True)
        else:
            shutil.rmtree(self.directory, ignore_errors=True)

    def health(self, name="sagad"):
        """(state, {part: (state, detail)}) of a daemon with HTTP."""
        with urllib.request.urlopen(self.daemons[name].http + "/healthz", timeout=5) as answer:
            report = json.load(answer)
        return report["state"], {part["name"]: (part["state"], part["detail"]) for part in report["parts"]}

    def logs(self):
        return "\n".join(f"---- {name}\n{daemon.log_tail()}" for name, daemon in self.daemons.items())
