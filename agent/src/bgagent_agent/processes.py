"""Runs commands in groups of their own and ends everything that the task has started.

Every process of the tools side carries a mark in its environment. The agent's CLI puts its shells into
sessions of
their own, so a process group does not reach them, and when the CLI is killed they live on under init; the
mark
finds them all. A process that drops its environment on purpose escapes it and dies with the sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

MARK_VARIABLE = "BGAGENT_SANDBOX"
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
    that a
    command left behind holds them open for ever.
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
    """The living processes that carry the mark, this one excepted."""
    needle = f"{MARK_VARIABLE}={mark}".encode()
    found = []
    for entry in os.scandir("/proc"):
        if not entry.name.isdigit() or int(entry.name) == os.getpid():
            continue
        with contextlib.suppress(OSError):
            if needle in Path(entry.path, "environ").read_bytes().split(b"\0"):
                found.append(int(entry.name))
    return found


async def kill_marked(mark: str, spare: Sequence[int] = ()) -> int:
    """Kills all marked processes and what they start meanwhile; returns how many signals were sent."""
    killed = 0
    for _ in range(_KILL_ROUNDS):
        victims = [pid for pid in await asyncio.to_thread(marked, mark) if pid not in spare]
        if not victims:
            break
        for pid in victims:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
                killed += 1
        await asyncio.sleep(0.01)
    return killed
