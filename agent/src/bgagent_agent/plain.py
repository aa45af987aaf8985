"""Any object as plain JSON values, to be kept: nothing that it meets may stop it."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Callable, Collection, Mapping
from typing import Any

_DEEPEST = 60
_NODES = 100_000
_REPR_CHARS = 10_000
# A value that is a secret only by its name: the rules need both to see it.
_TELLING_KEY = re.compile(r"secret|token|passw|pwd|api_?key|access_?key|credential|authorization", re.I)
_VALUE_CHARS = 2_000


def plain(value: Any, text: Callable[[str], str]) -> Any:
    """A copy in which every string and every key went through `text`."""
    return _Copy(text).of(value, 0)


class _Copy:
    """One copy; what is too deep, too large or contains itself is named instead."""

    def __init__(self, text: Callable[[str], str]) -> None:
        self._text = text
        self._left = _NODES
        self._above: set[int] = set()

    def of(self, value: Any, depth: int) -> Any:
        if isinstance(value, str):
            return self._text(str(value))
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, int):
            return int(value)
        if isinstance(value, float):
            return float(value) if math.isfinite(value) else str(value)
        if isinstance(value, bytes | bytearray | memoryview):
            return self._text(bytes(value).decode(errors="replace"))
        self._left -= 1
        if depth >= _DEEPEST or self._left < 0 or id(value) in self._above:
            return f"[{type(value).__name__}]"
        self._above.add(id(value))
        try:
            return self._composed(value, depth + 1)
        except Exception:
            return f"[{type(value).__name__}]"
        finally:
            self._above.discard(id(value))

    def _composed(self, value: Any, depth: int) -> Any:
        if isinstance(value, Mapping):
            return self._named(value, depth)
        if dataclasses.is_dataclass(value) and not isinstance(value, type):
            fields = {field.name: getattr(value, field.name, None) for field in dataclasses.fields(value)}
            told = {name: one for name, one in fields.items() if one is not None}
            return self._named({"type": type(value).__name__, **told}, depth)
        if isinstance(value, Collection):
            return [self.of(one, depth) for one in value]
        return self._text(_shown(value))[:_REPR_CHARS]

    def _named(self, value: Mapping[Any, Any], depth: int) -> dict[str, Any]:
        copy: dict[str, Any] = {}
        for key, one in value.items():
            clean = name = self._text(key if isinstance(key, str) else _shown(key))
            # Names that were different stay different.
            while name in copy:
                name += "'"
            copy[name] = self._known_by(clean, self.of(one, depth))
        return copy

    def _known_by(self, key: str, value: Any) -> Any:
        if not isinstance(value, str) or len(value) > _VALUE_CHARS or not _TELLING_KEY.search(key):
            return value
        return self._text(f"{key}={value}").removeprefix(f"{key}=")


def _shown(value: Any) -> str:
    try:
        return repr(value)
    except Exception:
        return f"[{type(value).__name__}]"
