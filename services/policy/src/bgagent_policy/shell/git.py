"""What a git command does, whatever way it is spelled."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .git_push import Git, GitReading, read_push
from .programs import options_of
from .words import Word

_GLOBAL_VALUED = frozenset(
    "-C -c --git-dir --work-tree --namespace --exec-path --config-env --super-prefix".split()
)
_GLOBAL_FLAGS = frozenset(
    """-p --paginate -P --no-pager --bare --no-replace-objects --no-lazy-fetch --literal-pathspecs
    --glob-pathspecs --noglob-pathspecs --icase-pathspecs --no-optional-locks --no-advice --version -v
    --help -h --html-path --man-path --info-path""".split()
)
_SUBCOMMANDS = frozenset(
    """add am annotate apply archive bisect blame branch bundle cat-file check-attr check-ignore
    check-mailmap check-ref-format checkout checkout-index cherry cherry-pick clean clone column commit
    commit-graph commit-tree config count-objects credential daemon describe diff diff-files diff-index
    diff-tree difftool fast-export fast-import fetch fetch-pack filter-branch fmt-merge-msg for-each-ref
    format-patch fsck gc grep hash-object help init interpret-trailers lfs log ls-files ls-remote
    ls-tree maintenance merge merge-base merge-file merge-tree mergetool mktag mktree mv name-rev notes
    pack-objects pack-refs prune pull push range-diff read-tree rebase reflog remote repack replace
    rerere reset restore rev-list rev-parse revert rm send-email send-pack shortlog show show-branch
    show-ref sparse-checkout stash status stripspace submodule subtree switch symbolic-ref tag
    unpack-objects update-index update-ref var verify-commit verify-pack verify-tag version whatchanged
    worktree write-tree""".split()
)
# Settings whose value git runs as a command.
_RUNS = re.compile(
    r"alias\..+|core\.(?:editor|pager|sshcommand|askpass|fsmonitor|gitproxy|alternaterefscommand)|sequence\.editor"
    r"|pager\..+|diff\.external|diff\..+\.(?:command|textconv)|merge\..+\.driver|filter\..+\.(?:clean|smudge|process)"
    r"|gpg\.(?:.+\.)?program|credential(?:\..+)?\.helper|(?:difftool|mergetool|browser|man)\..+\.cmd|remote\..+\.(?:"
    r"receivepack|uploadpack|vcs)|submodule\..+\.update|interactive\.difffilter"
    r"|uploadpack\.packobjectshook"
)  # fmt: skip
# Settings that change where a push goes or what a checkout runs.
_REDIRECTS = re.compile(
    r"remote\..+|push\..+|url\..+|branch\..+\.(?:merge|pushremote)|core\.(?:hookspath|worktree)|include.*"
)
# Options of other subcommands that take a command.
_COMMAND_OPTIONS = {
    "rebase": ("-x", "--exec"),
    "difftool": ("-x", "--extcmd"),
    "filter-branch": ("--tree-filter", "--index-filter", "--env-filter", "--msg-filter", "--commit-filter"),
    "grep": ("-O", "--open-files-in-pager"),
}


def read_git(words: Sequence[Word], depth: int = 0) -> GitReading:
    """Reads the words after `git`."""
    rest = list(words)
    lines: list[Word] = []
    directories: list[Word] = []
    reasons: list[str] = []
    aliases: dict[str, Word] = {}
    while rest and (not rest[0].known or rest[0].text.startswith("-")):
        word = rest.pop(0)
        name, equals, value = word.text.partition("=")
        if not word.known and not (equals and name in _GLOBAL_VALUED):
            return GitReading(Git(""), reasons=("what git is asked to do",))
        if name in _GLOBAL_VALUED:
            argument = Word(value, word.known) if equals else (rest.pop(0) if rest else Word(""))
            if name == "-C":
                directories.append(argument)
            elif name == "-c":
                _setting(argument, lines, reasons, aliases)
            elif name == "--config-env" or (name == "--exec-path" and argument.text):
                reasons.append(f"what {name} makes of git")
        elif name not in _GLOBAL_FLAGS:
            reasons.append(f"the option {name} of git")
    subcommand = rest.pop(0) if rest else Word("")
    reading = GitReading(Git(subcommand.text))
    if not subcommand.known:
        reasons.append("what git is asked to do")
    elif (alias := aliases.get(subcommand.text.lower())) is not None and subcommand.text not in _SUBCOMMANDS:
        reading = _aliased(alias, rest, lines, reasons, depth)
    elif subcommand.text and subcommand.text not in _SUBCOMMANDS:
        reasons.append(f"git {subcommand.text}, which may be an alias")
    elif subcommand.text in ("push", "send-pack"):
        reading = read_push(subcommand.text, rest)
    elif subcommand.text == "subtree" and rest and rest[0].text == "push":
        reading = read_push("push", rest[1:])
    else:
        reading = _other(subcommand.text, rest, aliases)
    return GitReading(
        reading.git, (*lines, *reading.lines), (*directories, *reading.directories), reading.paths,
        (*reasons, *reading.reasons),
    )  # fmt: skip


def _setting(argument: Word, lines: list[Word], reasons: list[str], aliases: dict[str, Word]) -> None:
    """One `key=value` for git: an alias, a command, or something that changes a push."""
    if not argument.known:
        reasons.append("a setting of git")
        return
    key, _, value = argument.text.partition("=")
    key = key.lower()
    if key.startswith("alias."):
        aliases[key[6:]] = Word(value)
        lines.append(Word(value[1:] if value.startswith("!") else f"git {value}"))
    elif _RUNS.fullmatch(key):
        lines.append(Word(value.removeprefix("!")))
    elif _REDIRECTS.fullmatch(key):
        reasons.append(f"git's setting {key}")


def _aliased(alias: Word, rest: list[Word], lines: list[Word], reasons: list[str], depth: int) -> GitReading:
    if alias.text.startswith("!") or depth > 4 or re.search(r"[\"'\\$`]", alias.text):
        # The alias itself was read as a line; what is appended to it was not.
        if rest or not alias.text.startswith("!"):
            reasons.append("what an alias of git does")
        return GitReading(Git(""))
    return read_git([*(Word(part) for part in alias.text.split()), *rest], depth + 1)


def _other(subcommand: str, rest: list[Word], aliases: dict[str, Word]) -> GitReading:
    lines: list[Word] = []
    reasons: list[str] = []
    paths: tuple[Word, ...] = ()
    for option in _COMMAND_OPTIONS.get(subcommand, ()):
        for at, word in enumerate(rest):
            if word.text == option and at + 1 < len(rest) and option != "-O":
                lines.append(rest[at + 1])
            elif word.text.startswith(option + "=") or (
                option in ("-x", "-O") and word.text.startswith(option) and word.text != option
            ):
                value = word.text[len(option) :].removeprefix("=")
                lines.append(Word(value, word.known))
    operands = [w for w in rest if not w.text.startswith("-")]
    if subcommand == "bisect" and operands and operands[0].text == "run":
        lines.append(_joined(rest[rest.index(operands[0]) + 1 :]))
    elif subcommand == "submodule" and operands and operands[0].text == "foreach":
        lines.append(_joined([w for w in rest[rest.index(operands[0]) + 1 :] if w.text != "--recursive"]))
    elif subcommand == "config" and len(operands) >= 2:
        named = operands[1:] if operands[0].text in ("set", "add") else operands
        if len(named) >= 2 and operands[0].text not in ("get", "unset", "list"):
            pair = Word(f"{named[0].text}={named[1].text}", named[0].known and named[1].known)
            _setting(pair, lines, reasons, aliases)
    elif subcommand in ("log", "diff", "show", "archive", "format-patch"):
        options, _ = options_of(rest, "-o --output --output-directory")
        paths = tuple(w for name in ("-o", "--output", "--output-directory") for w in options.get(name, ()))
    elif subcommand in ("rm", "mv"):
        paths = tuple(operands)
    elif subcommand == "clone" and any(
        w.text.startswith(("-c", "--config", "-u", "--upload-pack", "--template")) for w in rest
    ):
        reasons.append("what git clone is told to run")
    return GitReading(Git(subcommand), tuple(lines), paths=paths, reasons=tuple(reasons))


def _joined(words: Sequence[Word]) -> Word:
    return Word(" ".join(w.text for w in words), known=all(w.known for w in words))
