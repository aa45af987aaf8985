"""The JSON shapes of GitHub's answers."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from rehearsal.wire import JsonObject, Request, Response

DOCS = "https://docs.github.com/rest"


class Refused(Exception):
    """An answer that is an error; raised anywhere below the router."""

    def __init__(self, status: int, message: str, errors: list[Any] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.errors = errors

    def response(self) -> Response:
        """The answer as GitHub words it."""
        value: JsonObject = {"message": self.message}
        if self.errors is not None:
            value["errors"] = self.errors
        return Response.of_json(self.status, value | {"documentation_url": DOCS, "status": str(self.status)})


def invalid(resource: str, field: str | None, code: str, message: str | None = None) -> Refused:
    """A 422 with one entry in `errors`."""
    entry = {"resource": resource, "field": field, "code": code, "message": message}
    return Refused(
        422, "Validation Failed", [{key: value for key, value in entry.items() if value is not None}]
    )


def missing(*names: str) -> Refused:
    """A 422 for fields that were not given at all."""
    quoted = ", ".join(f'"{name}"' for name in names)
    verb = "weren't" if len(names) > 1 else "wasn't"
    return Refused(422, f"Invalid request.\n\n{quoted} {verb} supplied.")


def user(login: str) -> JsonObject:
    """An account."""
    kind = "Bot" if login.endswith("[bot]") else "User"
    return {"login": login, "id": sum(login.encode()), "type": kind, "site_admin": False}


def base_url(request: Request) -> str:
    """This service as the client addressed it."""
    return f"http://{request.header('host') or '127.0.0.1'}"


def repository(repo: JsonObject, base: str) -> JsonObject:
    """A repository."""
    owner, name = repo["full_name"].split("/")
    return {
        "id": repo["id"],
        "name": name,
        "full_name": repo["full_name"],
        "private": repo["private"],
        "owner": user(owner),
        "html_url": f"{base}/{repo['full_name']}",
        "url": f"{base}/repos/{repo['full_name']}",
        "clone_url": f"{base}/git/{repo['full_name']}.git",
        "default_branch": repo["default_branch"],
        "archived": repo["archived"],
        "disabled": False,
        "fork": False,
        "has_issues": True,
        "created_at": repo["created_at"],
        "permissions": {
            "admin": False,
            "maintain": False,
            "push": repo["push"],
            "triage": repo["push"],
            "pull": True,
        },
    }


def issue(repo: JsonObject, held: JsonObject, comments: int, base: str) -> JsonObject:
    """An issue, or a pull request as the issues endpoint shows it."""
    number, name = held["number"], repo["full_name"]
    pull = str(number) in repo["pulls"]
    shape = {key: held[key] for key in ("id", "number", "title", "body", "state", "locked")} | {
        "user": user(held["user"]),
        "author_association": "MEMBER",
        "labels": [],
        "assignees": [],
        "comments": comments,
        "url": f"{base}/repos/{name}/issues/{number}",
        "comments_url": f"{base}/repos/{name}/issues/{number}/comments",
        "html_url": f"{base}/{name}/{'pull' if pull else 'issues'}/{number}",
        **{key: held[key] for key in ("created_at", "updated_at", "closed_at")},
    }
    if pull:
        shape["pull_request"] = {"url": f"{base}/repos/{name}/pulls/{number}"}
    return shape


def comment(repo: JsonObject, held: JsonObject, base: str) -> JsonObject:
    """A comment on an issue or a pull request."""
    number, name = held["issue"], repo["full_name"]
    kind = "pull" if str(number) in repo["pulls"] else "issues"
    return {
        "id": held["id"],
        "body": held["body"],
        "user": user(held["user"]),
        "author_association": "MEMBER",
        "created_at": held["created_at"],
        "updated_at": held["updated_at"],
        "url": f"{base}/repos/{name}/issues/comments/{held['id']}",
        "issue_url": f"{base}/repos/{name}/issues/{number}",
        "html_url": f"{base}/{name}/{kind}/{number}#issuecomment-{held['id']}",
    }


def pull(repo: JsonObject, held: JsonObject, base: str) -> JsonObject:
    """A pull request; `held` carries the current commits of both sides."""
    name, number = repo["full_name"], held["number"]
    owner = name.split("/")[0]

    def side(ref: str, sha: str) -> JsonObject:
        return {
            "label": f"{owner}:{ref}",
            "ref": ref,
            "sha": sha,
            "user": user(owner),
            "repo": repository(repo, base),
        }

    issue_held = repo["issues"][str(number)]
    return {
        "id": held["id"],
        **{key: issue_held[key] for key in ("number", "title", "body", "state", "locked")},
        "draft": held["draft"],
        "merged": False,
        "merged_at": None,
        "mergeable": True,
        "user": user(issue_held["user"]),
        "head": side(held["head"], held["head_sha"]),
        "base": side(held["base"], held["base_sha"]),
        **{key: issue_held[key] for key in ("created_at", "updated_at", "closed_at")},
        "url": f"{base}/repos/{name}/pulls/{number}",
        "html_url": f"{base}/{name}/pull/{number}",
        "issue_url": f"{base}/repos/{name}/issues/{number}",
        "comments_url": f"{base}/repos/{name}/issues/{number}/comments",
    }


def page(request: Request, items: list[Any]) -> tuple[list[Any], list[tuple[str, str]]]:
    """The asked page of a list, with the Link header. 30 a page, 100 at most; nonsense is the default."""
    size = min(_number(request.query.get("per_page"), 30), 100)
    current = _number(request.query.get("page"), 1)
    last = max(1, -(-len(items) // size))
    links = {"prev": current - 1, "next": current + 1, "last": last, "first": 1}
    if current >= last:
        del links["next"], links["last"]
    if current == 1:
        del links["prev"], links["first"]
    base = base_url(request) + urlsplit(request.target).path
    rest = [(key, value) for key, value in parse_qsl(request.query_string) if key != "page"]
    entries = [
        f'<{base}?{urlencode([*rest, ("page", str(number))])}>; rel="{name}"'
        for name, number in links.items()
    ]
    headers = [("Link", ", ".join(entries))] if entries else []
    return items[(current - 1) * size : current * size], headers


def _number(text: str | None, default: int) -> int:
    return int(text) if text and re.fullmatch(r"[1-9]\d{0,8}", text) else default
