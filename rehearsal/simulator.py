"""The part that all simulators share: what they keep, and how they answer the orders of a test."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

from rehearsal.disk import Journal
from rehearsal.faults import BadFault, Fault, Faults
from rehearsal.wire import BadJson, JsonObject, Request, Response


class BadSeed(ValueError):
    """A seed that cannot be used; the message says why."""


class Simulator(ABC):
    """One simulated service. `data` is the directory it keeps everything in, for a restart too."""

    name: str

    def __init__(self, data: Path) -> None:
        data.mkdir(parents=True, exist_ok=True)
        self.data = data
        self.journal = Journal(data / f"{self.name}.jsonl")
        self.faults = Faults(data / f"{self.name}.faults.json")

    @abstractmethod
    def handle(self, request: Request) -> Response:
        """Does the work of one request of the simulated service."""

    @abstractmethod
    def state(self) -> JsonObject:
        """Everything it holds, as plain objects."""

    def seed(self, value: JsonObject) -> Any:
        """Puts objects in place before a run; raises BadSeed."""
        raise BadSeed(f"{self.name} takes no seed: {sorted(value)}")

    def fault_response(self, fault: Fault) -> Response:
        """The answer to an ordered status, worded as the service words it."""
        return Response.of_json(fault.status, {"message": "unavailable"})

    def answer_fault(self, fault: Fault) -> Response:
        """`fault_response`, with the body and headers of the order where it names any."""
        response = self.fault_response(fault)
        if fault.body is not None:
            text = fault.body if isinstance(fault.body, str) else json.dumps(fault.body)
            response = Response(
                fault.status, text.encode(), [("Content-Type", "application/json; charset=utf-8")]
            )
        response.headers = [*response.headers, *fault.headers.items()]
        return response

    def control(self, request: Request) -> Response:
        """The `/__` endpoints; reachable on loopback only, like everything here, hence without a token."""
        match (request.method, request.path):
            case ("GET", "/__log"):
                return Response.of_json(200, self.journal.entries(int(request.query.get("after", "0"))))
            case ("GET", "/__state"):
                return Response.of_json(200, self.state())
            case ("GET", "/__faults"):
                return Response.of_json(200, self.faults.list())
            case ("POST", "/__faults"):
                return Response.of_json(201, {"id": self.faults.add(request.json_object()).id})
            case ("DELETE", "/__faults"):
                self.faults.clear()
                return Response(204)
            case ("POST", "/__seed"):
                return Response.of_json(201, self.seed(request.json_object()))
        return Response.of_json(404, {"error": f"no such control: {request.method} {request.path}"})

    def answer_control(self, request: Request) -> Response:
        """`control`, with a reason where an order is refused."""
        try:
            return self.control(request)
        except (BadFault, BadSeed, BadJson) as error:
            return Response.of_json(400, {"error": str(error)})

    def close(self) -> None:
        """Lets go of files; called once, after the last request."""
        self.journal.close()
