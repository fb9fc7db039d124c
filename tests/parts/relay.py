"""A socket that passes everything on to another one, until it sees what it is to break at: then nobody is there."""

from __future__ import annotations

import contextlib
import shutil
import socket
import tempfile
import threading
from pathlib import Path


class Relay:
    """Stands for a server's Unix socket. `breaks_at`: bytes of a client at which every connection ends and the
    socket is gone, as if the server had been killed."""

    def __init__(self, target: str, breaks_at: bytes = b"") -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="ikoma-relay-"))  # a socket's path must be short
        self.path = self.folder / "socket"
        self.broken = threading.Event()
        self._target, self._breaks_at = target, breaks_at
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(self.path))
        self._listening.listen(64)
        self._open: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def address(self) -> str:
        return f"unix://{self.path}"

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            self._open += [client, server]
            for source, sink, watched in ((client, server, self._breaks_at), (server, client, b"")):
                threading.Thread(target=self._pass_on, args=(source, sink, watched), daemon=True).start()

    def _pass_on(self, source: socket.socket, sink: socket.socket, watched: bytes) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if watched and watched in data:
                    self.close()
                    self.broken.set()
                    return
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for each in [self._listening, *self._open]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
