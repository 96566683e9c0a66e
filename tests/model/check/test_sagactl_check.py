"""sagactl check as a person uses it: what it prints, its exit status, a definition from a file."""
import json
import os
import pathlib
import signal
import subprocess
import tempfile
import unittest

BUILD = pathlib.Path(os.environ["SAGA_BUILD_DIR"])
SOURCE = pathlib.Path(__file__).resolve().parents[3]
SAGACTL = BUILD / "bin" / "sagactl"

TRIP = """
syntax = "proto3";
package trip.v1;
import "saga/v1/options.proto";

message Trip {
  option (saga.v1.definition) = {
    name: "trip"
    step { name: "flight" call: "trip.v1.TripService/Book" undo: "trip.v1.TripService/Cancel" via: VIA_KAFKA }
    step { name: "hotel" call: "trip.v1.TripService/Book" undo: "trip.v1.TripService/Cancel" via: VIA_KAFKA }
    step { name: "pay" call: "trip.v1.TripService/Pay" pivot: true after: "flight" after: "hotel" }
  };
  // What is booked; input.
  string trip_id = 1;
}

message BookRequest { string trip_id = 1; }
message BookResponse {}
message CancelRequest { string trip_id = 1; }
message CancelResponse {}
message PayRequest { string trip_id = 1; }
message PayResponse {}

service TripService {
  option (saga.v1.topics) = { command: "trip-commands" reply: "trip-replies" };
  rpc Book(BookRequest) returns (BookResponse);
  rpc Cancel(CancelRequest) returns (CancelResponse);
  rpc Pay(PayRequest) returns (PayResponse);
}
"""


class Check(unittest.TestCase):
    def run_check(self, status, *arguments):
        done = subprocess.run([SAGACTL, "check", *arguments], capture_output=True, text=True, timeout=540)
        self.assertEqual(status, done.returncode, done.stdout + done.stderr)
        return done.stdout, done.stderr

    def test_shipped_saga_is_proved_and_told(self):
        out, _ = self.run_check(0, "--saga", "create-order", "--attempts", "1", "-j", "2", "--outcomes")
        self.assertIn("\nproved: ", out)
        self.assertIn("\nstates ", out)
        self.assertIn("\nCOMPLETED order=done customer=none stock=done ticket=done payment=done accept=done confirm=done\n",
                      out)

    def test_json_is_the_same_for_any_number_of_threads(self):
        told = []
        for threads in ("1", "3"):
            out, _ = self.run_check(0, "--saga", "create-order-async", "--attempts", "1", f"-j{threads}", "-o", "json",
                                    "--outcomes", "--without", "operator,pause")
            told.append({name: value for name, value in json.loads(out).items()
                         if name not in ("wall_s", "cpu_s", "memory_bytes")})
        self.assertEqual(told[0], told[1])
        self.assertEqual("proved in part", told[0]["verdict"])
        self.assertEqual(["operator", "pause"], told[0]["without"])
        self.assertEqual(["S12"], told[0]["rules_not_judged"])
        self.assertNotIn("S12", told[0]["rules"])
        self.assertEqual(told[0]["outcome_count"], len(told[0]["outcomes"]))

    def test_memory_that_is_too_small_proves_nothing(self):
        out, _ = self.run_check(1, "--saga", "create-order", "--attempts", "14", "--memory", "16")
        self.assertIn("not proved: ", out)
        for lever in ("--memory", "--attempts 1", "--without"):
            self.assertIn(lever, out)
        self.assertLessEqual(float(out.split("\nmemory ")[1].split()[0]), 16)

    def test_what_is_left_out_is_named_and_not_claimed(self):
        out, _ = self.run_check(0, "--saga", "create-order", "--attempts", "1", "--without", "cancel,operator,start")
        self.assertIn("\nproved without operator, cancel, start: S1, S2, S3, S4, S5, S6 hold", out)
        self.assertIn("not judged: S10, S11, S12\n", out)

    def test_signal_shows_what_there_is_so_far(self):
        with subprocess.Popen([SAGACTL, "check", "--saga", "create-order", "--attempts", "14"],
                              stdout=subprocess.PIPE, text=True) as process:
            while "SigCgt" not in (status := pathlib.Path(f"/proc/{process.pid}/status").read_text()) or \
                    not int(status.split("SigCgt:")[1].split()[0], 16) >> 14 & 1:
                self.assertIsNone(process.poll())
            process.send_signal(signal.SIGTERM)
            out, _ = process.communicate(timeout=60)
        self.assertEqual(130, process.returncode, out)
        self.assertIn("\nstopped: ", out)

    def test_file_that_is_no_good_says_why(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            _, err = self.run_check(1, str(path / "trip.proto"))
            self.assertIn("trip.proto: No such file", err)
            for name, text in (("bad", TRIP.replace('after: "flight"', 'after: "luck"')), ("none", 'syntax = "proto3";')):
                (path / f"{name}.proto").write_text(text)
                subprocess.run(["protoc", "--include_imports", "--include_source_info", f"-I{SOURCE / 'proto'}",
                                f"-I{path}", f"--descriptor_set_out={path / name}.binpb", f"{name}.proto"], check=True)
            out, err = self.run_check(1, str(path / "bad.binpb"), "-o", "json")
            self.assertRegex(err, r"bad\.proto:\d+:\d+: SAGA\d+: ")
            told = json.loads(out)
            self.assertEqual("refused", told["verdict"])
            self.assertGreater(told["findings"][0]["line"], 0)
            _, err = self.run_check(1, str(path / "bad.proto"))
            line = TRIP.split('after: "flight"')[0].count("\n") + 1
            self.assertIn(f"{path}/bad.proto:{line}:", err)
            _, err = self.run_check(1, str(path / "none.binpb"))
            self.assertIn("declares no saga", err)

    def test_wrong_usage_is_told(self):
        for arguments, text in (((), "create-order"), (("--saga", "nothing"), "create-order"),
                                (("--saga", "create-order", "--attempts", "15"), "attempts"),
                                (("--saga", "create-order", "--without", "luck"), "luck: there is no such part; it must be of operator, cancel, "),
                                (("a", "b"), "too many")):
            _, err = self.run_check(2, *arguments)
            self.assertIn(text, err)

    def test_definition_of_ones_own(self):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder)
            (path / "trip").mkdir()
            (path / "trip" / "trip.proto").write_text(TRIP)
            subprocess.run(["protoc", "--include_imports", "--include_source_info", f"-I{SOURCE / 'proto'}",
                            f"-I{path}", f"--descriptor_set_out={path / 'trip.binpb'}", "trip/trip.proto"], check=True)
            out, _ = self.run_check(0, str(path / "trip.binpb"), "--attempts", "1", "--outcomes", "--without", "operator")
            self.assertIn("like parallel steps counted once", out)
            outcomes = [line for line in out.splitlines() if line.startswith("COMP")]
            self.assertEqual(["COMPLETED flight=done hotel=done pay=done",
                              "COMPENSATED flight=none hotel=none pay=none",
                              "COMPENSATED flight=undone hotel=none pay=none",
                              "COMPENSATED flight=none hotel=undone pay=none",
                              "COMPENSATED flight=undone hotel=undone pay=none"], outcomes)
            self.run_check(1, str(path / "nothing.binpb"), "--saga", "trip")


if __name__ == "__main__":
    unittest.main()
