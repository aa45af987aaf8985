"""The tools that an agent may have, by group. A tool that stands nowhere is denied."""

from __future__ import annotations

import re
from collections.abc import Collection

GROUPS: dict[str, tuple[str, ...]] = {
    "shell": ("Bash", "BashOutput", "KillShell"),
    "file_write": ("Write", "Edit", "MultiEdit", "NotebookEdit"),
    "file_read": ("Read", "Glob", "Grep", "LS", "NotebookRead"),
    "web": ("WebFetch", "WebSearch"),
    "plan": ("TodoWrite", "Task"),
}
MCP_GROUP = "mcp"
TOOLS: dict[str, str] = {tool: group for group, tools in GROUPS.items() for tool in tools}
GROUP_NAMES = (*GROUPS, MCP_GROUP)

_MCP = re.compile(r"mcp__([A-Za-z0-9-]+(?:_[A-Za-z0-9-]+)*)__([A-Za-z0-9_-]+)")


def group_of(tool: str, mcp_servers: Collection[str]) -> str | None:
    """The tool's group; None for a tool that nobody gave the agent."""
    if (group := TOOLS.get(tool)) is not None:
        return group
    found = _MCP.fullmatch(tool)
    return MCP_GROUP if found and found.group(1) in mcp_servers else None


def is_tool_name(tool: str) -> bool:
    """True for a name that a tool may have."""
    return tool in TOOLS or _MCP.fullmatch(tool) is not None
