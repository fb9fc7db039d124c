"""One process of this machine, run to its end: streams apart, memory bounded, nothing left behind."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import BinaryIO

from ..errors import NotFound, StepError, TimedOut, last_lines
from ..model import Result

KEPT = 64 * 2**20  # bytes of each stream that a Result keeps
CHUNK = 64 * 2**10
GRACE = 1.0  # seconds between asking a process group to end and killing it
LEAVING = 0.3  # seconds in which what was killed is waited for
NOT_FOUND, NOT_EXECUTABLE = 127, 126  # the exit codes a shell gives


_running: dict[Process, Callable[[signal.Signals], None]] = {}


def end_all() -> None:
    """End every command that this program waits for, in whatever thread: the program itself is to end at once."""
    waited_for = list(_running.items())
    for _, send in waited_for:
        send(signal.SIGTERM)
    until = time.monotonic() + GRACE
    while any(process in _running for process, _ in waited_for) and time.monotonic() < until:
        time.sleep(0.02)
    for process, send in waited_for:
        if process in _running:
            send(signal.SIGKILL)


class Process:
    """A running process in a session of its own.

    `on_chunk(stream, data)` sees what it prints, stream 1 or 2, before it is kept; what it returns is
    kept. `feed` adds to its standard input; `finish_input` closes that when all is written.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        cwd: str | None = None,
        env: Mapping[str, str] | None = None,
        piped: bool = False,
        stdout: int = subprocess.PIPE,
        identity: Mapping[str, object] | None = None,
    ) -> None:
        self.argv = argv
        self.on_chunk: Callable[[int, bytes], bytes] = lambda stream, data: data
        self._started = time.monotonic()
        self._kept = {1: bytearray(), 2: bytearray()}
        self._dropped = 0
        self._waiting = bytearray()
        self._source: BinaryIO | None = None
        self._closing = not piped
        self._popen = subprocess.Popen(
            list(argv),
            stdin=subprocess.PIPE if piped else subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.PIPE,
            cwd=cwd,
            env=None if env is None else dict(env),
            start_new_session=True,
            bufsize=0,
            **(identity or {}),  # type: ignore[call-overload]
        )
        self.pid: int = self._popen.pid
        self._selector = selectors.PollSelector()  # three descriptors: an epoll of its own costs more

    def feed(self, data: bytes | BinaryIO) -> None:
        if isinstance(data, bytes):
            self._waiting += data
        else:
            self._source = data
        self._watch_input()

    def finish_input(self) -> None:
        self._closing = True
        self._watch_input()

    def wait(self, timeout: float | None, kill: Callable[[signal.Signals], None] | None = None) -> Result:
        """The result once the process has ended. Raises TimedOut after its whole group was killed."""
        deadline = None if timeout is None else self._started + timeout
        send = kill or self.signal_group
        _running[self] = send
        try:
            timed_out = not self._pump(deadline)
            if timed_out:
                self._end(send)
        except BaseException:
            self._end(send)
            raise
        finally:
            del _running[self]
            self._close()
        result = self._result()
        if timed_out:
            raise TimedOut(
                f"{self.argv[0]} took longer than {timeout:g} s and was killed",
                remedy="Give it more time (timeout), or find out what it waits for.",
                evidence=last_lines(result),
            )
        return result

    def signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    # --- how ---

    def _pump(self, deadline: float | None) -> bool:
        """Move bytes until the process has ended and nothing is left to read; False at the deadline."""
        for number, stream in ((1, self._popen.stdout), (2, self._popen.stderr)):
            if stream is not None:
                os.set_blocking(stream.fileno(), False)
                self._selector.register(stream.fileno(), selectors.EVENT_READ, number)
        # A child may leave a daemon behind that keeps our pipes open: its own end is what counts.
        try:
            ended = os.pidfd_open(self.pid)
        except (AttributeError, OSError):
            ended = -1
        try:
            if ended >= 0:
                self._selector.register(ended, selectors.EVENT_READ, 0)
            return self._move(deadline, ended >= 0)
        finally:
            if ended >= 0:
                os.close(ended)

    def _move(self, deadline: float | None, told: bool) -> bool:
        while True:
            pause = None if told else 0.05
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    return self._popen.poll() is not None
                pause = left if pause is None else min(pause, left)
            for key, events in self._selector.select(pause):
                if key.data == 0:
                    self._popen.wait()
                elif events & selectors.EVENT_WRITE:
                    self._write()
                else:
                    self._take(key.fd, key.data)
            if (self._popen.returncode if told else self._popen.poll()) is not None:
                self._drain()
                return True

    def _take(self, stream: int, number: int) -> bool:
        """Read what is there; False at the end of the stream or when nothing is there now."""
        try:
            data = os.read(stream, CHUNK)
        except BlockingIOError:
            return False
        if not data:
            self._selector.unregister(stream)
            return False
        data = self.on_chunk(number, data)
        kept = self._kept[number]
        room = KEPT - len(kept)
        kept += data[:room]
        self._dropped += max(0, len(data) - room)
        return True

    def _drain(self) -> None:
        for key in list(self._selector.get_map().values()):
            # A daemon left behind may go on printing: what a pipe can hold is all that is waited for.
            for _ in range(16):
                if key.data not in (1, 2) or not self._take(key.fd, key.data):
                    break

    def _watch_input(self) -> None:
        stream = self._popen.stdin
        if stream is None or stream.closed:
            return
        due = self._waiting or self._source is not None or self._closing
        if due and stream.fileno() not in self._selector.get_map():
            os.set_blocking(stream.fileno(), False)
            self._selector.register(stream.fileno(), selectors.EVENT_WRITE, 3)

    def _write(self) -> None:
        stream = self._popen.stdin
        assert stream is not None
        if not self._waiting and self._source is not None:
            more = self._source.read(CHUNK)
            self._source = self._source if more else None
            self._waiting += more
        try:
            if self._waiting:
                del self._waiting[: os.write(stream.fileno(), memoryview(self._waiting)[:CHUNK].tobytes())]
                return
        except BlockingIOError:
            return
        except BrokenPipeError:  # it does not want to read; that is its own affair
            self._waiting.clear()
            self._source, self._closing = None, True
        if self._source is None:
            self._selector.unregister(stream.fileno())
            if self._closing:
                stream.close()

    def _end(self, send: Callable[[signal.Signals], None]) -> None:
        send(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(GRACE)
        send(signal.SIGKILL)
        self._popen.wait()
        # Its children go on until they have their next turn; an orphan that nobody collects never goes.
        until = time.monotonic() + LEAVING
        while not self._group_is_gone() and time.monotonic() < until:
            time.sleep(0.005)

    def _group_is_gone(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:  # another user's
            pass
        return False

    def _close(self) -> None:
        self._selector.close()
        for stream in (self._popen.stdin, self._popen.stdout, self._popen.stderr):
            if stream is not None:
                stream.close()

    def _result(self) -> Result:
        code = self._popen.returncode
        return Result(
            128 - code if code < 0 else code,
            bytes(self._kept[1]),
            bytes(self._kept[2]),
            time.monotonic() - self._started,
            self._dropped,
        )


def cannot_start(argv: Sequence[str], cwd: str | None, error: OSError) -> Result:
    """What a shell would have answered for a command that could not be started."""
    if cwd is not None and error.filename == cwd:
        raise NotFound(
            f"cannot run {argv[0]} in {cwd}: {error.strerror}",
            remedy=f"Make the directory {cwd} first, or name another.",
        )
    # A directory on PATH that may not be looked into gives "permission denied" for every name.
    import shutil

    nowhere = "/" not in argv[0] and shutil.which(argv[0], os.F_OK) is None
    if isinstance(error, FileNotFoundError) or nowhere:
        return Result(NOT_FOUND, stderr=f"{argv[0]}: command not found\n".encode())
    if isinstance(error, PermissionError) or error.errno in (8, 20):  # ENOEXEC, ENOTDIR
        return Result(NOT_EXECUTABLE, stderr=f"{argv[0]}: cannot be executed: {error.strerror}\n".encode())
    raise StepError(f"cannot run {argv[0]}: {error.strerror}")


def passing_on(on_output: Callable[[bytes], None]) -> Callable[[int, bytes], bytes]:
    """An on_chunk that shows everything to `on_output` and keeps it."""

    def pass_on(stream: int, data: bytes) -> bytes:
        on_output(data)
        return data

    return pass_on
