"""What a command does: launchers taken off, lines of shell in arguments read, programs looked up."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..paths import MAX_DIRECTORIES
from .command import Call, Command, Feed, Scope, Write
from .effects import directory_of, printed_of, removal_of, scripts_of, writes_of
from .find import read_find
from .git import read_git
from .git_push import Git, on_branches
from .launchers import launch_of
from .programs import PRINTERS, RUN_INPUT, SHELLS, Use, drops_table, options_of, use_of
from .words import Word, quoted

if TYPE_CHECKING:
    from .reader import Reader

# Variables whose value some program runs, and those that change what runs without showing it.
_RUN_BY = re.compile(
    r"GIT_(?:SSH|SSH_COMMAND|EDITOR|SEQUENCE_EDITOR|PAGER|EXTERNAL_DIFF|ASKPASS|PROXY_COMMAND)|EDITOR|VISUAL|PAGER"
    r"|MANPAGER|BROWSER|SSH_ASKPASS|LESSOPEN|PROMPT_COMMAND|PS[0124]"
)
_HIDDEN = re.compile(
    r"BASH_ENV|ENV|CDPATH|LD_PRELOAD|LD_AUDIT|GIT_CONFIG(?:_.+)?|GIT_EXEC_PATH|GIT_TEMPLATE_DIR|SHELLOPTS|BASHOPTS|BASH_FUNC_.+"
    r"|PERL5OPT|RUBYOPT|PYTHONSTARTUP"
)
_RESERVED = frozenset(
    "! { } [[ ]] (( )) if then else elif fi do done case esac while until for select function in".split()
)
_MOVES = frozenset(("cd", "chdir", "pushd", "popd"))


def run(reader: Reader, call: Call, scope: Scope, depth: int) -> Feed:
    """Reads one command into the reader's list and returns what it prints, where the line says it."""
    reader.count()
    reasons = _assignments(reader, call, scope, depth)
    redirected, unclear = _redirections(reader, call, scope)
    reasons += unclear
    words = call.words
    if (words and words[0].text in _RESERVED) or any(word.text in ("{", "}") for word in words):
        # The grammar takes some compound commands for simple ones: `time { …; }`.
        reader.unparsed.append(f"{words[0].text} as a command")
    if not words:
        if redirected or reasons:
            reader.add(Command("", writes=tuple(redirected), unknown=tuple(reasons)))
        return Feed("", not reasons)
    if not words[0].known or words[0].pattern or not words[0].text:
        reader.add(_command(call, "", redirected, [*reasons, "which program runs"]))
        return Feed()
    program = posixpath.basename(words[0].text)
    if program in _MOVES:
        reasons += _move(reader, program, words[1:], scope)
        reader.add(_command(call, program, redirected, reasons))
        return Feed("", True)
    if (value := reader.aliases.get(program)) is not None:
        reader.read(
            " ".join([value, *(quoted(w.text) if w.known else w.text for w in words[1:])]), scope, depth + 1
        )
    launch = launch_of(program, words[1:], piped=bool(call.feeds))
    if launch is not None:
        return _launched(reader, call, program, redirected, reasons, scope, depth)
    scope.settle()
    if (lines := _lines(program, words[1:])) is not None:
        _read_lines(reader, call, lines, redirected, reasons, scope, depth)
        return Feed()
    if program == "alias":
        _aliases(reader, words[1:], scope, depth)
    _plain(reader, call, program, redirected, reasons, scope, depth)
    return printed_of(program, words[1:], call.feeds)


def _command(call: Call, program: str, writes: Sequence[Write], reasons: Sequence[str]) -> Command:
    return Command(program, call.words, call.text, tuple(writes), unknown=tuple(dict.fromkeys(reasons)))


def _assignments(reader: Reader, call: Call, scope: Scope, depth: int) -> list[str]:
    reasons = []
    for name, value in call.assignments:
        if _RUN_BY.fullmatch(name):
            if value.known:
                reader.read(value.text, scope.copy(), depth + 1)
            else:
                reasons.append(f"what ${name} runs")
        elif _HIDDEN.fullmatch(name) and value.text:
            reasons.append(f"what ${name} changes")
    return reasons


def _redirections(reader: Reader, call: Call, scope: Scope) -> tuple[list[Write], list[str]]:
    writes, reasons = writes_of(reader.layout, call.redirections, scope, redirected=True)
    return writes, ["where output goes" for _ in reasons]


def _move(reader: Reader, program: str, words: Sequence[Word], scope: Scope) -> list[str]:
    _, operands = options_of([w for w in words if w.text != "-"])
    back = any(w.text == "-" or re.fullmatch(r"[+-]\d+", w.text) for w in words)
    target = operands[0] if operands else Word(reader.layout.home)
    moved = None
    if target.known and not target.pattern and not back and program != "popd":
        moved = reader.layout.candidates(target.text, scope.directories)
    if moved is None or scope.directories is None or len(moved) + len(scope.directories) > MAX_DIRECTORIES:
        scope.directories = scope.sure = None if moved is None else frozenset(moved)
        if moved is not None:
            scope.directories = None
    else:
        scope.directories |= frozenset(moved)
        scope.sure = frozenset(moved)
    return []


def _launched(
    reader: Reader,
    call: Call,
    program: str,
    redirected: list[Write],
    reasons: list[str],
    scope: Scope,
    depth: int,
) -> Feed:
    launch = launch_of(program, call.words[1:], piped=bool(call.feeds))
    assert launch is not None
    inner_scope = scope if program in ("command", "builtin", "exec", "time") else scope.copy()
    if launch.directory is not None:
        moved = (
            reader.layout.candidates(launch.directory.text, scope.directories)
            if launch.directory.known
            else None
        )
        inner_scope.directories = None if moved is None else frozenset(moved)
        inner_scope.settle()
    pairs = tuple(
        (word.text.partition("=")[0], Word(word.text.partition("=")[2], word.known))
        for word in launch.assignments
    )
    if launch.reason:
        reasons.append(launch.reason)
    if not launch.words or redirected or reasons or program in ("flock", "script"):
        reader.add(_command(call, program, redirected, reasons))
    if program == "flock" and len(call.words) > 1:
        _plain(reader, Call((Word("touch"), *_first_operand(call.words[1:]))), "touch", [], [], scope, depth)
    inner = call.inner(launch.words, launch.prefix)
    if launch.line is not None:
        _read_lines(reader, call, (launch.line,), [], [], inner_scope, depth)
        return Feed()
    inner = Call(inner.words, (*inner.assignments, *pairs), feeds=inner.feeds, prefix=inner.prefix)
    if not launch.words:
        return Feed()
    if depth >= reader.max_depth:
        reader.unparsed.append("launchers are nested too deeply")
        return Feed()
    return run(reader, inner, inner_scope, depth + 1)


def _first_operand(words: Sequence[Word]) -> tuple[Word, ...]:
    return tuple(w for w in words if not w.text.startswith("-"))[:1]


def _lines(program: str, words: Sequence[Word]) -> tuple[Word, ...] | None:
    """The lines that a shell or builtin is given in its arguments; None where it is given none."""
    if program == "eval":
        rest = list(words[1:] if words and words[0].text == "--" else words)
        return (Word(" ".join(w.text for w in rest), all(w.known for w in rest)),) if rest else ()
    if program == "trap":
        operands = [w for w in words if w.text != "--"]
        return (operands[0],) if operands and not operands[0].text.startswith("-") else None
    if program not in SHELLS:
        return None
    rest = list(words)
    while rest and (not rest[0].known or re.match(r"[-+]\w|--\w", rest[0].text)):
        option = rest.pop(0)
        if not option.known:
            return (option,) if any(re.fullmatch(r"-\w*c", w.text) for w in rest) else None
        if option.text in ("--rcfile", "--init-file", "-o", "+o", "-O", "+O") and rest:
            if option.text in ("--rcfile", "--init-file"):
                return (Word(rest[0].text, known=False),)
            rest.pop(0)
        elif re.fullmatch(r"-\w*c\w*", option.text) or option.text == "--command":
            while rest and rest[0].known and re.match(r"[-+]\w|--$", rest[0].text):
                rest.pop(0)
            return (rest[0],) if rest else ()
        elif re.fullmatch(r"-\w*s\w*", option.text):
            return None
    return None


def _read_lines(
    reader: Reader,
    call: Call,
    lines: Sequence[Word],
    redirected: list[Write],
    reasons: list[str],
    scope: Scope,
    depth: int,
) -> None:
    for line in lines:
        if not line.known:
            reasons.append("what the shell is told to run")
    if redirected or reasons:
        reader.add(_command(call, posixpath.basename(call.words[0].text), redirected, reasons))
    inner = scope if call.words[0].text == "eval" else scope.copy()
    for line in lines:
        reader.read(_unwrapped(line), inner, depth + 1, call.feeds)


def _unwrapped(line: Word) -> str:
    """The text of a line; one that is not known is still looked through for what is forbidden."""
    text = line.text
    if not line.known and len(text) > 1 and text[0] == text[-1] == '"':
        text = text[1:-1].replace('\\"', '"')
    return text


def _aliases(reader: Reader, words: Sequence[Word], scope: Scope, depth: int) -> None:
    for word in words:
        name, equals, value = word.text.partition("=")
        if equals and word.known:
            reader.aliases[name] = value
            reader.read(value, scope.copy(), depth + 1)


def _plain(
    reader: Reader,
    call: Call,
    program: str,
    redirected: list[Write],
    reasons: list[str],
    scope: Scope,
    depth: int,
) -> None:
    """A command that starts no other, looked up in the tables."""
    words = call.words[1:]
    use = Use()
    facts: Git | None = None
    where = scope
    if program == "git":
        git = read_git(words)
        reasons = [*reasons, *git.reasons]
        where = directory_of(reader.layout, git.directories, scope)
        use = Use(git.paths)
        facts = on_branches(git.git, words, reader.branches)
        for line in git.lines:
            if line.known:
                reader.read(line.text, where.copy(), depth + 1)
            else:
                reasons.append("what git is told to run")
    elif program == "find":
        found = read_find(words)
        use = Use(found.writes, found.removal)
        for inner in found.commands:
            if depth >= reader.max_depth:
                reader.unparsed.append("commands are nested too deeply")
            elif inner:
                run(reader, Call(inner, prefix=call.prefix), scope.copy(), depth + 1)
    else:
        use = use_of(program, words)
    reasons = [*reasons, *use.reasons]
    writes, unclear = writes_of(reader.layout, use.writes, where, removed=use.removal is not None)
    scripts, piped = scripts_of(program, call)
    if program in RUN_INPUT and not scripts:
        for feed in call.feeds:
            reader.read(feed.text, scope.copy(), depth + 1)
    texts = [*(w.text for w in words), *(feed.text for feed in call.feeds)]
    reader.add(
        Command(
            program, call.words, call.text, (*writes, *redirected),
            git=facts,
            removal=removal_of(reader.layout, use.removal, where),
            unknown=tuple(dict.fromkeys([*reasons, *unclear])),
            piped_script=piped,
            drops_table=program not in PRINTERS and program != "git" and drops_table(texts),
            scripts=scripts,
        )
    )  # fmt: skip
