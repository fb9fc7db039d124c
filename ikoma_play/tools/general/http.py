"""HTTP from the runner's side, through the host's tunnel, so that addresses mean what they mean on the host."""

from __future__ import annotations

import base64
import http.client
import ipaddress
import socket
import ssl
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from msgspec import Struct, field

from ...errors import StepError, TimedOut, Unavailable
from ...model import EMPTY
from ...transport.base import Transport

REDIRECTS = (301, 302, 303, 307, 308)
MOST_REDIRECTS = 10
SAFE = ("GET", "HEAD")


class Request(Struct, frozen=True):
    """One request; `timeout` in seconds for each wait on the network."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = EMPTY
    body: bytes | None = None
    timeout: float = 30
    follow: str = "safe"  # all or yes, none or no; anything else: where the method only looks
    validate_certs: bool = True
    ca_path: str | None = None
    client_cert: str | None = None
    client_key: str | None = None
    use_proxy: bool = True
    unix_socket: str | None = None


class Answer(Struct):
    """What came back, the body still unread; `url` is where redirects led."""

    status: int
    reason: str
    url: str
    headers: http.client.HTTPMessage
    body: http.client.HTTPResponse
    redirected: bool = False
    cookies: dict[str, str] = field(default_factory=dict)


@contextmanager
def answered(on: Transport, request: Request) -> Iterator[Answer]:
    """The answer to a request, redirects followed. Raises StepError, TimedOut and Unavailable, never for a status."""
    url, method, body, headers = request.url, request.method.upper(), request.body, dict(request.headers)
    if not method.isascii() or not method.replace("-", "").isalnum():
        raise StepError(f"{request.method[:40]!r} is no HTTP method", remedy="Use GET, POST, PUT, DELETE or the like.")
    redirected = False
    for _ in range(MOST_REDIRECTS):
        with _one(on, request, url, method, body, headers) as answer:
            target = answer.headers.get("Location")
            if answer.status not in REDIRECTS or not target or not _follows(request.follow, method):
                answer.redirected = redirected
                yield answer
                return
        onward = urllib.parse.urljoin(url, target)
        if _origin(onward) != _origin(url):
            # Credentials are for the host they were given for.
            headers = {name: text for name, text in headers.items() if name.lower() not in ("authorization", "cookie")}
        if answer.status == 303 or (answer.status in (301, 302) and method == "POST"):
            method, body = "GET", None
        url, redirected = onward, True
    raise StepError(f"{request.url} was redirected more than {MOST_REDIRECTS} times", remedy="Check the server.")


def basic(user: str, password: str) -> str:
    """The value of an Authorization header."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def shown_url(url: str) -> str:
    """A URL without the password in it."""
    parts = urllib.parse.urlsplit(url)
    if parts.password is None:
        return url
    return urllib.parse.urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":********@")))


@contextmanager
def _one(
    on: Transport, request: Request, url: str, method: str, body: bytes | None, headers: Mapping[str, str]
) -> Iterator[Answer]:
    parts = _parts(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    host = parts.hostname or ""
    started = time.monotonic()
    try:
        with on.tunnel(request.unix_socket or host, 0 if request.unix_socket else port) as (address, nearby):
            # The environment's proxy is the runner's own: what goes through a host's tunnel does not use it.
            proxy = _proxy(request, parts.scheme, host) if (address, nearby) == (host, port) else None
            connection = _connection(request, parts, address, nearby, proxy)
            try:
                connection.request(method, _target(parts, proxy), body, _headers(parts, headers))
                response = connection.getresponse()
                yield Answer(
                    response.status,
                    response.reason,
                    url,
                    response.headers,
                    response,
                    cookies=_cookies(response.headers),
                )
            finally:
                connection.close()
    except TimeoutError as error:
        seconds = time.monotonic() - started
        raise TimedOut(
            f"{shown_url(url)} did not answer within {seconds:.3g} s",
            remedy="Look whether the service hangs, or allow more time (timeout).",
            result=_failed(url, "timed out"),
        ) from error
    except ssl.SSLCertVerificationError as error:
        raise StepError(
            f"the certificate of {shown_url(url)} is not trusted: {error.verify_message}",
            remedy="Give the authority's certificate (ca_path), or say validate_certs: false where that is safe.",
            result=_failed(url, str(error)),
        ) from error
    except (OSError, http.client.HTTPException) as error:
        raise Unavailable(
            f"{shown_url(url)} does not answer: {_cause(error)}",
            remedy="Look whether the service runs and listens there, and whether the address is right.",
            result=_failed(url, _cause(error)),
        ) from error


def _failed(url: str, cause: str) -> dict[str, Any]:
    return {"status": -1, "url": shown_url(url), "msg": cause, "elapsed": 0}


def _cause(error: Exception) -> str:
    if isinstance(error, socket.gaierror):
        return "its name is not known"
    if isinstance(error, http.client.RemoteDisconnected):
        return "it closed the connection without an answer"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__


def _parts(url: str) -> urllib.parse.SplitResult:
    try:
        parts = urllib.parse.urlsplit(url)
        _ = parts.port
    except ValueError as error:
        raise StepError(
            f"{shown_url(url)} is not a URL: {error}", remedy="Write it as http://host:port/path."
        ) from None
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise StepError(f"{shown_url(url)} is not a URL of http or https", remedy="Write it as http://host:port/path.")
    return parts


def _proxy(request: Request, scheme: str, host: str) -> urllib.parse.SplitResult | None:
    """The proxy that the environment names for this host; never for this machine itself."""
    try:
        local = ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = host == "localhost" or host.endswith(".localhost")
    if not request.use_proxy or local or urllib.request.proxy_bypass(host):
        return None
    named = urllib.request.getproxies().get(scheme)
    return urllib.parse.urlsplit(named if "//" in named else f"http://{named}") if named else None


class _Tunnelled(http.client.HTTPConnection):
    """A connection whose name (Host header, certificate) is the URL's, and whose way is the tunnel's."""

    def __init__(
        self, host: str, way: tuple[str, int], timeout: float, tls: ssl.SSLContext | None, verified_as: str
    ) -> None:
        super().__init__(host, timeout=timeout)
        self._way = way
        self._tls = tls
        self._verified_as = verified_as

    def connect(self) -> None:
        address, port = self._way
        if port == 0:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(self.timeout)
            self.sock.connect(address)
        else:
            self.sock = socket.create_connection((address, port), self.timeout)
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._tunnel_host:  # type: ignore[attr-defined]
            self._tunnel()  # type: ignore[attr-defined]
        if self._tls is not None:
            self.sock = self._tls.wrap_socket(self.sock, server_hostname=self._verified_as)


def _connection(
    request: Request,
    parts: urllib.parse.SplitResult,
    address: str,
    port: int,
    proxy: urllib.parse.SplitResult | None,
) -> http.client.HTTPConnection:
    tls = _tls(request) if parts.scheme == "https" else None
    host = parts.hostname or ""
    way = (address, port) if proxy is None else (proxy.hostname or "", proxy.port or 3128)
    connection = _Tunnelled(host, way, request.timeout, tls, host)
    if proxy is not None and tls is not None:
        given = {"Proxy-Authorization": basic(proxy.username, proxy.password or "")} if proxy.username else {}
        connection.set_tunnel(host, parts.port or 443, given)
    return connection


def _tls(request: Request) -> ssl.SSLContext:
    settings = ssl.create_default_context(cafile=request.ca_path)
    if not request.validate_certs:
        settings.check_hostname = False
        settings.verify_mode = ssl.CERT_NONE
    if request.client_cert is not None:
        settings.load_cert_chain(request.client_cert, request.client_key)
    return settings


def _target(parts: urllib.parse.SplitResult, proxy: urllib.parse.SplitResult | None) -> str:
    path = urllib.parse.quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    if parts.query:
        path += "?" + urllib.parse.quote(parts.query, safe="/%:@!$&'()*+,;=~-._?")
    if proxy is not None and parts.scheme == "http":
        return f"http://{parts.netloc.rpartition('@')[2]}{path}"
    return path


def _headers(parts: urllib.parse.SplitResult, given: Mapping[str, str]) -> dict[str, str]:
    headers = {"User-Agent": "ikoma-play", "Accept": "*/*", "Host": parts.netloc.rpartition("@")[2]}
    if parts.username is not None:
        user, password = urllib.parse.unquote(parts.username), urllib.parse.unquote(parts.password or "")
        headers["Authorization"] = basic(user, password)
    known = {name.lower(): name for name in headers}
    for name, text in given.items():
        headers.pop(known.get(name.lower(), ""), None)
        headers[name] = text
    return headers


def _cookies(headers: http.client.HTTPMessage) -> dict[str, str]:
    from http.cookies import CookieError, SimpleCookie

    found: dict[str, str] = {}
    for line in headers.get_all("Set-Cookie", []):
        try:
            found |= {name: morsel.value for name, morsel in SimpleCookie(line).items()}
        except CookieError:
            continue
    return found


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = _parts(url)
    return parts.scheme, parts.hostname, parts.port or {"http": 80, "https": 443}[parts.scheme]


def _follows(follow: str, method: str) -> bool:
    if follow in ("none", "no"):
        return False
    return follow in ("all", "yes") or method in SAFE
