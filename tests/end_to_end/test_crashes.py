"""The runner is killed in the middle of real deployments: what `runs resume` comes to is what an undisturbed
deployment comes to: files, rows, services, releases.

IKOMA_TESTS_LONG=1 kills at every journal write and at 200 random instants; `pytest -s` prints how many there were.
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest

from ikoma_play.platform.databases import OURS
from tests.parts.crashing import Died, Nursery, nursery
from tests.parts.platform import free_port
from tests.parts.sandbox import Sandbox
from tests.parts.traces import files_below
from tests.parts.web import ask_json

FINE = ("ok", "changed")
APPLIED = [f"SELECT name, sha256 FROM {OURS}.{kind} ORDER BY name" for kind in ("migrations", "seeds")]
LONG = bool(os.environ.get("IKOMA_TESTS_LONG"))


@dataclass
class Place:
    """A sandbox to which one application after another is deployed, each under a name of its own."""

    ikoma: Nursery
    sandbox: Sandbox
    writes: int = 0
    seconds: float = 0.0

    def deploy(self, app: str, port: int, **more: Any) -> Died:
        return self.ikoma(self.sandbox.folder, "run", "deploy", "-e", f"app={app}", "-e", f"port={port}", **more)

    def begun(self, app: str) -> bool:
        done = self.ikoma(self.sandbox.folder, "runs", "show", "--json")
        # The newest may be a call of one tool, where the deployment was killed before it was written down.
        given = json.loads(done.text)["options"].get("given", {}) if done.code == 0 else {}
        return f"app={app}" in given.get("extra_vars", ())

    def stop(self, app: str) -> None:
        """Make room: what has been compared need not run on."""
        self.ikoma(self.sandbox.folder, "exec", "deploy.down", f"appName={app}", expect=0)

    def state(self, app: str, port: int) -> dict[str, Any]:
        """What there is of an application, without what differs from one to the next."""
        folder = self.sandbox.root / "apps" / app
        releases = folder / ".ikoma" / "releases"
        files = {
            name: content.decode().replace(app, "APP").replace(str(port), "PORT")
            for name, content in files_below(folder).items()
            if not name.startswith(".ikoma/releases/") and name != ".ikoma/env.json" and "__pycache__" not in name
        }
        (release,) = (json.loads(path.read_text()) for path in releases.glob("[0-9]*Z-????.json"))
        run = json.loads(self.ikoma(self.sandbox.folder, "runs", "show", "--json", expect=0).text)
        return {
            "files": files,
            "rows": self.sandbox.sql(app, "SELECT author, place, message FROM entries ORDER BY id"),
            "migrations": [self.sandbox.sql(app, query) for query in APPLIED],
            "health": ask_json(f"http://127.0.0.1:{port}/health"),
            "release": {key: release[key] for key in ("app", "commit", "migrations", "ref", "source")} | {"app": ""},
            "run": run["state"],
            "steps": sorted((one["title"].replace(app, "APP"), one["state"] in FINE) for one in run["steps"]),
        }


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with nursery() as ikoma:
        here = Place(ikoma, Sandbox(tmp_path_factory.mktemp("crashes")))
        try:
            here.deploy("first", free_port(), expect=0)
            here.stop("first")
            yield here
        finally:
            ikoma(here.sandbox.folder, "run", "sandbox-down", "-e", "remove=true")


@pytest.fixture(scope="module")
def whole(place: Place) -> dict[str, Any]:
    """What an undisturbed deployment comes to."""
    port = free_port()
    done = place.deploy("whole", port, expect=0)
    place.writes, place.seconds = done.writes, done.seconds
    found = place.state("whole", port)
    place.stop("whole")
    assert found["rows"] and found["migrations"] and found["health"][0] == 200
    return found


def goes_on(place: Place, whole: dict[str, Any], app: str, **kill: Any) -> bool:
    port = free_port()
    died = place.deploy(app, port, **kill)
    if not place.begun(app):
        done = place.deploy(app, port)
    else:
        done = place.ikoma(place.sandbox.folder, "runs", "resume", "--retry-unfinished")
    assert done.code == 0 or "is done" in done.text, f"{kill}\n{done.text}"
    assert place.state(app, port) == whole, f"{kill}\n{done.text}"
    place.stop(app)
    return died.killed


def test_a_deployment_killed_at_a_journal_write_goes_on(place: Place, whole: dict[str, Any]) -> None:
    points = [(number, when) for number in range(1, place.writes + 1) for when in ("before", "after")]
    chosen = points if LONG else [points[len(points) * each // 3 + 5] for each in range(3)]
    for number, when in chosen:
        assert goes_on(place, whole, f"w{number}{when}", at=(number, when))
    print(f"\n{len(chosen)} of {len(points)} points at the journal's writes of a deployment: none lost")


def test_a_deployment_killed_at_any_instant_goes_on(place: Place, whole: dict[str, Any]) -> None:
    killed = 0
    for number in range(200 if LONG else 2):
        killed += goes_on(place, whole, f"i{number}x", after=random.uniform(0, place.seconds))
    assert killed
    print(f"\n{killed} deployments killed at random instants: none lost")
