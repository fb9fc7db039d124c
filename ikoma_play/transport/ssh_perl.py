"""Small files through a Perl that is kept open on the host, where it has one: what a shell starts programs for are
system calls there."""

from __future__ import annotations

import threading
from pathlib import Path
from secrets import token_hex

import paramiko

from ..errors import IkomaError, StepError
from ..model import Result
from .framing import INLINE, Question
from .shell import OutOfTime, Shell, ShellGone
from .ssh_shells import Shells

PERL = "/usr/bin/perl"
FEW = 2  # questions for which its start is not worth it
FEW_BEHIND_A_DOOR = 9  # the same where sudo or su has to be asked first
CLOSING = 1.0  # seconds that its end waits for what it works on
OTHER = b"other"


class Request(Question):
    """A deed for the host's Perl, and the words it is done with; see small_files.pl."""

    def __init__(self, deed: str, *words: str | bytes) -> None:
        super().__init__()
        self._deed = deed
        self._words = [word if isinstance(word, bytes) else word.encode("utf-8", "surrogateescape") for word in words]

    def text(self) -> bytes:
        lengths = " ".join(str(len(word)) for word in self._words)
        return b"".join((f"{self._deed} {self.nonce} {lengths}\n".encode(), *self._words))


class Perl:
    """One user's. What it cannot do now (it is not there yet, or busy, or the file is no simple one) a shell does."""

    def __init__(self, shells: Shells) -> None:
        self._shells = shells
        self._few = FEW_BEHIND_A_DOOR if shells.identity.user else FEW
        self._shell: Shell | None = None
        self._given_up = shells.identity.by_terminal
        self._lock = threading.Lock()
        shells.connection.users.append(self)

    def ask(self, deed: str, path: str, *words: str | bytes, changes: bool) -> Result | None:
        """What it says of the path; None: it has done nothing. Raises ConnectionLost, StepError."""
        if self._given_up or not self._lock.acquire(blocking=False):
            return None
        try:
            shell = self._ready()
            if shell is None:
                return None
            result = self._answer(shell, Request(deed, path, *words))
            return None if result.stdout == OTHER else result
        except ShellGone as gone:
            self._lose()
            if changes and gone.begun:
                raise self._unknown(path) from None
            return None
        except BaseException:
            self._lose()
            raise
        finally:
            self._lock.release()

    def close(self) -> None:
        """What it works on is finished first."""
        had = self._lock.acquire(timeout=CLOSING)
        self._end()
        if had:
            self._lock.release()

    def spare_one(self) -> bool:
        """Give its session up for good, if it has one and nothing to do."""
        if self._shell is None or not self._lock.acquire(blocking=False):
            return False
        self._end()
        self._lock.release()
        return True

    # --- how ---

    def _end(self, for_good: bool = True) -> None:
        self._given_up = self._given_up or for_good
        shell, self._shell = self._shell, None
        if shell is not None:
            shell.close()

    def _lose(self) -> None:
        """It is gone, for good if the connection is not."""
        self._end(for_good=self._shells.connection.alive)

    def _ready(self) -> Shell | None:
        """It, if it is there. Its start is not waited for. Raises ShellGone."""
        if self._few:
            self._few -= 1
            return None
        try:
            if self._shell is None:
                mark, program = token_hex(16), Path(__file__).with_name("small_files.pl").read_bytes()
                self._shell = self._shells.open(_line(mark, len(program)), mark, program)
            self._shell.hear(0.0)
        except OutOfTime:
            return None
        except (IkomaError, paramiko.SSHException):  # the host allows no further session, or lets nobody through
            self._end()
            return None
        if not self._shell.clean():
            self._lose()
        return self._shell

    def _unknown(self, path: str) -> IkomaError:
        connection = self._shells.connection
        if not connection.alive:
            return self._shells.lost(f"the host worked on {path}")
        return StepError(
            f"{connection.settings.name}: perl was ended while it worked on {path} there",
            remedy="Whether that was finished is not known: look at the file, then run this again.",
        )

    def _answer(self, shell: Shell, request: Request) -> Result:
        exchange = shell.start(request)
        self._shells.connection.round_trips += 1
        exchange.finish(None)
        return exchange.result()


def _line(mark: str, size: int) -> str:
    """What the login shell is asked to run, which reads the program from its standard input. Every login shell
    understands it, and where there is no Perl it starts nothing."""
    reading = f"read(STDIN, $_, {size}) == {size} or exit 1; eval; die $@ if $@"
    return f"exec env LC_ALL=C {PERL} -e '{reading}' {mark} {INLINE}"
