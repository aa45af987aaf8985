"""What first-run asks, keeps and writes, and what uninstall says; without an engine."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


class Folder:
    """Where an installation's files go, with a socket that stands for the engine's."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.engine = socket.socket(socket.AF_UNIX)
        self.engine.bind(str(path / "engine.sock"))
        self.options = ["--directory", str(path), "--engine-socket", str(path / "engine.sock")]
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("BGAGENT_", "COMPOSE_"))
        }

    def first_run(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Runs it without a terminal."""
        return subprocess.run(
            [ROOT / "scripts" / "first-run", *self.options, *options],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def answer(self, *answers: str) -> str:
        """Runs it on a terminal and types; returns what it said."""
        ours, theirs = pty.openpty()
        process = subprocess.Popen(
            [ROOT / "scripts" / "first-run", *self.options],
            env=self.environment,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        os.close(theirs)
        os.write(ours, "".join(f"{line}\n" for line in answers).encode())
        said = process.communicate(timeout=60)[0]
        os.close(ours)
        assert process.returncode == 0, said
        return said

    @property
    def settings(self) -> dict[str, str]:
        """What .env says."""
        lines = (self.path / ".env").read_text().splitlines()
        return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))

    def secret(self, name: str) -> str:
        """A secret file's content."""
        return (self.path / "secrets" / name).read_text()

    def file(self, name: str, text: str) -> str:
        """A file to give to an option."""
        path = self.path / name
        path.write_text(text)
        return str(path)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    made = Folder(tmp_path)
    yield made
    made.engine.close()


def test_first_run_switches_on_what_it_is_told_of_and_says_what_is_off(folder: Folder) -> None:
    done = folder.first_run("--yes", "--slack-token-file", folder.file("token", "xoxb-1\n"))
    assert done.returncode == 0, done.stderr
    assert folder.settings["COMPOSE_PROFILES"] == "slack"
    assert folder.settings["BGAGENT_SLACK_TOKEN_FILE"] == "/run/secrets/slack-token"
    assert folder.settings["BGAGENT_MODEL_API_KEY_FILE"] == ""
    assert folder.secret("slack-token") == "xoxb-1\n"
    assert "email is off" in done.stderr
    assert "github is off" in done.stderr
    assert "slack is off" not in done.stderr
    assert "no key for the model" in done.stderr
    assert "xoxb-1" not in (folder.path / ".env").read_text() + done.stdout + done.stderr


def test_a_judge_of_texts_is_told_to_those_who_ask_it(folder: Folder) -> None:
    assert folder.first_run("--yes").returncode == 0
    assert folder.settings["BGAGENT_SCREENER_TOKEN_FILE"] == ""
    assert folder.secret("screener-token") == ""
    given = (
        "--screener-url",
        "https://judge.localhost/",
        "--screener-token-file",
        folder.file("key", "t-1\n"),
    )
    assert folder.first_run("--yes", *given).returncode == 0
    assert folder.settings["BGAGENT_SCREENER_URL"] == "https://judge.localhost/"
    assert folder.settings["BGAGENT_SCREENER_TOKEN_FILE"] == "/run/secrets/screener-token"
    assert folder.secret("screener-token") == "t-1\n"


def test_first_run_again_keeps_answers_and_passwords(folder: Folder) -> None:
    key = folder.file("key", "sk-1")
    assert folder.first_run("--yes", "--model-key-file", key, "--api-port", "9000").returncode == 0
    (folder.path / ".env").open("a").write("BGAGENT_USER_SLOTS=7\n")
    password, before = folder.secret("postgres-password"), folder.settings
    assert folder.first_run("--yes", "--smtp-url", "smtp://mail:25").returncode == 0
    assert folder.secret("postgres-password") == password
    assert folder.secret("model-api-key") == "sk-1"
    changed = {"COMPOSE_PROFILES": "email", "BGAGENT_SMTP_URL": "smtp://mail:25"}
    assert folder.settings == before | changed
    assert folder.settings["BGAGENT_USER_SLOTS"] == "7"


def test_first_run_asks_and_an_empty_answer_keeps_what_is_there(folder: Folder) -> None:
    answers = ["0.0.0.0", "8443", "", "", "", "ghp_1", "", "", "sk-2", "", "", "y"]
    said = folder.answer(*answers)
    assert "Address of the REST API" in said
    assert folder.settings["BGAGENT_API_BIND"] == "0.0.0.0"
    assert folder.settings["BGAGENT_API_PORT"] == "8443"
    assert folder.settings["BGAGENT_CAPACITY"] == "4"
    assert folder.secret("github-token") == "ghp_1\n"
    assert folder.secret("model-api-key") == "sk-2\n"
    assert folder.settings["COMPOSE_PROFILES"] == "github"
    assert "ghp_1" not in said
    folder.answer(*["" for _ in answers])
    assert folder.settings["BGAGENT_API_PORT"] == "8443"
    assert folder.secret("github-token") == "ghp_1\n"


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--nonsense"], "unknown option: --nonsense"),
        (["--yes", "--api-port"], "--api-port needs a value"),
        (["--yes", "--project", 'a"b'], "--project: a value holds no quote"),
        (["--yes", "--github-token-file", "/nonexistent"], "/nonexistent is empty or cannot be read"),
        (["--yes", "--engine-socket", "/nonexistent"], "/nonexistent is no socket: start Docker"),
        (["--yes", "--project", "Upper"], "COMPOSE_PROJECT_NAME=Upper is not a name of small letters"),
        (["--yes", "--api-port", "http"], "BGAGENT_API_PORT=http is not a port"),
        ([], "there is nobody to ask; use --yes"),
    ],
)
def test_first_run_says_what_is_wrong_with_its_options(
    folder: Folder, options: list[str], complaint: str
) -> None:
    done = folder.first_run(*options)
    assert done.returncode != 0
    assert complaint in done.stderr


def test_a_rehearsal_s_files_are_not_made_into_an_installation(folder: Folder) -> None:
    assert folder.first_run("--rehearsal").returncode == 0
    assert folder.settings["COMPOSE_PROFILES"] == "rehearsal"
    done = folder.first_run("--yes")
    assert done.returncode == 1
    assert "is a rehearsal's" in done.stderr
