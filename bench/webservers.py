"""Well-known web servers beside ours, each one process of this benchmark's own: never a system's service, and never
root where it can be somebody else.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.processes import Failed, Process
from bench.world import World

NOBODY = 65534

NGINX = """\
daemon off;
master_process off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.error warn;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    client_max_body_size 0;
    keepalive_requests 1000000;
    upstream model {{ server 127.0.0.1:{upstream}; keepalive 16; }}
    server {{
        listen 127.0.0.1:{port};
        location / {{
            proxy_pass http://model;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            # As every page on server-sent events advises, and with a buffer that does not slow it down.
            proxy_buffering off;
            proxy_buffer_size 64k;
            proxy_buffers 8 64k;
        }}
    }}
}}
"""

LIGHTTPD = """\
server.modules = ("mod_alias", "mod_setenv", "mod_cgi")
server.bind = "127.0.0.1"
server.port = {port}
server.document-root = "{folder}"
server.errorlog = "{folder}/lighttpd.error"
server.upload-dirs = ("{folder}")
server.max-keep-alive-requests = 10000
# What git writes goes on at once, instead of into a file first.
server.stream-response-body = 2
server.stream-request-body = 2
alias.url = ("/git" => "{backend}")
$HTTP["url"] =~ "^/git" {{
    cgi.assign = ("" => "")
    setenv.set-environment = ("GIT_PROJECT_ROOT" => "{root}", "GIT_HTTP_EXPORT_ALL" => "1")
}}
"""


@contextmanager
def folder_of_nobody(world: World, name: str) -> Iterator[Path]:
    """A directory that such a server may use: the part's own files are closed to other users."""
    made = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=world.run))
    try:
        hand_over(made)
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


def hand_over(path: Path) -> None:
    """Gives files to the user that such a server runs as."""
    if os.geteuid() != 0:
        return
    for folder, _, names in os.walk(path):
        for one in (folder, *(str(Path(folder) / name) for name in names)):
            os.chown(one, NOBODY, NOBODY, follow_symlinks=False)


def as_nobody(command: list[str]) -> list[str]:
    """The command as another user, where we are root. A change of user takes back that it dies with us; said again."""
    if os.geteuid() != 0:
        return command
    ids = ["--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", "--inh-caps=-all"]
    return ["setpriv", *ids, "--pdeathsig", "KILL", "--", *command]


def _start(world: World, name: str, folder: Path, arguments: list[str], port: int, ready: str) -> Process:
    program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if program is None:
        raise Failed(f"{name} is not installed; run scripts/bootstrap {name}")
    env = {"PATH": os.environ["PATH"], "HOME": str(folder)}
    log = world.files / f"{name}.log"
    process = Process(name, as_nobody([program, *arguments]), env, log, (port, ready))
    process.wait_ready()
    return process


def nginx(world: World, folder: Path, port: int, upstream: int) -> Process:
    """A reverse proxy to a port; ready once it passes GET /ready on."""
    settings = folder / "nginx.conf"
    settings.write_text(NGINX.format(folder=folder, port=port, upstream=upstream))
    arguments = ["-p", str(folder), "-c", str(settings), "-e", str(folder / "nginx.error")]
    return _start(world, "nginx", folder, arguments, port, "/ready")


def lighttpd(world: World, folder: Path, port: int, root: Path, backend: Path) -> Process:
    """`git http-backend` as a CGI program over the repositories below `root`."""
    settings = folder / "lighttpd.conf"
    (folder / "ready").write_text("ready\n")
    settings.write_text(LIGHTTPD.format(folder=folder, port=port, root=root, backend=backend))
    return _start(world, "lighttpd", folder, ["-D", "-f", str(settings)], port, "/ready")
