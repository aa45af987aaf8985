"""The workspace of a local run: nobody keeps checkpoints, and unpushed work is told of, not lost."""

from __future__ import annotations

from pathlib import Path

from ..tools import Remote, WorkspaceBroken
from ..workspace import Workspace


class LocalWorkspace(Workspace):
    """Pushes the branch and nothing else: a snapshot stays in the clone, where a push would start the CI."""

    def __init__(
        self, root: Path, private: Path, remote: Remote, environment: dict[str, str], mark: str
    ) -> None:
        super().__init__(root, private, remote, environment, mark)
        self._pushed: str | None = None

    async def keep(self, commit: str) -> None:
        """As a ref of the clone."""
        await self._git.local("update-ref", "refs/bgagent/wip", commit)

    async def push(self, commit: str, timeout: float) -> None:
        """Remembers what the remote has taken."""
        await super().push(commit, timeout)
        self._pushed = commit

    async def unpushed(self) -> str | None:
        """Commits what is there and returns it, unless the remote has it or there is no work."""
        if not (self._git.directory / ".git").is_dir() or not self._base:
            return None
        try:
            commit = await self.commit("Unfinished work", "", {})
        except WorkspaceBroken:
            return "work in a repository that git cannot read"
        return None if commit == self._pushed else commit
