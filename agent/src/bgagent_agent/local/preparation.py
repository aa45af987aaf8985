"""From settings to the session payload: checks the repository, reads the issue, builds the prompt."""

from __future__ import annotations

import re
import secrets
import time
from dataclasses import dataclass
from typing import Any

from .forge import GitHub, Issue, Repository
from .prompt import Prompt, build
from .settings import LocalSettings

_ULID_DIGITS = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SLUG_CHARS = 50


@dataclass(frozen=True)
class Prepared:
    """All that is known before the sandbox does anything."""

    repository: Repository
    issue: Issue | None
    task_id: str
    branch: str
    prompt: Prompt


def prepare(settings: LocalSettings) -> Prepared:
    """Raises `NotStarted`."""
    github = GitHub(settings.api_url, settings.github_token)
    repository = github.repository(settings.repo)
    issue = None if settings.issue is None else github.issue(settings.repo, settings.issue)
    task_id = new_id()
    branch = f"bgagent/{task_id}/{slug(settings.description, settings.issue)}"
    prompt = build(repository.name, task_id, branch, settings.description, issue)
    return Prepared(repository, issue, task_id, branch, prompt)


def payload(settings: LocalSettings, prepared: Prepared) -> dict[str, Any]:
    """The session payload that the platform would send."""
    return {
        "payload_version": 1,
        "task": {
            "task_id": prepared.task_id,
            "attempt": 1,
            "repo": prepared.repository.name,
            "branch": prepared.branch,
            "base_branch": prepared.repository.default_branch,
            "issue_number": settings.issue,
            "title": prepared.issue.title if prepared.issue else None,
            "description": settings.description,
        },
        "prompt": {
            "user": prepared.prompt.user,
            "system": prepared.prompt.system,
            "prompt_version": prepared.prompt.version,
        },
        "limits": {"max_turns": settings.max_turns, "remaining_s": settings.max_duration_s},
        "model": {"name": settings.model},
        "commands": {"setup": settings.setup_command, "test": settings.test_command},
        "commit": {"name": "bgagent", "email": "bgagent@localhost"},
    }


def new_id() -> str:
    """A ULID, as the platform's tasks have."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(_ULID_DIGITS[value >> shift & 31] for shift in range(125, -1, -5))


def slug(description: str | None, issue: int | None) -> str:
    """The last part of the branch's name: the first words of the work, in letters that every tool takes."""
    first = next((line for line in (description or "").split("\n") if re.search("[A-Za-z0-9]", line)), "")
    text = re.sub("[^a-z0-9]+", "-", first.lower()).strip("-")[:_SLUG_CHARS].strip("-")
    return text or (f"issue-{issue}" if issue is not None else "task")
