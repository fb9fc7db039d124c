"""Many hosts at once: how much memory each takes on the runner, and how long a few steps take on all of them.

    python -m tests.benchmarks.fleet [HOSTS…]     1, 50 and 200 where nothing is said

Real OpenSSH servers on loopback, one a host; the runner is the whole command, its peak is what the system says.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.parts.sshd import Sshd, servers

CHECKOUT = Path(__file__).resolve().parents[2]
PLAY = [{"hosts": "all", "tasks": [
    {"command": "echo {{ inventory_hostname }}", "register": "said"},
    {"assert": {"that": "said.stdout == inventory_hostname", "quiet": True}},
    {"shell": "sleep 0.2; echo done"},
]}]  # fmt: skip


@dataclass(frozen=True)
class Peak:
    """`megabytes` is the largest resident size of the runner's process, `processor` its seconds of computing."""

    hosts: int
    seconds: float
    processor: float
    megabytes: float

    def __str__(self) -> str:
        times = f"{self.seconds:6.1f} s  {self.processor:6.1f} s computing"
        return f"{self.hosts:4} hosts  {times}  {self.megabytes:6.1f} MB"


def run_on(boxes: Sequence[Sshd], forks: int, folder: Path) -> Peak:
    """One run on all of them. Raises AssertionError where a host is missing or a step failed."""
    hosts = {f"box{number:03}": dict(box.host().vars) for number, box in enumerate(boxes)}
    (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    (folder / "play.yml").write_text(json.dumps(PLAY))
    argv = [sys.executable, "-m", "ikoma_play", "run", "play.yml", "-i", "hosts.yml", "-f", str(forks), "--json"]
    begun = time.monotonic()
    with (folder / "out").open("wb") as out:
        process = subprocess.Popen(argv, cwd=folder, stdin=subprocess.DEVNULL, stdout=out,
                                   env={**os.environ, "PYTHONPATH": str(CHECKOUT)})  # fmt: skip
        _, status, used = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begun
    process.returncode = os.waitstatus_to_exitcode(status)
    events = [json.loads(line) for line in (folder / "out").read_text().splitlines()]
    wrong = [event["outcome"]["failure"] for event in events
             if event["event"] == "step_finished" and "failure" in event["outcome"]]  # fmt: skip
    assert process.returncode == 0 and not wrong, wrong[:5]
    counted = [told["ok"] for told in events[-1]["hosts"].values()]
    assert counted == [3] * len(hosts), counted
    return Peak(len(hosts), seconds, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def measure(counts: Sequence[int]) -> list[Peak]:
    """One run for each count, every host at once."""
    with servers() as site, tempfile.TemporaryDirectory(prefix="ikoma-fleet-") as folder:
        boxes: list[Sshd] = []
        try:
            while len(boxes) < max(counts):
                boxes.append(site.server().start())
            return [run_on(boxes[:count], count, Path(folder)) for count in counts]
        finally:
            for box in boxes:
                box.stop()


def megabytes_a_host(few: Peak, many: Peak) -> float:
    return (many.megabytes - few.megabytes) / (many.hosts - few.hosts)


def main() -> None:
    peaks = measure([int(word) for word in sys.argv[1:]] or [1, 50, 200])
    print(*peaks, sep="\n")
    print(f"{megabytes_a_host(peaks[0], peaks[-1]):.2f} MB more for each host")


if __name__ == "__main__":
    main()
