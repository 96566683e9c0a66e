"""Scripts: they parse, they can be executed, shell scripts stop at errors; nothing ends processes by name."""
import ast
import os
import re
import subprocess

from gate import Canary

NEEDS = ["scripts", ".ci", "tests", "packaging"]
BY_NAME = re.compile(r"^\s*[^#]*\b(pkill|killall)\b")


def check_one(tree, path, first):
    violations = []
    at = tree.root / path
    if not os.access(at, os.X_OK):
        violations.append(f"{path}: not executable")
    if "python" in first:
        try:
            ast.parse(tree.text(path), str(path))
        except SyntaxError as error:
            violations.append(f"{path}:{error.lineno}: {error.msg}")
        return violations
    parsed = subprocess.run(["bash", "-n", at], stderr=subprocess.PIPE, text=True, check=False)
    if parsed.returncode != 0:
        violations.append(f"{path}: {parsed.stderr.strip()}")
    if "set -euo pipefail" not in tree.text(path):
        violations.append(f"{path}: no set -euo pipefail")
    for number, line in enumerate(tree.text(path).splitlines(), 1):
        if BY_NAME.match(line):
            violations.append(f"{path}:{number}: ends processes by name")
    return violations


def check(tree):
    violations = []
    for path in tree.files(NEEDS):
        if path.suffix == ".py":
            tree.saw()
            try:
                ast.parse(tree.text(path), str(path))
            except SyntaxError as error:
                violations.append(f"{path}:{error.lineno}: {error.msg}")
            continue
        first = tree.text(path).split("\n", 1)[0] if path.suffix in ("", ".sh") else ""
        if first.startswith("#!"):
            tree.saw()
            violations.extend(check_one(tree, path, first))
    return violations


def plant(text, mode=0o755):
    def plant_file(tree):
        at = tree.root / "scripts" / "canary"
        at.write_text(text, encoding="utf-8")
        at.chmod(mode)
    return plant_file


CANARIES = [
    Canary("a shell script that does not parse", plant("#!/bin/bash\nset -euo pipefail\nif true; then\n"), "syntax error"),
    Canary("a shell script that runs on", plant("#!/bin/bash\necho x\n"), "no set -euo pipefail"),
    Canary("a script that cannot be executed", plant("#!/bin/bash\nset -euo pipefail\n", 0o644), "not executable"),
    Canary("a Python script that does not parse", plant("#!/usr/bin/python3\ndef f(:\n"), "scripts/canary:2"),
    Canary("a script that kills by name", plant("#!/bin/bash\nset -euo pipefail\npk" "ill -f sagad\n"), "by name"),
]
