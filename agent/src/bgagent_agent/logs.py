"""Log lines as JSON objects on stderr, redacted like everything else that leaves the harness."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from .redaction import Redactor


class Log:
    """Writes one object per line with the fields it was made with (task_id, attempt, trace_id)."""

    def __init__(self, redactor: Redactor, stream: TextIO | None = None, **fields: Any) -> None:
        self._redactor = redactor
        self._stream = stream
        self._fields = fields

    def info(self, message: str, **fields: Any) -> None:
        """A step that went as it should."""
        self._write("info", message, fields)

    def warning(self, message: str, **fields: Any) -> None:
        """Something that is being dealt with."""
        self._write("warning", message, fields)

    def error(self, message: str, **fields: Any) -> None:
        """Something that ends the attempt or loses information."""
        self._write("error", message, fields)

    def _write(self, level: str, message: str, fields: dict[str, Any]) -> None:
        line = {
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "service": "agent",
            "message": message,
            **self._fields,
            **fields,
        }
        text = json.dumps(self._redactor.scrub(line), default=str)
        print(text, file=self._stream or sys.stderr, flush=True)
