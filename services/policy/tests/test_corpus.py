"""Every line of the corpus gets its verdict, for its reason."""

from __future__ import annotations

import pytest

from bgagent_policy import Policies, Request, decide
from corpus import CASES, Case

POLICIES = Policies.load()


@pytest.mark.parametrize("case", CASES, ids=lambda case: ascii(case.line))
def test_a_line_of_shell_is_judged_by_what_it_does(case: Case) -> None:
    decision = decide(Request("Bash", {"command": case.line}), POLICIES)
    assert (decision.effect.value, set(decision.rule_ids)) == (case.effect, set(case.rules)), decision.summary


def test_the_corpus_is_large_and_says_nothing_twice() -> None:
    assert len({case.line for case in CASES}) == len(CASES) >= 150
