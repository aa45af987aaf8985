"""Secrets do not leave: known shapes, exact values, previews; ordinary text stays as it is."""

from __future__ import annotations

import time

import pytest

from bgagent_agent.redaction import MARK, Redactor

PEM = "-----BEGIN RSA PRIVATE KEY-----\nMIIEow\nabc\n-----END RSA PRIVATE KEY-----"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("key AKIA" + "IOSFODNN7EXAMPLE here", f"key {MARK} here"),
        (
            "aws_secret_access_key = " + "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
            f"aws_secret_access_key = {MARK}",
        ),
        ("token ghp_" + "a1B2" * 9, f"token {MARK}"),
        ("gho_" + "a1B2" * 9 + ".", f"{MARK}."),
        ("github_pat_" + "11ABCDE_" * 5, MARK),
        ("xoxb-" + "123456789012-abcdef", MARK),
        (f"before\n{PEM}\nafter", f"before\n{MARK}\nafter"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE cut off", MARK),
        ("Authorization: Bearer abc123def456ghi", f"Authorization: Bearer {MARK}"),
        ("authorization: basic dXNlcjpwYXNz", f"authorization: basic {MARK}"),
        ("postgres://app:s3cret@db:5432/x", f"postgres://app:{MARK}@db:5432/x"),
        ("redis://:s3cret@cache/0", f"redis://:{MARK}@cache/0"),
        ("https://0123456789abcdef0123@host/r.git", f"https://{MARK}@host/r.git"),
        ("GET /x?access_token=abcd1234&page=2", f"GET /x?access_token={MARK}&page=2"),
        ("Server=db;Password=hunter22;Port=1", f"Server=db;Password={MARK};Port=1"),
        ("my-own-token-value is out", f"{MARK} is out"),
    ],
)
def test_secrets_are_taken_out(text: str, clean: str) -> None:
    redactor = Redactor(["my-own-token-value", "short"])
    assert redactor.text(text) == clean
    assert redactor.text(clean) == clean


@pytest.mark.parametrize(
    "text",
    [
        "Basic documentation and bearer authentication are explained here.",
        "See https://example.org/a/b?page=2#token and mail person@example.org.",
        "commit 0123456789abcdef0123456789abcdef01234567",
        "short stays, password: is a word",
        "def f(token: str) -> str: return token",
        "ssh git@host:owner/name.git",
    ],
)
def test_ordinary_text_stays(text: str) -> None:
    assert Redactor(["short"]).text(text) == text


def test_a_structure_keeps_its_shape() -> None:
    value = {"stdout": "ghp_" + "a1B2" * 9, "lines": ["x", {"n": 3}], "isImage": False, "none": None}
    assert Redactor().scrub(value) == {**value, "stdout": MARK}
    assert value["stdout"] != MARK


def test_a_preview_is_cut_after_it_was_scrubbed() -> None:
    text = "x" * 190 + " ghp_" + "a1B2" * 9
    preview = Redactor().preview(text)
    assert len(preview) == 200
    assert "ghp_" not in preview
    assert Redactor().preview("short text") == "short text"
    assert len(Redactor().preview("y" * 10_000, 4096)) == 4096


@pytest.mark.parametrize(
    "unit", ["a.", "-eyJ", "ab+", "http://", "://a:", "bearer ", "x:@", "-----BEGIN PRIVATE KEY"]
)
def test_a_hostile_text_costs_no_more_than_its_length(unit: str) -> None:
    text = unit * (200_000 // len(unit))
    began = time.process_time()
    Redactor(["my-own-token-value"]).text(text)
    assert time.process_time() - began < 5
