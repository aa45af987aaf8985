"""Git for the harness: no hook of the repository runs, no credential is written down.

Commands that carry the credential never read configuration the agent could have written: a push runs in a
bare transfer repository of the harness's own that borrows the workspace's objects.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from pathlib import Path

from .errors import StaleAttempt
from .processes import Finished, run
from .tools import PushRefused, Remote, RemoteUnavailable, WorkspaceBroken

_ASKPASS = """#!/bin/sh
case "$1" in
    Username*) printf '%s\\n' "$BGAGENT_GIT_USERNAME" ;;
    *) printf '%s\\n' "$BGAGENT_GIT_PASSWORD" ;;
esac
"""
# Given through the environment, so they win over every configuration file.
_CONFIG = {
    "core.hooksPath": "/dev/null",
    "core.fsmonitor": "false",
    "core.quotePath": "false",
    "commit.gpgSign": "false",
    "credential.helper": "",
    "gc.auto": "0",
    "maintenance.auto": "false",
    "advice.detachedHead": "false",
    "init.defaultBranch": "main",
    "protocol.version": "2",
    "safe.directory": "*",
}
_FINAL = re.compile(
    r"not found|could not read (?:Username|Password)|couldn't find remote ref|Remote branch .* not found"
    r"|Authentication failed|error: 4(?!10|08|29)\d\d",
    re.I,
)
# Somebody moved the ref between its advertisement and the update: mostly our own push, whose
# answer was lost and whose receiver works on. The next try finds the ref where we wanted it, or gets a
# refusal that stands.
_LOST_RACE = re.compile(
    r"reference already exists|is at [0-9a-f]{7,} but expected|incorrect old value provided"
    r"|Unable to create '.*\.lock': File exists",
)
# The hook (PreReceive of the agent gateway) could not look at the push: this is no verdict.
_NOT_NOW = re.compile(r"^remote: bgagent: the platform cannot take the push now\b", re.M)
_STALE = re.compile(r"returned error: (?:410|401)|Authentication failed|STALE_EPOCH")
_REFUSED_LINE = re.compile(r"^!\t[^\t]*\t(.*)$", re.M)
_REMOTE_LINE = re.compile(r"^remote: ?(.*?)\s*$", re.M)
_LOCAL_TIMEOUT_S = 300.0
_FIRST_DELAY_S = 0.2
_LONGEST_DELAY_S = 5.0


class Git:
    """Runs git for one repository directory and one remote."""

    def __init__(self, directory: Path, private: Path, remote: Remote, env: Mapping[str, str]) -> None:
        self.directory = directory
        self._private = private
        self._transfer = private / "transfer.git"
        self._remote = remote
        self._local_env = self._environment(env)
        self._remote_env = {
            **self._local_env,
            "GIT_ASKPASS": str(private / "askpass"),
            "BGAGENT_GIT_USERNAME": remote.username,
            "BGAGENT_GIT_PASSWORD": remote.password,
        }

    def _environment(self, env: Mapping[str, str]) -> dict[str, str]:
        config = {f"GIT_CONFIG_KEY_{i}": key for i, key in enumerate(_CONFIG)}
        config |= {f"GIT_CONFIG_VALUE_{i}": value for i, value in enumerate(_CONFIG.values())}
        return {
            **env,
            **config,
            "LC_ALL": "C",
            "GIT_CONFIG_COUNT": str(len(_CONFIG)),
            "GIT_CONFIG_NOSYSTEM": "1",
            "GIT_CONFIG_GLOBAL": "/dev/null",
            "GIT_TERMINAL_PROMPT": "0",
            "GIT_TEMPLATE_DIR": "",
        }

    async def install(self) -> None:
        """Writes the askpass helper and the transfer repository into the private directory."""
        self._private.mkdir(mode=0o700, parents=True, exist_ok=True)
        askpass = self._private / "askpass"
        askpass.write_text(_ASKPASS)
        askpass.chmod(0o700)
        await self._checked(await self._run(["init", "-q", "--bare", str(self._transfer)], self._private))

    async def local(self, *args: str, index: Path | None = None, stdin: str | None = None) -> str:
        """A command on the repository; its output without the last newline, or `WorkspaceBroken`."""
        return await self._checked(await self.attempt(*args, index=index, stdin=stdin))

    async def attempt(self, *args: str, index: Path | None = None, stdin: str | None = None) -> Finished:
        """Like `local`, for commands whose failure is an answer."""
        extra = {"GIT_INDEX_FILE": str(index)} if index else {}
        return await self._run(list(args), self.directory, self._local_env | extra, stdin=stdin)

    async def clone(self, branch: str, deadline: float) -> None:
        """Clones one branch (the default one if empty) into the directory, which must not exist yet."""
        args = ["clone", "-q", "--no-tags", "--single-branch"]
        args += ["--branch", branch] if branch else []
        await self._retried([*args, "--", self._remote.url, str(self.directory)], self._private, deadline)

    async def fetch(self, refspec: str, deadline: float) -> bool:
        """Fetches one refspec; False when the remote has no such ref."""
        try:
            args = ["fetch", "-q", "--no-tags", self._remote.url, refspec]
            await self._retried(args, self.directory, deadline)
        except PushRefused as refusal:
            if "find remote ref" in str(refusal):
                return False
            raise
        return True

    async def push(self, commit: str, ref: str, deadline: float, *, force: bool = False) -> None:
        """Pushes one commit to one ref; raises `PushRefused` with the remote's reason."""
        spec = f"{'+' if force else ''}{commit}:{ref}"
        await self._retried(["push", "--porcelain", self._remote.url, spec], self._transfer, deadline)

    async def _retried(self, args: list[str], cwd: Path, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        env = self._remote_env | {
            "GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self.directory / ".git" / "objects")
        }
        delay = _FIRST_DELAY_S
        while True:
            timeout = max(1.0, deadline - loop.time())
            finished = await self._run(args, cwd, env, timeout=timeout)
            if finished.ok:
                return
            _raise_final(finished)
            if loop.time() + delay > deadline:
                raise RemoteUnavailable(finished.stderr.strip() or "git timed out")
            await asyncio.sleep(delay)
            delay = min(delay * 2, _LONGEST_DELAY_S)

    async def _run(
        self,
        args: list[str],
        cwd: Path,
        env: Mapping[str, str] | None = None,
        *,
        stdin: str | None = None,
        timeout: float = _LOCAL_TIMEOUT_S,
    ) -> Finished:
        return await run(["git", *args], cwd=cwd, env=env or self._local_env, timeout=timeout, stdin=stdin)

    async def _checked(self, finished: Finished) -> str:
        if not finished.ok:
            raise WorkspaceBroken(finished.stderr.strip() or f"git exited with {finished.code}")
        return finished.stdout.removesuffix("\n")


def _raise_final(finished: Finished) -> None:
    """Raises for an answer that no retry can change; returns for everything that may pass."""
    if _STALE.search(finished.stderr):
        raise StaleAttempt("the git token is no longer accepted")
    refused = _REFUSED_LINE.search(finished.stdout)
    if refused and (_LOST_RACE.search(finished.stderr) or _NOT_NOW.search(finished.stderr)):
        return
    if refused:
        said = [line for line in _REMOTE_LINE.findall(finished.stderr) if line]
        raise PushRefused("\n".join([*said, refused.group(1)]))
    if _FINAL.search(finished.stderr):
        raise PushRefused(finished.stderr.strip())
