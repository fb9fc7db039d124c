"""A copy of the machine's file system that only the test sees: overlays in a mount namespace, thrown away after."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

CHECKOUT = Path(__file__).parents[3]
NAMESPACE = """
set -e
stage=$1 real=$2
shift 2
mount -t tmpfs tmpfs "$stage"
mkdir "$stage/upper" "$stage/work"
mount -t overlay overlay -o "lowerdir=$real,upperdir=$stage/upper,workdir=$stage/work" "$real"
exec "$@"
"""
SCRIPT = """
import json, sys
from pathlib import Path
from ikoma_play.errors import StepError
from ikoma_play.model import Host
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport
from tests.tools.general import harness

folder = Path(sys.argv[1])
for step in json.load(sys.stdin):
    on = LocalTransport(Host("here"))
    on = DryTransport(on) if step.pop("dry", False) else on
    try:
        outcome = harness.call(on, harness.RunScope(folder), step.pop("tool"), step)
        print(json.dumps({"status": outcome.status, "result": outcome.result,
                          "diff": [[each.before, each.after] for each in outcome.diffs]}))
    except StepError as error:
        print(json.dumps({"status": "failed", "code": error.code, "message": error.message,
                          "evidence": error.evidence}))
"""


@contextmanager
def staged(tmp_path: Path) -> Iterator[Path]:
    if os.geteuid() != 0:
        pytest.fail("these tests change a copy of the system's files: run them as root")
    (tmp_path / "stage").mkdir()
    yield tmp_path
    shutil.rmtree(tmp_path / "stage", ignore_errors=True)


def play(folder: Path, *steps: dict[str, Any], over: tuple[str, ...] = ("/etc",)) -> list[dict[str, Any]]:
    """The steps one after another over copies of the directories `over`, and what each came to."""
    argv = ["unshare", "--mount", "--uts"]
    for number, real in enumerate(over):
        place = folder / "stage" / str(number)
        place.mkdir(exist_ok=True)
        argv += ["sh", "-c", NAMESPACE, "sh", str(place), real]
    done = subprocess.run(
        [*argv, sys.executable, "-c", SCRIPT, str(folder)], input=json.dumps(steps), capture_output=True, text=True,
        cwd=CHECKOUT, timeout=200, env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(told) == len(steps), done.stdout
    return told


def statuses(told: list[dict[str, Any]]) -> list[str]:
    return [each["status"] for each in told]
