"""Options and environment of the agent's CLI.

What is set here was measured on the pinned version; each line that looks superfluous closes a hole or a leak.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from claude_agent_sdk import ClaudeAgentOptions

from .runner import Brief
from .sdk_tools import SdkTools

_MAX_LINE_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True)
class ModelAccess:
    """Where the model is asked and with which token; the real key is added outside the sandbox."""

    base_url: str
    token: str = field(repr=False)
    max_retries: int = 10


def cli_environment(tools: Mapping[str, str], access: ModelAccess, private: Path) -> dict[str, str]:
    """What the CLI, and so every tool it starts, may see: the tools' environment and the model token."""
    environment = {
        **tools,
        "ANTHROPIC_BASE_URL": access.base_url,
        "ANTHROPIC_AUTH_TOKEN": access.token,
        # Pins the two above: a settings file of the repository could redirect the token otherwise.
        "CLAUDE_CODE_PROVIDER_MANAGED_BY_HOST": "1",
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        # A deferred call would be executed on resume without asking the gate.
        "CLAUDE_CODE_DISABLE_DEFERRED_TOOL_RESUME": "1",
        "CLAUDE_CODE_DISABLE_BACKGROUND_TASKS": "1",
        "CLAUDE_CODE_MAX_RETRIES": str(access.max_retries),
        # A person may take a day to answer a question of the agent.
        "MCP_TOOL_TIMEOUT": "86400000",
        "CLAUDE_CONFIG_DIR": str(private / "cli"),
        "CLAUDE_CODE_TMPDIR": str(private / "tmp"),
    }
    if os.geteuid() == 0:
        environment["IS_SANDBOX"] = "1"
    return environment


def cli_options(
    brief: Brief,
    environment: Mapping[str, str],
    hooks: Mapping[str, Any],
    stderr: Callable[[str], None],
    own: SdkTools | None = None,
) -> ClaudeAgentOptions:
    """The options of one run. Money is limited by the model proxy alone: the CLI's own prices may differ."""
    return ClaudeAgentOptions(
        model=brief.model,
        cwd=brief.directory,
        system_prompt={"type": "preset", "preset": "claude_code", "append": brief.system_prompt},
        tools=list(brief.tools),
        allowed_tools=sorted(own.names) if own else [],
        mcp_servers=dict(own.servers()) if own else {},
        permission_mode="bypassPermissions",
        # Nothing of the repository configures the agent: its settings could run hooks of their own.
        setting_sources=[],
        strict_mcp_config=True,
        # Issue text must not make the CLI read files (@path) or run commands (/name).
        verbatim_prompts=True,
        include_partial_messages=True,
        max_turns=max(1, brief.turns_left),
        max_buffer_size=_MAX_LINE_BYTES,
        settings=json.dumps({"includeCoAuthoredBy": False}),
        extra_args={"replay-user-messages": None},
        env=dict(environment),
        hooks=dict(hooks),  # type: ignore[arg-type]  # PostToolBatch is missing from the SDK's type
        stderr=stderr,
    )
