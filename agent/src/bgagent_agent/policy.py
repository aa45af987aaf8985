"""The gate of a task that has policies: rules, people and what they have said before."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from .approvals import Approvals, input_hash
from .control import ApprovalState
from .gate import Verdict
from .logs import Log
from .own_tools import NAMES
from .runner import ToolCall

RECENT_S = 60.0
_RESERVE_S = 120.0
_SHORTEST_S = 30
_LONGEST_S = 3_600
_THIS_CALL = "this_call"


@dataclass(frozen=True)
class Allow:
    """No rule speaks against the call."""


@dataclass(frozen=True)
class Deny:
    """A rule that nobody can lift forbids it."""

    reason: str
    rule_ids: tuple[str, ...] = ()


@dataclass(frozen=True)
class Ask:
    """Rules that a person may lift. `kin` are those by which the denial of one call counts for another."""

    rule_ids: tuple[str, ...]
    severity: str = "medium"
    timeout_s: int = 300
    summary: str = ""
    scopes: tuple[str, ...] = ()
    kin: frozenset[str] = frozenset()


Ruling = Allow | Deny | Ask


class Policy(Protocol):
    """The rules alone: they know neither people nor what happened before."""

    def judge(self, call: ToolCall) -> Ruling:
        """What the rules say about a call; an exception counts as a denial."""
        ...

    def covers(self, call: ToolCall, scopes: Sequence[str]) -> bool:
        """Whether what was allowed beforehand lifts every rule that asks about the call."""
        ...


@dataclass(frozen=True)
class _Denial:
    at: float
    input_hash: str
    kin: frozenset[str]
    reason: str = field(default="")


class PolicyGate:
    """In this order: a hard rule denies, an allowance allows, a denial of the last minute denies again, a
    person is asked. Whatever fails on the way denies, and so does a tool that nobody gave the agent.

    With `gates` off nobody is asked: what no hard rule forbids may run.
    """

    def __init__(
        self,
        policy: Policy,
        approvals: Approvals,
        log: Log,
        *,
        tools: Sequence[str],
        gates: bool = True,
        allowances: Sequence[str] = (),
        approval_timeout_s: int = _LONGEST_S,
        remaining_s: Callable[[], float] = lambda: float("inf"),
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._policy = policy
        self._approvals = approvals
        self._log = log
        self._tools = frozenset(tools)
        self._gates = gates
        self._allowances = list(allowances)
        self._approval_timeout_s = approval_timeout_s
        self._remaining_s = remaining_s
        self._clock = clock
        self._denials: list[_Denial] = []

    async def judge(self, call: ToolCall) -> Verdict:
        """Our own tools pass: the platform carries them out."""
        if call.name in NAMES:
            return Verdict(True)
        if self._gates and call.name not in self._tools:
            return Verdict(False, f"{call.name} is not among the tools of this task")
        try:
            return await self._judged(call)
        except Exception as error:
            self._log.error("the policy could not decide", tool=call.name, error=repr(error))
            return Verdict(False, "the policy could not decide, so the call is denied")

    async def _judged(self, call: ToolCall) -> Verdict:
        ruling = self._policy.judge(call)
        if isinstance(ruling, Allow):
            return Verdict(True)
        if isinstance(ruling, Deny):
            return _denied(ruling)
        if not isinstance(ruling, Ask):
            raise TypeError(f"no ruling: {ruling!r}")
        if not self._gates:
            return Verdict(True)
        if self._allowances and self._policy.covers(call, tuple(self._allowances)) is True:
            return Verdict(True)
        if (recent := self._recent(call, ruling)) is not None:
            seconds = int(self._clock() - recent.at)
            return Verdict(False, f"this was denied {seconds} s ago: {recent.reason}. Do something else.")
        timeout_s = self._timeout(ruling)
        if timeout_s is None:
            return Verdict(False, f"{_rules(ruling)}: too little of the task's time is left to ask a person")
        state = await self._approvals.decide(
            call,
            rule_ids=ruling.rule_ids,
            severity=ruling.severity,
            summary=ruling.summary,
            timeout_s=timeout_s,
            scopes=ruling.scopes,
        )
        return self._obeyed(call, ruling, state)

    def _obeyed(self, call: ToolCall, asked: Ask, state: ApprovalState) -> Verdict:
        if state.state != "approved":
            reason = state.reason or ("nobody decided in time" if state.state == "timed_out" else "denied")
            self._denials.append(_Denial(self._clock(), input_hash(call), asked.kin, reason))
            return Verdict(False, f"{_rules(asked)}: a person was asked; {reason}")
        # What a person approves lifts no hard rule, also when it came to hold while they thought.
        again = self._policy.judge(call)
        if not isinstance(again, Allow | Ask):
            return _denied(again)
        if state.scope and state.scope != _THIS_CALL:
            self._allowances.append(state.scope)
        return Verdict(True)

    def _recent(self, call: ToolCall, asked: Ask) -> _Denial | None:
        since = self._clock() - RECENT_S
        self._denials = [denial for denial in self._denials if denial.at > since]
        hashed = input_hash(call)
        for denial in self._denials:
            if denial.input_hash == hashed or denial.kin & asked.kin:
                return denial
        return None

    def _timeout(self, asked: Ask) -> int | None:
        left = self._remaining_s() - _RESERVE_S
        if left < _SHORTEST_S:
            return None
        return int(max(_SHORTEST_S, min(asked.timeout_s, self._approval_timeout_s, left, _LONGEST_S)))


class ClosedPolicy:
    """Stands in where a task has policies that nothing here can read: no call may run."""

    def judge(self, call: ToolCall) -> Ruling:
        """Denied."""
        del call
        return Deny("this task has policies that could not be loaded")

    def covers(self, call: ToolCall, scopes: Sequence[str]) -> bool:
        """Nothing is."""
        del call, scopes
        return False


def _denied(ruling: Deny) -> Verdict:
    rules = f"{', '.join(ruling.rule_ids)}: " if ruling.rule_ids else ""
    return Verdict(False, f"{rules}{ruling.reason}" or "denied by policy")


def _rules(asked: Ask) -> str:
    return ", ".join(asked.rule_ids) or "a rule"
