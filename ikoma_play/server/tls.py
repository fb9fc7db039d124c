"""TLS on connections that never wait: waitress has none of its own, and a slow handshake must not hold others up."""

from __future__ import annotations

import errno
import socket
import ssl
from pathlib import Path
from threading import Lock
from typing import Any

from ..errors import UsageError


def certificate(cert: Path, key: Path | None) -> ssl.SSLContext:
    """What connections are secured with; the key may be in the certificate's file. Raises UsageError."""
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    found.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        found.load_cert_chain(cert, key, password=_no_password)
    except ssl.SSLError as error:
        if "KEY_VALUES_MISMATCH" in str(error):
            what, remedy = f"{key} is not the key of {cert}", "Give the key that the certificate was made with."
        else:
            what = f"{cert}{f' and {key}' if key else ''} cannot be used for TLS: {error.reason or error}"
            remedy = "Give a certificate (with its chain) and its key in PEM format, the key without a password."
        raise UsageError(what, remedy=remedy) from None
    except OSError as error:
        missing = next((path for path in (cert, key) if path is not None and not path.is_file()), cert)
        raise UsageError(f"{missing} cannot be read: {error.strerror}", remedy="Name files in PEM format.") from None
    return found


def _no_password() -> str:
    raise UsageError(
        "the key for TLS is encrypted, and nobody is there to type its password",
        remedy="Give it without one: openssl rsa -in KEY -out PLAIN, readable for the server's user only.",
    )


class Secured:
    """A connection's socket with TLS around it, of use to several threads at once.

    OpenSSL lets one thread at a time into a connection. Where nothing can be done yet `recv` raises
    BlockingIOError and `send` sends nothing, as plain sockets do."""

    def __init__(self, plain: socket.socket, secured_by: ssl.SSLContext) -> None:
        plain.setblocking(False)
        self._socket = secured_by.wrap_socket(plain, server_side=True, do_handshake_on_connect=False)
        self._lock = Lock()
        self._shaken = False

    def recv(self, size: int) -> bytes:
        with self._lock:
            try:
                if not self._shaken:
                    self._socket.do_handshake()
                    self._shaken = True
                return self._socket.recv(size)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                raise BlockingIOError(errno.EWOULDBLOCK, "nothing to read yet") from None
            except ssl.SSLError:  # no TLS at all, an unknown version, or an alert: the connection is of no use
                raise ConnectionResetError(errno.ECONNRESET, "TLS failed") from None

    def send(self, data: Any) -> int:
        with self._lock:
            try:
                return self._socket.send(data)
            except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
                return 0
            except ssl.SSLError:
                raise ConnectionResetError(errno.ECONNRESET, "TLS failed") from None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)
