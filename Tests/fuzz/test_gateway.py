"""Whatever is sent to the gateway, it answers as it describes itself, and never with a failure of its own."""

from __future__ import annotations

from typing import Any

import requests
import schemathesis
from schemathesis import Case

from Tests.fuzz.answers import DESCRIBED, GENERATED, hold
from Tests.fuzz.cast import Cast
from Tests.fuzz.world import FOR_LOGINS

everything = schemathesis.pytest.from_fixture("gateway")
some = schemathesis.pytest.from_fixture("gateway_in_short")
little = schemathesis.pytest.from_fixture("gateway_at_a_glance")


def ask(case: Case[Any], cast: Cast, session: requests.Session, *roles: str) -> None:
    """Sends a request as somebody with one of these roles."""
    caller, dice = cast.enter(case, roles)
    token = caller.login if case.path in FOR_LOGINS and dice.mostly() else caller.token
    # Who sends a key twice is answered with the task of the first time.
    for _ in range(2 if case.headers.get("Idempotency-Key") else 1):
        response = case.call(session=session, headers={"Authorization": f"Bearer {token}"})
        hold(case, response, GENERATED)


@everything.parametrize()
def test_every_answer_to_an_administrator_is_as_described(
    case: Case[Any], cast: Cast, session: requests.Session
) -> None:
    ask(case, cast, session, "admin")


@some.parametrize()
def test_every_answer_to_anybody_else_is_as_described(
    case: Case[Any], cast: Cast, session: requests.Session
) -> None:
    ask(case, cast, session, "member", "member", "viewer")


@little.parametrize()
def test_nobody_is_answered_without_a_good_token(
    case: Case[Any], cast: Cast, session: requests.Session
) -> None:
    caller, dice = cast.enter(case, ("admin",))
    token = caller.token
    wrong = dice.one(("", token, "Bearer", f"Basic {token}", "Bearer bga_x", f"Bearer {token}x"))
    response = case.call(session=session, headers={"Authorization": wrong} if wrong else {})
    hold(case, response, DESCRIBED)
    if case.operation.definition.raw["security"]:
        assert response.status_code == 401, response.text
