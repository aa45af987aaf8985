"""People ask the agent, beside its work."""

from __future__ import annotations

from collections.abc import Sequence

from .control import Control
from .errors import PlatformError, Refused
from .logs import Log
from .redaction import Redactor
from .runner import TurnTaken

ANSWER_TOOL = "answer_question"
_ANSWER_CHARS = 4_000
_SENT = "The answer was sent. Go on with the task."
_CLOSED = "This question is closed already. Go on with the task."
_UNKNOWN = "There is no open question with this ask_id. Go on with the task."


class Asks:
    """Questions that the model has before it, until each is answered once.

    It answers with a tool; what it says in plain text in the turn that follows the question counts as well.
    """

    def __init__(self, control: Control, redactor: Redactor, log: Log, tool_name: str) -> None:
        self._control = control
        self._redactor = redactor
        self._log = log
        self._tool_name = tool_name
        self._known: set[str] = set()
        self._answered: set[str] = set()
        self._due: dict[int, list[str]] = {}

    def arrived(self, ask_id: str) -> None:
        """The question is on its way to the model."""
        self._known.add(ask_id)

    def delivered(self, item_ids: Sequence[str], turn: int) -> None:
        """The request of `turn` carries the questions among the items."""
        self._due.setdefault(turn, []).extend(item_id for item_id in item_ids if item_id in self._known)

    async def turn_taken(self, event: TurnTaken) -> None:
        """Text beside other tools is an answer; text beside the tool to answer with is none."""
        due = [ask_id for ask_id in self._due.pop(event.turn, []) if ask_id not in self._answered]
        if not event.text or any(call.name == self._tool_name for call in event.calls):
            return
        for ask_id in due:
            await self.answer(ask_id, event.text, event.turn)

    async def answer(self, ask_id: str, text: str, turn: int) -> str:
        """Gives the answer to the platform; what the model reads in return."""
        if ask_id not in self._known:
            return _UNKNOWN
        if ask_id in self._answered:
            return _CLOSED
        self._answered.add(ask_id)
        try:
            await self._control.answer_ask(ask_id, self._redactor.text(text)[:_ANSWER_CHARS], turn)
        except Refused as refusal:
            self._log.warning("an answer was refused", ask_id=ask_id, reason=str(refusal))
            return _CLOSED
        except PlatformError:
            self._answered.discard(ask_id)
            raise
        return _SENT
