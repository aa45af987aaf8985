"""What holds for every line: facts never raise, what is not understood is never allowed, more is not less."""

from __future__ import annotations

import re

from hypothesis import given, settings
from hypothesis import strategies as st

from bgagent_policy import Effect, Facts, Kind, Scope, ScopeError, Source, globs
from bgagent_policy.shell.grammar import parse
from corpus import CASES
from support import bash

_PIECES = [
    "rm -rf /", "git push -f", "echo a", "ls", "'", '"', "\\", "\n", "#", "$", "(", ")", "{", "}", "`",
    "<<E\n", "\nE\n", "<<'E'\n", ";", ";;", "&", "|", "&&", "||", "if ", "then ", "fi", "case x in ", "esac",
    " ",
    "[[ ", " ]]", "$(", "$((", "))", "${x:-", "x=", "! ", "time ", "do ", "done", "for i in a", "<(", ">x",
    "2>&1", "~", "*", "eval ", "sh -c ", "f() ", "$'", "\\\n", "{a,b}", "{d}>x ", "\r", "\x00", "\u00a0",
    "\ud800", "é", "\U000d75a3",
]  # fmt: skip
_SEEDS = [case.line for case in CASES]
LINES = st.one_of(
    st.text(min_size=1, max_size=60),
    st.lists(st.sampled_from(_PIECES), min_size=1, max_size=14).map("".join),
    st.tuples(st.sampled_from(_SEEDS), st.sampled_from(_PIECES), st.integers(0, 80)).map(
        lambda t: t[0][: t[2]] + t[1] + t[0][t[2] :]
    ),
)
HARMLESS = ("true", "echo done", "ls -la", "(cd src && ls)")


@given(LINES)
@settings(max_examples=400, deadline=None)
def test_facts_never_raise_and_decisions_never_fail(line: str) -> None:
    Facts.of("Bash", {"command": line})
    assert bash(line).source is not Source.ERROR


@given(LINES)
@settings(max_examples=400, deadline=None)
def test_a_line_with_an_error_in_its_tree_is_never_allowed(line: str) -> None:
    if parse(line).has_error:
        assert bash(line).effect is not Effect.ALLOW


@given(LINES, st.sampled_from(HARMLESS))
@settings(max_examples=300, deadline=None)
def test_a_harmless_command_more_never_makes_a_line_allowed(line: str, harmless: str) -> None:
    if bash(line).effect is not Effect.ALLOW:
        for longer in (f"{harmless}; {line}", f"{harmless} && {line}", f"{harmless}\n{line}"):
            assert bash(longer).effect is not Effect.ALLOW, longer


@given(st.sampled_from([case for case in CASES if case.effect != "allow"]), st.sampled_from(HARMLESS))
@settings(max_examples=300, deadline=None)
def test_a_verdict_holds_beside_harmless_commands(case: object, harmless: str) -> None:
    line = case.line  # type: ignore[attr-defined]
    before = bash(line).effect
    after = bash(f"{line}\n{harmless}").effect
    assert after is before or (before is Effect.ASK and after is Effect.DENY), line


_PATTERN = st.text(alphabet="ab/*?\\ ", max_size=12)
_TEXT = st.text(alphabet="ab/*?\\ ", max_size=12)


def _as_regex(pattern: str, star: str) -> str:
    parts = []
    at = 0
    while at < len(pattern):
        c = pattern[at]
        if c == "\\" and at + 1 < len(pattern):
            at += 1
            parts.append(re.escape(pattern[at]))
        else:
            parts.append({"*": f"{star}*", "?": star}.get(c, re.escape(c)))
        at += 1
    return "".join(parts)


@given(_PATTERN, _TEXT)
@settings(max_examples=1000, deadline=None)
def test_patterns_match_what_a_regular_expression_says(pattern: str, text: str) -> None:
    assert globs.matches(pattern, text) == bool(re.fullmatch(_as_regex(pattern, "."), text, re.S))


@given(st.text(alphabet="ab/*?", max_size=10), st.text(alphabet="ab/", max_size=10))
@settings(max_examples=1000, deadline=None)
def test_path_patterns_match_component_by_component(pattern: str, path: str) -> None:
    components = [
        "(?:[^/]*(?:/|$))*" if part == "**" else _as_regex(part, "[^/]") for part in pattern.split("/")
    ]
    if "**" not in pattern.split("/"):
        assert globs.matches_path(pattern, path) == bool(re.fullmatch("/".join(components), path))
    elif globs.matches_path(pattern, path):
        loose = _as_regex(pattern.replace("**", "*"), ".").replace("/", "/?")
        assert re.fullmatch(loose, path, re.S)


@given(_TEXT)
@settings(max_examples=300, deadline=None)
def test_a_literal_pattern_matches_its_text_alone(text: str) -> None:
    assert globs.matches(globs.literal(text), text)
    assert not globs.matches(globs.literal(text), text + "a")


@given(st.sampled_from(list(Kind)), st.text(max_size=20))
@settings(max_examples=500, deadline=None)
def test_a_scope_is_read_as_it_was_written(kind: Kind, value: str) -> None:
    text = f"{kind.value}:{value}"
    try:
        scope = Scope.parse(text)
    except ScopeError:
        return
    assert Scope.parse(str(scope)) == scope


def test_a_hostile_pattern_takes_no_time() -> None:
    assert not globs.matches("a*" * 200 + "b", "a" * 20_000)
