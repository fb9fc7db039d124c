"""The command at a terminal of its own, with somebody who reads and types."""

from __future__ import annotations

import os
import pty
import re
import select
import sys
import time

from .command import CHECKOUT, Ikoma


class Terminal:
    """A command at a terminal of its own."""

    def __init__(self, ikoma: Ikoma, *words: str) -> None:
        self.seen = ""
        kept = {name: value for name, value in os.environ.items() if name[:6] != "PYTEST"}
        kept |= {"PYTHONPATH": str(CHECKOUT), "TERM": "xterm", "COLUMNS": "200", **ikoma.environment}
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.chdir(ikoma.folder)
            os.execve(sys.executable, [sys.executable, "-m", "ikoma_play", *words], kept)

    def until(self, text: str, patience: float = 60) -> None:
        ends = time.monotonic() + patience
        while text not in self.seen:
            assert time.monotonic() < ends, self.seen
            if select.select([self.file], [], [], 0.1)[0]:
                self.seen += os.read(self.file, 65536).decode("utf-8", "replace")

    def type(self, text: str) -> None:
        self.seen = ""
        os.write(self.file, text.encode())

    def end(self) -> int:
        """The exit code, with all that was printed."""
        try:
            while part := os.read(self.file, 65536):
                self.seen += part.decode("utf-8", "replace")
        except OSError:
            pass  # the other end is closed
        os.close(self.file)
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])

    @property
    def plain(self) -> str:
        return re.sub(r"\s+", " ", re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.seen))
