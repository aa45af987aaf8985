"""Orders to misbehave, the log, and what survives a restart."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rehearsal.seed import order
from rehearsal.tests.support import ROOT, Client, until

COMMENTS = "/repos/acme/wordcount/issues/7/comments"
GONE = (ConnectionError, http.client.HTTPException)


def comment(github: Client, text: str, **options: Any) -> int:
    return github("POST", COMMENTS, {"body": text}, **options).status


def count(github: Client) -> int:
    return int(github("GET", COMMENTS.removesuffix("/comments")).json["comments"])


def test_a_status_is_answered_without_the_work(github: Client) -> None:
    github.fault("status", match={"method": "POST"}, times=2, status=502)
    assert [comment(github, "x") for _ in range(3)] == [502, 502, 201]
    assert count(github) == 4


def test_a_drop_does_nothing(github: Client) -> None:
    github.fault("drop", match={"path_regex": "comments$"})
    with pytest.raises(GONE):
        comment(github, "x")
    assert count(github) == 3


def test_a_late_commit_does_the_work_and_does_not_answer(github: Client) -> None:
    github.fault("late_commit", match={"method": "POST"})
    with pytest.raises(GONE):
        comment(github, "x")
    assert count(github) == 4
    (entry,) = [one for one in github.log() if one["fault"]]
    assert (entry["status"], entry["committed"], entry["body"]) == (None, True, {"body": "x"})


def test_a_late_commit_may_outlast_the_client(github: Client) -> None:
    github.fault("late_commit", match={"method": "POST"}, delay=60)
    with pytest.raises(TimeoutError):
        comment(github, "x", timeout=0.3)
    assert count(github) == 4


def test_a_hang_answers_nothing_and_ends_with_the_order(github: Client) -> None:
    github.fault("hang", match={"method": "POST"})
    with pytest.raises(TimeoutError):
        comment(github, "x", timeout=0.3)
    github.fault("hang", match={"method": "POST"})
    ended = threading.Event()

    def hanging() -> None:
        with pytest.raises(GONE):
            comment(github, "y")
        ended.set()

    thread = threading.Thread(target=hanging)
    thread.start()
    until(lambda: sum(one["fault"] == "hang" for one in github.log()) == 2)
    assert not ended.is_set()
    github("DELETE", "/__faults")
    thread.join(10)
    assert ended.is_set()
    assert count(github) == 3


def test_a_slow_answer_comes_after_all(github: Client) -> None:
    github.fault("slow", match={"method": "POST"}, delay=0.1)
    assert comment(github, "x") == 201
    assert max(one["ms"] for one in github.log() if one["fault"] == "slow") >= 100


def test_a_cut_ends_in_the_middle_of_the_answer(github: Client) -> None:
    github.fault("cut", match={"path_regex": "comments"})
    with pytest.raises(http.client.IncompleteRead):
        github("GET", COMMENTS)


def test_orders_match_by_body_and_may_let_some_pass(github: Client) -> None:
    github.fault("status", match={"body_regex": "bad"}, skip=1, times=0, status=500)
    assert [comment(github, text) for text in ("bad", "good", "bad", "bad")] == [201, 201, 500, 500]
    (order_,) = github("GET", "/__faults").json
    assert (order_["hits"], order_["skip"]) == (2, 0)


@pytest.mark.parametrize(
    "value",
    [
        {},
        {"action": "strange"},
        {"action": "drop", "match": {"x": "y"}},
        {"action": "drop", "match": {"path_regex": "("}},
    ],
)
def test_an_order_that_cannot_be_understood_is_refused(github: Client, value: Any) -> None:
    assert github("POST", "/__faults", value).status == 400
    assert github("POST", "/__faults", b"{").status == 400


def test_the_log_keeps_no_credential(github: Client, tmp_path: Path) -> None:
    comment(github, "x")
    (entry,) = github.log()
    assert (entry["n"], entry["method"], entry["path"], entry["status"]) == (1, "POST", COMMENTS, 201)
    assert entry["headers"]["authorization"] == "Bearer ***"
    assert entry["answer"]["body"] == "x"
    assert "gh-token" not in (tmp_path / "github" / "github.jsonl").read_text()
    assert github("GET", "/__log?after=1").json == []


def test_one_connection_carries_many_requests_with_chunked_bodies(github: Client) -> None:
    connection = http.client.HTTPConnection(urlsplit(github.url).netloc, timeout=10)
    headers = {**github.headers, "Transfer-Encoding": "chunked"}
    for _ in range(3):
        pieces = iter([b'{"bo', b'dy": "in ', b'pieces"}'])
        connection.request("POST", COMMENTS, pieces, headers, encode_chunked=True)
        response = connection.getresponse()
        assert (response.status, b"in pieces" in response.read()) == (201, True)
    connection.close()
    assert count(github) == 6


def start(service: str, data: Path, port: int = 0) -> tuple[subprocess.Popen[str], str]:
    """Starts a simulator as its own process; returns it and its first line."""
    command = [
        sys.executable,
        "-m",
        "rehearsal",
        service,
        "--port",
        str(port),
        "--data",
        str(data),
        "--token",
        "t",
    ]
    process = subprocess.Popen(command, cwd=ROOT.parent, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    return process, process.stdout.readline()


@pytest.mark.parametrize("service", ["github", "slack", "smtp", "model"])
def test_a_process_says_where_it_listens_and_ends_at_a_signal(service: str, tmp_path: Path) -> None:
    process, line = start(service, tmp_path)
    try:
        url = line.split()[2]
        assert line.startswith("listening on http://127.0.0.1:")
        assert Client(url)("GET", "/__state").status == 200
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0


def test_a_simulator_listens_where_it_is_told_with_a_token_from_a_file(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("from-a-file\n")
    command = [sys.executable, "-m", "rehearsal", "slack", "--host", "127.0.0.2", "--data", str(tmp_path)]
    process = subprocess.Popen(
        [*command, "--token-file", str(token)], cwd=ROOT.parent, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        port = urlsplit(process.stdout.readline().split()[2]).port
        slack = Client(f"http://127.0.0.2:{port}")
        told = slack("POST", "/auth.test", headers={"Authorization": "Bearer from-a-file"}).json
        assert told["ok"]
        assert not slack("POST", "/auth.test", headers={"Authorization": "Bearer other"}).json["ok"]
        refused = subprocess.run(
            [*command, "--token-file", "/dev/null"],
            cwd=ROOT.parent,
            capture_output=True,
            text=True,
            check=False,
        )
        assert refused.returncode == 2
        assert "/dev/null is empty" in refused.stderr
    finally:
        process.terminate()
        assert process.wait(10) == 0


def test_a_killed_simulator_knows_everything_after_its_restart(tmp_path: Path) -> None:
    process, line = start("github", tmp_path)
    github = Client(line.split()[2], Authorization="token t")
    github("POST", "/__seed", order("acme/wordcount"))
    github.fault("status", match={"method": "POST"}, skip=1, status=500)
    assert comment(github, "before") == 201
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    process, line = start("github", tmp_path, int(line.rpartition(":")[2]))
    try:
        github = Client(line.split()[2], Authorization="token t")
        assert count(github) == 4
        assert [comment(github, "after") for _ in range(2)] == [500, 201]
        assert [entry["n"] for entry in github.log()] == list(range(1, len(github.log()) + 1))
    finally:
        process.terminate()
        process.wait(10)
