"""The simulated GitHub: who may come in, and which part answers."""

from __future__ import annotations

import base64
import hmac
import time
from pathlib import Path
from typing import Any

from rehearsal.faults import Fault
from rehearsal.github import shapes, smart_http
from rehearsal.github.gitdir import GitFailed, diff
from rehearsal.github.rest import Rest
from rehearsal.github.shapes import Refused
from rehearsal.github.state import Holdings
from rehearsal.simulator import BadSeed, Simulator
from rehearsal.wire import JsonObject, Request, Response

SECONDARY = "You have exceeded a secondary rate limit. Please wait a few minutes before you try again."
USER_AGENT = (
    "Request forbidden by administrative rules. Please make sure your request has a User-Agent header."
)


class GitHub(Simulator):
    """REST below `/`, git below `/git/`. Without a token of its own it takes any, but never none."""

    name = "github"

    def __init__(self, data: Path, token: str | None = None, login: str = "bgagent-bot") -> None:
        super().__init__(data)
        self.token = token
        self.holdings = Holdings(data, login)
        self.rest = Rest(self.holdings)

    def _knows(self, credential: str) -> bool:
        return bool(credential) and (self.token is None or hmac.compare_digest(credential, self.token))

    def handle(self, request: Request) -> Response:
        """Answers one request."""
        if request.path.startswith("/git/"):
            return smart_http.serve(self.holdings, request, self._knows(_basic_password(request)))
        try:
            response = self._rest(request)
        except Refused as refused:
            response = refused.response()
        reset = str(int(time.time()) + 3600)
        limits = {"Limit": "5000", "Remaining": "4999", "Reset": reset, "Used": "1", "Resource": "core"}
        response.headers += [(f"X-RateLimit-{name}", value) for name, value in limits.items()]
        return response

    def _rest(self, request: Request) -> Response:
        if not request.header("user-agent"):
            return Response.of_text(403, USER_AGENT + "\n")
        scheme, _, credential = request.header("authorization").partition(" ")
        if not scheme:
            raise Refused(401, "Requires authentication")
        if scheme.lower() not in ("token", "bearer") or not self._knows(credential.strip()):
            raise Refused(401, "Bad credentials")
        if request.path == "/user" and request.method == "GET":
            return Response.of_json(200, shapes.user(self.holdings.login) | {"name": None})
        return self.rest.handle(request)

    def fault_response(self, fault: Fault) -> Response:
        """An ordered status in GitHub's words; 403 and 429 with Retry-After are the secondary rate limit."""
        limited = any(name.lower() == "retry-after" for name in fault.headers)
        words = {401: "Bad credentials", 404: "Not Found", 429: SECONDARY, 500: "Server Error"}
        words |= {502: "Server Error", 503: "Service Unavailable", 422: "Validation Failed"}
        words[403] = SECONDARY if limited else "Resource not accessible by personal access token"
        return Refused(fault.status, words.get(fault.status, "Server Error")).response()

    def seed(self, value: JsonObject) -> Any:
        """Makes or replaces a repository with its issues."""
        try:
            return self.holdings.seed(value)
        except (KeyError, TypeError, ValueError, GitFailed) as error:
            raise BadSeed(f"{type(error).__name__}: {error}") from error

    def state(self) -> JsonObject:
        """Repositories, issues, pull requests, comments and pushes."""
        state: JsonObject = self.holdings.plain()
        return state

    def control(self, request: Request) -> Response:
        """`GET /__diff?repo=&base=&head=` shows what a pull request would, besides the common orders."""
        if (request.method, request.path) == ("GET", "/__diff"):
            owner, _, name = request.query.get("repo", "").partition("/")
            repo = self.holdings.repo(owner, name)
            if repo is None:
                return Response.of_json(404, {"error": "no such repository"})
            try:
                text = diff(self.holdings.bare(repo), request.query["base"], request.query["head"])
            except (KeyError, GitFailed) as error:
                return Response.of_json(400, {"error": str(error)})
            return Response.of_text(200, text + "\n")
        return super().control(request)


def _basic_password(request: Request) -> str:
    """The password of HTTP basic; any user name is taken, as with a personal access token."""
    scheme, _, value = request.header("authorization").partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(value, validate=True).decode().partition(":")[2]
    except ValueError:
        return ""
