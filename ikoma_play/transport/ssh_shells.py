"""The shells of one user on one host: kept open, handed out, thrown away when in doubt."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from secrets import token_hex

import paramiko

from ..errors import ConnectionLost, IkomaError, Unreachable
from ..model import Command
from .framing import KILLING, Frame, prelude
from .shell import OutOfTime, Shell, ShellGone
from .ssh_connection import Connection
from .ssh_identity import PROGRAMS, SCRIPTS, Identity, new_mark, pass_the_door
from .ssh_terminal import Door
from .ssh_wire import Wire

KEPT_IDLE = 4  # sshd lets 10 sessions be open on a connection; others may need some
WAIT_FOR_SESSION = 60.0  # seconds that a command waits for another one's session when no more may be opened
KILLING_SECONDS = 15.0
FEW = 4  # programs, or scripts, for which no shell of their kind is worth its start
FREEING = 5.0  # seconds in which a host has noticed that a session was given back


class Shells:
    """Threads take a shell each with `take` and give it back with `give_back`."""

    def __init__(self, connection: Connection, identity: Identity) -> None:
        self.connection = connection
        self.identity = identity
        self._idle: list[Shell] = []
        self._busy: set[Shell] = set()
        self._changed = threading.Condition()
        self._opening = 0
        self._closed = False
        self._strange = 0  # how many found no shell of their kind
        self._freed = 0.0  # when another user's idle shell was last given up for one of ours
        connection.users.append(self)

    def take(self, for_programs: bool = False) -> Shell:
        """A shell that is ready, a new one where none is. Raises Unreachable, StepError."""
        until = time.monotonic() + WAIT_FOR_SESSION
        while True:
            shell = self._taken_idle(for_programs) or self._opened(until, for_programs)
            if shell is not None:
                with self._changed:
                    self._busy.add(shell)
                return shell

    def give_back(self, shell: Shell) -> None:
        with self._changed:
            self._busy.discard(shell)
            if shell.usable and not self._closed and len(self._idle) < KEPT_IDLE:
                self._idle.append(shell)
            else:
                shell.close()
            self._changed.notify()

    def kill(self, shell: Shell) -> None:
        """End what runs in a shell, with all its children; the shell is not used again."""
        shell.usable, shell.killed = False, True
        with suppress(IkomaError, ShellGone, OutOfTime):  # its time was up before it had said who it is
            shell.hear(time.monotonic() + KILLING_SECONDS)
        if shell.pid and self.connection.alive:
            ending = Command(("/bin/sh", "-c", KILLING, "sh", str(shell.pid)))
            if not self._with_another(ending, KILLING_SECONDS):
                self.connection.lose()  # the host's guard of the shell ends what runs there

    def stop(self) -> None:
        """Nothing that still runs stays behind as an orphan."""
        with self._changed:
            self._closed = True
            busy = list(self._busy)
        for shell in busy:
            self.kill(shell)

    def close(self) -> None:
        """End what runs, and every shell."""
        self.stop()
        with self._changed:
            for shell in (*self._busy, *self._idle):
                shell.close()
            self._idle.clear()

    # --- how ---

    def _taken_idle(self, for_programs: bool) -> Shell | None:
        while True:
            with self._changed:
                shell = self._best(for_programs)
            if shell is None:
                return None
            if shell.clean():
                return shell
            shell.close()
            # It waits for what its command left behind, and must not stay just for that.
            if shell.pid and shell.connected:
                self._with_another(Command(("kill", "-KILL", str(shell.pid))), KILLING_SECONDS)

    def _best(self, for_programs: bool) -> Shell | None:
        """An idle shell of the kind; of the other one as long as few have asked for what is not there."""
        for shell in reversed(self._idle):
            if shell.for_programs is for_programs:
                self._idle.remove(shell)
                return shell
        if not self._idle or self._strange == FEW:
            return None
        self._strange += 1
        return self._idle.pop()

    def _with_another(self, command: Command, seconds: float) -> bool:
        """Run something in a shell of its own, whatever comes of it; False where the host allows no further one."""
        with suppress(IkomaError, ShellGone, OutOfTime, paramiko.SSHException):
            until = time.monotonic() + seconds
            try:
                shell = self._open()
            except paramiko.ChannelException:
                return False
            try:
                shell.start(Frame(command)).finish(until)
            finally:
                self.give_back(shell)
        return True

    def _opened(self, until: float, for_programs: bool) -> Shell | None:
        """A new shell; None where the host allows no more and another one has come back meanwhile."""
        with self._changed:
            self._opening += 1
        try:
            return self._open(for_programs)
        except paramiko.ChannelException as error:
            with self._changed:
                self._strange = -1  # the host has no room for two kinds: whatever is there will do
                if self._idle:
                    return None
            if self._freed_another():
                time.sleep(0.02)
                return None
            with self._changed:
                others = self._busy or self._opening > 1
                if not self._idle and not (others and self._wait(until)):
                    settings = self.connection.settings
                    raise Unreachable(
                        f"{settings.name}: {settings.place} allows no further session: {error.text.lower()}",
                        remedy="Raise MaxSessions in the host's sshd_config, or do less at once there.",
                    ) from None
            return None
        finally:
            with self._changed:
                self._opening -= 1
                self._changed.notify()

    def _freed_another(self) -> bool:
        """Whether a session becomes free because a Perl is given up, or another user's shell that has nothing to do."""
        if any(user.spare_one() for user in self.connection.users if user is not self):
            self._freed = time.monotonic()
        return time.monotonic() < self._freed + FREEING

    def spare_one(self) -> bool:
        """Give up a shell that has nothing to do, if there is one."""
        with self._changed:
            if not self._idle:
                return False
            self._idle.pop().close()
            return True

    def _wait(self, until: float) -> bool:
        """For another command's end, or for another's failure to open a session."""
        self._opening -= 1
        try:
            return self._changed.wait(min(1.0, until - time.monotonic())) or time.monotonic() < until
        finally:
            self._opening += 1

    def _open(self, for_programs: bool = False) -> Shell:
        mark = token_hex(16)
        return self.open(PROGRAMS if for_programs else SCRIPTS, mark, prelude(mark), for_programs)

    def open(self, line: str, mark: str, words: bytes, for_programs: bool = False) -> Shell:
        """What `line` starts as our user, greeted with `words` that it answers with `mark`."""
        settings = self.connection.settings
        wire, channel = self.connection.session()
        timeouts = settings.timeouts
        shell = Shell(channel, self.connection.watch(wire), timeouts.alive, for_programs)
        door, prompt = new_mark("in"), new_mark("asks:")
        try:
            if self.identity.by_terminal:
                self._through_a_terminal(shell, wire, door)
            else:
                wire.start_program(channel, self.identity.line(door, prompt, line))
            if self.identity.user and not self.identity.by_terminal:
                self.connection.round_trips += 1
                pass_the_door(shell, self.identity, door, prompt, timeouts.authentication)
            shell.greet(mark, words)
        except BaseException:
            shell.close()
            raise
        return shell

    def _through_a_terminal(self, shell: Shell, wire: Wire, mark: str) -> None:
        seconds = self.connection.settings.timeouts.authentication
        door = Door(self.identity, mark)
        wire.start_program(shell.channel, door.streams)
        self.connection.round_trips += 2
        door.await_streams(shell, seconds)
        _, terminal = self.connection.session()
        shell.beside = terminal
        terminal.get_pty()
        wire.start_program(terminal, door.terminal)
        door.pass_through(shell, terminal, seconds)

    def lost(self, when: str) -> ConnectionLost:
        """What to say when a shell is gone, and the connection too."""
        settings = self.connection.settings
        return ConnectionLost(
            f"{settings.name}: the connection to {settings.place} was lost while {when}",
            remedy="Whether it was finished there is not known: look at the host, then resume the run.",
        )
