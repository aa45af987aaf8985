"""Scripts: what the model says at each step, and what it must have seen before it says so.

A script is chosen by a line `Repository: owner/name` in what the user wrote (and by `when`, a regular
expression on the same text). `Script: name` on a line of its own picks one by name, and is the only way to
one that is `by_name`. After the last step the model has nothing to say, or says it again (`repeat`).
The step is the number of answers already in the conversation, so nothing is kept between requests and any
number of conversations can run side by side. Captures are taken again from the conversation at every request.

    {"expect":  [{"tool_result_regex": "..."}, {"text_regex": "..."}],
     "capture": [{"name": "root", "regex": "(/.+)", "from": "tool_result"}],
     "thinking": "...", "text": "...", "tools": [{"name": "Bash", "input": {"command": "..."}}]}
    {"any": [step, step]}            the first whose expectations hold

`{{name}}` stands for a capture, `{{nonce}}` for a word of this conversation alone, `{{sha256:name}}` for the
SHA-256 of a capture: only a tool that really ran can print it.
"""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rehearsal.wire import JsonObject

REPOSITORY = re.compile(r"^\s*Repository:\s*([\w.-]+/[\w.-]+)\s*$", re.M)
NAMED = re.compile(r"^\s*Script:\s*([\w.-]+)\s*$", re.M)
STEP_FIELDS = {"expect", "capture", "thinking", "text", "tools", "stop_reason"}
AFTER_THE_END: JsonObject = {"text": "There is nothing further to do."}


class BadScript(ValueError):
    """A script that cannot be used; the message says why."""


class ExpectationFailed(Exception):
    """What the model was shown is not what the script says it must be."""

    def __init__(self, step: int, problems: list[str]) -> None:
        super().__init__(f"step {step}: {'; '.join(problems)}")
        self.step = step
        self.problems = problems


@dataclass
class Received:
    """What came in since the last answer."""

    results: str
    text: str


@dataclass
class Conversation:
    """A conversation as the script sees it: what was received before each answer, the newest last."""

    opening: str
    turns: list[Received]
    key: str

    @classmethod
    def read(cls, body: JsonObject) -> Conversation:
        """Reads a request body. Answers before the line that names the repository do not count."""
        turns: list[list[JsonObject]] = [[]]
        opening = ""
        for message in body["messages"]:
            if message["role"] == "assistant":
                if opening:
                    turns.append([])
                continue
            turns[-1].append(message)
            if not opening and message["role"] == "user":
                text = _texts(message)
                opening = text if REPOSITORY.search(text) or NAMED.search(text) else ""
        session = str((body.get("metadata") or {}).get("user_id", ""))
        key = hashlib.sha256(f"{session}\n{opening}".encode()).hexdigest()
        received = [
            Received(
                "\n".join(map(_results, turn)),
                "\n".join(_texts(message) for message in turn if message["role"] == "user"),
            )
            for turn in turns
        ]
        return cls(opening, received, key)


def _blocks(content: Any) -> list[JsonObject]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or [])


def _texts(message: JsonObject) -> str:
    return "\n".join(str(block["text"]) for block in _blocks(message["content"]) if block["type"] == "text")


def _results(message: JsonObject) -> str:
    results = [block for block in _blocks(message["content"]) if block["type"] == "tool_result"]
    inner = [one for block in results for one in _blocks(block.get("content"))]
    return "\n".join(str(one["text"]) for one in inner if "text" in one)


def fill(value: Any, variables: dict[str, str], escape: bool = False) -> Any:
    """Puts variables in place of `{{name}}` and `{{sha256:name}}`, in strings at any depth."""
    if isinstance(value, dict):
        return {key: fill(inner, variables, escape) for key, inner in value.items()}
    if isinstance(value, list):
        return [fill(inner, variables, escape) for inner in value]
    if not isinstance(value, str):
        return value

    def one(match: re.Match[str]) -> str:
        known = variables.get(match[2])
        if known is None:
            return match[0]
        text = hashlib.sha256(known.encode()).hexdigest() if match[1] else known
        return re.escape(text) if escape else text

    return re.sub(r"\{\{(sha256:)?(\w+)\}\}", one, value)


@dataclass
class Script:
    """One script; `when` narrows it to conversations whose opening matches."""

    name: str
    repository: str
    steps: list[JsonObject]
    when: str | None = None
    by_name: bool = False
    repeat: bool = False

    @classmethod
    def parse(cls, value: JsonObject, name: str) -> Script:
        """Reads a script; raises BadScript where it could not be played."""
        try:
            script = cls(**{"name": name, **value})
            if not script.steps:
                raise BadScript("a script has at least one step")
            re.compile(script.when or "")
            for step in script.steps:
                for one in step.get("any", [step]):
                    if unknown := set(one) - STEP_FIELDS:
                        raise BadScript(f"unknown fields in a step: {sorted(unknown)}")
                    if not one.get("text") and not one.get("tools"):
                        raise BadScript("a step says nothing")
                    for expectation in one.get("expect", []):
                        if set(expectation) - {"tool_result_regex", "text_regex"}:
                            raise BadScript(f"unknown expectation: {expectation}")
                        re.compile(*expectation.values())
                    for capture in one.get("capture", []):
                        if re.compile(capture["regex"]).groups != 1:
                            raise BadScript(f"a capture needs one group: {capture['regex']}")
        except (KeyError, TypeError, AttributeError, re.error) as error:
            raise BadScript(f"{name}: {type(error).__name__}: {error}") from error
        return script

    @classmethod
    def load(cls, path: Path) -> Script:
        """Reads a file."""
        return cls.parse(json.loads(path.read_text()), path.stem)

    def step_for(self, conversation: Conversation) -> tuple[int, JsonObject]:
        """The number and the filled-in step that comes now; raises ExpectationFailed."""
        variables = {"nonce": conversation.key[:12]}
        for index, received in enumerate(conversation.turns):
            newest = index == len(conversation.turns) - 1
            if index >= len(self.steps) and not self.repeat:
                return len(conversation.turns) - 1, AFTER_THE_END
            step = self.steps[min(index, len(self.steps) - 1)]
            alternatives = step.get("any", [step])
            problems = [self._problem(one, received, variables) for one in alternatives]
            if all(problems):
                if newest:
                    raise ExpectationFailed(index, [problem for problem in problems if problem])
                continue
            chosen = alternatives[problems.index(None)]
            variables |= self._captures(chosen, received)
            if newest:
                return index, fill(chosen, variables)
        raise AssertionError("a conversation has at least one turn")

    @staticmethod
    def _problem(step: JsonObject, received: Received, variables: dict[str, str]) -> str | None:
        for expectation in step.get("expect", []):
            for kind, regex in expectation.items():
                seen = received.results if kind == "tool_result_regex" else received.text
                pattern = fill(regex, variables, escape=True)
                if re.search(pattern, seen, re.M) is None:
                    return f"{kind} {pattern!r} does not match {seen[-2000:]!r}"
        for capture in step.get("capture", []):
            seen = received.text if capture.get("from") == "text" else received.results
            if re.search(capture["regex"], seen, re.M) is None:
                return f"nothing for {capture['name']}: {capture['regex']!r} in {seen[-2000:]!r}"
        return None

    @staticmethod
    def _captures(step: JsonObject, received: Received) -> dict[str, str]:
        found = {}
        for capture in step.get("capture", []):
            seen = received.text if capture.get("from") == "text" else received.results
            match = re.search(capture["regex"], seen, re.M)
            assert match is not None
            found[capture["name"]] = match[1]
        return found
