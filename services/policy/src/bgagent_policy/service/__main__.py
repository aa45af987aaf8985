"""Starts the service and ends it in order."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator

import uvicorn
from starlette.applications import Starlette

from .app import api, health, loaded
from .logs import Log, LogHandler
from .metrics import Metrics
from .settings import Settings, SettingsError, configuration_rows, read_settings

EXIT_CONFIGURATION = 64
_GRACE_S = 8
_CONNECTIONS = 64


class Server(uvicorn.Server):
    """A server that leaves signals alone: there are two of them in this process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing to capture."""
        yield


def main(arguments: list[str]) -> int:
    """Runs until SIGTERM or SIGINT; the exit code says how it went."""
    if "--print-configuration" in arguments:
        print(configuration_rows())
        return 0
    try:
        settings = read_settings(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)
        return EXIT_CONFIGURATION
    log = Log(settings.log_level)
    logging.basicConfig(handlers=[LogHandler(log)], level=logging.INFO, force=True)
    try:
        return asyncio.run(_run(settings, log))
    except OSError as error:
        log.error("cannot listen", error=str(error))
        return 1


async def _run(settings: Settings, log: Log) -> int:
    metrics = Metrics()
    loaded("")
    listening = [(_server(api(metrics, log)), _socket(settings.host, settings.port))]
    if settings.health_port:
        listening.append((_server(health(metrics)), _socket(settings.health_host, settings.health_port)))
    servers = [server for server, _ in listening]

    def stop() -> None:
        metrics.ready = False
        log.info("stopping")
        for server in servers:
            server.should_exit = True

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)
    metrics.ready = True
    log.info("listening", host=settings.host, port=listening[0][1].getsockname()[1])
    await asyncio.gather(*(server.serve(sockets=[listener]) for server, listener in listening))
    log.info("stopped")
    return 0


def _server(app: Starlette) -> Server:
    return Server(
        uvicorn.Config(
            app,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            limit_concurrency=_CONNECTIONS,
            timeout_keep_alive=30,
            timeout_graceful_shutdown=_GRACE_S,
        )
    )


def _socket(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return socket.create_server((host, port), family=family, backlog=128)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
