"""What the simulated Slack answers and refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from rehearsal.server import running
from rehearsal.slack import Slack
from rehearsal.tests.support import Client

CHANNEL = "C0BGAGENT"
SECTION = {"type": "section", "text": {"type": "mrkdwn", "text": "hello"}}


def post(slack: Client, **arguments: Any) -> Any:
    return slack("POST", "/chat.postMessage", {"channel": CHANNEL, "text": "hello", **arguments}).json


def test_a_message_and_its_thread(slack: Client) -> None:
    root = post(slack, text="root")
    first = post(slack, text="first", thread_ts=root["ts"])
    second = post(slack, text="second", thread_ts=first["ts"])
    assert root["ok"]
    assert float(root["ts"]) < float(first["ts"]) < float(second["ts"])
    query = urlencode({"channel": CHANNEL, "ts": root["ts"]})
    thread = slack("GET", f"/conversations.replies?{query}").json["messages"]
    assert [message["text"] for message in thread] == ["root", "first", "second"]
    assert {message["thread_ts"] for message in thread} == {root["ts"]}
    (shown,) = slack("GET", f"/conversations.history?channel={CHANNEL}").json["messages"]
    assert (shown["text"], shown["reply_count"]) == ("root", 2)


def test_metadata_is_returned_only_when_it_is_asked_for(slack: Client) -> None:
    metadata = {"event_type": "bgagent", "event_payload": {"notification_id": "n1"}}
    post(slack, metadata=metadata)
    form = urlencode({"channel": CHANNEL, "include_all_metadata": "true"})
    headers: dict[str, str | None] = {"Content-Type": "application/x-www-form-urlencoded"}
    asked = slack("POST", "/conversations.history", form, headers).json["messages"][0]
    plain = slack("GET", f"/conversations.history?channel={CHANNEL}").json["messages"][0]
    assert asked["metadata"] == metadata
    assert "metadata" not in plain


@pytest.mark.parametrize(
    ("authorization", "error"),
    [(None, "not_authed"), ("Bearer", "not_authed"), ("Bearer xoxb-other", "invalid_auth")],
)
def test_a_token_is_needed(slack: Client, authorization: str | None, error: str) -> None:
    answer = slack("POST", "/auth.test", headers={"Authorization": authorization})
    assert (answer.status, answer.json) == (200, {"ok": False, "error": error})


def test_the_token_says_who_it_is(slack: Client) -> None:
    assert slack("POST", "/api/auth.test").json["user_id"] == "U0BGAGENT"


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"channel": "C0NONE"}, "channel_not_found"),
        ({"channel": ""}, "invalid_arguments"),
        ({"text": ""}, "no_text"),
        ({"text": "x" * 40_001}, "msg_too_long"),
        ({"blocks": [{"type": "strange"}]}, "invalid_blocks"),
        ({"blocks": "text"}, "invalid_blocks_format"),
        ({"blocks": [SECTION] * 51}, "invalid_blocks"),
        ({"blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "section"}]}, "invalid_blocks"),
        ({"blocks": [{"type": "header", "text": {"type": "mrkdwn", "text": "x"}}]}, "invalid_blocks"),
        ({"blocks": [{"type": "context", "elements": []}]}, "invalid_blocks"),
        ({"metadata": "text"}, "invalid_metadata_format"),
        ({"metadata": {"event_type": "a"}}, "invalid_metadata_schema"),
        ({"metadata": {"event_type": "a", "event_payload": {"a": "x" * 17_000}}}, "metadata_too_large"),
        ({"thread_ts": "1.000001"}, "thread_not_found"),
    ],
)
def test_a_bad_message_is_refused(slack: Client, arguments: dict[str, Any], error: str) -> None:
    answer = slack("POST", "/chat.postMessage", {"channel": CHANNEL, "text": "hello", **arguments})
    assert (answer.status, answer.json["ok"], answer.json["error"]) == (200, False, error)
    assert slack.state()["messages"] == []


def test_a_channel_by_name_archived_or_without_us(slack: Client) -> None:
    channels = [
        {"id": "C1", "is_archived": True},
        {"id": "C2", "is_member": False},
        {"id": "C3", "name": "builds"},
    ]
    slack("POST", "/__seed", {"channels": channels})
    assert post(slack, channel="C1")["error"] == "is_archived"
    assert post(slack, channel="C2")["error"] == "not_in_channel"
    assert post(slack, channel="#builds")["channel"] == "C3"
    assert slack("GET", "/conversations.history?channel=builds").json["error"] == "channel_not_found"


def test_a_form_carries_blocks_as_text(slack: Client) -> None:
    form = urlencode({"channel": CHANNEL, "blocks": '[{"type": "divider"}]'})
    headers: dict[str, str | None] = {"Content-Type": "application/x-www-form-urlencoded"}
    assert slack("POST", "/chat.postMessage", form, headers).json["message"]["blocks"] == [
        {"type": "divider"}
    ]


@pytest.mark.parametrize(
    ("path", "body", "kind", "error"),
    [
        ("/chat.postMessage", "{", "application/json", "invalid_json"),
        ("/chat.postMessage", "[]", "application/json", "json_not_object"),
        ("/chat.postMessage", "x", "text/plain", "invalid_post_type"),
        ("/conversations.history", f'{{"channel": "{CHANNEL}"}}', "application/json", "invalid_arguments"),
        ("/chat.strange", "", "application/json", "unknown_method"),
    ],
)
def test_a_bad_body_is_refused(slack: Client, path: str, body: str, kind: str, error: str) -> None:
    assert slack("POST", path, body, {"Content-Type": kind}).json["error"] == error


def test_an_update_keeps_what_it_does_not_name(slack: Client) -> None:
    metadata = {"event_type": "bgagent", "event_payload": {}}
    ts = post(slack, blocks=[SECTION], metadata=metadata)["ts"]
    changed = slack("POST", "/chat.update", {"channel": CHANNEL, "ts": ts, "text": "changed"}).json
    assert (changed["ok"], changed["ts"], changed["text"]) == (True, ts, "changed")
    (held,) = slack.state()["messages"]
    assert (held["text"], held["blocks"], held["metadata"]) == ("changed", [SECTION], metadata)


def test_only_our_own_messages_are_changed(slack: Client) -> None:
    (other,) = slack("POST", "/__seed", {"messages": [{"channel": CHANNEL, "text": "hi"}]}).json["ts"]
    for method, ts, error in (
        ("chat.update", "1.000001", "message_not_found"),
        ("chat.update", other, "cant_update_message"),
        ("chat.delete", other, "cant_delete_message"),
    ):
        assert slack("POST", f"/{method}", {"channel": CHANNEL, "ts": ts, "text": "x"}).json["error"] == error
    ts = post(slack)["ts"]
    assert slack("POST", "/chat.delete", {"channel": CHANNEL, "ts": ts}).json["ok"]
    assert len(slack.state()["messages"]) == 1


def test_history_in_pages_and_between_times(slack: Client) -> None:
    stamps = [post(slack, text=f"message {number}")["ts"] for number in range(7)]
    seen, cursor = [], ""
    while True:
        query = urlencode({"channel": CHANNEL, "limit": 3, "cursor": cursor})
        answer = slack("GET", f"/conversations.history?{query}").json
        seen += [message["ts"] for message in answer["messages"]]
        cursor = answer["response_metadata"]["next_cursor"]
        if not answer["has_more"]:
            break
    assert seen == stamps[::-1]
    for inclusive, expected in (("false", stamps[3:5]), ("true", stamps[2:6])):
        query = urlencode(
            {"channel": CHANNEL, "oldest": stamps[2], "latest": stamps[5], "inclusive": inclusive}
        )
        found = slack("GET", f"/conversations.history?{query}").json["messages"]
        assert [message["ts"] for message in found] == expected[::-1]


def test_one_message_a_second_and_channel_where_that_is_on(slack: Client) -> None:
    slack("POST", "/__seed", {"rate_limit": True, "channels": [{"id": "C1"}]})
    assert post(slack)["ok"]
    limited = slack("POST", "/chat.postMessage", {"channel": CHANNEL, "text": "again"})
    assert (limited.status, limited.headers["retry-after"]) == (429, "1")
    assert limited.json == {"ok": False, "error": "ratelimited"}
    assert post(slack, channel="C1")["ok"]


def test_the_rate_limit_on_demand(slack: Client) -> None:
    slack.fault("status", status=429, headers={"Retry-After": "7"})
    limited = slack("POST", "/chat.postMessage", {"channel": CHANNEL, "text": "x"})
    assert (limited.status, limited.headers["retry-after"], limited.json["error"]) == (
        429,
        "7",
        "ratelimited",
    )


def test_a_missing_scope_on_demand(slack: Client) -> None:
    slack.fault("status", status=200, body={"ok": False, "error": "missing_scope"})
    assert post(slack)["error"] == "missing_scope"


def test_a_restart_remembers_messages_and_never_repeats_a_timestamp(tmp_path: Path) -> None:
    stamps = []
    for _ in range(3):
        with running(Slack(tmp_path)) as server:
            slack = Client(server.url, Authorization="Bearer any")
            stamps += [post(slack)["ts"], post(slack)["ts"]]
    assert stamps == sorted(set(stamps))
    with running(Slack(tmp_path)) as server:
        assert [message["ts"] for message in Client(server.url).state()["messages"]] == stamps


def test_channels_are_listed_page_by_page(slack: Client) -> None:
    slack("POST", "/__seed", {"channels": [{"id": "C0BUILDS0", "name": "builds"}]})
    first = slack("GET", "/conversations.list?limit=1").json
    second = slack("GET", f"/conversations.list?cursor={first['response_metadata']['next_cursor']}").json
    assert [one["name"] for one in first["channels"] + second["channels"]] == ["bgagent", "builds"]
    assert second["response_metadata"]["next_cursor"] == ""
