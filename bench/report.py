"""What was measured, beside what it should be: as Markdown for people, as JSON for programs."""

from __future__ import annotations

import json
import math
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Target:
    """A bound that a figure should keep."""

    bound: float
    at_least: bool = False

    def holds(self, value: float) -> bool:
        """Whether a figure keeps it. What could not be measured does not."""
        if math.isnan(value):
            return False
        return value >= self.bound if self.at_least else value < self.bound


def at_least(bound: float) -> Target:
    """A figure of this or more."""
    return Target(bound, at_least=True)


def below(bound: float) -> Target:
    """A figure of less than this."""
    return Target(bound)


@dataclass(frozen=True)
class Figure:
    """One number, the median of `samples` where there are several."""

    part: str
    name: str
    value: float
    unit: str
    target: Target | None = None
    note: str = ""
    samples: Sequence[float] = field(default_factory=tuple)

    @property
    def verdict(self) -> str:
        """Empty where nothing is asked for."""
        if self.target is None:
            return ""
        return "met" if self.target.holds(self.value) else "MISSED"

    def row(self) -> str:
        """The figure as a row of the table."""
        wanted = ""
        if self.target is not None:
            sign = "≥" if self.target.at_least else "<"
            wanted = f"{sign} {shown(self.target.bound, self.unit)}"
        name = f"{self.name} ({self.note})" if self.note else self.name
        return f"| {self.part} | {name} | {shown(self.value, self.unit)} | {wanted} | {self.verdict} |"


def shown(value: float, unit: str) -> str:
    """A number as people read it: as many digits as it is worth."""
    if math.isnan(value):
        return "none"
    if unit == "%":
        return f"{value:.0f} %"
    if unit == "×":
        return f"{value:.1f}×"
    digits = 0 if abs(value) >= 100 or value == int(value) else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f} {unit}".rstrip()


def machine() -> dict[str, Any]:
    """What the figures were taken on; other work on the machine shows in its load."""
    return {
        "cores": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "memory_mb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // (1 << 20),
        "load_before": [round(one, 2) for one in os.getloadavg()],
    }


def markdown(figures: Sequence[Figure], facts: dict[str, Any]) -> str:
    """The whole report."""
    load = ", ".join(str(one) for one in facts["machine"]["load_before"])
    lines = [
        f"# Measured {facts['date']}",
        "",
        f"{facts['machine']['cores']} cores for clients, services, database and broker together; load before: {load}; "
        f"medians of {facts['rounds']} runs of {facts['seconds']:g} s{', quick' if facts['quick'] else ''}; "
        f"peer: FastAPI, {facts['peer_workers']} worker.",
        "",
        "| part | | measured | target | |",
        "|---|---|---|---|---|",
        *(one.row() for one in figures),
    ]
    asked = [one for one in figures if one.target is not None]
    missed = [one for one in asked if one.verdict != "met"]
    lines += ["", f"{len(asked) - len(missed)} of {len(asked)} targets met."]
    return "\n".join(lines) + "\n"


def keep(folder: Path, figures: Sequence[Figure], facts: dict[str, Any]) -> Path:
    """Writes both forms into `folder`; returns where the Markdown is."""
    folder.mkdir(parents=True, exist_ok=True)
    name = facts["date"].replace(":", "").replace(" ", "-")
    rows = [{**asdict(one), "verdict": one.verdict} for one in figures]
    (folder / f"{name}.json").write_text(json.dumps({**facts, "figures": rows}, indent=2, ensure_ascii=False) + "\n")
    path = folder / f"{name}.md"
    path.write_text(markdown(figures, facts))
    return path
