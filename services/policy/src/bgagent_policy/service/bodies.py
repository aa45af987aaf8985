"""Request bodies: read field by field, every mistake by its name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from ..decision import Denial, Request
from ..facts import Facts
from ..paths import Layout
from ..policies import Policies
from ..scopes import check_scopes
from ..shell.command import Command

_MAX_LIST = 500


class BodyError(ValueError):
    """The body is not what the route takes; the text names the field."""


@dataclass
class Fields:
    """An object whose fields are taken one by one; `end` refuses what is left."""

    values: dict[str, Any]
    path: str = ""
    taken: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, value: object, path: str = "") -> Fields:
        """The fields of an object."""
        if not isinstance(value, dict):
            raise BodyError(f"{path.rstrip('.') or 'the body'} is no object")
        return cls(value, path)

    def take(
        self, name: str, kind: type | tuple[type, ...], default: Any = None, *, needed: bool = False
    ) -> Any:
        """One field, of the kind that it has to be."""
        self.taken.add(name)
        value = self.values.get(name)
        if value is None:
            if needed:
                raise BodyError(f"{self.path}{name} is missing")
            return default
        kinds = kind if isinstance(kind, tuple) else (kind,)
        if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
            raise BodyError(f"{self.path}{name} has to be {' or '.join(_NAMES[k] for k in kinds)}")
        return value

    def texts(self, name: str) -> list[str]:
        """A list of texts."""
        values: list[Any] = self.take(name, list, [])
        if len(values) > _MAX_LIST or not all(isinstance(value, str) for value in values):
            raise BodyError(f"{self.path}{name} has to be a list of up to {_MAX_LIST} texts")
        return values

    def end(self) -> None:
        """Refuses fields that nobody took."""
        if unknown := sorted(self.values.keys() - self.taken):
            raise BodyError(f"unknown field: {self.path}{unknown[0]}")


_NAMES = {
    str: "a text",
    dict: "an object",
    list: "a list",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def request_of(call: Fields, task: Fields, policies: Policies) -> Request:
    """The tool call that a body describes. Raises `BodyError`, and `ScopeError` for a scope that is none."""
    tool = call.take("tool", str, needed=True)
    tool_input: Mapping[str, Any] = call.take("input", dict, needed=True)
    call.end()
    layout = Layout(
        workspace=_directory(task, "workspace") or Layout.workspace,
        home=_directory(task, "home") or Layout.home,
    )
    request = Request(
        tool=tool,
        tool_input=tool_input,
        task_type=task.take("task_type", str, Request.task_type),
        repo=task.take("repo", str, ""),
        read_only=task.take("read_only", bool, False),
        layout=layout,
        directory=_directory(task, "directory"),
        mcp_servers=frozenset(task.texts("mcp_servers")),
        scopes=check_scopes(task.texts("scopes"), policies),
        denials=tuple(_denial(Fields.of(value, "task.denials.")) for value in task.take("denials", list, [])),
        approval_timeout_s=task.take("approval_timeout_s", int),
        remaining_s=task.take("remaining_s", (int, float)),
    )
    task.end()
    return request


def facts_json(facts: Facts) -> dict[str, object]:
    """What was read out of a call, for people who write rules."""
    return {
        "tool": facts.tool,
        "tool_group": facts.group,
        "unparsed": list(facts.unparsed),
        "commands": [_command(command) for command in facts.commands],
        "writes": [place.path for place in facts.writes],
        "reads": [place.path for place in facts.reads],
        "urls": list(facts.urls),
        "scripts": list(facts.scripts),
    }


def _command(command: Command) -> dict[str, object]:
    git, removal = command.git, command.removal
    shown: dict[str, object] = {
        "program": command.program,
        "command": command.text,
        "args": list(command.args),
        "writes": [write.place.path for write in command.writes],
        "unknown": list(command.unknown),
        "piped_script": command.piped_script,
        "drops_table": command.drops_table,
    }
    if git is not None:
        shown["git"] = {
            "subcommand": git.subcommand,
            "push": git.pushes,
            "force": git.force,
            "lease": git.lease,
            "delete": git.delete,
            "all_branches": git.everything,
            "remote": git.remote,
            "target_branches": list(git.targets),
        }
    if removal is not None:
        shown["rm"] = {
            "recursive": removal.recursive,
            "force": removal.force,
            "root": removal.root,
            "workspace": removal.workspace,
        }
    return shown


def _directory(task: Fields, name: str) -> str | None:
    value: str | None = task.take(name, str)
    if value is not None and not value.startswith("/"):
        raise BodyError(f"{task.path}{name} has to be an absolute path")
    return value


def _denial(fields: Fields) -> Denial:
    denial = Denial(
        input_hash=fields.take("input_hash", str, ""),
        rule_ids=frozenset(fields.texts("rule_ids")),
        age_s=fields.take("age_s", (int, float), 0),
        reason=fields.take("reason", str, ""),
    )
    fields.end()
    return denial
