"""Secrets do not leave: known shapes, exact values, previews; ordinary text stays as it is."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bgagent_agent.redaction import Redactor

CORPUS = json.loads((Path(__file__).resolve().parents[2] / "Tests/Golden/redaction.json").read_text("utf-8"))


@pytest.mark.parametrize("case", CORPUS["secrets"], ids=lambda case: case["clean"][:40])
def test_the_corpus_loses_its_secrets_as_in_the_gateways(case: dict[str, Any]) -> None:
    text = "".join(case["text"])
    assert Redactor().text(text) == case["clean"]
    assert Redactor().text(case["clean"]) == case["clean"]


@pytest.mark.parametrize("text", CORPUS["ordinary"])
def test_ordinary_text_stays(text: str) -> None:
    assert Redactor(["short"]).text(text) == text


def test_exact_values_are_taken_out() -> None:
    assert (
        Redactor(["my-own-token-value", "short"]).text("my-own-token-value is short") == "[redacted] is short"
    )


@given(st.text(max_size=300), st.sampled_from(CORPUS["secrets"]), st.text(max_size=300))
def test_what_passed_once_stays_as_it_is(before: str, case: dict[str, Any], after: str) -> None:
    once = Redactor().text(before + " " + "".join(case["text"]) + " " + after)
    assert Redactor().text(once) == once


@given(st.text(max_size=300), st.sampled_from(CORPUS["secrets"]), st.text(max_size=300))
def test_a_planted_secret_is_gone_whatever_stands_around_it(
    before: str, case: dict[str, Any], after: str
) -> None:
    text = "".join(case["text"])
    kept = Redactor().text(f"{before}\n{text}\n{after}")
    # What its clean form has lost, word by word.
    lost = [word for word in text.split() if word not in case["clean"] and len(word) >= 12]
    assert all(word not in kept for word in lost if word not in before and word not in after)


def test_a_structure_keeps_its_shape() -> None:
    value = {"stdout": "ghp_" + "a1B2" * 9, "lines": ["x", {"n": 3}], "isImage": False, "none": None}
    assert Redactor().scrub(value) == {**value, "stdout": "[redacted GitHub token]"}
    assert value["stdout"] != "[redacted GitHub token]"


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
