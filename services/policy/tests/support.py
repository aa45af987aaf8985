"""What several tests need: the built-in rules and a short way to ask them."""

from __future__ import annotations

from typing import Any

from bgagent_policy import Decision, Facts, Policies, Request, Scope, decide
from bgagent_policy.shell.command import Command

POLICIES = Policies.load()


def bash(line: str, policies: Policies = POLICIES, **settings: Any) -> Decision:
    """The decision about a line of shell."""
    scopes = tuple(Scope.parse(scope) for scope in settings.pop("scopes", ()))
    return decide(Request("Bash", {"command": line}, scopes=scopes, **settings), policies)


def write(path: str, policies: Policies = POLICIES, tool: str = "Write", **settings: Any) -> Decision:
    """The decision about a file that a tool writes."""
    scopes = tuple(Scope.parse(scope) for scope in settings.pop("scopes", ()))
    return decide(Request(tool, {"file_path": path, "content": ""}, scopes=scopes, **settings), policies)


def commands(line: str) -> tuple[Command, ...]:
    """The commands of a line."""
    return Facts.of("Bash", {"command": line}).commands
