"""What can go wrong, in two families: errors that end the attempt and errors that end the task.

`PlatformError`s are about the attempt and its owner; nobody is left to report them to, so they become exit
codes. `TaskError`s are about the work; they are reported as the structured error of the result.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

EXIT_OK = 0
EXIT_INTERNAL = 1
EXIT_CONFIGURATION = 2
EXIT_STALE = 3
EXIT_PAYLOAD_VERSION = 4
EXIT_UNAUTHORIZED = 5
EXIT_UNREACHABLE = 6
EXIT_TERMINATED = 8


class PlatformError(Exception):
    """The attempt cannot go on as far as the platform is concerned; `exit_code` says why."""

    exit_code = EXIT_INTERNAL


class ConfigurationError(PlatformError):
    """The environment the harness was started with is incomplete or wrong."""

    exit_code = EXIT_CONFIGURATION


class StaleAttempt(PlatformError):
    """Another attempt owns the task now: everything must stop at once and nothing may be written any more."""

    exit_code = EXIT_STALE


class PayloadUnsupported(PlatformError):
    """The platform speaks a payload version outside the range of this harness."""

    exit_code = EXIT_PAYLOAD_VERSION


class Unauthorized(PlatformError):
    """The harness token is unknown or dead, as it is once the task is final."""

    exit_code = EXIT_UNAUTHORIZED


class Unreachable(PlatformError):
    """The platform did not answer for longer than an attempt can live without it."""

    exit_code = EXIT_UNREACHABLE


class Refused(PlatformError):
    """The platform rejected a request, for good; `code` says why in a word, for example WITHDRAWN."""

    exit_code = EXIT_INTERNAL

    def __init__(self, message: str, code: str = "") -> None:
        super().__init__(message)
        self.code = code


class SequenceGap(Exception):
    """The platform has not seen the events before this batch; `expected` is the number it waits for."""

    def __init__(self, expected: int) -> None:
        super().__init__(f"expected client_seq {expected}")
        self.expected = expected


class TraceGap(Exception):
    """The platform lacks a part of the trace before this one; `expected` is the number it waits for."""

    def __init__(self, expected: int) -> None:
        super().__init__(f"expected part {expected}")
        self.expected = expected


@dataclass(frozen=True)
class Problem:
    """The structured error of a result; `category` is one of the platform's fixed set."""

    code: str
    category: str
    title: str
    description: str
    remedy: str
    retryable: bool

    def as_json(self) -> dict[str, object]:
        """The object the result carries under `error`."""
        return asdict(self)


class TaskError(Exception):
    """The task cannot be done; the problem is told to the platform as the result's error."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.code}: {problem.description}")
        self.problem = problem
