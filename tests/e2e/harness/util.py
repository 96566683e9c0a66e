"""Waiting on conditions, and where things are."""
import os
import pathlib
import time

ROOT = pathlib.Path(__file__).resolve().parents[3]


def bin_dir():
    """The folder of the daemons under test."""
    if os.environ.get("SAGA_BIN"):
        return pathlib.Path(os.environ["SAGA_BIN"]).resolve()
    return pathlib.Path(os.environ.get("SAGA_BUILD_DIR", ROOT / "build" / "dev")).resolve() / "bin"


class Timeout(AssertionError):
    """A condition did not come true in time."""


def until(condition, seconds, what):
    """Waits until condition() gives something true and gives that. what: text, or a function that makes it."""
    end = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > end:
            raise Timeout(f"after {seconds} s: {what() if callable(what) else what}")
        time.sleep(0.03)
