"""One rehearsal, brought up as the documents say, for all short tests of the compose suite."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from typing import Any

import pytest

from Tests.compose.installation import Installation


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Remembers failures, so that their logs are kept."""
    report = yield
    if report.failed:
        for value in getattr(item, "funcargs", {}).values():
            if isinstance(value, Installation):
                value.failed = True
    return report


@pytest.fixture(scope="session")
def rehearsal() -> Iterator[Installation]:
    """An installation that is not up yet."""
    made = Installation("short")
    try:
        made.prebuilt()
        yield made
    except BaseException:
        made.failed = True
        raise
    finally:
        if made.failed:
            made.keep_logs()
        made.close()
