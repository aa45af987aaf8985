"""The REST routes. Each handler gets the repository it is about and raises `Refused` where GitHub refuses."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable

from rehearsal.disk import now_iso
from rehearsal.github import shapes
from rehearsal.github.checks import apply_change, check_text, fields
from rehearsal.github.gitdir import branch_head
from rehearsal.github.pulls import Pulls
from rehearsal.github.shapes import Refused, base_url, missing
from rehearsal.github.state import Holdings
from rehearsal.wire import JsonObject, Request, Response

CONDITIONAL = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "if-range")

Handler = Callable[[Request, JsonObject, str], Response]


class Rest:
    """Routes below `/repos`, over one set of holdings."""

    def __init__(self, holdings: Holdings) -> None:
        self.holdings = holdings
        pulls = Pulls(holdings)
        number = r"(\d+)"
        self.routes: list[tuple[str, str, Handler]] = [
            ("GET", "", self.get_repo),
            ("GET", f"/issues/{number}", self.get_issue),
            ("PATCH", f"/issues/{number}", self.patch_issue),
            ("GET", f"/issues/{number}/comments", self.list_comments),
            ("POST", f"/issues/{number}/comments", self.post_comment),
            ("GET", f"/issues/comments/{number}", self.get_comment),
            ("PATCH", f"/issues/comments/{number}", self.patch_comment),
            ("DELETE", f"/issues/comments/{number}", self.delete_comment),
            ("GET", "/git/ref/heads/(.+)", self.get_ref),
            ("GET", "/pulls", pulls.list),
            ("POST", "/pulls", pulls.create),
            ("GET", f"/pulls/{number}", pulls.get),
            ("PATCH", f"/pulls/{number}", pulls.patch),
        ]

    def handle(self, request: Request) -> Response:
        """Answers a request below `/repos/{owner}/{name}`."""
        if request.method not in ("GET", "HEAD") and any(request.header(name) for name in CONDITIONAL):
            raise Refused(
                400,
                "Conditional request headers are not allowed in unsafe requests "
                "unless supported by the endpoint",
            )
        match = re.fullmatch(r"/repos/([^/]+)/([^/]+)(/.*)?", request.path)
        repo = self.holdings.repo(match[1], match[2]) if match else None
        if match is None or repo is None:
            raise Refused(404, "Not Found")
        method = "GET" if request.method == "HEAD" else request.method
        for wanted, pattern, handler in self.routes:
            found = re.fullmatch(pattern, match[3] or "")
            if found and wanted == method:
                if method != "GET" and repo["archived"]:
                    raise Refused(403, "Repository was archived so is read-only.")
                with self.holdings.lock:
                    return self._conditional(
                        request, handler(request, repo, found[1] if found.groups() else "")
                    )
        raise Refused(404, "Not Found")

    @staticmethod
    def _conditional(request: Request, response: Response) -> Response:
        """Adds an ETag to what was read, and answers 304 where the client has it."""
        if request.method != "GET" or response.status != 200 or not isinstance(response.body, bytes):
            return response
        tag = f'W/"{hashlib.sha256(response.body).hexdigest()}"'
        response.headers.append(("ETag", tag))
        if tag in request.header("if-none-match"):
            return Response(304, b"", [("ETag", tag)])
        return response

    def get_repo(self, request: Request, repo: JsonObject, _: str) -> Response:
        return Response.of_json(200, shapes.repository(repo, base_url(request)))

    def get_ref(self, request: Request, repo: JsonObject, branch: str) -> Response:
        sha = branch_head(self.holdings.bare(repo), branch)
        if sha is None:
            raise Refused(404, "Not Found")
        url = f"{base_url(request)}/repos/{repo['full_name']}/git"
        target = {"sha": sha, "type": "commit", "url": f"{url}/commits/{sha}"}
        return Response.of_json(
            200, {"ref": f"refs/heads/{branch}", "url": f"{url}/refs/heads/{branch}", "object": target}
        )

    def _issue(self, repo: JsonObject, number: str) -> JsonObject:
        found: JsonObject | None = repo["issues"].get(str(int(number)))
        if found is None:
            raise Refused(404, "Not Found")
        return found

    def _issue_shape(self, request: Request, repo: JsonObject, issue: JsonObject) -> JsonObject:
        count = len(self.holdings.comments_of(repo, issue["number"]))
        return shapes.issue(repo, issue, count, base_url(request))

    def get_issue(self, request: Request, repo: JsonObject, number: str) -> Response:
        return Response.of_json(200, self._issue_shape(request, repo, self._issue(repo, number)))

    def patch_issue(self, request: Request, repo: JsonObject, number: str) -> Response:
        issue, change = self._issue(repo, number), fields(request)
        if not repo["push"] and issue["user"] != self.holdings.login:
            raise Refused(403, "Must have admin rights to Repository.")
        apply_change(issue, change, "Issue")
        self.holdings.save()
        return Response.of_json(200, self._issue_shape(request, repo, issue))

    def list_comments(self, request: Request, repo: JsonObject, number: str) -> Response:
        issue = self._issue(repo, number)
        held, links = shapes.page(request, self.holdings.comments_of(repo, issue["number"]))
        base = base_url(request)
        return Response.of_json(200, [shapes.comment(repo, one, base) for one in held], links)

    def post_comment(self, request: Request, repo: JsonObject, number: str) -> Response:
        issue, posted = self._issue(repo, number), fields(request)
        if "body" not in posted:
            raise missing("body")
        text = check_text("IssueComment", posted["body"], required=True)
        assert text is not None
        if issue["locked"] and not repo["push"]:
            raise Refused(403, "Unable to create comment because issue is locked.")
        comment = self.holdings.add_comment(repo, issue["number"], text)
        issue["updated_at"] = now_iso()
        self.holdings.save()
        shape = shapes.comment(repo, comment, base_url(request))
        return Response.of_json(201, shape, [("Location", shape["url"])])

    def _comment(self, repo: JsonObject, number: str) -> JsonObject:
        found: JsonObject | None = repo["comments"].get(str(int(number)))
        if found is None:
            raise Refused(404, "Not Found")
        return found

    def get_comment(self, request: Request, repo: JsonObject, number: str) -> Response:
        return Response.of_json(200, shapes.comment(repo, self._comment(repo, number), base_url(request)))

    def patch_comment(self, request: Request, repo: JsonObject, number: str) -> Response:
        comment, posted = self._comment(repo, number), fields(request)
        if "body" not in posted:
            raise missing("body")
        text = check_text("IssueComment", posted["body"], required=True)
        self._own(repo, comment)
        comment |= {"body": text, "updated_at": now_iso()}
        self.holdings.save()
        return Response.of_json(200, shapes.comment(repo, comment, base_url(request)))

    def delete_comment(self, _request: Request, repo: JsonObject, number: str) -> Response:
        comment = self._comment(repo, number)
        self._own(repo, comment)
        del repo["comments"][str(comment["id"])]
        self.holdings.save()
        return Response(204)

    def _own(self, repo: JsonObject, comment: JsonObject) -> None:
        """Someone else's comment is changed only by who may write to the repository."""
        if comment["user"] != self.holdings.login and not repo["push"]:
            raise Refused(403, "Must have admin rights to Repository.")
