"""Log lines as JSON objects on stderr, with the fields of the other services."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, TextIO

from .settings import LEVELS


class Log:
    """Writes one object per line: time, level, service, message, then the fields given."""

    def __init__(self, level: str = "info", stream: TextIO | None = None) -> None:
        self._rank = LEVELS.index(level)
        self._stream = stream

    def info(self, message: str, **fields: Any) -> None:
        """Something happened, as it should."""
        self.write("info", message, **fields)

    def error(self, message: str, **fields: Any) -> None:
        """Someone should look."""
        self.write("error", message, **fields)

    def write(self, level: str, message: str, **fields: Any) -> None:
        """A line of any level."""
        if LEVELS.index(level) < self._rank:
            return
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = {"time": now, "level": level, "service": "policy", "message": message, **fields}
        print(json.dumps(line, default=str), file=self._stream or sys.stderr, flush=True)


class LogHandler(logging.Handler):
    """Brings what the HTTP library has to say into the same form; its chatter becomes debug."""

    def __init__(self, log: Log) -> None:
        super().__init__()
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Writes the record as one line."""
        fields = {}
        if record.exc_info and record.exc_info[1] is not None:
            fields["error"] = type(record.exc_info[1]).__name__
        level = {"CRITICAL": "error", "INFO": "debug"}.get(record.levelname, record.levelname.lower())
        self._log.write(level if level in LEVELS else "debug", record.getMessage().splitlines()[0], **fields)
