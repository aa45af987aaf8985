"""The rules of `bgagent_policy`, as the gate asks them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from bgagent_policy import Decision, Effect, Layout, Policies, Request, Scope, Severity, decide
from bgagent_policy.scopes import UNREADABLE
from bgagent_policy.tools import group_of

from .payload import Session
from .policy import Allow, Ask, Deny, Ruling
from .runner import ToolCall


class CedarPolicy:
    """One task's rules: the built-in ones and its repository's. Raises when the latter do not parse."""

    def __init__(self, session: Session, workspace: Path, home: str) -> None:
        self._policies = Policies.load(session.policies.text if session.policies else "")
        self._layout = Layout(os.path.realpath(workspace), home, os.path.realpath)
        self._repo = session.repo
        self._timeout_s = session.policies.approval_timeout_s if session.policies else None
        self._gates = session.policies is None or session.policies.gates

    def judge(self, call: ToolCall) -> Ruling:
        """People and what they said before are the gate's to know: no scopes, no denials."""
        if not self._gates and group_of(call.name, ()) is None:
            # No rule can speak of a tool that the rules do not know.
            return Allow()
        decision = self._decide(call, ())
        if decision.effect is Effect.ALLOW:
            return Allow()
        if decision.effect is Effect.DENY:
            # Its reasons name the rules.
            return Deny(decision.summary)
        return Ask(
            decision.rule_ids,
            (decision.severity or Severity.MEDIUM).value,
            decision.timeout_s or 300,
            decision.summary,
            tuple(str(scope) for scope in decision.suggested_scopes),
            # A no to what could not be read counts for that very call alone.
            frozenset(decision.rule_ids) - UNREADABLE,
        )

    def covers(self, call: ToolCall, scopes: Sequence[str]) -> bool:
        """Whether these lift every rule that asks; a scope that does not parse raises."""
        return self._decide(call, tuple(Scope.parse(scope) for scope in scopes)).effect is Effect.ALLOW

    def _decide(self, call: ToolCall, scopes: tuple[Scope, ...]) -> Decision:
        request = Request(
            call.name,
            call.input,
            repo=self._repo,
            layout=self._layout,
            directory=os.path.realpath(call.directory) if call.directory else None,
            scopes=scopes,
            approval_timeout_s=self._timeout_s,
        )
        return decide(request, self._policies)
