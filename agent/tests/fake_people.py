"""The people behind the agent gateway of the tests: what they are asked, what they answer and decide."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any


class Refusal(Exception):
    """A refusal of the session API."""

    def __init__(self, status: int, code: str, **extra: Any) -> None:
        self.status = status
        self.body = {"error": {"code": code, "message": code.lower(), "request_id": "r", **extra}}


@dataclass
class FakePeople:
    """Questions and gates by the id of their call, so that asking again is the same question."""

    post: Callable[..., None]
    note: Callable[[Callable[[], Any]], None]
    remaining_s: float = 300.0
    gates: int = 50
    closed_asks: set[str] = field(default_factory=set)
    known_asks: set[str] = field(default_factory=set)
    answers: list[dict[str, Any]] = field(default_factory=list)
    questions: dict[str, dict[str, Any]] = field(default_factory=dict)
    approvals: dict[str, dict[str, Any]] = field(default_factory=dict)
    bodies: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    replies: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def ask(self, ask_id: str, text: str) -> None:
        """A person asks the agent."""
        self.known_asks.add(ask_id)
        self.post(
            {"id": ask_id, "kind": "ask", "text": text, "from": "jo", "sent_at": "2026-01-31T12:00:00Z"}
        )

    def answer(self, text: str, *, tell: bool = True) -> None:
        """A person answers the newest question; without `tell` only the platform knows."""
        question = list(self.questions.values())[-1]
        self.note(lambda: question.update({"state": "answered", "text": text, "from": "jo"}))
        if tell:
            item = {"question_id": question["question_id"], "state": "answered", "text": text, "from": "jo"}
            self.post({"id": f"i-{question['question_id']}", "kind": "answer", **item})

    def decide(self, state: str, *, tell: bool = True, **said: str) -> None:
        """A person decides the newest gate."""
        gate = list(self.approvals.values())[-1]
        self.note(lambda: gate.update(state=state, **said))
        if tell:
            item = {"request_id": gate["request_id"], "state": state, "from": "jo", **said}
            self.post({"id": f"i-{gate['request_id']}", "kind": "decision", **item})

    def call(self, path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        """The reply to a call about people; None for another call."""
        calls: tuple[tuple[str, str, Callable[..., dict[str, Any]]], ...] = (
            ("ask-answer", r"/session/asks/(.+)/answer", self._take_answer),
            ("question", r"/session/questions", self._question),
            ("question-expire", r"/session/questions/(.+)/expire", self._expire_question),
            ("approval", r"/session/approvals", self._approval),
            ("approval-expire", r"/session/approvals/(.+)/expire", self._expire_approval),
        )
        for name, pattern, act in calls:
            if match := re.fullmatch(pattern, path):
                self.bodies.append((name, body))
                reply = act(body, *match.groups())
                self.replies.append((name, reply))
                return reply
        return None

    def _take_answer(self, body: dict[str, Any], ask_id: str) -> dict[str, Any]:
        if ask_id in self.closed_asks:
            raise Refusal(409, "ALREADY_CLOSED")
        if ask_id not in self.known_asks:
            raise Refusal(404, "NOT_FOUND")
        self.answers.append({"id": ask_id, **body})
        return {"state": "answered"}

    def _question(self, body: dict[str, Any]) -> dict[str, Any]:
        known = self.questions.setdefault(
            body["client_id"],
            {"question_id": f"q{len(self.questions) + 1}", "state": "open", "question": body["question"]},
        )
        return self._shown(known, "question_id", "state", "text", "from")

    def _expire_question(self, body: dict[str, Any], question_id: str) -> dict[str, Any]:
        question = next(one for one in self.questions.values() if one["question_id"] == question_id)
        if question["state"] == "open":
            question["state"] = "expired"
        return {name: question[name] for name in ("state", "text", "from") if name in question}

    def _approval(self, body: dict[str, Any]) -> dict[str, Any]:
        if body["client_id"] not in self.approvals and len(self.approvals) >= self.gates:
            raise Refusal(409, "GATE_LIMIT")
        known = self.approvals.setdefault(
            body["client_id"], {**body, "request_id": f"g{len(self.approvals) + 1}", "state": "pending"}
        )
        return self._shown(known, "request_id", "state", "scope", "reason")

    def _expire_approval(self, body: dict[str, Any], request_id: str) -> dict[str, Any]:
        gate = next(one for one in self.approvals.values() if one["request_id"] == request_id)
        if gate["state"] == "pending":
            gate["state"] = "timed_out"
        return {name: gate[name] for name in ("state", "scope", "reason") if name in gate}

    def _shown(self, known: dict[str, Any], *names: str) -> dict[str, Any]:
        shown = {name: known[name] for name in names if name in known}
        return {**shown, "deadline": "2026-01-31T12:05:00Z", "remaining_s": self.remaining_s}
