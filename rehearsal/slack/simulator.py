"""The simulated Slack workspace."""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl

from rehearsal.disk import Document
from rehearsal.faults import Fault
from rehearsal.simulator import BadSeed, Simulator
from rehearsal.slack.checks import SlackError, check_blocks, check_metadata, check_text
from rehearsal.wire import BadJson, JsonObject, Request, Response

DEFAULT_CHANNEL = {"id": "C0BGAGENT", "name": "bgagent", "is_member": True, "is_archived": False}
BOT = {"user_id": "U0BGAGENT", "bot_id": "B0BGAGENT", "team_id": "T0REHEARSAL"}


class Slack(Simulator):
    """One workspace with one bot. Without a token of its own it takes any, but never none."""

    name = "slack"

    def __init__(self, data: Path, token: str | None = None, rate_limit: bool = False) -> None:
        super().__init__(data)
        self.token = token
        self.document = Document(data / "slack.state.json", self._empty)
        self.lock = self.document.lock
        if rate_limit:
            self.document.value["rate_limit"] = True
        self._posted: dict[str, float] = {}
        self.methods: dict[str, Callable[[JsonObject], JsonObject]] = {
            "auth.test": self.auth_test,
            "chat.postMessage": self.post_message,
            "chat.update": self.update,
            "chat.delete": self.delete,
            "conversations.history": self.history,
            "conversations.list": self.channels,
            "conversations.replies": self.replies,
        }

    @staticmethod
    def _empty() -> JsonObject:
        return {"channels": [dict(DEFAULT_CHANNEL)], "messages": [], "last_ts": [0, 0], "rate_limit": False}

    def handle(self, request: Request) -> Response:
        """Answers one method call; the path may carry the `/api` prefix of the real address."""
        name = request.path.removeprefix("/api").strip("/")
        try:
            if name not in self.methods:
                raise SlackError("unknown_method")
            self._authenticate(request)
            with self.lock:
                answer = self.methods[name](self._arguments(request, name))
        except SlackError as error:
            value: JsonObject = {"ok": False, "error": error.error}
            if error.messages:
                value |= {"errors": error.messages, "response_metadata": {"messages": error.messages}}
            return Response.of_json(error.status, value, error.headers)
        return Response.of_json(200, {"ok": True, **answer})

    def _authenticate(self, request: Request) -> None:
        scheme, _, token = request.header("authorization").partition(" ")
        if scheme.lower() != "bearer" or not token.strip():
            raise SlackError("not_authed")
        if self.token is not None and not hmac.compare_digest(token.strip(), self.token):
            raise SlackError("invalid_auth")

    @staticmethod
    def _arguments(request: Request, name: str) -> JsonObject:
        """Arguments from the query, a form or JSON. Methods that read take no JSON."""
        arguments: JsonObject = dict(request.query)
        if request.method != "POST":
            return arguments
        kind = request.header("content-type").split(";")[0].strip().lower()
        if kind == "application/json":
            try:
                posted = request.json_object()
            except BadJson as error:
                raise SlackError(
                    "json_not_object" if str(error) == "not an object" else "invalid_json"
                ) from error
            return arguments if name.startswith("conversations.") else arguments | posted
        if kind not in ("", "application/x-www-form-urlencoded"):
            raise SlackError("invalid_post_type")
        try:
            arguments |= dict(parse_qsl(request.body().decode(), keep_blank_values=True))
            for field in ("blocks", "metadata", "attachments"):
                if isinstance(arguments.get(field), str):
                    arguments[field] = json.loads(arguments[field])
        except ValueError as error:
            raise SlackError("invalid_arguments") from error
        return arguments

    def _channel(self, arguments: JsonObject, by_name: bool = False) -> JsonObject:
        wanted = arguments.get("channel")
        if not wanted:
            raise SlackError("invalid_arguments", ["[ERROR] missing required field: channel"])
        for channel in self.document.value["channels"]:
            if wanted == channel["id"] or (by_name and str(wanted).removeprefix("#") == channel["name"]):
                return dict(channel)
        raise SlackError("channel_not_found")

    def _in(self, channel: str) -> list[JsonObject]:
        return [message for message in self.document.value["messages"] if message["channel"] == channel]

    def _find(self, channel: str, ts: Any) -> JsonObject | None:
        return next((message for message in self._in(channel) if message["ts"] == ts), None)

    def _next_ts(self) -> str:
        """Strictly greater than all before, also across restarts and clocks that step back."""
        seconds, count = self.document.value["last_ts"]
        now = int(time.time())
        self.document.value["last_ts"] = [now, 100] if now > seconds else [seconds, count + 100]
        return "{}.{:06d}".format(*self.document.value["last_ts"])

    def _limit(self, channel: str) -> None:
        """One message a second and channel, where that is switched on."""
        if not self.document.value["rate_limit"]:
            return
        now = time.monotonic()
        if now - self._posted.get(channel, -10.0) < 1.0:
            raise SlackError("ratelimited", status=429, Retry_After="1")
        self._posted[channel] = now

    def auth_test(self, _: JsonObject) -> JsonObject:
        """Who the token belongs to."""
        return {"url": "https://rehearsal.slack.com/", "team": "rehearsal", "user": "bgagent", **BOT}

    def post_message(self, arguments: JsonObject) -> JsonObject:
        """Posts a message, or a reply where `thread_ts` names a message of the channel."""
        channel = self._channel(arguments, by_name=True)
        if channel["is_archived"]:
            raise SlackError("is_archived")
        if not channel["is_member"]:
            raise SlackError("not_in_channel")
        text = check_text(arguments)
        message: JsonObject = {"channel": channel["id"], "text": text, "type": "message", **BOT}
        message["user"] = message.pop("user_id")
        if arguments.get("blocks") is not None:
            message["blocks"] = check_blocks(arguments["blocks"])
        if arguments.get("metadata") is not None:
            message["metadata"] = check_metadata(arguments["metadata"])
        if thread := arguments.get("thread_ts"):
            parent = self._find(channel["id"], thread)
            if parent is None:
                raise SlackError("thread_not_found")
            message["thread_ts"] = parent.get("thread_ts", parent["ts"])
        self._limit(channel["id"])
        message["ts"] = self._next_ts()
        self.document.value["messages"].append(message)
        self.document.save()
        return {"channel": channel["id"], "ts": message["ts"], "message": self._shape(message, False)}

    def _own(self, arguments: JsonObject, refusal: str) -> JsonObject:
        channel = self._channel(arguments)
        message = self._find(channel["id"], arguments.get("ts"))
        if message is None:
            raise SlackError("message_not_found")
        if message["user"] != BOT["user_id"]:
            raise SlackError(refusal)
        return message

    def update(self, arguments: JsonObject) -> JsonObject:
        """Changes a message of our own; blocks and metadata that are not named stay."""
        message = self._own(arguments, "cant_update_message")
        text = check_text(arguments)
        change: JsonObject = {"text": text}
        if arguments.get("blocks") is not None:
            change["blocks"] = check_blocks(arguments["blocks"])
        if arguments.get("metadata") is not None:
            change["metadata"] = check_metadata(arguments["metadata"]) if arguments["metadata"] else None
        self._limit(message["channel"])
        message |= change | {"edited": {"user": BOT["user_id"], "ts": f"{int(time.time())}.000000"}}
        self.document.save()
        shape = self._shape(message, False)
        return {"channel": message["channel"], "ts": message["ts"], "text": text, "message": shape}

    def delete(self, arguments: JsonObject) -> JsonObject:
        """Removes a message of our own."""
        message = self._own(arguments, "cant_delete_message")
        self.document.value["messages"].remove(message)
        self.document.save()
        return {"channel": message["channel"], "ts": message["ts"]}

    def channels(self, arguments: JsonObject) -> JsonObject:
        """The channels there are; a bot that knows only a name finds the id here."""
        size, start = int(arguments.get("limit") or 100), int(arguments.get("cursor") or 0)
        known = self.document.value["channels"]
        more = start + size < len(known)
        return {
            "channels": known[start : start + size],
            "response_metadata": {"next_cursor": str(start + size) if more else ""},
        }

    def history(self, arguments: JsonObject) -> JsonObject:
        """Messages of a channel, newest first; replies are in their threads only."""
        channel = self._channel(arguments)
        if not channel["is_member"]:
            raise SlackError("not_in_channel")
        roots = [message for message in self._in(channel["id"]) if "thread_ts" not in message]
        return self._page(arguments, list(reversed(roots)), default=100)

    def replies(self, arguments: JsonObject) -> JsonObject:
        """A message and its thread, oldest first."""
        channel = self._channel(arguments)
        asked = self._find(channel["id"], arguments.get("ts"))
        if asked is None:
            raise SlackError("thread_not_found")
        root = asked.get("thread_ts", asked["ts"])
        thread = [
            message
            for message in self._in(channel["id"])
            if root in (message["ts"], message.get("thread_ts"))
        ]
        return self._page(arguments, thread, default=1000)

    def _page(self, arguments: JsonObject, messages: list[JsonObject], default: int) -> JsonObject:
        inclusive = str(arguments.get("inclusive", "")).lower() in ("1", "true")
        metadata = str(arguments.get("include_all_metadata", "")).lower() in ("1", "true")
        oldest, latest = str(arguments.get("oldest") or "0"), str(arguments.get("latest") or "9999999999")
        try:
            size, start = int(arguments.get("limit") or default), int(arguments.get("cursor") or 0)
            low, high = float(oldest), float(latest)
        except ValueError as error:
            raise SlackError("invalid_cursor" if arguments.get("cursor") else "invalid_arguments") from error
        if not 1 <= size <= 999 and default != size:
            raise SlackError("invalid_limit")

        def wanted(message: JsonObject) -> bool:
            at = float(message["ts"])
            return low < at < high or (inclusive and at in (low, high))

        chosen = [message for message in messages if wanted(message)]
        more = start + size < len(chosen)
        return {
            "messages": [self._shape(message, metadata) for message in chosen[start : start + size]],
            "has_more": more,
            "response_metadata": {"next_cursor": str(start + size) if more else ""},
        }

    def _shape(self, message: JsonObject, metadata: bool) -> JsonObject:
        hidden = {"channel"} if metadata else {"channel", "metadata"}
        shape = {key: value for key, value in message.items() if key not in hidden and value is not None}
        replies = [one for one in self._in(message["channel"]) if one.get("thread_ts") == message["ts"]]
        if replies:
            shape |= {
                "thread_ts": message["ts"],
                "reply_count": len(replies),
                "latest_reply": replies[-1]["ts"],
            }
        return shape

    def fault_response(self, fault: Fault) -> Response:
        """An ordered status in Slack's words."""
        words = {429: "ratelimited", 503: "service_unavailable", 200: "fatal_error"}
        return Response.of_json(
            fault.status, {"ok": False, "error": words.get(fault.status, "internal_error")}
        )

    def seed(self, value: JsonObject) -> Any:
        """`channels` to add or replace by id, `messages` of other people, `rate_limit` on or off."""
        if unknown := set(value) - {"channels", "messages", "rate_limit"}:
            raise BadSeed(f"unknown fields: {', '.join(sorted(unknown))}")
        with self.lock:
            held = {channel["id"]: channel for channel in self.document.value["channels"]}
            for channel in value.get("channels", []):
                held[channel["id"]] = {**DEFAULT_CHANNEL, "name": channel["id"].lower(), **channel}
            self.document.value["channels"] = list(held.values())
            stamps = []
            for message in value.get("messages", []):
                stamps.append(self._next_ts())
                full = {"type": "message", "user": "U0SOMEONE", "text": "", **message, "ts": stamps[-1]}
                self.document.value["messages"].append(full)
            self.document.value["rate_limit"] = value.get("rate_limit", self.document.value["rate_limit"])
            self.document.save()
            return {"channels": list(held), "ts": stamps}

    def state(self) -> JsonObject:
        """Channels and messages, oldest first."""
        with self.lock:
            return {
                "channels": list(self.document.value["channels"]),
                "messages": list(self.document.value["messages"]),
                "rate_limit": self.document.value["rate_limit"],
            }
