"""Ways for the tests to talk to a simulator and to wait without sleeping."""

from __future__ import annotations

import http.client
import json
import subprocess
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from rehearsal.github.gitdir import GIT_ENVIRONMENT

T = TypeVar("T")
ROOT = Path(__file__).parent.parent
SAMPLES = ROOT / "repositories"


@dataclass
class Answer:
    """An answer, with its JSON where it is JSON."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Calls one simulator; headers given here go with every call."""

    def __init__(self, url: str, **headers: str) -> None:
        self.url = url
        self.headers = {"User-Agent": "tests"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }

    def __call__(
        self,
        method: str,
        path: str,
        body: Any = None,
        headers: dict[str, str | None] | None = None,
        timeout: float = 20,
    ) -> Answer:
        """One call on a connection of its own; a header of None is left out."""
        connection = http.client.HTTPConnection(urlsplit(self.url).netloc, timeout=timeout)
        sent = {**self.headers, **(headers or {})}
        if isinstance(body, (dict, list)):
            body = json.dumps(body).encode()
            sent.setdefault("Content-Type", "application/json; charset=utf-8")
        try:
            kept = {name: value for name, value in sent.items() if value is not None}
            connection.request(
                method, path, body, kept, encode_chunked=not isinstance(body, (bytes, str, type(None)))
            )
            response = connection.getresponse()
            found = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, found, response.read())
        finally:
            connection.close()

    def fault(self, action: str, **order: Any) -> None:
        """Orders a fault."""
        answer = self("POST", "/__faults", {"action": action, **order})
        assert answer.status == 201, answer.body

    def log(self) -> list[Any]:
        """The exchanges so far."""
        entries: list[Any] = self("GET", "/__log").json
        return entries

    def state(self) -> Any:
        """What the simulator holds."""
        return self("GET", "/__state").json


def until(value: Callable[[], T], seconds: float = 10) -> T:
    """Asks again until the answer is true; fails at the deadline."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while not (found := value()):
        assert time.monotonic() < deadline, "nothing came in time"
        pause.wait(0.01)
    return found


def git(directory: Path, *arguments: str, check: bool = True) -> subprocess.CompletedProcess[str]:
    """Runs the git client away from the user's configuration."""
    return subprocess.run(
        ["git", *arguments],
        cwd=directory,
        env=GIT_ENVIRONMENT,
        capture_output=True,
        text=True,
        check=check,
        timeout=60,
    )
