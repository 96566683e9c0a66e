#!/usr/bin/python3
"""Checks the Promela model exhaustively with spin.

usage: model.py check                   every variant: assertions, end states, S1; states printed; nothing unreached
       model.py canary                  each broken rule must be found
       model.py agree ENGINE            the outcomes of the model are those of the engine (ENGINE: program, see outcomes.c)
       model.py agree ENGINE --canary   an outcome too many and one too few must be noticed

A search that spin cut short (depth, memory) is a failure. Needs spin and gcc; works in a temporary directory.
"""
import collections
import os
import re
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
MODEL = os.path.join(HERE, "saga.pml")
VARIANTS = {
    "SEQ": "a, then b",
    "PAR": "a and b at once",
    "PIVOT": "a, then b, the pivot",
    "TAIL": "a, the pivot, then b",
}
MEMORY_MB = 1500
DEPTH = 100000

# Statements, as pan prints them, that may stay unreached in every variant. None at present.
UNREACHED = set()

# rule, what is broken, the variant and the kind of run that finds it, what spin says then
Canary = collections.namedtuple("Canary", "rule define variant run says")
CANARIES = [
    Canary("S1 an undo is given up", "S1", "SEQ", "live", "acceptance cycle"),
    Canary("S2 an unanswered pivot is guessed", "S2_GUESS", "PIVOT", "safe", "assertion violated .*effects.1.==0|undos"),
    Canary("S2 the deadline turns back what has left", "S2_DEADLINE", "PIVOT", "safe", "assertion violated"),
    Canary("S4 what is out is not undone", "S4_OUT", "SEQ", "safe", "assertion violated"),
    Canary("S5 undo in the wrong order", "S5_ORDER", "SEQ", "safe", "assertion violated .*effects.1.==undos.1."),
    Canary("S5 an unknown outcome is not undone", "S5_UNKNOWN", "SEQ", "safe", "assertion violated"),
    Canary("S6 sent before it is durable", "S6_ORDER", "SEQ", "safe", "assertion violated .*d_started"),
    Canary("S6 a new process does not send again", "S6_RECOVERY", "SEQ", "safe", "assertion violated"),
    Canary("S11 a cancel kills without undo", "S11", "SEQ", "safe", "assertion violated"),
    Canary("S3, B1 a doubled call runs twice", "B1", "SEQ", "safe", "assertion violated .*effects.[01]. *<=1"),
    Canary("B2 an undo without its call leaves no row", "B2", "SEQ", "safe", "assertion violated"),
    Canary("S4, B3 a call after its undo runs", "B3", "SEQ", "safe", "assertion violated .*row_undo"),
    Canary("S3, B4 a doubled undo runs twice", "B4", "SEQ", "safe", "assertion violated .*undos.[01]. *<=1"),
    Canary("B6 a definitive no is not stored", "B6_NO", "SEQ", "safe", "assertion violated"),
    Canary("B6 a retryable one is stored", "B6_LATER", "PIVOT", "live", "acceptance cycle"),
]


def run(command, folder):
    done = subprocess.run(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False)
    return done.returncode, done.stdout


def make(folder, variant, defines, live=False, outcomes=False):
    """Generates and compiles a checker of the model. Where statements are counted as reached or not (not live) they are not
    merged."""
    options = ["-D" + variant] + ["-D" + define for define in defines] + (["-DOUTCOMES"] if outcomes else [])
    status, said = run(["spin", *options, *([] if live else ["-o3"]), "-a", MODEL], folder)
    if status != 0 or re.search(r"^spin: .*[Ee]rror", said, re.M):
        sys.exit(f"model.py: spin does not take the model ({' '.join(options)}):\n{said}")
    flags = ["-DNOREDUCE", f"-DMEMLIM={140 if 'SMALL' in defines else MEMORY_MB}"]
    # Compiling well takes longer than searching, but for the largest.
    flags += [] if live else ["-DSAFETY", "-DNOCLAIM"]
    flags += ["-DPRINTF"] if outcomes else []
    status, said = run(["gcc", "-O2" if variant == "PAR" else "-O0", "-w", *flags, "-o", "pan", "pan.c"], folder)
    if status != 0:
        sys.exit(f"model.py: the checker does not compile:\n{said}")


def search(folder, variant, defines=(), live=False, outcomes=False, depth=DEPTH):
    """Runs the whole search. Returns what pan says."""
    make(folder, variant, defines, live, outcomes)
    return run(["./pan", f"-m{depth}"] + (["-a"] if live else []), folder)[1]


def complaint(said):
    """What is wrong with a search, or None."""
    found = re.search(r"^pan:\d+: (.*)", said, re.M)
    if found:
        return found.group(1)
    if re.search(r"max search depth too small|out of memory|reached -DMEMLIM|Search not completed|search was truncated", said):
        return "the search was cut short"
    errors = re.search(r"errors: (\d+)", said)
    if errors is None or errors.group(1) != "0":
        return "the search did not end:\n" + said[-2000:]
    return None


def statements(folder, said):
    """Statements of the model as (line, text) -> whether one of its copies was reached. Inline code has many copies, some of
    which cannot be reached in some variants: a statement counts as reached if one copy of it is."""
    unreached, process = set(), None
    for line in said.splitlines():
        head = re.match(r"unreached in (?:proctype|claim) (\w+)", line)
        if head:
            process = head.group(1)
            continue
        item = re.match(r"\t.*?(?::(\d+))?, state (\d+), \"", line)
        if item and process:
            unreached.add((process, int(item.group(2))))
    reached, process = {}, None
    for line in run(["./pan", "-d"], folder)[1].splitlines():
        head = re.match(r"(proctype|claim) (\w+)", line)
        if head:
            process = head.group(2) if head.group(1) == "proctype" else None
            continue
        item = re.match(r"\s*state\s+(\d+) -\(.*\[id .*\] (\S+):(\d+) => (.*)", line)
        if item and process and item.group(2).endswith("saga.pml"):
            text = re.sub(r"\[[01]\]", "[s]", item.group(4)).strip()
            key = (int(item.group(3)), text)
            reached[key] = reached.get(key, False) or (process, int(item.group(1))) not in unreached
    return reached


def check():
    wrong, reached = [], {}
    with tempfile.TemporaryDirectory(prefix="saga-model-") as folder:
        for variant, words in VARIANTS.items():
            for attempts in (1, 2):
                for live in (False, True)[:attempts]:
                    begin = time.monotonic()
                    said = search(folder, variant, [f"ATTEMPTS={attempts}"], live)
                    states = re.search(r"(\d+) states, stored", said)
                    depth = re.search(r"depth reached (\d+)", said)
                    bad = complaint(said)
                    print(f"{variant:5} ({words}), attempts {attempts}, {'S1' if live else 'safety':6}: "
                          f"{states.group(1) if states else '?':>8} states, depth {depth.group(1) if depth else '?':>3}, "
                          f"{time.monotonic() - begin:.1f} s, {bad or 'holds'}", flush=True)
                    if bad:
                        wrong.append(f"{variant}: {bad}")
                    if not live:
                        for key, is_reached in statements(folder, said).items():
                            reached[key] = reached.get(key, False) or is_reached
    if len(reached) < 100:
        wrong.append("the statements of the model were not found in what pan says")
    for (line, text), is_reached in sorted(reached.items()):
        if not is_reached and text not in UNREACHED:
            wrong.append(f"saga.pml:{line}: never reached in any variant: {text}")
    print(f"{sum(reached.values())} of {len(reached)} statements reached")
    return wrong


def canaries():
    wrong = []
    with tempfile.TemporaryDirectory(prefix="saga-model-") as folder:
        for canary in CANARIES:
            # One attempt: what is given up is given up soon.
            said = search(folder, canary.variant, ["ATTEMPTS=1", "BREAK_" + canary.define], canary.run == "live")
            bad = complaint(said)
            hit = bad is not None and re.search(canary.says, bad) is not None
            print(f"{canary.rule:45} {canary.variant:5} {'found: ' + bad if hit else 'NOT FOUND: ' + str(bad)}", flush=True)
            if not hit:
                wrong.append(f"{canary.rule}: not found as \"{canary.says}\"")
        # What was not searched is not proved.
        for what, said in (("depth", search(folder, "SEQ", depth=60)), ("memory", search(folder, "SEQ", ["SMALL"]))):
            bad = complaint(said)
            print(f"{'a search that is cut short: ' + what:45} SEQ   {'found' if bad else 'NOT FOUND'}: {bad}", flush=True)
            if bad != "the search was cut short":
                wrong.append(f"a search cut short by its {what} is not noticed")
        # Where nothing can be undone, the code that undoes is not reached.
        dead = [key for key, is_reached in statements(folder, search(folder, "TAIL")).items() if not is_reached]
        print(f"{'statements that are not reached':45} TAIL  {len(dead)} found", flush=True)
        if not any("row_undo" in text for _, text in dead):
            wrong.append("statements that are not reached are not noticed")
    return wrong


def model_outcomes(folder, variant, attempts):
    said = search(folder, variant, [f"ATTEMPTS={attempts}"], outcomes=True)
    bad = complaint(said)
    if bad:
        sys.exit(f"model.py: {variant}: {bad}")
    words = {"00": "none", "10": "done", "11": "undone"}
    lines = re.findall(r"OUTCOME (\w+) (\d\d) (\d\d)", said)
    return {f"{state} a={words[a]} b={words[b]}" for state, a, b in lines}


def agree(engine, canary):
    wrong = []
    with tempfile.TemporaryDirectory(prefix="saga-model-") as folder:
        variants = ["SEQ", "PIVOT"] if canary else list(VARIANTS)
        for variant in variants:
            for attempts in (1, 2):
                mine = model_outcomes(folder, variant, attempts)
                # A saga stays PARKED in the model where nobody decides; to the engine that is no end.
                parked = {line for line in mine if line.startswith("PARKED ")}
                mine -= parked
                status, said = run([engine, variant, str(attempts)], folder)
                if status != 0:
                    sys.exit(f"model.py: {engine}: {said}")
                theirs = set(said.splitlines())
                if canary and attempts == 1:
                    theirs.add("COMPENSATED a=done b=none")
                elif canary:
                    theirs.remove(min(theirs))
                if not mine or not theirs:
                    wrong.append(f"{variant}: no outcomes")
                for line in sorted(mine - theirs):
                    wrong.append(f"{variant}, attempts {attempts}: only the model reaches {line}")
                for line in sorted(theirs - mine):
                    wrong.append(f"{variant}, attempts {attempts}: only the engine reaches {line}")
                print(f"{variant:5} attempts {attempts}: {len(mine)} outcomes: {'; '.join(sorted(mine))}"
                      + (f" (and {'; '.join(sorted(parked))})" if parked else ""), flush=True)
    if canary:
        for line in wrong:
            print(f"found: {line}")
        expected = 2 * len(variants)
        return [] if len(wrong) == expected else [f"{expected} differences were made, {len(wrong)} found"]
    return wrong


def main():
    arguments = sys.argv[1:]
    if arguments == ["check"]:
        wrong = check()
    elif arguments == ["canary"]:
        wrong = canaries()
    elif len(arguments) in (2, 3) and arguments[0] == "agree" and arguments[2:] in ([], ["--canary"]):
        wrong = agree(os.path.abspath(arguments[1]), len(arguments) == 3)
    else:
        print(__doc__.strip())
        return 0 if arguments in (["-h"], ["--help"]) else 2
    for line in wrong:
        print(f"model.py: {line}", file=sys.stderr)
    return 1 if wrong else 0


sys.exit(main())
