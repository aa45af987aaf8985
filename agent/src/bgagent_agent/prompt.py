"""What the agent is told beyond the platform's own prompt."""

from __future__ import annotations

from importlib.resources import files

from .payload import Session

_RESUMED = """

---
An earlier attempt at this task was interrupted after turn {turn}. Its unfinished work is in the working \
tree, not committed: look at `git status` and `git diff` first, then go on from there."""


def user_prompt(session: Session, resumed_turn: int | None) -> str:
    """The platform's prompt, with a word about work that is already there."""
    if resumed_turn is None:
        return session.prompt
    return session.prompt + _RESUMED.format(turn=resumed_turn)


def system_prompt(session: Session) -> str:
    """The platform's, or the built-in one when it sent none."""
    if session.system_prompt.strip():
        return session.system_prompt
    template = files(__package__).joinpath("system_prompt.md").read_text("utf-8")
    return template.format(repo=session.repo, branch=session.branch)
