"""The Bottle application: routes, headers, and every answer in the same shape."""

from __future__ import annotations

import itertools
import queue
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import bottle
from msgspec import Struct
from msgspec.structs import replace

from .. import __version__
from ..audit.entries import Entry
from ..model import Access
from ..platform.api_keys import Key
from . import bodies, callers, openapi
from .answers import Refusal, unreadable
from .callers import FindKey
from .calls import Calls, Request, stopping
from .limiting import ADDRESS, KEY, Limits
from .logs import Log, encoded
from .metrics import CONTENT_TYPE, Metrics
from .once import Begun, Kept, Once, fingerprint

PAGES = Path(__file__).parent / "pages"
KINDS = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
}
PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
POLICY = ("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
HEADERS = {  # of every answer; the listener puts them there
    "Cache-Control": "no-store",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
Environ = dict[str, Any]


class Web(Struct, frozen=True):
    """What the routes work with."""

    calls: Calls
    refresh: Callable[[], object]  # take up settings that have changed; asked once a request
    find_key: FindKey
    limits: Limits
    metrics: Metrics
    log: Log
    once: Once


class Visit(Struct):
    """One request on its way: what the log tells of it in the end."""

    id: str
    address: str
    environ: Environ
    key: str | None = None

    def header(self, name: str) -> str | None:
        """A header by its WSGI name (HTTP_X_ROLE); Bottle's own way to it costs several times as much."""
        found: str | None = self.environ.get(name)
        return found if found is None or found.isascii() else found.encode("latin-1").decode("utf-8", "replace")


def application(web: Web) -> Application:
    return Application(web)


class Application:
    """The WSGI application."""

    def __init__(self, web: Web) -> None:
        self.web = web
        self.bottle = bottle.Bottle(catchall=True)
        self.bottle.default_error_handler = self._wrong_path
        self._operations: list[tuple[str, str, openapi.Operation]] = []
        self._begun, self._count = secrets.token_hex(4), itertools.count(1)  # make the ids of requests that have none
        self.route("POST", "/execute/<name:path>", self._execute)
        self.route("GET", "/health", self._health, HEALTH)
        self.route("GET", "/capabilities", self._capabilities, CAPABILITIES)
        self.route("GET", "/metrics", self._metrics, METRICS)
        self.route("GET", "/openapi.json", self._openapi, OPENAPI)
        self.route("GET", "/docs", lambda visit: self._page(visit, "docs.html"))
        self.route("GET", "/docs/<name>", self._page)

    def route(
        self, method: str, path: str, answer: Callable[..., Any], operation: openapi.Operation | None = None
    ) -> None:
        """Answer a path. `answer` takes the Visit and the path's parts, and gives an object for JSON, or a
        bottle.HTTPResponse; it raises Refusal. `operation` describes it in /openapi.json; a path that takes
        parts is `/runs/<run>` here and `/runs/{run}` there."""
        if operation is not None:
            described = re.sub(r"<(\w+)(:\w+)?>", r"{\1}", path)
            self._operations.append((method, described, operation))

        def perform(**parts: str) -> Any:
            visit: Visit = bottle.request.environ["ikoma.visit"]
            try:
                found = answer(visit, **parts)
            except Refusal as refusal:
                return _refused(refusal, visit)
            except Exception as error:
                self.web.log.exception("fault", error, requestId=visit.id, path=bottle.request.path)
                return _refused(unreadable("answering"), visit)
            if isinstance(found, bottle.HTTPResponse):
                return found
            bottle.response.content_type = "application/json"
            return found if isinstance(found, bytes) else _text(found).encode()

        self.bottle.route(path, method, perform)

    def __call__(self, environ: Environ, start: Callable[..., Any]) -> Iterable[bytes]:
        begun = time.perf_counter()
        given = environ.get("HTTP_X_REQUEST_ID", "")
        own = given if given and _REQUEST_ID.fullmatch(given) else f"{self._begun}{next(self._count):08x}"
        visit = Visit(own, _address(environ), environ)
        environ["ikoma.visit"] = visit
        status = ""

        def start_with_headers(said: str, headers: list[tuple[str, str]], *more: Any) -> Any:
            nonlocal status
            status = said
            extra = [*headers, ("X-Request-Id", visit.id)]
            if not any(name == POLICY[0] for name, _ in headers):
                extra.append(POLICY)
            if environ["wsgi.url_scheme"] == "https":
                extra.append(("Strict-Transport-Security", "max-age=31536000"))
            return start(said, extra, *more)

        answer: Iterable[bytes] = self.bottle(environ, start_with_headers)
        if self.web.log.takes("info"):
            self.web.log.write(
                "info", "request", requestId=visit.id, method=environ.get("REQUEST_METHOD"),
                path=environ.get("PATH_INFO"), status=int(status[:3] or 0),
                ms=round((time.perf_counter() - begun) * 1000, 2), address=visit.address, key=visit.key,
            )  # fmt: skip
        return answer

    # --- who calls ---

    def caller(self, visit: Visit) -> Key:
        """Whoever sent the request, counted. Raises Refusal: 401, 429; a failure is in the audit log."""
        web = self.web
        web.refresh()
        web.limits.count(ADDRESS, visit.address)
        key = visit.header("HTTP_X_API_KEY") or ""
        try:
            found = callers.authenticated(key, visit.address, web.find_key, web.limits)
        except Refusal as refusal:
            if refusal.status == 401:
                entry = Entry(
                    "authentication", "", {"address": visit.address, "path": bottle.request.path[:200]},
                    error=refusal.message, request_id=visit.id,
                )  # fmt: skip
                web.calls.write(entry)
            raise
        visit.key = found.name
        web.limits.count(KEY, found.name)
        return found

    def role(self, visit: Visit) -> tuple[Key, Access]:
        """The caller and the role of this request. Raises Refusal."""
        key = self.caller(visit)
        return key, callers.role_of(key, visit.header("HTTP_X_ROLE"))

    # --- routes ---

    def _execute(self, visit: Visit, name: str) -> Any:
        key, calls = self.caller(visit), self.web.calls
        role = key.access
        try:
            tool = calls.tool(name)
            role = callers.role_of(key, visit.header("HTTP_X_ROLE"))
            raw: bytes = visit.environ["wsgi.input"].read()  # the server ends it where the body ends
            body = bodies.parse(raw)
        except Refusal as refusal:
            calls.write(
                Entry(name[:100], role.label, error=refusal.message, key=key.name, request_id=visit.id)
            )  # fmt: skip
            raise
        begun = Begun()
        if (once := visit.header("HTTP_IDEMPOTENCY_KEY")) is not None:
            asked = fingerprint("POST", bottle.request.path, role.label, raw)
            found = self.web.once.begin(key.name, once, asked)
            if isinstance(found, Kept):
                return answered(found.status, found.text, {"Idempotent-Replayed": "true"})
            begun = found
        request = Request(visit.id, key, role, tool, body, begun.runs if tool.changes else None)
        later = "respond-async" in (visit.header("HTTP_PREFER") or "").lower()
        return self._later(request, begun) if later else self._now(request, begun)

    def _now(self, request: Request, begun: Begun) -> Any:
        """The call is made, and its answer kept where it might be asked for again."""
        try:
            text = _text(self.web.calls.execute(request))
        except Refusal as refusal:
            begun.end(refusal.status, _text({**refusal.body(), "requestId": request.id}))
            raise
        begun.end(200, text)
        return text.encode()

    def _later(self, request: Request, begun: Begun) -> Any:
        """The call is begun, and goes on after the answer. Raises Refusal where it does not come so far."""
        calls = self.web.calls
        heard: queue.SimpleQueue[str | Refusal] = queue.SimpleQueue()

        def on_run(run: str) -> None:
            begun.runs(run)
            heard.put(run)

        def work() -> None:
            try:
                calls.execute(replace(request, on_run=on_run, keep=True, line=f"{request.id}/1"))
            except Refusal as refusal:
                heard.put(refusal)
            except Exception as error:
                self.web.log.exception("fault", error, requestId=request.id)
                heard.put(unreadable("answering"))

        threading.Thread(target=work, name=f"call {request.id}", daemon=True).start()
        came = heard.get()
        if isinstance(came, Refusal):
            begun.end(came.status, _text(came.body()), began=False)
            raise came
        calls.write(
            Entry("runs.start", request.role.label, {"tool": request.tool.name}, key=request.key.name, run=came,
                  request_id=request.id)
        )  # fmt: skip
        begun.end(202, begun_text(came))
        return answered(202, begun_text(came), {"Location": f"/runs/{came}"})

    def _health(self, visit: Visit) -> Any:
        self.web.limits.count(ADDRESS, visit.address)
        if self.web.calls.stopping:
            raise stopping()
        return {"status": "ok", "version": __version__}

    def _capabilities(self, visit: Visit) -> Any:
        _, role = self.role(visit)
        calls = self.web.calls
        listed = []
        for name in calls.names:
            tool = calls.tool(name)
            listed.append(
                {
                    "name": tool.name,
                    "role": tool.access.label,
                    "allowed": tool.access <= role,
                    "changes": tool.changes,
                    "description": tool.summary,
                }
            )
        return {"version": __version__, "role": role.label, "capabilities": listed}

    def _metrics(self, visit: Visit) -> Any:
        self.role(visit)
        return bottle.HTTPResponse(self.web.metrics.text(), 200, {"Content-Type": CONTENT_TYPE})

    def _openapi(self, visit: Visit) -> Any:
        self.role(visit)
        return self.description

    @cached_property
    def description(self) -> dict[str, Any]:
        """The document of /openapi.json."""
        calls = self.web.calls
        hosts = dict.fromkeys([*calls.parts.inventory.hosts, *filter(None, [calls.parts.own_host])])
        return openapi.document(map(calls.tool, calls.names), self._operations, hosts)

    def _page(self, visit: Visit, name: str) -> Any:
        """The page that shows /openapi.json, and what belongs to it; there is nothing in it that needs a key."""
        self.web.limits.count(ADDRESS, visit.address)
        found = PAGES / name
        if found.parent != PAGES or found.suffix not in KINDS or not found.is_file():
            raise Refusal(404, "not-found", "there is nothing at this path")
        headers = {"Content-Type": KINDS[found.suffix], "Content-Security-Policy": PAGE_POLICY}
        return bottle.HTTPResponse(found.read_bytes(), 200, headers)

    def _wrong_path(self, error: bottle.HTTPError) -> str:
        """What Bottle itself refuses: no such path, or not with this method."""
        visit: Visit = bottle.request.environ["ikoma.visit"]
        if error.status_code == 405:
            allowed = error.headers.get("Allow", "")
            refusal = Refusal(405, "method", f"{bottle.request.method} is not for this path; {allowed} is")
        elif error.status_code == 404:
            refusal = Refusal(404, "not-found", "there is nothing at this path", remedy="See /openapi.json.")
        else:
            if error.exception is not None:
                self.web.log.exception("fault", error.exception, requestId=visit.id)
            refusal = unreadable("answering")
        bottle.response.status = refusal.status
        bottle.response.content_type = "application/json"
        return _text({**refusal.body(), "requestId": visit.id})


def _refused(refusal: Refusal, visit: Visit) -> bottle.HTTPResponse:
    return _json(refusal.status, {**refusal.body(), "requestId": visit.id}, refusal.headers)


def answered(status: int, text: str, headers: Mapping[str, str] | None = None) -> bottle.HTTPResponse:
    """An answer whose JSON is text already."""
    return bottle.HTTPResponse(text, status, {"Content-Type": "application/json", **(headers or {})})


def begun_text(run: str) -> str:
    """The answer to what goes on after it."""
    return _text({"success": True, "run": run, "events": f"/runs/{run}/events"})


def _json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> bottle.HTTPResponse:
    return answered(status, _text(value), headers)


_TEXT, _LIST = {"type": "string"}, {"type": "array", "items": {"type": "object"}}
_WHO = ("400", "401", "429", "500")  # whatever asks for a key and a role may answer these
_AS_ROLE = {"parameters": [{"$ref": "#/components/parameters/role"}]}
HEALTH = openapi.operation(
    "health", "Whether the server answers; needs no key.",
    {"type": "object", "required": ["status"], "properties": {"status": {"const": "ok"}, "version": _TEXT}},
    ("429", "500", "503"), security=[],
)  # fmt: skip
CAPABILITIES = openapi.operation(
    "capabilities", "The tools, each with its role and whether this call may use it.",
    {"type": "object", "required": ["version", "role", "capabilities"],
     "properties": {"version": _TEXT, "role": _TEXT, "capabilities": _LIST}},
    _WHO, **_AS_ROLE,
)  # fmt: skip
METRICS: dict[str, Any] = {**openapi.operation("metrics", "Figures for Prometheus.", {}, _WHO, **_AS_ROLE)}
METRICS["responses"]["200"] = {"description": "The figures.", "content": {"text/plain": {"schema": _TEXT}}}
OPENAPI = openapi.operation("openapi", "This document.", {"type": "object"}, _WHO, **_AS_ROLE)


def _text(value: Any) -> str:
    return encoded(value) + "\n"


def _address(environ: Environ) -> str:
    return str(environ.get("REMOTE_ADDR") or "unix")
