"""The `Tools` seam: everything that touches the repository's files or runs its code.

The first implementation (`workspace.py`) works in the harness's own process tree. A later one runs under
another user or in another container, so nothing here hands out paths, processes or credentials.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from .payload import Session


@dataclass(frozen=True)
class Remote:
    """Where to clone from and push to; the credential is asked for by git, never written down."""

    url: str
    username: str
    password: str = field(repr=False)


@dataclass(frozen=True)
class Prepared:
    """A repository that is ready for the agent; `resumed_turn` is that of the checkpoint it starts from."""

    directory: str
    base_commit: str
    resumed_turn: int | None


@dataclass(frozen=True)
class CommandReport:
    """How one of the repository's commands ended, with the end of its output."""

    command: str
    ok: bool
    code: int
    output_tail: str
    timed_out: bool
    seconds: float


@dataclass(frozen=True)
class CheckPlan:
    """What verifies the work: commands in order, or none and the reason why."""

    commands: tuple[str, ...]
    reason: str


class PushRefused(Exception):
    """The remote looked at the push and said no; the message is its reason. Trying again changes nothing."""


class RemoteUnavailable(Exception):
    """The remote could not be reached, or answered with an error of its own, until the deadline."""


class WorkspaceBroken(Exception):
    """Git no longer works in the workspace, for example because its directory was removed."""


class Tools(Protocol):
    """The workspace of one attempt."""

    async def prepare(self, session: Session) -> Prepared:
        """Clones and checks out the task's branch, from the checkpoint if there is one; raises
        `RemoteUnavailable` or `PushRefused` when the remote does not let it."""
        ...

    async def run_command(self, command: str, timeout: float) -> CommandReport:
        """Runs a command line of the repository in its root; cancelling it kills all it started."""
        ...

    async def exclude_leftovers(self) -> None:
        """Marks files that are untracked now as not the agent's work: what setup or checks left behind."""
        ...

    async def plan_checks(self, session: Session) -> CheckPlan:
        """The configured commands, or detected ones."""
        ...

    async def snapshot(self, turn: int) -> str | None:
        """A commit of everything not ignored that moves no branch; None when nothing changed since."""
        ...

    async def keep(self, commit: str) -> None:
        """Pushes a snapshot to the task's wip ref."""
        ...

    async def commit(self, subject: str, body: str, trailers: Mapping[str, str]) -> str | None:
        """Commits everything not ignored; the head of the work, None when nothing differs from the base."""
        ...

    async def push(self, commit: str, timeout: float) -> None:
        """Pushes to the task's branch; raises `PushRefused` or `RemoteUnavailable`."""
        ...

    async def kill(self) -> None:
        """Ends every process that runs for this attempt, at once."""
        ...
