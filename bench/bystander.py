"""The agent's image started by plain `docker run`, the way everybody would, and told where to ask for its work: a
listener of ours, which notes when it asked and sends it away.
"""

from __future__ import annotations

import http.server
import json
import threading
import time
from typing import Any

from bench.engine import Place
from bench.processes import Failed

ASKS_WITHIN = 60.0
REFUSED = b'{"error":{"code":"GONE","message":"This is no session.","request_id":""}}'


class Listener(http.server.ThreadingHTTPServer):
    """Where the agent thinks that its gateway is."""

    daemon_threads = True

    def __init__(self, host: str) -> None:
        super().__init__((host, 0), Ask)
        self.asked = threading.Event()
        self.at = 0.0

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """A first connection is as far as it has to come: its request is on the way."""
        if not self.asked.is_set():
            self.at = time.time()
            self.asked.set()
        return True


class Ask(http.server.BaseHTTPRequestHandler):
    """Every session is over here."""

    def _refuse(self) -> None:
        self.send_response(410)
        self.send_header("Content-Length", str(len(REFUSED)))
        self.end_headers()
        self.wfile.write(REFUSED)

    do_GET = do_POST = _refuse

    def log_message(self, format: str, *args: object) -> None:
        """Silent."""


def run(place: Place, number: int) -> tuple[str, float, float]:
    """One container; its name, when it was ordered, and when its agent first asked."""
    network = json.loads(place.docker("network", "inspect", "bridge"))[0]
    host = next(iter(one["Gateway"] for one in network["IPAM"]["Config"] if "Gateway" in one), "")
    if not host:
        raise Failed("the engine's default network has no gateway")
    name = f"{place.project}-bystander-{number}"
    with Listener(host) as listener:
        threading.Thread(target=listener.serve_forever, args=(0.02,), daemon=True).start()
        settings = {
            "BGAGENT_AGENT_GATEWAY_URL": f"http://{host}:{listener.server_address[1]}",
            "BGAGENT_SESSION": name,
            "BGAGENT_TASK_ID": "bench",
            "BGAGENT_ATTEMPT": "1",
            **{f"BGAGENT_{kind}_TOKEN": "bench" for kind in ("HARNESS", "GIT", "MODEL")},
        }
        words = [word for key, value in settings.items() for word in ("--env", f"{key}={value}")]
        # With the installation's label, so that what notes the starts of its containers notes this one.
        label = ("--label", f"bgagent.installation={place.project}")
        began = time.time()
        try:
            place.docker("run", "--detach", "--name", name, *label, *words, f"bgagent-agent:{place.version}")
            if not listener.asked.wait(ASKS_WITHIN):
                raise Failed(f"the agent did not ask: {place.docker('logs', name)[-500:]}")
        finally:
            place.attempt(["docker", "rm", "--force", "--volumes", name])
            listener.shutdown()
        return name, began, listener.at
