"""Policy gates: what a tool call does, read into facts, and whether it may."""

from .decision import Decision, Denial, Effect, Request, Source, decide
from .facts import Facts, UnusableCall
from .paths import Layout
from .policies import Policies, PolicyError
from .rule import Finding, Rule, Severity, Tier
from .scopes import Kind, Scope, ScopeError, check_scopes
from .validation import Validation, validate

__all__ = [
    "Decision",
    "Denial",
    "Effect",
    "Facts",
    "Finding",
    "Kind",
    "Layout",
    "Policies",
    "PolicyError",
    "Request",
    "Rule",
    "Scope",
    "ScopeError",
    "Severity",
    "Source",
    "Tier",
    "UnusableCall",
    "Validation",
    "check_scopes",
    "decide",
    "validate",
]
