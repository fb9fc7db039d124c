"""What the journal costs a step: a run of 1,000 steps that do nothing, with and without it, in turns.

Each step is brought to the disk once before it begins; what the disk takes for that alone is shown beside.

python tests/benchmarks/journal.py [STEPS] [TURNS]
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

from ikoma_play import engine
from ikoma_play.journal.locks import Locks
from ikoma_play.journal.opening import open_store
from ikoma_play.journal.recorder import About, Recorder
from ikoma_play.language import load_inventory, load_playbook
from ikoma_play.tools import TOOLS
from ikoma_play.transport.local import LocalTransport


def disk(folder: Path, times: int = 200) -> float:
    """Seconds that the disk takes to keep 8 KiB."""
    file = os.open(folder / "probe", os.O_CREAT | os.O_WRONLY)
    begun = time.perf_counter()
    for _ in range(times):
        os.write(file, bytes(8192))
        os.fdatasync(file)
    os.close(file)
    return (time.perf_counter() - begun) / times


@dataclass(frozen=True)
class Cost:
    """Milliseconds a step: of a run without a journal, of what the journal adds, and of the disk alone."""

    steps: int
    turns: int
    without: float
    added: float
    disk: float

    def __str__(self) -> str:
        return (
            f"{self.steps} steps, {self.turns} turns, ms a step: {self.without:.2f} without a journal, which adds "
            f"{self.added:.2f}; the disk alone takes {self.disk:.2f}"
        )


def measure(steps: int = 1000, turns: int = 5) -> Cost:
    """Runs with and without a journal in turns; the medians of each turn's difference."""
    with tempfile.TemporaryDirectory(dir=Path.cwd()) as name:
        folder = Path(name)
        book = folder / "p.yml"
        body = "".join(f"  - {{name: s{number}, debug: {{msg: x}}}}\n" for number in range(steps))
        book.write_text("- hosts: h1\n  gather_facts: false\n  tasks:\n" + body)
        (folder / "hosts").write_text("h1 ansible_connection=local\n")
        playbook, inventory = load_playbook(str(book), TOOLS, ()), load_inventory([str(folder / "hosts")])
        without, added, probes = [], [], []
        for turn in range(turns):
            probes.append(disk(folder))
            taken = []
            for journaled in (False, True):
                store = open_store(f"sqlite:{folder / f'{turn}.db'}")
                recorder = (Recorder(store, About()),) if journaled else ()
                begun = time.perf_counter()
                engine.run((playbook,), inventory, TOOLS, engine.Options(), recorder, LocalTransport, Locks(store))
                taken.append(time.perf_counter() - begun)
                store.close()
            without.append(taken[0])
            added.append(taken[1] - taken[0])
    figures = (1000 * statistics.median(each) / steps for each in (without, added))
    return Cost(steps, turns, *figures, 1000 * statistics.median(probes))


if __name__ == "__main__":
    print(measure(*map(int, sys.argv[1:])))
