"""What the mail server keeps, and the orders it takes over HTTP."""

from __future__ import annotations

import email
import email.policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any

from rehearsal.disk import Document, now_iso
from rehearsal.faults import Fault
from rehearsal.simulator import BadSeed, Simulator
from rehearsal.wire import JsonObject, Request, Response

SETTINGS: JsonObject = {"domains": [], "greylist": False}


class Mail(Simulator):
    """Mails as `mail/<n>.eml`. HTTP is for orders only; the faults' methods are EHLO, MAIL, RCPT and DATA."""

    name = "smtp"

    def __init__(self, data: Path, auth: str | None = None) -> None:
        super().__init__(data)
        self.auth = auth
        self.folder = data / "mail"
        self.folder.mkdir(exist_ok=True)
        self.document = Document(data / "smtp.state.json", lambda: {"mails": [], "seen": [], **SETTINGS})
        self.lock = self.document.lock

    def handle(self, request: Request) -> Response:
        """There is nothing but orders here."""
        return Response.of_json(404, {"error": f"mail is taken over SMTP, not at {request.path}"})

    def refusal(self, sender: str, recipient: str) -> str | None:
        """Why a recipient is not taken, if so: a domain not ours, or a first try under greylisting."""
        domain = recipient.rpartition("@")[2].lower()
        with self.lock:
            domains = self.document.value["domains"]
            if domains and domain not in domains:
                return f"550 5.1.1 <{recipient}>: Recipient address rejected: User unknown"
            pair = [sender, recipient]
            if self.document.value["greylist"] and pair not in self.document.value["seen"]:
                self.document.value["seen"].append(pair)
                self.document.save()
                return f"451 4.7.1 <{recipient}>: Recipient address rejected: Greylisted, try again later"
        return None

    def keep(self, sender: str, recipients: list[str], content: bytes) -> JsonObject:
        """Stores a mail; once this returns it is on disk."""
        with self.lock:
            number = len(self.document.value["mails"]) + 1
            (self.folder / f"{number}.eml").write_bytes(content)
            message = self._parse(content)
            mail = {
                "n": number,
                "from": sender,
                "to": recipients,
                "subject": str(message.get("Subject", "")),
                "message_id": str(message.get("Message-ID", "")),
                "bytes": len(content),
                "time": now_iso(),
            }
            self.document.value["mails"].append(mail)
            self.document.save()
            return mail

    @staticmethod
    def _parse(content: bytes) -> EmailMessage:
        message = email.message_from_bytes(content, policy=email.policy.default)
        assert isinstance(message, EmailMessage)
        return message

    def _readable(self, mail: JsonObject) -> JsonObject:
        path = self.folder / f"{mail['n']}.eml"
        message = self._parse(path.read_bytes())
        parts = {}
        for kind in ("plain", "html"):
            part = message.get_body((kind,))
            parts[kind] = part.get_content().replace("\r\n", "\n") if part is not None else None
        headers = {name: str(value) for name, value in message.items()}
        return {**mail, "file": str(path), "headers": headers, "text": parts["plain"], "html": parts["html"]}

    def seed(self, value: JsonObject) -> Any:
        """`domains` that are taken (none named: all), `greylist` on or off."""
        if unknown := set(value) - set(SETTINGS):
            raise BadSeed(f"unknown fields: {', '.join(sorted(unknown))}")
        with self.lock:
            self.document.value |= value
            self.document.save()
            return {name: self.document.value[name] for name in SETTINGS}

    def state(self) -> JsonObject:
        """The mails with their headers and bodies, in the order in which they were taken."""
        with self.lock:
            mails = list(self.document.value["mails"])
            return {
                "mails": [self._readable(mail) for mail in mails],
                **{n: self.document.value[n] for n in SETTINGS},
            }

    def fault_text(self, fault: Fault) -> str:
        """The line for an ordered status."""
        words = {
            421: "4.3.2 Service not available, closing transmission channel",
            450: "4.2.1 Mailbox unavailable",
            451: "4.7.1 Greylisted, try again later",
            452: "4.3.1 Insufficient system storage",
            535: "5.7.8 Authentication credentials invalid",
            550: "5.1.1 Recipient address rejected: User unknown",
            552: "5.3.4 Message too big",
            554: "5.7.1 Message rejected",
        }
        text = fault.body if isinstance(fault.body, str) else words.get(fault.status, "Local error")
        return f"{fault.status} {text}"
