"""`python -m rehearsal.checker --postgres URL --data DIR`: whether a run lost or doubled anything.

Reads the database, the bare repositories and what the simulators hold (running or not), and says every way in
which they contradict what the platform promises. Exit code: 0 when there is none, 1 otherwise.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

from rehearsal.findings import about
from rehearsal.github.gitdir import GitFailed, branch_head, git
from rehearsal.github.state import Holdings
from rehearsal.ledger import Ledger, Row

FINAL_EVENTS = {
    "COMPLETED": {"task_completed"},
    "FAILED": {"task_failed", "task_stranded"},
    "CANCELLED": {"task_cancelled"},
    "TIMED_OUT": {"task_timed_out"},
}
ENDS = set().union(*FINAL_EVENTS.values())
AFTER_THE_END = {"outcome_changed"}


@dataclass
class Outside:
    """What the simulators hold."""

    repos: dict[str, Any]
    pushes: list[Any]
    messages: list[Any]
    mails: list[Any]
    expectation_failures: list[Any]

    @classmethod
    def read(cls, github: Path, slack: Path, smtp: Path, model: Path) -> Outside:
        """Reads their directories; what never ran holds nothing."""
        held = Holdings(github, "").plain()

        def document(path: Path) -> Any:
            return json.loads(path.read_text()) if path.exists() else {}

        return cls(
            repos=held["repos"],
            pushes=held["pushes"],
            messages=document(slack / "slack.state.json").get("messages", []),
            mails=[
                {**mail, "content": (smtp / "mail" / f"{mail['n']}.eml").read_text(errors="replace")}
                for mail in document(smtp / "smtp.state.json").get("mails", [])
            ],
            expectation_failures=document(model / "model.state.json").get("expectation_failures", []),
        )


class Checker:
    """All checks over one ledger and one outside."""

    def __init__(self, ledger: Ledger, outside: Outside) -> None:
        self.ledger = ledger
        self.outside = outside

    def problems(self) -> list[str]:
        """Every contradiction found."""
        found = [
            f"the model was shown something unexpected: {one}" for one in self.outside.expectation_failures
        ]
        found += self._idle()
        for task in self.ledger["tasks"]:
            checks = (
                self._events,
                self._pull_requests,
                self._branch,
                self._comments,
                self._slack,
                self._mail,
            )
            found += [f"task {task['task_id']}: {problem}" for check in checks for problem in check(task)]
        return found + list(self._strange_pushes())

    def _idle(self) -> Iterator[str]:
        """Nothing is held, waiting or under way once all tasks have ended."""
        for kind in ("user_slots", "repo_slots"):
            for row in self.ledger[kind]:
                if row["running"] != 0:
                    yield f"{kind} of {row['key']}: {row['running']} instead of 0"
        for table in ("outbox", "parked", "dead_letters", "timers"):
            for row in self.ledger[table]:
                yield f"{table} still holds {row}"
        for row in self.ledger["sessions"]:
            if row["state"] not in ("ended", "void"):
                yield f"session {row['task_id']}-{row['attempt']} is {row['state']}"
            if row["tokens"]:
                yield f"session {row['task_id']}-{row['attempt']} has {row['tokens']} tokens that live"

    def _events(self, task: Row) -> Iterator[str]:
        """Dense, in order, and exactly one end, which is the state's."""
        if task["status"] not in FINAL_EVENTS:
            yield f"is still {task['status']}"
        events = self.ledger.of(task["task_id"], "events")
        heads = {row["task_id"]: row for row in self.ledger["heads"]}
        head = heads.get(task["task_id"], {"seq": 0, "command_seq": 0})
        for rows, last in ((events, "seq"), (self.ledger.of(task["task_id"], "commands"), "command_seq")):
            numbers = [row["seq"] for row in rows]
            if numbers != list(range(1, head[last] + 1)):
                yield f"{last} is not dense up to {head[last]}: {numbers}"
        ids = [event["event_id"] for event in events]
        if any(later <= earlier for earlier, later in pairwise(ids)):
            yield "event ids do not increase"
        kinds = [event["event_type"] for event in events]
        ends = [index for index, kind in enumerate(kinds) if kind in ENDS]
        if task["status"] in FINAL_EVENTS and len(ends) != 1:
            yield f"{len(ends)} final events: {[kinds[index] for index in ends]}"
        for index in ends:
            if kinds[index] not in FINAL_EVENTS.get(task["status"], set()):
                yield f"{kinds[index]} does not fit {task['status']}"
            if late := [kind for kind in kinds[index + 1 :] if kind not in AFTER_THE_END | ENDS]:
                yield f"events after the end: {late}"
        if kinds.count("pr_created") > 1:
            yield "pr_created was told more than once"

    def _repo(self, task: Row) -> Any:
        names = {name.lower(): repo for name, repo in self.outside.repos.items()}
        return names.get(
            task["repo"].lower(), {"issues": [], "pulls": [], "comments": [], "git_dir": "/nonexistent"}
        )

    def _pulls(self, task: Row) -> list[Any]:
        return [pull for pull in self._repo(task)["pulls"] if pull["head"] == task["branch_name"]]

    def _pull_requests(self, task: Row) -> Iterator[str]:
        """One where the outcome promises one, none elsewhere, and the one that the task names."""
        pulls = self._pulls(task)
        promised = task["status"] == "COMPLETED" and task["outcome"] == "pull_request"
        draft = task["outcome"] == "verification_failed" and task["head_sha"] is not None
        if len(pulls) != int(promised or draft):
            yield f"{len(pulls)} pull requests for {task['status']} ({task['outcome']})"
        for pull in pulls:
            if pull["draft"] != draft:
                yield f"pull request #{pull['number']} is {'a' if pull['draft'] else 'no'} draft"
            if task["pr_number"] != pull["number"]:
                yield f"names pull request {task['pr_number']}, there is #{pull['number']}"
        intents = [row for row in self.ledger.of(task["task_id"], "effects") if row["kind"] == "pull_request"]
        if len(intents) < len(pulls):
            yield "a pull request is not in the ledger"

    def _branch(self, task: Row) -> Iterator[str]:
        """The branch upstream is what the task says it is, and its commits carry the task's id."""
        bare = Path(self._repo(task)["git_dir"])
        if not bare.exists():
            return
        head = branch_head(bare, task["branch_name"])
        if task["head_sha"] is not None and head != task["head_sha"]:
            yield f"{task['branch_name']} is at {head}, not at {task['head_sha']}"
        if head is not None:
            base = task["base_branch"] or self._repo(task)["default_branch"]
            try:
                messages = git(bare, "log", "--format=%B%x00", f"{base}..{head}").split("\0")
            except GitFailed as error:
                yield str(error)
                return
            if any(text.strip() and f"Task-Id: {task['task_id']}" not in text for text in messages):
                yield "a commit has no Task-Id trailer"

    def _strange_pushes(self) -> Iterator[str]:
        """Only branches of tasks move upstream."""
        branches = {
            (task["repo"].lower(), f"refs/heads/{task['branch_name']}") for task in self.ledger["tasks"]
        }
        for push in self.outside.pushes:
            if (push["repo"].lower(), push["ref"]) not in branches:
                yield f"a push to {push['ref']} of {push['repo']}, which is no task's branch"

    def _effects(self, task: Row, channel: str) -> tuple[list[Row], list[str]]:
        """A channel's ledger of a task, and which of it has not ended."""
        effects = [row for row in self.ledger.of(task["task_id"], "effects") if row["channel"] == channel]
        open_ = [
            f"{row['event_type']} to {channel} is {row['state']}: {row['last_error']}" for row in effects
        ]
        return effects, [text for row, text in zip(effects, open_, strict=True) if row["state"] not in DONE]

    def _comments(self, task: Row) -> Iterator[str]:
        """One comment at most, on the issue or else on the pull request; one exactly where one was sent."""
        effects, unfinished = self._effects(task, "github")
        yield from unfinished
        comments = [
            comment for comment in self._repo(task)["comments"] if about(task["task_id"], comment["body"])
        ]
        yield from self._count("comments", len(comments), effects)
        where = task["issue_number"] or task["pr_number"]
        for comment in comments:
            if comment["issue"] != where:
                yield f"comment {comment['id']} is on #{comment['issue']}, not on #{where}"

    def _slack(self, task: Row) -> Iterator[str]:
        """One root message per channel, everything else in its thread, and nothing said twice."""
        effects, unfinished = self._effects(task, "slack")
        yield from unfinished
        messages = [message for message in self.outside.messages if about(task["task_id"], message)]
        for channel in sorted({message["channel"] for message in messages}):
            roots = [one for one in messages if one["channel"] == channel and "thread_ts" not in one]
            if len(roots) != 1:
                yield f"{len(roots)} Slack root messages in {channel}"
            for message in messages:
                if message["channel"] == channel and message.get("thread_ts", "") not in (
                    "",
                    *(r["ts"] for r in roots),
                ):
                    yield f"Slack message {message['ts']} is in another thread"
        if any(row["state"] == "sent" for row in effects) and not messages:
            yield "the ledger says that Slack was told, and it was not"
        texts = Counter((one["channel"], json.dumps(one.get("metadata")), one["text"]) for one in messages)
        for (_, _, text), count in texts.items():
            if count > 1:
                yield f"Slack was told {count} times: {text!r}"
        if messages and not effects:
            yield "Slack was told something that is not in the ledger"

    def _mail(self, task: Row) -> Iterator[str]:
        """A mail for every one sent. A second try may double a mail: mail cannot be looked up."""
        effects, unfinished = self._effects(task, "email")
        yield from unfinished
        mails = [mail for mail in self.outside.mails if about(task["task_id"], mail)]
        different = {mail["message_id"] for mail in mails}
        sent = [row for row in effects if row["state"] == "sent"]
        if len(different) < len(sent):
            yield f"{len(sent)} mails were sent, {len(different)} arrived"
        if len(different) > len(effects):
            yield f"{len(different)} mails arrived, {len(effects)} are in the ledger"
        if any(row["attempts"] <= 1 for row in sent) and len(mails) > sum(
            row["attempts"] or 1 for row in effects
        ):
            yield f"{len(mails)} mails arrived in {sum(row['attempts'] or 1 for row in effects)} attempts"

    @staticmethod
    def _count(what: str, count: int, effects: list[Row]) -> Iterator[str]:
        if count > 1:
            yield f"{count} {what}"
        if count == 0 and any(row["state"] == "sent" for row in effects):
            yield f"the ledger says that {what} were sent, and there are none"
        if count and not effects:
            yield f"{what} that are not in the ledger"


DONE = {"sent", "superseded"}


def main() -> int:
    """Checks and prints what was found."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal.checker", description=__doc__)
    database = parser.add_mutually_exclusive_group(required=True)
    database.add_argument("--postgres", metavar="URL")
    database.add_argument("--postgres-file", type=Path, metavar="FILE", help="a file that holds it")
    parser.add_argument(
        "--data", type=Path, default=Path(), help="the simulators' directory, where they share one"
    )
    for name in ("github", "slack", "smtp", "model"):
        parser.add_argument(f"--{name}", type=Path, metavar="DIR", help=f"{name}'s own, where they do not")
    parser.add_argument("--tasks", type=int, default=0, help="how many tasks there must be at least")
    options = parser.parse_args()
    folders = [getattr(options, name) or options.data for name in ("github", "slack", "smtp", "model")]
    ledger = Ledger.read(options.postgres or options.postgres_file.read_text().strip())
    problems = Checker(ledger, Outside.read(*folders)).problems()
    count = len(ledger["tasks"])
    if count < options.tasks:
        problems.append(f"{count} tasks instead of {options.tasks}")
    for problem in problems:
        print(problem)
    print(f"{count} tasks, {len(ledger['events'])} events, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main())
