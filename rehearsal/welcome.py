"""`python -m rehearsal.welcome --api URL --token-file FILE --github URL`: what a rehearsal starts with.

Makes the sample repositories at the simulated GitHub, lets tasks work on them, and says what to type. Run
again it leaves what is there as it is. Exit code: 0 when all of it is there.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from rehearsal import client
from rehearsal.seed import samples, seed
from rehearsal.server import wait_for_signal

WORDS = """
bgagent is up. GitHub, Slack, mail and the model are simulators. Type:

  {command} submit --repo acme/pricing "fix the failing test" --wait

and see what the simulators received:

  {command} list
  docker compose --profile rehearsal run --rm rehearsal-look
"""


class Failed(Exception):
    """Something did not come to be; the message says what."""


def eventually(what: str, seconds: float, attempt: Any) -> Any:
    """The first answer of `attempt` that is no exception of the network's."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            return attempt()
        except (OSError, client.Unreachable) as error:
            if time.monotonic() > deadline:
                raise Failed(f"{what}: {error}") from error
            time.sleep(0.2)


def onboard(api: str, token: str, repo: str) -> None:
    """Lets tasks work on a repository; one that is there already is left as it is."""
    request = urllib.request.Request(
        f"{api}/v1/repos",
        json.dumps({"repo": repo}).encode(),
        {"Content-Type": "application/json", "Authorization": f"Bearer {token}"},
    )
    try:
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(request, timeout=10):
            return
    except urllib.error.HTTPError as error:
        said = error.read().decode(errors="replace")
        if error.code == 409:
            return
        if error.code >= 500:
            raise client.Unreachable(f"{error.code} {said[:300]}") from error
        raise Failed(f"{repo} could not be added: {error.code} {said[:300]}") from error


def welcome(options: argparse.Namespace) -> None:
    """Does all of it."""
    # Set where the services were told as well: without it they work at the real GitHub.
    address = os.environ.get("BGAGENT_GITHUB_API_URL", options.github)
    if address != options.github:
        raise Failed(
            f"the services work at {address or 'the real GitHub'}, not at {options.github}: "
            "scripts/first-run --rehearsal makes an installation for a rehearsal"
        )
    token_file: Path = options.token_file
    token = eventually("the gateway's first key", 60, lambda: token_file.read_text().strip())
    held = eventually("the simulated GitHub", 60, lambda: client.state(options.github))["repos"]
    for repo in samples():
        if repo not in held:
            seed(options.github, repo)
        eventually("the gateway", 60, lambda repo=repo: onboard(options.api, token, repo))
    print(WORDS.format(command=options.command), flush=True)


def main() -> int:
    """Says what went wrong, if anything did."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.welcome", description=__doc__)
    parser.add_argument("--api", required=True, metavar="URL", help="the gateway")
    parser.add_argument("--token-file", type=Path, required=True, help="where the gateway's first key is")
    parser.add_argument("--github", required=True, metavar="URL", help="the simulated GitHub")
    parser.add_argument("--command", default="scripts/bgagent", help="what people type")
    parser.add_argument("--stay", type=Path, metavar="FILE", help="make FILE when all is there, and stay")
    options = parser.parse_args()
    try:
        welcome(options)
    except Failed as error:
        print(f"rehearsal: {error}", file=sys.stderr)
        return 1
    if options.stay is not None:
        options.stay.touch()
        wait_for_signal()
    return 0


if __name__ == "__main__":
    sys.exit(main())
