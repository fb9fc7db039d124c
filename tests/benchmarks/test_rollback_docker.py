"""What ikoma-play adds to an emergency rollback on Docker: the same beside a shell script of the same commands."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.end_to_end.conftest import make_docker_host
from tests.parts.chance import LONG
from tests.parts.platform import Platform
from tests.playbooks.conftest import Released, make_repository

ROUNDS = 3 if LONG else 2
SCRIPT = Path(__file__).with_name("rollback_docker.sh")


def test_a_rollback_on_docker_costs_little_more_than_its_commands(
    tmp_path: Path, platform: Platform, python_base: str
) -> None:
    """At most 15 % or 1 s more than the shell script, whichever is larger; medians of rounds run in turn.

    Measured is what a person waits for: from the command to the verified old release."""
    repository = make_repository(tmp_path / "repository")
    host = make_docker_host(tmp_path / "host", platform, python_base)
    host.write_inventory(source=str(repository))
    released = Released(host)
    times: dict[str, list[float]] = {"script": [], "playbook": []}
    try:
        released.to_v2()
        for number in range(ROUNDS):
            times["script"].append(_round(released, _by_script))
            released.deploy("v2")
            times["playbook"].append(_round(released, _by_playbook))
            if number + 1 < ROUNDS:
                released.deploy("v2")
    finally:
        host.clear()
    script, playbook = (statistics.median(times[name]) for name in ("script", "playbook"))
    sys.stdout.write(
        f"\nrollback on Docker, medians of {ROUNDS}: shell script {script:.2f} s, ikoma-play {playbook:.2f} s,"
        f" ratio {playbook / script:.2f}\n"
    )
    assert playbook <= max(script * 1.15, script + 1.0), times


def _round(released: Released, ready: Callable[[Released], Callable[[], object]]) -> float:
    """One rollback from v2 to v1, in seconds."""
    roll_back = ready(released)
    start = time.perf_counter()
    roll_back()
    seconds = time.perf_counter() - start
    told = released.host.compose("exec", "-T", "web", "cat", "guestbook/release.txt").strip()
    assert told == "v1" and released.table("author"), "the old release does not serve with its rows"
    return seconds


def _by_playbook(released: Released) -> Callable[[], object]:
    return lambda: released.host.run("rollback", "-e", "yes=true")


def _by_script(released: Released) -> Callable[[], object]:
    host = released.host
    former = next(one for one in host.execute("artifact.releases") if one["ref"] == "v1")
    backup = min((host.folder / "backups").glob("*.sql"), key=lambda path: path.stat().st_mtime)
    argv = ["sh", SCRIPT, host.app, host.folder / "apps", host.platform.folder, backup, "v1", former["images"]["web"]]
    return lambda: subprocess.run(argv, check=True, stdin=subprocess.DEVNULL, capture_output=True)
