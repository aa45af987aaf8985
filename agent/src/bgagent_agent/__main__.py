"""`python -m bgagent_agent`: runs one attempt with the environment the compute adapter gave it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from .config import Settings, read_settings, scrub_process
from .errors import EXIT_INTERNAL, ConfigurationError, PlatformError
from .gate import Gate
from .gateway import GatewayControl
from .harness import Harness, Seams
from .logs import Log
from .payload import Session
from .policy import Policy
from .redaction import Redactor
from .runner import Runner
from .sdk_options import ModelAccess
from .stop import StopSignal
from .tools import Remote
from .workspace import Workspace


def main() -> int:
    """Reads the settings, takes the tokens out of the environment and runs."""
    try:
        settings = read_settings(os.environ)
    except ConfigurationError as error:
        Log(Redactor()).error("cannot start", error=str(error))
        return error.exit_code
    scrub_process(settings.environment)
    redactor = Redactor(settings.secrets)
    trace_id = settings.traceparent.split("-")[1] if settings.traceparent.count("-") == 3 else ""
    log = Log(redactor, task_id=settings.task_id, attempt=settings.attempt, trace_id=trace_id)
    try:
        return asyncio.run(_run(settings, redactor, log))
    except PlatformError as error:
        log.error("the attempt ends without a result", kind=type(error).__name__, error=str(error))
        return error.exit_code
    except Exception as error:
        log.error("the harness failed", error=repr(error))
        return EXIT_INTERNAL


async def _run(settings: Settings, redactor: Redactor, log: Log) -> int:
    stop = StopSignal()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.request, "terminated")
    control = GatewayControl(
        settings.gateway_url,
        settings.harness_token,
        settings.attempt,
        log,
        traceparent=settings.traceparent,
    )
    try:
        return await _attempt(settings, control, redactor, log, stop)
    finally:
        await control.close()


async def _attempt(
    settings: Settings, control: GatewayControl, redactor: Redactor, log: Log, stop: StopSignal
) -> int:
    session = await control.session()
    remote = Remote(f"{settings.gateway_url}/git/{session.repo}.git", "bgagent", settings.git_token)
    workspace = Workspace(
        settings.workspace, settings.private, remote, settings.environment, settings.session
    )
    access = ModelAccess(f"{settings.gateway_url}/model", settings.model_token, settings.model_retries)

    def runner(gate: Gate) -> Runner:
        return _sdk(access, gate, redactor, settings, workspace, log)

    def policy(session: Session) -> Policy:
        # Imported late, as the runner is: most tasks have no policies.
        from .cedar import CedarPolicy

        return CedarPolicy(session, workspace.directory, settings.environment.get("HOME", ""))

    seams = Seams(control, workspace, runner, redactor, log, policy)
    return await Harness(seams, stop, settings.heartbeat_s).run(session)


def _sdk(
    access: ModelAccess, gate: Gate, redactor: Redactor, settings: Settings, workspace: Workspace, log: Log
) -> Runner:
    # Imported late: it takes most of a second, and a session that never starts need not pay for it.
    from .sdk_runner import SdkRunner

    return SdkRunner(
        access, gate, redactor, settings.private, workspace.tool_environment, workspace.kill, log
    )


if __name__ == "__main__":
    sys.exit(main())
