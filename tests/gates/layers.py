"""Layers by include: a file includes only from the rooms that its room may know; third-party headers appear only where
their room is; a header named internal stays in its folder; every include is written from the root of the tree."""
import re

import rooms
from gate import Canary, append

NEEDS = ["common", "orchestrator", "services", "verify", "client", "generated"]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.M)


def third_of(header):
    for prefix, name in rooms.THIRD_HEADERS.items():
        if header == prefix or (prefix.endswith("/") and header.startswith(prefix)):
            return name
    return None


def is_c_header(tree, header):
    """ISO C, POSIX or Linux: what libc6-dev installs. Anything else must be named in the table of third parties."""
    known = (rooms.PURE_C | {"fcntl.h", "unistd.h", "signal.h", "time.h", "pthread.h", "poll.h", "dirent.h", "ftw.h",
                             "malloc.h", "getopt.h", "netdb.h", "spawn.h", "stdatomic.h", "locale.h", "math.h", "termios.h", "grp.h",
                             "pwd.h", "setjmp.h", "stdnoreturn.h", "threads.h", "strings.h", "semaphore.h", "float.h",
                             "syslog.h", "sched.h", "dlfcn.h", "glob.h", "fnmatch.h", "libgen.h", "regex.h", "iso646.h"})
    return header in known or header.startswith(("sys/", "netinet/", "arpa/", "net/", "linux/"))


def check_quoted(tree, path, room, header):
    if (tree.root / header).is_file():
        target = rooms.room_of(header)
    elif (tree.root / "generated" / header).is_file():
        target = rooms.GENERATED
    else:
        return f"{path}: \"{header}\" is not in the tree (write includes from its root)"
    if "internal" in header.rsplit("/", 1)[-1] and target != room:
        return f"{path}: \"{header}\" is internal to {target}"
    if target != room and target not in rooms.ROOMS[room].rooms:
        return f"{path}: {room} must not include from {target} (\"{header}\")"
    return None


def check_system(tree, path, room, header):
    rule = rooms.ROOMS[room]
    third = third_of(header)
    if third is not None:
        if third not in rule.third:
            return f"{path}: {room} must not include <{header}> ({third})"
    elif rule.c_headers is not None:
        if header not in rule.c_headers:
            return f"{path}: {room} is pure and must not include <{header}>"
    elif not is_c_header(tree, header):
        return f"{path}: <{header}> is of no library that tests/gates/rooms.py names"
    return None


def check(tree):
    violations = []
    for path in tree.files(("common", "orchestrator", "services", "verify", "client"), {".c", ".h"}):
        tree.saw()
        room = rooms.room_of(path)
        if room is None:
            violations.append(f"{path}: in no room of tests/gates/rooms.py")
            continue
        for kind, header in INCLUDE.findall(tree.text(path)):
            found = (check_quoted if kind == '"' else check_system)(tree, str(path), room, header)
            if found:
                violations.append(found)
    return violations


CANARIES = [
    Canary("engine includes the wire", append("orchestrator/engine/canary.c", '#include "common/wire/envelope.h"\n'),
           "orchestrator/engine must not include from common/wire"),
    Canary("engine includes <time.h>", append("orchestrator/engine/canary.h", "#include <time.h>\n"),
           "is pure and must not include <time.h>"),
    Canary("base includes POSIX", append("common/base/canary.c", "#include <unistd.h>\n"), "is pure"),
    Canary("runtime includes SQLite", append("orchestrator/runtime/canary.c", "#  include <sqlite3.h>\n"),
           "must not include <sqlite3.h>"),
    Canary("runtime includes a bus", append("orchestrator/runtime/canary.c", '#include "common/bus/nng/rpc.h"\n'),
           "orchestrator/runtime must not include from common/bus/nng"),
    Canary("a service includes the orchestrator",
           append("services/customer/canary.c", '#include "orchestrator/engine/engine.h"\n'),
           "services/customer must not include from orchestrator/engine"),
    Canary("the orchestrator includes a service", append("orchestrator/daemon/canary.c", '#include "services/kit/kit.h"\n'),
           "must not include from services/kit"),
    Canary("a header relative to its file", append("common/sql/canary.c", '#include "sql.h"\n'), "is not in the tree"),
    Canary("an unknown library", append("common/sys/canary.c", "#include <glib.h>\n"), "is of no library"),
    Canary("a file in no room", append("common/misc/canary.c", "int x;\n"), "in no room"),
]
