"""The installation as people get it: how large its images are, how soon all of it is up, and what it keeps of the
machine's memory while it has nothing to do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable

from bench.engine import Place, installed
from bench.processes import Failed
from bench.report import Figure, Target, at_least, below
from bench.statistics import median
from bench.world import World, until

LARGEST_MB = 60.0
SETTLES = 10.0
SERVERS = ("postgres", "rabbitmq")
# What these words of the engine mean in megabytes of 1,048,576 bytes, as the memory of processes is told elsewhere.
UNITS = {"B": 1 / (1 << 20), "KiB": 1 / 1024, "MiB": 1.0, "GiB": 1024.0}


def measure(world: World) -> list[Figure]:
    """Sizes first; then up and down, round by round."""
    fresh: list[float] = []
    again: list[float] = []
    memory: dict[str, list[float]] = {}
    with installed("images", world) as place:
        figures = _sizes(place, world.settings.debug_images)
        for _ in range(world.settings.rounds):
            fresh.append(_up(place))
            settled = time.monotonic() + SETTLES
            until("a pause", SETTLES + 1, lambda: time.monotonic() > settled, 0.1)  # noqa: B023
            for service, used in _memory(place).items():
                memory.setdefault(service, []).append(used)
            place.compose("--profile", "*", "down")
            again.append(_up(place))
            place.compose("--profile", "*", "down", "--volumes")
        ours, simulators = _kinds(place)
    part = "compose up --wait"
    return [
        *figures,
        Figure(part, "the images are there, no data", median(fresh), "s", samples=fresh),
        Figure(part, "the data is there, too", median(again), "s", samples=again),
        *_memories(memory, ours, simulators),
    ]


def _sizes(place: Place, is_debug: bool) -> list[Figure]:
    """Each image, and of it what the base layer below all services does not hold."""
    lines = dict(line.split("=", 1) for line in place.env_file.read_text().splitlines() if "=" in line)
    arguments = [f"BASE_IMAGE={lines[name]}" for name in ("BGAGENT_BASE_IMAGE",) if name in lines]
    options = [word for one in arguments for word in ("--build-arg", one)]
    secret = ["--secret", f"id=ca,src={place.folder / 'secrets' / 'ca.crt'}"]
    made = place.run(["docker", "build", "--quiet", "--target", "runtime", *options, *secret, "."]).strip()
    base = place.inspect(made)
    part, note = "image", "of a debug build" if is_debug else ""
    figures = [Figure(part, "base layer of all services", base["Size"] / 1e6, "MB")]
    shared = 0
    targets = _built(place)
    for service, (name, target) in sorted(targets.items()):
        image = place.inspect(name)
        is_over = image["RootFS"]["Layers"][: len(base["RootFS"]["Layers"])] == base["RootFS"]["Layers"]
        shared += is_over
        if not is_over:
            figures.append(Figure(part, service, image["Size"] / 1e6, "MB", note="shares no layer with the services"))
            continue
        own = (image["Size"] - base["Size"]) / 1e6
        limit: Target | None = below(LARGEST_MB) if target != "cli" else None
        figures.append(Figure(part, f"{service}, over the base layer", own, "MB", limit, note))
    services = sum(1 for _, target in targets.values() if target)
    share = shared / services * 100
    return [*figures, Figure(part, "images of services over one base layer", share, "%", at_least(100))]


def _built(place: Place) -> dict[str, tuple[str, str]]:
    """Image and target of every service that is built; the target is empty where another Dockerfile makes it."""
    config = json.loads(place.compose("--profile", "*", "config", "--format", "json"))
    found: dict[str, tuple[str, str]] = {}
    for name, service in config["services"].items():
        image = str(service["image"])
        if "build" in service and image not in (one for one, _ in found.values()):
            found[name] = (image, str(service["build"].get("target", "")))
    return found


def _kinds(place: Place) -> tuple[set[str], set[str]]:
    """The composition's services that are the product's, and those that stand in for the internet."""
    config = json.loads(place.compose("--profile", "*", "config", "--format", "json"))["services"]
    simulators = {name for name, service in config.items() if service["image"].startswith("bgagent-rehearsal:")}
    return set(config) - simulators - set(SERVERS), simulators


def _up(place: Place) -> float:
    began = time.monotonic()
    place.up()
    return time.monotonic() - began


def _memory(place: Place) -> dict[str, float]:
    """Megabytes of each running container, as its control group counts them, without what can be given back at once."""
    label = f"label=com.docker.compose.project={place.project}"
    form = '{{.ID}} {{.Label "com.docker.compose.service"}}'
    names = dict(line.split() for line in place.docker("ps", "--filter", label, "--format", form).splitlines())
    used: dict[str, float] = {}
    for line in place.docker("stats", "--no-stream", "--format", "{{.ID}} {{.MemUsage}}", *names).splitlines():
        container, amount = line.split()[:2]
        used[names[container]] = _megabytes(amount)
    if len(used) != len(names):
        raise Failed(f"{len(used)} of {len(names)} containers told their memory")
    return used


def _megabytes(text: str) -> float:
    digits = text.rstrip("BKMGTi")
    return float(digits) * UNITS[text.removeprefix(digits)]


def _memories(memory: dict[str, list[float]], ours: Iterable[str], simulators: Iterable[str]) -> list[Figure]:
    part = "memory, idle"
    kept = set(ours) & memory.keys()
    product = sorted(kept | set(SERVERS))
    figures = []
    for name in [*sorted(kept), *SERVERS, *sorted(set(simulators) & memory.keys())]:
        limit = below(32) if name in kept else None
        figures.append(Figure(part, name, median(memory[name]), "MB", limit, samples=memory[name]))
    for name, group, sum_limit in (
        ("all of ours", sorted(kept), below(256)),
        ("all, with Postgres and RabbitMQ, without simulators", product, None),
    ):
        sums = [sum(one) for one in zip(*(memory[service] for service in group), strict=True)]
        figures.append(Figure(part, name, median(sums), "MB", sum_limit, samples=sums))
    return figures
