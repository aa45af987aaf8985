"""The table of docs/metrics.md, made of what real services expose."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from rehearsal import client
from Tests.system.world import ROOT, SERVICES, Stack

PAGE = ROOT / "docs/metrics.md"
BEGIN, END = "<!-- table -->\n", "<!-- end of table -->\n"
SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? \S+$")
LABEL = re.compile(r'(\w+)="(?:[^"\\]|\\.)*"')


@dataclass
class Family:
    """A metric over all services."""

    kind: str
    text: str
    labels: set[str] = field(default_factory=set)
    services: set[str] = field(default_factory=set)

    def row(self, name: str) -> str:
        """As the table has it."""
        labels = ", ".join(f"`{label}`" for label in sorted(self.labels)) or "–"
        return f"| `{name}` | {self.kind} | {labels} | {self.where()} | {self.text.rstrip('.')} |\n"

    def where(self) -> str:
        """The services that have it, in few words."""
        left = set(self.services)
        absent = sorted(set(SERVICES) - left)
        if len(absent) <= 1:
            return " but ".join(["all", *absent])
        dispatchers = {service for service in SERVICES if service.startswith("dispatch-")}
        words = []
        if dispatchers <= left:
            left -= dispatchers
            words.append("dispatchers")
        return ", ".join([*sorted(left), *words])


def families(scrapes: dict[str, str]) -> dict[str, Family]:
    """Every metric that the services' scrapes show, by name."""
    found: dict[str, Family] = {}
    for service, scrape in scrapes.items():
        texts: dict[str, str] = {}
        current = ""
        for line in scrape.splitlines():
            if line.startswith("# HELP "):
                current, texts[current] = line[7:].split(" ", 1)
                continue
            if line.startswith("# TYPE "):
                kind = line.rsplit(" ", 1)[1]
                known = found.setdefault(current, Family(kind, texts[current]))
                same = (kind, texts[current]) == (known.kind, known.text)
                assert same, f"{current} of {service} is told in another way than elsewhere"
                known.services.add(service)
                continue
            match = SAMPLE.match(line)
            assert match is not None, f"{service}: not a sample: {line}"
            name, labels = match.groups()
            assert name in (current, *(f"{current}{end}" for end in ("_bucket", "_sum", "_count"))), line
            found[current].labels |= set(LABEL.findall(labels or "")) - {"le"}
    return found


def scrapes(stack: Stack) -> dict[str, str]:
    """What every service exposes now."""
    urls = {name: f"BGAGENT_HEALTH_{name.upper().replace('-', '_')}" for name in SERVICES}
    return {name: str(client.call(stack.exports[url], "/metrics")) for name, url in urls.items()}


def made(found: dict[str, Family]) -> str:
    """The page with its table written anew."""
    page = PAGE.read_text()
    head, rest = page.split(BEGIN)
    table = "| metric | type | labels | service | what it is |\n|---|---|---|---|---|\n"
    table += "".join(found[name].row(name) for name in sorted(found))
    return head + BEGIN + table + END + rest.split(END)[1]
