"""git over smart HTTP: the real `git http-backend` as a CGI program over the bare repositories."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from typing import IO

from rehearsal.github.gitdir import GIT_ENVIRONMENT
from rehearsal.github.state import Holdings
from rehearsal.wire import Abort, Request, Response

SERVICES = ("git-upload-pack", "git-receive-pack")
PATH = r"/git/([^/]+)/([^/]+?)(?:\.git)?/(info/refs|git-upload-pack|git-receive-pack)"
CHALLENGE = [("WWW-Authenticate", 'Basic realm="GitHub"')]


def wanted_service(request: Request) -> tuple[str, str, str, str] | None:
    """Owner, name, path below the repository, and service of a git request; nothing when it is none."""
    match = re.fullmatch(PATH, request.path)
    if match is None:
        return None
    service = request.query.get("service", "") if match[3] == "info/refs" else match[3]
    return match[1], match[2], match[3], service


def serve(holdings: Holdings, request: Request, authenticated: bool) -> Response:
    """Answers clone, fetch and push."""
    wanted = wanted_service(request)
    if wanted is None:
        return Response.of_text(404, "Not Found\n")
    owner, name, below, service = wanted
    if not authenticated:
        text = "Invalid username or token. Password authentication is not supported for Git operations.\n"
        return Response.of_text(401, text, CHALLENGE)
    repo = holdings.repo(owner, name)
    if repo is None:
        return Response.of_text(404, "Repository not found.\n")
    if service not in SERVICES:
        return Response.of_text(403, "Please upgrade your git client.\n")
    method = "GET" if below == "info/refs" else "POST"
    if request.method != method:
        return Response.of_text(405, "Method Not Allowed\n", [("Allow", method)])
    if service == "git-receive-pack":
        if repo["archived"]:
            return Response.of_text(403, "This repository was archived so it is read-only.\n")
        if not repo["push"]:
            text = f"Permission to {repo['full_name']}.git denied to {holdings.login}.\n"
            return Response.of_text(403, text)
    environment = GIT_ENVIRONMENT | {
        "GIT_PROJECT_ROOT": str((holdings.data / "repos").resolve()),
        "GIT_HTTP_EXPORT_ALL": "1",
        "PATH_INFO": f"/{repo['full_name']}.git/{below}",
        "QUERY_STRING": request.query_string,
        "REQUEST_METHOD": request.method,
        "CONTENT_TYPE": request.header("content-type"),
        "REMOTE_USER": holdings.login,
        "REMOTE_ADDR": request.remote,
        "REHEARSAL_REPO": repo["full_name"],
        "REHEARSAL_PUSHES": str((holdings.data / "pushes.log").resolve()),
    }
    # The backend unpacks a gzipped body itself when it is told of it.
    for variable, header in (("HTTP_CONTENT_ENCODING", "content-encoding"), ("GIT_PROTOCOL", "git-protocol")):
        if request.header(header):
            environment[variable] = request.header(header)
    request.body_file.seek(0)
    process = subprocess.Popen(
        ["git", "http-backend"],
        env=environment,
        stdin=request.body_file.fileno(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    status, headers = _cgi_headers(process.stdout)
    return Response(status, _pieces(process), headers)


def _cgi_headers(stream: IO[bytes]) -> tuple[int, list[tuple[str, str]]]:
    status, headers = 200, []
    while line := stream.readline().decode("latin-1").strip():
        name, _, value = line.partition(":")
        if name.lower() == "status":
            status = int(value.split()[0])
        else:
            headers.append((name, value.strip()))
    return (status, headers) if headers else (500, [])


def _pieces(process: subprocess.Popen[bytes]) -> Iterator[bytes]:
    """The backend's output; where it failed the connection is cut, so that no client takes it as whole."""
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        while piece := process.stdout.read1(1 << 16):  # type: ignore[attr-defined]
            yield piece
        problem = process.stderr.read().decode(errors="replace")
        if process.wait() != 0:
            raise Abort(f"git http-backend: {problem}")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        process.stdout.close()
        process.stderr.close()
