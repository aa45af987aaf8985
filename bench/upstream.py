"""Stands where the model's API would, and is never what limits: every answer is made before it is asked for.

`python -m bench.upstream PORT MEGABYTES`. A body that asks for a stream is answered by that much of server-sent events,
any other by one short message; a GET says that it is there.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys

MODEL = "model"
# About what a model says at once.
WORDS = "the parser drops the last field of a quoted line "
PIECE = 32 * 1024


def _event(name: str, body: dict[str, object]) -> bytes:
    return f"event: {name}\ndata: {json.dumps({'type': name, **body})}\n\n".encode()


def _chunk(data: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(data), data)


def _head(kind: str, framing: str) -> bytes:
    return f"HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\n{framing}\r\n\r\n".encode()


def message() -> bytes:
    """A whole answer that is no stream."""
    content = [{"type": "text", "text": WORDS}]
    usage = {"input_tokens": 100, "output_tokens": 10}
    text = json.dumps(
        {
            "id": "msg_bench",
            "type": "message",
            "role": "assistant",
            "model": MODEL,
            "content": content,
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": usage,
        }
    ).encode()
    return _head("application/json", f"Content-Length: {len(text)}") + text


def piece() -> bytes:
    """Events of a stream, as many as are written at once."""
    delta = _event("content_block_delta", {"index": 0, "delta": {"type": "text_delta", "text": WORDS}})
    return _chunk(delta * (PIECE // len(delta)))


def opening() -> bytes:
    """A stream's head and first events."""
    usage = {"input_tokens": 100, "output_tokens": 1}
    start = {"id": "msg_bench", "type": "message", "role": "assistant", "model": MODEL, "content": [], "usage": usage}
    block = {"index": 0, "content_block": {"type": "text", "text": ""}}
    events = _event("message_start", {"message": start}) + _event("content_block_start", block)
    return _head("text/event-stream", "Transfer-Encoding: chunked") + _chunk(events)


def closing() -> bytes:
    """A stream's last events and its end."""
    delta = {"delta": {"stop_reason": "end_turn", "stop_sequence": None}, "usage": {"output_tokens": 1000}}
    events = _event("content_block_stop", {"index": 0}) + _event("message_delta", delta) + _event("message_stop", {})
    return _chunk(events) + b"0\r\n\r\n"


class Connection(asyncio.Protocol):
    """One client's requests, one after the other."""

    def __init__(self, pieces: int) -> None:
        self._pieces = pieces
        self._pending = b""
        self._transport: asyncio.Transport | None = None
        self._room = asyncio.Event()
        self._room.set()
        self._streams: set[asyncio.Task[None]] = set()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keeps the way back."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=4 * PIECE)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        """Nobody reads any more."""
        for one in self._streams:
            one.cancel()

    def pause_writing(self) -> None:
        """The reader is slower."""
        self._room.clear()

    def resume_writing(self) -> None:
        """There is room again."""
        self._room.set()

    def data_received(self, data: bytes) -> None:
        """Answers every request that is whole."""
        self._pending += data
        while (end := self._pending.find(b"\r\n\r\n")) >= 0:
            head = self._pending[:end].lower()
            at = head.find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self._pending) < end + 4 + length:
                return
            body = self._pending[end + 4 : end + 4 + length]
            self._pending = self._pending[end + 4 + length :]
            self._answer(head, body)

    def _answer(self, head: bytes, body: bytes) -> None:
        assert self._transport is not None
        if head.startswith(b"get"):
            self._transport.write(_head("text/plain", "Content-Length: 0\r\nConnection: close"))
            self._transport.close()
        elif json.loads(body).get("stream"):
            stream = asyncio.get_running_loop().create_task(self._stream())
            self._streams.add(stream)
            stream.add_done_callback(self._streams.discard)
        else:
            self._transport.write(MESSAGE)

    async def _stream(self) -> None:
        assert self._transport is not None
        self._transport.write(OPENING)
        for _ in range(self._pieces):
            await self._room.wait()
            self._transport.write(EVENTS)
        self._transport.write(CLOSING)


MESSAGE, OPENING, EVENTS, CLOSING = message(), opening(), piece(), closing()


def pieces_of(megabytes: float) -> int:
    """How many pieces make a stream of that length."""
    return max(1, round(megabytes * 1e6 / len(EVENTS)))


async def serve(port: int, pieces: int) -> None:
    """Serves until told to stop."""
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    server = await loop.create_server(lambda: Connection(pieces), "127.0.0.1", port)
    await stop.wait()
    server.close()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), pieces_of(float(sys.argv[2]))))
