"""`Control` over HTTP: the agent gateway's session API."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any
from urllib.parse import quote

import httpx2

from .control import (
    ApprovalRequest,
    ApprovalState,
    ApprovalStatus,
    Event,
    InboxItem,
    Pulse,
    QuestionState,
    QuestionStatus,
    ReceiptStatus,
    RunResult,
)
from .errors import (
    PayloadUnsupported,
    PlatformError,
    Refused,
    SequenceGap,
    StaleAttempt,
    TraceGap,
    Unauthorized,
    Unreachable,
)
from .logs import Log
from .payload import PAYLOAD_VERSIONS, Session, parse_session

_RETRIED = frozenset({429, 500, 502, 503, 504})
_STARTING_POLL_S = 0.2
_INBOX_WAIT_S = 25
_FIRST_DELAY_S = 0.1
_LONGEST_DELAY_S = 5.0
_DEFECT_PATIENCE_S = 60.0


class GatewayControl:
    """Speaks to the agent gateway; a call is retried for `patience_s` while the gateway is away or
    restarting.
    """

    def __init__(
        self,
        url: str,
        token: str,
        attempt: int,
        log: Log,
        *,
        traceparent: str = "",
        patience_s: float = 600.0,
    ) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        if traceparent:
            headers["traceparent"] = traceparent
        self._attempt = attempt
        self._patience_s = patience_s
        self._log = log
        # trust_env off: a proxy variable must not be able to send the token elsewhere.
        self._http = httpx2.AsyncClient(
            base_url=url, headers=headers, trust_env=False, timeout=httpx2.Timeout(30.0, connect=5.0)
        )

    async def session(self) -> Session:
        """Polls until the orchestrator has prepared the task."""
        low, high = PAYLOAD_VERSIONS
        deadline = asyncio.get_running_loop().time() + self._patience_s
        while True:
            status, data = await self._call(
                "GET", "/session", headers={"X-Payload-Versions": f"{low}-{high}"}
            )
            if status != 202:
                return parse_session(data)
            if asyncio.get_running_loop().time() > deadline:
                raise Unreachable("the session did not become ready in time")
            await asyncio.sleep(_STARTING_POLL_S)

    async def send_events(self, events: Sequence[Event]) -> int:
        """One batch of at most 100 events."""
        _, data = await self._call(
            "POST",
            "/session/events",
            {"attempt": self._attempt, "events": [asdict(event) for event in events]},
        )
        return int(data["last_client_seq"])

    async def heartbeat(self, turn: int, tool: str | None) -> Pulse:
        """The lease lives on the platform's clock; this renews it."""
        _, data = await self._call(
            "POST", "/session/heartbeat", {"attempt": self._attempt, "turn": turn, "tool": tool}
        )
        return Pulse(bool(data.get("cancel_requested")), float(data["remaining_s"]))

    async def inbox(self) -> Sequence[InboxItem]:
        """A long poll of 25 s."""
        _, data = await self._call(
            "GET", f"/session/inbox?wait={_INBOX_WAIT_S}", timeout=_INBOX_WAIT_S + 15.0
        )
        return [InboxItem(str(item["id"]), str(item["kind"]), item) for item in data.get("items", [])]

    async def receipt(self, item_id: str, status: ReceiptStatus, turn: int | None = None) -> bool:
        """Idempotent; a withdrawn item is 409."""
        body = {"attempt": self._attempt, "status": status} | ({} if turn is None else {"turn": turn})
        try:
            await self._call("POST", f"/session/inbox/{quote(item_id, safe='')}/receipt", body)
        except Refused as refusal:
            self._log.warning("a receipt was refused", item_id=item_id, reason=str(refusal))
            return False
        return True

    async def answer_ask(self, ask_id: str, text: str, turn: int) -> None:
        """Idempotent."""
        await self._post(f"/session/asks/{quote(ask_id, safe='')}/answer", {"text": text, "turn": turn})

    async def ask_person(self, client_id: str, question: str, options: Sequence[str]) -> QuestionState:
        """How long to wait is the platform's to say."""
        body: dict[str, Any] = {"client_id": client_id, "question": question}
        if options:
            body["options"] = list(options)
        data = await self._post("/session/questions", body)
        return _question(str(data["question_id"]), data)

    async def expire_question(self, question_id: str) -> QuestionState:
        """An answer that was first wins."""
        path = f"/session/questions/{quote(question_id, safe='')}/expire"
        return _question(question_id, await self._post(path, {}))

    async def approval(self, request: ApprovalRequest, *, once: bool = False) -> ApprovalState:
        """Idempotent by the call's id, so it reads as well."""
        body = asdict(request)
        if not request.truncated:
            del body["truncated"]
        data = await self._post("/session/approvals", body, once=once)
        return _approval(str(data["request_id"]), data)

    async def expire_approval(self, request_id: str) -> ApprovalState:
        """A decision that was first wins."""
        path = f"/session/approvals/{quote(request_id, safe='')}/expire"
        return _approval(request_id, await self._post(path, {}))

    async def checkpoint(self, turn: int, commit: str) -> None:
        """Only after the push of `commit` was accepted."""
        await self._call(
            "POST", "/session/checkpoint", {"attempt": self._attempt, "turn": turn, "commit": commit}
        )

    async def upload_trace(self, part: int, body: bytes, *, final: bool, truncated: bool) -> None:
        """A part that is there already is taken again."""
        flags = "".join(f"&{name}=true" for name, on in (("final", final), ("truncated", truncated)) if on)
        path = f"/session/trace?part={part}{flags}"
        await self._call("POST", path, body, headers={"Content-Type": "application/gzip"})

    async def result(self, result: RunResult) -> None:
        """The last call of an attempt."""
        body = asdict(result)
        if result.parked_on is None:
            del body["parked_on"]
        await self._call("POST", "/session/result", {"attempt": self._attempt, **body})

    async def close(self) -> None:
        """Closes the connection pool."""
        await self._http.aclose()

    async def _post(self, path: str, body: Mapping[str, Any], *, once: bool = False) -> Mapping[str, Any]:
        patience = 0.0 if once else None
        return (await self._call("POST", path, {"attempt": self._attempt, **body}, patience_s=patience))[1]

    async def _call(
        self,
        method: str,
        path: str,
        body: Mapping[str, Any] | bytes | None = None,
        *,
        headers: Mapping[str, str] | None = None,
        timeout: float = 30.0,
        patience_s: float | None = None,
    ) -> tuple[int, Mapping[str, Any]]:
        loop = asyncio.get_running_loop()
        began = loop.time()
        deadline = began + (self._patience_s if patience_s is None else patience_s)
        delay = _FIRST_DELAY_S
        content, fields = (body, None) if isinstance(body, bytes) else (None, body)
        while True:
            wait, failing = delay, False
            try:
                response = await self._http.request(
                    method,
                    path,
                    content=content,
                    json=fields,
                    headers=headers,
                    timeout=httpx2.Timeout(timeout, connect=5.0),
                )
            except httpx2.TransportError as error:
                reason = type(error).__name__
            else:
                if response.status_code not in _RETRIED:
                    return response.status_code, _data(response)
                reason = f"status {response.status_code}"
                wait = max(delay, _retry_after(response))
                failing = response.status_code == 500
            if failing:
                # A defect over there rather than a restart: not worth minutes.
                deadline = min(deadline, began + _DEFECT_PATIENCE_S)
            if loop.time() + wait > deadline:
                raise Unreachable(f"{method} {path}: {reason}")
            self._log.warning("the agent gateway did not answer", call=f"{method} {path}", reason=reason)
            await asyncio.sleep(wait * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
            delay = min(delay * 2, _LONGEST_DELAY_S)


def _question(question_id: str, data: Mapping[str, Any]) -> QuestionState:
    known: dict[str, QuestionStatus] = {"answered": "answered", "open": "open", "expired": "expired"}
    return QuestionState(
        question_id,
        known.get(str(data.get("state")), "void"),
        _seconds(data),
        str(data.get("text") or ""),
        str(data.get("from") or ""),
    )


def _approval(request_id: str, data: Mapping[str, Any]) -> ApprovalState:
    """A state that is not known here is a denial."""
    known: dict[str, ApprovalStatus] = {
        "pending": "pending",
        "approved": "approved",
        "timed_out": "timed_out",
    }
    return ApprovalState(
        request_id,
        known.get(str(data.get("state")), "denied"),
        _seconds(data),
        str(data.get("scope") or ""),
        str(data.get("reason") or ""),
    )


def _seconds(data: Mapping[str, Any]) -> float:
    return float(data.get("remaining_s") or 0.0)


def _retry_after(response: httpx2.Response) -> float:
    try:
        return min(float(response.headers.get("Retry-After", "0")), 10.0)
    except ValueError:
        return 0.0


def _data(response: httpx2.Response) -> Mapping[str, Any]:
    try:
        body = response.json()
    except ValueError:
        body = {}
    if not isinstance(body, dict):
        body = {}
    if response.is_success:
        data = body.get("data")
        return data if isinstance(data, dict) else {}
    raise _error(response.status_code, body.get("error") or {}, body)


_GAPS: Mapping[str, type[SequenceGap] | type[TraceGap]] = {
    "SEQUENCE_GAP": SequenceGap,
    "TRACE_GAP": TraceGap,
}


def _error(
    status: int, error: Mapping[str, Any], body: Mapping[str, Any]
) -> PlatformError | SequenceGap | TraceGap:
    code = str(error.get("code", ""))
    message = f"{status} {code} {error.get('message', '')}".strip()
    if gap := _GAPS.get(code):
        details = error.get("details")
        for place in (error, details if isinstance(details, dict) else {}, body):
            if isinstance(place.get("expected"), int):
                return gap(place["expected"])
    kinds: dict[int, type[PlatformError]] = {401: Unauthorized, 406: PayloadUnsupported, 410: StaleAttempt}
    kind = kinds.get(status)
    return Refused(message, code) if kind is None else kind(message)
