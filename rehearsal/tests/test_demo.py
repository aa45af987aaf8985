"""The demonstration shows everything that came in, and fails where something did not."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from rehearsal import demo
from rehearsal.smtp.server import MailServer
from rehearsal.tests.support import ROOT, Client


@pytest.fixture(autouse=True)
def stack(
    github: Client,
    slack: Client,
    mail: tuple[MailServer, Client],
    model: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The environment of a running stack, with a stand-in for the platform."""
    program = tmp_path / "bin" / "bgagent"
    program.parent.mkdir()
    program.write_text(
        f'#!/bin/sh\ncd {ROOT.parent}\nexec {sys.executable} -m rehearsal.tests.stand_in "$@"\n'
    )
    program.chmod(0o755)
    urls = {"GITHUB": github, "SLACK": slack, "SMTP": mail[1], "MODEL": model}
    for name, client in urls.items():
        monkeypatch.setenv(f"BGAGENT_REHEARSAL_{name}_URL", client.url)
    monkeypatch.setenv("STAND_IN_SMTP_PORT", str(mail[0].port))
    monkeypatch.setenv("BGAGENT_BIN_DIR", str(program.parent))
    monkeypatch.setenv("BGAGENT_API_URL", "http://127.0.0.1:1")
    monkeypatch.setenv("BGAGENT_TOKEN", "token")
    monkeypatch.delenv("DEMO_MODEL", raising=False)
    monkeypatch.setattr(demo, "QUIET_FOR", 0.05)
    monkeypatch.setattr(demo, "MESSAGES_WITHIN", 0.3)


def test_everything_that_came_in_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert demo.main() == 0
    shown = capsys.readouterr().out
    for text in (
        '$ bgagent submit --repo acme/pricing "fix the failing test" --wait',
        "$ bgagent submit --repo acme/wordcount --issue 7 --wait",
        "+    return amount.quantize(CENT, rounding=decimal.ROUND_HALF_UP)",
        "main: red: FAILED (failures=1)",
        f"bgagent/{'01K9ZZZZZZZZZZZZZZZZZZZZZ1'}/fix: green: OK",
        "pull request #1",
        "comment on #7, by bgagent-bot",
        "Slack, as received",
        "e-mail to c@d",
        "7 passed, 0 failed",
        "Everything is there.",
    ):
        assert text in shown


@pytest.mark.parametrize(
    ("omitted", "missing"),
    [
        ("fix", "python3 -m unittest is not green"),
        ("pull request", "expected one pull request, found 0"),
        ("comment", "expected one comment, found 0"),
        ("mail", "expected an e-mail, found 0"),
        ("order", "expected one Slack message with its thread, found 2"),
        ("success", "ended with 1"),
    ],
)
def test_what_is_missing_fails_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, omitted: str, missing: str
) -> None:
    monkeypatch.setenv("STAND_IN_OMITS", omitted)
    assert demo.main() == 1
    assert missing in capsys.readouterr().out


def test_a_script_that_was_not_followed_fails_it(model: Client, capsys: pytest.CaptureFixture[str]) -> None:
    tools = [{"name": "Read", "input_schema": {"type": "object"}}]
    messages = [{"role": "user", "content": "Repository: acme/pricing"}]
    body = {"model": "claude-sonnet-4-5", "max_tokens": 9, "messages": messages, "tools": tools}
    assert model("POST", "/v1/messages", body).status == 400
    assert demo.main() == 1
    assert "the model was shown something unexpected" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["BGAGENT_TOKEN", "BGAGENT_BIN_DIR", "BGAGENT_REHEARSAL_SLACK_URL"])
def test_a_stack_that_is_not_up_is_said_to_be_missing(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(name)
    assert demo.main() == 1
    assert f"{name} is not set" in capsys.readouterr().err


def test_the_real_model_needs_a_key(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DEMO_MODEL", "real")
    monkeypatch.delenv("BGAGENT_MODEL_API_KEY", raising=False)
    monkeypatch.delenv("BGAGENT_MODEL_API_KEY_FILE", raising=False)
    assert demo.main() == 1
    assert "needs BGAGENT_MODEL_API_KEY" in capsys.readouterr().err
