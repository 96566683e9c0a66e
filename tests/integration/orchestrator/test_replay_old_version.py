"""A saga that began with an older version of its definition: sagad still knows that version, and sagactl replay asks for it."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
BIN = pathlib.Path(os.environ["SAGA_BUILD_DIR"]) / "bin"
SECONDS = 30


class OldVersionTest(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory(prefix="saga-test-")
        self.addCleanup(folder.cleanup)
        self.where = pathlib.Path(folder.name)
        self.process = None
        self.addCleanup(self.stop)

    def start(self, *arguments):
        """sagad without participants: sagas start and go no further."""
        ready = self.where / "ready"
        ready.unlink(missing_ok=True)
        with open(self.where / "log", "ab") as log:
            self.process = subprocess.Popen(
                [BIN / "sagad", f"--listen=ipc://{self.where}/sagad.ipc", f"--data={self.where}/sagad.db", "--http-port=0",
                 f"--ready-file={ready}", *arguments], stdout=log, stderr=log)
        end = time.monotonic() + SECONDS
        while not ready.exists():
            self.assertIsNone(self.process.poll(), (self.where / "log").read_text())
            self.assertLess(time.monotonic(), end, "sagad is not ready")
            time.sleep(0.02)

    def stop(self):
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(SECONDS)
            self.process = None

    def ctl(self, *arguments, expect=0):
        done = subprocess.run([BIN / "sagactl", *arguments, f"--address=ipc://{self.where}/sagad.ipc", "-o", "json"],
                              capture_output=True, text=True, timeout=SECONDS, check=False)
        self.assertEqual(done.returncode, expect, done.stdout + done.stderr)
        return json.loads(done.stdout)

    def newer_set(self):
        """The schema with another deadline: another version of the definition."""
        protos = self.where / "proto"
        shutil.copytree(ROOT / "proto", protos)
        file = protos / "order" / "v1" / "create_order.proto"
        text = file.read_text(encoding="utf-8")
        self.assertIn("deadline_ms: 60000", text)
        file.write_text(text.replace("deadline_ms: 60000", "deadline_ms: 61000"), encoding="utf-8")
        descriptor_set = self.where / "newer.binpb"
        subprocess.run(["protoc", f"--descriptor_set_out={descriptor_set}", "--include_imports", "--include_source_info",
                        "-I", protos, *sorted(protos.rglob("*.proto"))], check=True)
        return descriptor_set

    def test_it_is_replayed_with_the_version_that_it_began_with(self):
        self.start()
        old = self.ctl("start", "create-order", "--key=1", "-d", '{"order_id": 1, "customer_id": 1}')["id"]
        self.assertEqual(self.ctl("replay", old)["same"], 1)
        self.stop()
        self.start(f"--descriptor-set={self.newer_set()}")
        new = self.ctl("start", "create-order", "--key=2", "-d", '{"order_id": 2, "customer_id": 1}')["id"]
        versions = {one["hash"]: one for one in self.ctl("definitions") if one["name"] == "create-order"}
        self.assertEqual(len(versions), 2)
        self.assertNotEqual(self.ctl("get", old)["definition_hash"], self.ctl("get", new)["definition_hash"])
        for saga in old, new:
            self.assertEqual(self.ctl("replay", saga)["same"], 1)
        report = self.ctl("replay", "--all", f"--store={self.where}/sagad.db")
        self.assertEqual((report["same"], report["in_flight"]), (2, 2))


if __name__ == "__main__":
    unittest.main()
