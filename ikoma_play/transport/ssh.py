"""A host reached over SSH that has nothing but an SSH server and a POSIX shell.

Commands go through shells that stay open, one command at a time through each; what is known about
files goes through commands, one each, or through a Perl where there is one.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from typing import BinaryIO

from msgspec.structs import replace

from ..errors import IkomaError, Interrupted, NotFound, StepError, TimedOut, Unreachable, last_lines
from ..model import Command, Host, Progress, Result
from .base import Transport, ignore
from .framing import INLINE, NO_DIRECTORY, NO_FILE, Frame
from .shell import Exchange, OutOfTime, Shell, ShellGone
from .ssh_connection import Connection, Jumps
from .ssh_dial import Dialled
from .ssh_files import SshFiles
from .ssh_glances import Glances
from .ssh_identity import Identity, become_of
from .ssh_perl import Perl
from .ssh_settings import Settings, settings
from .ssh_shells import Shells
from .ssh_tunnel import tunnel

AFTER_KILL = 3.0  # seconds that the last output of a killed command is waited for
NOT_STARTED = re.compile(rb"setsid: failed to execute |main: line \d+: ")  # setsid, or bash in a function of ours

_jumps = Jumps()  # hosts behind the same jump host share the connection to it
_begun: dict[Settings, Connection] = {}  # before anybody asked; who asks for the same gets them


def begin(known: Settings, dialled: Dialled | None) -> None:
    """Begin to connect to a host, which may have been dialled already."""
    connection = _begun[known] = Connection(known, _jumps, dialled)
    connection.begin()


class SshTransport(SshFiles):
    """One connection, opened with the first command; threads may share it.

    `round_trips` counts how often something was asked of the host and its answer waited for."""

    def __init__(self, host: Host, progress: Callable[[Progress], None] = ignore) -> None:
        self.host = host
        self.progress = progress
        known = settings(host)
        begun = _begun.pop(known, None)
        self.connection = Connection(known, _jumps) if begun is None else begun
        self._roads: dict[Identity, SshTransport] = {}
        self._first = self
        self._making = threading.Lock()
        self.glances = Glances()
        self.who = Identity()
        self._shells = Shells(self.connection, Identity())
        self._perl = Perl(self._shells)

    @property
    def round_trips(self) -> int:
        return self.connection.round_trips

    def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
        """Raises Unreachable when the connection is lost on the way, TimedOut, NotFound (no such directory)."""
        return self._run(command, on_output)

    def run_script(
        self,
        script: str,
        *arguments: str,
        stdin: bytes | BinaryIO | None = None,
        changes: bool = True,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Result:
        return self._run(Command(arguments, stdin=stdin, changes=changes), on_output, script)

    def by_perl(self, deed: str, path: str, *words: str | bytes, changes: bool = True) -> Result | None:
        with self.glances.changing(changes):
            return self._perl.ask(deed, path, *words, changes=changes)

    def _run(self, command: Command, on_output: Callable[[bytes], None] | None, script: str = "") -> Result:
        stdin = command.stdin
        inline = stdin is None or (isinstance(stdin, bytes) and len(stdin) <= INLINE)
        frame = Frame(command, not inline, script)
        with self.glances.changing(command.changes or command.stdout_to is not None):
            try:
                exchange, killed = self._exchanged(frame, command, on_output)
            except ShellGone as gone:
                if gone.begun or not gone.started:
                    raise self._lost(command, script, gone) from None
                try:  # it had ended before anything was asked of it
                    exchange, killed = self._exchanged(frame, command, on_output)
                except ShellGone as again:
                    raise self._lost(command, script, again) from None
        if killed:
            raise Interrupted(
                f"{self.host.name}: the connection was closed while {command.argv[0]} ran, which was ended"
            )
        return self._result(command, exchange)

    def _exchanged(
        self, frame: Frame, command: Command, on_output: Callable[[bytes], None] | None
    ) -> tuple[Exchange, bool]:
        """The exchange when it is over, and whether somebody has ended the command. Raises ShellGone."""
        shell = self._shells.take(frame.alone)
        try:
            until = None if command.timeout is None else time.monotonic() + command.timeout
            exchange = shell.start(frame, command.stdin, on_output)
            self.connection.round_trips += 2 if frame.streamed else 1
            self._finish(shell, exchange, command, until)
            return exchange, shell.killed
        except ShellGone:
            shell.usable = False
            raise
        finally:
            self._shells.give_back(shell)

    def _finish(self, shell: Shell, exchange: Exchange, command: Command, until: float | None) -> None:
        try:
            exchange.finish(until)
        except OutOfTime:
            self._shells.kill(shell)
            with suppress(OutOfTime, ShellGone):
                exchange.finish(time.monotonic() + AFTER_KILL)
            raise TimedOut(
                f"{command.argv[0]} took longer than {command.timeout:g} s and was killed",
                remedy="Give it more time (timeout), or find out what it waits for.",
                evidence=last_lines(exchange.result()),
            ) from None
        except ShellGone:
            raise
        except BaseException:  # an interrupted run leaves nothing behind
            self._shells.kill(shell)
            raise

    def _lost(self, command: Command, script: str, gone: ShellGone) -> IkomaError:
        when = f"the host worked on {command.argv[0]}" if script else f"{command.argv[0]} ran"
        evidence = last_lines(Result(-1, *gone.said))
        if not self.connection.alive:
            return self._shells.lost(when)
        if not gone.started:
            return Unreachable(
                f"{self.host.name}: {self.connection.settings.place} starts no /bin/sh for us",
                remedy="The account's login shell may forbid commands, or hang in its start-up files.",
                evidence=evidence,
            )
        return StepError(
            f"{self.host.name}: the shell was ended while {when}: the exit code is not known",
            remedy="The next command gets a new shell.",
            evidence=evidence,
        )

    def _result(self, command: Command, exchange: Exchange) -> Result:
        result = exchange.result()
        trouble = exchange.trouble
        if trouble == "cd" and result.exit_code == NO_DIRECTORY:
            raise NotFound(
                f"cannot run {command.argv[0]} in {command.cwd}: no such directory, or not for this user",
                remedy=f"Make the directory {command.cwd} first, or name another.",
            )
        if trouble == "to" and result.exit_code == NO_FILE:
            assert command.stdout_to is not None
            self._demand("write", command.stdout_to, result)
        if result.exit_code in (126, 127) and NOT_STARTED.match(result.stderr):
            return replace(result, stderr=_not_started(command.argv[0], result.stderr))
        return result

    def tunnel(self, address: str, port: int) -> AbstractContextManager[tuple[str, int]]:
        return tunnel(self.connection, address, port)

    def become(self, user: str, method: str = "sudo", password: str | None = None, flags: str = "") -> Transport:
        """The same connection as another user; it is used when the first command runs, and refused then."""
        identity = become_of(user, method, password, flags)
        first = self._first
        with first._making:
            if identity not in first._roads:
                first._roads[identity] = _AsUser(first, identity)
            return first._roads[identity]

    def close(self) -> None:
        roads = (*self._roads.values(), self)
        for road in roads:
            road._shells.stop()
            road._perl.close()
        self.connection.close()  # and every shell with it, which need not be told one by one


class _AsUser(SshTransport):
    """Another user of the same host, on the same connection."""

    def __init__(self, first: SshTransport, identity: Identity) -> None:
        self.host = first.host
        self.progress = first.progress
        self.connection = first.connection
        self._roads = {}
        self._first = first
        self._making = first._making
        self.glances = first.glances
        self.who = identity
        self._shells = Shells(first.connection, identity)
        self._perl = Perl(self._shells)

    def close(self) -> None:
        self._shells.close()
        self._perl.close()


def _not_started(name: str, said: bytes) -> bytes:
    """What a shell would have said, in place of the program that gives each command a session of its own."""
    cause = said.rpartition(b": ")[2].strip().decode("utf-8", "replace")
    if cause in ("No such file or directory", "not found"):
        return f"{name}: command not found\n".encode()
    return f"{name}: cannot be executed: {cause}\n".encode()
