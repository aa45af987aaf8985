"""Puts names of what exists into generated requests, which would else only meet what is not there.

What is put where follows from the request alone, so that a run can be had again and a failure made smaller.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from typing import Any, TypeVar

from schemathesis import Case
from schemathesis.core import NotSet

from Tests.fuzz.world import PASSWORD, STATES, Scene, World

T = TypeVar("T")

# Fields that take few texts of all that their type allows, with some that they take.
TAKEN: dict[str, Sequence[Any]] = {
    "commit_email": ("agent@localhost",),
    "commit_name": ("Agent",),
    "credential_ref": ("token",),
    "default_branch": ("main", "release/1.x"),
    "email": ("somebody@localhost",),
    "forge": ("github",),
    "notifications": (
        {"slack": {"enabled": True, "channel": "#builds", "events": "default"}},
        {"email": {"events": ["task_failed", "verbose"]}, "slack": {"enabled": False}},
    ),
    "scope": ("this_call", "tool_type:Bash"),
    "task_type": ("new_task",),
    "workflow_ref": ("coding/new-task-v1", "coding/new-task-v1@1.0.0"),
    "service": ("agent",),
    "status": ("RUNNING", "QUEUED,COMPLETED"),
}
NOT_YET = "not supported yet"


class Dice:
    """Choices that follow from a request."""

    def __init__(self, case: Case[Any]) -> None:
        body = None if isinstance(case.body, NotSet) else case.body
        told = (case.operation.label, case.path_parameters, case.query, dict(case.headers), body)
        self._state = zlib.crc32(repr(told).encode(errors="surrogatepass"))

    def one(self, of: Sequence[T]) -> T:
        """One of these."""
        # The low bits of such a generator are poor.
        self._state = (self._state * 1_103_515_245 + 12_345) % (1 << 31)
        return of[(self._state >> 8) % len(of)]

    def mostly(self) -> bool:
        """True in three cases of four."""
        return self.one((True, True, True, False))


class Cast:
    """What stands there to be read, and new scenes for requests that change something."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._standing = {
            role: [world.scene(role, state) for state in STATES] for role in ("admin", "member", "viewer")
        }

    def enter(self, case: Case[Any], roles: Sequence[str]) -> tuple[Scene, Dice]:
        """Names what exists in the request; returns who sends it, and the dice for what else is to choose."""
        dice = Dice(case)
        role = dice.one(roles)
        if case.method.upper() == "GET":
            scene = caller = dice.one(self._standing[role])
            if not dice.mostly():
                scene = dice.one(self._standing[dice.one(("admin", "member"))])
        else:
            # Most of what changes a task needs one that is at work.
            state = dice.one(STATES + ("RUNNING", "AWAITING_APPROVAL") * 4)
            scene = caller = self.world.scene(role, state)
        names = self.names(scene)
        case.path_parameters = {
            name: names[name] if dice.mostly() else value
            for name, value in (case.path_parameters or {}).items()
        }
        if isinstance(case.query, dict):
            case.query = {name: self._query(name, value, scene, dice) for name, value in case.query.items()}
        if isinstance(case.body, dict):
            case.body = self._body(case, case.body, scene, dice)
        return caller, dice

    @staticmethod
    def names(scene: Scene) -> dict[str, str]:
        """What the parameters of paths are called in a scene."""
        owner, repo = scene.names["repo"].split("/")
        return {**scene.names, "owner": owner, "name": repo, "node": "node"}

    @staticmethod
    def _query(name: str, value: Any, scene: Scene, dice: Dice) -> Any:
        if name == "wait":
            # A second shows as well as the longest wait that nothing comes.
            return dice.one((0, 0, 0, 1)) if str(value).isdigit() and int(value) <= 25 else value
        if not isinstance(value, str) or not dice.mostly():
            return value
        if name == "next_token":
            keys = dice.one(((value,), (value, value), ("5", scene.names["task_id"]), (scene.names["user"],)))
            text = "\n".join(("1", *keys)).encode(errors="replace")
            return dice.one((scene.names["event_id"], base64.urlsafe_b64encode(text).decode().rstrip("=")))
        if name in ("task", "task_id", "repo"):
            return scene.names["repo" if name == "repo" else "task_id"]
        if name == "after":
            return dice.one((scene.names["event_id"], "2"))
        return dice.one(TAKEN[name]) if name in TAKEN else value

    @staticmethod
    def _body(case: Case[Any], given: dict[str, Any], scene: Scene, dice: Dice) -> dict[str, Any]:
        declared = body_fields(case)
        known = TAKEN | {"repo": (scene.names["repo"],), "password": (PASSWORD,)}
        if case.path == "/v1/repos":
            known["repo"] = (f"new/{scene.names['task_id']}",)
        if "password" in declared:
            known["name"] = (scene.names["user"],)
        elif case.path.startswith("/v1/users") and not case.path.endswith("/tokens"):
            known["name"] = (f"new-{scene.names['user']}",)
        body: dict[str, Any] = {}
        for name, value in given.items():
            if NOT_YET in declared.get(name, {}).get("description", "") and dice.mostly():
                continue
            is_changed = name in known and isinstance(value, (str, dict)) and dice.mostly()
            body[name] = dice.one(known[name]) if is_changed else value
        return body


def body_fields(case: Case[Any]) -> dict[str, Any]:
    """The fields of the body as described."""
    raw = case.operation.definition.raw.get("requestBody", {})
    content = raw.get("content", {}).get("application/json", {})
    fields: dict[str, Any] = content.get("schema", {}).get("properties", {})
    return fields
