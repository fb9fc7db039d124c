"""`ikoma-play` killed by SIGKILL: at one of its journal writes or at any instant, as a power cut or the kernel would.

A `Nursery` is a process that has everything imported and forks one child for each command, so that hundreds of runs
cost what they do themselves. A child is a command like any other: of its own directory, with its own output.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Died:
    """What became of a command: its exit code, -9 where it was killed; `writes` is how often it wrote to the journal,
    0 where it was killed before it could say."""

    code: int
    text: str
    writes: int
    seconds: float

    @property
    def killed(self) -> bool:
        return self.code == -signal.SIGKILL


class Nursery:
    """Runs `ikoma-play` in children of one process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def __call__(
        self, folder: Path, *words: str, at: tuple[int, str] | None = None, after: float | None = None,
        by: int = signal.SIGKILL, environment: Mapping[str, str] | None = None, expect: int | None = None,
    ) -> Died:  # fmt: skip
        """`at`: die just `before` or `after` the journal write of a number, counted from 1, `by` a signal; `after`: be
        killed when so many seconds have passed."""
        given = {"folder": str(folder), "words": words, "environment": environment or {}}
        asked = {**given, "at": at, "by": int(by), "after": after}
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, "the nursery has died"
        died = Died(**json.loads(answer))
        assert expect in (None, died.code), f"exit code {expect} expected, got {died.code}\n{died.text}"
        assert "Traceback (most recent call last)" not in died.text, died.text
        return died


@contextmanager
def nursery() -> Iterator[Nursery]:
    environment = {name: value for name, value in os.environ.items() if name not in ("CI", "IKOMA_STATE")}
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.parts.crashing"],
        cwd=CHECKOUT,
        env={**environment, "PYTHONPATH": str(CHECKOUT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield Nursery(process)
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait(60)


def deadly(store: Any, at: int, when: str, by: int, count: list[int]) -> None:
    """Make the store's writes count, and one of them deadly."""
    write = store.write

    def counted(self: Any, *changes: Any, durable: bool = True) -> int:
        count[0] += 1
        number = count[0]
        if number == at and when == "before":
            os.kill(os.getpid(), by)
        rows: int = write(self, *changes, durable=durable)
        if number == at:
            os.kill(os.getpid(), by)
        return rows

    store.write = counted


def child(asked: dict[str, Any], output: int, report: int) -> None:
    """The command itself; never returns."""
    from ikoma_play.cli.main import main
    from ikoma_play.journal.postgres import PostgresStore
    from ikoma_play.journal.sqlite import SqliteStore

    code = 99
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell may have had ignored
        os.chdir(asked["folder"])
        os.environ.update(asked["environment"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.dup2(output, 1)
        os.dup2(output, 2)
        count = [0]
        number, when = asked["at"] or (0, "before")
        deadly(SqliteStore, number, when, asked["by"], count)
        deadly(PostgresStore, number, when, asked["by"], count)
        code = main(asked["words"])
        sys.stdout.flush()
        os.write(report, str(count[0]).encode())
    finally:
        os._exit(code)


def serve() -> None:
    import ikoma_play.cli.execute
    import ikoma_play.cli.resume
    import ikoma_play.cli.run
    import ikoma_play.cli.runs
    import ikoma_play.journal.locks
    import ikoma_play.journal.postgres
    import ikoma_play.journal.recorder
    import ikoma_play.journal.sqlite  # noqa: F401

    for line in sys.stdin:
        asked = json.loads(line)
        with tempfile.TemporaryFile() as output:
            here, there = os.pipe()
            begun = time.monotonic()
            pid = os.fork()
            if pid == 0:
                os.close(here)
                child(asked, output.fileno(), there)
            os.close(there)
            if asked["after"] is not None:
                time.sleep(asked["after"])
                os.kill(pid, signal.SIGKILL)
            _, status = os.waitpid(pid, 0)
            seconds = time.monotonic() - begun
            writes = int(os.read(here, 100) or b"0")
            os.close(here)
            output.seek(0)
            text = output.read().decode("utf-8", "replace")
        code = os.waitstatus_to_exitcode(status)
        print(json.dumps({"code": code, "text": text, "writes": writes, "seconds": seconds}), flush=True)


if __name__ == "__main__":
    serve()
