"""The checker says nothing about a good run, and something about each way to spoil it."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rehearsal.checker import Checker, Outside
from rehearsal.github import GitHub
from rehearsal.github.gitdir import git
from rehearsal.ledger import Ledger
from rehearsal.seed import order, seed_into
from rehearsal.server import running
from rehearsal.slack import Slack
from rehearsal.smtp import Mail
from rehearsal.tests.support import ROOT, Client

MIGRATIONS = ROOT.parent / "shared" / "Store" / "migrations"
TASK = "01K9ZZZZZZZZZZZZZZZZZZZZZZ"
BRANCH = f"bgagent/{TASK}/fix-the-test"
MAIL = f"From: a@b\r\nTo: c@d\r\nSubject: {TASK} ended\r\nMessage-ID: <n4@bgagent>\r\n\r\nDone.\r\n".encode()

GOOD = f"""
INSERT INTO users (user_id, name) VALUES ('01K9ZZZZZZZZZZZZZZZZZZZZZ0', 'member');
INSERT INTO repos (repo) VALUES ('acme/pricing');
INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, base_branch, model, max_turns,
    max_duration_s, traceparent) VALUES ('{TASK}', '01K9ZZZZZZZZZZZZZZZZZZZZZ0', 'acme/pricing', 'fix it',
    '{BRANCH}', 'main', 'm', 10, 60, 't');
INSERT INTO task_heads (task_id, user_id, repo, traceparent)
    VALUES ('{TASK}', '01K9ZZZZZZZZZZZZZZZZZZZZZ0', 'acme/pricing', 't');
SELECT append_event('{TASK}', 1, kind, '{{}}')
    FROM unnest(array['task_created', 'session_started', 'pr_created', 'task_completed']) AS kind;
SELECT append_command('{TASK}', 1, 'task_submitted', '{{}}');
DELETE FROM outbox;
UPDATE tasks SET status = 'HYDRATING';
INSERT INTO sessions (task_id, attempt, state, backend, node, lease_until, payload, git_token_hash)
    VALUES ('{TASK}', 1, 'running', 'process', 'n', now(), '{{}}', 'h');
UPDATE tasks SET status = 'RUNNING';
UPDATE tasks SET status = 'FINALIZING';
UPDATE sessions SET state = 'ended';
INSERT INTO effects (effect_id, task_id, kind, channel, target, event_type, payload, state, sent_at, attempts)
    VALUES
    ('n1', '{TASK}', 'pull_request', 'forge', 'acme/pricing', 'pr_created', '{{}}', 'sent', now(), 1),
    ('n2', '{TASK}', 'notification', 'github', 'acme/pricing#1', 'pr_created', '{{}}', 'superseded', NULL, 0),
    ('n3', '{TASK}', 'notification', 'slack', 'C0BGAGENT', 'task_completed', '{{}}', 'sent', now(), 1),
    ('n4', '{TASK}', 'notification', 'email', 'c@d', 'task_completed', '{{}}', 'sent', now(), 1);
UPDATE tasks SET status = 'COMPLETED', outcome = 'pull_request', pr_number = 1;
"""


@pytest.fixture(scope="module")
def good_run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A database to copy, with the schema and a good run, and the simulators' directories after it."""
    folder = tmp_path_factory.mktemp("run")
    head = leave_good_run(folder)
    with scratch() as (name, url):
        with psycopg.connect(url) as connection:
            for path in sorted(MIGRATIONS.glob("*.sql")):
                connection.execute(path.read_bytes())
            connection.execute(GOOD.encode())
            connection.execute("UPDATE tasks SET head_sha = %s", (head,))
        yield name, folder


@contextmanager
def scratch(template: str = "template1") -> Iterator[tuple[str, str]]:
    """A database of our own: its name and its address."""
    server = os.environ["BGAGENT_TEST_POSTGRES_URL"]
    name = f"checker_{uuid.uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as admin:
        admin.execute(f"CREATE DATABASE {name} TEMPLATE {template}".encode())
        try:
            yield name, server.rpartition("/")[0] + "/" + name
        finally:
            admin.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())


@pytest.fixture
def database(good_run: tuple[str, Path]) -> Iterator[str]:
    """A copy to spoil."""
    with scratch(good_run[0]) as (_, url):
        yield url


@pytest.fixture
def data(good_run: tuple[str, Path]) -> Path:
    """The simulators' directories, only to be read."""
    return good_run[1]


def leave_good_run(folder: Path) -> str:
    """Does by hand what a good run does outside; returns the commit it pushed."""
    simulator = GitHub(folder / "github", "gh-token")
    seed_into(simulator, "acme/pricing")
    with running(simulator) as server:
        github = Client(server.url, Authorization="Bearer gh-token")
        work = folder / "work"
        url = github.url.replace("//", "//any:gh-token@") + "/git/acme/pricing.git"
        git(folder, "clone", "-q", url, str(work))
        git(work, "checkout", "-q", "-b", BRANCH)
        git(work, "commit", "-q", "--allow-empty", "-m", f"Fix\n\nTask-Id: {TASK}")
        git(work, "push", "-q", "origin", BRANCH)
        pull = {"title": "Fix", "head": BRANCH, "base": "main"}
        assert github("POST", "/repos/acme/pricing/pulls", pull).status == 201
        github("POST", "/repos/acme/pricing/issues/1/comments", {"body": f"<!-- bgagent:task-id={TASK} -->"})
    with running(Slack(folder / "slack")) as server:
        slack = Client(server.url, Authorization="Bearer any")
        root = slack("POST", "/chat.postMessage", {"channel": "C0BGAGENT", "text": TASK}).json["ts"]
        reply = {"channel": "C0BGAGENT", "text": f"{TASK} done", "thread_ts": root}
        assert slack("POST", "/chat.postMessage", reply).json["ok"]
    mail = Mail(folder / "smtp")
    mail.keep("a@b", ["c@d"], MAIL)
    mail.close()
    return git(work, "rev-parse", "HEAD")


def outside(data: Path) -> Outside:
    return Outside.read(data / "github", data / "slack", data / "smtp", data / "model")


def test_a_good_run_has_no_problems(database: str, data: Path) -> None:
    assert Checker(Ledger.read(database), outside(data)).problems() == []
    command = [sys.executable, "-m", "rehearsal.checker", "--postgres", database, "--tasks", "1"]
    command += [
        word for name in ("github", "slack", "smtp", "model") for word in (f"--{name}", str(data / name))
    ]
    good = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, check=False)
    assert (good.returncode, good.stdout) == (0, "1 tasks, 4 events, 0 problems\n")
    command[6] = "2"
    assert subprocess.run(command, cwd=ROOT.parent, capture_output=True, check=False).returncode == 1


SPOILT = {
    "DELETE FROM task_events WHERE seq = 2": "seq is not dense",
    "UPDATE task_heads SET seq = 5": "seq is not dense",
    "DELETE FROM task_commands": "command_seq is not dense",
    f"UPDATE task_events SET event_id = '{'0' * 26}' WHERE seq = 3": "event ids do not increase",
    f"SELECT append_event('{TASK}', 1, 'task_failed', '{{}}')": "2 final events",
    f"SELECT append_event('{TASK}', 1, 'agent_turn', '{{}}')": "events after the end",
    "UPDATE task_events SET event_type = 'task_failed' WHERE seq = 4": "task_failed does not fit COMPLETED",
    "UPDATE task_events SET event_type = 'progress' WHERE seq = 4": "0 final events",
    "UPDATE task_events SET event_type = 'pr_created' WHERE seq = 2": "pr_created was told more than once",
    "UPDATE user_concurrency SET running = 1": "user_slots",
    "UPDATE repo_concurrency SET running = 1": "repo_slots",
    f"INSERT INTO timers VALUES ('{TASK}', 1, 'duration', now())": "timers still holds",
    "UPDATE sessions SET state = 'running'": "is running",
    "UPDATE sessions SET model_token_hash = 'x'": "1 tokens that live",
    "INSERT INTO dead_letters (consumer, queue, reason, body) VALUES ('c', 'q', 'r', '')": "dead_letters",
    "UPDATE effects SET state = 'dead' WHERE channel = 'slack'": "to slack is dead",
    "UPDATE effects SET state = 'planned' WHERE channel = 'email'": "to email is planned",
    "UPDATE effects SET state = 'unknown' WHERE channel = 'github'": "to github is unknown",
    "DELETE FROM effects WHERE kind = 'pull_request'": "not in the ledger",
    "DELETE FROM effects WHERE channel = 'slack'": "not in the ledger",
    "DELETE FROM effects WHERE channel = 'github'": "not in the ledger",
    "UPDATE tasks SET outcome = 'no_change'": "1 pull requests for COMPLETED (no_change)",
    "UPDATE tasks SET pr_number = 2": "names pull request 2",
    "UPDATE tasks SET head_sha = 'abc'": "not at abc",
    "UPDATE tasks SET branch_name = 'other'": "which is no task's branch",
}


@pytest.mark.parametrize("sql", SPOILT)
def test_each_spoilt_row_is_found(database: str, data: Path, sql: str) -> None:
    with psycopg.connect(database) as connection:
        connection.execute(sql.encode())
    problems = Checker(Ledger.read(database), outside(data)).problems()
    assert any(SPOILT[sql] in problem for problem in problems), problems


def test_a_task_that_has_not_ended_is_found(database: str, data: Path) -> None:
    with psycopg.connect(database) as connection:
        connection.execute("ALTER TABLE tasks DISABLE TRIGGER guard_task_update")
        connection.execute("UPDATE tasks SET status = 'FINALIZING', completed_at = NULL, started_at = now()")
    problems = Checker(Ledger.read(database), outside(data)).problems()
    assert any("is still FINALIZING" in problem for problem in problems)


def doubled(items: list[Any], **change: Any) -> None:
    items.append({**copy.deepcopy(items[-1]), **change})


OUTSIDE: dict[str, tuple[Callable[[Outside], None], str]] = {
    "second pull request": (lambda o: doubled(o.repos["acme/pricing"]["pulls"], number=2), "2 pull requests"),
    "no pull request": (lambda o: o.repos["acme/pricing"]["pulls"].clear(), "0 pull requests"),
    "draft": (lambda o: o.repos["acme/pricing"]["pulls"][0].update(draft=True), "is a draft"),
    "second comment": (lambda o: doubled(o.repos["acme/pricing"]["comments"]), "2 comments"),
    "strange comment": (lambda o: o.repos["acme/pricing"]["comments"][0].update(issue=9), "is on #9"),
    "second root": (lambda o: o.messages.append(dict(o.messages[0])), "2 Slack root messages"),
    "strange thread": (lambda o: o.messages[-1].update(thread_ts="1.0"), "is in another thread"),
    "said twice": (lambda o: doubled(o.messages), "was told 2 times"),
    "nothing said": (lambda o: o.messages.clear(), "that Slack was told, and it was not"),
    "no mail": (lambda o: o.mails.clear(), "1 mails were sent, 0 arrived"),
    "second mail": (lambda o: doubled(o.mails), "2 mails arrived in 1 attempts"),
    "strange mail": (lambda o: doubled(o.mails, message_id="<n5@bgagent>"), "1 are in the ledger"),
    "strange push": (lambda o: doubled(o.pushes, ref="refs/heads/main"), "a push to refs/heads/main"),
    "expectation": (lambda o: o.expectation_failures.append({"step": 1}), "something unexpected"),
}  # fmt: skip


@pytest.mark.parametrize("name", OUTSIDE)
def test_each_spoilt_effect_is_found(database: str, data: Path, name: str) -> None:
    spoil, expected = OUTSIDE[name]
    seen = outside(data)
    spoil(seen)
    problems = Checker(Ledger.read(database), seen).problems()
    assert any(expected in problem for problem in problems), problems


def test_the_order_of_a_sample_can_name_another_repository() -> None:
    assert order("acme/pricing", "acme/copy")["repo"] == "acme/copy"
