"""What a local run reads from GitHub first: the repository, and the issue with all its comments."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from .errors import NotStarted

_PAGE = 100
_PAGES = 100
_TIMEOUT_S = 15.0
_LARGEST = 32 * 1024 * 1024
_TRIES = 3


@dataclass(frozen=True)
class Repository:
    """A repository that may be pushed to; `name` is spelled as GitHub spells it."""

    name: str
    default_branch: str
    web_url: str


@dataclass(frozen=True)
class Comment:
    """A comment on an issue."""

    author: str
    body: str
    created_at: str


@dataclass(frozen=True)
class Issue:
    """An open issue with all its comments, oldest first."""

    number: int
    title: str
    body: str
    author: str
    comments: tuple[Comment, ...]


class _SameHost(urllib.request.HTTPRedirectHandler):
    """Follows a renamed repository, and takes the token nowhere else."""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        here, there = urlsplit(req.full_url), urlsplit(newurl)
        if (here.scheme, here.netloc) != (there.scheme, there.netloc):
            return None
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class GitHub:
    """GitHub's REST API, read only. Everything it cannot have is a `NotStarted` that says what to do."""

    def __init__(self, api_url: str, token: str, pause: Callable[[float], None] = time.sleep) -> None:
        self._api_url = api_url
        self._token = token
        self._pause = pause
        self._opener = urllib.request.build_opener(_SameHost())

    def repository(self, repo: str) -> Repository:
        """A repository that can be worked on with this token."""
        found = self._get(
            f"/repos/{repo}",
            f"GitHub knows no repository {repo}, or GITHUB_TOKEN may not see it: "
            "check the name, and that the token has access to this repository.",
        )
        if found.get("archived"):
            raise NotStarted(f"{repo} is archived: unarchive it, or work on a fork.")
        if not (found.get("permissions") or {}).get("push"):
            raise NotStarted(
                f"GITHUB_TOKEN may not push to {repo}: give it write access to the repository's contents, "
                "or work on a fork of yours."
            )
        return Repository(
            str(found["full_name"]), str(found["default_branch"]), str(found["html_url"]).rstrip("/")
        )

    def issue(self, repo: str, number: int) -> Issue:
        """An open issue with every page of its comments."""
        path = f"/repos/{repo}/issues/{number}"
        found = self._get(
            path,
            f"{repo} has no issue {number}, or GITHUB_TOKEN may not read issues: check both.",
        )
        if found.get("pull_request"):
            raise NotStarted(
                f"{number} is a pull request: give the number of an issue, or say in words what to do."
            )
        if found.get("state") != "open":
            raise NotStarted(f"Issue {number} is closed: reopen it, or say in words what to do.")
        comments: list[Comment] = []
        for page in range(1, _PAGES + 1):
            items = self._get(f"{path}/comments?per_page={_PAGE}&page={page}", f"Issue {number} is gone.")
            comments += [
                Comment(_author(item), str(item.get("body") or ""), str(item["created_at"])) for item in items
            ]
            if len(items) < _PAGE:
                break
        else:
            raise NotStarted(
                f"Issue {number} has more than {_PAGE * _PAGES} comments: say in words what to do."
            )
        return Issue(
            number,
            str(found.get("title") or ""),
            str(found.get("body") or ""),
            _author(found),
            tuple(comments),
        )

    def _get(self, path: str, missing: str) -> Any:
        request = urllib.request.Request(self._api_url + path)  # noqa: S310 - settings take http and https alone
        request.add_header("Accept", "application/vnd.github+json")
        request.add_header("X-GitHub-Api-Version", "2022-11-28")
        request.add_header("User-Agent", "bgagent")
        request.add_header("Authorization", f"Bearer {self._token}")
        reason = ""
        for attempt in range(_TRIES):
            if attempt:
                self._pause(2.0 ** (attempt - 1))
            try:
                with self._opener.open(request, timeout=_TIMEOUT_S) as response:
                    return json.loads(response.read(_LARGEST))
            except urllib.error.HTTPError as error:
                reason = f"it answered {error.code}: {_said(error)}"
                if error.code < 500:
                    raise _refusal(error, reason, missing) from None
            except ValueError:
                raise NotStarted(
                    f"What answers at {self._api_url} is not GitHub's API: check GITHUB_API_URL."
                ) from None
            except OSError as error:
                reason = str(getattr(error, "reason", error))
        raise NotStarted(
            f"GitHub cannot be had at {self._api_url}: {reason}. Check GITHUB_API_URL and the network."
        )


def _author(item: Any) -> str:
    return str((item.get("user") or {}).get("login") or "unknown")


def _said(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read(65_536)).get("message") or "")[:300]
    except (OSError, ValueError, AttributeError):
        return ""


def _refusal(error: urllib.error.HTTPError, reason: str, missing: str) -> NotStarted:
    if error.code == 401:
        return NotStarted(
            "GitHub does not take GITHUB_TOKEN: it is wrong, expired or revoked. Make a new one."
        )
    if (
        error.code == 429
        or error.headers.get("X-RateLimit-Remaining") == "0"
        or error.headers.get("Retry-After")
    ):
        wait = error.headers.get("Retry-After")
        return NotStarted(
            f"GitHub limits the rate of this token: try again {f'in {wait} s' if wait else 'later'}."
        )
    if error.code in (404, 410, 301):
        return NotStarted(missing)
    return NotStarted(f"GitHub refuses: {reason}. Check what GITHUB_TOKEN may do.")
