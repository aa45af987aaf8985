"""What well-known programs write, remove and run, read from their arguments."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .words import Word

SHELLS = frozenset("sh bash dash zsh ksh ash mksh rbash fish".split())
# What runs the lines of shell that it reads.
RUN_INPUT = SHELLS | {"source", ".", "at", "batch"}
INTERPRETERS = frozenset(
    "python python2 python3 perl ruby node nodejs deno bun php lua Rscript osascript pwsh".split()
)
# What prints its arguments or input and runs nothing: text that passes through is not acted on.
PRINTERS = frozenset(
    """echo printf cat grep egrep fgrep rg ag ack head tail less more sed sort uniq wc tee tr cut diff
    true :""".split()
)
_SQL = re.compile(r"\bdrop(?:\s|/\*.*?\*/|--[^\n]*\n)+(?:table|database|schema)\b", re.I | re.S)
_AWK = frozenset("awk gawk mawk nawk".split())
_AWK_ACTS = re.compile(r"\bsystem\s*\(|\|\s*&?\s*(?:\"|getline)|(?:\"\s*\|)|print[^;}\n]*>")


@dataclass(frozen=True, slots=True)
class Removal:
    """What a command removes; `recursive` with all that is below."""

    operands: tuple[Word, ...]
    recursive: bool = False
    force: bool = False


@dataclass(frozen=True, slots=True)
class Use:
    """What a program does with its arguments."""

    writes: tuple[Word, ...] = ()
    removal: Removal | None = None
    reasons: tuple[str, ...] = ()


def options_of(
    words: Sequence[Word], valued: str = "", ends: bool = False
) -> tuple[dict[str, list[Word]], list[Word]]:
    """Options with their values, and operands.

    Options may stand behind operands, unless the first operand `ends` them.
    """
    takes = frozenset(valued.split())
    options: dict[str, list[Word]] = {}
    operands: list[Word] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        text = word.text
        if word.known and text == "--":
            operands += rest
            break
        if not text.startswith("-") or text == "-" or (not word.known and "=" not in text):
            operands.append(word)
            if ends:
                operands += rest
                break
            continue
        name, equals, value = text.partition("=")
        if name.startswith("--"):
            argument = (
                Word(value, word.known) if equals else (rest.pop(0) if name in takes and rest else Word(""))
            )
            options.setdefault(name, []).append(argument)
            continue
        for at, letter in enumerate(text[1:], 1):
            if (flag := "-" + letter) in takes:
                attached = text[at + 1 :]
                argument = Word(attached, word.known) if attached else (rest.pop(0) if rest else Word(""))
                options.setdefault(flag, []).append(argument)
                break
            options.setdefault(flag, []).append(Word(""))
    return options, operands


def use_of(program: str, words: Sequence[Word]) -> Use:
    """What the program does; nothing for one that is not listed."""
    rule = _RULES.get(program)
    if rule is not None:
        return rule(words)
    if program.startswith("mkfs"):
        return _operands()(words)
    return Use()


def drops_table(texts: Sequence[str]) -> bool:
    """True where SQL in one of the texts drops a table, a schema or a database."""
    return any(_SQL.search(text) for text in texts)


def _prefixes(name: str, shortest: int) -> frozenset[str]:
    return frozenset(name[:end] for end in range(shortest, len(name) + 1))


def _rm(words: Sequence[Word]) -> Use:
    options, operands = options_of(words)
    recursive = bool(options.keys() & ({"-r", "-R"} | _prefixes("--recursive", 3)))
    force = bool(options.keys() & ({"-f"} | _prefixes("--force", 3)))
    return Use(tuple(operands), Removal(tuple(operands), recursive, force))


def _removes(words: Sequence[Word]) -> Use:
    _, operands = options_of(words, "-n --iterations -s --size")
    return Use(tuple(operands), Removal(tuple(operands)))


def _operands(valued: str = "", skip: int = 0) -> Callable[[Sequence[Word]], Use]:
    def rule(words: Sequence[Word]) -> Use:
        _, operands = options_of(words, valued)
        return Use(tuple(operands[skip:]))

    return rule


def _mode(words: Sequence[Word]) -> Use:
    """chmod and its like: the first operand is no file, unless another file gives the mode."""
    options, operands = options_of(
        [w for w in words if not re.fullmatch(r"-[rwxXst,+=-]+", w.text)], "--reference --from"
    )
    dashed = any(re.fullmatch(r"-[rwxXst,+=-]+", w.text) and w.text != "--" for w in words)
    return Use(tuple(operands if "--reference" in options or dashed else operands[1:]))


def _destination(valued: str = "", moves: bool = False) -> Callable[[Sequence[Word]], Use]:
    """cp and its like: the last operand, or -t, is written; `moves` removes the others."""

    def rule(words: Sequence[Word]) -> Use:
        options, operands = options_of(words, f"-t --target-directory -S --suffix {valued}")
        into = [*options.get("-t", []), *options.get("--target-directory", [])]
        sources = operands if into else operands[:-1]
        targets = into or operands[-1:]
        # A copy into a directory is named like its source.
        named = [
            Word(
                f"{t.text.rstrip('/')}/{s.text.rstrip('/').rpartition('/')[2]}",
                t.known and s.known,
                s.pattern,
            )
            for t in targets
            for s in sources
            if t.known and s.known and s.text.rstrip("/")
        ]
        unknown = [s for s in sources if not s.known] if moves else []
        moved = [s for s in sources if s.known] if moves else []
        return Use((*targets, *named, *moved, *unknown))

    return rule


def _mkdir(words: Sequence[Word]) -> Use:
    """A directory that is made in vain harms nobody, so one that is not known needs no person."""
    _, operands = options_of(words, "-m --mode")
    return Use(tuple(word for word in operands if word.known))


def _ln(words: Sequence[Word]) -> Use:
    """Whoever links to .git can write there by another name."""
    use = _destination()(words)
    _, operands = options_of(words, "-t --target-directory -S --suffix")
    return Use((*use.writes, *(w for w in operands if ".git" in w.text.split("/"))))


def _options(names: str, valued: str = "") -> Callable[[Sequence[Word]], Use]:
    """Programs that write where an option says."""

    def rule(words: Sequence[Word]) -> Use:
        options, _ = options_of(words, f"{names} {valued}")
        return Use(
            tuple(value for name in names.split() for value in options.get(name, ()) if value.text != "-")
        )

    return rule


def _dd(words: Sequence[Word]) -> Use:
    return Use(
        tuple(
            Word(w.text.partition("=")[2], w.known) for w in words if w.text.startswith("of=") or not w.known
        )
    )


def _sed(words: Sequence[Word]) -> Use:
    options, operands = options_of(words, "-e --expression -f --file -l --line-length")
    scripts = [*options.get("-e", ()), *options.get("--expression", ())]
    if not scripts and not options.keys() & {"-f", "--file"}:
        scripts, operands = operands[:1], operands[1:]
    reasons = tuple(
        "what sed runs"
        for s in scripts
        if re.search(r"(?:^|[;{}/|,#\d\n])\s*[0-9,$]*\s*[ewW]\s|/[gpiIm\d]*[ew](?:\s|;|$|/)", s.text)
    )
    inplace = any(name == "-i" or name.startswith("--in-place") for name in options)
    return Use(tuple(operands) if inplace else (), reasons=reasons[:1])


def _perl(words: Sequence[Word]) -> Use:
    options, operands = options_of(words, "-e -E -I -M -m -x")
    return Use(tuple(operands) if "-i" in options else ())


def _awk(words: Sequence[Word]) -> Use:
    options, operands = options_of(words, "-f -F -v --file --assign --field-separator", ends=True)
    script = "" if "-f" in options or not operands else operands[0].text
    return Use(reasons=("what awk runs or writes",) if _AWK_ACTS.search(script) else ())


def _tar(words: Sequence[Word]) -> Use:
    if words and words[0].known and re.fullmatch(r"[A-Za-z]+", words[0].text):
        words = [Word("-" + words[0].text), *words[1:]]
    options, _ = options_of(
        words, "-f --file -C --directory -T -X --exclude --to-command -I --use-compress-program"
    )
    reasons = []
    if any(
        name.startswith(("--to-command", "--checkpoint-action", "--use-compress", "--rsh-command"))
        for name in options
    ):
        reasons.append("what tar runs")
    into = (*options.get("-C", ()), *options.get("--directory", ()))
    if options.keys() & {"-x", "--extract", "--get"}:
        return Use(into, reasons=tuple(reasons))
    if options.keys() & {"-c", "-r", "-u", "--create", "--append", "--update"}:
        archives = (*options.get("-f", ()), *options.get("--file", ()))
        return Use(tuple(a for a in archives if a.text != "-"), reasons=tuple(reasons))
    return Use(reasons=tuple(reasons))


def _opaque(reason: str) -> Callable[[Sequence[Word]], Use]:
    return lambda words: Use(reasons=(reason,))


def _when(flags: str, reason: str) -> Callable[[Sequence[Word]], Use]:
    def rule(words: Sequence[Word]) -> Use:
        options, _ = options_of(words)
        return Use(reasons=(reason,) if options.keys() & frozenset(flags.split()) else ())

    return rule


_RULES: dict[str, Callable[[Sequence[Word]], Use]] = {
    "rm": _rm,
    **dict.fromkeys(("rmdir", "unlink", "shred", "trash", "trash-put"), _removes),
    "mkdir": _mkdir,
    "ln": _ln,
    **dict.fromkeys(("touch", "mkfifo", "mknod"),
                    _operands("-m --mode -t -d --date -r --reference")),
    **dict.fromkeys(("truncate", "fallocate"), _operands("-s --size -r --reference -l --length -o --offset")),
    **dict.fromkeys(("tee", "sponge", "ed", "ex", "wipefs", "mkswap", "vipw"), _operands()),
    **dict.fromkeys(("chmod", "chown", "chgrp", "chattr", "setfacl"), _mode),
    "cp": _destination(),
    "mv": _destination(moves=True),
    "install": _destination("-m --mode -o --owner -g --group"),
    "rsync": _destination("-e --rsh --exclude --include --exclude-from --files-from -f --filter --chmod"),
    "scp": _destination("-P -i -o -F -c -l"),
    "dd": _dd,
    "sed": _sed,
    "gsed": _sed,
    "perl": _perl,
    **dict.fromkeys(_AWK, _awk),
    "tar": _tar,
    "sort": _options("-o --output", "-k -t -S -T"),
    "curl": _options("-o --output --output-dir -D --dump-header -c --cookie-jar --trace --trace-ascii",
                     "-d --data -H --header -X --request -u --user -A -e -b -F -T -K -m -w -x --url --retry"),
    "wget": _options("-O --output-document -P --directory-prefix -o --output-file -a --append-output",
                     "-U -i -T -t"),
    "unzip": _options("-d", "-x -P"),
    "patch": _options("-o --output -d --directory -r", "-p -i --input"),
    "hash": _when("-p", "what a name now runs"),
    "enable": _when("-f -n", "what a name now runs"),
    "bind": _opaque("what a key now runs"),
}  # fmt: skip
