"""A stack that speaks TLS to everything, and each refusal of what cannot be trusted, against real servers."""

from __future__ import annotations

import json
import os
import selectors
import subprocess
import sys
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from rehearsal.findings import Findings
from rehearsal.smtp import Mail
from rehearsal.smtp.server import Encryption, mail_running
from Tests.system.authority import Authority, Identity
from Tests.system.jobs import script
from Tests.system.waiting import until
from Tests.system.world import KEPT, ROOT, Stack

SAYS_WITHIN = 40.0


@dataclass
class Servers:
    """Postgres and RabbitMQ of this module's own, both with TLS beside their plain ports."""

    authority: Authority
    other: Authority
    environment: dict[str, str]
    plain: dict[str, str]
    amqps_port: int

    def script(self, *words: str) -> str:
        """Runs scripts/servers for this instance."""
        done = subprocess.run(
            [ROOT / "scripts" / "servers", *words],
            env=self.environment,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        return done.stdout

    def postgres(self, host: str = "localhost", mode: str = "verify-full", database: str = "postgres") -> str:
        """Its URL over TLS."""
        port = self.plain["BGAGENT_TEST_POSTGRES_URL"].rpartition(":")[2].split("/")[0]
        return f"postgres://postgres@{host}:{port}/{database}?sslmode={mode}"

    def amqp(self, host: str = "localhost") -> str:
        """Its URL over TLS."""
        return f"amqps://guest:guest@{host}:{self.amqps_port}/"

    def show(self, identity: Identity | None) -> None:
        """Lets Postgres show another certificate, or none, to new connections."""
        with psycopg.connect(self.plain["BGAGENT_TEST_POSTGRES_URL"], autocommit=True) as connection:
            if identity is not None:
                identity.lend("postgres")
                for name, path in (("ssl_cert_file", identity.certificate), ("ssl_key_file", identity.key)):
                    connection.execute(f"ALTER SYSTEM SET {name} = '{path}'")
            connection.execute(f"ALTER SYSTEM SET ssl = {'off' if identity is None else 'on'}")
            connection.execute("SELECT pg_reload_conf()")

        def seen() -> bool:
            with psycopg.connect(self.plain["BGAGENT_TEST_POSTGRES_URL"]) as connection:
                row = connection.execute(
                    "SELECT current_setting('ssl'), current_setting('ssl_cert_file')"
                ).fetchone()
            return row is not None and (
                row == ("on", str(identity.certificate)) if identity is not None else row[0] == "off"
            )

        until("Postgres has read its configuration", seen, 20)


def free_port() -> int:
    """A port below the ephemeral ones that nobody has now."""
    words = ["bash", "-c", f". {ROOT}/scripts/lib.sh && free_ports 1"]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    """The servers, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="bgagent-tls-", dir="/tmp") as name:
        folder = Path(name)
        folder.chmod(0o755)
        authority = Authority(folder / "ours")
        broker = authority.issue("broker", "DNS:localhost")
        port = free_port()
        more = folder / "more.conf"
        more.write_text(
            f"listeners.ssl.local = 127.0.0.1:{port}\n"
            f"ssl_options.cacertfile = {authority.file}\n"
            f"ssl_options.certfile = {broker.certificate}\nssl_options.keyfile = {broker.key}\n"
            "ssl_options.verify = verify_none\n"
            "ssl_options.versions.1 = tlsv1.3\nssl_options.versions.2 = tlsv1.2\n"
        )
        environment = {
            key: value for key, value in os.environ.items() if not key.startswith("BGAGENT_") or key in KEPT
        }
        environment.setdefault("BGAGENT_VENV", sys.prefix)
        environment |= {
            "BGAGENT_INSTANCE": f"tls-{os.getpid()}",
            "BGAGENT_RABBITMQ_MORE": str(more),
            "BGAGENT_FSYNC": "off",
        }
        made = Servers(authority, Authority(folder / "theirs"), environment, {}, port)
        try:
            made.script("start")
            lines = (line.removeprefix("export ").split("=", 1) for line in made.script("env").splitlines())
            made.plain = {pair[0]: pair[1].strip("'") for pair in lines if len(pair) == 2}
            made.show(authority.issue("postgres", "DNS:localhost"))
            yield made
        finally:
            made.script("stop", "--wipe")


class SecureStack(Stack):
    """A stack whose command line goes to the gateway over TLS."""

    authority: Path

    def bgagent(self, user: str = "") -> tuple[list[str], dict[str, str]]:
        program, variables = super().bgagent(user)
        port = variables["BGAGENT_API_URL"].rpartition(":")[2]
        return program, variables | {
            "BGAGENT_API_URL": f"https://localhost:{port}",
            "BGAGENT_CA_FILE": str(self.authority),
        }


def binary(name: str) -> Path:
    """A program of this build."""
    folder = os.environ.get("BGAGENT_BIN_DIR") or ROOT / ".build" / os.environ.get("BGAGENT_BUILD", "debug")
    return Path(folder) / name


def test_a_task_goes_through_a_stack_that_speaks_tls_to_everything(
    servers: Servers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway = servers.authority.issue("gateway", "DNS:localhost")
    mail = servers.authority.issue("mail", "DNS:localhost")
    with psycopg.connect(servers.plain["BGAGENT_TEST_POSTGRES_URL"], autocommit=True) as connection:
        connection.execute("CREATE DATABASE bgagent")
    with ExitStack() as cleanup:
        kept = Mail(tmp_path / "mail")
        taking = cleanup.enter_context(mail_running(kept, tls=Encryption(mail.certificate, mail.key)))
        stack = SecureStack(
            "secure",
            BGAGENT_POSTGRES_URL=servers.postgres(database="bgagent"),
            BGAGENT_AMQP_URL=servers.amqp(),
            BGAGENT_CA_FILE=str(servers.authority.file),
            BGAGENT_GATEWAY_TLS_CERT=str(gateway.certificate),
            BGAGENT_GATEWAY_TLS_KEY=str(gateway.key),
            BGAGENT_SMTP_URL=f"smtp://localhost:{taking.port}",
            BGAGENT_SMTP_SECURITY="required",
        )
        stack.authority = servers.authority.file
        # For the test's own connections; the services have been given theirs.
        monkeypatch.setenv("PGSSLROOTCERT", str(servers.authority.file))
        cleanup.callback(stack.close)
        try:
            stack.up()
            encrypted(servers)
            stack.onboard("acme/secure")
            stack.token("ada")
            ended = stack.cli("submit", "--repo", "acme/secure", script("pricing"), "--wait", user="ada")
            assert ended.returncode == 0
            task = str(stack.rows("SELECT task_id FROM tasks")[0]["task_id"])
            untold = "SELECT * FROM effects WHERE state NOT IN ('sent', 'superseded')"
            until("everybody is told", lambda: not stack.rows(untold), 60)
            assert Findings.read(stack.urls, task, "acme/secure").pulls
            mails = until("the mail is there", lambda: kept.document.value["mails"], 30)
            assert mails[0]["to"] == ["ada@localhost"]
            refuses_without_authority(stack)
        except BaseException:
            stack.failed = True
            raise


def encrypted(servers: Servers) -> None:
    """Every connection of ours to Postgres and RabbitMQ is over TLS."""
    with psycopg.connect(servers.plain["BGAGENT_TEST_POSTGRES_URL"]) as connection:
        rows = connection.execute(
            "SELECT a.application_name, s.ssl, s.version FROM pg_stat_activity a"
            " JOIN pg_stat_ssl s USING (pid) WHERE a.datname = 'bgagent'"
        ).fetchall()
    assert len({name for name, _, _ in rows}) >= 5, rows
    assert all(ssl and version in ("TLSv1.2", "TLSv1.3") for _, ssl, version in rows), rows

    def connections() -> list[dict[str, Any]]:
        request = urllib.request.Request(
            f"{servers.plain['BGAGENT_TEST_AMQP_API_URL'].rstrip('/')}/connections"
        )
        request.add_header("Authorization", "Basic Z3Vlc3Q6Z3Vlc3Q=")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=10) as answer:
            found: list[dict[str, Any]] = json.loads(answer.read())
        return [one for one in found if "ssl" in one]

    found = until("the broker lists its connections", connections, 30)
    assert all(one["ssl"] for one in found)


def refuses_without_authority(stack: SecureStack) -> None:
    """The command line says what to do, and keeps an authority with a profile."""
    program, variables = stack.bgagent()
    authority = variables.pop("BGAGENT_CA_FILE")

    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            program + list(words), env=variables, capture_output=True, text=True, check=False, timeout=120
        )

    refused = run("list")
    assert refused.returncode == 1
    assert "--ca-file" in refused.stderr, refused.stderr
    assert run("list", "--ca-file", authority).returncode == 0
    missing = run("list", "--ca-file", "/nowhere/ca.pem")
    assert missing.returncode == 1
    assert "holds no certificates" in missing.stderr
    address, token = variables.pop("BGAGENT_API_URL"), variables.pop("BGAGENT_TOKEN")
    saved = run(
        "configure", "--api-url", address, "--token", token, "--ca-file", authority, "--profile", "tls"
    )
    assert saved.returncode == 0, saved.stderr
    assert run("list", "--profile", "tls").returncode == 0


# What the server shows, how it is asked, and what the refusal has to say.
POSTGRES = {
    "another authority": ("good", "localhost", "theirs", "BGAGENT_CA_FILE"),
    "no authority": ("good", "localhost", "", "BGAGENT_CA_FILE"),
    "another host name": ("good", "127.0.0.1", "ours", "host name"),
    "expired": ("expired", "localhost", "ours", "expired"),
    "plain text": ("nothing", "localhost", "ours", "switch ssl on"),
}
BROKER = {
    "another authority": ("localhost", "theirs", "BGAGENT_CA_FILE"),
    "another host name": ("127.0.0.1", "ours", "host name"),
    "plain text": ("plain", "ours", "may not speak TLS"),
}


def complaint(words: str, **settings: str) -> str:
    """The line in which the migration says a thing; it tries on until it is ended."""
    environment = {"PATH": os.environ["PATH"], "HOME": "/nowhere", **settings}
    process = subprocess.Popen(
        [binary("bgagent-migrate")], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    assert process.stdout is not None
    text = b""
    try:
        with selectors.DefaultSelector() as selector:
            selector.register(process.stdout, selectors.EVENT_READ)

            def said() -> str | None:
                nonlocal text
                while selector.select(0):
                    part = os.read(process.stdout.fileno(), 65536) if process.stdout else b""
                    if not part:
                        break
                    text += part
                found = [line for line in text.decode().splitlines() if words in line]
                return found[0] if found else None

            try:
                return until(f"somebody says {words}", said, SAYS_WITHIN)
            except AssertionError as error:
                raise AssertionError(f"{error}\n{text.decode()}") from error
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def trusted(servers: Servers, whose: str) -> dict[str, str]:
    """The setting that names an authority."""
    files = {"ours": servers.authority.file, "theirs": servers.other.file}
    return {"BGAGENT_CA_FILE": str(files[whose])} if whose else {}


@pytest.mark.parametrize("fault", POSTGRES)
def test_a_database_that_cannot_be_trusted_is_refused_with_what_to_set(servers: Servers, fault: str) -> None:
    shown, host, whose, words = POSTGRES[fault]
    issued = servers.authority.issue("shown", "DNS:localhost", expired=shown == "expired")
    servers.show(None if shown == "nothing" else issued)
    complaint(
        words,
        BGAGENT_POSTGRES_URL=servers.postgres(host),
        BGAGENT_AMQP_URL=servers.amqp(),
        **trusted(servers, whose),
    )


@pytest.mark.parametrize("fault", BROKER)
def test_a_broker_that_cannot_be_trusted_is_refused_with_what_to_set(servers: Servers, fault: str) -> None:
    host, whose, words = BROKER[fault]
    plain = (
        servers.plain["BGAGENT_TEST_AMQP_URL"]
        .replace("amqp://", "amqps://")
        .replace("127.0.0.1", "localhost")
    )
    said = complaint(
        words,
        BGAGENT_POSTGRES_URL=servers.plain["BGAGENT_TEST_POSTGRES_URL"],
        BGAGENT_AMQP_URL=plain if host == "plain" else servers.amqp(host),
        **trusted(servers, whose),
    )
    assert "declare the topology" in said
    assert "guest:guest" not in said


def test_a_certificate_file_that_is_none_is_told_before_anything_is_tried(
    servers: Servers, tmp_path: Path
) -> None:
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing\n")
    done = subprocess.run(
        [binary("gateway")],
        env={
            "PATH": os.environ["PATH"],
            "BGAGENT_POSTGRES_URL": servers.postgres(),
            "BGAGENT_AMQP_URL": servers.amqp(),
            "BGAGENT_CA_FILE": str(empty),
            "BGAGENT_GATEWAY_TLS_KEY": "/nowhere/key.pem",
        },
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 64
    assert f"BGAGENT_CA_FILE={empty} holds no certificate" in done.stderr
    assert "BGAGENT_GATEWAY_TLS_CERT and BGAGENT_GATEWAY_TLS_KEY go together" in done.stderr
