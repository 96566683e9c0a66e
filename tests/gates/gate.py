#!/usr/bin/python3
"""Gates: rules about the source tree that no compiler checks, each with canaries.

usage: gate.py NAME [--canary] [--root DIR] [--build DIR]

A gate is a module of this folder with
    check(tree)   a list of violations, one line each; it counts what it looked at by tree.saw(), because a gate that
                  looks at nothing must fail too
    CANARIES      a list of Canary: a deliberate violation, planted in a copy of the tree, that check must catch
    NEEDS         folders and files that the copy must hold
"""
import argparse, dataclasses, importlib, os, pathlib, shutil, sys, tempfile
from collections.abc import Callable

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
C_FOLDERS = ("common", "orchestrator", "services", "verify", "client", "tests", "bench", "examples")
NOT_OURS = {"generated", "build", ".git", "__pycache__"}


class Tree:
    """The source tree that a gate looks at, and the build folder beside it."""

    def __init__(self, root, build):
        self.root = pathlib.Path(root).resolve()
        self.build = pathlib.Path(build).resolve() if build else None
        self.count = 0

    def saw(self, count=1):
        self.count += count

    def files(self, folders, suffixes=None):
        """Files under the folders, sorted, as paths relative to the root; nothing generated."""
        found = []
        for folder in folders:
            at = self.root / folder
            if at.is_file():
                found.append(pathlib.PurePath(folder))
            for base, folders_here, names in os.walk(at):
                folders_here[:] = [f for f in folders_here if f not in NOT_OURS]
                for name in names:
                    if suffixes is None or pathlib.PurePath(name).suffix in suffixes:
                        found.append((pathlib.Path(base) / name).relative_to(self.root))
        return sorted(found)

    def c_files(self):
        return self.files(C_FOLDERS, {".c", ".h"})

    def text(self, path):
        return (self.root / path).read_text(encoding="utf-8", errors="replace")


@dataclasses.dataclass
class Canary:
    name: str                         # what is planted
    plant: Callable[[Tree], None]     # changes the copy
    caught: str                       # must be in a violation that was not there before


def append(path, text):
    """A plant that appends text to a file of the copy, which it makes if it is not there."""
    def plant(tree):
        at = tree.root / path
        at.parent.mkdir(parents=True, exist_ok=True)
        with open(at, "a", encoding="utf-8") as file:
            file.write(text)
    return plant


def run(gate, tree):
    violations = gate.check(tree)
    if tree.count == 0:
        violations.append("this gate looked at nothing")
    return violations


def copy_tree(gate, tree, where):
    for name in gate.NEEDS:
        source, target = tree.root / name, where / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("build", "__pycache__"),
                            ignore_dangling_symlinks=True)
        elif source.exists():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, target)


def run_canaries(gate, tree):
    failures = []
    before = None
    for canary in gate.CANARIES:
        with tempfile.TemporaryDirectory(prefix="saga-canary-") as where:
            where = pathlib.Path(where)
            copy_tree(gate, tree, where)
            if before is None:
                before = set(run(gate, Tree(where, tree.build)))
            copy = Tree(where, tree.build)
            canary.plant(copy)
            new = [v for v in run(gate, copy) if v not in before]
            if not any(canary.caught in v for v in new):
                failures.append(f"canary not caught: {canary.name} (wanted \"{canary.caught}\", got {new})")
    if not gate.CANARIES:
        failures.append("this gate has no canary")
    return failures


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("gate")
    parser.add_argument("--canary", action="store_true")
    parser.add_argument("--root", default=ROOT)
    parser.add_argument("--build", default=os.environ.get("SAGA_BUILD_DIR"))
    options = parser.parse_args()
    gate = importlib.import_module(options.gate)
    tree = Tree(options.root, options.build)
    failures = run_canaries(gate, tree) if options.canary else run(gate, tree)
    for failure in failures:
        print(failure)
    what = f"{len(gate.CANARIES)} canaries" if options.canary else f"{tree.count} looked at"
    print(f"gate {options.gate}: {what}, {len(failures)} {'failures' if options.canary else 'violations'}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
    sys.exit(main())
