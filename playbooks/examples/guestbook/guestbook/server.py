"""HTTP: the page with its form, a JSON API and the health check.

GET  /             the page                      POST /             the form; answers 303 to the page
GET  /api/entries  {"entries": [...]}            POST /api/entries  a JSON object; answers 201 with the entry
GET  /health       200 when the database answers, 503 when it does not
"""

from __future__ import annotations

import json
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import psycopg

from .database import LONGEST, Entries, Entry
from .pages import STYLE, page, sorry

LARGEST_BODY = 64 * 1024


class BadRequest(Exception):
    """What the visitor sent cannot be an entry; the message is for the visitor."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class Guestbook(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, address: tuple[str, int], entries: Entries, title: str) -> None:
        self.entries = entries
        self.title = title
        super().__init__(address, Handler)


class Handler(BaseHTTPRequestHandler):
    server: Guestbook
    protocol_version = "HTTP/1.1"
    timeout = 30  # seconds that an idle connection may hold a thread

    def do_GET(self) -> None:
        self._answer({"/": self._page, "/style.css": self._style, "/api/entries": self._list, "/health": self._health})

    def do_POST(self) -> None:
        self._answer({"/": self._sign, "/api/entries": self._add})

    do_HEAD = do_GET

    def _answer(self, routes: dict) -> None:
        path = self.path.partition("?")[0]
        try:
            if path not in routes:
                raise BadRequest("There is nothing here.", 404)
            routes[path]()
        except BadRequest as error:
            self.close_connection = True  # the body may not have been read
            self._json({"error": str(error)}, error.status)
        except psycopg.Error as error:
            self.log_message("database: %s", str(error).strip().splitlines()[0])
            if path == "/":
                self._send(sorry(self.server.title), "text/html", 503)
            else:
                self._json({"error": "the database does not answer"}, 503)

    def _page(self) -> None:
        self._send(page(self.server.title, self.server.entries.newest()), "text/html")

    def _style(self) -> None:
        self._send(STYLE, "text/css")

    def _list(self) -> None:
        self._json({"entries": [_as_json(entry) for entry in self.server.entries.newest()]})

    def _health(self) -> None:
        self._json({"status": "ok", "database": "ok", "entries": self.server.entries.count()})

    def _sign(self) -> None:
        form = parse_qs(self._body(), keep_blank_values=True)
        given = {name: values[-1] for name, values in form.items()}
        try:
            entry = _checked(given)
        except BadRequest as error:
            text = page(self.server.title, self.server.entries.newest(), str(error), given)
            self._send(text, "text/html", error.status)
            return
        self.server.entries.add(**entry)
        self._send("", "text/html", 303, {"Location": "/"})

    def _add(self) -> None:
        try:
            given = json.loads(self._body())
        except ValueError:
            raise BadRequest("The body is not JSON.") from None
        self._json(_as_json(self.server.entries.add(**_checked(given))), 201)

    def _body(self) -> str:
        length = self.headers.get("Content-Length", "")
        if not length.isdigit():
            raise BadRequest("The request has no Content-Length.", 411)
        if int(length) > LARGEST_BODY:
            raise BadRequest(f"The request is longer than {LARGEST_BODY} bytes.", 413)
        try:
            return self.rfile.read(int(length)).decode()
        except UnicodeDecodeError:
            raise BadRequest("The request is not UTF-8.") from None

    def _json(self, value: object, status: int = 200) -> None:
        self._send(json.dumps(value, ensure_ascii=False), "application/json", status)

    def _send(self, text: str, kind: str, status: int = 200, headers: dict[str, str] | None = None) -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'")
        self.send_header("X-Content-Type-Options", "nosniff")
        if self.close_connection:
            self.send_header("Connection", "close")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def log_request(self, code: object = "-", size: object = "-") -> None:
        if self.path != "/health" or str(getattr(code, "value", code)) != "200":  # not a line every two seconds
            super().log_request(code, size)


def _checked(given: object) -> dict[str, str]:
    """The three fields of an entry, trimmed. Raises BadRequest."""
    if not isinstance(given, dict) or not all(isinstance(given.get(name, ""), str) for name in LONGEST):
        raise BadRequest("An entry has the texts author, place and message.")
    entry = {name: given.get(name, "").replace("\r\n", "\n").replace("\0", "").strip() for name in LONGEST}
    for name, longest in LONGEST.items():
        if len(entry[name]) > longest:
            raise BadRequest(f"The {name} is longer than {longest} characters.")
    for name in ("author", "message"):
        if not entry[name]:
            raise BadRequest(f"The {name} is empty.")
    return entry


def _as_json(entry: Entry) -> dict[str, object]:
    return {
        "id": entry.id,
        "author": entry.author,
        "place": entry.place,
        "message": entry.message,
        "written_at": entry.written_at.isoformat(),
    }
