"""sagad does not start on a descriptor set that fails a static check, nor on one without a saga, and says why."""
import os
import pathlib
import subprocess
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[3]
SAGAD = pathlib.Path(os.environ["SAGA_BUILD_DIR"]) / "bin" / "sagad"
LINT = ROOT / "tests" / "contract" / "schema" / "lint"


class RefusedDefinitionTest(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory(prefix="saga-test-")
        self.addCleanup(self.folder.cleanup)

    def start(self, arguments):
        where = pathlib.Path(self.folder.name)
        descriptor_set = where / "set.binpb"
        subprocess.run(["protoc", f"--descriptor_set_out={descriptor_set}", "--include_imports", "-I", ROOT / "proto",
                        "-I", LINT, *arguments], check=True)
        ready = where / "ready"
        done = subprocess.run([SAGAD, f"--listen=ipc://{where}/sagad.ipc", f"--data={where}/sagad.db", "--http-port=0",
                               f"--descriptor-set={descriptor_set}", f"--ready-file={ready}"],
                              capture_output=True, text=True, timeout=30)
        self.assertFalse(ready.exists())
        return done

    def test_a_saga_in_a_circle_is_refused_with_its_code(self):
        done = self.start([LINT / "SAGA007-bad.proto"])
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("definition_refused", done.stderr)
        self.assertIn("SAGA007", done.stderr)
        self.assertIn("cannot_start", done.stderr)

    def test_a_set_without_a_saga_is_refused(self):
        done = self.start([ROOT / "proto" / "saga" / "v1" / "command.proto"])
        self.assertEqual(done.returncode, 1, done.stderr)
        self.assertIn("0 sagas", done.stderr)


if __name__ == "__main__":
    unittest.main()
