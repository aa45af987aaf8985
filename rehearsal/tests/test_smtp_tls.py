"""The mail server with a certificate: after STARTTLS, and from the start."""

from __future__ import annotations

import smtplib
import ssl
import subprocess
from pathlib import Path

import pytest

from rehearsal.smtp import Mail
from rehearsal.smtp.server import Encryption, mail_running

LETTER = "Subject: Task ended\r\n\r\nDone.\r\n"


def identity(folder: Path) -> tuple[Path, Path]:
    """A certificate for localhost that is its own authority."""
    certificate, key = folder / "cert.pem", folder / "key.pem"
    words = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    words += ["-keyout", str(key), "-out", str(certificate), "-subj", "/CN=localhost", "-days", "2"]
    words += ["-addext", "subjectAltName=DNS:localhost"]
    subprocess.run(words, check=True, capture_output=True)
    return certificate, key


def test_with_starttls_no_mail_is_taken_in_the_clear(tmp_path: Path) -> None:
    certificate, key = identity(tmp_path)
    mail = Mail(tmp_path / "mail")
    with (
        mail_running(mail, tls=Encryption(certificate, key)) as server,
        smtplib.SMTP("localhost", server.port, timeout=10) as client,
    ):
        with pytest.raises(smtplib.SMTPException, match="STARTTLS"):
            client.sendmail("a@acme.test", ["b@acme.test"], LETTER)
        client.starttls(context=ssl.create_default_context(cafile=str(certificate)))
        client.sendmail("a@acme.test", ["b@acme.test"], LETTER)
    assert [one["to"] for one in mail.document.value["mails"]] == [["b@acme.test"]]


def test_from_the_start_nothing_is_said_in_the_clear(tmp_path: Path) -> None:
    certificate, key = identity(tmp_path)
    mail = Mail(tmp_path / "mail")
    trusting = ssl.create_default_context(cafile=str(certificate))
    tls = Encryption(certificate, key, from_the_start=True)
    with mail_running(mail, tls=tls) as server:
        with smtplib.SMTP_SSL("localhost", server.port, context=trusting, timeout=10) as client:
            client.sendmail("a@acme.test", ["b@acme.test"], LETTER)
        with pytest.raises((smtplib.SMTPException, OSError)):
            smtplib.SMTP("localhost", server.port, timeout=2)
    assert len(mail.document.value["mails"]) == 1
