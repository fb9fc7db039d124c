"""ssh's ProxyCommand: a program of the runner whose standard input and output are the connection."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
from contextlib import suppress

from ..errors import Unreachable
from .ssh_settings import Settings


class ProxyProcess:
    """The program at work; `socket` is our end."""

    def __init__(self, settings: Settings) -> None:
        ours, theirs = socket.socketpair()
        assert settings.proxy_command is not None
        try:
            # By its definition a line for the user's shell, from the user's own configuration.
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", f"exec {settings.proxy_command}"],
                stdin=theirs.fileno(), stdout=theirs.fileno(), stderr=subprocess.DEVNULL, start_new_session=True,
            )  # fmt: skip
        except OSError as error:
            ours.close()
            raise Unreachable(f"{settings.name}: its ProxyCommand cannot be started: {error.strerror}") from None
        finally:
            theirs.close()
        self.socket = ours

    def close(self) -> None:
        self.socket.close()
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGTERM)
        try:
            self._process.wait(2)
        except subprocess.TimeoutExpired:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
