"""Whether a run lost or doubled anything: database, bare repositories and simulators against each other."""

from __future__ import annotations

from rehearsal.checker import Checker, Outside
from rehearsal.ledger import Ledger
from rehearsal.schemas import validate_commands, validate_events
from Tests.system.waiting import Late, until
from Tests.system.world import Stack

SETTLED_WITHIN = 60.0


def problems(stack: Stack) -> list[str]:
    """Every contradiction in the whole stack now; none when all tasks have ended well."""
    ledger = Ledger.read(stack.exports["BGAGENT_POSTGRES_URL"])
    outside = Outside.read(*[stack.data] * 4)
    commands = stack.rows("SELECT task_id, seq, command, payload FROM task_commands")
    found = Checker(ledger, outside).problems()
    return found + validate_events(ledger["events"]) + validate_commands(commands)


def clean(stack: Stack, task_id: str = "") -> None:
    """Waits until nothing contradicts, of one task or in all. What earlier tests failed on is theirs."""

    def found() -> list[str]:
        now = [one for one in problems(stack) if one not in stack.known]
        return [one for one in now if task_id in one and not one.startswith(tuple(stack.forgiven))]

    try:
        until("nothing is wrong", lambda: not found(), SETTLED_WITHIN)
    except Late as late:
        last = found()
        stack.known.update(last)
        if last:
            raise AssertionError("\n".join(last)) from late
