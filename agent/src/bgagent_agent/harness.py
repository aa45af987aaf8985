"""Runs an attempt, and ends everything of it however it ends."""

from __future__ import annotations

from .attempt import Attempt, Seams
from .errors import PlatformError
from .payload import Session
from .stop import StopSignal

__all__ = ["Harness", "Seams"]


class Harness:
    """Runs the steps in order, beside a heartbeat, an inbox, a reporter, checkpoints and a clock.

    Any of these that learns that the attempt is over (`StaleAttempt`) ends all of it: everything running is
    killed and nothing is pushed or reported.
    """

    def __init__(self, seams: Seams, stop: StopSignal, heartbeat_s: float) -> None:
        self._seams = seams
        self._stop = stop
        self._heartbeat_s = heartbeat_s

    async def run(self, session: Session) -> int:
        """The exit code; raises `PlatformError` when there is nobody to report to."""
        attempt = Attempt(self._seams, session, self._stop, self._heartbeat_s)
        try:
            return await attempt.run()
        except BaseExceptionGroup as group:
            found = _platform_error(group)
            raise found or group from group
        finally:
            try:
                await self._seams.tools.kill()
            finally:
                await attempt.close()


def _platform_error(group: BaseExceptionGroup[BaseException]) -> PlatformError | None:
    for error in group.exceptions:
        inner = _platform_error(error) if isinstance(error, BaseExceptionGroup) else error
        if isinstance(inner, PlatformError):
            return inner
    return None
