"""A real Prometheus that scrapes a stack of ours, with the configuration and the rules that we ship."""

from __future__ import annotations

import contextlib
import math
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from rehearsal import client
from Tests.system.waiting import until
from Tests.system.world import ROOT, SERVICES, Stack

SHIPPED = ROOT / "ops/prometheus"


def configuration(stack: Stack) -> str:
    """What we ship, made faster, with the addresses of a stack in the place of compose's names."""
    text = (SHIPPED / "prometheus.yml").read_text()
    assert set(SERVICES) <= set(re.findall(r"^ +- ([a-z-]+)$", text, re.M)), "a service is not scraped"
    targets = []
    for service in SERVICES:
        address = urlsplit(stack.exports[f"BGAGENT_HEALTH_{service.upper().replace('-', '_')}"]).netloc
        targets.append(f'      - {{targets: ["{address}"], labels: {{__meta_dns_name: {service}}}}}\n')
    static = "    static_configs:\n" + "".join(targets) + "    relabel_configs:"
    text, count = re.subn(r"    dns_sd_configs:\n.+?    relabel_configs:", static, text, flags=re.S)
    assert count == 1
    return text.replace("_interval: 15s", "_interval: 1s")


class Prometheus:
    """One process with its data in a folder; `close` ends it."""

    def __init__(self, folder: Path, stack: Stack) -> None:
        shutil.copy(SHIPPED / "alerts.yml", folder)
        (folder / "prometheus.yml").write_text(configuration(stack))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            address = f"127.0.0.1:{free.getsockname()[1]}"
        self.url = f"http://{address}"
        self._log = folder / "log"
        with self._log.open("w") as log:
            self.process = subprocess.Popen(
                [
                    "prometheus",
                    f"--config.file={folder / 'prometheus.yml'}",
                    f"--storage.tsdb.path={folder / 'data'}",
                    f"--web.listen-address={address}",
                    "--log.level=warn",
                ],
                stdout=log,
                stderr=log,
            )
        try:
            until("Prometheus is ready", self._ready, 60)
        except BaseException:
            self.close()
            raise

    def _ready(self) -> bool:
        assert self.process.poll() is None, self._log.read_text()
        with contextlib.suppress(client.Unreachable):
            client.call(self.url, "/-/ready", timeout=2)
            return True
        return False

    def close(self) -> None:
        """Ends it."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, path: str, **parameters: str) -> Any:
        """One call of its API; a query that it does not understand raises with its words."""
        answer = client.call(self.url, f"/api/v1/{path}?" + urlencode(parameters))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The samples that an expression finds now, those that are no number left out."""
        found: list[dict[str, Any]] = self.ask("query", query=expression)["result"]
        return [one for one in found if not math.isnan(float(one["value"][1]))]

    def value(self, expression: str) -> float | None:
        """The one number that an expression finds; None where it finds nothing."""
        found = self.query(expression)
        assert len(found) <= 1, f"{expression} finds {len(found)} series"
        return float(found[0]["value"][1]) if found else None

    def names(self) -> set[str]:
        """Every metric that was ever scraped."""
        return set(self.ask("label/__name__/values"))

    def rules(self) -> dict[str, dict[str, Any]]:
        """Every alert by its name, as it stands."""
        groups = self.ask("rules")["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}

    def scraped(self) -> None:
        """Waits until every service was read twice more, and the rules looked at what was read."""
        counted = f'count(count_over_time(up{{job="bgagent"}}[2s]) >= 1) == {len(SERVICES)}'
        start = self.value("vector(time())") or 0.0
        until("all services are scraped", lambda: bool(self.query(counted)), 60)
        until("two scrapes pass", lambda: (self.value("min(timestamp(up))") or 0.0) > start + 2.5, 60)
