"""Programs that run another program given in their arguments: `sudo`, `env`, `timeout` and their like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from .words import Word


@dataclass(frozen=True, slots=True)
class Launcher:
    """How a launcher's arguments end and the command begins.

    `valued` are options that take the next word, `operands` the words before the command, and `shell` says
    that the rest is a line of shell rather than a list of words. `kept` launchers change what the command may
    do, so their name stays in front of its text. `appended` ones add words that only they know.
    """

    valued: frozenset[str] = frozenset()
    operands: int = 0
    assignments: bool = False
    shell: bool = False
    kept: bool = False
    subcommand: str = ""
    appended: bool = False
    numeric: bool = False


def _of(valued: str = "", **settings: bool | int | str) -> Launcher:
    return Launcher(frozenset(valued.split()), **settings)  # type: ignore[arg-type]


LAUNCHERS: dict[str, Launcher] = {
    "builtin": _of(),
    "bundle": _of(subcommand="exec"),
    "busybox": _of(),
    "caffeinate": _of("-t -w"),
    "chroot": _of("", operands=1, kept=True),
    "chronic": _of(),
    "chrt": _of("-T -P -D", operands=1),
    "command": _of(),
    "coproc": _of(assignments=True),
    "doas": _of("-u -C", kept=True),
    "env": _of("-u --unset", assignments=True),
    "exec": _of("-a"),
    "faketime": _of("", operands=1),
    "flock": _of("-w --wait --timeout -E --conflict-exit-code", operands=1),
    "ionice": _of("-c --class -n --classdata -p --pid"),
    "ltrace": _of("-e -o -s -n -p -u -l -x", kept=True),
    "nice": _of("-n --adjustment", numeric=True),
    "nohup": _of(),
    "npm": _of(subcommand="exec"),
    "npx": _of("-p --package"),
    "nsenter": _of("-t --target", kept=True),
    "parallel": _of("-j --jobs -a --arg-file --delay --timeout -N -n -I", appended=True, shell=True),
    "pipenv": _of(subcommand="run"),
    "pkexec": _of("--user", kept=True),
    "pnpm": _of(subcommand="exec"),
    "pnpx": _of(),
    "poetry": _of(subcommand="run"),
    "prlimit": _of("-p --pid"),
    "runuser": _of("-u --user -g --group -G", kept=True),
    "script": _of("-c --command"),
    "setarch": _of(operands=1),
    "setpriv": _of("--reuid --regid --groups --inh-caps --ambient-caps --bounding-set", kept=True),
    "setsid": _of(),
    "ssh": _of("-b -c -D -E -e -F -I -i -J -L -l -m -O -o -p -Q -R -S -W -w", operands=1, shell=True,
               kept=True),
    "stdbuf": _of("-i -o -e --input --output --error"),
    "strace": _of("-e -o -s -p -u -P -E -a -b -I -O -S -X", kept=True),
    "su": _of("-c --command -s --shell -g --group", kept=True),
    "sudo": _of("-u --user -g --group -h --host -p --prompt -C -T -r -t -U -R --chroot", kept=True,
                assignments=True),
    "systemd-run": _of("-u --unit -p --property -E --setenv", kept=True),
    "taskset": _of("-p", operands=1),
    "time": _of("-f --format -o --output", assignments=True),
    "timeout": _of("-k --kill-after -s --signal", operands=1),
    "toybox": _of(),
    "unbuffer": _of(),
    "unshare": _of("-R --root -S --setuid -G --setgid --propagation --map-users --map-groups", kept=True),
    "uv": _of("--with --python -p --project --directory --extra --group --env-file", subcommand="run"),
    "watch": _of("-n --interval", shell=True),
    "xargs": _of("-n --max-args -P --max-procs -L --max-lines -d --delimiter -E -s --max-chars -a --arg-file"
                 " -I --replace", appended=True),
}  # fmt: skip

# Long options without a value; together with one-letter options this is what may stand before the command.
_FLAGS = frozenset(
    """--preserve-status --foreground --verbose --null --ignore-environment --no-run-if-empty
    --interactive --exit --preserve-env --login --set-home --non-interactive --reset-timestamp
    --background --stdin --wait --fork --ctty --exclusive --shared --nonblock --nb --unlock --user
    --mount --net --pid --ipc --uts --map-root-user --portability --append --quiet --color --differences
    --beep --errexit --chgexit --no-title --precise --no-new-privs --clear-groups --init-groups
    --isolated --frozen --locked --no-sync --yes --no-install --all-tasks --idle --fifo --rr --batch
    --other --return --scope --keep-order --halt-on-error --bar --progress --silent --ignore
    --open-tty""".split()
)


@dataclass(frozen=True, slots=True)
class Launch:
    """What a launcher starts.

    `line` is a line of shell, `words` a command; a reason says what cannot be known.
    """

    words: tuple[Word, ...] = ()
    assignments: tuple[Word, ...] = ()
    line: Word | None = None
    directory: Word | None = None
    prefix: str = ""
    reason: str = ""


def launch_of(program: str, words: Sequence[Word], piped: bool) -> Launch | None:
    """What `words` (without the program) start; None where they start nothing."""
    kind = LAUNCHERS.get(program)
    if kind is None:
        return None
    rest = list(words)
    if kind.subcommand:
        if not rest or rest[0].text != kind.subcommand:
            return None
        rest.pop(0)
    options: dict[str, Word] = {}
    reason = ""
    while rest:
        word = rest[0]
        if not word.known:
            return Launch(reason=f"what {program} runs")
        if word.text == "--":
            rest.pop(0)
            break
        if word.text == "-" and program in ("env", "su"):
            rest.pop(0)
            continue
        if not word.text.startswith("-") or word.text == "-":
            break
        rest.pop(0)
        reason = reason or _option(program, kind, word, rest, options)
    if program == "command" and {"-v", "-V"} & options.keys():
        return None
    assignments = []
    while kind.assignments and rest and (not rest[0].known or "=" in rest[0].text):
        if not rest[0].known and "=" not in rest[0].text:
            return Launch(reason=f"what {program} runs")
        assignments.append(rest.pop(0))
    for _ in range(kind.operands):
        if rest:
            rest.pop(0)
    prefix = f"{program} " if kind.kept else ""
    directory = next((options[o] for o in ("-C", "--chdir", "-D", "--directory") if o in options), None)
    line = next(
        (options[o] for o in ("-c", "--command", "-S", "--split-string", "--call") if o in options), None
    )
    if program == "flock" and len(rest) > 1 and rest[0].text in ("-c", "--command"):
        line = rest[1]
    if program in ("su", "runuser") and line is None:
        line = next((b for a, b in pairwise(rest) if a.text in ("-c", "--command")), None)
    if program == "su" and line is None:
        return None
    if program not in ("su", "script", "runuser", "flock", "env", "npx"):
        line = None
    if line is not None and program == "env":
        line = Word(
            " ".join([line.text, *(w.text for w in rest)]), known=line.known and all(w.known for w in rest)
        )
    if kind.shell and rest:
        cut = next((at for at, w in enumerate(rest) if w.text.startswith(":::")), len(rest))
        text = " ".join(w.text for w in rest[:cut])
        known = all(w.known for w in rest[:cut])
        line = Word(f'{text} "$argument"' if kind.appended and "{}" not in text else text, known)
    if kind.appended and (rest or piped):
        replaced = options.get("-I") or options.get("--replace") or (Word("{}") if "-i" in options else None)
        mark = replaced.text if replaced is not None else "{}"
        changed = [Word(w.text, known=False) if mark and mark in w.text else w for w in rest]
        rest = changed if replaced is not None else [*changed, Word("{}", known=False)]
        if line is not None and mark in line.text:
            reason = reason or f"what {program} puts into the command"
    return Launch(tuple(rest) if line is None else (), tuple(assignments), line, directory, prefix, reason)


def _option(program: str, kind: Launcher, word: Word, rest: list[Word], options: dict[str, Word]) -> str:
    """Takes one option, with its value; says what is unclear about it."""
    name, equals, value = word.text.partition("=")
    extra = {"-C", "--chdir", "-S", "--split-string"} if program == "env" else set()
    extra |= {"-D", "--chdir"} if program == "sudo" else set()
    extra |= {"-c", "--call"} if program == "npx" else set()
    valued = kind.valued | extra
    if name.startswith("--"):
        if equals:
            options[name] = Word(value)
        elif name in valued:
            options[name] = rest.pop(0) if rest else Word("")
        elif name in _FLAGS:
            options[name] = Word("")
        else:
            return f"the option {name} of {program}"
        return ""
    if kind.numeric and word.text[1:].isdigit():
        return ""
    for at, letter in enumerate(word.text[1:], 1):
        flag = "-" + letter
        if flag in valued:
            attached = word.text[at + 1 :]
            options[flag] = Word(attached) if attached else (rest.pop(0) if rest else Word("", known=False))
            break
        options[flag] = Word("")
    return ""
