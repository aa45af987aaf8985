"""Bare repositories on disk, made and read with the git command."""

from __future__ import annotations

import os
import subprocess
import tempfile
from pathlib import Path

GIT_ENVIRONMENT = {
    "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
    "HOME": "/nonexistent",
    "LC_ALL": "C",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_TERMINAL_PROMPT": "0",
    # Fixed, so that the same files always make the same first commit.
    "GIT_AUTHOR_NAME": "acme",
    "GIT_AUTHOR_EMAIL": "acme@localhost",
    "GIT_COMMITTER_NAME": "acme",
    "GIT_COMMITTER_EMAIL": "acme@localhost",
    "GIT_AUTHOR_DATE": "2026-01-05T09:00:00+0000",
    "GIT_COMMITTER_DATE": "2026-01-05T09:00:00+0000",
}

POST_RECEIVE = """#!/bin/sh
# Keeps a line for every ref that a push moved.
while read -r old new ref; do
    printf '%s %s %s %s\\n' "$REHEARSAL_REPO" "$old" "$new" "$ref" >> "$REHEARSAL_PUSHES"
done
"""

UPDATE = """#!/bin/sh
# Refuses a push to a protected branch, as the real service does.
name="${1#refs/heads/}"
if [ -f protected-branches ] && [ "$name" != "$1" ] && grep -Fqx -- "$name" protected-branches; then
    echo "error: GH006: Protected branch update failed for $1." >&2
    exit 1
fi
"""


class GitFailed(Exception):
    """A git command ended with an error; the message is what it printed."""


def git(directory: Path, *arguments: str) -> str:
    """Runs git in a directory and returns what it printed; raises GitFailed."""
    done = subprocess.run(
        ["git", *arguments], cwd=directory, env=GIT_ENVIRONMENT, capture_output=True, text=True, timeout=120
    )
    if done.returncode != 0:
        raise GitFailed(done.stderr.strip() or f"git {arguments[0]} ended with {done.returncode}")
    return done.stdout.strip()


def make_bare(source: Path, bare: Path, default_branch: str, protected: list[str]) -> None:
    """Makes a bare repository out of a bundle, a repository or a directory of plain files.

    An existing one is replaced only once the new one is whole.
    """
    bare.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=bare.parent) as scratch:
        fresh = Path(scratch) / "fresh.git"
        if source.is_file() or (source / ".git").exists() or (source / "HEAD").exists():
            git(Path(scratch), "clone", "-q", "--bare", str(source.resolve()), str(fresh))
        else:
            _commit_files(source, fresh, default_branch)
        git(fresh, "symbolic-ref", "HEAD", f"refs/heads/{default_branch}")
        git(fresh, "config", "http.receivepack", "true")
        git(fresh, "config", "receive.fsckObjects", "true")
        git(fresh, "config", "uploadpack.allowFilter", "true")
        git(fresh, "config", "uploadpack.allowAnySHA1InWant", "true")
        for name, text in (("post-receive", POST_RECEIVE), ("update", UPDATE)):
            hook = fresh / "hooks" / name
            hook.parent.mkdir(exist_ok=True)
            hook.write_text(text)
            hook.chmod(0o755)
        if protected:
            (fresh / "protected-branches").write_text("".join(f"{name}\n" for name in protected))
        if bare.exists():
            bare.rename(Path(scratch) / "old.git")
        fresh.rename(bare)


def _commit_files(source: Path, bare: Path, branch: str) -> None:
    bare.mkdir()
    git(bare, "init", "-q", "--bare", "-b", branch)
    work = ["--git-dir", str(bare), "--work-tree", str(source.resolve())]
    git(source, *work, "add", "-A", ".", ":(exclude,glob)**/__pycache__/**")
    git(source, *work, "commit", "-q", "-m", "Import")
    (bare / "index").unlink(missing_ok=True)


def branch_head(bare: Path, branch: str) -> str | None:
    """The commit a branch points to, or nothing."""
    try:
        return git(
            bare, "rev-parse", "--verify", "--quiet", "--end-of-options", f"refs/heads/{branch}^{{commit}}"
        )
    except GitFailed:
        return None


def commits_between(bare: Path, base: str, head: str) -> int:
    """How many commits `head` has that `base` has not."""
    return int(git(bare, "rev-list", "--count", f"{base}..{head}"))


def diff(bare: Path, base: str, head: str) -> str:
    """What `head` changed since it left `base`, as a pull request shows it."""
    return git(bare, "diff", "--no-color", f"{base}...{head}")
