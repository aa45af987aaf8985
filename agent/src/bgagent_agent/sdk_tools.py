"""The platform's own tools as an MCP server inside this process."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from claude_agent_sdk import McpSdkServerConfig, SdkMcpTool, create_sdk_mcp_server

from .own_tools import SERVER, full_name
from .runner import OwnCall, OwnTool, ToolCall


class SdkTools:
    """A handler is not told the id of its call; the hook that runs before it is, and leaves it here."""

    def __init__(self, tools: Sequence[OwnTool], turn: Callable[[], int]) -> None:
        self._tools = tools
        self._turn = turn
        self._announced: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self.names = frozenset(full_name(tool.name) for tool in tools)

    def announce(self, call: ToolCall) -> None:
        """The call is about to be carried out."""
        self._announced[call.name].append((_canonical(call.input), call.id))

    def servers(self) -> dict[str, McpSdkServerConfig]:
        """By name, as the CLI is given them; none without tools."""
        if not self._tools:
            return {}
        return {SERVER: create_sdk_mcp_server(SERVER, tools=[self._sdk_tool(tool) for tool in self._tools])}

    def _sdk_tool(self, tool: OwnTool) -> SdkMcpTool[Any]:
        async def handle(arguments: dict[str, Any]) -> dict[str, Any]:
            call_id = self._announced_id(full_name(tool.name), arguments)
            text = await tool.run(OwnCall(call_id, self._turn(), arguments))
            return {"content": [{"type": "text", "text": text}]}

        return SdkMcpTool(tool.name, tool.description, dict(tool.schema), handle)

    def _announced_id(self, name: str, arguments: Mapping[str, Any]) -> str:
        waiting = self._announced[name]
        if not waiting:
            raise LookupError("the gate was not asked for this call")
        canonical = _canonical(arguments)
        found = next((one for one in waiting if one[0] == canonical), waiting[0])
        waiting.remove(found)
        return found[1]


def _canonical(arguments: Mapping[str, Any]) -> str:
    return json.dumps(arguments, sort_keys=True, default=str)
