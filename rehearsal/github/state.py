"""What the simulated GitHub holds: repositories with issues, pull requests and comments."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rehearsal.disk import Document, now_iso
from rehearsal.github.gitdir import branch_head, make_bare
from rehearsal.simulator import BadSeed
from rehearsal.wire import JsonObject

REPO_SETTINGS: JsonObject = {
    "default_branch": "main",
    "private": True,
    "archived": False,
    "push": True,
    "drafts": True,
    "protected_branches": [],
}


class Holdings:
    """The objects, in one document; every method that changes something saves it before it returns."""

    def __init__(self, data: Path, login: str) -> None:
        self.data = data
        self.login = login
        self.document = Document(data / "github.state.json", lambda: {"next_id": 1000, "repos": {}})
        self.lock = self.document.lock

    @property
    def repos(self) -> dict[str, JsonObject]:
        """All repositories by their name in lower case."""
        repos: dict[str, JsonObject] = self.document.value["repos"]
        return repos

    def repo(self, owner: str, name: str) -> JsonObject | None:
        """A repository; names are not case-sensitive."""
        return self.repos.get(f"{owner}/{name}".lower())

    def bare(self, repo: JsonObject) -> Path:
        """Where the git repository lies."""
        return self.data / "repos" / f"{repo['full_name']}.git"

    def save(self) -> None:
        """Writes everything; the caller holds the lock."""
        self.document.save()

    def new_id(self) -> int:
        """The next id over all objects; the caller saves."""
        self.document.value["next_id"] += 1
        return int(self.document.value["next_id"])

    def seed(self, value: JsonObject) -> JsonObject:
        """Makes or replaces a repository; raises BadSeed. Without files only settings and issues change."""
        allowed = {"repo", "bundle_or_dir", "issues", *REPO_SETTINGS}
        if unknown := set(value) - allowed:
            raise BadSeed(f"unknown fields: {', '.join(sorted(unknown))}")
        full_name = value.get("repo", "")
        if not isinstance(full_name, str) or full_name.count("/") != 1:
            raise BadSeed("repo must be owner/name")
        with self.lock:
            repo = self.repos.get(full_name.lower())
            source = value.get("bundle_or_dir")
            if repo is None and source is None:
                raise BadSeed("a new repository needs bundle_or_dir")
            if repo is None or source is not None:
                repo = {"id": self.new_id(), "full_name": full_name, **REPO_SETTINGS}
                repo |= {"next_number": 1, "issues": {}, "pulls": {}, "comments": {}, "created_at": now_iso()}
            repo |= {name: value[name] for name in REPO_SETTINGS if name in value}
            if source is not None:
                path = Path(source)
                if not path.exists():
                    raise BadSeed(f"no such file or directory: {path}")
                make_bare(path, self.bare(repo), repo["default_branch"], repo["protected_branches"])
            for issue in value.get("issues", []):
                self._seed_issue(repo, issue)
            self.repos[full_name.lower()] = repo
            self.save()
            head = branch_head(self.bare(repo), repo["default_branch"])
            return {"repo": full_name, "default_branch": repo["default_branch"], "head": head}

    def _seed_issue(self, repo: JsonObject, value: JsonObject) -> None:
        number = int(value["number"])
        issue = self.add_issue(repo, value["title"], value.get("body"), number, value.get("user", "acme"))
        issue["state"] = value.get("state", "open")
        issue["locked"] = value.get("locked", False)
        for comment in value.get("comments", []):
            said = {"body": comment} if isinstance(comment, str) else comment
            self.add_comment(repo, number, said["body"], said.get("user", "acme"))

    def add_issue(
        self,
        repo: JsonObject,
        title: str,
        body: str | None,
        number: int | None = None,
        user: str | None = None,
    ) -> JsonObject:
        """Adds an issue (a pull request is one too); the caller saves."""
        number = number if number is not None else int(repo["next_number"])
        repo["next_number"] = max(int(repo["next_number"]), number + 1)
        for key, old in list(repo["comments"].items()):
            if old["issue"] == number:
                del repo["comments"][key]
        issue = {
            "id": self.new_id(),
            "number": number,
            "title": title,
            "body": body,
            "state": "open",
            "locked": False,
            "user": user or self.login,
            "created_at": now_iso(),
            "updated_at": now_iso(),
            "closed_at": None,
        }
        repo["issues"][str(number)] = issue
        return issue

    def add_comment(self, repo: JsonObject, number: int, body: str, user: str | None = None) -> JsonObject:
        """Adds a comment to an issue or a pull request; the caller saves."""
        comment = {
            "id": self.new_id(),
            "issue": number,
            "body": body,
            "user": user or self.login,
            "created_at": now_iso(),
            "updated_at": now_iso(),
        }
        repo["comments"][str(comment["id"])] = comment
        return comment

    def comments_of(self, repo: JsonObject, number: int) -> list[JsonObject]:
        """An issue's comments, oldest first."""
        return [comment for comment in repo["comments"].values() if comment["issue"] == number]

    def plain(self) -> Any:
        """Everything, for `GET /__state`, with the branches of each repository."""
        with self.lock:
            return {
                "login": self.login,
                "repos": {
                    repo["full_name"]: {
                        **{key: repo[key] for key in ("default_branch", "push", "archived")},
                        "git_dir": str(self.bare(repo)),
                        "issues": list(repo["issues"].values()),
                        "pulls": list(repo["pulls"].values()),
                        "comments": list(repo["comments"].values()),
                    }
                    for repo in self.repos.values()
                },
                "pushes": self.pushes(),
            }

    def pushes(self) -> list[JsonObject]:
        """Every ref that a push moved, in order."""
        path = self.data / "pushes.log"
        lines = path.read_text().splitlines() if path.exists() else []
        return [dict(zip(("repo", "old", "new", "ref"), line.split(" ", 3), strict=True)) for line in lines]
