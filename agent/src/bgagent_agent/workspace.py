"""`Tools` in the harness's own process tree: one clone below the workspace directory."""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from .detection import plan
from .git import Git
from .payload import Session
from .processes import MARK_VARIABLE, kill_marked, run
from .tools import CheckPlan, CommandReport, Prepared, Remote, WorkspaceBroken

# Left by running code, never by writing it; kept out even where the repository forgot to ignore it.
_NEVER_WORK = "__pycache__/\n*.py[co]\n.pytest_cache/\n.mypy_cache/\n.ruff_cache/\nnode_modules/\n.DS_Store\n"
_PREPARE_DEADLINE_S = 600.0
_KEEP_DEADLINE_S = 120.0
_OUTPUT_TAIL_CHARS = 8_000


class Workspace:
    """The clone, its branch and the commands that run in it.

    `mark` is unique to the attempt: whoever started the harness can find all of its processes by it, too.
    """

    def __init__(
        self, root: Path, private: Path, remote: Remote, environment: Mapping[str, str], mark: str
    ) -> None:
        self.mark = mark
        name = remote.url.rstrip("/").rsplit("/", 1)[-1].removesuffix(".git") or "repository"
        self._root = root
        self._private = private
        self._env = {
            **environment,
            MARK_VARIABLE: self.mark,
            "CI": "1",
            "GIT_TERMINAL_PROMPT": "0",
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        self._git = Git(root / name, private, remote, {**environment, "HOME": str(private)})
        self._index = private / "wip.index"
        self._branch = ""
        self._wip_ref = ""
        self._base = ""
        self._own_head = ""
        self._last_snapshot: tuple[str, str] | None = None

    @property
    def directory(self) -> Path:
        """The clone, once it is prepared."""
        return self._git.directory

    @property
    def tool_environment(self) -> Mapping[str, str]:
        """What a command of the repository may see; it carries no token."""
        return self._env

    async def prepare(self, session: Session) -> Prepared:
        """Clone → branch; a checkpoint's files lie in the tree as uncommitted work on the commit they grew
        from.
        """
        git, loop = self._git, asyncio.get_running_loop()
        deadline = loop.time() + _PREPARE_DEADLINE_S
        self._branch, self._wip_ref = session.branch, session.wip_ref
        await asyncio.to_thread(shutil.rmtree, git.directory, True)
        await git.install()
        await git.clone(session.base_branch, deadline)
        (git.directory / ".git" / "info").mkdir(exist_ok=True)
        (git.directory / ".git" / "info" / "exclude").write_text(_NEVER_WORK)
        await git.local("config", "user.name", session.author_name)
        await git.local("config", "user.email", session.author_email)
        await git.local("config", "gc.auto", "0")
        start = await git.local("rev-parse", "HEAD")
        self._base = start
        if await git.fetch(f"+refs/heads/{session.branch}:refs/bgagent/upstream", deadline):
            start = self._base = await git.local("rev-parse", "refs/bgagent/upstream")
        resumed = None
        if session.checkpoint and await git.fetch(f"+{session.checkpoint.ref}:refs/bgagent/wip", deadline):
            wip = await git.local("rev-parse", "refs/bgagent/wip")
            # Work that does not grow from the branch as it stands upstream is older than that branch.
            if (await git.attempt("merge-base", "--is-ancestor", start, wip)).ok and wip != start:
                await git.local("checkout", "-q", "-B", session.branch, wip)
                await git.local("reset", "-q", f"{wip}^")
                resumed = session.checkpoint.turn
        if resumed is None:
            await git.local("checkout", "-q", "-B", session.branch, start)
        return Prepared(str(git.directory), self._base, resumed)

    async def run_command(self, command: str, timeout: float) -> CommandReport:
        """Runs it with `sh -c`; output of both streams in the order it came."""
        began = time.monotonic()
        finished = await run(
            ["/bin/sh", "-c", command], cwd=self._git.directory, env=self._env, timeout=timeout, merge=True
        )
        output = (finished.stdout or finished.stderr)[-_OUTPUT_TAIL_CHARS:]
        seconds = time.monotonic() - began
        return CommandReport(command, finished.ok, finished.code, output, finished.timed_out, seconds)

    async def exclude_leftovers(self) -> None:
        """Adds them to the clone's own exclude file, which is never pushed."""
        listing = await self._git.local("ls-files", "-z", "--others", "--exclude-standard", "--directory")
        paths = [path for path in listing.split("\0") if path]
        if paths:
            lines = "".join(f"/{_escaped(path)}\n" for path in paths if "\n" not in path)
            exclude = self._git.directory / ".git" / "info" / "exclude"
            with exclude.open("a") as file:
                file.write(lines)

    async def plan_checks(self, session: Session) -> CheckPlan:
        """Looks at files only; nothing runs."""
        return await asyncio.to_thread(plan, self._git.directory, session.commands, self._env.get("PATH", ""))

    async def snapshot(self, turn: int) -> str | None:
        """Has an index of its own, so it may run while the agent works; the next one mends a torn state."""
        git = self._git
        head = await git.local("rev-parse", "HEAD")
        if not self._index.exists():
            shutil.copyfile(git.directory / ".git" / "index", self._index)
        await self._stage(self._index)
        tree = await git.local("write-tree", index=self._index)
        if (head, tree) == self._last_snapshot:
            return None
        unchanged = head == self._base and tree == await git.local("rev-parse", f"{head}^{{tree}}")
        if self._last_snapshot is None and unchanged:
            return None
        commit = await git.local("commit-tree", tree, "-p", head, "-m", f"Work in progress after turn {turn}")
        self._last_snapshot = (head, tree)
        return commit

    async def keep(self, commit: str) -> None:
        """Forced: a snapshot replaces the one before."""
        deadline = asyncio.get_running_loop().time() + _KEEP_DEADLINE_S
        await self._git.push(commit, self._wip_ref, deadline, force=True)

    async def commit(self, subject: str, body: str, trailers: Mapping[str, str]) -> str | None:
        """One commit of the harness at most: a later call amends its own. Commits that the agent made stay;
        the
        last one gets the trailers."""
        git = self._git
        for stale in ("index.lock", "HEAD.lock"):
            (git.directory / ".git" / stale).unlink(missing_ok=True)
        await self._return_to_branch()
        await self._stage(None)
        dirty = not (await git.attempt("diff", "--cached", "--quiet", "HEAD")).ok
        head = await git.local("rev-parse", "HEAD")
        marks = [argument for key, value in trailers.items() for argument in ("--trailer", f"{key}: {value}")]
        if dirty:
            amend = ["--amend"] if head == self._own_head else []
            message = f"{subject}\n\n{body}".rstrip() + "\n"
            await git.local("commit", "-q", "--no-verify", *amend, *marks, "-F", "-", stdin=message)
            self._own_head = await git.local("rev-parse", "HEAD")
            if await git.local("rev-parse", "HEAD^{tree}") == await git.local(
                "rev-parse", f"{self._base}^{{tree}}"
            ):
                return None
            return self._own_head
        if head == self._base:
            return None
        if head != self._own_head:
            await git.local("commit", "-q", "--amend", "--allow-empty", "--no-verify", "--no-edit", *marks)
            head = self._own_head = await git.local("rev-parse", "HEAD")
        return head

    async def push(self, commit: str, timeout: float) -> None:
        """A plain fast-forward of the task's branch."""
        deadline = asyncio.get_running_loop().time() + timeout
        await self._git.push(commit, f"refs/heads/{self._branch}", deadline)

    async def kill(self) -> None:
        """Kills by the mark every process of this attempt carries."""
        await kill_marked(self.mark)

    async def _stage(self, index: Path | None) -> None:
        staged = await self._git.attempt("add", "-A", "--", ".", index=index)
        if staged.ok:
            return
        # A repository the agent made inside this one and never committed to cannot be added; leave just that
        # out.
        nested = await asyncio.to_thread(_nested_repositories, self._git.directory)
        if not nested:
            raise WorkspaceBroken(staged.stderr.strip())
        exclusions = [f":(exclude,literal){path}" for path in nested]
        await self._git.local("add", "-A", "--", ".", *exclusions, index=index)

    async def _return_to_branch(self) -> None:
        """An agent that left the branch with nothing new on the way is put back on it."""
        git = self._git
        current = await git.attempt("symbolic-ref", "-q", "--short", "HEAD")
        if current.stdout.strip() == self._branch:
            return
        behind = await git.attempt("merge-base", "--is-ancestor", "HEAD", f"refs/heads/{self._branch}")
        clean = not (await git.attempt("status", "--porcelain")).stdout.strip()
        if behind.ok and clean:
            await git.local("checkout", "-q", self._branch)


def _escaped(path: str) -> str:
    return "".join(f"\\{char}" if char in "\\*?[" else char for char in path)


def _nested_repositories(root: Path) -> Sequence[str]:
    found = []
    for marker in root.glob("**/.git"):
        if marker.parent != root:
            found.append(str(marker.parent.relative_to(root)))
    return found
