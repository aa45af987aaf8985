"""What `agent/run.sh` starts: checks the settings, then runs the task in a container or as a process."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from .errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NOT_STARTED, EXIT_OTHER_END, EXIT_WORK_LEFT, NotStarted
from .preparation import Prepared, prepare
from .settings import PASSED, SECRETS, USAGE, LocalSettings, read

CONTAINER = "bgagent-run"
_CPUS = 2
_ENGINE_REFUSED = 125
_TMPFS = "/tmp:rw,exec,nosuid,nodev,size=1g,mode=1777"  # noqa: S108 - the container's
_ENGINE = "docker"
_INSTALL = "run `make bootstrap` once, or install Docker"
# Handed on to a process, so that programs of the repository are found and behave.
_OF_THE_USER = ("PATH", "LANG", "LC_ALL", "TZ")


def main(arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """The exit code: 0 done, 1 another end, 2 not started, 7 work is left here, 130 stopped by Ctrl-C."""
    if any(argument in ("-h", "--help") for argument in arguments[:1]):
        print(USAGE, end="")
        return EXIT_DONE
    try:
        settings = read(arguments, environ)
        if settings.dry_run:
            show(settings, prepare(settings))
            return EXIT_DONE
        engine = find_engine(environ)
        if engine is None:
            return in_process(settings, arguments, environ)
        return in_container(engine, settings, arguments, environ)
    except NotStarted as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return EXIT_NOT_STARTED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED


def show(settings: LocalSettings, prepared: Prepared) -> None:
    """What a run would be told."""
    limit = f"${settings.max_budget}" if settings.max_budget else "no limit of money"
    print(
        f"repository  {prepared.repository.name}, from {prepared.repository.default_branch}", file=sys.stderr
    )
    print(f"branch      {prepared.branch}", file=sys.stderr)
    print(f"model       {settings.model}, {settings.max_turns} turns, {limit}", file=sys.stderr)
    if prepared.prompt.is_truncated:
        print("the oldest comments were left out: the issue is longer than a prompt may be", file=sys.stderr)
    print(f"--- system\n{prepared.prompt.system}\n\n--- user\n{prepared.prompt.user}")


def find_engine(environ: Mapping[str, str]) -> str | None:
    """The engine's client, or None for a plain process."""
    asked = environ.get("BGAGENT_ENGINE", "").strip()
    if asked == "none":
        return None
    if asked not in ("", _ENGINE):
        raise NotStarted(f"BGAGENT_ENGINE must be {_ENGINE} or none, not {asked!r}.")
    if shutil.which(_ENGINE) and _quiet([_ENGINE, "info"], 60.0):
        return _ENGINE
    if asked:
        raise NotStarted(
            f"{asked} does not answer: start it, or set BGAGENT_ENGINE=none for a plain process."
        )
    print(
        "No container engine answers: the agent runs as a process of yours and can read what you can read.",
        file=sys.stderr,
    )
    return None


def in_process(settings: LocalSettings, arguments: Sequence[str], environ: Mapping[str, str]) -> int:
    """Runs below a temporary directory, with a home of its own; it stays when it holds unpushed work."""
    if not _quiet([sys.executable, "-c", "import claude_agent_sdk, httpx2"], 60.0):
        raise NotStarted(f"{sys.executable} has not the agent's packages: {_INSTALL}.")
    folder = Path(tempfile.mkdtemp(prefix=f"{CONTAINER}-"))
    for name in ("workspace", "home"):
        (folder / name).mkdir()
    child_environment = {
        **{name: environ[name] for name in (*_OF_THE_USER, *PASSED) if environ.get(name)},
        "TMPDIR": str(folder),
        "HOME": str(folder / "home"),
        "BGAGENT_WORKSPACE": str(folder / "workspace"),
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    code = _attend([sys.executable, "-m", "bgagent_agent.local", *arguments], environ, child_environment)
    clone = folder / "workspace" / settings.name
    if _may_hold_work(code) and clone.exists():
        _tell_left(clone, code)
    else:
        shutil.rmtree(folder, ignore_errors=True)
    return code


def in_container(
    engine: str, settings: LocalSettings, arguments: Sequence[str], environ: Mapping[str, str]
) -> int:
    """Runs in a container that is removed afterwards; unpushed work is copied out first."""
    if _quiet([engine, "container", "inspect", CONTAINER], 20.0):
        raise NotStarted(
            f"There is a container {CONTAINER} already. Watch it with `{engine} logs -f {CONTAINER}`, "
            f"or end it with `{engine} rm -f -v {CONTAINER}`."
        )
    image = environ.get("BGAGENT_AGENT_IMAGE", "").strip() or "bgagent-agent"
    _provide(engine, image, environ.get("BGAGENT_BUILD_CA", "").strip())
    network = environ.get("BGAGENT_RUN_NETWORK", "").strip()
    cid = Path(tempfile.mkdtemp(prefix=f"{CONTAINER}-")) / "cid"
    command = [
        engine, "run", "-i", "--name", CONTAINER, "--cidfile", str(cid), "--init",
        "--cpus", str(min(_CPUS, os.cpu_count() or 1)), "--memory", "8g", "--memory-swap", "8g",
        "--pids-limit", "512", "--read-only", "--tmpfs", _TMPFS, "--volume", "/workspace",
        "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        *(["--network", network] if network else []),
        *(part for name in PASSED if environ.get(name) for part in ("-e", name)),
        image, "local", *arguments,
    ]  # fmt: skip
    code = _attend(command, environ, dict(environ))
    try:
        container = cid.read_text()
    except FileNotFoundError:
        # The engine has said why there is no container; one of that name is somebody else's.
        return EXIT_NOT_STARTED
    finally:
        shutil.rmtree(cid.parent)
    if _may_hold_work(code):
        left = Path(tempfile.mkdtemp(prefix="bgagent-left-")) / settings.name
        if _quiet([engine, "cp", f"{container}:/workspace/{settings.name}", str(left)], 600.0):
            _tell_left(left, code)
        else:
            shutil.rmtree(left.parent)
        if code == EXIT_WORK_LEFT and not left.exists():
            print(
                f"It is in the container, below /workspace/{settings.name}: copy it out with `{engine} cp`, "
                f"then `{engine} rm -f -v {CONTAINER}`.",
                file=sys.stderr,
            )
            return code
    _quiet([engine, "rm", "-f", "-v", container], 60.0)
    return EXIT_NOT_STARTED if code == _ENGINE_REFUSED else code


def _provide(engine: str, image: str, authority: str) -> None:
    if _quiet([engine, "image", "inspect", image], 20.0):
        return
    if image != "bgagent-agent":
        raise NotStarted(f"There is no image {image}: pull or build it, or unset BGAGENT_AGENT_IMAGE.")
    print("Building the agent's image, once; this takes some minutes.", file=sys.stderr, flush=True)
    root = Path(__file__).parents[4]
    if authority and not Path(authority).is_file():
        raise NotStarted(f"BGAGENT_BUILD_CA names no file: {authority}")
    secret = ["--secret", f"id=ca,src={authority}"] if authority else []
    command = [engine, "build", "-t", image, *secret, "-f", str(root / "agent" / "Dockerfile"), str(root)]
    if subprocess.run(command, stdout=sys.stderr).returncode != 0:
        raise NotStarted(f"The image could not be built: see above. Again with: {' '.join(command)}")


def _may_hold_work(code: int) -> bool:
    """Also after an end that nobody planned, as when memory ran out."""
    return code not in (EXIT_DONE, EXIT_OTHER_END, EXIT_NOT_STARTED, EXIT_INTERRUPTED, _ENGINE_REFUSED)


def _tell_left(directory: Path, code: int) -> None:
    if code != EXIT_WORK_LEFT:
        print(f"The run ended unexpectedly, with exit code {code}; its clone was kept.", file=sys.stderr)
    print(f"It is in {directory}: push it from there with `git push origin HEAD`.", file=sys.stderr)


def _attend(command: list[str], environ: Mapping[str, str], child_environment: Mapping[str, str]) -> int:
    """Runs it to its end. It is told of Ctrl-C here and nowhere else, so that one press counts once."""
    secrets = {name: environ[name] for name in SECRETS if environ.get(name)}
    hidden = {name: value for name, value in child_environment.items() if name not in SECRETS}
    with _forwarding() as children:
        child = subprocess.Popen(command, env=hidden, stdin=subprocess.PIPE, start_new_session=True)
        children.append(child)
        assert child.stdin is not None
        try:
            with child.stdin as stdin:
                stdin.write(json.dumps(secrets).encode() + b"\n")
        except BrokenPipeError:
            pass
        code = child.wait()
    return code if code >= 0 else 128 - code


@contextmanager
def _forwarding() -> Iterator[list[subprocess.Popen[bytes]]]:
    children: list[subprocess.Popen[bytes]] = []

    def forward(number: int, frame: FrameType | None) -> None:
        del number, frame
        for child in children:
            child.send_signal(signal.SIGINT)

    before = {
        number: signal.signal(number, forward) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    }
    try:
        yield children
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _quiet(command: list[str], timeout: float) -> bool:
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout)
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
