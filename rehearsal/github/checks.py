"""What GitHub accepts as a body, a title and a text."""

from __future__ import annotations

from typing import Any

from rehearsal.disk import now_iso
from rehearsal.github.shapes import Refused, invalid
from rehearsal.wire import BadJson, JsonObject, Request

LONGEST_BODY = 65_536
LONGEST_TITLE = 256


def fields(request: Request) -> JsonObject:
    """The posted object."""
    try:
        return request.json_object()
    except BadJson as error:
        text = "Body should be a JSON object" if str(error) == "not an object" else "Problems parsing JSON"
        raise Refused(400, text) from error


def check_text(resource: str, body: Any, required: bool) -> str | None:
    """A comment's or description's text, within GitHub's limits."""
    if body is None and not required:
        return None
    if not isinstance(body, str):
        raise Refused(422, f"Invalid request.\n\nFor 'properties/body', {body!r} is not a string.")
    if required and not body.strip():
        raise invalid(resource, "data", "unprocessable", "Body cannot be blank")
    if len(body) > LONGEST_BODY:
        raise invalid(
            resource, "data", "unprocessable", f"Body is too long (maximum is {LONGEST_BODY} characters)"
        )
    return body


def apply_change(held: JsonObject, change: JsonObject, resource: str) -> None:
    """Changes title, body and state of an issue or pull request."""
    if "title" in change:
        held["title"] = check_title(change["title"], resource)
    if "body" in change:
        held["body"] = check_text(resource, change["body"], required=False)
    if "state" in change:
        if change["state"] not in ("open", "closed"):
            raise invalid(resource, "state", "invalid")
        held["state"] = change["state"]
        held["closed_at"] = now_iso() if change["state"] == "closed" else None
    held["updated_at"] = now_iso()


def check_title(title: Any, resource: str) -> str:
    """A title, within GitHub's limits."""
    if not isinstance(title, str) or not title.strip():
        raise invalid(resource, "title", "missing_field")
    if len(title) > LONGEST_TITLE:
        text = f"title is too long (maximum is {LONGEST_TITLE} characters)"
        raise invalid(resource, "title", "custom", text)
    return title
