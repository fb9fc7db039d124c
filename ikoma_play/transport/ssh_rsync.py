"""rsync, where the runner and the host both have it: the runner's talks with the host's over the open shell.

The host's writes to a file of its own beside the one that is to be replaced, which it takes what is the same from;
a file that was broken off is gone on with.
"""

from __future__ import annotations

import os
import re
import select
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from msgspec.structs import replace

from ..model import Result
from .ssh_delta import CHUNK, Told

FAILED = 77
ENDING = 5.0  # seconds in which the runner's rsync ends once the host's has

# Part of the script of `send`: its own words come first, one a line, then what the runner's rsync says.
RSYNC = f"""
      set --; while IFS= read -r word && [ "$word" ]; do set -- "$@" "$word"; done
      if [ -L "$part.d" ]; then rm -f -- "$part.d"; fi
      mkdir -p -- "$part.d/old" && [ -O "$part.d" ] || exit 1
      rm -f -- "$part.d/old/new"
      ln -- "$path" "$part.d/old/new" 2> /dev/null || cp -- "$path" "$part.d/old/new" || exit 1
      "$@" 2> /dev/null 5>&- || exit {FAILED}
      mv -fT -- "$part.d/new" "$part" || exit 1
      break"""

# What the runner's rsync takes for ssh: says what is to run over there, then hands everything on. rsync waits for its
# end, which comes with that of what the host has to say.
CARRIER = (
    'shift; printf "%s\\n" "$@" "" > /dev/fd/{out}; exec 3<&0; cat <&3 3<&- > /dev/fd/{out} & '
    "exec cat 3<&- < /dev/fd/{back}"
)
OPTIONS = ("--secluded-args", "--inplace", "--ignore-times", "--no-whole-file", "--copy-dest=old", "--info=progress2",
           "--no-human-readable")  # fmt: skip


class Rsync:
    """One talk, which `target` on the host comes of; nothing is started before `talk`."""

    def __init__(self, source: Path, target: str, told: Told) -> None:
        self._source, self._target, self._told = source.absolute(), target, told
        self._process: subprocess.Popen[bytes] | None = None
        self._out, self._back = -1, -1  # what the runner's rsync says is read from one, the answer goes to the other
        self._complaint = b""
        self._threads: list[threading.Thread] = []

    def __enter__(self) -> Rsync:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._process is None:
            return
        os.close(self._back)
        try:
            self._process.wait(0 if raised[0] is not None else ENDING)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for thread in self._threads:
            thread.join(ENDING)

    @staticmethod
    def usable() -> bool:
        return shutil.which("rsync") is not None

    def talk(self) -> Iterator[bytes]:
        """What is to be sent to the host."""
        out, theirs = os.pipe()
        back, self._back = os.pipe()
        carrier = CARRIER.format(out=theirs, back=back)
        argv = ["rsync", *OPTIONS, "-e", f"sh -c '{carrier}' sh", "--", str(self._source), f"host:{self._target}"]
        try:
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, pass_fds=(theirs, back),
                env={**os.environ, "LC_ALL": "C"}, start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(theirs)
            os.close(back)
        self._threads = [threading.Thread(target=each, daemon=True) for each in (self._watch, self._listen)]
        for thread in self._threads:
            thread.start()
        try:
            yield b"rsync\n"
            while self._says_more(out) and (data := os.read(out, CHUNK)):
                yield data
        finally:
            os.close(out)

    def hear(self, data: bytes) -> None:
        """What the host's rsync says."""
        if self._process is None:
            return
        with suppress(BrokenPipeError):  # the runner's has ended
            while data:
                data = data[os.write(self._back, data) :]

    def explained(self, result: Result) -> Result:
        """The exchange's result with what the runner's rsync complained about."""
        if result.exit_code != FAILED:
            return result
        return replace(result, stderr=result.stderr + self._complaint)

    def _says_more(self, out: int) -> bool:
        """Waits for more; False when the runner's rsync has ended."""
        assert self._process is not None
        while not select.select([out], [], [], 0.2)[0]:
            if self._process.poll() is not None:
                return False
        return True

    def _watch(self) -> None:
        """Hand its progress on, until it ends."""
        assert self._process is not None and self._process.stdout is not None
        said = b""
        while data := os.read(self._process.stdout.fileno(), 4096):
            said = (said + data)[-200:]
            found = re.findall(rb"([\d,]+) +\d+%", said)
            if found:
                self._told.tell_progress(int(found[-1].replace(b",", b"")))
        self._process.stdout.close()

    def _listen(self) -> None:
        assert self._process is not None and self._process.stderr is not None
        self._complaint = self._process.stderr.read()
        self._process.stderr.close()
