"""The installation as people get it: how large its images are, how soon all of it is up, and what it keeps of the
machine's memory while it has nothing to do.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from typing import Any

from bench.engine import Place, installed
from bench.processes import Failed
from bench.report import Figure, Target, at_least, below
from bench.statistics import median
from bench.world import World, until

DEBIAN = "debian:bookworm-slim"
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
    """Each image, and of it what is not in the layers that it shares."""
    base, debian = _base(place), place.inspect(DEBIAN)
    part, note = "image", "debug build" if is_debug else ""
    figures = [
        Figure(part, "base layer of all services", base["Size"] / 1e6, "MB"),
        Figure(part, "… of it Debian's, which is below the agent's image, too", debian["Size"] / 1e6, "MB"),
    ]
    services = over_base = 0
    for service, (name, target) in sorted(_built(place).items()):
        image = place.inspect(name)
        whole = f"{image['Size'] / 1e6:.0f} MB in all"
        limit: Target | None = None
        below_it, words = (base, "over the base layer") if target else (debian, "over Debian's")
        if target:
            services += 1
            over_base += _is_over(image, base)
            limit, whole = below(LARGEST_MB), f"{whole}, {note}" if note else whole
        # What shares nothing counts whole, and misses.
        own = image["Size"] - (below_it["Size"] if _is_over(image, below_it) else 0)
        figures.append(Figure(part, f"{service}, {words}", own / 1e6, "MB", limit, whole))
    share = over_base / services * 100
    return [*figures, Figure(part, "images of services over the one base layer", share, "%", at_least(100))]


def _base(place: Place) -> dict[str, Any]:
    """What all services share, by the name of its stage; it comes from the build cache."""
    lines = dict(line.split("=", 1) for line in place.env_file.read_text().splitlines() if "=" in line)
    options = ["--secret", f"id=ca,src={place.folder / 'secrets' / 'ca.crt'}"]
    if "BGAGENT_BASE_IMAGE" in lines:
        options += ["--build-arg", f"BASE_IMAGE={lines['BGAGENT_BASE_IMAGE']}"]
    return place.inspect(place.run(["docker", "build", "--quiet", "--target", "runtime", *options, "."]).strip())


def _is_over(image: dict[str, Any], lower: dict[str, Any]) -> bool:
    """Whether an image begins with all layers of another."""
    layers = lower["RootFS"]["Layers"]
    return bool(image["RootFS"]["Layers"][: len(layers)] == layers)


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
    """Megabytes of each running container, as its control group counts them, without what can be given back at once.

    A file's pages count where they were read first: another installation of the same images may have them already.
    """
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
