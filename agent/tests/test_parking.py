"""A question that nobody answers ends the attempt where the repository wants that, and no work is lost."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Sequence
from typing import Any

import pytest

from bgagent_agent.control import InboxItem, QuestionState
from bgagent_agent.desk import Desk
from bgagent_agent.errands import Errands
from bgagent_agent.local.control import LocalControl
from bgagent_agent.logs import Log
from bgagent_agent.own_tools import full_name
from bgagent_agent.parking import Parking
from bgagent_agent.questions import NO_ANSWER, Questions
from bgagent_agent.redaction import Redactor
from bgagent_agent.stop import Stopped, StopSignal
from conftest import BRANCH, GREEN, WIP, World, make_payload
from messages_api import assistant_turns
from program import ended, harness, leftovers
from scripted_runner import Query, ScriptedRunner

PARKED_ON = {"kind": "question", "id": "q1"}
REFUSES = "#!/bin/sh\nif grep -q refs/bgagent; then echo 'too large' >&2; exit 1; fi\n"


@pytest.fixture
def parks(world: World) -> World:
    """A world whose questions are not answered in time, and park their task then."""
    world.gateway.payload["unanswered_question"] = "park"
    world.gateway.people.remaining_s = 0.0
    return world


def asking(said: list[str], *before: Query) -> Query:
    async def work(run: ScriptedRunner) -> None:
        for step in before:
            await step(run)
        said.append(await run.call("ask_human", question="Drop the table?"))

    return work


async def fix(run: ScriptedRunner) -> None:
    await run.write("pricing.py", GREEN)


def refuse_checkpoints(world: World) -> None:
    hook = world.bare / "hooks" / "pre-receive"
    hook.parent.mkdir(exist_ok=True)
    hook.write_text(REFUSES)
    hook.chmod(0o755)


def at_the_deadline(world: World, act: Any) -> None:
    """Does something in the moment in which the question is declared expired, before the agent hears it."""
    call = world.gateway.people.call

    def expired(path: str, body: dict[str, Any]) -> dict[str, Any] | None:
        if path.endswith("/expire"):
            act()
        return call(path, body)

    world.gateway.people.call = expired  # type: ignore[method-assign]


async def test_an_unanswered_question_parks_the_task_with_its_work_kept(parks: World) -> None:
    said: list[str] = []
    assert await parks.run(asking(said, fix)) == 0
    assert said == []
    result = parks.result
    assert result["outcome"] == "parked"
    assert result["parked_on"] == PARKED_ON
    assert (result["commit"], result["error"], result["turns"]) == (None, None, 2)
    assert parks.pushed(ref=WIP) == GREEN
    assert parks.gateway.checkpoints[-1]["commit"] == parks.remote("rev-parse", WIP)
    assert not parks.has_ref(f"refs/heads/{BRANCH}")
    assert "agent_execution_complete" not in parks.gateway.milestones()
    assert [e["metadata"]["turn"] for e in parks.gateway.events if e["event_type"] == "agent_turn"] == [1, 2]
    assert parks.gateway.requests[-1] == "POST /session/result"
    assert parks.runner is not None
    assert parks.runner.cancelled[0] == "parked"


async def test_a_task_without_work_is_parked_without_a_checkpoint(parks: World) -> None:
    said: list[str] = []
    assert await parks.run(asking(said)) == 0
    assert parks.result["parked_on"] == PARKED_ON
    assert parks.gateway.checkpoints == []
    assert said == []


async def test_an_answer_at_the_deadline_goes_to_the_agent(parks: World) -> None:
    said: list[str] = []
    at_the_deadline(parks, lambda: parks.gateway.people.answer("keep it", tell=False))
    assert await parks.run(asking(said, fix)) == 0
    assert said == ["jo answered:\nkeep it"]
    assert parks.result["outcome"] == "completed"
    assert "parked_on" not in parks.result


@pytest.mark.parametrize("wish", ["continue", None, "something new"])
async def test_a_task_that_does_not_park_goes_on_without_an_answer(parks: World, wish: str | None) -> None:
    said: list[str] = []
    parks.gateway.payload["unanswered_question"] = wish
    assert await parks.run(asking(said, fix)) == 0
    assert said == [NO_ANSWER]
    assert parks.result["outcome"] == "completed"


async def test_a_question_that_is_void_does_not_park(parks: World) -> None:
    said: list[str] = []

    def void() -> None:
        for question in parks.gateway.people.questions.values():
            question["state"] = "void"

    at_the_deadline(parks, void)
    assert await parks.run(asking(said, fix)) == 0
    assert said == [NO_ANSWER]
    assert parks.result["outcome"] == "completed"


async def test_work_that_cannot_be_kept_is_not_parked(parks: World) -> None:
    said: list[str] = []
    refuse_checkpoints(parks)
    assert await parks.run(asking(said, fix)) == 0
    assert said == [NO_ANSWER]
    assert parks.result["outcome"] == "completed"
    assert parks.pushed() == GREEN


async def test_nothing_new_needs_no_checkpoint_to_be_parked(parks: World) -> None:
    said: list[str] = []

    async def kept(run: ScriptedRunner) -> None:
        await parks.gateway.until(lambda: parks.gateway.checkpoints)
        refuse_checkpoints(parks)

    assert await parks.run(asking(said, fix, kept)) == 0
    assert said == []
    assert parks.result["parked_on"] == PARKED_ON
    assert parks.pushed(ref=WIP) == GREEN


async def test_work_that_could_not_be_kept_before_is_tried_again_and_parked(parks: World) -> None:
    said: list[str] = []
    refuse_checkpoints(parks)

    async def heals(run: ScriptedRunner) -> None:
        await parks.gateway.until(lambda: any(e["event_type"] == "agent_error" for e in parks.gateway.events))
        (parks.bare / "hooks" / "pre-receive").unlink()

    assert await parks.run(asking(said, fix, heals)) == 0
    assert said == []
    assert parks.result["parked_on"] == PARKED_ON
    assert parks.pushed(ref=WIP) == GREEN


async def test_a_cancel_before_the_task_is_parked_wins(parks: World) -> None:
    said: list[str] = []
    loop = asyncio.get_running_loop()
    at_the_deadline(parks, lambda: loop.call_soon_threadsafe(parks.stop.request, "cancelled"))
    assert await parks.run(asking(said, fix)) == 0
    assert parks.result["outcome"] == "cancelled"
    assert "parked_on" not in parks.result
    assert parks.pushed() == GREEN


async def test_a_cancel_while_the_task_is_being_parked_wins(parks: World) -> None:
    async def work(run: ScriptedRunner) -> None:
        await fix(run)
        try:
            await run.call("ask_human", question="Drop the table?")
        except asyncio.CancelledError:
            assert parks.stop.reason == "parked"
            parks.stop.request("cancelled")
            raise

    assert await parks.run(work) == 0
    assert parks.result["outcome"] == "cancelled"
    assert "parked_on" not in parks.result
    assert parks.pushed() == GREEN


class Asked(LocalControl):
    """A platform that waits long for an answer."""

    def __init__(self) -> None:
        super().__init__(make_payload(), lambda line: None)
        self.given_up = asyncio.Event()

    async def ask_person(self, client_id: str, question: str, options: Sequence[str]) -> QuestionState:
        return QuestionState("q1", "open", 300.0)

    async def expire_question(self, question_id: str) -> QuestionState:
        self.given_up.set()
        return QuestionState(question_id, "expired", 0.0)


async def test_a_question_that_is_given_up_parks_nothing() -> None:
    control, parked = Asked(), list[str]()
    log = Log(Redactor(), io.StringIO())
    waits = asyncio.Event()

    class Waiting(Desk):
        async def wait(self, key: str, seconds: float) -> InboxItem | None:
            waits.set()
            return await super().wait(key, seconds)

    async def park(question_id: str) -> None:
        parked.append(question_id)

    errands = Errands(log)
    questions = Questions(control, Waiting(StopSignal()), Redactor(), errands, log, park)
    asks = asyncio.create_task(questions.ask("call-1", "Drop the table?", ()))
    await waits.wait()
    asks.cancel()
    await control.given_up.wait()
    await asyncio.wait({asks})
    assert asks.cancelled()
    assert parked == []


async def test_an_interrupt_while_the_work_is_being_kept_parks_nothing() -> None:
    stop, keeping, kept = StopSignal(), asyncio.Event(), asyncio.Event()

    async def keep() -> bool:
        keeping.set()
        return await kept.wait()

    parking = Parking(True, stop, keep)
    waits = asyncio.create_task(parking.park("q1"))
    await keeping.wait()
    waits.cancel()
    kept.set()
    await asyncio.wait({waits})
    assert waits.cancelled()
    assert (stop.reason, parking.question_id) == (None, None)


async def test_the_first_of_two_questions_is_what_the_task_waits_for() -> None:
    async def keep() -> bool:
        return True

    stop = StopSignal()
    parking = Parking(True, stop, keep)
    both = [asyncio.create_task(parking.park(name)) for name in ("q1", "q2")]
    assert await stop.wait() == "parked"
    await asyncio.sleep(0)
    assert not any(one.done() for one in both)
    assert parking.question_id == "q1"
    for one in both:
        one.cancel()


async def test_only_a_cancel_takes_the_place_of_a_question() -> None:
    stop = StopSignal()
    stop.request("parked")
    for reason in ("time_up", "terminated"):
        stop.request(reason)
        assert stop.reason == "parked"
    stop.request("cancelled")
    assert stop.reason == "cancelled"

    async def keep() -> bool:
        return True

    parking = Parking(True, stop, keep)
    with pytest.raises(Stopped):
        await parking.park("q1")
    assert parking.question_id is None


async def test_the_real_cli_is_stopped_at_its_question_and_a_later_attempt_finds_the_work(
    parks: World,
) -> None:
    parks.gateway.people.remaining_s = 0.5
    parks.gateway.payload["trace"] = True
    ask = {"name": full_name("ask_human"), "input": {"question": "Drop the table?"}}
    fixes = {"name": "Bash", "input": {"command": "sed -i 's/a - b/a + b/' pricing.py"}}
    parks.gateway.model = lambda body: {"tools": [fixes if assistant_turns(body) == 0 else ask]}
    async with harness(parks) as process:
        assert await ended(process, parks) == 0, (parks.root / "harness.log").read_text()
    assert parks.result["outcome"] == "parked"
    assert parks.result["parked_on"] == PARKED_ON
    assert parks.result["turns"] == 2
    assert parks.pushed(ref=WIP) == GREEN
    assert not parks.has_ref(f"refs/heads/{BRANCH}")
    assert len(parks.gateway.model_requests) == 2
    assert [name for name, _ in parks.gateway.people.bodies] == ["question", "question-expire"]
    assert parks.gateway.trace.lines()[-1]["outcome"] == "parked"
    assert not leftovers(parks)
