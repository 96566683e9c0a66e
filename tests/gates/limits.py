#!/usr/bin/python3
"""Limits: docs/limits.md states every constant of common/base/limits.h with its value. Run this file to rewrite it."""
import pathlib
import re
import sys

from gate import ROOT, Canary, Tree, append

NEEDS = ["common/base/limits.h", "docs/limits.md"]
HEADER, DOC = "common/base/limits.h", "docs/limits.md"
CONSTANT = re.compile(r"^\s*(SAGA_[A-Z0-9_]+)\s*=\s*([^,/]+?)\s*,?\s*(?:/\*\s*(.*?)\s*\*/)?\s*$")
GROUP = re.compile(r"^\s*/\*\s*(.*?)\.?\s*\*/\s*$")


def read_header(text):
    """[(group, [(name, value, meaning)])] in the header's order; a comment alone on its lines starts a group."""
    groups, values, inside = [("", [])], {}, False
    # A comment that follows its constant on later lines belongs to it.
    text = re.sub(r"\s*\n\s*\*?\s*(?!\*/)(?=[^\n]*\*/)", lambda m: " " if is_open(text, m.start()) else m.group(), text)
    text = re.sub(r"=\s*\n\s*", "= ", text)
    for line in text.splitlines():
        inside = (inside or line.startswith("enum {")) and not line.startswith("};")
        constant = CONSTANT.match(line)
        if inside and constant:
            name, expression, meaning = constant.groups()
            values[name] = int(eval(re.sub(r"\b(\d+)[uUlL]*\b", r"\1", expression), {"__builtins__": {}}, dict(values)))
            groups[-1][1].append((name, values[name], meaning or ""))
        elif inside and GROUP.match(line):
            groups.append((GROUP.match(line).group(1), []))
    return [group for group in groups if group[1]]


def is_open(text, at):
    return text.rfind("/*", 0, at) > text.rfind("*/", 0, at)


def human(name, value):
    if ("SIZE" in name or name.endswith("HARD")) and value >= 1024 and value % 1024 == 0:
        return f"{value} ({value // 1024} KiB)" if value % (1024 * 1024) else f"{value} ({value // (1024 * 1024)} MiB)"
    if "_MS" in name and value >= 1000:
        unit, size = next((u, s) for u, s in (("d", 86400000), ("h", 3600000), ("min", 60000), ("s", 1000))
                          if value >= s and value % s == 0 or s == 1000)
        return f"{value} ({value / size:g} {unit})"
    return str(value)


def table(text):
    lines = []
    for title, rows in read_header(text):
        lines += [f"## {title}", "", "| limit | value | what it bounds |", "|---|---|---|"]
        lines += [f"| `{name}` | {human(name, value)} | {meaning} |" for name, value, meaning in rows]
        lines.append("")
    return "\n".join(lines)


def check(tree):
    header, doc = tree.text(HEADER), tree.text(DOC)
    constants = {(n, v, m) for _, rows in read_header(header) for n, v, m in rows}
    named = set(re.findall(r"^\s*(SAGA_[A-Z0-9_]+)\s*=", header, re.M))
    tree.saw(len(constants))
    violations = [f"{HEADER}: {name} was not understood" for name in sorted(named - {n for n, _, _ in constants})]
    for name, value, meaning in sorted(constants):
        if f"| `{name}` | {human(name, value)} |" not in doc:
            violations.append(f"{DOC}: {name} = {value} is not stated; run tests/gates/limits.py")
        if not meaning:
            violations.append(f"{HEADER}: {name} has no comment")
    for name in sorted(set(re.findall(r"`(SAGA_[A-Z0-9_]+)` \|", doc)) - named):
        violations.append(f"{DOC}: {name} is no limit any more; run tests/gates/limits.py")
    return violations


def plant_constant(tree):
    at = tree.root / HEADER
    at.write_text(at.read_text().replace("enum {\n", "enum {\n    SAGA_CANARY_MAX = 7, /* canaries */\n", 1))


def plant_value(tree):
    at = tree.root / HEADER
    at.write_text(re.sub(r"(SAGA_STEPS_MAX = )\d+", r"\g<1>33", at.read_text()))


CANARIES = [
    Canary("a constant that the page lacks", plant_constant, "SAGA_CANARY_MAX = 7 is not stated"),
    Canary("another value", plant_value, "SAGA_STEPS_MAX = 33 is not stated"),
    Canary("a line too many", append(DOC, "| `SAGA_GONE_MAX` | 1 | nothing |\n"), "SAGA_GONE_MAX is no limit any more"),
]

if __name__ == "__main__":
    root = Tree(pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else ROOT, None)
    page = root.text(DOC)
    (root.root / DOC).write_text(page[:page.index("\n## ") + 1] + table(root.text(HEADER)), encoding="utf-8")
