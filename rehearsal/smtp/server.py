"""The SMTP side: aiosmtpd on a thread of its own, with faults at each command."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from rehearsal.faults import Fault
from rehearsal.smtp.simulator import Mail

MOST_RECIPIENTS = 100
MAX_SIZE = 10_240_000


class Hooks:
    """The hooks of one server; each command passes its fault first and leaves a line in the journal."""

    def __init__(self, mail: Mail) -> None:
        self.mail = mail

    def _log(
        self, method: str, path: str, status: str | None, fault: Fault | None = None, **note: Any
    ) -> None:
        entry = {
            "method": method,
            "path": path,
            "status": int(status[:3]) if status else None,
            "answer": status,
        }
        self.mail.journal.append({**entry, "fault": fault.action if fault else None, **note})

    async def _gone(self, server: SMTP) -> None:
        """Cuts the connection, in place of an answer."""
        assert server.transport is not None
        server.transport.close()
        raise ConnectionResetError("cut by order")

    async def _hold(self, fault: Fault, seconds: float | None) -> None:
        loop = asyncio.get_running_loop()
        deadline = None if seconds is None else loop.time() + seconds
        while self.mail.faults.stands(fault) and (deadline is None or loop.time() < deadline):
            await asyncio.sleep(0.02)

    async def _pass(
        self, server: SMTP, method: str, path: str, body: bytes = b""
    ) -> tuple[str | None, Fault | None]:
        """The answer that an order puts in place of the command's own, if any, and the order."""
        fault = self.mail.faults.take(method, path, body)
        if fault is None:
            return None, None
        if fault.action == "status":
            answer = self.mail.fault_text(fault)
            self._log(method, path, answer, fault)
            return answer, fault
        if fault.action in ("hang", "drop", "cut"):
            self._log(method, path, None, fault)
            if fault.action == "hang":
                await self._hold(fault, fault.delay or None)
            await self._gone(server)
        if fault.action == "slow":
            await self._hold(fault, fault.delay)
        return None, fault

    async def handle_EHLO(
        self, server: SMTP, session: Session, _envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        answer, _ = await self._pass(server, "EHLO", hostname)
        session.host_name = None if answer else hostname
        return [answer] if answer else responses

    async def handle_MAIL(
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer, fault = await self._pass(server, "MAIL", address)
        if answer is None:
            answer = "250 2.1.0 Ok"
            envelope.mail_from = address
            envelope.mail_options.extend(options)
            self._log("MAIL", address, answer, fault)
        return answer

    async def handle_RCPT(
        self, server: SMTP, _session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        answer, fault = await self._pass(server, "RCPT", address)
        if answer is not None:
            return answer
        refusal = self.mail.refusal(str(envelope.mail_from), address)
        if len(envelope.rcpt_tos) >= MOST_RECIPIENTS:
            refusal = "452 4.5.3 Too many recipients"
        if refusal is None:
            envelope.rcpt_tos.append(address)
            envelope.rcpt_options.extend(options)
        self._log("RCPT", address, refusal or "250 2.1.5 Ok", fault)
        return refusal or "250 2.1.5 Ok"

    async def handle_DATA(self, server: SMTP, _session: Session, envelope: Envelope) -> str:
        content = envelope.content or b""
        assert isinstance(content, bytes)
        path = f"{envelope.mail_from} -> {', '.join(envelope.rcpt_tos)}"
        answer, fault = await self._pass(server, "DATA", path, content)
        if answer is not None:
            return answer
        mail = self.mail.keep(str(envelope.mail_from), list(envelope.rcpt_tos), content)
        if fault and fault.action == "late_commit":
            self._log("DATA", path, None, fault, committed=True, mail=mail)
            await self._hold(fault, fault.delay)
            await self._gone(server)
        answer = f"250 2.0.0 Ok: queued as {mail['n']}"
        self._log("DATA", path, answer, fault, mail=mail)
        return answer

    def authenticate(
        self, _server: SMTP, _session: Session, _envelope: Envelope, mechanism: str, data: Any
    ) -> AuthResult:
        """PLAIN and LOGIN against the one account there is."""
        known = isinstance(data, LoginPassword) and hmac.compare_digest(
            data.login + b":" + data.password, (self.mail.auth or "").encode()
        )
        self._log(
            "AUTH", mechanism, "235 Authentication successful" if known else "535 Authentication failed"
        )
        return AuthResult(success=known, handled=False)


class MailServer:
    """Listens until `stop`; `port` is the bound one."""

    def __init__(self, mail: Mail, port: int = 0, max_size: int = MAX_SIZE, host: str = "127.0.0.1") -> None:
        self._loop = asyncio.new_event_loop()
        hooks = Hooks(mail)

        def protocol() -> SMTP:
            with warnings.catch_warnings():
                # AUTH without TLS is what is wanted on loopback.
                warnings.simplefilter("ignore")
                return SMTP(
                    hooks,
                    data_size_limit=max_size,
                    enable_SMTPUTF8=True,
                    hostname="mail.rehearsal.local",
                    ident="ESMTP rehearsal",
                    auth_required=mail.auth is not None,
                    auth_require_tls=False,
                    authenticator=hooks.authenticate if mail.auth is not None else None,
                    auth_exclude_mechanism=() if mail.auth is not None else ("PLAIN", "LOGIN"),
                    loop=self._loop,
                )

        server = self._loop.run_until_complete(self._loop.create_server(protocol, host, port))
        self.port = int(server.sockets[0].getsockname()[1])
        self._server = server
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.run_until_complete(self._end())
        self._loop.close()

    async def _end(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)

    def stop(self) -> None:
        """Closes the port and all connections."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()


@contextlib.contextmanager
def mail_running(
    mail: Mail, port: int = 0, max_size: int = MAX_SIZE, host: str = "127.0.0.1"
) -> Iterator[MailServer]:
    """Takes mail on a thread of this process until the block ends."""
    server = MailServer(mail, port, max_size, host)
    try:
        yield server
    finally:
        server.stop()
