"""What keeps a local run from starting or from ending well, in words that say what to do."""

from __future__ import annotations

EXIT_DONE = 0
EXIT_OTHER_END = 1
EXIT_NOT_STARTED = 2
EXIT_WORK_LEFT = 7
EXIT_INTERRUPTED = 130


class NotStarted(Exception):
    """Nothing was begun; each problem says what is wrong and what to do about it."""

    def __init__(self, *problems: str) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems
