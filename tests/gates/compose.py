"""Compose: what can be known of compose.yaml and packaging/Dockerfile without an engine. It parses; each service has an image,
a health check (or ends by itself), limits, no root; volumes are declared, ports are on 127.0.0.1, dependencies exist; commands are
programs of ours with options that their --help names; the image has what the programs link."""
import os
import re
import subprocess

import yaml

from gate import Canary

NEEDS = ["compose.yaml", "packaging", "scripts/lib.sh", "services/seed.json", "generated/sagad.binpb"]
PROGRAMS = {"sagad", "orderd", "customerd", "productd", "kitchend", "paymentd", "sagactl"}
MUST_RUN = PROGRAMS - {"sagactl"}
# Debian's package of each library that a program may link.
PACKAGES = {"libprotobuf-c.so": "libprotobuf-c1", "libnng.so": "libnng1", "librdkafka.so": "librdkafka1",
            "libsqlite3.so": "libsqlite3-0", "libmicrohttpd.so": "libmicrohttpd12", "libcurl.so": "libcurl4",
            "libjansson.so": "libjansson4", "libcrypto.so": "libssl3", "libssl.so": "libssl3", "libinih.so": "libinih1"}
BUILT_IN = ("libc.so", "libm.so", "libpthread.so", "libdl.so", "ld-linux")


def help_of(tree, words):
    """What PROGRAM [VERB…] --help says; None when the program is not built."""
    program = tree.build / "bin" / words[0] if tree.build else None
    if program is None or not program.exists():
        return None
    said = subprocess.run([program, *words[1:], "--help"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, check=False, timeout=30)
    return said.stdout


def check_command(tree, name, command):
    program = command[0]
    if program not in PROGRAMS:
        return [f"{name}: {program} is no program of ours"]
    tree.saw()
    verbs = []
    if program == "sagactl":
        verbs = [command[1]]
    text = help_of(tree, [program, *verbs])
    if text is None:
        return []
    found = []
    for word in command[1:]:
        option = re.match(r"--([a-z][a-z0-9.-]*)", word)
        if option and not re.search(rf"--{re.escape(option.group(1))}\b", text):
            found.append(f"{name}: {program} does not know --{option.group(1)}")
    if verbs and not re.search(rf"\b{re.escape(verbs[0])}\b", text):
        found.append(f"{name}: sagactl does not know {verbs[0]}")
    return found


def check_volumes(service, name, declared):
    found = []
    for volume in service.get("volumes", []):
        source = volume.split(":")[0]
        if not source.startswith((".", "/")) and source not in declared:
            found.append(f"{name}: volume {source} is not declared")
    for port in service.get("ports", []):
        if not re.fullmatch(r"127\.0\.0\.1:\d+:\d+", str(port)):
            found.append(f"{name}: port {port} is not bound to 127.0.0.1")
    return found


def check_service(tree, name, service, document):
    found = []
    if not service.get("image") and not service.get("build"):
        found.append(f"{name}: neither image nor build")
    if ":latest" in str(service.get("image")) or ("build" not in service and ":" not in str(service.get("image", ""))):
        found.append(f"{name}: the image has no version")
    if str(service.get("user", "root")).split(":")[0] in ("root", "0", ""):
        found.append(f"{name}: runs as root")
    if "memory" not in str(service.get("deploy", {}).get("resources", {}).get("limits", {})):
        found.append(f"{name}: no memory limit")
    ends_by_itself = any(dependency.get("condition") == "service_completed_successfully"
                         for other in document["services"].values()
                         for on, dependency in (other.get("depends_on") or {}).items() if on == name)
    if not ends_by_itself and not service.get("healthcheck", {}).get("test"):
        found.append(f"{name}: no health check")
    for other, dependency in (service.get("depends_on") or {}).items():
        if other not in document["services"]:
            found.append(f"{name}: depends on {other}, which is no service")
        elif dependency.get("condition") == "service_healthy" and not document["services"][other].get("healthcheck"):
            found.append(f"{name}: waits for the health of {other}, which has no health check")
    found += check_volumes(service, name, document.get("volumes", {}))
    if "build" in service:
        found += check_command(tree, name, service.get("command") or [""])
        if service.get("healthcheck", {}).get("test"):
            found += check_command(tree, f"{name}: health check", service["healthcheck"]["test"][1:])
        if not ends_by_itself and not service.get("volumes"):
            found.append(f"{name}: keeps its data nowhere")
    return found


def check_dockerfile(tree):
    text = tree.text("packaging/Dockerfile")
    stages = re.split(r"^FROM ", text, flags=re.M)[1:]
    found = []
    users = re.findall(r"^USER\s+(\S+)", stages[-1], re.M)
    if not users or users[-1].split(":")[0] in ("root", "0"):
        found.append("packaging/Dockerfile: runs as root")
    for source in re.findall(r"^COPY --from=build /src/(\S+)", text, re.M):
        if not source.startswith("build/") and not (tree.root / source).exists():
            found.append(f"packaging/Dockerfile: copies {source}, which is not in the tree")
    built = {p for line in re.findall(r"--target ([a-z ]+)", text) for p in line.split()}
    found += [f"packaging/Dockerfile: does not build {p}" for p in sorted(PROGRAMS - built)]
    wanted = set(re.findall(r"lib[a-z0-9-]+-dev", tree.text("scripts/lib.sh").split("TEST_PACKAGES")[0]))
    found += [f"packaging/Dockerfile: builds without {p}" for p in sorted(wanted) if p not in stages[0]]
    for program in sorted(PROGRAMS):
        path = tree.build / "bin" / program if tree.build else None
        if path is None or not path.exists():
            continue
        needed = subprocess.run(["readelf", "-d", path], stdout=subprocess.PIPE, text=True, check=True).stdout
        for library in re.findall(r"NEEDED.*\[(\S+?)\]", needed):
            if library.startswith(BUILT_IN) or re.match(r"lib(asan|ubsan|tsan)\.so", library):
                continue
            package = next((p for l, p in PACKAGES.items() if library.startswith(l)), None)
            if package is None or not re.search(rf"\b{re.escape(package)}\b", stages[-1]):
                found.append(f"packaging/Dockerfile: {program} needs {library}, the image lacks its package")
    return found


def check(tree):
    try:
        document = yaml.safe_load(tree.text("compose.yaml"))
    except yaml.YAMLError as error:
        return [f"compose.yaml: {error}"]
    violations = []
    for name, service in document["services"].items():
        tree.saw()
        violations += check_service(tree, name, service, document)
    run = {(s.get("command") or [""])[0] for s in document["services"].values()}
    violations += [f"compose.yaml: nothing runs {p}" for p in sorted(MUST_RUN - run)]
    if not any("kafka" in str(s.get("image")) for s in document["services"].values()):
        violations.append("compose.yaml: no Kafka")
    return violations + check_dockerfile(tree)


def change(path, old, new):
    def plant(tree):
        at = tree.root / path
        text = at.read_text(encoding="utf-8")
        if old not in text:
            raise SystemExit(f"canary: {path} has no {old!r}")
        at.write_text(text.replace(old, new, 1), encoding="utf-8")
    return plant


CANARIES = [
    Canary("it does not parse", change("compose.yaml", "services:", "services: ["), "compose.yaml:"),
    Canary("root", change("compose.yaml", 'user: "10001:10001"', 'user: "0:0"'), "runs as root"),
    Canary("an open port", change("compose.yaml", '"127.0.0.1:8080:8080"', '"8080:8080"'), "is not bound to 127.0.0.1"),
    Canary("a volume of nowhere", change("compose.yaml", "  order-data: {}\n", ""), "volume order-data is not declared"),
    Canary("no health check", change("compose.yaml", 'test: [CMD, sagactl, health, --allow-degraded, "tcp://127.0.0.1:7103"]', "disable: true"),
           "product: no health check"),
    Canary("a dependency of nowhere", change("compose.yaml", "kafka: {condition", "kafca: {condition"), "is no service"),
    Canary("an unknown program", change("compose.yaml", "[productd,", "[produced,"), "is no program of ours"),
    Canary("no version of an image", change("compose.yaml", "apache/kafka:4.3.1", "apache/kafka"), "the image has no version"),
    Canary("an image of root", change("packaging/Dockerfile", "USER 10001:10001", "USER root"), "runs as root"),
]
if os.environ.get("SAGA_BUILD_DIR") and os.path.exists(os.environ["SAGA_BUILD_DIR"] + "/bin/productd"):
    CANARIES += [
        Canary("an unknown option", change("compose.yaml", "[productd, --listen", "[productd, --lissen"), "does not know --lissen"),
        Canary("a library that the image lacks", change("packaging/Dockerfile", "libnng1 ", ""), "the image lacks its package"),
    ]
