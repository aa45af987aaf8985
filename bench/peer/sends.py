"""The second peer: messages sent the usual way, by Celery workers on RabbitMQ.

    python -m bench.peer.sends COUNT URL      queues that many sends to a stand-in for Slack
    celery -A bench.peer.sends worker …       sends them

A send is acked after it was made, so a worker that dies makes it again. There is no ledger, no order and no position:
whoever wants those pays for them on top. PEER_AMQP_URL names the broker; a worker makes the file PEER_READY.
"""

from __future__ import annotations

import http.client
import json
import os
import sys
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from celery import Celery
from celery.signals import worker_ready

app = Celery("sends", broker=os.environ["PEER_AMQP_URL"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_acks_late=True,
    task_default_queue="peer-sends",
    task_ignore_result=True,
    worker_hijack_root_logger=False,
)
kept = threading.local()


@worker_ready.connect
def tell_ready(**_: Any) -> None:
    """Says that this worker takes work."""
    Path(os.environ["PEER_READY"]).touch()


@app.task(name="send", autoretry_for=(OSError, http.client.HTTPException), max_retries=5)
def send(url: str, effect_id: str, channel: str) -> None:
    """Posts one message; each thread keeps its connection."""
    at = urlsplit(url)
    if not hasattr(kept, "connection"):
        kept.connection = http.client.HTTPConnection(at.hostname or "", at.port, timeout=15)
    body = {
        "channel": channel,
        "text": "agent_error",
        "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": "The agent failed. " * 8}}],
        "metadata": {"event_type": "bgagent", "event_payload": {"effect_id": effect_id}},
    }
    try:
        kept.connection.request(
            "POST", "/chat.postMessage", json.dumps(body), {"Content-Type": "application/json; charset=utf-8"}
        )
        answer = json.loads(kept.connection.getresponse().read())
    except (OSError, http.client.HTTPException):
        kept.connection.close()
        raise
    if not answer["ok"]:
        raise http.client.HTTPException(answer["error"])


def main() -> None:
    """Queues the sends."""
    count, url = int(sys.argv[1]), sys.argv[2]
    with app.producer_pool.acquire(block=True) as producer:
        for number in range(count):
            send.apply_async((url, f"{number:026}", f"C{number}"), producer=producer)


if __name__ == "__main__":
    main()
