"""The sockets: waitress, whose one loop reads every request, so that slow clients hold no thread."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from msgspec import Struct
from waitress import wasyncore
from waitress.adjustments import Adjustments
from waitress.channel import HTTPChannel
from waitress.parser import HTTPRequestParser, ParsingError
from waitress.server import TcpWSGIServer
from waitress.task import ErrorTask, ThreadedTaskDispatcher, WSGITask

from ..errors import UsageError
from .app import HEADERS, POLICY
from .logs import Log
from .tls import Secured

BACKLOG = 1024
CONNECTIONS = 1000
HEADER_BYTES = 64 * 1024
PATIENCE = 30.0  # seconds for a request to arrive whole, and for a connection without one
LAST_WORDS = 5.0  # seconds for answers to be taken after the last run has ended


class Binding(Struct, frozen=True):
    """Where to listen: an address and a port, or the path of a Unix socket."""

    host: str = "127.0.0.1"
    port: int = 3000
    path: Path | None = None

    def __str__(self) -> str:
        if self.path is not None:
            return f"unix:{self.path}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @classmethod
    def parse(cls, text: str, port: int) -> Binding:
        """`127.0.0.1:3000`, `:3000`, `[::1]:3000`, `127.0.0.1`, `3000` or `unix:PATH`. Raises UsageError."""
        if text.startswith("unix:"):
            return cls(path=Path(text.removeprefix("unix:")).absolute())
        host, colon, number = text.rpartition(":")
        if text.isdigit():
            host, number = "", text
        elif not colon or text.endswith("]"):
            host, number = text, str(port)
        host = host.removeprefix("[").removesuffix("]") or "127.0.0.1"
        if not number.isdigit() or not 0 <= int(number) < 65536:
            raise UsageError(f"--bind {text} names no port", remedy="Write ADDRESS:PORT, PORT or unix:PATH.")
        return cls(host, int(number))


def opened(at: Binding) -> socket.socket:
    """The listening socket. Raises UsageError: in use, not ours, no such address."""
    try:
        return _unix(at.path) if at.path is not None else _tcp(at)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            remedy = "Stop the program that listens there (ss -ltnp shows it), or choose another with --bind."
            raise UsageError(f"{at} is in use by another program", remedy=remedy) from None
        if error.errno in (errno.EACCES, errno.EPERM):
            raise UsageError(
                f"this user may not listen on {at}", remedy="Choose a port above 1023, or a directory of your own."
            ) from None
        raise UsageError(
            f"the server cannot listen on {at}: {error.strerror or error}", remedy="Correct --bind or HTTP_PORT."
        ) from None


def _tcp(at: Binding) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        at.host, at.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    made = socket.socket(family, kind, protocol)
    try:
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.bind(address)
    except BaseException:
        made.close()
        raise
    return made


def _unix(path: Path) -> socket.socket:
    made = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and not _answers(path):  # left by a server that was killed
            path.unlink()
        before = os.umask(0o117)
        try:
            made.bind(str(path))
        finally:
            os.umask(before)
    except BaseException:
        made.close()
        raise
    return made


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            return False
        return True


REFUSED = {
    400: ("malformed", "the request is no proper HTTP"),
    413: ("too-large", "the body is too large"),
    431: ("headers-too-large", f"the headers are larger than {HEADER_BYTES} bytes"),
    500: ("internal", "the server itself failed"),
    501: ("transfer-encoding", "no Transfer-Encoding but chunked is known"),
}


_HEADERS = "".join(f"{name}: {value}\r\n" for name, value in HEADERS.items()).encode() + b"\r\n"


class JsonError(ErrorTask):  # type: ignore[misc]
    """What waitress itself refuses (too large, malformed), in the shape of every other answer."""

    def execute(self) -> None:
        error = self.request.error
        self.channel.lingers = True
        # Not waitress' own words: they repeat the line that is wrong, and with it a key.
        code, said = REFUSED.get(error.code, REFUSED[400])
        body = (json.dumps({"success": False, "error": said, "code": code}) + "\n").encode()
        self.status = f"{error.code} {error.reason}"
        self.response_headers.extend([("Content-Type", "application/json"), POLICY, *HEADERS.items()])
        self.set_close_on_finish()
        self.content_length = len(body)
        self.write(body)
        self.channel.server.log.write(
            "info", "refused", status=error.code, code=code, address=str(self.channel.addr[0])
        )


class Answer(WSGITask):  # type: ignore[misc]
    """An answer whose head goes out together with the first of its body."""

    def build_response_header(self) -> bytes:
        self.channel.head = super().build_response_header()[:-2] + _HEADERS
        return b""

    def finish(self) -> None:
        super().finish()
        head, self.channel.head = self.channel.head, b""  # of an answer without a body
        self.channel.write_soon(head)


class Parser(HTTPRequestParser):  # type: ignore[misc]
    """A request whose length is said in two ways, or in one that its version has not, is two requests to whoever
    reads it the other way: it is refused."""

    def parse_header(self, header_plus: bytes) -> None:
        super().parse_header(header_plus)
        if "TRANSFER_ENCODING" in self.headers or (self.chunked and "CONTENT_LENGTH" in self.headers):
            raise ParsingError("the length of the body is said in two ways")


class Channel(HTTPChannel):  # type: ignore[misc]
    """A connection. `begun` is when the request that is arriving began to.

    After an answer to a request that was not read to its end what still comes is thrown away for a while: closed
    at once, the connection would be reset under the client's hands, the answer unread."""

    task_class = Answer
    error_task_class = JsonError
    parser_class = Parser
    head = b""  # of an answer, to be sent with what follows
    draining_since = 0.0
    lingers = False

    def __init__(self, server: Server, sock: Any, *more: Any, **named: Any) -> None:
        if server.secured_by is not None:
            sock = Secured(sock, server.secured_by)
        super().__init__(server, sock, *more, **named)
        self.begun = time.time()

    def handle_read(self) -> None:
        """As waitress does it, until nothing is left: TLS may hold what no poll sees."""
        for _ in range(64):
            try:
                data = self.recv(self.adj.recv_bytes)
            except BlockingIOError:
                return
            except OSError:
                self.handle_close()
                return
            if not data:
                self.connected = False
                return
            if self.draining_since:
                continue
            if self.request is None:
                self.begun = time.time()
            self.last_activity = time.time()
            self.received(data)
            if self.server.secured_by is None or not self.readable():
                return

    # These two are asked of every connection whenever anything happens on one.

    def readable(self) -> bool:
        if self.requests or self.total_outbufs_len or self.will_close or self.close_when_flushed:
            return bool(self.draining_since)
        return True

    def writable(self) -> bool:
        waits = self.total_outbufs_len or self.will_close or self.close_when_flushed
        return bool(waits and not self.draining_since)

    def write_soon(self, data: bytes) -> int:
        if self.head and data:
            data, self.head = self.head + data, b""
        return int(super().write_soon(data))

    def handle_close(self) -> None:
        if self.connected and self.lingers and not self.draining_since:
            self.draining_since = time.time()
            self.will_close = False
            with suppress(OSError):
                self.socket.shutdown(socket.SHUT_WR)
                return
        super().handle_close()

    @property
    def overdue(self) -> bool:
        """Whether a request takes longer to arrive than any honest client needs."""
        if self.draining_since:
            return time.time() - self.draining_since > LAST_WORDS
        return not self.requests and self.request is not None and time.time() - self.begun > PATIENCE

    @property
    def busy(self) -> bool:
        return bool(self.requests) or self.total_outbufs_len > 0


class Server(TcpWSGIServer):  # type: ignore[misc]
    """waitress on a socket of ours."""

    channel_class = Channel

    def __init__(self, application: Any, sock: socket.socket, threads: int, log: Log, **named: Any) -> None:
        self.log = log
        self.secured_by: ssl.SSLContext | None = named.pop("secured_by", None)
        adjustments = Adjustments(
            threads=threads, backlog=BACKLOG, connection_limit=CONNECTIONS, channel_timeout=int(PATIENCE),
            cleanup_interval=5, max_request_header_size=HEADER_BYTES, ident="ikoma-play", asyncore_use_poll=True,
            log_socket_errors=False, url_scheme="https" if self.secured_by else "http",
            clear_untrusted_proxy_headers=True, **named,
        )  # fmt: skip
        dispatcher = ThreadedTaskDispatcher()
        dispatcher.set_thread_count(threads)
        super().__init__(
            application, {}, True, sock, dispatcher=dispatcher, adj=adjustments,
            sockinfo=(sock.family, sock.type, sock.proto, sock.getsockname()), bind_socket=False,
        )  # fmt: skip

    awake = False  # whether the loop was told to look at its connections again and has yet to

    def pull_trigger(self) -> None:
        if not self.awake:
            self.awake = True
            super().pull_trigger()

    def getsockname(self) -> Any:
        return ("unix", self.socket.getsockname()) if self._unix else super().getsockname()

    def fix_addr(self, addr: Any) -> Any:
        return ("unix", None) if self._unix else addr

    def set_socket_options(self, conn: socket.socket) -> None:
        if not self._unix:
            super().set_socket_options(conn)

    @property
    def _unix(self) -> bool:
        return bool(self.family == socket.AF_UNIX)

    def maintenance(self, now: float) -> None:
        super().maintenance(now)
        for channel in self.active_channels.values():
            if channel.overdue:
                channel.lingers = False
                channel.draining_since = 0.0
                channel.will_close = True


def serve(server: Server, begin_stop: Callable[[], None], ended: Callable[[], bool]) -> None:
    """Answer until SIGTERM or SIGINT. `begin_stop` is called at the first one; then it goes on until `ended` says
    that nothing runs any more, and answers are taken. A second signal stops at once."""
    signals: list[float] = []

    def stop(number: int, frame: FrameType | None) -> None:
        signals.append(time.monotonic())
        begin_stop()
        server.pull_trigger()

    with _quiet(server.log), _on_signals(stop):
        over = 0.0
        while len(signals) < 2:
            server.awake = False
            wasyncore.loop(timeout=0.5 if not signals else 0.05, use_poll=True, map=server._map, count=1)
            if signals and ended():
                over = over or time.monotonic()
                if time.monotonic() - over > LAST_WORDS or not any(c.busy for c in server.active_channels.values()):
                    break
        # What a second signal cuts off is in the journal as begun.
        server.task_dispatcher.shutdown(timeout=0.5 if len(signals) > 1 else LAST_WORDS)
        with suppress(OSError):
            wasyncore.close_all(server._map)


@contextmanager
def _on_signals(stop: Callable[[int, FrameType | None], None]) -> Iterator[None]:
    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def _quiet(log: Log) -> Iterator[None]:
    """waitress' own words go into our log."""

    class Handler(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            log.write("error" if record.levelno >= logging.ERROR else "warning", "waitress", said=record.getMessage())

    theirs, queue, ours = logging.getLogger("waitress"), logging.getLogger("waitress.queue"), Handler()
    theirs.addHandler(ours)
    theirs.propagate = False
    queue.setLevel(logging.CRITICAL)  # that requests wait for a thread is no event
    try:
        yield
    finally:
        theirs.removeHandler(ours)
