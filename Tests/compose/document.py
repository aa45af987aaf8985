"""The shell blocks of docs/operations.md, by name: what is written there is what the tests run."""

from __future__ import annotations

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"
BLOCK = re.compile(r"^```sh (?P<name>[a-z-]+)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
ANY = re.compile(r"^```(?P<info>.+)$", re.MULTILINE)


def blocks() -> dict[str, str]:
    """Every block that has a name, in the order of the page."""
    return {found["name"]: found["text"] for found in BLOCK.finditer(PAGE.read_text())}


def unnamed() -> list[str]:
    """Shell blocks without a name, which no test could run."""
    infos = [found["info"].strip() for found in ANY.finditer(PAGE.read_text())]
    return [info for info in infos if info.split()[0] in ("sh", "bash", "shell") and len(info.split()) != 2]
