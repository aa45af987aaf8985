"""The demonstration: two repositories, from `bgagent submit` to the pull request and the messages about it.

Runs against a stack. Needs BGAGENT_API_URL, BGAGENT_TOKEN, BGAGENT_BIN_DIR (where `bgagent` is)
and BGAGENT_REHEARSAL_{GITHUB,SLACK,SMTP,MODEL}_URL (of SMTP the address for orders, http://...). With
DEMO_MODEL=real the stack talks to a real model, and nothing is expected of the scripts.
Exit code: 0 when everything is there, 1 when something is missing.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rehearsal import client
from rehearsal.findings import Findings
from rehearsal.seed import seed
from rehearsal.words import slack_text

TASK_ID = re.compile(r"\b[0-7][0-9A-HJKMNP-TV-Z]{25}\b")
QUIET_FOR = 1.0
MESSAGES_WITHIN = 60.0


class Missing(Exception):
    """Something that the demonstration promises is not there."""


class Demo:
    """One run. Problems are collected, so that everything that is there is shown."""

    def __init__(self) -> None:
        names = ("GITHUB", "SLACK", "SMTP", "MODEL")
        self.urls = {name: self._needed(f"BGAGENT_REHEARSAL_{name}_URL") for name in names}
        self.bgagent = str(Path(self._needed("BGAGENT_BIN_DIR")) / "bgagent")
        for name in ("BGAGENT_API_URL", "BGAGENT_TOKEN"):
            self._needed(name)
        self.real = os.environ.get("DEMO_MODEL") == "real"
        if self.real and not any(os.environ.get(f"BGAGENT_MODEL_API_KEY{end}") for end in ("", "_FILE")):
            raise Missing("DEMO_MODEL=real needs BGAGENT_MODEL_API_KEY")
        self.problems: list[str] = []

    @staticmethod
    def _needed(name: str) -> str:
        value = os.environ.get(name, "")
        if not value:
            raise Missing(f"{name} is not set")
        return value

    def heading(self, text: str) -> None:
        """A heading between two parts of the output."""
        bold, plain = ("\033[1m", "\033[0m") if sys.stdout.isatty() else ("", "")
        print(f"\n{bold}== {text} {'=' * max(4, 100 - len(text))}{plain}", flush=True)

    def onboard(self, repo: str) -> None:
        """Makes the repository at the simulator and lets tasks work on it; once is enough."""
        made = seed(self.urls["GITHUB"], repo)
        print(f"{made['repo']}: {made['default_branch']} is at {made['head'][:12]}")
        shown = subprocess.run(
            [self.bgagent, "repo", "show", repo], capture_output=True, text=True, check=False
        )
        if shown.returncode != 0:
            self._run("repo", "add", repo)

    def _run(self, *words: str) -> tuple[int, str]:
        """Runs the command line and shows its output as it comes."""
        print("$ bgagent " + " ".join(f'"{word}"' if " " in word else word for word in words), flush=True)
        process = subprocess.Popen(
            [self.bgagent, *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        assert process.stdout is not None
        seen = []
        for line in process.stdout:
            seen.append(line)
            print(line, end="", flush=True)
        code = process.wait()
        if code != 0:
            self.problems.append(f"bgagent {' '.join(words)} ended with {code}")
        return code, "".join(seen)

    def play(self, repo: str, *words: str, test: list[str]) -> None:
        """One task from submit to the messages about it."""
        self.heading(f"{repo}: {' '.join(words)}")
        self.onboard(repo)
        _, output = self._run("submit", "--repo", repo, *words, "--wait")
        found = TASK_ID.search(output)
        if found is None:
            self.problems.append(f"{repo}: no task was made")
            return
        findings = self._settled(found[0], repo)
        self._show(findings, repo, test)
        self.problems += [f"{repo}: {problem}" for problem in findings.problems()]
        if not self.real:
            failures = client.state(self.urls["MODEL"])["expectation_failures"]
            self.problems += [f"{repo}: the model was shown something unexpected: {one}" for one in failures]

    def _settled(self, task_id: str, repo: str) -> Findings:
        """What the simulators received, once all of it is there and nothing more comes."""
        deadline = time.monotonic() + MESSAGES_WITHIN
        before, since = None, time.monotonic()
        while True:
            findings = Findings.read(self.urls, task_id, repo)
            if findings != before:
                before, since = findings, time.monotonic()
            now = time.monotonic()
            if now > deadline or (now - since > QUIET_FOR and not findings.problems()):
                return findings
            time.sleep(0.1)

    def _show(self, findings: Findings, repo: str, test: list[str]) -> None:
        if findings.branch:
            self.heading(f"{repo}: what branch {findings.branch} changes")
            print(findings.diff)
            self.heading(f"{repo}: {' '.join(test)}, before and after")
            self._test(findings, findings.base, test, green=None)
            self._test(findings, findings.branch, test, green=True)
        for pull in findings.pulls:
            issue = next(one for one in findings.issues if one["number"] == pull["number"])
            self.heading(f"{repo}: pull request #{pull['number']}")
            print(
                f"{issue['title']}\n{pull['head']} -> {pull['base']}{'  (draft)' if pull['draft'] else ''}\n"
            )
            print(issue["body"] or "")
        for comment in findings.comments:
            self.heading(f"{repo}: comment on #{comment['issue']}, by {comment['user']}")
            print(comment["body"])
        if findings.messages:
            self.heading(f"{repo}: Slack, as received")
            for message in findings.messages:
                indent = "    " if "thread_ts" in message else ""
                print(indent + slack_text(message).replace("\n", f"\n{indent}"))
        for mail in findings.mails:
            self.heading(f"{repo}: e-mail to {', '.join(mail['to'])}")
            print(f"Subject: {mail['subject']}\nMessage-ID: {mail['message_id']}\n\n{mail['text'] or ''}")

    def _test(self, findings: Findings, branch: str, test: list[str], green: bool | None) -> None:
        """Runs the repository's own tests on a fresh clone of a branch."""
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder) / "work"
            clone = ["git", "clone", "-q", "--branch", branch, findings.git_dir, str(work)]
            subprocess.run(clone, check=True, capture_output=True)
            done = subprocess.run(test, cwd=work, capture_output=True, text=True, check=False)
            lines = [line for line in (done.stdout + done.stderr).splitlines() if line.strip()]
            print(f"{branch}: {'green' if done.returncode == 0 else 'red'}: {lines[-1] if lines else ''}")
            if green is not None and green != (done.returncode == 0):
                self.problems.append(f"{' '.join(test)} is not green on {branch}")


def main() -> int:
    """Plays both repositories and says what is missing."""
    try:
        demo = Demo()
        if shutil.which(demo.bgagent) is None:
            raise Missing(f"{demo.bgagent} cannot be run")
        demo.play("acme/pricing", "fix the failing test", test=["python3", "-m", "unittest"])
        demo.play("acme/wordcount", "--issue", "7", test=["make", "-s", "test"])
    except (Missing, client.Unreachable) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    demo.heading("end")
    for problem in demo.problems:
        print(f"missing: {problem}")
    print("Everything is there." if not demo.problems else "Something is missing.")
    return 1 if demo.problems else 0


if __name__ == "__main__":
    sys.exit(main())
