"""Runs the measurements, or the parts that are named, and prints the table; keeps it under bench/results too.

Started by scripts/bench, which builds, starts the servers and says where they are. Exit code 1 when a part could not
be measured; a missed target fails nothing.
"""

from __future__ import annotations

import argparse
import datetime
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence

from bench import (
    clone,
    containers,
    delivery,
    demonstration,
    footprint,
    images,
    peers,
    proxy,
    reads,
    replicas,
    report,
    steering,
    submit,
    watchers,
)
from bench.processes import Failed
from bench.world import ROOT, Settings, World

PARTS: dict[str, Callable[[World], list[report.Figure]]] = {
    "submit": submit.measure,
    "reads": reads.measure,
    "watchers": watchers.measure,
    "delivery": delivery.measure,
    "replicas": replicas.measure,
    "footprint": footprint.measure,
    "proxy": proxy.measure,
    "clone": clone.measure,
    "containers": containers.measure,
    "images": images.measure,
    "steering": steering.measure,
}


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """What the caller asks for."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(PARTS)}; all without a name")
    parser.add_argument("--quick", action="store_true", help="one short run of each, 1,000 watchers")
    parser.add_argument("--demo", action="store_true", help="also the time of a warm `make demo`")
    parser.add_argument("--peer-workers", type=int, default=1, metavar="N", help="processes of the peer (1)")
    parser.add_argument("--debug-images", action="store_true", help="images of the debug build that is there")
    asked = parser.parse_args(words)
    for part in asked.parts:
        if part not in PARTS:
            parser.error(f"there is no part {part}; there are {', '.join(PARTS)}")
    return asked


def say(text: str) -> None:
    """Progress, beside the table."""
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    """All of it."""
    asked = arguments(sys.argv[1:])
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    settings = Settings(quick=asked.quick, peer_workers=asked.peer_workers, debug_images=asked.debug_images)
    facts = {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d %H:%M:%S"),
        "quick": settings.quick,
        "rounds": settings.rounds,
        "seconds": settings.seconds,
        "peer_workers": settings.peer_workers,
        "machine": report.machine(),
    }
    if os.getloadavg()[0] > 1:
        say(f"the machine is busy (load {os.getloadavg()[0]:.1f}): figures will be worse than they are")
    figures: list[report.Figure] = []
    failed: list[str] = []
    wanted = asked.parts or list(PARTS)
    if {"submit", "reads", "replicas"} & set(wanted):
        peers.install()
    for part in wanted:
        began = time.monotonic()
        try:
            with World(part, settings) as world:
                figures += PARTS[part](world)
        except Failed as error:
            say(f"{part}: {error}")
            failed.append(part)
        say(f"{part}: {time.monotonic() - began:.0f} s")
    if asked.demo:
        figures += demonstration.measure()
    kept = report.keep(ROOT / "bench" / "results", figures, facts)
    print(kept.read_text(), end="")
    say(f"kept in {kept.relative_to(ROOT)} and beside it as JSON")
    for part in failed:
        print(f"{part} could not be measured.")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
