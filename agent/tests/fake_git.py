"""Real git over HTTP, by the CGI program that git brings."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any


def backend(
    repositories: Path, handler: Any, path: str, query: str, body: bytes
) -> tuple[int, list[tuple[str, str]], bytes]:
    """Status, header fields and content of git's answer to a request."""
    env = {
        "PATH": os.environ["PATH"],
        "GIT_PROJECT_ROOT": str(repositories),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": path,
        "QUERY_STRING": query,
        "REQUEST_METHOD": handler.command,
        "CONTENT_TYPE": handler.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(len(body)),
        "HTTP_CONTENT_ENCODING": handler.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": handler.headers.get("Git-Protocol", ""),
        "REMOTE_USER": "bgagent",
        "REMOTE_ADDR": "127.0.0.1",
    }
    done = subprocess.run(["git", "http-backend"], env=env, input=body, capture_output=True, check=True)
    head, _, content = done.stdout.partition(b"\r\n\r\n")
    fields = [line.split(": ", 1) for line in head.decode().split("\r\n") if line]
    status = next((int(value.split()[0]) for name, value in fields if name == "Status"), 200)
    return (
        status,
        [(name, value) for name, value in fields if name not in ("Status", "Content-Length")],
        content,
    )
