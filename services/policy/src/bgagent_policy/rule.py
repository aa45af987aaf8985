"""One rule: a `forbid` with its annotations, read and checked."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import cedarpy

from .statements import Statement

MIN_TIMEOUT_S = 30
MAX_TIMEOUT_S = 3600
DEFAULT_TIMEOUT_S = 300
MAX_SUMMARY = 160

_ANNOTATIONS = ("tier", "rule_id", "approval_timeout_s", "severity", "category", "summary")
_ID = re.compile(r"[a-z][a-z0-9_]{1,62}[a-z0-9]")
_CATEGORY = re.compile(r"[a-z][a-z0-9_]{0,31}")


class Tier(StrEnum):
    """A hard rule is absolute, a soft one asks a person."""

    HARD = "hard"
    SOFT = "soft"


class Severity(StrEnum):
    """How much a person should look before they approve."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"

    @property
    def rank(self) -> int:
        """Larger is more severe."""
        return list(Severity).index(self)


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to say about a text of policies, with the line it is about."""

    line: int
    message: str
    rule_id: str = ""

    def __str__(self) -> str:
        about = f" ({self.rule_id})" if self.rule_id else ""
        return f"line {self.line}{about}: {self.message}"

    def as_json(self) -> dict[str, object]:
        """The finding as the service tells it."""
        return {"line": self.line, "rule_id": self.rule_id or None, "message": self.message}


@dataclass(frozen=True, slots=True)
class Rule:
    """A rule in force."""

    rule_id: str
    tier: Tier
    severity: Severity
    category: str
    summary: str
    approval_timeout_s: int
    built_in: bool
    line: int
    text: str

    def as_json(self) -> dict[str, object]:
        """The rule as the service lists it."""
        return {
            "rule_id": self.rule_id,
            "tier": self.tier.value,
            "severity": self.severity.value,
            "category": self.category,
            "summary": self.summary,
            "approval_timeout_s": self.approval_timeout_s if self.tier is Tier.SOFT else None,
            "origin": "built_in" if self.built_in else "repository",
        }


def tree_of(statement: Statement) -> Mapping[str, Any]:
    """The statement as Cedar's own tree. Raises `ValueError` with the parser's words."""
    policies = json.loads(cedarpy.policies_to_json_str(statement.text))
    if policies.get("templates"):
        raise ValueError("a template is no rule; name what it is about or leave it open")
    static = list(policies["staticPolicies"].values())
    if len(static) != 1:
        raise ValueError("not one policy")
    tree: Mapping[str, Any] = static[0]
    return tree


def rule_of(statement: Statement, tree: Mapping[str, Any], built_in: bool) -> Rule | list[Finding]:
    """The rule, or everything that keeps the statement from being one."""
    annotations: Mapping[str, str] = tree.get("annotations", {})
    rule_id = annotations.get("rule_id") or ""
    problems = list(_problems(tree, annotations))
    if problems:
        return [Finding(statement.line, problem, rule_id) for problem in problems]
    return Rule(
        rule_id=rule_id,
        tier=Tier(annotations["tier"]),
        severity=Severity(annotations.get("severity", "medium")),
        category=annotations.get("category", "other"),
        summary=annotations.get("summary", ""),
        approval_timeout_s=int(annotations.get("approval_timeout_s", DEFAULT_TIMEOUT_S)),
        built_in=built_in,
        line=statement.line,
        text=statement.text,
    )


def _problems(tree: Mapping[str, Any], annotations: Mapping[str, str | None]) -> Iterator[str]:
    if tree.get("effect") != "forbid":
        yield "a rule forbids; only the platform permits, so that no rule can weaken another"
    for name in annotations:
        if name not in _ANNOTATIONS:
            yield f"there is no annotation @{name}; there are {', '.join('@' + a for a in _ANNOTATIONS)}"
    rule_id = annotations.get("rule_id")
    if not rule_id:
        yield '@rule_id is missing: @rule_id("a_name_of_its_own")'
    elif not _ID.fullmatch(rule_id):
        yield "@rule_id takes 3 to 64 of a-z, 0-9 and _, begins with a letter and does not end with _"
    tier = annotations.get("tier")
    if tier not in list(Tier):
        yield '@tier says "hard" (never) or "soft" (ask a person)'
    if annotations.get("severity", "medium") not in list(Severity):
        yield '@severity is "low", "medium" or "high"'
    if not _CATEGORY.fullmatch(annotations.get("category", "other") or ""):
        yield "@category takes up to 32 of a-z, 0-9 and _"
    if len(annotations.get("summary", "") or "") > MAX_SUMMARY:
        yield f"@summary takes up to {MAX_SUMMARY} characters"
    timeout = annotations.get("approval_timeout_s", str(DEFAULT_TIMEOUT_S)) or ""
    if not re.fullmatch(r"[0-9]{1,5}", timeout) or not MIN_TIMEOUT_S <= int(timeout) <= MAX_TIMEOUT_S:
        yield f"@approval_timeout_s is a whole number of seconds from {MIN_TIMEOUT_S} to {MAX_TIMEOUT_S}"
    if "approval_timeout_s" in annotations and tier == "hard":
        yield "@approval_timeout_s has no meaning in a hard rule: nobody is asked"
