"""Arguments and environment of a local run; everything that is wrong is told at once."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from .errors import NotStarted

USAGE = """\
usage: agent/run.sh OWNER/REPO ISSUE|"TEXT" ["MORE"]

A number is an issue of the repository, anything else says what to do. MORE is added to either.

  GITHUB_TOKEN         needed: a token that may read the repository and its issues and push to it
  ANTHROPIC_API_KEY    needed, or ANTHROPIC_AUTH_TOKEN: the key of the model
  ANTHROPIC_MODEL      the model (claude-sonnet-4-5)
  MAX_TURNS            1-500 (100)
  MAX_BUDGET_USD       0.01-100; without it money is not limited
  MAX_DURATION_S       seconds, 60-86400 (28800)
  SETUP_COMMAND        runs in the clone before the agent starts
  TEST_COMMAND         verifies the work, instead of what the repository's files suggest
  DRY_RUN=1            checks everything, prints the prompt and stops
  GITHUB_API_URL       https://host/api/v3 on GitHub Enterprise Server
  GITHUB_SERVER_URL    https://host on GitHub Enterprise Server
  ANTHROPIC_BASE_URL   another server that speaks the Messages API
  BGAGENT_ENGINE       docker, or none for a plain process (docker where it answers)
  BGAGENT_AGENT_IMAGE  the image (bgagent-agent, built where it is missing)
  BGAGENT_BUILD_CA     a file with the certificates of your own authority, for building the image
  BGAGENT_RUN_NETWORK  the container's network (the engine's default)
"""
SECRETS = ("GITHUB_TOKEN", "ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
# What the program in the sandbox is given; the rest is about the sandbox itself.
PASSED = (
    "ANTHROPIC_MODEL", "MAX_TURNS", "MAX_BUDGET_USD", "MAX_DURATION_S", "SETUP_COMMAND", "TEST_COMMAND",
    "GITHUB_API_URL", "GITHUB_SERVER_URL", "ANTHROPIC_BASE_URL",
)  # fmt: skip
_REPOSITORY = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})/(?!\.{1,2}$)[A-Za-z0-9._-]{1,100}")
_LOOKS_LIKE_A_NUMBER = re.compile(r"[#+-]?\d[\d.,_]*")
_LONGEST_DESCRIPTION = 10_000


@dataclass(frozen=True)
class LocalSettings:
    """One run; secrets never appear in its representation."""

    repo: str
    issue: int | None
    description: str | None
    github_token: str = field(repr=False)
    model_key: str = field(repr=False)
    model_bearer: str = field(repr=False)
    model: str
    model_url: str
    api_url: str
    server_url: str
    max_turns: int
    max_budget: Decimal | None
    max_duration_s: int
    setup_command: str | None
    test_command: str | None
    dry_run: bool

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must not leave the sandbox in a line of output or a commit message."""
        return tuple(value for value in (self.github_token, self.model_key, self.model_bearer) if value)

    @property
    def name(self) -> str:
        """The repository's name without its owner; also that of the clone's directory."""
        return self.repo.split("/")[1]


def read(arguments: Sequence[str], environ: Mapping[str, str]) -> LocalSettings:
    """Reads a command line and the environment; raises `NotStarted` with all that is wrong."""
    if not 2 <= len(arguments) <= 3:
        raise NotStarted(USAGE.rstrip())
    reader = _Reader(environ)
    repo = arguments[0].strip()
    if not _REPOSITORY.fullmatch(repo):
        reader.problems.append(f"{repo!r} is not a repository: write OWNER/REPO, as in acme/shop.")
    issue, description = _work(reader, arguments[1].strip(), "".join(arguments[2:]).strip())
    settings = LocalSettings(
        repo=repo,
        issue=issue,
        description=description,
        github_token=reader.secret("GITHUB_TOKEN"),
        model_key=reader.secret("ANTHROPIC_API_KEY"),
        model_bearer=reader.secret("ANTHROPIC_AUTH_TOKEN"),
        model=reader.text("ANTHROPIC_MODEL") or "claude-sonnet-4-5",
        model_url=reader.url("ANTHROPIC_BASE_URL", "https://api.anthropic.com"),
        api_url=reader.url("GITHUB_API_URL", "https://api.github.com"),
        server_url=reader.url("GITHUB_SERVER_URL", "https://github.com"),
        max_turns=reader.whole("MAX_TURNS", 100, 1, 500),
        max_budget=reader.money("MAX_BUDGET_USD"),
        max_duration_s=reader.whole("MAX_DURATION_S", 28_800, 60, 86_400),
        setup_command=reader.text("SETUP_COMMAND") or None,
        test_command=reader.text("TEST_COMMAND") or None,
        dry_run=reader.switch("DRY_RUN"),
    )
    if not settings.github_token:
        reader.problems.append(
            "GITHUB_TOKEN is not set: export a token that may read the repository and its issues, "
            "and push to it."
        )
    # A dry run asks no model, so the prompt can be looked at before there is a key.
    if not settings.dry_run and not (settings.model_key or settings.model_bearer):
        reader.problems.append(
            "ANTHROPIC_API_KEY is not set (nor ANTHROPIC_AUTH_TOKEN): export the model's key."
        )
    if reader.problems:
        raise NotStarted(*reader.problems)
    return settings


def _work(reader: _Reader, what: str, more: str) -> tuple[int | None, str | None]:
    issue, text = None, more
    if re.fullmatch(r"[0-9]{1,9}", what) and int(what) > 0:
        issue = int(what)
    elif _LOOKS_LIKE_A_NUMBER.fullmatch(what):
        reader.problems.append(
            f"{what!r} is not an issue: give its number, as in 42, or say in words what to do."
        )
    elif not what:
        reader.problems.append(
            "There is nothing to do: give the number of an issue, or say in words what to do."
        )
    else:
        text = f"{what}\n\n{more}".strip()
    if len(text) > _LONGEST_DESCRIPTION:
        reader.problems.append(
            f"The text has {len(text)} characters; at most {_LONGEST_DESCRIPTION} are taken."
        )
    try:
        text.encode()
    except UnicodeEncodeError:
        reader.problems.append("The text is not UTF-8: set the terminal to a UTF-8 locale.")
    return issue, text or None


class _Reader:
    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self.problems: list[str] = []

    def text(self, name: str) -> str:
        return self._environ.get(name, "").strip()

    def secret(self, name: str) -> str:
        value = self.text(name)
        if any(not 33 <= ord(char) <= 126 for char in value):
            self.problems.append(
                f"{name} holds characters that no token has: set it again, without quotes or spaces."
            )
            return "unusable"
        return value

    def url(self, name: str, default: str) -> str:
        value = self.text(name) or default
        if not re.fullmatch(r"https?://[^\s/@?#]+(?:/[^\s@?#]*)?", value):
            self.problems.append(f"{name} must be a URL with http or https, without credentials: {value!r}")
        return value.rstrip("/")

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        value = self.text(name) or str(default)
        if re.fullmatch(r"[0-9]{1,9}", value) and low <= int(value) <= high:
            return int(value)
        self.problems.append(f"{name} must be a whole number from {low} to {high}, not {value!r}.")
        return default

    def money(self, name: str) -> Decimal | None:
        value = self.text(name)
        if not value:
            return None
        try:
            amount = Decimal(value)
        except InvalidOperation:
            amount = Decimal(0)
        if amount.is_finite() and Decimal("0.01") <= amount <= 100:
            return amount
        self.problems.append(f"{name} must be an amount in dollars from 0.01 to 100, not {value!r}.")
        return None

    def switch(self, name: str) -> bool:
        value = self.text(name).lower()
        if value in ("", "0", "false", "no"):
            return False
        if value in ("1", "true", "yes"):
            return True
        self.problems.append(f"{name} must be 1 or 0, not {value!r}.")
        return False
