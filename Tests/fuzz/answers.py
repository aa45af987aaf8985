"""What every answer is held to."""

from __future__ import annotations

import re
from typing import Any

from schemathesis import Case, Response
from schemathesis.checks import CheckFunction, not_a_server_error
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

DESCRIBED: list[CheckFunction] = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
# These know what the generator meant a request to be.
GENERATED: list[CheckFunction] = [
    *DESCRIBED,
    negative_data_rejection,
    unsupported_method,
    allow_header_conformance,
]
ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
# Headers that the words of the description promise.
PROMISED = {401: "www-authenticate", 405: "allow", 429: "retry-after"}


def hold(case: Case[Any], response: Response, checks: list[CheckFunction]) -> None:
    """Fails with what is not as it should be, and the request that shows it."""
    case.validate_response(response, checks)
    name = response.headers.get("x-request-id", [""])[0]
    assert ULID.fullmatch(name), response.headers
    promised = PROMISED.get(response.status_code)
    # A login that is refused names no scheme: it takes none.
    if promised and not (response.status_code == 401 and case.path == "/v1/login"):
        assert promised in response.headers, (
            f"{case.operation.label}: {response.status_code} without {promised}"
        )
    if response.status_code >= 400 and response.content:
        assert response.json()["error"]["request_id"] == name
