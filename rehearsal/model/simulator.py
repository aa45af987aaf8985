"""The simulated Messages API."""

from __future__ import annotations

import hashlib
import hmac
import itertools
import json
import re
import secrets
from pathlib import Path
from typing import Any

from rehearsal.disk import Document
from rehearsal.faults import Fault
from rehearsal.model.errors import TYPES, WORDS, ApiError
from rehearsal.model.reply import events_of, message_of, tokens
from rehearsal.model.script import NAMED, REPOSITORY, BadScript, Conversation, ExpectationFailed, Script
from rehearsal.model.validate import check_body
from rehearsal.simulator import BadSeed, Simulator
from rehearsal.wire import BadJson, JsonObject, Request, Response

BUILT_IN = Path(__file__).parent.parent / "scripts"
LARGEST_BODY = 32 * 1024 * 1024
SIDE_ANSWER = "Working on the repository"
UNSCRIPTED = "Nothing is scripted for this conversation."


class Model(Simulator):
    """Answers from scripts. `token` is the API key; without one any is taken, but never none."""

    name = "model"

    def __init__(self, data: Path, token: str | None = None, scripts: Path | None = None) -> None:
        super().__init__(data)
        self.token = token
        empty: JsonObject = {"scripts": {}, "expectation_failures": []}
        self.document = Document(data / "model.state.json", lambda: empty)
        self.lock = self.document.lock
        self._built_in = [Script.load(path) for path in sorted((scripts or BUILT_IN).glob("*.json"))]
        self._prefix = secrets.token_hex(6)
        self._requests = itertools.count(1)

    def handle(self, request: Request) -> Response:
        """Answers one call."""
        headers = [("request-id", f"req_01{self._prefix}{next(self._requests):08d}")]
        try:
            response = self._answer(request)
        except ApiError as error:
            response = self._refusal(error.status, error.message, headers[0][1])
        except ExpectationFailed as error:
            response = self._refusal(400, f"expectation_failed: {error}", headers[0][1])
            response.note["expectation_failed"] = {"step": error.step, "problems": error.problems}
            with self.lock:
                self.document.value["expectation_failures"].append(response.note["expectation_failed"])
                self.document.save()
        response.headers += headers
        return response

    @staticmethod
    def _refusal(status: int, message: str, request_id: str | None = None) -> Response:
        error = {"type": TYPES.get(status, "api_error"), "message": message}
        return Response.of_json(status, {"type": "error", "error": error, "request_id": request_id})

    def _answer(self, request: Request) -> Response:
        if request.path not in ("/v1/messages", "/v1/messages/count_tokens", "/v1/models"):
            if request.path == "/" or request.path == "/api/hello":
                return Response.of_json(200, {"message": "hello"})
            raise ApiError(404, "Not found")
        if request.method != ("GET" if request.path == "/v1/models" else "POST"):
            raise ApiError(405, "Method Not Allowed")
        key = request.header("x-api-key")
        if not key:
            raise ApiError(401, "x-api-key header is required")
        if self.token is not None and not hmac.compare_digest(key, self.token):
            raise ApiError(401, "invalid x-api-key")
        if not request.header("anthropic-version"):
            raise ApiError(400, "anthropic-version: header is required")
        version = request.header("anthropic-version")
        if version not in ("2023-06-01", "2023-01-01"):
            raise ApiError(400, f'anthropic-version: "{version}" is not a valid version')
        if request.path == "/v1/models":
            return Response.of_json(200, {"data": [], "has_more": False, "first_id": None, "last_id": None})
        if len(request.body()) > LARGEST_BODY:
            raise ApiError(413, "Request exceeds the maximum size")
        try:
            body = request.json_object()
        except BadJson as error:
            raise ApiError(400, f"The request body is not valid JSON: {error}") from error
        if request.path.endswith("count_tokens"):
            check_body({"max_tokens": 1, **body})
            counted = [body.get("system", ""), body.get("tools", []), body["messages"]]
            return Response.of_json(200, {"input_tokens": tokens(counted)})
        check_body(body)
        return self._message(body)

    def _message(self, body: JsonObject) -> Response:
        conversation = Conversation.read(body)
        index = len(conversation.turns) - 1
        step: JsonObject = {"text": SIDE_ANSWER}
        note: JsonObject = {"kind": "side"}
        if body.get("tools"):
            script = self._script_for(conversation)
            note = {"kind": "main", "script": script.name if script else None}
            step = {"text": UNSCRIPTED}
            if script is not None:
                index, step = script.step_for(conversation)
                self._check_offered(body, index, step)
        key = conversation.key
        if note["kind"] == "side":
            key = hashlib.sha256(json.dumps(body["messages"]).encode()).hexdigest()
        message = message_of(step, body, key, index)
        note |= {"step": index, "conversation": key[:12], "message": message}
        if not body.get("stream"):
            response = Response.of_json(200, message)
            response.note |= note
            return response
        headers = [("Content-Type", "text/event-stream; charset=utf-8"), ("Cache-Control", "no-cache")]
        return Response(200, events_of(message), headers, note)

    @staticmethod
    def _check_offered(body: JsonObject, index: int, step: JsonObject) -> None:
        offered = {tool["name"] for tool in body["tools"]}
        absent = [tool["name"] for tool in step.get("tools", []) if tool["name"] not in offered]
        if absent:
            raise ExpectationFailed(index, [f"tools not offered: {', '.join(absent)}"])

    def _script_for(self, conversation: Conversation) -> Script | None:
        """The script by name, else the first for the repository; those with `when` come first."""
        with self.lock:
            scripts = [Script.parse(value, name) for name, value in self.document.value["scripts"].items()]
        scripts += self._built_in
        named, repository = NAMED.search(conversation.opening), REPOSITORY.search(conversation.opening)
        if named:
            return next((script for script in scripts if script.name == named[1]), None)
        fitting = [
            script
            for script in scripts
            if repository
            and not script.by_name
            and script.repository.lower() == repository[1].lower()
            and (script.when is None or re.search(script.when, conversation.opening))
        ]
        return min(fitting, key=lambda script: script.when is None, default=None)

    def fault_response(self, fault: Fault) -> Response:
        """An ordered status in the words of the service."""
        return self._refusal(fault.status, WORDS.get(fault.status, "Service unavailable"), "req_01ordered")

    def seed(self, value: JsonObject) -> Any:
        """Adds or replaces scripts: `{"scripts": [{"name", "repository", "when", "steps"}]}`."""
        try:
            scripts = {script["name"]: script for script in value["scripts"]}
            for name, script in scripts.items():
                Script.parse(script, name)
        except (KeyError, TypeError, BadScript) as error:
            raise BadSeed(f"{type(error).__name__}: {error}") from error
        with self.lock:
            self.document.value["scripts"] |= scripts
            self.document.save()
        return {"scripts": sorted(scripts)}

    def state(self) -> JsonObject:
        """The scripts by name and every expectation that failed."""
        with self.lock:
            names = [script.name for script in self._built_in] + list(self.document.value["scripts"])
            failures = list(self.document.value["expectation_failures"])
            return {"scripts": names, "expectation_failures": failures}
