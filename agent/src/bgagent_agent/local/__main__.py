"""Inside the sandbox: one task from the settings to the pushed branch. Started by `launch`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

from ..config import inherited, scrub_process
from ..control import RunResult
from ..errors import PlatformError
from ..gate import Gate
from ..harness import Harness, Seams
from ..logs import Log
from ..redaction import Redactor
from ..runner import Runner
from ..sdk_options import ModelAccess
from ..stop import StopSignal
from ..tools import Remote
from .control import LocalControl, printer
from .errors import EXIT_DONE, EXIT_INTERRUPTED, EXIT_NOT_STARTED, EXIT_OTHER_END, EXIT_WORK_LEFT, NotStarted
from .meter import Budget
from .preparation import Prepared, payload, prepare
from .proxy import model_proxy
from .settings import LocalSettings, read
from .workspace import LocalWorkspace

_HEARTBEAT_S = 15.0
_MODEL_RETRIES = 10


def main(arguments: Sequence[str]) -> int:
    """Secrets come as a JSON line on standard input: all processes of a user can read an environment."""
    environ = {**os.environ, **json.loads(sys.stdin.readline() or "{}")}
    try:
        settings = read(arguments, environ)
        places = _places(environ)
        prepared = prepare(settings)
    except NotStarted as error:
        print(*error.problems, sep="\n", file=sys.stderr)
        return EXIT_NOT_STARTED
    environment = inherited(environ)
    scrub_process(environment)
    return asyncio.run(LocalRun(settings, prepared, *places, environment).run())


def _places(environ: dict[str, str]) -> tuple[Path, Path]:
    workspace, home = Path(environ.get("BGAGENT_WORKSPACE", "")), Path(environ.get("HOME", ""))
    if not (workspace.is_absolute() and workspace.is_dir() and home.is_absolute() and home.is_dir()):
        raise NotStarted("BGAGENT_WORKSPACE and HOME must be directories: start this with agent/run.sh.")
    return workspace, home


class LocalRun:
    """One run with everything it needs, and the words about how it ended."""

    def __init__(
        self,
        settings: LocalSettings,
        prepared: Prepared,
        workspace: Path,
        home: Path,
        environment: dict[str, str],
    ) -> None:
        self._settings = settings
        self._prepared = prepared
        self._environment = environment
        self._private = home / ".bgagent"
        self._stop = StopSignal()
        self._say = printer()
        self._budget = Budget(settings.max_budget)
        remote = Remote(f"{settings.server_url}/{settings.repo}.git", "x-access-token", settings.github_token)
        self._tools = LocalWorkspace(
            workspace, self._private, remote, environment, f"bgagent-local-{uuid.uuid4().hex}"
        )
        self._control = LocalControl(payload(settings, prepared), self._say)
        self._signals = 0

    async def run(self) -> int:
        """The exit code."""
        self._say(f"○ {self._prepared.repository.name}  {self._prepared.branch}")
        with model_proxy(self._settings, self._budget) as proxy:
            redactor = Redactor((*self._settings.secrets, proxy.token))
            log = Log(redactor)
            access = ModelAccess(proxy.url, proxy.token, _MODEL_RETRIES)

            def runner(gate: Gate) -> Runner:
                from ..sdk_runner import SdkRunner

                return SdkRunner(
                    access,
                    gate,
                    redactor,
                    self._private,
                    self._tools.tool_environment,
                    self._tools.kill,
                    log,
                )

            seams = Seams(self._control, self._tools, runner, redactor, log)
            attempt = asyncio.ensure_future(
                Harness(seams, self._stop, _HEARTBEAT_S).run(await self._control.session())
            )
            self._listen(attempt)
            reason = ""
            try:
                await attempt
            except asyncio.CancelledError:
                reason = "given up"
            except PlatformError as error:
                reason = f"GitHub does not take GITHUB_TOKEN for git any more: {error}"
            except Exception as error:
                log.error("the harness failed", error=repr(error))
                reason = f"the harness failed: {type(error).__name__}"
        return await self._conclude(reason)

    def _listen(self, attempt: asyncio.Future[int]) -> None:
        def heard() -> None:
            self._signals += 1
            if self._signals == 1:
                self._say("! stopping: what there is will be pushed; once more gives up")
                self._stop.request("cancelled")
            else:
                attempt.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, heard)

    async def _conclude(self, reason: str) -> int:
        result = self._control.kept
        pushed = result.commit if result else None
        left = None if pushed else await self._tools.unpushed()
        with contextlib.suppress(OSError):
            _print_end(result, reason, self._budget)
            if pushed:
                repository = self._prepared.repository
                base, branch = quote(repository.default_branch), quote(self._prepared.branch)
                print(f"\nBranch   {self._prepared.branch}")
                print(f"Compare  {repository.web_url}/compare/{base}...{branch}?expand=1")
            if left:
                print("\nThe work could not be pushed.")
            sys.stdout.flush()
        if left:
            return EXIT_WORK_LEFT
        if self._signals:
            return EXIT_INTERRUPTED
        return EXIT_DONE if result and result.outcome in ("completed", "no_change") else EXIT_OTHER_END


_ENDS = {
    "completed": "Done",
    "no_change": "Nothing was changed",
    "verification_failed": "The work is there, its verification failed",
    "max_turns": "The turns are used up (MAX_TURNS)",
    "budget_exhausted": "The money is used up (MAX_BUDGET_USD)",
    "timed_out": "The time is used up (MAX_DURATION_S)",
    "cancelled": "Stopped",
    "failed": "Failed",
    "parked": "Waits for an answer",
}


def _print_end(result: RunResult | None, reason: str, budget: Budget) -> None:
    out: Callable[[str], None] = print
    if result is None:
        out(f"\nEnded without a result: {reason}. Model cost {budget}.")
        return
    out(f"\n{_ENDS[result.outcome]}: {result.turns} turns, model cost {budget}.")
    if result.verification is not None:
        verdict = "passed" if result.verification.passed else "failed"
        out(f"Verified with {result.verification.command}: {verdict}.")
    if result.error is not None:
        out(f"{result.error.title}: {result.error.description}\n{result.error.remedy}")
    if result.summary.strip():
        out(f"\n{result.summary.strip()}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
