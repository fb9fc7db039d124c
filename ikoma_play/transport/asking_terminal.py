"""A pseudo-terminal on which a program of this machine asks for a password, as doas does and on nothing else.

The program's standard streams stay what they are: only the question and its answer go through the terminal.
"""

from __future__ import annotations

import os
import re
import select
import termios
import threading
from collections.abc import Sequence
from contextlib import suppress

ASKS = re.compile(rb"[Pp]ass(word|phrase)[^\n]*: ?$")
END = b"\x04"  # what a terminal takes for the end of input
LOOK = 0.2  # seconds between two looks whether it is over

# A session's first process gets the first terminal that it opens as its own.
OPENING = ': < "$0"; exec "$@"'


class AskingTerminal:
    """One question is answered; another one means that the answer was wrong, and gets none."""

    def __init__(self, answer: str) -> None:
        self._answer = answer.encode() + b"\n"
        self._ours, self._theirs = os.openpty()
        modes = termios.tcgetattr(self._theirs)
        modes[3] &= ~termios.ECHO
        termios.tcsetattr(self._theirs, termios.TCSANOW, modes)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True, name="ikoma-terminal")

    def __enter__(self) -> AskingTerminal:
        self._thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._over.set()
        self._thread.join()
        os.close(self._theirs)
        os.close(self._ours)

    def before(self, argv: Sequence[str]) -> tuple[str, ...]:
        """The argv of a process that has this terminal, when it is started in a session of its own."""
        return ("/bin/sh", "-c", OPENING, os.ttyname(self._theirs), *argv)

    def _listen(self) -> None:
        said, answers = b"", iter((self._answer,))
        with suppress(OSError):
            while not self._over.is_set():
                if not select.select([self._ours], [], [], LOOK)[0]:
                    continue
                said = (said + os.read(self._ours, 4096))[-500:]
                if ASKS.search(said):
                    said = b""
                    os.write(self._ours, next(answers, END))
