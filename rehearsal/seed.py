"""`python -m rehearsal.seed --github URL [owner/name ...]`: the sample repositories with their issues."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rehearsal.client import call
from rehearsal.simulator import Simulator

SAMPLES = Path(__file__).parent / "repositories"


def issues_of(repo: str) -> list[Any]:
    """The issues of a sample repository."""
    issues: dict[str, list[Any]] = json.loads((SAMPLES / "issues.json").read_text())
    return issues[repo]


def samples() -> list[str]:
    """The names of the sample repositories."""
    return list(json.loads((SAMPLES / "issues.json").read_text()))


def order(repo: str, as_name: str | None = None) -> dict[str, Any]:
    """The order that makes a sample repository, under another name where one is given."""
    return {
        "repo": as_name or repo,
        "bundle_or_dir": str(SAMPLES / repo.split("/")[1]),
        "issues": issues_of(repo),
    }


def seed(github: str, repo: str, as_name: str | None = None) -> Any:
    """Makes a repository at a running simulator, afresh if it is there already."""
    return call(github, "/__seed", order(repo, as_name))


def seed_into(simulator: Simulator, repo: str) -> Any:
    """The same for a simulator of this process."""
    return simulator.seed(order(repo))


def main() -> None:
    """Seeds and says what was made."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.seed", description=__doc__)
    parser.add_argument("--github", required=True, metavar="URL", help="the simulator's address")
    parser.add_argument(
        "--as", dest="as_name", metavar="OWNER/NAME", help="make the one repository under this name"
    )
    parser.add_argument("repos", nargs="*", metavar="OWNER/NAME", help="which (default: all)")
    options = parser.parse_args()
    for repo in options.repos or samples():
        made = seed(options.github, repo, options.as_name)
        print(f"{made['repo']} {made['default_branch']} {made['head']}")


if __name__ == "__main__":
    main()
