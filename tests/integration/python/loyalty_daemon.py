"""The Python participant of examples/python as a daemon of the tests."""
import atexit
import json
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile

from harness import daemons, util

EXAMPLE = util.ROOT / "examples" / "python"
SERVICE = "loyalty.v1.LoyaltyService"
sys.path.insert(0, str(EXAMPLE))
sys.dont_write_bytecode = True


def make_schema():
    """Makes the descriptor set of the saga purchase once for the program; gives its path."""
    if not hasattr(make_schema, "path"):
        folder = tempfile.mkdtemp(prefix="saga-schema-")
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        make_schema.path = pathlib.Path(folder) / "loyalty.binpb"
        subprocess.run([EXAMPLE / "make-schema", make_schema.path], check=True)
    return make_schema.path


def environment():
    """Without what is preloaded into sanitized daemons."""
    return {name: value for name, value in os.environ.items() if name != "LD_PRELOAD"} | {"PYTHONDONTWRITEBYTECODE": "1"}


def free_port():
    """A port that is free now; so that the participant has the same address after a restart."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return sock.getsockname()[1]


class Loyalty(daemons.Daemon):
    """loyalty.py; it dies with the thread that started it."""

    def __init__(self, directory, bootstrap=None):
        super().__init__("loyalty", directory, [f"--kafka={bootstrap}"] if bootstrap else [])
        self.nng = f"tcp://127.0.0.1:{free_port()}"

    def command(self):
        """Its command line."""
        return ["/usr/bin/python3", str(EXAMPLE / "loyalty.py"), f"--schema={make_schema()}", f"--listen={self.nng}",
                f"--data={self.data_file}", f"--ready-file={self.ready_file}", *self.arguments]

    def start(self, wait=True):
        assert self.process is None, "loyalty runs"
        self.ready_file.unlink(missing_ok=True)
        with open(self.log_file, "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            preexec_fn=daemons._die_with_parent, cwd=self.directory, env=environment())
        if wait:
            self.wait_ready()
        else:
            self.endpoint = {"nng": self.nng}


def run_start(schema, url, definition, fields, *arguments):
    """start.py; gives its exit status and what it printed."""
    done = subprocess.run(["/usr/bin/python3", EXAMPLE / "start.py", definition, f"--schema={schema}", f"--orchestrator={url}",
                           f"--data={json.dumps(fields)}", *arguments], capture_output=True, text=True, timeout=90,
                          env=environment(), check=False)
    return done.returncode, json.loads(done.stdout) if done.stdout else done.stderr


__all__ = ["EXAMPLE", "SERVICE", "Loyalty", "environment", "make_schema", "run_start"]
