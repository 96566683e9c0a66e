"""Sizes: a function has up to 70 lines and 6 parameters, a file up to 800 lines. A callback whose parameters another library
dictates says so on the line before: NOLINTNEXTLINE(readability-function-size): whose."""
import json
import subprocess

from gate import C_FOLDERS, Canary, append

NEEDS = ["common", "orchestrator", "services", "verify", "client", "tests", "bench", "examples"]
FUNCTION_LINES_MAX, PARAMETERS_MAX, FILE_LINES_MAX = 70, 6, 800


def parameters(signature):
    depth = commas = 0
    inner = signature.strip()[1:-1].strip()
    for c in inner:
        depth += (c in "([{") - (c in ")]}")
        commas += c == "," and depth == 0
    return 0 if inner in ("", "void") else commas + 1


def foreign(tree, path, line):
    """Whether the lines just before a function's name excuse its parameters."""
    return any("NOLINTNEXTLINE(readability-function-size):" in text
               for text in tree.text(path).splitlines()[max(0, line - 3):line - 1])


def check(tree):
    violations = []
    paths = [str(p) for p in tree.c_files()]
    for path in paths:
        lines = tree.text(path).count("\n")
        if lines > FILE_LINES_MAX:
            violations.append(f"{path}: {lines} lines, more than {FILE_LINES_MAX}")
    if not paths:
        return violations
    tags = subprocess.run(["ctags", "--output-format=json", "--languages=C", "--langmap=C:.c.h", "--kinds-C=f", "--fields=+neS",
                           "-f", "-", "-L", "-"], input="\n".join(paths), cwd=tree.root, stdout=subprocess.PIPE,
                          text=True, check=True).stdout
    for line in tags.splitlines():
        tag = json.loads(line)
        if tag.get("_type") != "tag" or "end" not in tag:
            continue
        tree.saw()
        size = tag["end"] - tag["line"] + 1
        if size > FUNCTION_LINES_MAX:
            violations.append(f"{tag['path']}:{tag['line']}: {tag['name']} has {size} lines, more than {FUNCTION_LINES_MAX}")
        count = parameters(tag.get("signature", "()"))
        if count > PARAMETERS_MAX and not foreign(tree, tag["path"], tag["line"]):
            violations.append(f"{tag['path']}:{tag['line']}: {tag['name']} has {count} parameters, more than {PARAMETERS_MAX}")
    if set(C_FOLDERS) - set(NEEDS):
        violations.append("canaries do not see every folder")
    return violations


CANARIES = [
    Canary("a function of 71 lines", append("common/base/canary.c", "int canary(int x)\n{\n" + "    x++;\n" * 67 + "    return x;\n}\n"),
           "canary has 71 lines"),
    Canary("seven parameters", append("client/canary.c", "int canary(int a, int b, int c, int (*d)(int, int), int e, int f, int g)\n{\n    return 0;\n}\n"),
           "canary has 7 parameters"),
    Canary("a file of 801 lines", append("services/canary.c", "int x;\n" * 801), "801 lines"),
]
