"""What the simulated GitHub answers and refuses over REST."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from rehearsal.tests.support import Client, git

REPO = "/repos/acme/pricing"
ISSUE = "/repos/acme/wordcount/issues/7"


def push_branch(github: Client, folder: Path, name: str, repo: str = "acme/pricing") -> str:
    """Pushes a branch with one commit; returns the commit."""
    work = folder / name.replace("/", "-")
    url = github.url.replace("//", "//any:gh-token@") + f"/git/{repo}.git"
    git(folder, "clone", "-q", url, str(work))
    git(work, "checkout", "-q", "-b", name)
    (work / "NOTES").write_text(name)
    git(work, "add", "NOTES")
    git(work, "commit", "-q", "-m", "Note")
    git(work, "push", "-q", "origin", name)
    return git(work, "rev-parse", "HEAD").stdout.strip()


def open_pull(github: Client, **fields: Any) -> Any:
    return github("POST", f"{REPO}/pulls", {"title": "Fix", "base": "main", **fields})


@pytest.mark.parametrize(
    ("headers", "status", "message"),
    [
        ({"Authorization": None}, 401, "Requires authentication"),
        ({"Authorization": "Bearer wrong"}, 401, "Bad credentials"),
        ({"Authorization": "Basic Z2gtdG9rZW4="}, 401, "Bad credentials"),
        ({"Authorization": "token gh-token"}, 200, None),
    ],
)
def test_a_token_is_needed(
    github: Client, headers: dict[str, str | None], status: int, message: str | None
) -> None:
    answer = github("GET", REPO, headers=headers)
    assert answer.status == status
    assert answer.json.get("message") == message


def test_a_request_without_user_agent_is_forbidden(github: Client) -> None:
    assert github("GET", REPO, headers={"User-Agent": None}).status == 403


@pytest.mark.parametrize(
    "path",
    [
        "/repos/acme/none",
        f"{REPO}/issues/99",
        f"{REPO}/issues/comments/1",
        f"{REPO}/pulls/99",
        f"{REPO}/git/ref/heads/none",
        f"{REPO}/nothing",
        "/nothing",
        "/repos/acme/wordcount/issues/99/comments",
    ],
)
def test_what_is_not_there_is_404(github: Client, path: str) -> None:
    answer = github("GET", path)
    assert (answer.status, answer.json["message"]) == (404, "Not Found")


def test_a_repository_says_what_the_token_may_do(github: Client) -> None:
    assert github("GET", "/repos/ACME/Pricing").json["permissions"]["push"] is True
    github("POST", "/__seed", {"repo": "acme/pricing", "push": False})
    repo = github("GET", REPO).json
    assert (repo["permissions"]["push"], repo["default_branch"]) == (False, "main")
    assert github("GET", "/user").json["login"] == "bgagent-bot"


def test_an_issue_comes_with_its_comments(github: Client) -> None:
    issue = github("GET", ISSUE).json
    assert (issue["number"], issue["state"], issue["comments"]) == (7, "open", 3)
    assert "An empty file stays at 0 lines" in github("GET", f"{ISSUE}/comments").json[1]["body"]


def test_comments_come_in_pages_with_links(github: Client) -> None:
    for number in range(95):
        assert github("POST", f"{ISSUE}/comments", {"body": f"comment {number}"}).status == 201
    seen, path = [], f"{ISSUE}/comments?per_page=40"
    while path:
        answer = github("GET", path)
        seen += [comment["id"] for comment in answer.json]
        links = {name: url for url, name in re.findall(r'<([^>]+)>; rel="(\w+)"', answer.headers["link"])}
        path = links.get("next", "").removeprefix(github.url)
    assert len(seen) == len(set(seen)) == 98
    assert set(links) == {"prev", "first"}
    assert len(github("GET", f"{ISSUE}/comments").json) == 30
    assert len(github("GET", f"{ISSUE}/comments?per_page=1000").json) == 98
    assert github("GET", f"{ISSUE}/comments?page=9").json == []


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"{", 400, "Problems parsing JSON"),
        (b"[]", 400, "Body should be a JSON object"),
        ({}, 422, 'Invalid request.\n\n"body" wasn\'t supplied.'),
        ({"body": "  "}, 422, "Body cannot be blank"),
        ({"body": "x" * 65_537}, 422, "Body is too long (maximum is 65536 characters)"),
    ],
)
def test_a_bad_comment_is_refused(github: Client, body: Any, status: int, message: str) -> None:
    answer = github("POST", f"{ISSUE}/comments", body)
    reasons = [answer.json["message"], *(error["message"] for error in answer.json.get("errors", []))]
    assert answer.status == status
    assert message in reasons
    assert github("GET", ISSUE).json["comments"] == 3


def test_the_longest_comment_counts_characters_not_bytes(github: Client) -> None:
    assert github("POST", f"{ISSUE}/comments", {"body": "é" * 65_536}).status == 201


def test_a_comment_is_edited_in_place_and_never_under_a_condition(github: Client) -> None:
    made = github("POST", f"{ISSUE}/comments", {"body": "one"}).json
    path = f"/repos/acme/wordcount/issues/comments/{made['id']}"
    etag = github("GET", path).headers["etag"]
    for header in ("If-Match", "If-None-Match", "If-Unmodified-Since"):
        refused = github("PATCH", path, {"body": "two"}, {header: etag})
        assert (refused.status, "Conditional request headers" in refused.json["message"]) == (400, True)
    assert github("PATCH", path, {"body": "two"}).json["body"] == "two"
    assert github("GET", path, headers={"If-None-Match": etag}).status == 200
    assert github("GET", path, headers={"If-None-Match": github("GET", path).headers["etag"]}).status == 304
    assert github("DELETE", path).status == 204
    assert github("PATCH", path, {"body": "three"}).status == 404


def test_a_locked_issue_takes_no_comment_of_a_reader(github: Client) -> None:
    issue = {"number": 8, "title": "Locked", "body": None, "locked": True, "state": "closed"}
    github("POST", "/__seed", {"repo": "acme/wordcount", "issues": [issue], "push": False})
    refused = github("POST", "/repos/acme/wordcount/issues/8/comments", {"body": "x"})
    assert (refused.status, "locked" in refused.json["message"]) == (403, True)
    assert github("GET", "/repos/acme/wordcount/issues/8").json["state"] == "closed"


def test_a_pull_request_is_opened_once(github: Client, tmp_path: Path) -> None:
    sha = push_branch(github, tmp_path, "bgagent/1/fix")
    made = open_pull(github, head="bgagent/1/fix", body="Resolves #7", draft=True)
    assert made.status == 201
    assert (made.json["head"]["sha"], made.json["draft"], made.json["number"]) == (sha, True, 1)
    again = open_pull(github, head="acme:bgagent/1/fix")
    text = "A pull request already exists for acme:bgagent/1/fix."
    assert (again.status, again.json["errors"][0]["message"]) == (422, text)
    found = github("GET", f"{REPO}/pulls?head=acme:bgagent/1/fix&state=all").json
    assert [pull["number"] for pull in found] == [1]
    assert github("GET", f"{REPO}/pulls?head=other:bgagent/1/fix&state=all").json == []
    one = github("GET", f"{REPO}/pulls/1").json
    assert (one["state"], one["commits"], one["mergeable"]) == ("open", 1, True)
    issue = github("GET", f"{REPO}/issues/1").json
    assert "pull_request" in issue
    assert github("POST", f"{REPO}/issues/1/comments", {"body": "done"}).status == 201


def test_a_closed_pull_request_no_longer_blocks_its_branch(github: Client, tmp_path: Path) -> None:
    push_branch(github, tmp_path, "fix")
    assert open_pull(github, head="fix").json["number"] == 1
    assert github("PATCH", f"{REPO}/pulls/1", {"state": "closed"}).json["state"] == "closed"
    assert github("GET", f"{REPO}/pulls?head=acme:fix").json == []
    assert [pull["number"] for pull in github("GET", f"{REPO}/pulls?head=acme:fix&state=all").json] == [1]
    assert open_pull(github, head="fix").json["number"] == 2


@pytest.mark.parametrize(
    ("fields", "errors"),
    [
        ({"head": "none"}, [{"resource": "PullRequest", "field": "head", "code": "invalid"}]),
        (
            {"head": "main"},
            [{"resource": "PullRequest", "code": "custom", "message": "No commits between main and main"}],
        ),
        ({"head": "main", "base": "none"}, [{"resource": "PullRequest", "field": "base", "code": "invalid"}]),
        (
            {"head": "main", "title": " "},
            [{"resource": "PullRequest", "field": "title", "code": "missing_field"}],
        ),
        ({"title": "Fix"}, None),
    ],
)
def test_a_bad_pull_request_is_refused(github: Client, fields: dict[str, Any], errors: Any) -> None:
    answer = open_pull(github, **fields)
    assert (answer.status, answer.json.get("errors")) == (422, errors)


def test_who_may_not_push_opens_no_pull_request(github: Client, tmp_path: Path) -> None:
    push_branch(github, tmp_path, "fix")
    github("POST", "/__seed", {"repo": "acme/pricing", "push": False})
    assert open_pull(github, head="fix").status == 403


def test_drafts_may_be_unavailable(github: Client, tmp_path: Path) -> None:
    push_branch(github, tmp_path, "fix")
    github("POST", "/__seed", {"repo": "acme/pricing", "drafts": False})
    refused = open_pull(github, head="fix", draft=True)
    assert (refused.status, "Draft" in refused.json["message"]) == (422, True)
    assert open_pull(github, head="fix").status == 201


def test_a_ref_is_read_by_its_whole_name(github: Client, tmp_path: Path) -> None:
    sha = push_branch(github, tmp_path, "bgagent/1/fix")
    assert github("GET", f"{REPO}/git/ref/heads/bgagent/1/fix").json["object"]["sha"] == sha
    assert github("GET", f"{REPO}/git/ref/heads/bgagent/1").status == 404


def test_the_secondary_rate_limit_on_demand(github: Client) -> None:
    github.fault("status", match={"method": "POST"}, status=403, headers={"Retry-After": "2"})
    limited = github("POST", f"{ISSUE}/comments", {"body": "x"})
    assert (limited.status, limited.headers["retry-after"]) == (403, "2")
    assert "secondary rate limit" in limited.json["message"]
    assert github("POST", f"{ISSUE}/comments", {"body": "x"}).status == 201


def test_a_seed_that_cannot_be_used_is_refused(github: Client) -> None:
    for seed in (
        {},
        {"repo": "a/b"},
        {"repo": "a/b", "bundle_or_dir": "/none"},
        {"repo": "a/b", "strange": 1},
    ):
        assert github("POST", "/__seed", seed).status == 400
