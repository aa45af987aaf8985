"""What people have said to the agent and the shortening of its conversation must not take away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

STANDING_BYTES: Final = 8_192
FOREWORD: Final = (
    "The conversation before this was shortened. People gave you these directions in it; you have read them, "
    "and they still hold:"
)


class Standing:
    """Nudges by the id of their item, as the blocks in which the model has read them."""

    def __init__(self) -> None:
        self._blocks: dict[str, str] = {}

    def heard(self, item_id: str, block: str) -> None:
        """A person said something; the agent need not have it yet."""
        self._blocks[item_id] = block

    def of(self, item_ids: Sequence[str]) -> str | None:
        """Those among the items, in their order; of too many the newest ones, of which one is always told."""
        blocks = [self._blocks[item_id] for item_id in dict.fromkeys(item_ids) if item_id in self._blocks]
        kept: list[str] = []
        size = 0
        for block in reversed(blocks):
            size += len(block.encode(errors="replace")) + 2
            if kept and size > STANDING_BYTES:
                break
            kept.insert(0, block)
        return "\n\n".join([FOREWORD, *kept]) if kept else None
