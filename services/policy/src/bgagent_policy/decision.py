"""Whether a tool call may run: never, yes, or a person decides. Pure; every error is a denial."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .facts import Facts, UnusableCall, units_of
from .paths import Layout
from .policies import Match, Policies
from .rule import DEFAULT_TIMEOUT_S, MAX_TIMEOUT_S, MIN_TIMEOUT_S, Severity, Tier
from .scopes import UNREADABLE, Scope, suggestions, uncovered

RECENT_DENIAL_S = 60.0
# So much of a task's life is left for what has to be done after an answer.
RESERVE_S = 120


class Effect(StrEnum):
    """What becomes of the call."""

    ALLOW = "allow"
    DENY = "deny"
    ASK = "ask"


class Source(StrEnum):
    """Which step decided."""

    HARD = "hard"
    SCOPE = "scope"
    RECENT_DENIAL = "recent_denial"
    SOFT = "soft"
    DEFAULT = "default"
    ERROR = "error"


@dataclass(frozen=True)
class Denial:
    """A person's no, or a gate that nobody answered: it counts for a minute."""

    input_hash: str
    rule_ids: frozenset[str] = frozenset()
    age_s: float = 0.0
    reason: str = ""


@dataclass(frozen=True)
class Request:
    """One tool call and the task it belongs to. `mcp_servers` are those that the task was given."""

    tool: str
    tool_input: Mapping[str, Any]
    task_type: str = "coding/new-task-v1"
    repo: str = ""
    read_only: bool = False
    layout: Layout = field(default_factory=Layout)
    directory: str | None = None
    mcp_servers: frozenset[str] = frozenset()
    scopes: tuple[Scope, ...] = ()
    denials: tuple[Denial, ...] = ()
    approval_timeout_s: int | None = None
    remaining_s: float | None = None

    @property
    def input_hash(self) -> str:
        """What an approval or a denial is bound to."""
        call = {"tool": self.tool, "input": self.tool_input}
        return hashlib.sha256(json.dumps(call, sort_keys=True, separators=(",", ":")).encode()).hexdigest()


@dataclass(frozen=True)
class Decision:
    """What becomes of a call and why.

    `reasons` are for people; `timeout_s` and `suggested_scopes` go with `ask`.
    """

    effect: Effect
    source: Source
    rule_ids: tuple[str, ...] = ()
    severity: Severity | None = None
    timeout_s: int | None = None
    reasons: tuple[str, ...] = ()
    suggested_scopes: tuple[Scope, ...] = ()
    input_hash: str = ""
    scripts: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """The reasons as one line, for the model and for a notification."""
        return "; ".join(self.reasons)

    def as_json(self) -> dict[str, object]:
        """The decision as the service tells it."""
        return {
            "effect": self.effect.value,
            "source": self.source.value,
            "rule_ids": list(self.rule_ids),
            "severity": self.severity.value if self.severity else None,
            "timeout_s": self.timeout_s,
            "reasons": list(self.reasons),
            "suggested_scopes": [str(scope) for scope in self.suggested_scopes],
            "input_hash": self.input_hash,
            "scripts": list(self.scripts),
        }


def decide(request: Request, policies: Policies) -> Decision:
    """Hard rules, then what was allowed beforehand, then a recent no, then soft rules, then yes."""
    input_hash = ""
    try:
        input_hash = request.input_hash
        facts = Facts.of(
            request.tool, request.tool_input, request.layout, request.directory, request.mcp_servers
        )
        return _decide(request, policies, facts, input_hash)
    except UnusableCall as error:
        return Decision(Effect.DENY, Source.ERROR, reasons=(str(error),), input_hash=input_hash)
    except Exception as error:
        reason = f"the policy could not decide ({type(error).__name__}), so the call is denied"
        return Decision(Effect.DENY, Source.ERROR, reasons=(reason,), input_hash=input_hash)


def _decide(request: Request, policies: Policies, facts: Facts, input_hash: str) -> Decision:
    common = {"task_type": request.task_type, "repo": request.repo, "read_only": request.read_only}
    matches = policies.matches(units_of(facts, common), request.task_type, facts.tool)
    hard = [match for match in matches if match.rule.tier is Tier.HARD]
    if hard:
        return _decision(Effect.DENY, Source.HARD, hard, facts, input_hash)
    open_matches = uncovered(matches, facts, request.scopes)
    if not open_matches:
        source = Source.SCOPE if matches else Source.DEFAULT
        return _decision(Effect.ALLOW, source, matches, facts, input_hash)
    if (denial := _recent(request.denials, open_matches, input_hash)) is not None:
        return _decision(
            Effect.DENY, Source.RECENT_DENIAL, open_matches, facts, input_hash, first=(_denied(denial),)
        )
    timeout = _timeout(request, open_matches)
    if timeout is None:
        late = "too little of the task's time is left to ask a person"
        return _decision(Effect.DENY, Source.SOFT, open_matches, facts, input_hash, first=(late,))
    scopes = suggestions(open_matches, facts, request.scopes)
    return _decision(
        Effect.ASK, Source.SOFT, open_matches, facts, input_hash, timeout_s=timeout, suggested_scopes=scopes
    )


def _decision(
    effect: Effect,
    source: Source,
    matches: Sequence[Match],
    facts: Facts,
    input_hash: str,
    *,
    first: tuple[str, ...] = (),
    timeout_s: int | None = None,
    suggested_scopes: tuple[Scope, ...] = (),
) -> Decision:
    severities = [match.rule.severity for match in matches]
    return Decision(
        effect,
        source,
        rule_ids=tuple(dict.fromkeys(match.rule.rule_id for match in matches)),
        severity=max(severities, key=lambda severity: severity.rank) if severities else None,
        timeout_s=timeout_s,
        reasons=(*first, *dict.fromkeys(_reason(match, facts) for match in matches)),
        suggested_scopes=suggested_scopes,
        input_hash=input_hash,
        scripts=facts.scripts,
    )


def _reason(match: Match, facts: Facts) -> str:
    what = match.rule.summary or match.rule.rule_id
    about = ""
    command = match.unit.command
    if match.rule.rule_id == "unparsed_command":
        about = ", ".join(facts.unparsed)
    elif match.rule.rule_id == "unknown_command" and command is not None:
        about = ", ".join(command.unknown)
    elif match.unit.place is not None:
        about = match.unit.place.path
    elif command is not None:
        about = command.text
    about = about if len(about) <= 200 else about[:199] + "…"
    return f"{match.rule.rule_id}: {what}" + (f" ({about})" if about else "")


def _recent(denials: Sequence[Denial], matches: Sequence[Match], input_hash: str) -> Denial | None:
    """A no to the same call or to another under the same rule; what cannot be read is no such kin."""
    rules = {match.rule.rule_id for match in matches} - UNREADABLE
    for denial in denials:
        if not 0 <= denial.age_s < RECENT_DENIAL_S:
            continue
        if denial.input_hash == input_hash or rules & denial.rule_ids:
            return denial
    return None


def _denied(denial: Denial) -> str:
    reason = f": {denial.reason[:2000]}" if denial.reason else ""
    return f"this was denied {int(denial.age_s)} s ago{reason}; do something else"


def _timeout(request: Request, matches: Sequence[Match]) -> int | None:
    """The shortest of what the rules, the task and its life allow; None when no time is left to ask."""
    given = request.approval_timeout_s
    timeouts = [match.rule.approval_timeout_s for match in matches] or [DEFAULT_TIMEOUT_S]
    timeout = float(min(timeouts if given is None else [*timeouts, given]))
    if request.remaining_s is not None:
        if not request.remaining_s - RESERVE_S >= MIN_TIMEOUT_S:
            return None
        timeout = min(timeout, request.remaining_s - RESERVE_S)
    return int(max(MIN_TIMEOUT_S, min(timeout, MAX_TIMEOUT_S)))
