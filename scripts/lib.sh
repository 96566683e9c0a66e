# shellcheck shell=bash
# What the scripts share. Source it; it expects set -euo pipefail in the script.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)

# What building and running need, and what testing needs besides (names of Debian 12).
RUN_PACKAGES=(
    build-essential cmake ninja-build pkg-config
    libprotobuf-c-dev protobuf-c-compiler protobuf-compiler libprotobuf-dev
    libnng-dev librdkafka-dev libsqlite3-dev libmicrohttpd-dev libcurl4-openssl-dev libjansson-dev uthash-dev libssl-dev
    libinih-dev libcmocka-dev curl jq sqlite3
)
TEST_PACKAGES=(
    python3 python3-protobuf python3-yaml kcat openjdk-17-jre-headless maven postgresql-15
    clang-14 clang-format-14 clang-tidy-14 libclang-rt-14-dev cppcheck python3-confluent-kafka graphviz mandoc zsh fish universal-ctags binutils procps util-linux spin gcovr
)

# Colours only for people.
if [ -t 1 ]; then
    BOLD=$'\e[1m' GREEN=$'\e[32m' RED=$'\e[31m' PLAIN=$'\e[0m'
else
    BOLD='' GREEN='' RED='' PLAIN=''
fi

BEGIN_SECONDS=$SECONDS

# say WORDS…: one line of progress, with the time since the script's start.
say() {
    printf '%s[%3ds]%s %s\n' "$BOLD" $((SECONDS - BEGIN_SECONDS)) "$PLAIN" "$*"
}

# die WORDS…: the last line of a script that cannot go on.
die() {
    printf '%s%s: %s%s\n' "$RED" "$(basename "$0")" "$*" "$PLAIN" >&2
    exit 1
}

missing_packages() {
    local package
    for package in "$@"; do
        # Not dpkg -s: a package that was removed but not purged is known to it as well.
        [ "$(dpkg-query -W -f '${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || printf '%s ' "$package"
    done
}

# need_packages PACKAGE…: installs those that are missing; asks neither the network nor for root if none is.
need_packages() {
    command -v dpkg-query >/dev/null ||
        die "this is not Debian: install by hand what \"$*\" are called here, then use --no-install"
    local missing
    read -ra missing <<<"$(missing_packages "$@")"
    [ ${#missing[@]} -gt 0 ] || return 0
    local root=()
    if [ "$(id -u)" -ne 0 ]; then
        command -v sudo >/dev/null || die "not root, and no sudo; as root: apt-get install ${missing[*]}"
        root=(sudo)
    fi
    say "installing ${#missing[@]} packages: ${missing[*]}"
    local log
    log=$(mktemp)
    if ! "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get update -q >"$log" 2>&1 ||
        ! "${root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends \
            "${missing[@]}" >>"$log" 2>&1 </dev/null; then
        tail -n 20 "$log" >&2
        rm -f "$log"
        die "cannot install: ${missing[*]}"
    fi
    rm -f "$log"
}

# build PRESET [TARGET…]: configures and builds quietly; shows all that was said only if it fails.
build() {
    local preset=$1 log
    shift
    log=$ROOT/build/$preset.log
    mkdir -p "$ROOT/build"
    if ! (cd "$ROOT" && cmake --preset "$preset" && cmake --build --preset "$preset" ${1:+--target "$@"} -- -k 0) \
        >"$log" 2>&1 </dev/null; then
        grep -E -A 12 'error|FAILED|CMake Error' "$log" | head -n 80 >&2 || tail -n 40 "$log" >&2
        die "the $preset build failed; all of it: $log"
    fi
}

# end_process PID SECONDS: SIGTERM, wait, SIGKILL if it does not end. Quiet about a process that is gone.
end_process() {
    local pid=$1 left=$(($2 * 10))
    kill -TERM "$pid" 2>/dev/null || return 0
    while kill -0 "$pid" 2>/dev/null; do
        # A child that ended stays visible until it is waited for.
        ! grep -qs '^State:.*zombie' "/proc/$pid/status" || break
        if [ $left -le 0 ]; then
            kill -KILL "$pid" 2>/dev/null || true
            return 1
        fi
        left=$((left - 1))
        sleep 0.1
    done
}
