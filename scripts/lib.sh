# shellcheck shell=bash
# Shared by the scripts beside it: where this checkout keeps what it runs, and small things all of them need.
# Source it; it sets ROOT, RUN, VENV and SWIFT, and starts nothing.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)

say() { printf '%s\n' "$*" >&2; }
die() {
    say "$(basename "$0"): $*"
    exit 1
}

# Instances keep their servers, data and logs apart, so that tests, the demo and a developer's stack never meet.
INSTANCE=${BGAGENT_INSTANCE:-}
[[ $INSTANCE =~ ^[a-z0-9-]{0,24}$ ]] || die "BGAGENT_INSTANCE may hold up to 24 of a-z, 0-9 and '-'"

# A short path: a unix socket's name ends at 107 bytes, and user postgres has to be able to walk into it.
run_directory() {
    local base=${TMPDIR:-/tmp} hash
    base=${base%/}
    hash=$(printf '%s' "$ROOT" | sha256sum | cut -c1-8)
    if ((${#base} > 48)) || { ((EUID == 0)) && ! as_postgres test -x "$base" 2>/dev/null; }; then
        base=/tmp
    fi
    printf '%s/bgagent-%s%s\n' "$base" "$hash" "${INSTANCE:+-$INSTANCE}"
}

# Postgres refuses root, so root lends it the system user that the package made. Runs from / because that user
# may not enter this checkout.
as_postgres() {
    if ((EUID == 0)); then
        (cd / && exec setpriv --reuid postgres --regid postgres --clear-groups -- "$@")
    else
        (cd / && exec "$@")
    fi
}

# Makes the run directory, refuses one that somebody else put there, and links it from the checkout.
make_run_directory() {
    if [[ ! -d $RUN ]]; then
        mkdir -m 711 "$RUN" 2>/dev/null || [[ -d $RUN ]] || die "cannot create $RUN"
    fi
    [[ -O $RUN && ! -L $RUN ]] || die "$RUN belongs to somebody else; set TMPDIR"
    mkdir -p "$RUN/log"
    chmod 700 "$RUN/log"
    ln -sfn "$RUN" "$ROOT/.run${INSTANCE:+-$INSTANCE}"
}

# Prints $1 free TCP ports, each another one: without SO_REUSEADDR a port that is held here is not given twice. Below the
# ephemeral range, so that no outgoing connection takes one in the meantime.
free_ports() {
    python3 - "$1" <<'PYTHON'
import random, socket, sys
held = []
while len(held) < int(sys.argv[1]):
    s = socket.socket()
    try:
        s.bind(("127.0.0.1", random.randrange(10240, 32000)))
        held.append(s)
    except OSError:
        s.close()
print(*(s.getsockname()[1] for s in held))
PYTHON
}

port_open() { (: >"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

alive() { [[ -n ${1:-} ]] && kill -0 "$1" 2>/dev/null; }

# wait_for SECONDS COMMAND...: tries ten times a second until it succeeds.
wait_for() {
    local deadline=$((SECONDS + $1))
    shift
    until "$@"; do
        ((SECONDS < deadline)) || return 1
        sleep 0.1
    done
}

gone() { ! alive "$1"; }

# run_child COMMAND...: runs it in a session of its own, so that a signal to this script is acted on at once (bash
# waits for foreground commands) and end_child can end all that it started. A terminal's Ctrl-C would be ignored by
# what bash starts in the background, hence the default for it.
child=
run_child() {
    local code=0
    setsid --wait env --default-signal=INT "$@" &
    child=$!
    wait "$child" || code=$?
    child=
    return "$code"
}

# Ends it as a terminal would: pytest takes its worlds down on that, where SIGTERM would end it at once. Then what
# is left of its session, because compilers are started in process groups of their own.
end_child() {
    local left
    alive "$child" || return 0
    kill -INT -- "-$child" 2>/dev/null || true
    wait_for 15 gone "$child" || true
    left=$(ps -o pid= -s "$child") || return 0
    # shellcheck disable=SC2086
    kill -KILL $left 2>/dev/null || true
}

# The archive that this machine's apt is set up with, without a trailing slash.
debian_archive() {
    # shellcheck disable=SC2016
    apt-get indextargets --format '$(REPO_URI) $(RELEASE)' 'Created-By: Packages' |
        awk '$2 == "bookworm" && $1 ~ /\/debian\/?$/ { sub(/\/$/, "", $1); print $1; exit }' | grep . ||
        die "apt names no Debian 12 archive; engines and images are made on Debian 12 only"
}

# The newest server that Debian's packages keep outside PATH.
postgres_bin() {
    local directory
    directory=$(compgen -G '/usr/lib/postgresql/*/bin/postgres' | sort -V | tail -1) || true
    [[ -n $directory ]] || die "no Postgres server found; run scripts/bootstrap"
    dirname "$directory"
}

RUN=$(run_directory)
VENV=$(realpath -ms "${BGAGENT_VENV:-$ROOT/.venv}")
SWIFT=${SWIFT:-swift}
# shellcheck disable=SC2034
readonly ROOT INSTANCE RUN VENV SWIFT
