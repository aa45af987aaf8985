"""Pull requests."""

from __future__ import annotations

from rehearsal.github import shapes
from rehearsal.github.checks import apply_change, check_text, check_title, fields
from rehearsal.github.gitdir import branch_head, commits_between
from rehearsal.github.shapes import Refused, base_url, invalid, missing
from rehearsal.github.state import Holdings
from rehearsal.wire import JsonObject, Request, Response


class Pulls:
    """The routes below `/repos/{owner}/{name}/pulls`."""

    def __init__(self, holdings: Holdings) -> None:
        self.holdings = holdings

    def _follow(self, repo: JsonObject, pull: JsonObject) -> JsonObject:
        """An open pull request follows its branches; a closed one stays where it was."""
        if repo["issues"][str(pull["number"])]["state"] == "open":
            bare = self.holdings.bare(repo)
            pull["head_sha"] = branch_head(bare, pull["head"]) or pull["head_sha"]
            pull["base_sha"] = branch_head(bare, pull["base"]) or pull["base_sha"]
        return pull

    def _shape(self, request: Request, repo: JsonObject, pull: JsonObject) -> JsonObject:
        return shapes.pull(repo, self._follow(repo, pull), base_url(request))

    def _find(self, repo: JsonObject, number: str) -> JsonObject:
        found: JsonObject | None = repo["pulls"].get(str(int(number)))
        if found is None:
            raise Refused(404, "Not Found")
        return found

    def list(self, request: Request, repo: JsonObject, _: str) -> Response:
        """Newest first. A `head` that is not `owner:branch` filters nothing, as on the real service."""
        state = request.query.get("state", "open")
        if state not in ("open", "closed", "all"):
            raise invalid("PullRequest", "state", "invalid")
        owner, colon, branch = request.query.get("head", "").partition(":")
        chosen = []
        for pull in reversed(list(repo["pulls"].values())):
            if state not in ("all", repo["issues"][str(pull["number"])]["state"]):
                continue
            if colon and (owner.lower() != repo["full_name"].split("/")[0].lower() or branch != pull["head"]):
                continue
            if request.query.get("base", pull["base"]) != pull["base"]:
                continue
            chosen.append(pull)
        held, links = shapes.page(request, chosen)
        return Response.of_json(200, [self._shape(request, repo, pull) for pull in held], links)

    def get(self, request: Request, repo: JsonObject, number: str) -> Response:
        """One pull request, with the number of its commits and comments."""
        pull = self._find(repo, number)
        shape = self._shape(request, repo, pull)
        shape["commits"] = commits_between(self.holdings.bare(repo), pull["base_sha"], pull["head_sha"])
        shape["comments"] = len(self.holdings.comments_of(repo, pull["number"]))
        return Response.of_json(200, shape)

    def create(self, request: Request, repo: JsonObject, _: str) -> Response:
        """Opens a pull request between two branches of the repository."""
        posted = fields(request)
        if absent := [name for name in ("head", "base") if not posted.get(name)]:
            raise missing(*absent)
        if not repo["push"]:
            raise Refused(403, "Resource not accessible by personal access token")
        title = check_title(posted.get("title"), "PullRequest")
        body = check_text("PullRequest", posted.get("body"), required=False)
        owner = repo["full_name"].split("/")[0]
        prefix, colon, rest_of_head = str(posted["head"]).partition(":")
        head = rest_of_head if colon else prefix
        bare, base = self.holdings.bare(repo), str(posted["base"])
        head_sha = branch_head(bare, head) if not colon or prefix.lower() == owner.lower() else None
        base_sha = branch_head(bare, base)
        errors = [name for name, sha in (("base", base_sha), ("head", head_sha)) if sha is None]
        if errors or head_sha is None or base_sha is None:
            entries = [{"resource": "PullRequest", "field": name, "code": "invalid"} for name in errors]
            raise Refused(422, "Validation Failed", entries)
        for pull in repo["pulls"].values():
            opened = repo["issues"][str(pull["number"])]["state"] == "open"
            if opened and (pull["head"], pull["base"]) == (head, base):
                text = f"A pull request already exists for {owner}:{head}."
                raise invalid("PullRequest", None, "custom", text)
        if commits_between(bare, base_sha, head_sha) == 0:
            raise invalid("PullRequest", None, "custom", f"No commits between {base} and {head}")
        if posted.get("draft") and not repo["drafts"]:
            raise Refused(422, "Draft pull requests are not supported in this repository.")
        issue = self.holdings.add_issue(repo, title, body)
        pull = {
            "id": self.holdings.new_id(),
            "number": issue["number"],
            "draft": bool(posted.get("draft", False)),
        }
        pull |= {"head": head, "base": base, "head_sha": head_sha, "base_sha": base_sha}
        repo["pulls"][str(issue["number"])] = pull
        self.holdings.save()
        shape = self._shape(request, repo, pull)
        return Response.of_json(201, shape, [("Location", shape["url"])])

    def patch(self, request: Request, repo: JsonObject, number: str) -> Response:
        """Changes title, body or state."""
        pull, change = self._find(repo, number), fields(request)
        self._follow(repo, pull)
        apply_change(repo["issues"][str(pull["number"])], change, "PullRequest")
        self.holdings.save()
        return Response.of_json(200, self._shape(request, repo, pull))
