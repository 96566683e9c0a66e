"""Layers by the link graph: the same table as for includes, held by what CMake links, directly and through others."""
import os
import shutil
import subprocess
import tempfile

import rooms
from gate import Canary

NEEDS = ["CMakeLists.txt", "cmake", "common", "orchestrator", "services", "verify", "client", "generated", "tests", "bench", "examples", "packaging"]


def read_links(tree):
    """target -> (folder, [what it links]), as cmake/saga.cmake wrote it at the end of configuration."""
    given = tree.build is not None and (tree.build / "CMakeCache.txt").exists()
    if given and f"CMAKE_HOME_DIRECTORY:INTERNAL={tree.root}\n" in (tree.build / "CMakeCache.txt").read_text():
        return parse(tree, tree.build / "links.txt")
    scratch = tempfile.mkdtemp(prefix="saga-links-")
    try:
        done = subprocess.run(["cmake", "-S", tree.root, "-B", scratch, "-G", "Ninja"], stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, check=False, env=os.environ)
        if done.returncode != 0:
            raise SystemExit("cmake: " + done.stdout[-2000:])
        return parse(tree, tree.root.__class__(scratch) / "links.txt")
    finally:
        shutil.rmtree(scratch)


def parse(tree, path):
    links = {}
    for line in path.read_text(encoding="utf-8").splitlines():
        target, folder, libraries = line.split("|")
        links[target] = (os.path.relpath(folder, tree.root), [l for l in libraries.split(";") if l])
    return links


def clean(library):
    """PRIVATE dependencies of static libraries come as $<LINK_ONLY:x>."""
    return library.removeprefix("$<LINK_ONLY:").removesuffix(">")


def reached(links, target):
    """Everything that a target links, directly and through others."""
    todo, seen = [target], set()
    while todo:
        for library in map(clean, links.get(todo.pop(), ("", []))[1]):
            if library not in seen:
                seen.add(library)
                todo.append(library)
    return seen


def check_target(links, target, folder, room):
    rule = rooms.ROOMS[room]
    named = set(map(clean, links[target][1]))
    found = []
    for library in sorted(reached(links, target) - {"saga_flags", target}):
        if library in links and library not in rooms.THIRD_TARGETS:
            other = rooms.room_of(links[library][0])
            if other is None:
                found.append(f"{target}: links {library}, which is in no room ({links[library][0]})")
            elif other != room and other not in rule.rooms and (library in named or other not in rule.through):
                found.append(f"{target}: {room} must not link {library} of {other}")
    # A library that comes with a room which may be known is that room's matter; what a target names itself must be its own.
    for library in map(clean, links[target][1]):
        if library not in links and library != "saga_flags" or library in rooms.THIRD_TARGETS:
            third = rooms.THIRD_TARGETS.get(library)
            if third is None:
                found.append(f"{target}: links {library}, which tests/gates/rooms.py does not name")
            elif third not in rule.third:
                found.append(f"{target}: {room} must not link {library}")
    return found


def check(tree):
    links = read_links(tree)
    violations = []
    for target, (folder, _) in sorted(links.items()):
        if rooms.is_free(folder) or folder in (".", "cmake"):
            continue
        tree.saw()
        room = rooms.room_of(folder)
        if room is None:
            violations.append(f"{target}: in no room ({folder})")
        else:
            violations.extend(check_target(links, target, folder, room))
    return violations


def plant_link(file, target, library):
    def plant(tree):
        with open(tree.root / file, "a", encoding="utf-8") as cmake:
            cmake.write(f"\ntarget_link_libraries({target} PRIVATE {library})\n")
    return plant


CANARIES = [
    Canary("engine links SQLite", plant_link("orchestrator/engine/CMakeLists.txt", "saga_engine", "PkgConfig::SQLITE"),
           "orchestrator/engine must not link PkgConfig::SQLITE"),
    Canary("base links a room", plant_link("common/base/CMakeLists.txt", "saga_base", "saga_generated"),
           "common/base must not link saga_generated"),
    Canary("base links a room, seen from the engine",
           plant_link("common/base/CMakeLists.txt", "saga_base", "saga_generated"),
           "orchestrator/engine must not link saga_generated"),
]
