"""Orders to running simulators, and what they hold, over HTTP."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from typing import Any
from urllib.parse import urlencode


class Unreachable(Exception):
    """A simulator did not answer, or refused an order; the message says which and why."""


def call(url: str, path: str, body: Any = None, method: str | None = None, timeout: float = 30) -> Any:
    """One order; returns its JSON, or its text where it is none. Raises Unreachable."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url.rstrip("/") + path, data, {"Content-Type": "application/json"})
    request.method = method or ("GET" if body is None else "POST")
    try:
        # Straight to loopback: a proxy that the machine is set up with would not find it.
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=timeout) as response:
            text = response.read().decode()
    except urllib.error.HTTPError as error:
        raise Unreachable(
            f"{url}{path}: {error.code} {error.read().decode(errors='replace')[:500]}"
        ) from error
    except OSError as error:
        raise Unreachable(f"{url}{path}: {error}") from error
    try:
        return json.loads(text) if text else None
    except ValueError:
        return text


def state(url: str) -> Any:
    """Everything a simulator holds."""
    return call(url, "/__state")


def diff(github: str, repo: str, base: str, head: str) -> str:
    """What a branch changed since it left another."""
    return str(call(github, "/__diff?" + urlencode({"repo": repo, "base": base, "head": head})))
