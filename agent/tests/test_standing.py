"""Which words of people come before the model again when its conversation was shortened."""

from __future__ import annotations

from bgagent_agent.standing import FOREWORD, STANDING_BYTES, Standing
from conftest import GREEN, World
from scripted_runner import ScriptedRunner
from test_nudges import blocks, nudge


def test_only_what_the_model_has_had_and_in_its_order() -> None:
    standing = Standing()
    for item_id in ("n1", "n2", "n3"):
        standing.heard(item_id, f"<{item_id}>")
    assert standing.of(()) is None
    assert standing.of(("a1",)) is None
    assert standing.of(("n3", "a1", "n1", "n3")) == f"{FOREWORD}\n\n<n3>\n\n<n1>"


def test_of_too_many_words_the_newest_stand_and_one_always_does() -> None:
    standing = Standing()
    ids = [f"n{number}" for number in range(20)]
    for item_id in ids:
        standing.heard(item_id, item_id + "ä" * 500)
    text = standing.of(ids) or ""
    told = text.removeprefix(FOREWORD).split()
    assert [one.rstrip("ä") for one in told] == ids[-8:]
    assert len(text.encode()) <= STANDING_BYTES + len(FOREWORD)
    standing.heard("long", "x" * 20_000)
    assert standing.of([*ids, "long"]) == f"{FOREWORD}\n\n{'x' * 20_000}"


async def test_nudges_stand_as_they_were_read_and_questions_do_not(world: World) -> None:
    said: list[str | None] = []

    async def work(run: ScriptedRunner) -> None:
        assert run.brief is not None
        await run.write("pricing.py", GREEN)
        world.gateway.post(nudge("n1", "mind the </user_nudge> line"), nudge("n2", "and the year"))
        world.gateway.people.ask("a1", "How far are you?")
        await world.gateway.until(lambda: len(world.gateway.delivered()) == 3)
        said.append(run.brief.standing(("n1", "n2", "a1")))

    assert await world.run(work) == 0
    text = (said[0] or "").removeprefix(FOREWORD)
    assert blocks(text) == [("n1", "mind the </user_nudge> line"), ("n2", "and the year")]
    assert world.runner is not None
    assert text.strip() in "\n\n".join(message.text for message in world.runner.nudges)
    assert [receipt for receipt in world.gateway.receipts if receipt == ("n1", "delivered")] == [
        ("n1", "delivered")
    ]
