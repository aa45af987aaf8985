"""The container engine of this machine, and an installation on it: what scripts/first-run and compose make of this
checkout, with a rehearsal in place of the internet.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

from Tests.compose.installation import VERSION, Installation
from Tests.compose.installation import Failed as Refused

from bench.processes import Failed
from bench.world import ROOT, World

BUILDS_WITHIN = 3600.0
SCRIPTS = ROOT / "scripts"


class Place(Installation):
    """An installation with the product's own times, and with images that no other has."""

    times: ClassVar[dict[str, str]] = {}

    def __init__(self, name: str) -> None:
        self.version = f"bench-{VERSION.rpartition('-')[2]}"
        super().__init__(name, BGAGENT_VERSION=self.version, BGAGENT_AGENT_IMAGE=f"bgagent-agent:{self.version}")

    def prepare(self, world: World) -> None:
        """Answers what first-run asks, and makes the images of what is compiled here."""
        if world.settings.debug_images:
            self.prebuilt()
        else:
            self.run([SCRIPTS / "images", "binaries"], BUILDS_WITHIN)
            self.write({"BGAGENT_BINARIES": "prebuilt"})
        authority = os.environ.get("BGAGENT_BUILD_CA", "")
        self.run([SCRIPTS / "first-run", "--rehearsal", *(["--ca", authority] if authority else [])])
        self.compose("--profile", "*", "build", "--quiet", seconds=BUILDS_WITHIN)

    def up(self) -> None:
        """All of it, until it is healthy."""
        self.compose("--profile", "rehearsal", "up", "--detach", "--wait", seconds=900)

    def sql(self, query: str) -> str:
        """The one value that a query answers."""
        words = ("psql", "-X", "-U", "bgagent", "-d", "bgagent", "-A", "-t", "-c", query)
        return self.compose("exec", "-T", "postgres", *words).strip()

    def inspect(self, image: str) -> dict[str, Any]:
        """What the engine knows of an image."""
        shown: list[dict[str, Any]] = json.loads(self.docker("image", "inspect", image))
        return shown[0]

    def close(self) -> None:
        """Removes all of it, its images too; what they are made of stays in the engine's build cache."""
        self.attempt([SCRIPTS / "uninstall", "--yes", "--images"])
        super().close()


@contextmanager
def _engine() -> Iterator[None]:
    """An engine that answers, with the base images; one that was started for this is stopped again."""

    def script(word: str) -> int:
        return subprocess.run([SCRIPTS / "engine", word], stdout=sys.stderr, check=False).returncode

    own = subprocess.run([SCRIPTS / "engine", "env"], capture_output=True, check=False).returncode != 0
    try:
        if script("start") or script("images"):
            raise Failed("there is no container engine with Debian's base images, and none could be made")
        yield
    finally:
        if own:
            script("stop")


@contextmanager
def installed(name: str, world: World) -> Iterator[Place]:
    """An installation whose images are there and of which nothing runs yet; nothing of it is left behind."""
    with _engine():
        place = Place(f"bench{name}")
        try:
            place.prepare(world)
            yield place
        except (Refused, Failed, subprocess.TimeoutExpired) as error:
            place.keep_logs()
            raise Failed(str(error)) from error
        finally:
            place.close()


def layer_folders(image: dict[str, Any]) -> list[Path]:
    """Where the engine keeps an image's files, as far as they lie on this machine and may be read."""
    data = (image.get("GraphDriver") or {}).get("Data") or {}
    paths = [Path(one) for key in ("UpperDir", "LowerDir") for one in str(data.get(key) or "").split(":") if one]
    return [path for path in paths if path.is_dir()]
