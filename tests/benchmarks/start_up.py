"""How long the command takes to start, beside a bare interpreter, in turns within one run.

    python tests/benchmarks/start_up.py [ROUNDS]

To reach: `--version` at most 60 ms and `check playbooks/deploy.yml` at most 250 ms more than `python -c pass`.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[2]
IKOMA = [sys.executable, "-m", "ikoma_play"]
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "ikoma-play --version": [*IKOMA, "--version"],
    "ikoma-play --help": [*IKOMA, "--help"],
    "ikoma-play check playbooks/deploy.yml": [*IKOMA, "check", "playbooks/deploy.yml"],
    "ikoma-play tools": [*IKOMA, "tools"],
}
FLOOR = "python -c pass"


def measure(rounds: int) -> dict[str, list[float]]:
    """Seconds of each command, `rounds` times each, in turns so that a busy moment hits all alike."""
    taken: dict[str, list[float]] = {name: [] for name in COMMANDS}
    with tempfile.TemporaryDirectory() as bytecode:
        # An installed package is compiled; the first round does that here, outside of the checkout.
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), "PYTHONPYCACHEPREFIX": bytecode}
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        _rounds(rounds, environment, taken)
    return taken


def _rounds(rounds: int, environment: dict[str, str], taken: dict[str, list[float]]) -> None:
    for number in range(rounds + 1):
        for name, argv in COMMANDS.items():
            began = time.perf_counter()
            subprocess.run(
                argv, cwd=CHECKOUT, env=environment, check=True,
                stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
            )  # fmt: skip
            if number:  # the first round writes bytecode
                taken[name].append(time.perf_counter() - began)


def table(taken: dict[str, list[float]]) -> str:
    floor = statistics.median(taken[FLOOR])
    lines = [f"{'':40}{'median':>10}{'least':>10}{'more than python':>20}"]
    for name, seconds in taken.items():
        median = statistics.median(seconds)
        more = f"{1000 * (median - floor):16.0f} ms" if name != FLOOR else ""
        lines.append(f"{name:40}{1000 * median:7.0f} ms{1000 * min(seconds):7.0f} ms{more:>20}")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 15)))
