"""The checks that hold the documents and the house rules."""

from __future__ import annotations

import importlib.util
import re
import sys
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest
from support import SCRIPTS


def load(script: str) -> ModuleType:
    """One of our Python scripts as a module."""
    name = script.replace("-", "_")
    loader = SourceFileLoader(name, str(SCRIPTS / script))
    spec = importlib.util.spec_from_loader(name, loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    # Data classes look their module up while it loads.
    sys.modules[name] = module
    loader.exec_module(module)
    return module


RESULTS = """<testsuites><testsuite>
<testcase classname="A" name="an event is applied once()"/>
<testcase classname="A" name="red()"><failure/></testcase>
<testcase classname="t" name="test_one[a-b]"/>
</testsuite></testsuites>"""


@pytest.mark.parametrize(
    ("cell", "code"),
    [
        ("`an event is applied once`", 0),
        ("`an event is applied once`, `test_one`, `kill-relay`", 0),
        ("", 1),
        ("`red`", 1),
        ("`never ran`", 1),
        ("`an event is applied once` `never ran`", 1),
    ],
)
def test_a_promise_needs_a_test_that_passed_in_this_run(tmp_path: Path, cell: str, code: int) -> None:
    (tmp_path / "swift.xml").write_text(RESULTS)
    (tmp_path / "ran-tests.txt").write_text("kill-relay\n")
    table = tmp_path / "promises.md"
    table.write_text(f"# Promises\n\n| promise | source | test |\n|---|---|---|\n| once | §5 | {cell} |\n")
    assert load("check-promises").main([str(tmp_path), "--table", str(table)]) == code


@pytest.mark.parametrize(("options", "code"), [([], 0), (["--long"], 1)])
def test_promises_of_long_tests_are_held_by_long_runs(tmp_path: Path, options: list[str], code: int) -> None:
    (tmp_path / "swift.xml").write_text(RESULTS)
    table = tmp_path / "promises.md"
    table.write_text(
        "| promise | source | test |\n|---|---|---|\n| once | §5 | `an event is applied once` |\n\n"
        "| promise | source | long test |\n|---|---|---|\n| always | §5 | `never ran` |\n"
    )
    assert load("check-promises").main([str(tmp_path), "--table", str(table), *options]) == code


@pytest.mark.parametrize(
    ("path", "line", "broken"),
    [
        ("shared/AMQP/X.swift", "import CPostgres", True),
        ("shared/Postgres/X.swift", "import CPostgres", False),
        ("services/relay/X.swift", "internal import CRabbitMQ", True),
        ("services/relay/X.swift", "import Gateway", True),
        ("services/gateway/X.swift", "import Foundation", True),
        ("services/gateway/X.swift", "import FoundationEssentials", False),
        ("shared/Domain/X.swift", "public struct A {}", True),
        ("Tests/RelayTests/X.swift", "try await Task.sleep(for: .seconds(1))", True),
        ("Tests/RelayTests/X.swift", "import Relay", False),
        ("Tests/RelayTests/X.swift", '@Test(.disabled("slow")) func a() {}', True),
    ],
)
def test_the_house_rules_see_who_imports_what(path: str, line: str, broken: bool) -> None:
    rules = load("check-rules")
    assert bool([*rules.swift_breaches(path, line, rules.modules_of_services())]) == broken


def test_no_pinned_package_comes_without_a_hash() -> None:
    agent = SCRIPTS.parent / "agent"
    policy = SCRIPTS.parent / "services" / "policy"
    files = (
        agent / "requirements.txt",
        agent / "image-requirements.txt",
        policy / "requirements.txt",
        SCRIPTS / "requirements-dev.txt",
    )
    for file in files:
        text = file.read_text().replace("\\\n", " ")
        pinned = [line for line in text.splitlines() if line and not line.lstrip().startswith("#")]
        assert pinned
        assert all(re.match(r"[\w.-]+==\S+ .*--hash=sha256:", line) for line in pinned), file
