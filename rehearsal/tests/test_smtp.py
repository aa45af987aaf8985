"""What the mail server takes and refuses, by the standard library's client."""

from __future__ import annotations

import smtplib
from collections.abc import Iterator
from contextlib import contextmanager
from email.message import EmailMessage

import pytest

from rehearsal.smtp.server import MailServer
from rehearsal.tests.support import Client

Setup = tuple[MailServer, Client]
SENDER, RECIPIENT = "bgagent@acme.test", "team@acme.test"


def letter(text: str = "Done.\n") -> EmailMessage:
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = SENDER, RECIPIENT, "Task ended"
    message["Message-ID"] = "<n1@bgagent>"
    message.set_content(text)
    message.add_alternative(f"<p>{text}</p>", subtype="html")
    return message


@contextmanager
def session(server: MailServer, login: bool = True) -> Iterator[smtplib.SMTP]:
    with smtplib.SMTP("127.0.0.1", server.port, timeout=10) as client:
        client.ehlo()
        if login:
            client.login("user", "secret")
        yield client


def test_a_mail_is_kept_as_it_came(mail: Setup) -> None:
    server, control = mail
    with session(server) as client:
        client.send_message(letter("Fertig: ✓\n"))
    (kept,) = control.state()["mails"]
    assert (kept["from"], kept["to"], kept["subject"]) == (SENDER, [RECIPIENT], "Task ended")
    assert (kept["message_id"], kept["text"]) == ("<n1@bgagent>", "Fertig: ✓\n")
    assert "<p>Fertig" in kept["html"]
    methods = [entry["method"] for entry in control.log() if entry["method"] != "AUTH"]
    assert methods == ["MAIL", "RCPT", "DATA"]


def test_the_greeting_names_what_it_can(mail: Setup) -> None:
    with session(mail[0]) as client:
        assert client.esmtp_features["size"] == "100000"
        assert set(client.esmtp_features["auth"].split()) == {"LOGIN", "PLAIN"}


def test_auth_is_required_and_checked(mail: Setup) -> None:
    server, control = mail
    with session(server, login=False) as client:
        with pytest.raises(smtplib.SMTPSenderRefused) as refused:
            client.send_message(letter())
        assert refused.value.smtp_code == 530
    with session(server, login=False) as client, pytest.raises(smtplib.SMTPAuthenticationError):
        client.login("user", "wrong")
    assert control.state()["mails"] == []


def test_a_mail_over_the_size_is_refused_by_its_announcement(mail: Setup) -> None:
    with session(mail[0]) as client, pytest.raises(smtplib.SMTPSenderRefused) as refused:
        client.send_message(letter("x" * 110_000))
    assert refused.value.smtp_code == 552


def test_an_unknown_domain_is_refused(mail: Setup) -> None:
    server, control = mail
    control("POST", "/__seed", {"domains": ["other.test"]})
    with session(server) as client, pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        client.send_message(letter())
    assert refused.value.recipients[RECIPIENT][0] == 550


def test_greylisting_takes_the_second_try(mail: Setup) -> None:
    server, control = mail
    control("POST", "/__seed", {"greylist": True})
    with session(server) as client:
        with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
            client.send_message(letter())
        assert refused.value.recipients[RECIPIENT][0] == 451
        client.send_message(letter())
    assert len(control.state()["mails"]) == 1


@pytest.mark.parametrize(("method", "code"), [("MAIL", 421), ("RCPT", 450), ("DATA", 554), ("DATA", 451)])
def test_a_status_at_each_command(mail: Setup, method: str, code: int) -> None:
    server, control = mail
    control.fault("status", match={"method": method}, status=code)
    with session(server) as client, pytest.raises(smtplib.SMTPException):
        client.send_message(letter())
    assert control.state()["mails"] == []
    with session(server) as client:
        client.send_message(letter())
    assert len(control.state()["mails"]) == 1


def test_a_refused_greeting(mail: Setup) -> None:
    server, control = mail
    control.fault("status", match={"method": "EHLO"}, status=421)
    with smtplib.SMTP("127.0.0.1", server.port, timeout=10) as client:
        assert client.ehlo()[0] == 421


def test_a_late_commit_keeps_the_mail_and_says_nothing(mail: Setup) -> None:
    server, control = mail
    control.fault("late_commit", match={"method": "DATA"})
    with pytest.raises(smtplib.SMTPServerDisconnected), session(server) as client:
        client.send_message(letter())
    assert len(control.state()["mails"]) == 1


def test_a_drop_keeps_nothing(mail: Setup) -> None:
    server, control = mail
    control.fault("drop", match={"method": "DATA"})
    with pytest.raises(smtplib.SMTPServerDisconnected), session(server) as client:
        client.send_message(letter())
    assert control.state()["mails"] == []


def test_a_hang_ends_when_it_is_withdrawn(mail: Setup) -> None:
    server, control = mail
    control.fault("hang", match={"method": "RCPT"})
    with smtplib.SMTP("127.0.0.1", server.port, timeout=0.3) as client:
        client.login("user", "secret")
        with pytest.raises((TimeoutError, smtplib.SMTPServerDisconnected)):
            client.send_message(letter())
        client.close()
    assert control("DELETE", "/__faults").status == 204
    with session(server) as client:
        client.send_message(letter())
