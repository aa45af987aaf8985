"""A trajectory that is uploaded to the gateway of the tests."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from bgagent_agent.gateway import GatewayControl
from bgagent_agent.logs import Log
from bgagent_agent.payload import parse_session
from bgagent_agent.redaction import Redactor
from bgagent_agent.trajectory import Limits, Trajectory
from conftest import make_payload
from fake_gateway import HARNESS, FakeGateway

SESSION = parse_session(make_payload(trace=True))
AT_ONCE = Limits(part_s=0.0, again_s=0.0)
NEVER = Limits(part_s=3_600.0)


@asynccontextmanager
async def recording(
    gateway: FakeGateway, limits: Limits = AT_ONCE, patience_s: float = 20.0
) -> AsyncIterator[tuple[Trajectory, io.StringIO]]:
    """A trajectory that has begun, and its log."""
    redactor, stream = Redactor([HARNESS]), io.StringIO()
    log = Log(redactor, stream)
    control = GatewayControl(gateway.url, HARNESS, 1, log, patience_s=patience_s)
    trajectory = Trajectory(control, redactor, log, limits)
    trajectory.begin(SESSION)
    try:
        yield trajectory, stream
    finally:
        await trajectory.close("left open", 0.0)
        await control.close()


@dataclass
class Block:
    text: str
    extra: Any = None


def quiet() -> Log:
    return Log(Redactor(), io.StringIO())
