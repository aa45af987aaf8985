"""The schemas are schemas, cover every message that the code names, and fit what the database publishes."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator

import psycopg
import pytest
from jsonschema import Draft202012Validator

from rehearsal import schemas
from rehearsal.tests.support import ROOT
from rehearsal.tests.test_checker import MIGRATIONS, scratch

HOUSE = ROOT.parent
PAGE = HOUSE / "docs" / "messages.md"
TASK = "01K9ZZZZZZZZZZZZZZZZZZZZZZ"
CASE = re.compile(r"^\s*case ((?:\w+(?: = \"[^\"]+\")?(?:, )?)+)$", re.MULTILINE)


def cases(file: str, enum: str) -> dict[str, str]:
    """The raw values of a Swift enum of strings, by their names in Swift."""
    source = (HOUSE / "shared" / "Domain" / f"{file}.swift").read_text()
    body = source.split(f"enum {enum}:")[1].split("\n}\n")[0]
    found = {}
    for line in CASE.findall(body):
        for name, value in re.findall(r"(\w+)(?: = \"([^\"]+)\")?(?:, |$)", line):
            found[name] = value or name
    return found


def of(folder: str) -> set[str]:
    """The schemas of a folder."""
    return {name.split("/")[1] for name in schemas.names() if name.startswith(f"{folder}/")}


@pytest.mark.parametrize("name", schemas.names())
def test_a_schema_is_one_and_its_examples_fit(name: str) -> None:
    schema = schemas.schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    examples = schema.get("examples", [])
    assert examples or name == "types"
    for example in examples:
        assert schemas.breaches(name, example) == []


def test_every_event_type_has_its_schema() -> None:
    kinds = set(cases("TaskEventType", "TaskEventType").values())
    assert len(kinds) > 30
    assert of("events") == kinds
    for kind in kinds:
        assert schemas.schema(f"events/{kind}")["properties"]["event_type"] == {"const": kind}


def test_every_command_has_its_schema() -> None:
    kinds = set(cases("TaskCommand", "TaskCommand").values())
    assert len(kinds) > 10
    assert of("commands") == kinds
    for kind in kinds:
        assert schemas.schema(f"commands/{kind}")["properties"]["command"] == {"const": kind}


def test_words_of_the_domain_are_those_of_the_schemas() -> None:
    def words(file: str, enum: str) -> set[str]:
        return set(cases(file, enum).values())

    timer = schemas.schema("commands/timer_due")["properties"]["payload"]["properties"]["kind"]
    assert set(timer["enum"]) == words("TaskCommand", "TimerKind")
    assert set(schemas.schema("types")["$defs"]["status"]["enum"]) == words("TaskStatus", "TaskStatus")
    outcome = schemas.schema("session/result")["properties"]["outcome"]
    assert set(outcome["enum"]) == words("TaskOutcome", "TaskOutcome")


def test_agents_may_tell_what_the_schema_of_their_events_lists() -> None:
    named = cases("TaskEventType", "TaskEventType")
    source = (HOUSE / "shared" / "Domain" / "TaskEventType.swift").read_text()
    told = source.split("fromAgent")[1].split("]")[0]
    items = schemas.schema("session/events.request")["properties"]["events"]["items"]
    assert set(items["properties"]["event_type"]["enum"]) == {
        named[name] for name in re.findall(r"\.(\w+)", told)
    }


def test_the_page_names_every_message() -> None:
    page = PAGE.read_text()
    named = {word for span in re.findall(r"`([^`]+)`", page) for word in re.findall(r"\w+", span)}
    assert of("events") - named == set()
    assert of("commands") - named == set()
    for folder in ("", "session"):
        for path in sorted((schemas.SCHEMAS / folder).glob("*.json")):
            link = path.relative_to(schemas.SCHEMAS.parent).as_posix()
            assert f"]({link})" in page


def test_breaches_of_a_run_are_found() -> None:
    good = {"event_type": "checkpoint_saved", "metadata": {"turn": 1, "commit": "a" * 40}}
    assert schemas.validate_events([good]) == []
    bad = [
        {"event_type": "checkpoint_saved", "metadata": {"turn": 1, "commit": "short"}},
        {"event_type": "checkpoint_saved", "metadata": {"turn": 1, "commit": "a" * 40, "more": 1}},
        {"event_type": "task_failed", "metadata": {"status": "FAILED"}},
        {"event_type": "no_such_type", "metadata": {}},
    ]
    for row in bad:
        assert len(schemas.validate_events([row])) == 1, row
    assert schemas.validate_commands([{"command": "timer_due", "payload": {"kind": "retry"}}]) == []
    assert len(schemas.validate_commands([{"command": "timer_due", "payload": {"kind": "tea"}}])) == 1
    payload = schemas.schema("notification")["examples"][0]["payload"]
    told = {"kind": "notification", "effect_id": "n", "payload": payload}
    assert schemas.validate_notifications([told, {**told, "kind": "pull_request", "payload": {}}]) == []
    assert len(schemas.validate_notifications([{**told, "payload": {"event": payload["event"]}}])) == 1
    ended = {"task_id": TASK, "attempt": 1, "result": schemas.schema("session/result")["examples"][0]}
    assert schemas.validate_results([ended, {**ended, "result": None}]) == []
    assert len(schemas.validate_results([{**ended, "result": {"outcome": "fine"}}])) == 1


@pytest.fixture(scope="module")
def database() -> Iterator[str]:
    """A database with the schema and one task."""
    with scratch() as (_, url):
        with psycopg.connect(url) as connection:
            for path in sorted(MIGRATIONS.glob("*.sql")):
                connection.execute(path.read_bytes())
            connection.execute(
                """INSERT INTO users (user_id, name) VALUES ('01K9ZZZZZZZZZZZZZZZZZZZZZ0', 'member');
                INSERT INTO repos (repo) VALUES ('acme/shop');"""
            )
            trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
            connection.execute(
                f"""INSERT INTO tasks (task_id, user_id, repo, task_description, branch_name, model,
                max_turns, max_duration_s, traceparent)
                VALUES ('{TASK}', '01K9ZZZZZZZZZZZZZZZZZZZZZ0', 'acme/shop', 'fix it', 'b', 'm', 10, 60,
                '{trace}');
                INSERT INTO task_heads (task_id, user_id, repo, traceparent)
                VALUES ('{TASK}', '01K9ZZZZZZZZZZZZZZZZZZZZZ0', 'acme/shop', '{trace}');""".encode()
            )
        yield url


def test_the_database_publishes_what_the_schemas_say(database: str) -> None:
    notification = schemas.schema("notification")["examples"][0]
    with psycopg.connect(database) as connection:
        for kind in sorted(of("events")):
            metadata = schemas.schema(f"events/{kind}")["examples"][0]["metadata"]
            connection.execute("SELECT append_event(%s, 1, %s, %s)", (TASK, kind, json.dumps(metadata)))
        for kind in sorted(of("commands")):
            payload = schemas.schema(f"commands/{kind}")["examples"][0]["payload"]
            connection.execute("SELECT append_command(%s, 1, %s, %s)", (TASK, kind, json.dumps(payload)))
        start = json.dumps({"task_id": TASK, "attempt": 1})
        connection.execute("SELECT append_compute(%s, 1, 'start', 'start.process', %s)", (TASK, start))
        arguments = (notification["notification_id"], TASK, notification["event_id"])
        connection.execute(
            "SELECT plan_notification(%s, %s, 1, 'slack', 'C0BUILDS', %s, 3, 'task_completed', %s)",
            (*arguments, json.dumps(notification["payload"])),
        )
        rows = connection.execute(
            """SELECT stream, type, exchange, routing_key, stream_seq, message_id, payload
            FROM outbox ORDER BY id"""
        ).fetchall()
    keys = {"events": "{task}.{type}", "commands": "{task}.{type}", "compute": "start.process"}
    exchanges = {"events": "task.events", "commands": "task.commands", "compute": "compute.commands"}
    counts: dict[str, int] = {}
    for stream, kind, exchange, routing_key, seq, message_id, payload in rows:
        counts[stream] = counts.get(stream, 0) + 1
        name = {"events": f"events/{kind}", "commands": f"commands/{kind}", "compute": "compute-start"}.get(
            stream, "notification"
        )
        assert schemas.breaches(name, payload) == []
        assert exchange == exchanges.get(stream, "notifications")
        assert routing_key == keys.get(stream, "slack.{task}").format(task=TASK, type=kind)
        if stream == "compute":
            assert seq == 0
            continue
        assert seq == payload["seq"] == counts[stream]
        assert message_id in (
            payload.get("event_id"),
            payload.get("command_id"),
            payload.get("notification_id"),
        )
    assert counts == {
        "events": len(of("events")),
        "commands": len(of("commands")),
        "compute": 1,
        "notifications.slack": 1,
    }
    run = [sys.executable, "-m", "rehearsal.schemas", "--postgres", database]
    done = subprocess.run(run, cwd=HOUSE, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.endswith(" 0 problems\n")
