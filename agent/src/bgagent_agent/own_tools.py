"""The tools by which the model speaks with people, as it sees them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from .asks import ANSWER_TOOL, Asks
from .progress import Progress
from .questions import Questions
from .runner import OwnCall, OwnTool

SERVER: Final = "bgagent"


def full_name(name: str) -> str:
    """The name by which the model calls one of them."""
    return f"mcp__{SERVER}__{name}"


_LINES: Mapping[str, Any] = {"type": "array", "items": {"type": "string"}, "maxItems": 20}
_SCHEMAS: Mapping[str, Mapping[str, Any]] = {
    ANSWER_TOOL: {
        "type": "object",
        "required": ["ask_id", "text"],
        "properties": {
            "ask_id": {"type": "string", "description": "as it stands in the <user_question>"},
            "text": {"type": "string", "minLength": 1, "description": "the answer, in a few sentences"},
        },
    },
    "ask_human": {
        "type": "object",
        "required": ["question"],
        "properties": {
            "question": {"type": "string", "minLength": 1, "maxLength": 2_000},
            "options": {
                "type": "array",
                "items": {"type": "string"},
                "maxItems": 10,
                "description": "answers to choose from, if there are some",
            },
        },
    },
    "report_progress": {
        "type": "object",
        "properties": {
            "done": _LINES,
            "next": _LINES,
            "blockers": _LINES,
            "todo": {
                "type": "array",
                "maxItems": 20,
                "items": {
                    "type": "object",
                    "required": ["text", "state"],
                    "properties": {
                        "text": {"type": "string"},
                        "state": {"enum": ["open", "doing", "done"]},
                    },
                },
            },
        },
    },
}
_DESCRIPTIONS: Mapping[str, str] = {
    ANSWER_TOOL: "Answer a <user_question> that a person asked about your work. Then go on with the work.",
    "ask_human": (
        "Ask a person and wait for the answer. Only where a wrong guess would do harm and neither the task "
        "nor the repository says what to do. No answer is no consent."
    ),
    "report_progress": (
        "Tell people how far you are: what is done, what comes next, what holds you up, and your list of "
        "things to do. Call it after each larger step."
    ),
}
NAMES: Final = frozenset(map(full_name, _SCHEMAS))


def own_tools(asks: Asks, questions: Questions, progress: Progress) -> tuple[OwnTool, ...]:
    """Each with what carries it out."""

    async def answer(call: OwnCall) -> str:
        return await asks.answer(str(call.input["ask_id"]), str(call.input["text"]), call.turn)

    async def ask(call: OwnCall) -> str:
        options = [str(option) for option in call.input.get("options") or []]
        return await questions.ask(call.id, str(call.input["question"]), options)

    async def report(call: OwnCall) -> str:
        return await progress.report(call.input)

    runs = {ANSWER_TOOL: answer, "ask_human": ask, "report_progress": report}
    return tuple(OwnTool(name, _DESCRIPTIONS[name], _SCHEMAS[name], run) for name, run in runs.items())
