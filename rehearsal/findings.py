"""What the simulators received about one task."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from rehearsal import client


def about(task_id: str, thing: Any) -> bool:
    """Whether a message, comment or mail names the task anywhere."""
    return task_id in json.dumps(thing)


@dataclass
class Findings:
    """Branch, pull requests, comments, Slack messages and mails of a task."""

    task_id: str
    git_dir: str
    base: str
    branch: str
    diff: str
    issues: list[Any]
    pulls: list[Any]
    comments: list[Any]
    messages: list[Any]
    mails: list[Any]

    @classmethod
    def read(cls, urls: dict[str, str], task_id: str, repo: str) -> Findings:
        """Asks the simulators."""
        github = client.state(urls["GITHUB"])
        held = github["repos"][repo]
        branch = ""
        for push in github["pushes"]:
            if push["repo"] == repo and push["ref"].startswith(f"refs/heads/bgagent/{task_id}/"):
                branch = push["ref"].removeprefix("refs/heads/")
        posted = client.state(urls["SLACK"])["messages"]
        roots = [one["ts"] for one in posted if "thread_ts" not in one and about(task_id, one)]
        return cls(
            task_id=task_id,
            git_dir=held["git_dir"],
            base=held["default_branch"],
            branch=branch,
            diff=client.diff(urls["GITHUB"], repo, held["default_branch"], branch) if branch else "",
            issues=held["issues"],
            pulls=[pull for pull in held["pulls"] if pull["head"].startswith(f"bgagent/{task_id}/")],
            comments=[comment for comment in held["comments"] if about(task_id, comment)],
            messages=[one for one in posted if about(task_id, one) or one.get("thread_ts") in roots],
            mails=[one for one in client.state(urls["SMTP"])["mails"] if about(task_id, one)],
        )

    def problems(self) -> list[str]:
        """What a task that ended well must have left, and has not."""
        roots = [message for message in self.messages if "thread_ts" not in message]
        counts = {
            "one pull request": (len(self.pulls), len(self.pulls) == 1),
            "one comment": (len(self.comments), len(self.comments) == 1),
            "one Slack message with its thread": (len(roots), len(roots) == 1),
            "an e-mail": (len(self.mails), len(self.mails) >= 1),
        }
        problems = [f"expected {what}, found {count}" for what, (count, good) in counts.items() if not good]
        if not self.diff.strip():
            problems.append("nothing was pushed to the task's branch")
        if any(pull["draft"] for pull in self.pulls):
            problems.append("the pull request is a draft")
        if any(
            "thread_ts" in message and message["thread_ts"] not in [r["ts"] for r in roots]
            for message in self.messages
        ):
            problems.append("a Slack reply is not in the task's thread")
        return problems
