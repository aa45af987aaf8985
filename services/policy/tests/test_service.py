"""The service as a process: its routes, its refusals, its metrics and how it ends."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

SOURCES = Path(__file__).parents[1] / "src"


@dataclass
class Service:
    """A running service. `lines` are what it has logged so far."""

    process: subprocess.Popen[str]
    port: int
    health_port: int

    def call(
        self,
        method: str,
        path: str,
        body: object = None,
        headers: dict[str, str] | None = None,
        port: int | None = None,
    ) -> tuple[int, Any, dict[str, str]]:
        """One request: status, decoded body, header fields."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.port, timeout=10)
        raw = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        try:
            connection.request(method, path, raw, dict(headers or {}))
            response = connection.getresponse()
            text = response.read().decode()
        finally:
            connection.close()
        fields = {name.lower(): value for name, value in response.getheaders()}
        decoded = json.loads(text) if fields.get("content-type") == "application/json" else text
        return response.status, decoded, fields

    def post(self, path: str, body: object) -> tuple[int, Any]:
        """Posts a body; status and decoded answer."""
        status, decoded, _ = self.call("POST", path, body)
        return status, decoded


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def start(**settings: str) -> subprocess.Popen[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(SOURCES), **settings}
    return subprocess.Popen(
        [sys.executable, "-m", "bgagent_policy.service"], env=environment, stderr=subprocess.PIPE, text=True
    )


@pytest.fixture
def service() -> Iterator[Service]:
    health = free_port()
    process = start(BGAGENT_POLICY_PORT="0", BGAGENT_HEALTH_PORT=str(health))
    assert process.stderr is not None
    first = json.loads(process.stderr.readline())
    assert first["message"] == "listening"
    yield Service(process, first["port"], health)
    process.kill()
    process.wait(10)
    process.stderr.close()


def test_a_text_of_rules_and_scopes_is_validated(service: Service) -> None:
    text = '@tier("soft") @rule_id("mine") @summary("x")\nforbid (principal, action, resource) '
    text += "when { context.read_only };"
    body = {"policies": text, "scopes": ["rule:mine", "rule:rm_slash", "bash_pattern:**", "tool_type:Bash"]}
    status, answer = service.post("/v1/validate", body)
    assert (status, answer["data"]["valid"], answer["data"]["errors"]) == (200, True, [])
    assert [rule["rule_id"] for rule in answer["data"]["rules"]] == ["mine"]
    assert [scope["valid"] for scope in answer["data"]["scopes"]] == [True, False, False, True]
    assert "hard rule" in answer["data"]["scopes"][1]["reason"]
    status, answer = service.post("/v1/validate", {"policies": "\n\npermit (principal, action, resource);"})
    assert (status, answer["data"]["valid"]) == (200, False)
    assert answer["data"]["errors"][0]["line"] == 3


def test_the_rules_in_force_are_listed(service: Service) -> None:
    status, answer = service.post("/v1/effective", {})
    assert status == 200
    assert {"rm_slash"} <= {rule["rule_id"] for rule in answer["data"]["policies"]["hard"]}
    assert {"force_push_any"} <= {rule["rule_id"] for rule in answer["data"]["policies"]["soft"]}
    status, answer = service.post("/v1/effective", {"policies": "nonsense"})
    assert (status, answer["error"]["code"], answer["error"]["findings"][0]["line"]) == (
        422,
        "INVALID_POLICY",
        1,
    )


def test_a_call_is_evaluated_with_its_facts(service: Service) -> None:
    call = {"tool": "Bash", "input": {"command": "git push origin +HEAD:main"}}
    status, answer = service.post("/v1/evaluate", {"call": call})
    decision = answer["data"]["decision"]
    assert (status, decision["effect"], decision["severity"], decision["timeout_s"]) == (
        200,
        "ask",
        "high",
        300,
    )
    assert answer["data"]["facts"]["commands"][0]["git"]["target_branches"] == ["main"]
    task = {"scopes": ["tool_type:Bash"], "read_only": False, "repo": "acme/shop", "approval_timeout_s": 60}
    _, answer = service.post("/v1/evaluate", {"call": call, "task": task})
    assert answer["data"]["decision"]["source"] == "scope"
    task = {"denials": [{"rule_ids": ["force_push_any"], "age_s": 3, "reason": "no"}], "remaining_s": 1000}
    _, answer = service.post("/v1/evaluate", {"call": call, "task": task})
    assert answer["data"]["decision"]["source"] == "recent_denial"
    _, answer = service.post("/v1/evaluate", {"call": {"tool": "Nothing", "input": {}}})
    assert (answer["data"]["decision"]["effect"], answer["data"]["facts"]) == ("deny", None)


@pytest.mark.parametrize(
    ("path", "body", "named"),
    [
        ("/v1/validate", b"{", "no JSON"),
        ("/v1/validate", b"\xff", "no JSON"),
        ("/v1/validate", b"[" * 100_000, "no JSON"),
        ("/v1/validate", [], "the body is no object"),
        ("/v1/validate", {"policies": 3}, "policies has to be a text"),
        ("/v1/validate", {"policy": ""}, "unknown field: policy"),
        ("/v1/validate", {"scopes": [3]}, "scopes has to be a list"),
        ("/v1/evaluate", {}, "call is missing"),
        ("/v1/evaluate", {"call": {"tool": "Bash"}}, "call.input is missing"),
        ("/v1/evaluate", {"call": {"tool": "Bash", "input": {}, "x": 1}}, "unknown field: call.x"),
        (
            "/v1/evaluate",
            {"call": {"tool": "Bash", "input": {}}, "task": {"workspace": "x"}},
            "task.workspace",
        ),
        ("/v1/evaluate", {"call": {"tool": "Bash", "input": {}}, "task": {"read_only": 1}}, "task.read_only"),
        (
            "/v1/evaluate",
            {"call": {"tool": "Bash", "input": {}}, "task": {"remaining_s": True}},
            "task.remaining_s",
        ),
        ("/v1/evaluate", {"call": {"tool": "Bash", "input": {}}, "task": {"scopes": ["x"]}}, "is no scope"),
        ("/v1/evaluate", {"call": {"tool": "Bash", "input": {}}, "task": {"denials": [1]}}, "task.denials"),
    ],
)
def test_a_body_that_is_wrong_is_refused_by_name(
    service: Service, path: str, body: object, named: str
) -> None:
    status, answer, fields = service.call("POST", path, body)
    assert (status, answer["error"]["code"]) == (400, "VALIDATION_ERROR")
    assert named in answer["error"]["message"]
    assert fields["x-request-id"] == answer["error"]["request_id"]


def test_a_large_body_unknown_routes_and_methods_are_refused(service: Service) -> None:
    assert service.call("POST", "/v1/validate", b" " * (1 << 21))[0] == 413
    assert service.call("POST", "/v1/nothing", {})[1]["error"]["code"] == "NOT_FOUND"
    assert service.call("GET", "/v1/validate")[1]["error"]["code"] == "METHOD_NOT_ALLOWED"
    assert service.post("/v1/validate", {})[0] == 200


def test_a_request_keeps_its_id(service: Service) -> None:
    _, _, fields = service.call("POST", "/v1/validate", {}, {"X-Request-Id": "01J00000000000000000000000"})
    assert fields["x-request-id"] == "01J00000000000000000000000"
    _, _, fields = service.call("POST", "/v1/validate", {}, {"X-Request-Id": "not an id"})
    assert fields["x-request-id"] != "not an id"


def test_health_and_numbers_are_on_a_port_of_their_own(service: Service) -> None:
    assert service.call("GET", "/live", port=service.health_port)[:2] == (200, "ok\n")
    assert service.call("GET", "/ready", port=service.health_port)[:2] == (200, "ok\n")
    service.post("/v1/evaluate", {"call": {"tool": "Bash", "input": {"command": "ls"}}})
    service.post("/v1/evaluate", {})
    text = service.call("GET", "/metrics", port=service.health_port)[1]
    assert 'bgagent_policy_decisions_total{effect="allow"} 1' in text
    assert 'bgagent_http_request_seconds_count{method="POST",route="/v1/evaluate",status="400"} 1' in text
    assert "process_resident_memory_bytes" in text
    # The alert on descriptors is a share of this.
    assert re.search(r"^process_max_fds [1-9]", text, re.M)
    assert service.call("GET", "/live")[0] == 404


def test_sigterm_ends_it_in_order_and_every_log_line_is_json(service: Service) -> None:
    service.post("/v1/validate", {})
    service.process.send_signal(signal.SIGTERM)
    assert service.process.wait(10) == 0
    assert service.process.stderr is not None
    lines = [json.loads(line) for line in service.process.stderr]
    assert [line["message"] for line in lines] == ["stopping", "stopped"]
    assert all({"time", "level", "service"} <= line.keys() for line in lines)


def test_settings_that_are_wrong_are_all_named_and_end_it() -> None:
    process = start(BGAGENT_POLICY_PORT="many", BGAGENT_HEALTH_PORT="70000", BGAGENT_LOG_LEVEL="loud")
    assert process.stderr is not None
    told = process.communicate(timeout=10)[1]
    assert process.returncode == 64
    for name in ("BGAGENT_POLICY_PORT", "BGAGENT_HEALTH_PORT", "BGAGENT_LOG_LEVEL"):
        assert name in told


def test_a_port_that_is_taken_ends_it_with_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = start(BGAGENT_POLICY_PORT=str(listener.getsockname()[1]))
        told = process.communicate(timeout=10)[1]
    assert process.returncode == 1
    assert json.loads(told.splitlines()[-1])["message"] == "cannot listen"
