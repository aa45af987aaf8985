"""People ask the agent and the agent asks people, with a scripted runner."""

from __future__ import annotations

import asyncio
import io
from typing import Any

from bgagent_agent.desk import Desk
from bgagent_agent.errands import Errands
from bgagent_agent.local.control import LocalControl
from bgagent_agent.logs import Log
from bgagent_agent.own_tools import NAMES, full_name
from bgagent_agent.progress import PERIOD_S, REMINDER, Progress
from bgagent_agent.questions import NO_ANSWER, NOBODY, STOPPING, Questions
from bgagent_agent.redaction import Redactor
from bgagent_agent.reporter import Reporter
from bgagent_agent.runner import QueryDone
from bgagent_agent.stop import StopSignal
from conftest import GREEN, World, make_payload
from scripted_runner import ScriptedRunner
from test_nudges import CHECK_WAITS, blocks, let_the_check_end

SECRET = "ghp_" + "a1B2" * 9
QUIET = Log(Redactor(), io.StringIO())


async def asked(run: ScriptedRunner, world: World, ask_id: str, text: str = "How far are you?") -> None:
    """A person asks, and the agent has the question before it."""
    world.gateway.people.ask(ask_id, text)
    await world.gateway.until(lambda: (ask_id, "delivered") in world.gateway.receipts)


async def test_a_question_is_answered_by_the_tool_redacted_and_once(world: World) -> None:
    said = []

    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        await asked(run, world, "a1")
        said.append(await run.call("answer_question", ask_id="a1", text=f"Half way; the key is {SECRET}."))
        said.append(await run.call("answer_question", ask_id="a1", text="Again."))
        said.append(await run.call("answer_question", ask_id="other", text="Nobody asked."))

    assert await world.run(work) == 0
    assert world.runner is not None
    (message,) = world.runner.nudges
    assert message.text.startswith('<user_question ask_id="a1" from="jo" ')
    assert blocks(message.text) == [("a1", "How far are you?")]
    (answer,) = world.gateway.people.answers
    assert answer == {
        "id": "a1",
        "attempt": 1,
        "text": "Half way; the key is [redacted GitHub token].",
        "turn": 2,
    }
    assert [text.split(".")[0] for text in said] == [
        "The answer was sent",
        "This question is closed already",
        "There is no open question with this ask_id",
    ]


async def test_plain_text_in_the_turn_after_the_question_is_its_answer(world: World) -> None:
    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        await asked(run, world, "a1")
        await run.turn("The tests are green; I write the note now.")
        await world.gateway.until(lambda: world.gateway.people.answers)
        await run.turn("Another word.")

    assert await world.run(work) == 0
    (answer,) = world.gateway.people.answers
    assert (answer["text"], answer["turn"]) == ("The tests are green; I write the note now.", 2)


async def test_text_beside_the_tool_and_text_of_later_turns_are_no_answers(world: World) -> None:
    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        await asked(run, world, "a1")
        await run.turn("")
        await run.turn("Only now some words.")
        await asked(run, world, "a2")
        await run.turn("I answer that.", tool=full_name("answer_question"))
        await run.turn("On with it.")

    assert await world.run(work) == 0
    assert world.gateway.people.answers == []


async def test_an_answer_to_a_question_that_was_closed_goes_nowhere(world: World) -> None:
    said = []

    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        await asked(run, world, "a1")
        world.gateway.people.closed_asks.add("a1")
        said.append(await run.call("answer_question", ask_id="a1", text="Late."))

    assert await world.run(work) == 0
    assert "closed already" in said[0]
    assert world.result["outcome"] == "completed"


async def test_a_question_alone_does_not_keep_a_task_that_is_done(world: World) -> None:
    world.gateway.payload["commands"]["test"] = CHECK_WAITS

    async def fix(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)

    async def ask() -> None:
        await world.gateway.until(lambda: "verify_started" in world.gateway.milestones())
        world.gateway.people.ask("a1", "How far are you?")
        await world.gateway.until(lambda: world.gateway.receipts)
        let_the_check_end(world)

    asking = asyncio.create_task(ask())
    assert await world.run(fix) == 0
    await asking
    assert world.result["outcome"] == "completed"
    assert world.gateway.receipts == [("a1", "acknowledged")]


async def test_a_question_during_a_red_verification_goes_with_the_next_query(world: World) -> None:
    world.gateway.payload["commands"]["test"] = CHECK_WAITS

    async def wrong(run: ScriptedRunner) -> None:
        await run.write("pricing.py", "def total(a, b):\n    return a * b\n")

    async def ask() -> None:
        await world.gateway.until(lambda: "verify_started" in world.gateway.milestones())
        world.gateway.people.ask("a1", "How far are you?")
        await world.gateway.until(lambda: world.gateway.receipts)
        let_the_check_end(world)

    async def right(run: ScriptedRunner) -> QueryDone:
        await run.write("pricing.py", GREEN)
        return QueryDone("completed", "It adds now.")

    asking = asyncio.create_task(ask())
    assert await world.run(wrong, right) == 0
    await asking
    assert world.runner is not None
    assert '<user_question ask_id="a1"' in world.runner.prompts[1]
    assert "grep -q + pricing.py" in world.runner.prompts[1]
    assert [answer["text"] for answer in world.gateway.people.answers] == ["Writing pricing.py."]


async def test_the_agent_asks_and_a_person_answers_while_the_heart_beats(world: World) -> None:
    said = []

    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        said.append(await run.call("ask_human", question=f"Drop {SECRET}?", options=["yes", "no"]))

    async def answer() -> None:
        await world.gateway.until(lambda: world.gateway.people.questions)
        beats = len(world.gateway.heartbeats)
        await world.gateway.until(lambda: len(world.gateway.heartbeats) > beats + 1)
        assert world.gateway.heartbeats[-1]["tool"] == full_name("ask_human")
        world.gateway.people.answer("no, keep it")

    answering = asyncio.create_task(answer())
    assert await world.run(work, heartbeat_s=0.05) == 0
    await answering
    assert said == ["jo answered:\nno, keep it"]
    (body,) = [body for name, body in world.gateway.people.bodies if name == "question"]
    assert body == {
        "attempt": 1,
        "client_id": "call-2",
        "question": "Drop [redacted GitHub token]?",
        "options": ["yes", "no"],
    }
    assert ("i-q1", "acknowledged") in world.gateway.receipts


async def test_silence_at_the_deadline_is_no_consent(world: World) -> None:
    world.gateway.people.remaining_s = 0.0
    said = []

    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        said.append(await run.call("ask_human", question="Drop the table?"))

    assert await world.run(work) == 0
    assert said == [NO_ANSWER]
    assert "not consent" in NO_ANSWER
    assert [name for name, _ in world.gateway.people.bodies] == ["question", "question-expire"]


async def test_an_answer_that_came_before_the_deadline_wins_although_nobody_told(world: World) -> None:
    world.gateway.people.remaining_s = 0.0
    said = []
    ask = world.gateway.people.call

    def call(path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        if path.endswith("/expire"):
            world.gateway.people.answer("keep it", tell=False)
        return ask(path, body)

    world.gateway.people.call = call  # type: ignore[method-assign]

    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        said.append(await run.call("ask_human", question="Drop the table?"))

    assert await world.run(work) == 0
    assert said == ["jo answered:\nkeep it"]


async def test_a_cancel_ends_the_wait_for_an_answer_at_once(world: World) -> None:
    said = []

    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        said.append(await run.call("ask_human", question="Drop the table?"))

    async def cancel() -> None:
        await world.gateway.until(lambda: world.gateway.people.questions)
        world.gateway.post({"id": "c1", "kind": "cancel"})

    cancelling = asyncio.create_task(cancel())
    assert await world.run(work) == 0
    await cancelling
    assert world.result["outcome"] == "cancelled"
    assert said in ([], [STOPPING])
    assert world.pushed() == GREEN


async def test_progress_is_a_milestone_of_its_own(world: World) -> None:
    todo = [{"text": f"check {SECRET}", "state": "doing"}, {"text": "write", "state": "later"}]

    async def work(run: ScriptedRunner) -> None:
        await run.write("pricing.py", GREEN)
        said = {"done": ["found it"], "next": ["fix\nit"], "todo": todo}
        assert await run.call("report_progress", **said) == "Noted."
        await run.call("report_progress", blockers=["x" * 300] * 30)

    assert await world.run(work) == 0
    told = [e["metadata"] for e in world.gateway.events if e["metadata"].get("milestone") == "progress"]
    assert told[0] == {
        "milestone": "progress",
        "details": "Done: found it. Next: fix it",
        "done": ["found it"],
        "next": ["fix it"],
        "blockers": [],
        "todo": [
            {"text": "check [redacted GitHub token]", "state": "doing"},
            {"text": "write", "state": "open"},
        ],
    }
    assert [len(entry) for entry in told[1]["blockers"]] == [200] * 20


async def test_a_reminder_comes_after_five_minutes_without_a_report_and_not_more_often() -> None:
    now = [0.0]
    redactor = Redactor()
    control = LocalControl(make_payload(), lambda line: None)
    progress = Progress(Reporter(control, redactor, QUIET), lambda: now[0])
    progress.begin()
    assert progress.remind() is None
    now[0] = PERIOD_S
    assert progress.remind() == REMINDER
    assert progress.remind() is None
    now[0] = 2 * PERIOD_S
    await progress.report({})
    now[0] = 3 * PERIOD_S - 1
    assert progress.remind() is None
    now[0] = 3 * PERIOD_S
    assert progress.remind() == REMINDER


async def test_a_run_without_people_says_so_at_once() -> None:
    control, stop = LocalControl(make_payload(), lambda line: None), StopSignal()
    questions = Questions(control, Desk(stop), Redactor(), Errands(QUIET), QUIET)
    assert await questions.ask("call-1", "Drop the table?", []) == NOBODY
    assert "not consent" in NOBODY


def test_our_own_tools_are_those_of_one_server() -> None:
    names = {"answer_question", "ask_human", "report_progress"}
    assert {f"mcp__bgagent__{name}" for name in names} == NAMES
