"""`bgagent ask` at a terminal and in a pipe: what it shows, how it ends, and that nothing is lost."""

from __future__ import annotations

import os
import pty
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from Tests.system.jobs import Job, script
from Tests.system.judge import clean
from Tests.system.test_outcomes import left
from Tests.system.test_steering import asked
from Tests.system.waiting import Late, until
from Tests.system.world import Stack

PATIENCE = 120.0
SOON = 30.0
QUESTION = "how far are you?"
ANSWER = "Half way: nothing is changed yet."
ID = re.compile(r"\b[0-9A-Z]{26}\b")


class Terminal:
    """bgagent at a terminal of its own."""

    def __init__(self, stack: Stack, *words: str, user: str) -> None:
        program, variables = stack.bgagent(user)
        self._ours, theirs = pty.openpty()
        os.set_blocking(self._ours, False)
        # The terminal becomes its controlling one, so that a typed Ctrl-C reaches it as a signal.
        self.process = subprocess.Popen(
            ["setsid", "--ctty", *program, *words],
            env=variables | {"TERM": "xterm"},
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
        )
        os.close(theirs)
        self._read = b""

    @property
    def text(self) -> str:
        """All that it has shown so far."""
        try:
            while chunk := os.read(self._ours, 65_536):
                self._read += chunk
        except OSError:
            # Nothing more now, or it has gone.
            pass
        return self._read.decode(errors="replace")

    def shows(self, words: str, seconds: float) -> None:
        """Waits until it has shown some words."""
        self._until(f"{words!r} is shown", lambda: words in self.text, seconds)

    def press(self, key: bytes) -> None:
        """Types something."""
        os.write(self._ours, key)

    def end(self, seconds: float) -> int:
        """Its exit code."""
        self._until("it ends", lambda: self.process.poll() is not None, seconds)
        return int(self.process.returncode)

    def _until(self, what: str, look: Callable[[], bool], seconds: float) -> None:
        try:
            until(what, look, seconds)
        except Late as late:
            raise AssertionError(f"{late}: {self.text!r}") from None

    def close(self) -> None:
        """Leaves nothing running."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._ours)


class Piped:
    """bgagent with pipes, running beside the test."""

    def __init__(self, stack: Stack, *words: str, user: str) -> None:
        program, variables = stack.bgagent(user)
        self.process = subprocess.Popen(
            [*program, *words], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def end(self, seconds: float) -> tuple[int, str, str]:
        """Exit code, stdout, stderr."""
        try:
            out, err = self.process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            self.close()
            out, err = self.process.communicate()
            raise AssertionError(f"not within {seconds:g} s: an end after {out!r} {err!r}") from None
        return self.process.returncode, out, err

    def close(self) -> None:
        """Leaves nothing running."""
        if self.process.poll() is None:
            self.process.kill()


@contextmanager
def queued(stack: Stack, repo: str) -> Iterator[Job]:
    """A task of ada's that waits in the queue until its repository may work again."""
    stack.onboard(repo)
    stack.cli("admin", "pause", "--repo", repo)
    job = Job(stack, repo, script("questioned"), user="ada")
    try:
        waits = ("SUBMITTED", "QUEUED")
        assert asked(stack, "status", job.task_id, user="ada")["status"] in waits
        yield job
    finally:
        stack.cli("cancel", job.task_id, check=False)
        stack.cli("admin", "resume", "--repo", repo)
        job.close()


def open_ask(stack: Stack, job: Job, user: str = "ada") -> str:
    """The one question of a task that is open."""

    def look() -> str | None:
        found = [
            one for one in asked(stack, "asks", "list", job.task_id, user=user) if one["state"] == "open"
        ]
        assert len(found) <= 1, found
        return str(found[0]["ask_id"]) if found else None

    return until("a question is open", look, SOON)


def state(stack: Stack, job: Job, ask: str) -> tuple[str, str | None]:
    """How a question stands, and its answer."""
    found = asked(stack, "asks", "show", job.task_id, ask, user=job.user)
    return str(found["state"]), found["answer"]


def answered(stack: Stack, job: Job, ask: str) -> None:
    """Waits until a question has its answer."""
    until(f"{ask} is answered", lambda: state(stack, job, ask) == ("answered", ANSWER), PATIENCE)


def test_an_ask_shows_the_way_from_the_queue_to_the_answer(stack: Stack) -> None:
    with queued(stack, "acme/asked-early") as job:
        task, user = job.task_id, job.user
        terminal = Terminal(stack, "ask", task, QUESTION, user=user)
        try:
            terminal.shows("QUEUED", SOON)
            early = open_ask(stack, job)
            stack.cli("admin", "resume", "--repo", job.repo)
            terminal.shows("RUNNING", PATIENCE)
            assert terminal.end(PATIENCE) == 0, terminal.text
            shown = terminal.text
        finally:
            terminal.close()
        assert shown.index("QUEUED") < shown.index("RUNNING") < shown.index(ANSWER)
        # What moved is gone from the screen, and the answer alone is on it.
        assert shown.rpartition("\x1b[K")[2].strip() == ANSWER
        assert state(stack, job, early) == ("answered", ANSWER)

        # In a pipe there is nothing but the answer.
        piped = stack.cli("ask", task, QUESTION, user=user)
        assert (piped.returncode, piped.stdout, piped.stderr) == (0, f"{ANSWER}\n", "")

        stack.cli("nudge", task, "finish", user=user)
        end = job.end()
        assert (end.code, *end.how) == (0, "COMPLETED", "pull_request"), end.task
        assert end.kinds.count("status_response") == 2
        late = stack.cli("ask", task, "and now?", user=user, check=False)
        assert (late.returncode, late.stdout) == (1, "")
        assert "the task has ended as COMPLETED" in late.stderr
        # The record still answers what was asked.
        answers = [one["answer"] for one in asked(stack, "asks", "list", task, user=user)]
        assert answers == [ANSWER, ANSWER]
        assert left(stack, job).problems() == []


def test_a_wait_that_ends_early_loses_no_question(stack: Stack) -> None:
    with queued(stack, "acme/asked-in-vain") as job:
        task, user = job.task_id, job.user
        late = stack.cli("ask", task, QUESTION, "--timeout", "10s", user=user, check=False)
        expired = asked(stack, "asks", "list", task, user=user)[-1]["ask_id"]
        assert (late.returncode, late.stdout) == (2, "")
        assert "no answer yet" in late.stderr
        assert f"It may still come: bgagent asks show {task} {expired}" in late.stderr
        assert state(stack, job, expired) == ("expired", None)

        terminal = Terminal(stack, "ask", task, QUESTION, user=user)
        try:
            terminal.shows("QUEUED", SOON)
            left_alone = open_ask(stack, job)
            terminal.press(b"\x03")
            assert terminal.end(SOON) == 130, terminal.text
            farewell = f"The agent still has the question. Its answer: bgagent asks show {task} {left_alone}"
            assert farewell in terminal.text
        finally:
            terminal.close()
        assert state(stack, job, left_alone) == ("open", None)

        begun = stack.cli("ask", task, QUESTION, "--no-wait")
        assert ID.fullmatch(begun.stdout.strip()), begun.stdout
        unwatched = begun.stdout.strip()

        stack.cli("admin", "resume", "--repo", job.repo)
        for ask in (expired, left_alone, unwatched):
            answered(stack, job, ask)
        shown = stack.cli("asks", "show", task, left_alone, user=user).stdout
        assert shown.endswith(f"  {QUESTION}\n  > {ANSWER}\n"), shown
        stack.cli("cancel", task, user=user)
        end = job.end()
        assert end.how[0] == "CANCELLED"
        assert end.kinds.count("status_response") == 3
        clean(stack, task)


def test_whoever_waits_for_an_answer_hears_that_the_task_ended(stack: Stack) -> None:
    with queued(stack, "acme/asked-too-late") as job:
        waiting = Piped(stack, "ask", job.task_id, QUESTION, user="ada")
        try:
            ask = open_ask(stack, job)
            stack.cli("cancel", job.task_id)
            code, out, err = waiting.end(SOON)
        finally:
            waiting.close()
        assert (code, out) == (1, "")
        assert "the task ended before its agent answered" in err
        assert f"bgagent show {job.task_id}" in err
        assert state(stack, job, ask) == ("closed", None)
        assert job.end().how[0] == "CANCELLED"
        clean(stack, job.task_id)


def test_a_second_question_of_a_person_is_refused_and_names_the_first(stack: Stack) -> None:
    with queued(stack, "acme/asked-twice") as job:
        first = stack.cli("ask", job.task_id, QUESTION, "--no-wait", user="ada").stdout.strip()
        # Another person's is none of it.
        assert ID.fullmatch(stack.cli("ask", job.task_id, QUESTION, "--no-wait").stdout.strip())
        second = Piped(stack, "ask", job.task_id, "and now?", "--no-wait", user="ada")
        try:
            code, out, err = second.end(SOON)
        finally:
            second.close()
        assert (code, out) == (1, "")
        assert f"your question {first} to this task waits for its answer; one at a time" in err
        assert len(asked(stack, "asks", "list", job.task_id, user="ada")) == 2
