"""Tool calls read into facts: commands, paths and addresses, instead of text to search in."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from .paths import Layout, Place
from .shell.command import Command
from .shell.limits import Limits
from .shell.reader import Reader
from .tools import group_of

# Which field of a tool's input names a path; "." stands for a field that may be missing.
_WRITTEN = {
    "Write": "file_path",
    "Edit": "file_path",
    "MultiEdit": "file_path",
    "NotebookEdit": "notebook_path",
}
_READ = {"Read": "file_path", "NotebookRead": "notebook_path", "LS": "path"}
_SEARCHED = {"Glob": "path", "Grep": "path"}


class UnusableCall(Exception):
    """The call is not one that can be judged, so it is denied; the text says why."""


@dataclass(frozen=True)
class Facts:
    """What one tool call does, as far as it can be known before it is done."""

    tool: str
    group: str
    line: str = ""
    commands: tuple[Command, ...] = ()
    unparsed: tuple[str, ...] = ()
    writes: tuple[Place, ...] = ()
    reads: tuple[Place, ...] = ()
    urls: tuple[str, ...] = ()

    @property
    def scripts(self) -> tuple[str, ...]:
        """Files that the call runs; an approval binds what is in them."""
        return tuple(dict.fromkeys(script for command in self.commands for script in command.scripts))

    @classmethod
    def of(
        cls,
        tool: str,
        tool_input: Mapping[str, Any],
        layout: Layout | None = None,
        directory: str | None = None,
        mcp_servers: Collection[str] = (),
        limits: Limits | None = None,
    ) -> Facts:
        """Reads a call.

        Raises `UnusableCall` for a tool that is not known or an input that is no such tool's.
        """
        layout = layout or Layout()
        group = group_of(tool, mcp_servers)
        if group is None:
            raise UnusableCall(f"the tool {tool[:100]!r} is not known to the policy")
        if tool == "Bash":
            line = _text(tool, tool_input, "command")
            reader = Reader(layout, limits or Limits())
            reader.read_line(line, directory)
            unparsed = tuple(dict.fromkeys(reader.unparsed))
            return cls(tool, group, line, reader.commands, unparsed)
        start = directory or layout.workspace
        if (name := _WRITTEN.get(tool)) is not None:
            return cls(tool, group, writes=_places(tool, _text(tool, tool_input, name), layout, start))
        if (name := _READ.get(tool)) is not None:
            return cls(tool, group, reads=_places(tool, _text(tool, tool_input, name), layout, start))
        if (name := _SEARCHED.get(tool)) is not None:
            return cls(tool, group, reads=_searched(tool, tool_input, name, layout, start))
        if tool == "WebFetch":
            return cls(tool, group, urls=(_url(_text(tool, tool_input, "url")),))
        return cls(tool, group)


@dataclass(frozen=True)
class Unit:
    """One request to the rules: an action and its context. `command` is the one it came from."""

    action: str
    context: Mapping[str, Any] = field(hash=False)
    command: Command | None = None
    place: Place | None = None
    redirected: bool = False


def units_of(facts: Facts, common: Mapping[str, Any]) -> list[Unit]:
    """All that the rules are asked about one call; `common` goes into every context."""
    units = [Unit("invoke_tool", {**common, "tool_type": facts.tool, "tool_group": facts.group})]
    for command in facts.commands:
        units += _command_units(facts, command, common)
    if facts.unparsed:
        units.append(Unit("execute_bash", {**common, **_bash(facts, Command("")), "unparsed": True}))
    for action, places in (("write_file", facts.writes), ("read_file", facts.reads)):
        units += (Unit(action, {**common, **_path(place, "tool", False)}, place=place) for place in places)
    for url in facts.urls:
        units.append(
            Unit("fetch_url", {**common, "url": url, "host": (urlsplit(url).hostname or "").lower()})
        )
    return units


def _command_units(facts: Facts, command: Command, common: Mapping[str, Any]) -> list[Unit]:
    context = {**common, **_bash(facts, command)}
    if (removal := command.removal) is not None:
        context["rm"] = {
            "recursive": removal.recursive,
            "force": removal.force,
            "root": removal.root,
            "workspace": removal.workspace,
        }
    units = []
    git = command.git
    for target in (git.targets or ("",)) if git is not None else ("",):
        if git is not None:
            context = {
                **context,
                "git": {
                    "subcommand": _clean(git.subcommand),
                    "push": git.pushes,
                    "force": git.force,
                    "lease": git.lease,
                    "delete": git.delete,
                    "all_branches": git.everything,
                    "remote": _clean(git.remote),
                    "target_branch": _clean(target),
                },
            }
        units.append(Unit("execute_bash", context, command))
    for write in command.writes:
        path = _path(write.place, "redirect" if write.redirected else "command", write.removed)
        units.append(Unit("write_file", {**common, **path}, command, write.place, write.redirected))
    return units


def _bash(facts: Facts, command: Command) -> dict[str, Any]:
    return {
        "line": _clean(facts.line),
        "command": _clean(command.text),
        "program": _clean(command.program),
        "args": sorted({_clean(arg) for arg in command.args}),
        "writes": sorted({_clean(write.place.path) for write in command.writes}),
        "unparsed": False,
        "unknown": bool(command.unknown),
        "piped_script": command.piped_script,
        "drops_table": command.drops_table,
    }


def _clean(text: str) -> str:
    """The text without halves of characters, which Cedar takes no text with."""
    return text.encode("utf-8", "replace").decode()


def _path(place: Place, via: str, removed: bool) -> dict[str, Any]:
    path = _clean(place.path)
    lower = path.lower()
    return {
        "file_path": path,
        "path_lower": lower,
        "file_name": lower.rpartition("/")[2],
        "outside": place.outside,
        "temporary": place.temporary,
        "removed": removed,
        "via": via,
    }


def _text(tool: str, tool_input: Mapping[str, Any], name: str) -> str:
    value = tool_input.get(name)
    if not isinstance(value, str) or not value:
        raise UnusableCall(f"{tool} needs a text in {name}")
    return value


def _places(tool: str, text: str, layout: Layout, directory: str) -> tuple[Place, ...]:
    if re.match(r"~(?:/|$)", text):
        text = layout.home + text[1:]
    places = layout.places(text, frozenset((directory,)))
    if places is None:
        raise UnusableCall(f"{tool} was given a path that cannot be one")
    return places


def _searched(
    tool: str, tool_input: Mapping[str, Any], name: str, layout: Layout, directory: str
) -> tuple[Place, ...]:
    start = tool_input.get(name)
    if start is not None and not isinstance(start, str):
        raise UnusableCall(f"{tool} needs a text in {name}")
    places = _places(tool, start or ".", layout, directory)
    pattern = tool_input.get("pattern")
    if tool == "Glob" and isinstance(pattern, str) and (pattern.startswith(("/", "~")) or ".." in pattern):
        base = pattern.rpartition("/")[0] if pattern.startswith(("/", "~")) else f"{start or '.'}/{pattern}"
        places += _places(tool, base or "/", layout, directory)
    return places


def _url(text: str) -> str:
    try:
        parts = urlsplit(text)
    except ValueError as error:
        raise UnusableCall("WebFetch was given an address that cannot be one") from error
    if parts.scheme.lower() not in ("http", "https") or not parts.hostname:
        raise UnusableCall("WebFetch was given an address that cannot be one")
    return text
