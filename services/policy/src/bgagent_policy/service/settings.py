"""Settings from the environment, and the rows of the documentation's table."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

LEVELS = ("debug", "info", "warning", "error")
_ROWS = (
    ("BGAGENT_HEALTH_HOST", "text", "`127.0.0.1`", "address for /live, /ready and /metrics"),
    ("BGAGENT_HEALTH_PORT", "integer 0…65535", "`0`", "port for /live, /ready and /metrics; 0 = off"),
    ("BGAGENT_LOG_LEVEL", f"one of {', '.join(LEVELS)}", "`info`", "lines below it are not written"),
    ("BGAGENT_POLICY_HOST", "text", "`127.0.0.1`", "address of the policy API, which only the gateway needs"),
    ("BGAGENT_POLICY_PORT", "integer 0…65535", "`8082`", "port of the policy API"),
)


class SettingsError(Exception):
    """The environment is wrong; the text says all that is."""


@dataclass(frozen=True)
class Settings:
    """Everything the service is told."""

    host: str = "127.0.0.1"
    port: int = 8082
    health_host: str = "127.0.0.1"
    health_port: int = 0
    log_level: str = "info"


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Reads the settings. Raises `SettingsError` that names every one that is wrong."""
    problems: list[str] = []

    def port(name: str, default: int) -> int:
        text = environ.get(name) or str(default)
        if not text.isascii() or not text.isdigit() or int(text) > 65_535:
            problems.append(f"{name} is an integer from 0 to 65535.")
            return default
        return int(text)

    level = environ.get("BGAGENT_LOG_LEVEL") or "info"
    if level not in LEVELS:
        problems.append(f"BGAGENT_LOG_LEVEL is one of {', '.join(LEVELS)}.")
    settings = Settings(
        host=environ.get("BGAGENT_POLICY_HOST") or "127.0.0.1",
        port=port("BGAGENT_POLICY_PORT", 8082),
        health_host=environ.get("BGAGENT_HEALTH_HOST") or "127.0.0.1",
        health_port=port("BGAGENT_HEALTH_PORT", 0),
        log_level=level,
    )
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def configuration_rows() -> str:
    """The rows of the documentation's table."""
    return "\n".join(f"| `{name}` | {kind} | {default} | {what} |" for name, kind, default, what in _ROWS)
