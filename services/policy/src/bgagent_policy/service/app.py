"""The routes of the service. Stateless: every request brings the policies that it is about."""

from __future__ import annotations

import asyncio
import json
import secrets
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from ..decision import decide
from ..facts import Facts, UnusableCall
from ..policies import Policies, PolicyError
from ..scopes import ScopeError, check_scopes
from ..validation import validate
from .bodies import BodyError, Fields, facts_json, request_of
from .logs import Log
from .metrics import Metrics

MAX_BODY = 1 << 20
_BODY_TIMEOUT_S = 10.0


class Refusal(Exception):
    """A request that is answered with an error; `findings` go with it."""

    def __init__(
        self, status: int, code: str, message: str, findings: list[dict[str, object]] | None = None
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message, self.findings = status, code, message, findings


@lru_cache(maxsize=64)
def loaded(text: str) -> Policies:
    """The rules of a text, kept because a repository's are asked about again and again."""
    return Policies.load(text)


def api(metrics: Metrics, log: Log) -> Starlette:
    """The API that the gateway calls."""

    def route(path: str, answer: Callable[[Fields], object]) -> Route:
        async def endpoint(request: Request) -> Response:
            body = Fields.of(await _json(request))
            result = answer(body)
            return JSONResponse({"data": result})

        return Route(path, _told(path, endpoint, metrics, log), methods=["POST"])

    def evaluate(body: Fields) -> object:
        policies = _policies(body)
        call = Fields.of(body.take("call", dict, needed=True), "call.")
        task = Fields.of(body.take("task", dict, {}), "task.")
        body.end()
        request = request_of(call, task, policies)
        decision = decide(request, policies)
        metrics.decided(decision.effect.value)
        try:
            facts = Facts.of(
                request.tool, request.tool_input, request.layout, request.directory, request.mcp_servers
            )
        except UnusableCall:
            return {"decision": decision.as_json(), "facts": None}
        return {"decision": decision.as_json(), "facts": facts_json(facts)}

    routes = [
        route("/v1/validate", _validate),
        route("/v1/effective", _effective),
        route("/v1/evaluate", evaluate),
    ]
    return Starlette(routes=routes, exception_handlers={HTTPException: _unrouted})


def health(metrics: Metrics) -> Starlette:
    """`/live`, `/ready` and `/metrics`, on a port of their own."""

    async def live(request: Request) -> Response:
        del request
        return PlainTextResponse("ok\n")

    async def ready(request: Request) -> Response:
        del request
        return PlainTextResponse("ok\n") if metrics.ready else PlainTextResponse("not ready: rules\n", 503)

    async def numbers(request: Request) -> Response:
        del request
        return PlainTextResponse(metrics.exposition(), media_type="text/plain; version=0.0.4")

    return Starlette(routes=[Route("/live", live), Route("/ready", ready), Route("/metrics", numbers)])


def _validate(body: Fields) -> object:
    text = body.take("policies", str, "")
    scopes = body.texts("scopes")
    body.end()
    result = validate(text)
    policies = loaded(text) if result.valid else loaded("")
    return {**result.as_json(), "scopes": [_checked(scope, policies) for scope in scopes]}


def _checked(text: str, policies: Policies) -> dict[str, object]:
    try:
        scope = check_scopes([text], policies)[0]
    except ScopeError as error:
        return {"scope": text, "valid": False, "reason": str(error)}
    return {"scope": str(scope), "valid": True, "reason": None}


def _effective(body: Fields) -> object:
    policies = _policies(body)
    body.end()
    return {"policies": policies.effective()}


def _policies(body: Fields) -> Policies:
    try:
        return loaded(body.take("policies", str, ""))
    except PolicyError as error:
        findings = [finding.as_json() for finding in error.findings]
        raise Refusal(422, "INVALID_POLICY", str(error.findings[0]), findings) from error


async def _json(request: Request) -> object:
    length = request.headers.get("content-length", "0")
    if not length.isdigit() or int(length) > MAX_BODY:
        raise Refusal(413, "BODY_TOO_LARGE", f"the body is larger than {MAX_BODY} bytes")
    received = bytearray()
    try:
        async with asyncio.timeout(_BODY_TIMEOUT_S):
            async for chunk in request.stream():
                received += chunk
                if len(received) > MAX_BODY:
                    raise Refusal(413, "BODY_TOO_LARGE", f"the body is larger than {MAX_BODY} bytes")
    except TimeoutError as error:
        raise Refusal(408, "TIMEOUT", "the body did not arrive in time") from error
    try:
        return json.loads(received)
    except (ValueError, RecursionError) as error:
        raise Refusal(400, "VALIDATION_ERROR", "the body is no JSON") from error


def _told(
    path: str, endpoint: Callable[[Request], Awaitable[Response]], metrics: Metrics, log: Log
) -> Callable[[Request], Awaitable[Response]]:
    """The endpoint with every refusal made an answer, counted and told of."""

    async def answer(request: Request) -> Response:
        started = time.monotonic()
        given = request.headers.get("x-request-id", "")
        request_id = given if given.isalnum() and len(given) <= 64 else secrets.token_hex(13)
        try:
            response = await endpoint(request)
        except Refusal as refusal:
            response = _error(refusal.status, refusal.code, refusal.message, request_id, refusal.findings)
        except (BodyError, ScopeError) as error:
            response = _error(400, "VALIDATION_ERROR", str(error), request_id)
        except ClientDisconnect:
            response = _error(400, "VALIDATION_ERROR", "the request ended early", request_id)
        except Exception as error:
            log.error("a request failed", route=path, request_id=request_id, error=repr(error)[:500])
            response = _error(500, "INTERNAL_ERROR", "this is a defect of the policy service", request_id)
        response.headers["X-Request-Id"] = request_id
        seconds = time.monotonic() - started
        metrics.answered(request.method, path, response.status_code, seconds)
        log.write(
            "debug",
            "answered",
            route=path,
            status=response.status_code,
            request_id=request_id,
            seconds=round(seconds, 6),
        )
        return response

    return answer


def _error(
    status: int, code: str, message: str, request_id: str, findings: list[dict[str, object]] | None = None
) -> Response:
    error: dict[str, object] = {"code": code, "message": message, "request_id": request_id}
    if findings is not None:
        error["findings"] = findings
    return JSONResponse({"error": error}, status)


async def _unrouted(request: Request, error: Exception) -> Response:
    del request
    status = error.status_code if isinstance(error, HTTPException) else 500
    code = {404: "NOT_FOUND", 405: "METHOD_NOT_ALLOWED"}.get(status, "VALIDATION_ERROR")
    request_id = secrets.token_hex(13)
    response = _error(status, code, "there is no such route" if status == 404 else "not this way", request_id)
    response.headers["X-Request-Id"] = request_id
    return response
