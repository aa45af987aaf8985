"""A repository's rules: what is accepted, what is refused with its line, and what is advised."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgagent_policy import Effect, Policies, PolicyError, Severity, Tier, validate
from bgagent_policy.policies import package_text
from support import POLICIES, bash, write

GOOD = """
// Release notes are written by people.
@tier("soft") @rule_id("release_notes") @approval_timeout_s("600")
@severity("low") @category("docs") @summary("Release notes; they are public")
forbid (principal, action == Agent::Action::"write_file", resource)
when { context.file_path like "docs/releases/*" };

@tier("hard") @rule_id("no_terraform") @summary("No terraform; not even plan")
forbid (principal, action == Agent::Action::"execute_bash", resource)
when { context.program == "terraform" };
"""


def refused(text: str) -> list[tuple[int, str]]:
    """Line and message of everything that is wrong with a text."""
    with pytest.raises(PolicyError) as caught:
        Policies.load(text)
    assert [str(f) for f in caught.value.findings] == [str(f) for f in validate(text).errors]
    return [(finding.line, finding.message) for finding in caught.value.findings]


def rule(
    annotations: str, body: str = "forbid (principal, action, resource) when { context.read_only };"
) -> str:
    return f"{annotations}\n{body}"


def test_rules_of_a_repository_are_added_to_the_built_in_ones() -> None:
    policies = Policies.load(GOOD)
    assert len(policies.rules) == len(POLICIES.rules) + 2
    decision = write("docs/releases/1.md", policies)
    assert (decision.effect, decision.rule_ids) == (Effect.ASK, ("release_notes",))
    assert (decision.timeout_s, decision.severity) == (600, Severity.LOW)
    assert bash("cd x && terraform plan", policies).effect is Effect.DENY
    assert bash("rm -rf /", policies).rule_ids == ("rm_slash",)


def test_all_rules_are_listed_by_tier_with_their_origin() -> None:
    listed = Policies.load(GOOD).effective()
    assert set(listed) == {"hard", "soft"}
    assert [r["rule_id"] for r in listed["hard"]][-1] == "no_terraform"
    added = listed["soft"][-1]
    assert added == {
        "rule_id": "release_notes",
        "tier": "soft",
        "severity": "low",
        "category": "docs",
        "summary": "Release notes; they are public",
        "approval_timeout_s": 600,
        "origin": "repository",
    }
    assert all(r["approval_timeout_s"] is None for r in listed["hard"])


def test_an_empty_text_adds_nothing() -> None:
    for text in ("", "  \n", "// nothing yet\n"):
        assert validate(text).valid
        assert Policies.load(text).rules == POLICIES.rules


def test_a_rule_cannot_permit() -> None:
    text = '@tier("soft") @rule_id("anything_goes")\npermit (principal, action, resource);'
    assert refused(text) == [
        (1, "a rule forbids; only the platform permits, so that no rule can weaken another")
    ]


def test_a_rule_cannot_take_the_id_of_another() -> None:
    taken = rule('@tier("soft") @rule_id("rm_slash")')
    assert refused(taken) == [(1, "the rule id rm_slash is taken: it is a built-in rule")]
    twice = rule('@tier("soft") @rule_id("mine")') + "\n\n" + rule('@tier("hard") @rule_id("mine")')
    assert refused(twice) == [(4, "the rule id mine is taken: it stands on line 1")]


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ("", "@rule_id is missing"),
        ('@tier("soft")', "@rule_id is missing"),
        ('@rule_id("mine")', "@tier says"),
        ('@tier("medium") @rule_id("mine")', "@tier says"),
        ('@tier("soft") @rule_id("Mine")', "@rule_id takes"),
        ('@tier("soft") @rule_id("m")', "@rule_id takes"),
        ('@tier("soft") @rule_id("a b")', "@rule_id takes"),
        ('@tier("soft") @rule_id("mine") @severity("urgent")', "@severity is"),
        ('@tier("soft") @rule_id("mine") @category("A B")', "@category takes"),
        ('@tier("soft") @rule_id("mine") @approval_timeout_s("29")', "from 30 to 3600"),
        ('@tier("soft") @rule_id("mine") @approval_timeout_s("3601")', "from 30 to 3600"),
        ('@tier("soft") @rule_id("mine") @approval_timeout_s("5m")', "from 30 to 3600"),
        ('@tier("soft") @rule_id("mine") @approval_timeout_s("-60")', "from 30 to 3600"),
        ('@tier("hard") @rule_id("mine") @approval_timeout_s("60")', "no meaning in a hard rule"),
        ('@tier("soft") @rule_id("mine") @sumary("x")', "there is no annotation @sumary"),
        ('@tier("soft") @rule_id("mine") @summary("' + "x" * 161 + '")', "up to 160 characters"),
    ],
)
def test_annotations_are_checked_one_by_one(annotations: str, message: str) -> None:
    assert any(message in found for _, found in refused(rule(annotations)))


@pytest.mark.parametrize(
    ("body", "line", "message"),
    [
        ("forbid (principal, action, resource)", 2, "this is no Cedar policy"),
        ("forbid (principal, action, resource)\nwhen { context.read_only lik true };", 4, "lik"),
        ("forbid (principal, action, resource) when { context.nothing };", 2, "nothing"),
        ("forbid (principal, action, resource) when { context.read_only == 3 };", 2, "not compatible"),
        ('forbid (principal, action == Agent::Action::"fly", resource);', 2, "fly"),
        ("forbid (principal == ?principal, action, resource);", 2, "template"),
        (
            'forbid (principal, action == Agent::Action::"write_file", resource) when { context.git.push };',
            2,
            "git",
        ),
        (
            'forbid(principal, action == Agent::Action::"execute_bash", resource)\nwhen {context.git.push};',
            2,
            "git",
        ),
    ],
)
def test_a_rule_has_to_fit_the_schema_and_errors_name_their_line(body: str, line: int, message: str) -> None:
    found = refused("\n" + rule('@tier("soft") @rule_id("mine")', body))
    assert any(at == line and message in text for at, text in found), found


def test_all_errors_come_at_once() -> None:
    text = "\n\n".join([rule(""), "nonsense;", rule('@tier("soft") @rule_id("rm_slash")'), GOOD])
    assert [line for line, _ in refused(text)] == [2, 2, 4, 6]


def test_strings_and_comments_do_not_end_a_rule() -> None:
    text = rule(
        '// a comment; with a "quote\n@tier("soft") @rule_id("mine") @summary("a; b // no comment \\" }")',
        'forbid (principal, action == Agent::Action::"write_file", resource) // ; \n'
        'when { context.file_path like "a;b\\*" };',
    )
    assert validate(text).valid
    assert write("a;b*", Policies.load(text)).rule_ids == ("mine",)


def test_a_text_has_its_limits() -> None:
    assert refused("// " + "x" * 70_000) == [(1, "the text is longer than 65536 bytes")]
    many = "\n".join(f'@tier("soft") @rule_id("r{n}x") {rule("")}' for n in range(201))
    assert [message for _, message in refused(many)] == ["more than 200 rules"]
    assert refused("\ud800") == [(1, "the text holds characters that are none")]


@pytest.mark.parametrize(
    ("text", "advice"),
    [
        (rule('@tier("soft") @rule_id("mine")'), "has no @summary"),
        (rule('@tier("soft") @rule_id("mine") @summary("x") @approval_timeout_s("60")'), "less than 120 s"),
        (
            rule('@tier("soft") @rule_id("mine") @summary("x")', "forbid (principal, action, resource);"),
            "everything",
        ),
        (
            rule(
                '@tier("hard") @rule_id("mine") @summary("x")',
                'forbid (principal, action == Agent::Action::"execute_bash", resource) when { true };',
            ),
            "every call of this kind",
        ),
        (
            rule(
                '@tier("soft") @rule_id("mine") @summary("x")',
                "forbid (principal, action, resource) when { context.read_only } unless { true };",
            ),
            "can never be met",
        ),
        (
            rule(
                '@tier("soft") @rule_id("mine") @summary("x")',
                'forbid (principal, action, resource == Agent::Tool::"Wrtie");',
            ),
            "there is no tool 'Wrtie'",
        ),
        (
            rule(
                '@tier("soft") @rule_id("mine") @summary("x")',
                'forbid (principal, action == Agent::Action::"execute_bash", resource) '
                'when { context.command like "*git push*" };',
            ),
            "context.git",
        ),
        (
            rule(
                '@tier("soft") @rule_id("mine") @summary("x")',
                'forbid (principal, action == Agent::Action::"write_file", resource) '
                'when { context.file_path like "*" };',
            ),
            "met by everything",
        ),
        (
            rule(
                '@tier("soft") @rule_id("mine") @summary("x")',
                'forbid (principal, action == Agent::Action::"write_file", resource) '
                'when { context.file_name == "Makefile" };',
            ),
            "in lower case",
        ),
        (GOOD + GOOD.replace("release_notes", "again").replace("no_terraform", "more"), "says the same as"),
    ],
)
def test_what_is_allowed_but_hardly_meant_is_advised_against(text: str, advice: str) -> None:
    result = validate(text)
    assert result.valid, result.errors
    assert any(advice in warning.message for warning in result.warnings), result.warnings


def test_good_rules_get_no_advice() -> None:
    assert validate(GOOD).warnings == ()


def test_the_text_that_declares_a_rule_is_the_text_that_is_in_force() -> None:
    """One form for both: annotated text, as the package's own files hold it."""
    text = package_text("soft.cedar").replace('@rule_id("', '@rule_id("my_')
    own = [r for r in Policies.load(text).rules if not r.built_in]
    assert [r.rule_id for r in own] == ["my_" + r.rule_id for r in POLICIES.rules if r.tier is Tier.SOFT]
    assert bash("git push -f", Policies.load(text)).rule_ids == ("force_push_any", "my_force_push_any")


def test_every_built_in_rule_stands_on_the_page_for_people() -> None:
    page = (Path(__file__).parents[3] / "docs" / "policies.md").read_text()
    for r in POLICIES.rules:
        wait = f"{r.approval_timeout_s} s" if r.tier is Tier.SOFT else "-"
        row = f"| `{r.rule_id}` | {r.tier.value} | {r.severity.value} | {wait} | {r.summary} |"
        assert row in page, row
