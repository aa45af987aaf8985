"""The parts of a local run: prompt, proxy, meter and words."""

from __future__ import annotations

import http.client
import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from bgagent_agent.control import Event
from bgagent_agent.local.control import line_of, printer
from bgagent_agent.local.errors import NotStarted
from bgagent_agent.local.forge import Comment, GitHub, Issue
from bgagent_agent.local.meter import Budget, Meter, Prices, Verdict
from bgagent_agent.local.preparation import new_id, slug
from bgagent_agent.local.prompt import PLATFORM_NETWORK, build
from bgagent_agent.local.proxy import ModelProxy, model_proxy
from bgagent_agent.local.settings import LocalSettings, read
from local_world import GITHUB_TOKEN, MODEL_KEY, simulator

ROOT = Path(__file__).parents[2]
BODY = {"model": "claude-sonnet-4-5", "max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]}
VERSION = {"anthropic-version": "2023-06-01"}


def test_the_prompt_is_the_one_that_the_platform_builds() -> None:
    golden = json.loads((ROOT / "Tests" / "Golden" / "prompt.json").read_text())
    for sample in golden["samples"]:
        task, issue = sample["task"], sample["issue"]
        if issue is not None:
            comments = tuple(Comment(c["author"], c["body"], c["created_at"]) for c in issue["comments"])
            issue = Issue(issue["number"], issue["title"], issue["body"], issue["author"], comments)
        prompt = build(
            task["repo"],
            task["task_id"],
            task["branch"],
            task["description"],
            issue,
            network=PLATFORM_NETWORK,
            budget=sample["budget"],
        )
        assert prompt.system == sample["system"]
        assert prompt.user == sample["user"]
        assert prompt.is_truncated == sample["truncated"]
        assert prompt.version == sample["version"]


def test_prices_are_those_of_the_platform() -> None:
    ours = ROOT / "agent" / "src" / "bgagent_agent" / "local" / "prices.json"
    assert ours.read_bytes() == (ROOT / "services" / "agent-gateway" / "prices.json").read_bytes()
    million = dict.fromkeys(("input", "output", "cache_write_5m", "cache_write_1h", "cache_read"), 0)
    prices = Prices()
    assert prices.cost("claude-sonnet-4-5-20250929", million | {"input": 1_000_000}) == 3_000_000
    assert prices.cost("claude-opus-4-5", million | {"output": 3}) == 75
    assert prices.cost("a-new-model", million | {"output": 1_000_000}) == 75_000_000


def test_a_budget_is_passed_by_one_answer_at_most() -> None:
    budget = Budget(Decimal("1.00"))
    assert budget.reserve(900_000) is Verdict.FORWARD
    assert budget.reserve(200_000) is Verdict.WAIT
    budget.settle(900_000, 999_999)
    assert budget.reserve(900_000) is Verdict.FORWARD
    budget.settle(900_000, 10)
    assert budget.reserve(1) is Verdict.SPENT
    assert str(budget) == "$1.0000 of $1.00"


def test_a_meter_counts_a_stream_in_pieces_of_any_size() -> None:
    start = {"input_tokens": 1000, "output_tokens": 1, "cache_read_input_tokens": 10}
    events: list[dict[str, Any]] = [
        {"type": "message_start", "message": {"model": "claude-sonnet-4-5", "usage": start}},
        {"type": "content_block_delta", "delta": {"text": "x" * 5000}},
        {"type": "message_delta", "usage": {"output_tokens": 200}},
        {"type": "message_stop"},
    ]
    text = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events).encode()
    for size in (1, 7, len(text)):
        meter = Meter()
        for start_at in range(0, len(text), size):
            meter.feed(text[start_at : start_at + size])
        assert meter.is_complete
        assert meter.cost(Prices(), "claude-sonnet-4-5", 0) == 1000 * 3 + 200 * 15 + 3
    broken = Meter()
    broken.feed(text[: text.index(b"event: message_delta")])
    assert not broken.is_complete
    assert broken.cost(Prices(), "claude-sonnet-4-5", 0) > 1000 * 3 + 1000 * 15
    assert Meter().cost(Prices(), "claude-sonnet-4-5", 77) == 77


def settings(model_url: str, **environment: str) -> LocalSettings:
    """Settings of a run whose model is here."""
    variables = {
        "GITHUB_TOKEN": GITHUB_TOKEN,
        "ANTHROPIC_API_KEY": MODEL_KEY,
        "ANTHROPIC_BASE_URL": model_url,
    }
    return read(["acme/pricing", "fix it"], {**variables, **environment})


def post(
    proxy: ModelProxy, path: str = "/v1/messages", token: str | None = None, **body: Any
) -> tuple[int, Any]:
    """One request to the proxy: the status and the JSON of the answer, or its text."""
    connection = http.client.HTTPConnection("127.0.0.1", int(proxy.server_address[1]), timeout=60)
    headers = {"Authorization": f"Bearer {proxy.token if token is None else token}", **VERSION}
    connection.request("POST", path, json.dumps({**BODY, **body}), headers)
    answer = connection.getresponse()
    text = answer.read().decode()
    connection.close()
    if answer.headers["Content-Type"].startswith("application/json"):
        return answer.status, json.loads(text)
    return answer.status, text


def test_the_proxy_takes_its_own_token_and_adds_the_key(tmp_path: Path) -> None:
    with simulator("model", tmp_path, MODEL_KEY) as model:
        budget = Budget(None)
        with model_proxy(settings(model), budget) as proxy:
            assert post(proxy, token="wrong")[0] == 401
            assert post(proxy, token=MODEL_KEY)[0] == 401
            assert post(proxy, path="/v1/files")[0] == 404
            status, message = post(proxy)
            assert (status, message["type"]) == (200, "message")
            whole = budget.spent
            assert whole > 0
            status, stream = post(proxy, stream=True)
            assert status == 200
            assert "event: message_stop" in stream
            assert budget.spent == 2 * whole
            assert post(proxy, path="/v1/messages/count_tokens")[1]["input_tokens"] > 0
            assert budget.spent == 2 * whole
            assert post(proxy, model=7, max_tokens="many")[0] == 400
        assert proxy.token != MODEL_KEY


def test_a_spent_budget_is_answered_with_402(tmp_path: Path) -> None:
    with simulator("model", tmp_path, MODEL_KEY) as model:
        budget = Budget(Decimal("0.01"))
        with model_proxy(settings(model), budget) as proxy:
            budget.reserve(0)
            budget.settle(0, 9_999)
            assert post(proxy)[0] == 200
            status, refusal = post(proxy)
            assert status == 402
            assert refusal["error"]["message"] == "The budget of this run is spent."


@contextmanager
def cut_off() -> Iterator[str]:
    """A model that breaks off in the middle of a stream."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(65_536)
                head = (
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                )
                connection.sendall(head.encode() + b"9\r\nevent: x\n\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"
        thread.join(timeout=30)


def test_a_stream_that_breaks_off_does_not_end_cleanly_behind_the_proxy() -> None:
    with cut_off() as model, model_proxy(settings(model), Budget(None)) as proxy:
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            post(proxy, stream=True)
        assert proxy.budget.spent > 0


def test_a_model_that_cannot_be_reached_is_asked_again_by_the_client() -> None:
    with model_proxy(settings("http://127.0.0.1:9"), Budget(None)) as proxy:
        status, refusal = post(proxy)
        assert status == 529
        assert "cannot be reached" in refusal["error"]["message"]
        assert proxy.budget.spent == 0


def test_a_bearer_credential_is_used_where_there_is_no_key() -> None:
    bearer = settings("http://127.0.0.1:9", ANTHROPIC_API_KEY="", ANTHROPIC_AUTH_TOKEN="bearer-4711")
    with model_proxy(bearer, Budget(None)) as proxy:
        assert proxy.credentials == {"authorization": "Bearer bearer-4711"}


def test_settings_never_show_a_secret() -> None:
    shown = repr(settings("http://127.0.0.1:9"))
    assert GITHUB_TOKEN not in shown
    assert MODEL_KEY not in shown


def test_github_is_asked_again_before_it_is_given_up() -> None:
    pauses: list[float] = []
    with pytest.raises(NotStarted, match="cannot be had"):
        GitHub("http://127.0.0.1:9", GITHUB_TOKEN, pauses.append).repository("acme/pricing")
    assert pauses == [1.0, 2.0]


def test_a_redirect_does_not_take_the_token_to_another_host() -> None:
    heard: list[str] = []

    class Elsewhere(BaseHTTPRequestHandler):
        server: HTTPServer

        def do_GET(self) -> None:
            heard.append(f"{self.server.server_port} {self.headers.get('Authorization')}")
            self.send_response(301)
            self.send_header("Location", f"http://127.0.0.1:{other.server_address[1]}{self.path}")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:
            """Says nothing."""

    with HTTPServer(("127.0.0.1", 0), Elsewhere) as asked, HTTPServer(("127.0.0.1", 0), Elsewhere) as other:
        threads = [threading.Thread(target=one.serve_forever, args=(0.02,)) for one in (asked, other)]
        for thread in threads:
            thread.start()
        url = f"http://127.0.0.1:{asked.server_address[1]}"
        with pytest.raises(NotStarted, match="GitHub knows no repository"):
            GitHub(url, GITHUB_TOKEN).repository("acme/pricing")
        for one in (asked, other):
            one.shutdown()
        for thread in threads:
            thread.join()
    assert heard == [f"{asked.server_address[1]} Bearer {GITHUB_TOKEN}"]


def test_names_are_the_platforms() -> None:
    assert slug("Fix the failing test!\nand more", None) == "fix-the-failing-test"
    assert slug("--\n Ümlaut first", None) == "mlaut-first"
    assert slug(None, 42) == "issue-42"
    assert slug("漢字", None) == "task"
    assert len(slug("word " * 40, None)) <= 50
    ids = [new_id() for _ in range(3)]
    assert all(len(one) == 26 and one[0] in "01234567" for one in ids)
    assert len(set(ids)) == 3


def test_events_become_lines_without_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    told = {"tool_name": "Bash", "is_error": True, "content_preview": "a\n\x1b[31mred", "turn": 1}
    printer()(line_of(Event(1, "agent_tool_result", told)))
    out = capsys.readouterr().out
    assert out.endswith("← Bash failed  a [31mred\n")
