"""Canaries: every rule has one; code and table name the same ones; nothing of them is in what is shipped."""
import json
import re
import subprocess
import tomllib

from gate import Canary, append

NEEDS = ["common", "orchestrator", "services", "verify", "client", "tests/canaries.toml", "tests/unit", "tests/golden", "tests/sim",
         "tests/model", "tests/integration", "tests/gates", "CMakePresets.json", "docs/semantics.md"]
TABLE = "tests/canaries.toml"
# The macro's own home, and this gate, which must be able to name what it looks for.
HOME = ("common/base/canary.h", "common/base/canary.c")
USED = re.compile(r"\bSAGA_BROKEN(?:_TOO)?\((\w+)\)")
RULE = re.compile(r"^- \*\*([SB]\d+)\*\*", re.M)
LAYERS = ("golden", "unit", "sim", "check", "integration")
# What a canary build leaves in a program: the functions' names, and the variable's (a whole text: other names begin like it).
TRACES = (b"saga_canary", b"SAGA_BREAK\0")


def used_names(tree):
    """{name: [file]} of every switch in the code."""
    used = {}
    for path in tree.files(("common", "orchestrator", "services", "verify", "client"), {".c", ".h"}):
        if str(path) in HOME:
            continue
        for name in USED.findall(tree.text(path)):
            used.setdefault(name, []).append(str(path))
    return used


def check_table(tree, used):
    table = tomllib.loads(tree.text(TABLE))
    canaries, runs, violations = table["canary"], table.get("run", {}), []
    programs = set(re.findall(r"saga_test\(\s*(\w+)", "\n".join(
        tree.text(p) for p in tree.files(("tests",)) if p.name == "CMakeLists.txt")))
    for name in sorted(set(used) - set(canaries)):
        violations.append(f"{used[name][0]}: {name} is not in {TABLE}")
    for name in sorted(set(canaries) - set(used)):
        violations.append(f"{TABLE}: {name} is nowhere in the code")
    for name, canary in canaries.items():
        tree.saw()
        where = canary.get("where", "")
        if name in used and where not in used[name]:
            violations.append(f"{TABLE}: {name} is not in {where} but in {' '.join(sorted(set(used[name])))}")
        if not canary.get("broken") or not canary.get("rule"):
            violations.append(f"{TABLE}: {name} does not say what is broken, or of which rule")
        tests = [t for layer in LAYERS for t in ([canary[layer]] if isinstance(canary.get(layer), str) else canary.get(layer, []))]
        if not tests:
            violations.append(f"{TABLE}: {name}: no test is to catch it")
        for test in tests:
            # A test that a foreach makes has its name put together; then its source has the whole of it.
            made = any(p.stem == test for p in tree.files(("tests",), {".c"}))
            if test not in runs and test not in programs and not made:
                violations.append(f"{TABLE}: {name}: there is no test {test}")
    rules = set(RULE.findall(tree.text("docs/semantics.md")))
    for rule in sorted(rules - {canary.get("rule") for canary in canaries.values()}):
        violations.append(f"{TABLE}: rule {rule} of docs/semantics.md has no canary")
    tree.saw(len(rules))
    return violations


def check_presets(tree):
    """Only the preset `canary` switches canaries on."""
    violations = []
    for preset in json.loads(tree.text("CMakePresets.json"))["configurePresets"]:
        tree.saw()
        value = preset.get("cacheVariables", {}).get("SAGA_CANARY", "OFF")
        if (value != "OFF") != (preset["name"] == "canary"):
            violations.append(f"CMakePresets.json: preset {preset['name']} has SAGA_CANARY={value}")
    return violations


def check_programs(tree):
    """No program of the build, nor the engine's archive, holds a trace."""
    violations = []
    if tree.build is None:
        return ["no build folder: set SAGA_BUILD_DIR"]
    cache = tree.build / "CMakeCache.txt"
    if cache.exists() and re.search(r"^SAGA_CANARY:\w+=(ON|1|TRUE)$", cache.read_text(), re.M):
        return [f"{tree.build}: this is a canary build; nothing of it may be shipped"]
    planted = tree.root / "planted"
    programs = [planted] if planted.exists() else sorted((tree.build / "bin").glob("*"))
    for program in programs + sorted(tree.build.glob("orchestrator/engine/*.a")):
        tree.saw()
        data = program.read_bytes()
        violations += [f"{program.name}: holds {trace.decode()}" for trace in TRACES if trace in data]
    return violations


def check(tree):
    return check_table(tree, used_names(tree)) + check_presets(tree) + check_programs(tree)


def plant_preset(tree):
    at = tree.root / "CMakePresets.json"
    presets = json.loads(at.read_text())
    next(p for p in presets["configurePresets"] if p["name"] == "release")["cacheVariables"]["SAGA_CANARY"] = "ON"
    at.write_text(json.dumps(presets))


def plant_rule_without(tree):
    """Takes all canaries of one rule out of the table."""
    at = tree.root / TABLE
    at.write_text(re.sub(r"\[canary\.B3_\w+\][^\[]*", "", at.read_text()))


def plant_test(tree):
    at = tree.root / TABLE
    at.write_text(at.read_text().replace('"test_golden_engine"', '"test_gone"', 1))


def plant_program(tree):
    """Compiles a program with a canary in it."""
    source = tree.root / "planted.c"
    source.write_text('#include "common/base/canary.h"\nint main(void) { return SAGA_BROKEN(S5_ORDER) ? 1 : 0; }\n')
    subprocess.run(["cc", "-DSAGA_CANARY=1", "-I", tree.root, source, tree.root / "common/base/canary.c",
                    "-o", tree.root / "planted"], check=True)


CANARIES = [
    Canary("a switch that the table lacks", append("orchestrator/engine/planted.c", "int x = SAGA_BROKEN(S5_NEW);\n"),
           "S5_NEW is not in tests/canaries.toml"),
    Canary("a row without a switch", append(TABLE, '\n[canary.S5_GONE]\nrule = "S5"\nbroken = "x"\nwhere = "y"\nunit = "test_engine"\n'),
           "S5_GONE is nowhere in the code"),
    Canary("a rule without a canary", plant_rule_without, "rule B3 of docs/semantics.md has no canary"),
    Canary("a new rule", append("docs/semantics.md", "- **S99** Nothing breaks.\n"), "rule S99"),
    Canary("a test that is not there", plant_test, "there is no test test_gone"),
    Canary("a shipped preset with canaries", plant_preset, "preset release has SAGA_CANARY=ON"),
    Canary("a program with a canary in it", plant_program, "planted: holds saga_canary"),
]
