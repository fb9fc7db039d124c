"""A `/bin/sh` kept open on a channel, and one command at a time through it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, BinaryIO

from ..model import Result
from .framing import SEPARATOR, Question, Scanner
from .process import KEPT
from .ssh_inlet import NOTHING, Inlet, Streams

if TYPE_CHECKING:
    from paramiko import Channel

    from .ssh_channel import OrderedChannel

CHUNK = 256 * 2**10
GREETING = 30.0  # seconds that a login shell may take until it has started ours
CLEAN = 0.1  # seconds within which a shell says that nothing is left behind


class ShellGone(Exception):
    """The shell ended, or its connection did, before the command's end was told.

    `begun`: the command may have run; `started`: the shell had said that it is there; `said`: what came
    meanwhile."""

    def __init__(self, begun: bool, said: Streams = NOTHING, started: bool = True) -> None:
        super().__init__("the shell ended")
        self.begun = begun
        self.said = said
        self.started = started


class OutOfTime(Exception):
    """The time is up, and what was waited for has not come."""


class Shell:
    """`patience` is called whenever nothing came for `interval` seconds; it raises when nothing will.

    `for_programs`: it was started for commands that are a program and nothing else."""

    def __init__(
        self, channel: OrderedChannel, patience: Callable[[], None], interval: float, for_programs: bool = False
    ) -> None:
        self.channel = channel
        self.for_programs = for_programs
        self.pid = 0
        self.usable = True
        self.beside: Channel | None = None  # what has to stay open as long as it does
        self.killed = False  # somebody ended what runs in it
        self._patience = patience
        self._interval = interval
        self._inlet = channel.inlet = Inlet()
        self._back = NOTHING  # what was read too far
        self._hearing: tuple[Scanner, Scanner] | None = None  # while its first words are awaited
        self._awaited = b""  # what it says when it is ready for the next command
        channel.in_buffer.set_event(self._inlet)  # type: ignore[arg-type]
        channel.in_stderr_buffer.set_event(self._inlet)  # type: ignore[arg-type]

    def greet(self, mark: str, words: bytes) -> None:
        """Send the shell its first words, which it answers with the mark. That is waited for with the first output.

        What a login shell's start-up files print comes before the mark and is nobody's output."""
        self._hearing = Scanner(SEPARATOR + mark.encode()), Scanner(SEPARATOR + mark.encode())
        self.send(words)

    def hear(self, until: float | None) -> None:
        """The answer to the first words. Raises ShellGone (when it takes too long, too), OutOfTime."""
        if self._hearing is None:
            return
        said, latest = NOTHING, time.monotonic() + GREETING
        while True:
            out, err = (scanner.tail for scanner in self._hearing)
            if out is not None and b"\n" in out and err is not None:
                break
            try:
                more = self.take(latest if until is None else min(until, latest))
            except OutOfTime:
                if time.monotonic() < latest:
                    raise
                more = NOTHING
            if more == NOTHING:
                raise ShellGone(False, said, started=False)
            before = [scanner.feed(data) for scanner, data in zip(self._hearing, more, strict=True)]
            said = _added(said, (before[0], before[1]))
        number, _, rest = out.partition(b"\n")
        self.pid = int(number)
        self._hearing = None
        self._back = rest, err[1:]

    def clean(self) -> bool:
        """Whether it is ready for another command; not when something left behind still has its streams."""
        if not self.usable or self.channel.closed or self.channel.eof_received:
            return False
        said, until = NOTHING, time.monotonic() + CLEAN
        while len(said[0]) < len(self._awaited) and not said[1]:
            try:
                more = self.take(until)
            except OutOfTime:
                return False
            if more == NOTHING:
                return False
            said = _added(said, more)
        clean = said == (self._awaited, b"") and self._back == NOTHING and self._taken() == NOTHING
        self._awaited = b""
        return clean

    def start(
        self, frame: Question, stdin: bytes | BinaryIO | None = None, watch: Callable[[bytes], None] | None = None
    ) -> Exchange:
        """Send a frame on its way."""
        if watch is None and not frame.streamed:
            self._inlet.await_end()
        self.send(frame.text())
        self._awaited = frame.ready
        return Exchange(self, frame, stdin, watch)

    @property
    def connected(self) -> bool:
        """Whether the connection it came by is still there."""
        return self.channel.transport is not None and self.channel.transport.is_active()

    def close(self) -> None:
        self.usable = False
        for channel in (self.channel, self.beside):
            with suppress(Exception):
                if channel is not None:
                    channel.close()

    # --- bytes ---

    def send(self, data: bytes) -> None:
        try:
            self.channel.sendall(data)
        except OSError:
            self.usable = False
            raise ShellGone(False, self._last_words(), started=self._hearing is None) from None

    def _last_words(self) -> Streams:
        said = NOTHING
        while (more := self._taken()) != NOTHING:
            said = _added(said, more)
        return said

    def await_all(self) -> None:
        """Whatever comes from now on is looked at."""
        self._inlet.await_all()

    def unread(self, streams: Streams) -> None:
        self._back = streams

    def take(self, until: float | None) -> Streams:
        """What comes next, both empty at the end of both. Raises OutOfTime."""
        if self._back != NOTHING:
            streams, self._back = self._back, NOTHING
            return streams
        while True:
            streams = self._taken()
            if streams != NOTHING:
                return streams
            if self.channel.eof_received or self.channel.closed:
                return self._taken()
            pause = self._interval
            if until is not None:
                pause = min(until - time.monotonic(), pause)
                if pause <= 0:
                    raise OutOfTime
            if not self._inlet.wait(pause) and pause >= self._interval:
                self._patience()

    def _taken(self) -> Streams:
        streams = self._inlet.taken()
        if streams is not NOTHING:
            self.channel.consumed(len(streams[0]) + len(streams[1]))
        return streams


class Exchange:
    """One command on its way: its standard input going, its two streams coming back."""

    def __init__(
        self, shell: Shell, frame: Question, stdin: bytes | BinaryIO | None, watch: Callable[[bytes], None] | None
    ) -> None:
        self._shell = shell
        self._frame = frame
        self._stdin = stdin
        self._watch = watch
        self._scanners = Scanner(frame.mark), Scanner(frame.mark)
        self._kept = _Kept(), _Kept()
        self._feeder: _Feeder | None = None
        self._begun = time.monotonic()

    def finish(self, until: float | None) -> None:
        """Wait for the command's end. Raises ShellGone, OutOfTime, and what reading its input raised."""
        try:
            self._shell.hear(until)
            if self._frame.streamed and self._feeder is None:
                self._await_go(until)
                self._feeder = _Feeder(self._shell.channel, self._stdin)
            while not self._over():
                streams = self._shell.take(until)
                if streams == NOTHING:
                    raise self._gone()
                self._pass_on(streams)
        except OutOfTime:
            raise
        except BaseException:
            self._shell.usable = False
            if self._feeder is not None:
                self._feeder.complain()
            raise
        finally:
            self._shell.await_all()
        if self._feeder is not None:
            self._shell.close()
            self._feeder.complain()
        else:
            self._shell.unread((self._tails()[0].partition(b";")[2], b""))

    def result(self) -> Result:
        """What the command came to, or what it printed so far with exit code -1."""
        code = self._tails()[0].partition(b";")[0] if self._over() else b"-1"
        out, err = self._kept
        seconds = time.monotonic() - self._begun
        return Result(int(code), bytes(out.data), bytes(err.data), seconds, out.dropped + err.dropped)

    @property
    def trouble(self) -> str:
        """Why the command could not begin: `cd` (no such directory) or `to` (no such output), mostly nothing."""
        return self._tails()[1].partition(b";")[0].decode()

    # --- how ---

    def _await_go(self, until: float | None) -> None:
        said = NOTHING
        while self._frame.go not in said[0]:
            more = self._shell.take(until)
            if more == NOTHING:  # it may have said so all the same, and begun
                raise ShellGone(True, said)
            said = _added(said, more)
        self._shell.unread((said[0].partition(self._frame.go)[2], said[1]))

    def _gone(self) -> ShellGone:
        for scanner, kept in zip(self._scanners, self._kept, strict=True):
            kept.add(scanner.rest())
        return ShellGone(True, (bytes(self._kept[0].data), bytes(self._kept[1].data)))

    def _pass_on(self, streams: Streams) -> None:
        for data, scanner, kept in zip(streams, self._scanners, self._kept, strict=True):
            theirs = scanner.feed(data) if data else b""
            if theirs:
                kept.add(theirs)
                if self._watch is not None:
                    self._watch(theirs)

    def _tails(self) -> Streams:
        out, err = (scanner.tail for scanner in self._scanners)
        return out or b"", err or b""

    def _over(self) -> bool:
        """Both end marks are there: a code on standard output; on standard error, where the command could
        not begin, a word about that comes first, with a mark of its own."""
        out, err = self._tails()
        return b";" in out and (err == b";" or (err.endswith(b";") and self._frame.mark in err))


class _Kept:
    """The beginning of a stream, and how much more there was."""

    def __init__(self) -> None:
        self.data = bytearray()
        self.dropped = 0

    def add(self, data: bytes) -> None:
        room = KEPT - len(self.data)
        self.data += data[:room]
        self.dropped += max(0, len(data) - room)


class _Feeder(threading.Thread):
    """Sends a command's standard input while its output is read; ends when the channel does."""

    def __init__(self, channel: Channel, source: bytes | BinaryIO | None) -> None:
        super().__init__(daemon=True, name="ikoma-stdin")
        self._channel = channel
        self._source = source
        self._failure: Exception | None = None
        self.start()

    def run(self) -> None:
        for data in self._pieces():
            try:
                self._channel.sendall(data)
            except Exception:  # the command does not want to read, or is no more: not our affair
                return
        with suppress(Exception):
            if self._failure is None:
                self._channel.shutdown_write()
            else:
                self._channel.close()

    def complain(self) -> None:
        """Raise what reading the source raised."""
        self.join(0 if self._failure is None else 5)
        if self._failure is not None:
            raise self._failure

    def _pieces(self) -> Iterator[bytes]:
        if isinstance(self._source, bytes):
            view = memoryview(self._source)
            yield from (bytes(view[at : at + CHUNK]) for at in range(0, len(view), CHUNK))
        elif self._source is not None:
            try:
                while data := self._source.read(CHUNK):
                    yield data
            except Exception as failure:
                self._failure = failure


def _added(one: Streams, more: Streams) -> Streams:
    return one[0] + more[0], one[1] + more[1]
