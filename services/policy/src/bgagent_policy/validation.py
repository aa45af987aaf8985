"""Checks a repository's text of policies: errors keep it from being saved, warnings are advice."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .policies import built_in_rules, read_rules
from .rule import Finding, Rule, Tier, tree_of
from .statements import Statement, statements_of
from .tools import is_tool_name

SHORT_TIMEOUT_S = 120
_BETTER_FACT = (
    (re.compile(r"\bpush\b|\bforce\b"), "context.git (push, force, target_branch)"),
    (re.compile(r"\brm\b"), "context.rm (recursive, root, workspace)"),
    (re.compile(r"curl|wget"), "context.program and context.piped_script"),
)


@dataclass(frozen=True)
class Validation:
    """What is to be said about a text; it may be saved where there are no errors."""

    errors: tuple[Finding, ...]
    warnings: tuple[Finding, ...]
    rules: tuple[Rule, ...]

    @property
    def valid(self) -> bool:
        """Whether the text may be in force."""
        return not self.errors

    def as_json(self) -> dict[str, object]:
        """The result as the service tells it."""
        return {
            "valid": self.valid,
            "errors": [finding.as_json() for finding in self.errors],
            "warnings": [finding.as_json() for finding in self.warnings],
            "rules": [rule.as_json() for rule in self.rules],
        }


def validate(text: str) -> Validation:
    """Checks a text of rules that a repository adds to the built-in ones. Never raises for what is in it."""
    rules, errors = read_rules(text, {rule.rule_id for rule in built_in_rules()})
    warnings = list(_warnings(text, {rule.rule_id for rule in rules})) if not errors else []
    return Validation(tuple(errors), tuple(warnings), tuple(rules))


def _warnings(text: str, readable: set[str]) -> Iterator[Finding]:
    bodies: dict[str, Finding] = {}
    for statement in statements_of(text):
        tree = tree_of(statement)
        annotations: Mapping[str, str] = tree["annotations"]
        rule_id = annotations["rule_id"]
        if rule_id not in readable:
            continue
        for message in _advice(statement, tree, annotations):
            yield Finding(statement.line, message, rule_id)
        body = repr([tree[part] for part in ("principal", "action", "resource", "conditions")])
        if (first := bodies.get(body)) is not None:
            yield Finding(statement.line, f"says the same as {first.rule_id} on line {first.line}", rule_id)
        bodies.setdefault(body, Finding(statement.line, "", rule_id))


def _advice(statement: Statement, tree: Mapping[str, Any], annotations: Mapping[str, str]) -> Iterator[str]:
    soft = annotations["tier"] == Tier.SOFT
    if not annotations.get("summary"):
        yield "has no @summary: a person who is asked sees only its id"
    if soft and int(annotations.get("approval_timeout_s", "300")) < SHORT_TIMEOUT_S:
        yield f"gives a person less than {SHORT_TIMEOUT_S} s to answer"
    conditions = [condition for condition in tree["conditions"] if not _is_constant(condition, holds=True)]
    if any(_is_constant(condition, holds=False) for condition in tree["conditions"]):
        yield "can never be met: a condition of it is always false"
    elif not conditions and tree["resource"]["op"] == "All":
        what = "everything" if tree["action"]["op"] == "All" else "every call of this kind"
        yield f"is met by {what}: it has no condition"
    for entity in _entities(tree["resource"]):
        if entity.get("type") == "Agent::Tool" and not is_tool_name(entity.get("id", "")):
            yield f"can never be met: there is no tool {entity.get('id')!r}"
    for attribute, parts in _likes(tree["conditions"]):
        words = "".join(part["Literal"] for part in parts if isinstance(part, dict))
        if not words:
            yield f"context.{attribute} like a pattern without text is met by everything"
        elif attribute in ("command", "line"):
            better = next((fact for pattern, fact in _BETTER_FACT if pattern.search(words)), None)
            if better is not None:
                yield f"context.{attribute} can be spelled in many ways; ask {better} instead"
    for attribute, words in _equals(tree["conditions"]):
        if attribute in ("path_lower", "file_name", "host") and words != words.lower():
            yield f"can never be met: context.{attribute} is in lower case"


def _is_constant(condition: Mapping[str, Any], *, holds: bool) -> bool:
    value = condition["body"].get("Value")
    return isinstance(value, bool) and ((value is True) == (condition["kind"] == "when")) is holds


def _entities(scope: Mapping[str, Any]) -> Iterator[Mapping[str, str]]:
    if isinstance(scope.get("entity"), dict):
        yield scope["entity"]
    yield from (entity for entity in scope.get("entities", ()) if isinstance(entity, dict))


def _nodes(tree: object) -> Iterator[Mapping[str, Any]]:
    if isinstance(tree, dict):
        yield tree
        for value in tree.values():
            yield from _nodes(value)
    elif isinstance(tree, list):
        for value in tree:
            yield from _nodes(value)


def _attribute(expression: object) -> str | None:
    if isinstance(expression, dict) and isinstance(access := expression.get("."), dict):
        return str(access.get("attr")) if access.get("left") == {"Var": "context"} else None
    return None


def _likes(tree: object) -> Iterator[tuple[str, list[Any]]]:
    for node in _nodes(tree):
        like = node.get("like")
        if isinstance(like, dict) and (attribute := _attribute(like.get("left"))) is not None:
            yield attribute, like.get("pattern", [])


def _equals(tree: object) -> Iterator[tuple[str, str]]:
    for node in _nodes(tree):
        equal = node.get("==")
        if not isinstance(equal, dict):
            continue
        attribute = _attribute(equal.get("left"))
        value = equal.get("right", {}).get("Value") if isinstance(equal.get("right"), dict) else None
        if attribute is not None and isinstance(value, str):
            yield attribute, value
