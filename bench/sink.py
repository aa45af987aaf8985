"""Stands where Slack's Web API would, takes every message at once, and remembers when each came.

`python -m bench.sink PORT FILE`; a GET says how many came. On SIGTERM it writes a line `effect_id nanoseconds` for each
message into FILE.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from pathlib import Path


class Connection(asyncio.Protocol):
    """One client's requests, one after the other."""

    def __init__(self, arrivals: list[tuple[str, int]]) -> None:
        self._arrivals = arrivals
        self._pending = b""
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the way back."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answers every request that is whole."""
        now = time.time_ns()
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            head = self._pending[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._pending) < end + 4 + length:
                return
            body = self._pending[end + 4 : end + 4 + length]
            self._pending = self._pending[end + 4 + length :]
            self._answer(body, now)

    def _answer(self, body: bytes, now: int) -> None:
        answer: dict[str, object] = {"status": "ok", "ok": True, "arrived": len(self._arrivals)}
        if body:
            message = json.loads(body)
            self._arrivals.append((message["metadata"]["event_payload"]["effect_id"], now))
            answer |= {"channel": message["channel"], "ts": f"{now // 10**9}.{len(self._arrivals):06}"}
        text = json.dumps(answer).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(text)}\r\n\r\n"
        if self._transport is not None:
            self._transport.write(head.encode() + text)
            if not body:
                self._transport.close()


async def serve(port: int, arrivals: list[tuple[str, int]]) -> None:
    """Serves until told to stop."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: Connection(arrivals), "127.0.0.1", port)
    await stop.wait()
    server.close()


def main() -> None:
    """The sink as a process."""
    arrivals: list[tuple[str, int]] = []
    asyncio.run(serve(int(sys.argv[1]), arrivals))
    Path(sys.argv[2]).write_text("".join(f"{effect} {at}\n" for effect, at in arrivals))


if __name__ == "__main__":
    main()
