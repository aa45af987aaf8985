#!/usr/bin/env python3
"""Stands in for a service where the scripts themselves are under test: ready at once, ends when told."""

from __future__ import annotations

import http.server
import os
import signal
import sys
from pathlib import Path


class Health(http.server.BaseHTTPRequestHandler):
    """Says yes to everything."""

    def do_GET(self) -> None:
        """Answers any probe."""
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Keeps the log quiet."""


def main() -> None:
    """A migration ends at once; anything else serves its health port until it is told to end."""
    name = Path(sys.argv[0]).name
    print(f"{name} runs", flush=True)
    if name == "bgagent-migrate":
        return
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))
    address = (os.environ["BGAGENT_HEALTH_HOST"], int(os.environ["BGAGENT_HEALTH_PORT"]))
    http.server.ThreadingHTTPServer(address, Health).serve_forever()


if __name__ == "__main__":
    main()
