"""Purity: what the engine's object code asks of the outside, against a list. time, rand, malloc, printf are not on it."""
import re
import subprocess
import tempfile

from gate import Canary

NEEDS = ["common/base", "orchestrator/engine"]
# Bytes and strings, the end of the process, and rooms of ours that are functions of their arguments alone.
ALLOWED = re.compile(r"^_*(mem(cpy|move|set|cmp|chr)|str(len|nlen|cmp|ncmp|chr|rchr)|abort)(_chk)?$"
                     r"|^__stack_chk_(fail|guard)$|^_GLOBAL_OFFSET_TABLE_$"
                     r"|^saga_(assert_fail|prng_\w+|code_\w+|id_\w+|err_\w+|bytes_\w+|op_\w+|status_\w+|class_\w+)$")
SANITIZER = re.compile(r"^__(asan|ubsan|tsan|sanitizer|lsan)_")


def undefined(archive):
    """Undefined symbols of an archive that none of its own objects defines."""
    listing = subprocess.run(["nm", archive], stdout=subprocess.PIPE, text=True, check=True).stdout
    wanted, defined = set(), set()
    for line in listing.splitlines():
        fields = line.split()
        if len(fields) == 2 and fields[0] in "Uwv":
            wanted.add(fields[1])
        elif len(fields) == 3:
            defined.add(fields[2])
    return wanted - defined


def check_archive(tree, archive, allowed=ALLOWED):
    symbols = undefined(archive)
    tree.saw(len(symbols))
    return [f"{archive.name}: calls {symbol}" for symbol in sorted(symbols)
            if not allowed.match(symbol) and not SANITIZER.match(symbol)]


def check(tree):
    if tree.build is None:
        return ["no build folder: set SAGA_BUILD_DIR"]
    planted = list(tree.root.glob("libcanary.a"))
    return check_archive(tree, planted[0] if planted else tree.build / "orchestrator/engine/libsaga_engine.a")


def plant_call(code):
    """Compiles a file that does what the engine must not, and puts it into an archive of its own."""
    def plant(tree):
        with tempfile.NamedTemporaryFile("w", suffix=".c", dir=tree.root) as source:
            source.write(code)
            source.flush()
            subprocess.run(["cc", "-O1", "-c", source.name, "-o", tree.root / "canary.o"], check=True)
        subprocess.run(["ar", "rc", tree.root / "libcanary.a", tree.root / "canary.o"], check=True)
    return plant


CANARIES = [
    Canary("it reads a clock", plant_call("#include <time.h>\nlong f(void) { return (long)time(0); }\n"), "calls time"),
    Canary("it allocates", plant_call("#include <stdlib.h>\nvoid *f(unsigned n) { return malloc(n); }\n"), "calls malloc"),
    Canary("it draws lots", plant_call("#include <stdlib.h>\nint f(void) { return rand(); }\n"), "calls rand"),
    Canary("it writes", plant_call("#include <stdio.h>\nvoid f(int n) { printf(\"%d\", n); }\n"), "calls printf"),
    Canary("it uses errno", plant_call("#include <errno.h>\nint f(void) { return errno; }\n"), "calls __errno_location"),
]
