"""The rooms and who may know whom (docs/ARCHITECTURE.md): one table for the include gate and the link gate."""
import dataclasses

# Headers of ISO C that a pure room may include; <time.h> is not among them, nor what talks to the world.
PURE_C = {"assert.h", "ctype.h", "errno.h", "inttypes.h", "limits.h", "stdalign.h", "stdarg.h", "stdbool.h",
          "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h"}
ENGINE_C = {"stdbool.h", "stddef.h", "stdint.h", "string.h", "limits.h", "inttypes.h"}

# Third-party headers, by prefix, and the CMake targets that bring them.
THIRD_HEADERS = {
    "nng/": "nng", "librdkafka/": "rdkafka", "sqlite3.h": "sqlite", "microhttpd.h": "microhttpd", "curl/": "curl",
    "jansson.h": "jansson", "protobuf-c/": "protobuf-c", "openssl/": "crypto", "ini.h": "inih", "cmocka.h": "cmocka",
    "uthash.h": "uthash", "utlist.h": "uthash", "libpq-fe.h": "libpq", "systemd/": "systemd",
}
# What comes with the C library counts as threads.
THIRD_TARGETS = {
    "PkgNng": "nng", "PkgConfig::RDKAFKA": "rdkafka", "PkgConfig::SQLITE": "sqlite",
    "PkgConfig::MICROHTTPD": "microhttpd", "PkgConfig::CURL": "curl", "PkgConfig::JANSSON": "jansson",
    "PkgConfig::PROTOBUFC": "protobuf-c", "PkgConfig::CRYPTO": "crypto", "PkgConfig::INIH": "inih",
    "PkgConfig::CMOCKA": "cmocka", "Threads::Threads": "threads", "dl": "threads",
}


@dataclasses.dataclass
class Room:
    rooms: set                    # folders that it may include from and link with, besides its own
    third: set                    # third-party libraries that it may see
    c_headers: set | None = None  # None: any of ISO C and POSIX
    # Folders that come along by linking with others; it must neither name them nor include from them.
    through: set = dataclasses.field(default_factory=set)


BASE, SYS, SQL, WIRE, HTTP = "common/base", "common/sys", "common/sql", "common/wire", "common/http"
NNG, KAFKA, JSON, GENERATED = "common/bus/nng", "common/bus/kafka", "common/wire/json", "generated"
COMMON = {BASE, SYS, SQL, WIRE, JSON, HTTP, NNG, KAFKA, GENERATED}
ENGINE, RUNTIME, CODEC = "orchestrator/engine", "orchestrator/runtime", "orchestrator/codec"
STORE, OHTTP, DAEMON = "orchestrator/store", "orchestrator/http", "orchestrator/daemon"
KIT = "services/kit"
VFS, SIM, CHECK, REPLAY = "verify/vfs", "verify/sim", "verify/check", "verify/replay"
STYLE, COMPAT, CERTIFY = "verify/style", "verify/compat", "verify/certify"
ANY_THIRD = set(THIRD_HEADERS.values()) | {"threads"}

# A folder is in the room of its longest prefix here.
ROOMS = {
    BASE: Room(set(), set(), PURE_C),
    SYS: Room({BASE}, {"inih", "threads"}),
    SQL: Room({BASE}, {"sqlite"}),
    WIRE: Room({BASE, GENERATED}, {"protobuf-c", "crypto"}),
    JSON: Room({WIRE, BASE, GENERATED}, {"protobuf-c", "jansson"}),
    HTTP: Room({BASE, SYS}, {"microhttpd", "jansson", "threads"}),
    NNG: Room({BASE, SYS}, {"nng", "threads"}),
    KAFKA: Room({BASE, SYS}, {"rdkafka", "jansson", "threads"}),
    ENGINE: Room({BASE}, set(), ENGINE_C),
    RUNTIME: Room({ENGINE, BASE}, {"threads"}),
    CODEC: Room({ENGINE, RUNTIME, WIRE, BASE, GENERATED}, {"protobuf-c", "crypto", "threads"}),
    STORE: Room({RUNTIME, ENGINE, BASE, SQL}, {"sqlite", "crypto", "threads"}),
    OHTTP: Room({RUNTIME, ENGINE, BASE, SYS, HTTP}, {"jansson"}),
    DAEMON: Room(COMMON | {ENGINE, RUNTIME, CODEC, STORE, OHTTP}, {"protobuf-c", "jansson", "threads"}),
    KIT: Room(COMMON, {"protobuf-c", "sqlite", "jansson", "crypto", "threads"}),
    "services/order": Room(COMMON | {KIT}, {"sqlite", "jansson", "protobuf-c", "threads"}),
    "services/customer": Room(COMMON | {KIT}, {"sqlite"}),
    "services/product": Room(COMMON | {KIT}, {"sqlite"}),
    "services/kitchen": Room(COMMON | {KIT}, {"sqlite"}),
    "services/payment": Room(COMMON | {KIT}, {"sqlite"}),
    STYLE: Room({WIRE, BASE, GENERATED}, {"protobuf-c"}),
    COMPAT: Room({WIRE, BASE, GENERATED}, {"protobuf-c"}),
    CERTIFY: Room({WIRE, JSON, NNG, SYS, BASE, GENERATED}, {"protobuf-c", "jansson", "threads"}),
    VFS: Room({BASE, SQL}, {"sqlite"}),
    CHECK: Room({ENGINE, BASE}, {"threads"}),
    REPLAY: Room({ENGINE, RUNTIME, CODEC, STORE, WIRE, SQL, BASE, GENERATED}, {"protobuf-c", "sqlite", "crypto"}),
    SIM: Room((COMMON - {NNG, KAFKA}) | {ENGINE, RUNTIME, CODEC, STORE, KIT, VFS, REPLAY},
              {"protobuf-c", "sqlite", "jansson", "crypto", "threads"}, through={NNG, KAFKA}),
    "client": Room(COMMON | {ENGINE, RUNTIME, CODEC, STORE, VFS, SIM, CHECK, REPLAY, STYLE, COMPAT, CERTIFY}, {"nng", "rdkafka", "curl", "jansson", "protobuf-c", "crypto", "threads"},
                   through={KIT}),
    GENERATED: Room(set(), {"protobuf-c"}),
}
# Outside the product: these may see everything.
FREE = ("tests", "bench", "examples")


def room_of(path):
    """The room that a path (of the tree, with /) lies in; None: none."""
    path = str(path)
    best = None
    for room in ROOMS:
        if path == room or path.startswith(room + "/"):
            if best is None or len(room) > len(best):
                best = room
    return best


def is_free(path):
    return str(path).split("/", 1)[0] in FREE
