"""Runs commands in groups of their own and ends everything that the task has started.

Every process of the tools side carries the session's name in its environment, as the harness itself does. The
agent's CLI puts its shells into sessions of their own, so a process group does not reach them, and when the
CLI is killed they live on under init; by the name this program and the compute node find them all. A process
that drops its environment on purpose escapes and dies with the sandbox. Git of the harness carries no name: a
push on its way is not a tool.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK_VARIABLE = "BGAGENT_SESSION"
_TAIL_BYTES = 65_536
_PIPE_GRACE_S = 0.5
_EXIT_GRACE_S = 2.0
_KILL_ROUNDS = 50


@dataclass(frozen=True)
class Finished:
    """How a command ended; `stdout` and `stderr` are the last 64 KB of each (stderr is empty when merged)."""

    code: int
    stdout: str
    stderr: str
    timed_out: bool

    @property
    def ok(self) -> bool:
        """Exit code 0 within the time."""
        return self.code == 0 and not self.timed_out


class _Tail:
    """The read end of a pipe of our own that keeps the last bytes, so that endless output costs no memory.

    It is not one of asyncio's own pipes because `Process.wait` waits for those to close as well, and a daemon
    that a command left behind holds them open for ever.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = bytearray()
        self._source, self.sink = os.pipe()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Takes over reading, after the child was given the write end."""
        os.close(self.sink)
        self._task = asyncio.create_task(self._read())

    async def settle(self) -> None:
        """Waits a moment for what is still in the pipe; a daemon's later output is nobody's."""
        if self._task is not None:
            await asyncio.wait({self._task}, timeout=_PIPE_GRACE_S)

    def stop(self) -> None:
        """Gives the pipe back."""
        if self._task is not None:
            self._task.cancel()

    async def _read(self) -> None:
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(self._source, "rb", buffering=0)
        )
        try:
            while chunk := await reader.read(65_536):
                self._bytes += chunk
                if len(self._bytes) > 2 * self._limit:
                    del self._bytes[: -self._limit]
        finally:
            transport.close()

    @property
    def text(self) -> str:
        """What was kept, with undecodable bytes replaced."""
        return bytes(self._bytes[-self._limit :]).decode("utf-8", "replace")


async def run(
    argv: Sequence[str],
    *,
    cwd: Path,
    env: Mapping[str, str],
    timeout: float,
    stdin: str | None = None,
    merge: bool = False,
    tail_bytes: int = _TAIL_BYTES,
) -> Finished:
    """Runs one command to its end, its deadline or the caller's cancellation; its whole group dies with it.

    A command that cannot be started ends like in a shell, with code 127.
    """
    out, err = _Tail(tail_bytes), _Tail(tail_bytes)
    try:
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL if stdin is None else asyncio.subprocess.PIPE,
            stdout=out.sink,
            stderr=out.sink if merge else err.sink,
            start_new_session=True,
        )
    except OSError as error:
        out.start()
        err.start()
        await asyncio.gather(out.settle(), err.settle())
        return Finished(127, "", f"{argv[0]}: {error.strerror}", False)
    out.start()
    err.start()
    exited = asyncio.ensure_future(process.wait())
    timed_out = False
    try:
        if stdin is not None and process.stdin is not None:
            process.stdin.write(stdin.encode())
            process.stdin.close()
        done, _ = await asyncio.wait({exited}, timeout=timeout)
        timed_out = not done
    finally:
        _kill_group(process.pid)
        await asyncio.wait({exited}, timeout=_EXIT_GRACE_S)
        await asyncio.gather(out.settle(), err.settle())
        out.stop()
        err.stop()
    code = process.returncode if process.returncode is not None else -signal.SIGKILL
    return Finished(code, out.text, err.text, timed_out)


def _kill_group(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def marked(mark: str) -> list[int]:
    """The living processes that carry the mark, except this one and those that started it."""
    needle = f"{MARK_VARIABLE}={mark}".encode()
    spared = _ancestors(os.getpid())
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) in spared:
            continue
        with contextlib.suppress(OSError):
            if needle in Path(entry.path, "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


async def kill_marked(mark: str) -> int:
    """Kills all marked processes and what they start meanwhile; returns how many signals were sent."""
    killed = 0
    for _ in range(_KILL_ROUNDS):
        victims = await asyncio.to_thread(marked, mark)
        if not victims:
            break
        for pid in victims:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        await asyncio.sleep(0.01)
    return killed


def _ancestors(pid: int) -> set[int]:
    """A process and all above it: a wrapper that started the harness carries its environment as well."""
    found = set()
    while pid > 1 and pid not in found:
        found.add(pid)
        try:
            stat = Path(f"/proc/{pid}/stat").read_text()
        except OSError:
            break
        pid = int(stat.rsplit(")", 1)[1].split()[1])
    return found
