"""A task with an agent at work, as the agent gateway sees it, without an agent: rows and the tokens that open them."""

from __future__ import annotations

from dataclasses import dataclass

from bench.upstream import MODEL
from bench.world import REPO, World, hashed


@dataclass(frozen=True)
class Session:
    """An attempt under way, and its keys."""

    task_id: str
    git_token: str = "bgg_bench"
    model_token: str = "bgm_bench"


def running(world: World) -> Session:
    """Makes the first of the part's tasks one that runs here, for longer than any measurement takes."""
    world.tasks(1)
    task_id = str(world.task_ids()[0][0])
    session = Session(task_id)
    # The way that every task goes; the database lets it take no other.
    for status in ("HYDRATING", "RUNNING"):
        world.db.execute(
            "UPDATE tasks SET status = %s, model = %s, base_branch = 'main' WHERE task_id = %s",
            (status, MODEL, task_id),
        )
    world.db.execute(
        "INSERT INTO sessions (task_id, attempt, state, backend, node, lease_until, payload, git_token_hash, "
        "model_token_hash, claimed_at, started_at) "
        "VALUES (%s, 1, 'running', 'process', 'bench', now() + interval '1 day', '{}', %s, %s, now(), now())",
        (task_id, hashed(session.git_token), hashed(session.model_token)),
    )
    return session


def clone_url(world: World, session: Session) -> str:
    """The repository as the agent sees it."""
    return f"http://agent:{session.git_token}@127.0.0.1:{world.agent_gateway_port}/git/{REPO}.git"
