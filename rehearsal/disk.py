"""What a simulator keeps: one JSON document and one log of lines, both readable after any kill."""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rehearsal.wire import JsonObject


def now_iso() -> str:
    """The time as GitHub writes it, in whole seconds."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


class Document:
    """A JSON object on disk. `save` replaces the file in one rename, so a reader sees the old or the new."""

    def __init__(self, path: Path, empty: Callable[[], JsonObject]) -> None:
        self.path = path
        self.lock = threading.RLock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self.value: JsonObject = json.loads(path.read_text()) if path.exists() else empty()

    def save(self) -> None:
        """Writes the document; the caller holds `lock`."""
        temporary = self.path.with_suffix(".new")
        temporary.write_text(json.dumps(self.value, ensure_ascii=False))
        os.replace(temporary, self.path)


class Journal:
    """Lines of JSON, numbered from 1. A torn last line, left by a kill, is dropped at the next start."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._lock = threading.Lock()
        whole = path.read_bytes() if path.exists() else b""
        kept = whole[: whole.rfind(b"\n") + 1]
        if kept != whole:
            path.write_bytes(kept)
        self._count = kept.count(b"\n")
        self._file = path.open("ab", buffering=0)

    def append(self, entry: JsonObject) -> None:
        """Adds one line, with its number and the time."""
        with self._lock:
            if self._file.closed:
                return
            self._count += 1
            stamp = datetime.now(UTC).isoformat(timespec="milliseconds")
            line = json.dumps({"n": self._count, "time": stamp, **entry}, ensure_ascii=False, default=str)
            self._file.write(line.encode() + b"\n")

    def entries(self, after: int = 0) -> list[JsonObject]:
        """All whole lines with a number greater than `after`."""
        lines = self.path.read_bytes().split(b"\n")[:-1]
        return [json.loads(line) for line in lines[after:]]

    def close(self) -> None:
        """Closes the file; what a straggler appends after that is not kept."""
        with self._lock:
            self._file.close()


SECRET_HEADERS = {"authorization", "x-api-key", "proxy-authorization", "cookie"}


def without_secrets(headers: dict[str, str]) -> dict[str, str]:
    """The headers for the log: of a credential only its scheme is kept."""
    return {
        name: (f"{value.split(' ')[0]} ***" if " " in value else "***") if name in SECRET_HEADERS else value
        for name, value in headers.items()
    }


def readable(body: bytes, limit: int = 1_000_000) -> Any:
    """A body for the log: the JSON value, the text, or its length where it is binary or very long."""
    if len(body) > limit:
        return {"bytes": len(body)}
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return {"bytes": len(body)}
    try:
        return json.loads(text) if text else None
    except (ValueError, RecursionError):
        return text
