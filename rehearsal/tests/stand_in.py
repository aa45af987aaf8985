"""Stands in for `bgagent` and the platform behind it: leaves at once what a task leaves on the outside.

What STAND_IN_OMITS names is left out.
"""

from __future__ import annotations

import json
import os
import smtplib
import sys
import tempfile
from pathlib import Path
from typing import Any

from rehearsal.github.gitdir import git
from rehearsal.seed import SAMPLES
from rehearsal.tests.support import ROOT, Client

TASKS = {"acme/pricing": "01K9ZZZZZZZZZZZZZZZZZZZZZ1", "acme/wordcount": "01K9ZZZZZZZZZZZZZZZZZZZZZ2"}


def fix(work: Path, name: str) -> None:
    """Makes the changes that the script of a sample makes."""
    script: dict[str, Any] = json.loads((ROOT / "scripts" / f"{name}.json").read_text())
    steps = [one for step in script["steps"] for one in step.get("any", [step])]
    for tool in [tool for step in steps for tool in step.get("tools", [])]:
        given = tool["input"]
        path = work / given.get("file_path", "").removeprefix("{{root}}/")
        if tool["name"] == "Edit":
            path.write_text(path.read_text().replace(given["old_string"], given["new_string"]))
        elif tool["name"] == "Write":
            path.write_text(given["content"])


def submit(repo: str, omitted: str) -> None:
    """Leaves branch, pull request, comment, message and mail."""
    task, name = TASKS[repo], repo.split("/")[1]
    branch = f"bgagent/{task}/fix"
    github = Client(os.environ["BGAGENT_REHEARSAL_GITHUB_URL"], Authorization="token gh-token")
    with tempfile.TemporaryDirectory() as folder:
        work = Path(folder) / "work"
        remote = github.url.replace("//", "//any:gh-token@") + f"/git/{repo}.git"
        git(SAMPLES, "clone", "-q", remote, str(work))
        git(work, "checkout", "-q", "-b", branch)
        if omitted != "fix":
            fix(work, name)
        (work / "NOTES").write_text("done\n")
        git(work, "add", "-A")
        git(work, "commit", "-q", "-m", f"Fix\n\nTask-Id: {task}")
        git(work, "push", "-q", "origin", branch)
    if omitted != "pull request":
        github("POST", f"/repos/{repo}/pulls", {"title": "Fix", "body": task, "head": branch, "base": "main"})
    number = 7 if repo == "acme/wordcount" else 1
    if omitted != "comment":
        github("POST", f"/repos/{repo}/issues/{number}/comments", {"body": f"Task {task} ended"})
    slack = Client(os.environ["BGAGENT_REHEARSAL_SLACK_URL"], Authorization="Bearer xoxb-token")
    for _ in range(2 if omitted == "order" else 1):
        slack("POST", "/chat.postMessage", {"channel": "C0BGAGENT", "text": f"Task {task} ended"})
    if omitted != "mail":
        with smtplib.SMTP("127.0.0.1", int(os.environ["STAND_IN_SMTP_PORT"])) as client:
            client.login("user", "secret")
            letter = f"Subject: Ended\r\nMessage-ID: <{task}@bgagent>\r\n\r\nTask {task} ended.\r\n"
            client.sendmail("a@b", ["c@d"], letter)
    print(f"task {task}\nCOMPLETED")


def main(words: list[str]) -> int:
    """The few verbs that the demonstration uses."""
    omitted = os.environ.get("STAND_IN_OMITS", "")
    if words[:2] == ["repo", "show"]:
        return 1
    if words[:1] == ["submit"]:
        submit(words[words.index("--repo") + 1], omitted)
    return 1 if omitted == "success" else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
