"""Form: clang-format agrees with every C file."""
import re
import shutil
import subprocess

from gate import Canary, append

NEEDS = [".clang-format", "common", "orchestrator", "services", "verify", "client", "tests", "bench", "examples"]


def check(tree):
    tool = shutil.which("clang-format-14")
    if tool is None:
        return ["clang-format-14 is missing"]
    paths = [str(p) for p in tree.c_files()]
    tree.saw(len(paths))
    if not paths:
        return []
    said = subprocess.run([tool, "--dry-run", "-Werror", *paths], cwd=tree.root, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    found = re.findall(r"^(\S+?:\d+):\d+: error: (.*)$", said.stdout, re.M)
    violations = sorted({f"{place}: {what}" for place, what in found})
    if said.returncode != 0 and not violations:
        violations.append(said.stdout.strip() or "clang-format failed")
    return violations


CANARIES = [
    Canary("two spaces", append("common/base/planted.c", "int canary(void)\n{\n  return 0;\n}\n"), "common/base/planted.c:2"),
    Canary("a line of 101 columns", append("client/canary.c", "int canary = 1 + " + "1 + " * 25 + "1;\n"), "client/canary.c:1"),
]
