"""`.env.example` against what reads and writes such a file: compose.yaml, first-run, and the services."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
LINE = re.compile(r"^(?P<off>#?)(?P<name>[A-Z][A-Z0-9_]*)=(?P<value>.*)$", re.M)
# `${NAME}`, `${NAME:-what holds without it}` or `${NAME:?why nothing holds without it}`.
USED = re.compile(r"\$\{(?P<name>[A-Z][A-Z0-9_]*)(?:(?P<sign>:[-?])(?P<text>[^}]*))?\}")
# A setting of the page that the services' binaries print, with its default.
SETTING = re.compile(
    r"^\| `(?P<name>[A-Z0-9_]+)`(?:, `(?P<file>[A-Z0-9_]+)`)? \| [^|]+ \| (?P<default>[^|]+) \|", re.M
)
WRITTEN = re.compile(r"^[^#\n]*\b(?:set_value|choose) ([A-Z][A-Z0-9_]*)", re.M)

EXAMPLE = {line["name"]: line for line in LINE.finditer((ROOT / ".env.example").read_text())}
COMPOSE = list(USED.finditer((ROOT / "compose.yaml").read_text()))


def defaults() -> dict[str, set[str]]:
    """What compose takes where a choice is not made; nothing for what it takes from elsewhere."""
    found: dict[str, set[str]] = {}
    for use in COMPOSE:
        if use["sign"] == ":-" and use["text"]:
            found.setdefault(use["name"], set()).add(use["text"])
    return found


def settings() -> dict[str, str]:
    """Every setting of a service, with its default as the page writes it."""
    page = (ROOT / "docs/configuration.md").read_text()
    found: dict[str, str] = {}
    for row in SETTING.finditer(page):
        found[row["name"]] = row["default"].strip()
        if row["file"]:
            found[row["file"]] = "not set"
    return found


def test_every_choice_of_compose_is_in_the_example() -> None:
    assert len(COMPOSE) > 30
    assert {use["name"] for use in COMPOSE} - EXAMPLE.keys() == set()


def test_whatever_first_run_writes_is_explained_in_the_example() -> None:
    written = set(WRITTEN.findall((ROOT / "scripts/first-run").read_text()))
    assert len(written) > 20
    assert written - EXAMPLE.keys() == set()


def test_what_the_example_names_is_read_by_somebody() -> None:
    assert len(settings()) > 100
    known = {use["name"] for use in COMPOSE} | settings().keys()
    assert EXAMPLE.keys() - known == {"COMPOSE_PROFILES"}


def test_lines_that_are_commented_out_show_the_default() -> None:
    of_compose, of_services = defaults(), settings()
    assert {"BGAGENT_VERSION", "BGAGENT_PREBUILT"} <= of_compose.keys()
    for name, line in EXAMPLE.items():
        if not line["off"] or "example" in line["value"]:
            continue
        if name in of_compose:
            assert of_compose[name] == {line["value"]}, name
        elif (default := re.fullmatch(r"`(.+)`", of_services[name])) is not None:
            assert default[1] == line["value"], name


def test_what_has_no_default_is_not_commented_out() -> None:
    needed = {use["name"] for use in COMPOSE if use["sign"] == ":?"}
    assert needed == {"BGAGENT_UID", "BGAGENT_GID", "BGAGENT_ENGINE_GROUP"}
    assert [name for name in needed if EXAMPLE[name]["off"]] == []
    assert [name for name in needed if not EXAMPLE[name]["value"]] == []


def test_every_line_is_explained() -> None:
    # What belongs together stands under one comment; a blank line or a heading ends what it says.
    explained = False
    for number, text in enumerate((ROOT / ".env.example").read_text().splitlines(), 1):
        if LINE.match(text):
            assert explained, f"line {number} is not explained: {text}"
        else:
            explained = text.startswith("# ") and not text.startswith("# ---")
