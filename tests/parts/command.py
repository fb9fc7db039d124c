"""The command `ikoma-play` as a person runs it: a process of its own, its output kept."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Finished:
    """A command that ended; `events` are its lines of JSON when it was run with --json."""

    argv: tuple[str, ...]
    code: int
    out: str
    err: str

    @property
    def text(self) -> str:
        return self.out + self.err

    @property
    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def recap(self) -> dict[str, dict[str, Any]]:
        """The figures of each host from the last event."""
        last = self.events[-1]
        assert last["event"] == "run_finished", self
        hosts: dict[str, dict[str, Any]] = last["hosts"]
        return hosts

    def steps(self, status: str) -> list[str]:
        """The titles of the steps that came to `status`."""
        return [
            event["title"]
            for event in self.events
            if event["event"] == "step_finished" and event["outcome"]["status"] == status
        ]

    def __str__(self) -> str:
        return f"$ {' '.join(self.argv)}\n{self.out}{self.err}(exit code {self.code})"


@dataclass(frozen=True)
class Ikoma:
    """Runs `ikoma-play` in one working directory."""

    folder: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    prefix: Sequence[str] = (sys.executable,)  # what runs Python

    def __call__(self, *words: str, expect: int | None = 0, timeout: float = 240, typed: str = "") -> Finished:
        """`expect` is the exit code; None takes any. `typed` is standard input. Fails the test with everything that
        was printed."""
        environment = {
            name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR") and name[:6] != "PYTEST"
        }
        environment |= {"PYTHONPATH": str(CHECKOUT), **self.environment}
        done = subprocess.run(
            [*self.prefix, "-m", "ikoma_play", *words],
            cwd=self.folder,
            env=environment,
            **({"input": typed} if typed else {"stdin": subprocess.DEVNULL}),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        finished = Finished(("ikoma-play", *words), done.returncode, done.stdout, done.stderr)
        assert expect in (None, finished.code), f"exit code {expect} expected\n{finished}"
        assert "Traceback (most recent call last)" not in finished.text, f"a traceback reached the user\n{finished}"
        return finished


def python(script: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """A script that does what no command does, run with the package at hand."""
    return subprocess.run(
        [sys.executable, "-c", script], cwd=folder, env={**os.environ, "PYTHONPATH": str(CHECKOUT), **environment},
        stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=240, check=False,
    )  # fmt: skip
