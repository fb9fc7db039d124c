"""Real receivers of notifications on loopback ports: a web server for webhooks, a mail server."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator
from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from aiosmtpd.controller import Controller


class Webhook:
    """Takes POSTs of JSON; `refuse` is how many of them are answered with 503 first."""

    def __init__(self, port: int = 0, refuse: int = 0) -> None:
        self.bodies: list[dict[str, Any]] = []
        self.refuse = refuse
        hook = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                assert self.headers["Content-Type"] == "application/json"
                good = hook.refuse <= 0
                hook.refuse -= 1
                if good:
                    hook.bodies.append(body)
                self.send_response(200 if good else 503)
                self.end_headers()
                self.wfile.write(b"ok" if good else b"come back later")

            def log_message(self, *words: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", port), Handler)

    @property
    def port(self) -> int:
        return int(self.server.server_address[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/services/T0/canary-of-the-hook"


@contextlib.contextmanager
def webhook(port: int = 0, refuse: int = 0) -> Iterator[Webhook]:
    made = Webhook(port, refuse)
    thread = threading.Thread(target=made.server.serve_forever, daemon=True)
    thread.start()
    try:
        yield made
    finally:
        made.server.shutdown()
        made.server.server_close()
        thread.join()


class Mails:
    """The mails that came in, and to whom."""

    def __init__(self) -> None:
        self.received: list[tuple[list[str], EmailMessage]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:
        mail = message_from_bytes(envelope.content, policy=default)
        assert isinstance(mail, EmailMessage)
        self.received.append((envelope.rcpt_tos, mail))
        return "250 taken"


@contextlib.contextmanager
def mail_server(port: int) -> Iterator[Mails]:
    mails = Mails()
    controller = Controller(mails, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield mails
    finally:
        controller.stop()
