"""What a push of git writes, whatever way it is spelled."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from .words import Word

_PUSH_LONG = tuple(
    """all branches mirror delete tags follow-tags dry-run porcelain force force-with-lease force-if-includes
    repo receive-pack exec set-upstream upstream thin no-thin quiet verbose progress recurse-submodules verify
    no-verify signed no-signed atomic no-atomic push-option ipv4 ipv6 prune prefix stdin stateless-rpc
    helper-status""".split()
)
_PUSH_VALUED = frozenset({"repo", "receive-pack", "exec", "push-option", "prefix"})


@dataclass(frozen=True, slots=True)
class Git:
    """The facts of one git command.

    `targets` are branches that a push writes, "HEAD" for the one checked out.
    """

    subcommand: str
    force: bool = False
    lease: bool = False
    delete: bool = False
    everything: bool = False
    remote: str = ""
    targets: tuple[str, ...] = ()

    @property
    def pushes(self) -> bool:
        """True where it writes refs of another repository."""
        return self.subcommand in ("push", "send-pack")


@dataclass(frozen=True, slots=True)
class GitReading:
    """What was found: facts, commands that git runs, where, paths it changes, and what cannot be known."""

    git: Git
    lines: tuple[Word, ...] = ()
    directories: tuple[Word, ...] = ()
    paths: tuple[Word, ...] = ()
    reasons: tuple[str, ...] = ()


def read_push(subcommand: str, words: list[Word]) -> GitReading:
    git = Git(subcommand)
    reasons: list[str] = []
    operands: list[Word] = []
    rest = list(words)
    options = True
    while rest:
        word = rest.pop(0)
        if not word.known:
            reasons.append(f"what git {subcommand} is given")
            operands.append(word)
        elif options and word.text == "--":
            options = False
        elif options and word.text.startswith("--"):
            name, equals, _ = word.text[2:].partition("=")
            meant = [name] if name in _PUSH_LONG else [o for o in _PUSH_LONG if name and o.startswith(name)]
            git = _long(git, meant)
            if {"exec", "receive-pack"} & set(meant):
                reasons.append("the program that receives the push")
            if not meant and not name.startswith("no-"):
                reasons.append(f"the option --{name} of git push")
            if set(meant) & _PUSH_VALUED and not equals and rest:
                rest.pop(0)
        elif options and word.text.startswith("-") and word.text != "-":
            for at, letter in enumerate(word.text[1:], 1):
                git = replace(git, force=git.force or letter == "f", delete=git.delete or letter == "d")
                if letter == "o":
                    if at == len(word.text) - 1 and rest:
                        rest.pop(0)
                    break
        else:
            operands.append(word)
    if operands:
        git = replace(git, remote=operands[0].text)
    return GitReading(
        _refspecs(git, [w.text for w in operands[1:] if w.known]), reasons=tuple(dict.fromkeys(reasons))
    )


def _long(git: Git, meant: list[str]) -> Git:
    names = set(meant)
    lease = "force-with-lease" in names
    return replace(
        git,
        force=git.force or lease or "force" in names or "mirror" in names,
        lease=git.lease or (lease and len(names) == 1),
        delete=git.delete or bool(names & {"delete", "prune", "mirror"}),
        everything=git.everything or bool(names & {"all", "branches", "mirror", "prune"}),
    )


def _refspecs(git: Git, specs: list[str]) -> Git:
    targets: list[str] = []
    force, delete, everything = git.force, git.delete, git.everything
    tag = False
    for spec in specs:
        if spec == "tag" and not tag:
            tag = True
            continue
        force = force or spec.startswith("+")
        source, colon, target = spec.lstrip("+").partition(":")
        if tag:
            target, colon, tag = f"tags/{source}", ":", False
        delete = delete or bool(colon and not source and target)
        target = target if colon else source
        target = target.removeprefix("refs/heads/").removeprefix("heads/").removeprefix("refs/")
        everything = everything or "*" in target or (bool(colon) and not target)
        targets.append("HEAD" if target in ("HEAD", "@") else target)
    if not targets and not everything:
        targets = ["HEAD"]
    targets = [t for t in dict.fromkeys(targets) if t]
    return replace(git, force=force, delete=delete, everything=everything, targets=tuple(targets))


def on_branches(git: Git, words: Sequence[Word], branches: list[str]) -> Git:
    """The facts where the line itself has changed branches: what is pushed may be any of them.

    `branches` is added to where the command changes to one.
    """
    if git.subcommand in ("checkout", "switch"):
        branches += [
            w.text for w in words if w.known and not w.text.startswith("-") and w.text != git.subcommand
        ]
    if not git.pushes or "HEAD" not in git.targets:
        return git
    return replace(git, targets=tuple(dict.fromkeys((*git.targets, *branches))))
