"""Words: nothing is left to be done later, no tabs, no blanks at line ends, a last newline, no file of another kind."""
import re

from gate import Canary, append

NEEDS = ["CMakeLists.txt", "cmake", "common", "orchestrator", "services", "verify", "client", "tests", "bench", "examples", "scripts", "proto", "docs",
         "packaging", ".ci", "README.md", "compose.yaml", "CMakePresets.json"]
TEXT = {".c", ".h", ".txt", ".cmake", ".md", ".proto", ".py", ".json", ".yaml", ".yml", ".sql", ".service", ".xml",
        ".properties", ".ini", ".conf", ".sh", ".golden", ".txn", ".html", ".js", ".css", ""}
# Spelt so that this file does not hold the words.
LATER = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
# Golden files may hold what a program prints, spaces and all.
RAW = {".golden", ".md"}


def check(tree):
    violations = []
    for path in tree.files(NEEDS):
        if path.suffix not in TEXT:
            continue
        data = (tree.root / path).read_bytes()
        if b"\0" in data:
            continue
        tree.saw()
        text = data.decode("utf-8", "replace")
        if text and not text.endswith("\n"):
            violations.append(f"{path}: no newline at its end")
        for number, line in enumerate(text.split("\n"), 1):
            if LATER.search(line):
                violations.append(f"{path}:{number}: {LATER.search(line).group()}: do it or leave it out")
            if "\t" in line and path.suffix not in RAW:
                violations.append(f"{path}:{number}: a tab")
            if line != line.rstrip() and path.suffix not in RAW:
                violations.append(f"{path}:{number}: blanks at the line's end")
    return violations


CANARIES = [
    Canary("a thing left for later", append("common/base/canary.c", "/* TO" "DO: think */\n"), "do it or leave it out"),
    Canary("a tab", append("services/canary.c", "\tint x;\n"), "a tab"),
    Canary("a blank at a line's end", append("scripts/canary", "echo \n"), "blanks at the line's end"),
    Canary("no newline", append("proto/canary.proto", "message X {}"), "no newline"),
]
