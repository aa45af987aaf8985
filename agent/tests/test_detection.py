"""How a repository is verified when nobody says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from bgagent_agent.detection import detect, plan
from bgagent_agent.payload import Commands

PROGRAMS = ["make", "npm", "pnpm", "yarn", "cargo", "swift", "go", "mvn", "gradle", "pytest", "python3"]
PROGRAMS += ["mix", "dotnet"]


@pytest.fixture
def path(tmp_path: Path) -> str:
    """A PATH on which every program exists."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in PROGRAMS:
        program = folder / name
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("files", "command"),
    [
        ({"Makefile": "all:\n\ttrue\ntest: all\n\t./run\n"}, "make test"),
        ({"Makefile": "check:\n\t./run\n"}, "make check"),
        ({"Makefile": "test := 1\nall:\n\ttrue\n"}, None),
        ({"package.json": '{"scripts":{"test":"vitest"}}'}, "npm test"),
        ({"package.json": '{"scripts":{"test":"vitest"}}', "pnpm-lock.yaml": ""}, "pnpm test"),
        ({"package.json": '{"scripts":{"test":"echo \\"Error: no test specified\\" && exit 1"}}'}, None),
        ({"package.json": "not json"}, None),
        ({"package.json": '{"scripts":"odd"}'}, None),
        ({"Cargo.toml": ""}, "cargo test"),
        ({"Package.swift": "", "Tests/XTests/X.swift": ""}, "swift test"),
        ({"Package.swift": ""}, "swift build"),
        ({"go.mod": ""}, "go test ./..."),
        ({"pom.xml": ""}, "mvn -q test"),
        ({"pom.xml": "", "mvnw": ""}, "./mvnw -q test"),
        ({"build.gradle.kts": ""}, "gradle test"),
        ({"test_a.py": "import unittest\n"}, "python3 -m unittest discover"),
        ({"tests/__init__.py": "", "tests/test_a.py": ""}, "python3 -m unittest discover"),
        ({"tests/test_a.py": "import unittest\n"}, "python3 -m unittest discover -s tests"),
        ({"tests/test_a.py": "import pytest\n"}, "pytest -q"),
        ({"tests/test_a.py": "", "pyproject.toml": "[tool.pytest.ini_options]\n"}, "pytest -q"),
        ({"setup.py": "", "a.py": ""}, None),
        ({"mix.exs": ""}, "mix test"),
        ({"x.csproj": ""}, "dotnet test"),
        ({"Makefile": "test:\n\t./run\n", "Cargo.toml": ""}, "make test"),
        ({"README.md": "nothing"}, None),
    ],
)
def test_the_test_command_is_found_from_the_files(
    tmp_path: Path, path: str, files: dict[str, str], command: str | None
) -> None:
    root = tmp_path / "repository"
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    found, reason = detect(root, path)
    assert found == command
    assert reason == (f"detected: {command}" if command else "no tests found")


def test_a_program_that_is_not_installed_is_passed_over(tmp_path: Path, path: str) -> None:
    (tmp_path / "Cargo.toml").touch()
    (tmp_path / "test_a.py").touch()
    assert detect(tmp_path, "/nonexistent")[0] is None
    assert "cargo" in detect(tmp_path, "/nonexistent")[1]
    (Path(path) / "cargo").unlink()
    assert detect(tmp_path, path)[0] == "python3 -m unittest discover"


def test_configured_commands_win_and_run_in_order(tmp_path: Path, path: str) -> None:
    (tmp_path / "Cargo.toml").touch()
    commands = Commands(build="make all", test="make it", lint="ruff check")
    assert plan(tmp_path, commands, path).commands == ("make all", "make it", "ruff check")
    assert plan(tmp_path, Commands(lint="ruff check"), path).commands == ("cargo test", "ruff check")
    assert plan(tmp_path / "bin", Commands(), path).reason == "no tests found"
