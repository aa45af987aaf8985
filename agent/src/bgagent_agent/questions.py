"""The agent asks a person and waits."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Awaitable, Callable, Sequence

from .control import Control, QuestionState
from .desk import Desk
from .errands import Errands
from .errors import PlatformError
from .logs import Log
from .redaction import Redactor
from .stop import Stopped

_QUESTION_CHARS = 2_000
_OPTION_CHARS = 200
NO_ANSWER = (
    "No answer: nobody answered in time. Silence is not consent. Take the safe way that can be undone, "
    "or stop and say at the end what is open."
)
NOBODY = (
    "No answer: nobody is there in this run. Silence is not consent. Decide yourself, take the safe way that "
    "can be undone, and say at the end what you decided."
)
STOPPING = "No answer: the task is being stopped."


async def _go_on(question_id: str) -> None:
    del question_id


class Questions:
    """Whether a question was answered is the platform's to say, also at its deadline.

    `park` is called with a question that nobody answered; when it returns, the agent goes on without.
    """

    def __init__(
        self,
        control: Control,
        desk: Desk,
        redactor: Redactor,
        errands: Errands,
        log: Log,
        park: Callable[[str], Awaitable[None]] = _go_on,
    ) -> None:
        self._control = control
        self._desk = desk
        self._redactor = redactor
        self._errands = errands
        self._log = log
        self._park = park

    async def ask(self, call_id: str, question: str, options: Sequence[str]) -> str:
        """What the model is told in the end; never raises for a platform that does not answer."""
        text = self._redactor.text(question)[:_QUESTION_CHARS]
        choices = [self._redactor.text(option)[:_OPTION_CHARS] for option in options]
        try:
            state = await self._control.ask_person(call_id, text, choices)
            if state.state == "open":
                state = await self._answered(state)
            if state.state == "expired":
                await self._park(state.id)
        except Stopped:
            return STOPPING
        except PlatformError as error:
            self._log.warning("a question was not answered", error=repr(error))
            return NO_ANSWER
        return _told(state)

    async def _answered(self, state: QuestionState) -> QuestionState:
        try:
            item = await self._desk.wait(state.id, state.remaining_s)
        except CancelledError:
            # The agent was interrupted: nobody waits for the answer any more.
            self._errands.send("a question was given up", self._control.expire_question(state.id))
            raise
        if item is None:
            return await self._control.expire_question(state.id)
        fields = item.fields
        return QuestionState(
            state.id, "answered", 0.0, str(fields.get("text") or ""), str(fields.get("from") or "")
        )


def _told(state: QuestionState) -> str:
    if state.state == "nobody":
        return NOBODY
    if state.state != "answered" or not state.text.strip():
        return NO_ANSWER
    return f"{state.sender or 'A person'} answered:\n{state.text}"
