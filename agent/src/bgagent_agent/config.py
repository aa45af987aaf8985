"""Settings from the environment, and the smaller environment that tools get to see."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .errors import ConfigurationError

# What a command of the repository may inherit. Tokens are absent on purpose: pushing is the harness's work
# and the model token is handed to the agent's CLI alone.
_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ")
_PR_SET_DUMPABLE = 4


@dataclass(frozen=True)
class Settings:
    """Everything the harness was started with; tokens never appear in its representation."""

    gateway_url: str
    session: str
    task_id: str
    attempt: int
    workspace: Path
    home: Path
    harness_token: str = field(repr=False)
    git_token: str = field(repr=False)
    model_token: str = field(repr=False)
    traceparent: str = ""
    heartbeat_s: float = 15.0
    model_retries: int = 10
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)

    @property
    def private(self) -> Path:
        """The harness's own directory, outside the workspace: helper scripts, the transfer repository."""
        return self.home / ".bgagent"

    @property
    def secrets(self) -> tuple[str, ...]:
        """Values that must never leave the sandbox in an event, a log line or a commit message."""
        return (self.harness_token, self.git_token, self.model_token)


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Reads the settings; every missing or malformed variable is named in one `ConfigurationError`."""
    problems: list[str] = []

    def required(name: str) -> str:
        value = environ.get(name, "").strip()
        if not value:
            problems.append(f"{name} is not set")
        return value

    def number(name: str, default: str) -> float:
        text = environ.get(name, default).strip() or default
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if value <= 0:
            problems.append(f"{name} must be a positive number")
        return value

    workspace = Path(required("BGAGENT_WORKSPACE"))
    home = Path(required("HOME"))
    settings = Settings(
        gateway_url=required("BGAGENT_AGENT_GATEWAY_URL").rstrip("/"),
        session=required("BGAGENT_SESSION"),
        task_id=required("BGAGENT_TASK_ID"),
        attempt=int(number("BGAGENT_ATTEMPT", "0")),
        workspace=workspace,
        home=home,
        harness_token=required("BGAGENT_HARNESS_TOKEN"),
        git_token=required("BGAGENT_GIT_TOKEN"),
        model_token=required("BGAGENT_MODEL_TOKEN"),
        traceparent=environ.get("TRACEPARENT", ""),
        heartbeat_s=number("BGAGENT_HEARTBEAT_S", "15"),
        model_retries=int(number("BGAGENT_MODEL_RETRIES", "10")),
        environment=inherited(environ),
    )
    if not problems and not workspace.is_dir():
        problems.append(f"BGAGENT_WORKSPACE is not a directory: {workspace}")
    if not problems and not home.is_dir():
        problems.append(f"HOME is not a directory: {home}")
    if problems:
        raise ConfigurationError("; ".join(problems))
    return settings


def inherited(environ: Mapping[str, str]) -> dict[str, str]:
    """What a command of the repository may inherit of an environment."""
    return {name: environ[name] for name in _INHERITED if environ.get(name)}


def scrub_process(environment: Mapping[str, str]) -> None:
    """Leaves this process nothing but `environment`, because children inherit it by default.

    The kernel still shows the environment a process was started with to others of the same user; where it can
    be forbidden (not root) it is. Only separate users separate harness and tools for real.
    """
    os.environ.clear()
    os.environ.update(environment)
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
