"""Clone, fetch and push over smart HTTP, by the real git client."""

from __future__ import annotations

import gzip
import secrets
from pathlib import Path

import pytest

from rehearsal.tests.support import Client, git


def remote(github: Client, credential: str = "any:gh-token", repo: str = "acme/pricing") -> str:
    """The address of a repository, with a user and a password."""
    return github.url.replace("//", f"//{credential}@" if credential else "//") + f"/git/{repo}.git"


@pytest.fixture
def work(github: Client, tmp_path: Path) -> Path:
    """A clone of the pricing sample."""
    git(tmp_path, "clone", "-q", remote(github), "work")
    return tmp_path / "work"


def commit(work: Path, name: str, content: bytes = b"text\n") -> None:
    """Adds a file."""
    (work / name).write_bytes(content)
    git(work, "add", name)
    git(work, "commit", "-q", "-m", f"Add {name}")


@pytest.mark.parametrize("version", ["0", "1", "2"])
def test_clone_in_every_protocol_version(github: Client, tmp_path: Path, version: str) -> None:
    git(tmp_path, "-c", f"protocol.version={version}", "clone", "-q", remote(github), "clone")
    assert (tmp_path / "clone" / "pricing" / "money.py").exists()
    if version == "2":
        assert any(entry["headers"].get("git-protocol") == "version=2" for entry in github.log())


def test_a_push_moves_the_branch_and_is_kept(github: Client, work: Path) -> None:
    commit(work, "NEWS")
    git(work, "push", "-q", "origin", "HEAD:refs/heads/topic")
    head = git(work, "rev-parse", "HEAD").stdout.strip()
    assert github.state()["pushes"] == [
        {"repo": "acme/pricing", "old": "0" * 40, "new": head, "ref": "refs/heads/topic"}
    ]
    assert github("GET", "/repos/acme/pricing/git/ref/heads/topic").json["object"]["sha"] == head


def test_a_large_push_comes_in_chunks(github: Client, work: Path) -> None:
    commit(work, "blob", secrets.token_bytes(3_000_000))
    git(work, "-c", "http.postBuffer=65536", "push", "-q", "origin", "HEAD:refs/heads/large")
    pushes = [entry for entry in github.log() if entry["path"].endswith("/git-receive-pack")]
    assert any(entry["headers"].get("transfer-encoding") == "chunked" for entry in pushes)
    assert github("GET", "/repos/acme/pricing/git/ref/heads/large").status == 200


def test_a_compressed_body_is_unpacked(github: Client, work: Path) -> None:
    head = git(work, "rev-parse", "HEAD").stdout.strip()
    lines = [f"want {head} no-progress\n", None, "done\n"]
    body = b"".join(b"0000" if line is None else f"{len(line) + 4:04x}{line}".encode() for line in lines)
    answer = github(
        "POST",
        "/git/acme/pricing.git/git-upload-pack",
        gzip.compress(body),
        {
            "Authorization": "Basic YW55OmdoLXRva2Vu",
            "Content-Type": "application/x-git-upload-pack-request",
            "Content-Encoding": "gzip",
        },
    )
    assert answer.status == 200
    assert b"PACK" in answer.body


@pytest.mark.parametrize("credential", ["", "any:wrong"])
def test_without_the_token_nothing_is_cloned(github: Client, tmp_path: Path, credential: str) -> None:
    refused = git(tmp_path, "clone", "-q", remote(github, credential), "clone", check=False)
    assert refused.returncode != 0
    answer = github(
        "GET", "/git/acme/pricing.git/info/refs?service=git-upload-pack", headers={"Authorization": None}
    )
    assert (answer.status, answer.headers["www-authenticate"]) == (401, 'Basic realm="GitHub"')


def test_an_unknown_repository_is_not_found(github: Client, tmp_path: Path) -> None:
    refused = git(tmp_path, "clone", "-q", remote(github, repo="acme/none"), "clone", check=False)
    assert "not found" in refused.stderr


def test_the_old_protocol_without_a_service_is_refused(github: Client) -> None:
    headers: dict[str, str | None] = {"Authorization": "Basic YW55OmdoLXRva2Vu"}
    assert github("GET", "/git/acme/pricing.git/info/refs", headers=headers).status == 403
    assert github("GET", "/git/acme/pricing.git/HEAD", headers=headers).status == 404


def test_who_may_not_push_is_told_so(github: Client, work: Path) -> None:
    github("POST", "/__seed", {"repo": "acme/pricing", "push": False})
    commit(work, "NEWS")
    refused = git(work, "push", "origin", "HEAD:refs/heads/topic", check=False)
    assert "denied to bgagent-bot" in refused.stderr or "403" in refused.stderr
    assert git(work, "fetch", "-q").returncode == 0


def test_an_archived_repository_is_read_only(github: Client, work: Path) -> None:
    github("POST", "/__seed", {"repo": "acme/pricing", "archived": True})
    commit(work, "NEWS")
    assert git(work, "push", "origin", "HEAD:refs/heads/topic", check=False).returncode != 0


def test_a_protected_branch_refuses_a_push(github: Client, tmp_path: Path) -> None:
    sample = str(Path(__file__).parent.parent / "repositories" / "pricing")
    github("POST", "/__seed", {"repo": "acme/kept", "bundle_or_dir": sample, "protected_branches": ["main"]})
    git(tmp_path, "clone", "-q", remote(github, repo="acme/kept"), "work")
    commit(tmp_path / "work", "NEWS")
    refused = git(tmp_path / "work", "push", "origin", "HEAD:main", check=False)
    assert "GH006" in refused.stderr
    assert git(tmp_path / "work", "push", "-q", "origin", "HEAD:topic").returncode == 0


def test_a_bundle_is_seeded_with_its_history(github: Client, work: Path, tmp_path: Path) -> None:
    commit(work, "NEWS")
    bundle = tmp_path / "history.bundle"
    git(work, "bundle", "create", "-q", str(bundle), "main")
    made = github("POST", "/__seed", {"repo": "acme/bundled", "bundle_or_dir": str(bundle)})
    assert made.json["head"] == git(work, "rev-parse", "HEAD").stdout.strip()


def test_the_same_files_make_the_same_first_commit(github: Client) -> None:
    sample = str(Path(__file__).parent.parent / "repositories" / "pricing")
    heads = {
        github("POST", "/__seed", {"repo": f"a/{n}", "bundle_or_dir": sample}).json["head"] for n in "xy"
    }
    assert len(heads) == 1


def test_a_push_that_commits_late_has_moved_the_branch(github: Client, work: Path) -> None:
    commit(work, "NEWS")
    github.fault("late_commit", match={"method": "POST", "path_regex": "git-receive-pack"})
    assert git(work, "push", "-q", "origin", "HEAD:refs/heads/topic", check=False).returncode != 0
    assert github("GET", "/repos/acme/pricing/git/ref/heads/topic").status == 200
