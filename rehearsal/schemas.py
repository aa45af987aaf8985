"""Holds messages and events to their schemas in docs/schemas.

    python -m rehearsal.schemas --postgres URL     everything that a database holds

`validate_events` and its like take rows of the database, so that a test of a whole run can call them on what
it left. Each returns one line per breach and nothing for a good run.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
from jsonschema import Draft202012Validator
from psycopg.rows import dict_row
from referencing import Registry, Resource

SCHEMAS = Path(__file__).resolve().parent.parent / "docs" / "schemas"
Row = Mapping[str, Any]
QUERIES = {
    "events": "SELECT task_id, seq, event_type, metadata FROM task_events",
    "commands": "SELECT task_id, seq, command, payload FROM task_commands",
    "notifications": "SELECT kind, effect_id, payload FROM effects WHERE kind = 'notification'",
    "results": "SELECT task_id, attempt, result FROM sessions WHERE result IS NOT NULL",
}


def names() -> list[str]:
    """Every schema's path below docs/schemas, without its ending."""
    return sorted(
        path.relative_to(SCHEMAS).as_posix().removesuffix(".json") for path in SCHEMAS.rglob("*.json")
    )


@cache
def _registry() -> Registry[Any]:
    contents = {name: json.loads((SCHEMAS / f"{name}.json").read_text()) for name in names()}
    resources = [(_address(name), Resource.from_contents(schema)) for name, schema in contents.items()]
    return Registry().with_resources(resources).crawl()


def _address(name: str) -> str:
    return (SCHEMAS / f"{name}.json").as_uri()


def schema(name: str) -> dict[str, Any]:
    """One schema as it is written."""
    found: dict[str, Any] = _registry().contents(_address(name))
    return found


@cache
def _validator(name: str, pointer: str) -> Draft202012Validator:
    return Draft202012Validator({"$ref": f"{_address(name)}#{pointer}"}, registry=_registry())


def breaches(name: str, value: Any, pointer: str = "") -> list[str]:
    """What is wrong with a value by the schema of that name, or by the part of it that the pointer names."""
    found = _validator(name, pointer).iter_errors(value)
    return [f"{'.'.join(map(str, error.absolute_path)) or 'it'}: {error.message}" for error in found]


def validate_events(rows: Iterable[Row]) -> list[str]:
    """Rows of task_events: `event_type` and `metadata` each; `task_id` and `seq` where they are there."""
    return list(_rows("events", "event_type", "metadata", rows))


def validate_commands(rows: Iterable[Row]) -> list[str]:
    """Rows of task_commands: `command` and `payload` each."""
    return list(_rows("commands", "command", "payload", rows))


def validate_notifications(rows: Iterable[Row]) -> list[str]:
    """Rows of effects: `kind`, `effect_id` and `payload` each; what is no notification is left alone."""
    return [
        f"notification {row['effect_id']}: {breach}"
        for row in rows
        if row["kind"] == "notification"
        for breach in breaches("notification", row["payload"], "/properties/payload")
    ]


def validate_results(rows: Iterable[Row]) -> list[str]:
    """Rows of sessions: `task_id`, `attempt` and `result` each; sessions without a result are left alone."""
    return [
        f"result of {row['task_id']}-{row['attempt']}: {breach}"
        for row in rows
        if row["result"] is not None
        for breach in breaches("session/result", row["result"])
    ]


def _rows(folder: str, kind: str, content: str, rows: Iterable[Row]) -> Iterator[str]:
    for row in rows:
        name = f"{folder}/{row[kind]}"
        where = f"{row.get('task_id', 'task')} {folder} {row.get('seq', '?')} {row[kind]}"
        if not (SCHEMAS / f"{name}.json").is_file():
            yield f"{where}: has no schema"
            continue
        for breach in breaches(name, row[content], f"/properties/{content}"):
            yield f"{where}: {content}: {breach}"


def main() -> int:
    """Prints every breach; the exit code says whether there was one."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.schemas", description=__doc__)
    parser.add_argument("--postgres", required=True, metavar="URL")
    with psycopg.connect(parser.parse_args().postgres, row_factory=dict_row) as connection:
        rows = {name: connection.execute(query).fetchall() for name, query in QUERIES.items()}
    found = validate_events(rows["events"]) + validate_commands(rows["commands"])
    found += validate_notifications(rows["notifications"]) + validate_results(rows["results"])
    print(*found, sep="\n", end="\n" if found else "")
    print(", ".join(f"{len(of_kind)} {name}" for name, of_kind in rows.items()) + f", {len(found)} problems")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
