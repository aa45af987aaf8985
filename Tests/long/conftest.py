"""The long tests run on a stack like that of the system tests."""

from __future__ import annotations

from Tests.system.conftest import pytest_configure, pytest_runtest_makereport, stack

__all__ = ["pytest_configure", "pytest_runtest_makereport", "stack"]
