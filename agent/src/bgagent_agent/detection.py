"""Finds out how a repository is verified when nobody configured it."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from .payload import Commands
from .tools import CheckPlan

NO_TESTS = "no tests found"
# npm writes this into every new package; it is the absence of a test.
_NPM_PLACEHOLDER = "no test specified"
_MAKE_TARGET = re.compile(r"^(test|check)\s*:(?!=)", re.M)
_READ_LIMIT = 262_144


def plan(root: Path, commands: Commands, path: str) -> CheckPlan:
    """The configured build, test and lint commands; a missing test command is detected from the files in
    `root`.

    `path` is where programs are looked for: a detected command whose program is not installed is passed over.
    """
    test, reason = (commands.test, "configured") if commands.test else detect(root, path)
    chosen = tuple(command for command in (commands.build, test, commands.lint) if command)
    return CheckPlan(chosen, reason if test else (reason if not chosen else "configured"))


def detect(root: Path, path: str) -> tuple[str | None, str]:
    """The test command that fits and why, or None and why not; the repository's own entry (make) is first."""
    missing: list[str] = []
    for finder in _FINDERS:
        for command in finder(root):
            program = command.split()[0]
            if (root / program).is_file() if program.startswith("./") else shutil.which(program, path=path):
                return command, f"detected: {command}"
            missing.append(program)
    if missing:
        return None, f"{NO_TESTS} that can run here: {', '.join(dict.fromkeys(missing))} is not installed"
    return None, NO_TESTS


def _read(file: Path) -> str:
    try:
        with file.open(encoding="utf-8", errors="replace") as stream:
            return stream.read(_READ_LIMIT)
    except OSError:
        return ""


def _make(root: Path) -> Iterator[str]:
    for name in ("GNUmakefile", "makefile", "Makefile"):
        found = {match.group(1) for match in _MAKE_TARGET.finditer(_read(root / name))}
        if found:
            yield f"make {'test' if 'test' in found else 'check'}"
            return


def _node(root: Path) -> Iterator[str]:
    try:
        package = json.loads(_read(root / "package.json") or "{}")
        script = package.get("scripts", {}).get("test", "")
    except (ValueError, AttributeError):
        return
    if not isinstance(script, str) or not script or _NPM_PLACEHOLDER in script:
        return
    for lockfile, command in (
        ("pnpm-lock.yaml", "pnpm test"),
        ("yarn.lock", "yarn test"),
        ("bun.lockb", "bun run test"),
        ("bun.lock", "bun run test"),
    ):
        if (root / lockfile).exists():
            yield command
    yield "npm test"


def _cargo(root: Path) -> Iterator[str]:
    if (root / "Cargo.toml").exists():
        yield "cargo test"


def _swift(root: Path) -> Iterator[str]:
    if (root / "Package.swift").exists():
        yield "swift test" if (root / "Tests").is_dir() else "swift build"


def _go(root: Path) -> Iterator[str]:
    if (root / "go.mod").exists():
        yield "go test ./..."


def _jvm(root: Path) -> Iterator[str]:
    if (root / "pom.xml").exists():
        yield "./mvnw -q test"
        yield "mvn -q test"
    if (root / "build.gradle").exists() or (root / "build.gradle.kts").exists():
        yield "./gradlew test"
        yield "gradle test"


def _python(root: Path) -> Iterator[str]:
    tests = [*root.glob("test_*.py"), *root.glob("*_test.py")]
    for folder in ("tests", "test", "src"):
        tests += [*(root / folder).glob("**/test_*.py"), *(root / folder).glob("**/*_test.py")]
    if not tests:
        return
    markers = (root / "pytest.ini", root / "conftest.py", root / "tests" / "conftest.py")
    configured = any(marker.exists() for marker in markers) or any(
        "pytest" in _read(root / name)
        for name in ("pyproject.toml", "setup.cfg", "tox.ini", "requirements-dev.txt", "requirements.txt")
    )
    if configured or any(re.search(r"^\s*(?:import|from) pytest\b", _read(file), re.M) for file in tests):
        yield "pytest -q"
        yield "python3 -m pytest -q"
        return
    plain = not (root / "tests").is_dir() or (root / "tests" / "__init__.py").exists()
    top = "" if plain else " -s tests"
    yield f"python3 -m unittest discover{top}"


def _others(root: Path) -> Iterator[str]:
    if (root / "mix.exs").exists():
        yield "mix test"
    if (root / "spec").is_dir() and (root / "Gemfile").exists():
        yield "bundle exec rspec"
    if (root / "Rakefile").exists() and (root / "test").is_dir():
        yield "rake test"
    if any(root.glob("*.sln")) or any(root.glob("*.csproj")):
        yield "dotnet test"


_FINDERS: tuple[Callable[[Path], Iterator[str]], ...] = (
    _make, _node, _cargo, _swift, _go, _jvm, _python, _others,
)  # fmt: skip
