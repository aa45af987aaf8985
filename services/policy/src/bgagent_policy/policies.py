"""The rules in force: the built-in ones and what a repository adds to them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from importlib import resources

import cedarpy

from .facts import Unit
from .rule import Finding, Rule, Tier, rule_of, tree_of
from .statements import Statement, statements_of

MAX_BYTES = 65_536
MAX_RULES = 200
_PERMIT = "permit (principal, action, resource);"


class PolicyError(ValueError):
    """A text of policies that cannot be in force; `findings` say why, each with its line."""

    def __init__(self, findings: Sequence[Finding]) -> None:
        super().__init__("; ".join(map(str, findings)))
        self.findings = tuple(findings)


class EvaluationError(Exception):
    """The rules could not be asked, which counts as a denial."""


@dataclass(frozen=True)
class Match:
    """A rule that a part of a call meets."""

    rule: Rule
    unit: Unit


@dataclass(frozen=True)
class Policies:
    """Rules, ready to be asked. Make them with `load`."""

    rules: tuple[Rule, ...]
    _handle: cedarpy.PolicySet = field(repr=False, compare=False)
    _by_id: dict[str, Rule] = field(repr=False, compare=False)

    @classmethod
    def load(cls, extra_text: str = "") -> Policies:
        """The built-in rules and those of `extra_text`. `PolicyError` names every line that is wrong."""
        built_in = built_in_rules()
        added, findings = read_rules(extra_text, taken={rule.rule_id for rule in built_in})
        if findings:
            raise PolicyError(findings)
        return cls._of((*built_in, *added))

    @classmethod
    def _of(cls, rules: tuple[Rule, ...]) -> Policies:
        text = "\n".join((_PERMIT, *(rule.text for rule in rules)))
        # Cedar names policies by their position; the annotations say which rule each of them is.
        named = json.loads(cedarpy.policies_to_json_str(text))["staticPolicies"]
        rule_of_id = {rule.rule_id: rule for rule in rules}
        by_id = {
            name: rule_of_id[policy["annotations"]["rule_id"]]
            for name, policy in named.items()
            if policy["effect"] == "forbid"
        }
        if len(by_id) != len(rules):
            raise EvaluationError("the rules were not read as they are written")
        return cls(rules, cedarpy.PolicySet.from_str(text), by_id)

    def rule(self, rule_id: str) -> Rule | None:
        """The rule with this id."""
        return next((rule for rule in self.rules if rule.rule_id == rule_id), None)

    def effective(self) -> dict[str, list[dict[str, object]]]:
        """All rules by tier, as the service lists them."""
        return {tier.value: [rule.as_json() for rule in self.rules if rule.tier is tier] for tier in Tier}

    def matches(self, units: Sequence[Unit], principal: str, tool: str) -> list[Match]:
        """Every rule that every unit meets. Raises `EvaluationError` for anything but a clear answer."""
        requests = [
            {
                "principal": {"type": "Agent::TaskAgent", "id": principal},
                "action": {"type": "Agent::Action", "id": unit.action},
                "resource": {"type": "Agent::Tool", "id": tool},
                "context": dict(unit.context),
            }
            for unit in units
        ]
        answers = cedarpy.is_authorized_batch(requests, self._handle, [], schema=_schema())
        if len(answers) != len(units):
            raise EvaluationError("the rules gave fewer answers than they were asked for")
        found: list[Match] = []
        for unit, answer in zip(units, answers, strict=True):
            if answer.diagnostics.errors or answer.decision not in (
                cedarpy.Decision.Allow,
                cedarpy.Decision.Deny,
            ):
                # Cedar passes over a rule whose condition fails, which would let the call through.
                raise EvaluationError(
                    f"the rules could not be asked: {'; '.join(map(str, answer.diagnostics.errors))[:500]}"
                )
            if answer.decision == cedarpy.Decision.Allow:
                continue
            met = {
                self._by_id[reason].rule_id for reason in answer.diagnostics.reasons if reason in self._by_id
            }
            rules = [rule for rule in self.rules if rule.rule_id in met]
            if not rules:
                raise EvaluationError("the rules deny without a reason")
            found += (Match(rule, unit) for rule in rules)
        return found


def read_rules(
    text: str, taken: Iterable[str] = (), built_in: bool = False
) -> tuple[list[Rule], list[Finding]]:
    """The rules of a text, and everything that is wrong with it; rule ids that are `taken` cannot be used."""
    if len(text.encode("utf-8", "replace")) > MAX_BYTES:
        return [], [Finding(1, f"the text is longer than {MAX_BYTES} bytes")]
    if any("\ud800" <= c <= "\udfff" or c == "\0" for c in text):
        return [], [Finding(1, "the text holds characters that are none")]
    rules: list[Rule] = []
    findings: list[Finding] = []
    seen = dict.fromkeys(taken, 0)
    statements = statements_of(text)
    if len(statements) > MAX_RULES:
        findings.append(Finding(statements[MAX_RULES].line, f"more than {MAX_RULES} rules"))
        return [], findings
    for statement in statements:
        read = _read(statement, built_in)
        if not isinstance(read, Rule):
            findings += read
            continue
        if (first := seen.get(read.rule_id)) is not None:
            where = f"stands on line {first}" if first else "is a built-in rule"
            findings.append(
                Finding(read.line, f"the rule id {read.rule_id} is taken: it {where}", read.rule_id)
            )
            continue
        seen[read.rule_id] = read.line
        rules.append(read)
    return rules, findings


def _read(statement: Statement, built_in: bool) -> Rule | list[Finding]:
    try:
        tree = tree_of(statement)
    except ValueError as error:
        return [Finding(statement.line_of(str(error)), f"this is no Cedar policy: {error}")]
    read = rule_of(statement, tree, built_in)
    if not isinstance(read, Rule):
        return read
    result = cedarpy.validate_policies(statement.text, _schema())
    if result.validation_passed:
        return read
    problems = sorted({error.error.replace("for policy `policy0`, ", "") for error in result.errors})
    return [Finding(statement.line, problem, read.rule_id) for problem in problems] or [
        Finding(statement.line, "it does not fit the schema", read.rule_id)
    ]


@lru_cache(maxsize=1)
def built_in_rules() -> tuple[Rule, ...]:
    """The rules of the package; the hard ones first."""
    rules: list[Rule] = []
    for name in ("hard.cedar", "soft.cedar"):
        read, findings = read_rules(package_text(name), {rule.rule_id for rule in rules}, built_in=True)
        if findings:
            raise PolicyError(findings)
        rules += read
    return tuple(rules)


@lru_cache(maxsize=1)
def _schema() -> cedarpy.Schema:
    return cedarpy.Schema.from_str(package_text("schema.cedarschema"))


def package_text(name: str) -> str:
    """A file of the package's rules."""
    return (resources.files("bgagent_policy") / "rules" / name).read_text("utf-8")
