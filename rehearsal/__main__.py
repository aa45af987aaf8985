"""`python -m rehearsal <github|slack|smtp|model> --port N --data DIR`: one simulator until SIGTERM."""

from __future__ import annotations

import argparse
import contextlib
import logging
from pathlib import Path

from rehearsal.github import GitHub
from rehearsal.model import Model
from rehearsal.server import running, wait_for_signal
from rehearsal.simulator import Simulator
from rehearsal.slack import Slack
from rehearsal.smtp import Mail
from rehearsal.smtp.server import MAX_SIZE, mail_running


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m rehearsal", description=__doc__)
    parser.add_argument("service", choices=("github", "slack", "smtp", "model"))
    parser.add_argument("--port", type=int, default=0, help="0 picks a free port, which is printed")
    parser.add_argument("--data", type=Path, required=True, help="where everything is kept")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    token = parser.add_mutually_exclusive_group()
    token.add_argument("--token", help="the only credential taken; without it any is, but never none")
    token.add_argument("--token-file", type=Path, help="a file that holds it")
    parser.add_argument("--login", default="bgagent-bot", help="github: whom the token belongs to")
    parser.add_argument("--rate-limit", action="store_true", help="slack: one message a second and channel")
    parser.add_argument("--auth", metavar="USER:PASSWORD", help="smtp: AUTH is required")
    parser.add_argument("--control-port", type=int, default=0, help="smtp: HTTP port for orders")
    parser.add_argument("--max-size", type=int, default=MAX_SIZE, help="smtp: largest mail in bytes")
    parser.add_argument("--scripts", type=Path, help="model: a directory of scripts instead of our own")
    options = parser.parse_args()
    if options.token_file is not None:
        options.token = options.token_file.read_text().strip()
        if not options.token:
            parser.error(f"{options.token_file} is empty")
    return options


def main() -> None:
    """Serves until a signal, after one line that says where."""
    options = arguments()
    data: Path = options.data
    # The mail library warns of AUTH without TLS, which is what is wanted on loopback.
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)
    with contextlib.ExitStack() as stack:
        simulator: Simulator
        port, more = options.port, ""
        match options.service:
            case "github":
                simulator = GitHub(data, options.token, options.login)
            case "slack":
                simulator = Slack(data, options.token, options.rate_limit)
            case "model":
                simulator = Model(data, options.token, options.scripts)
            case _:
                simulator = mail = Mail(data, options.auth)
                server = stack.enter_context(mail_running(mail, options.port, options.max_size, options.host))
                port, more = options.control_port, f" smtp://127.0.0.1:{server.port}"
        server_url = stack.enter_context(running(simulator, port, options.host)).url
        print(f"listening on {server_url}{more}", flush=True)
        wait_for_signal()


if __name__ == "__main__":
    main()
