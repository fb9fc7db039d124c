"""The runner is killed in the middle of real deployments and rollbacks. What it had begun is gone on with or undone,
in turns: the end is that of an undisturbed run, or the state before it: files bit for bit, databases row for row,
services, processes, locks, the journal.

A few points are tried each time, chosen by chance: IKOMA_TESTS_SEED chooses the same again. IKOMA_TESTS_LONG=1 kills
before and after every journal write and at 200 random instants; `pytest -s` tells of each point.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.parts.chance import LONG, SEED
from tests.parts.crashing import Died, nursery
from tests.parts.scene import APP, Scene
from tests.parts.undone import difference

RESUME, UNDO, AGAIN = "resume", "rollback", "run again"


@dataclass
class Play:
    """A run that begins in one kept state of the scene and comes to another."""

    scene: Scene
    begins: str
    words: tuple[str, ...]
    ways: tuple[str, ...]  # what is done after a crash, in turns
    writes: int = 0
    seconds: float = 0.0
    before: dict[str, Any] = field(default_factory=dict)
    end: dict[str, Any] = field(default_factory=dict)

    def undisturbed(self) -> Play:
        self.begin()
        done = self.run(expect=0)
        self.writes, self.seconds, self.end = done.writes, done.seconds, self.scene.alike()
        return self

    def begin(self) -> None:
        """Have the state in which the run begins, which an undone one has left already."""
        if self.scene.holds != self.begins or not self.before:
            self.scene.put_back(self.begins)
            self.before = self.scene.state()
        self.scene.holds = ""

    def run(self, **kill: Any) -> Died:
        return self.scene(*self.words, **kill)

    def lost(self, way: str, **kill: Any) -> str:
        """What is not as it should be after a crash, "" where nothing is lost."""
        self.begin()
        newest = self.scene.newest().get("id")
        self.run(**kill)
        run = self.scene.newest()
        begun = run.get("id") != newest
        if begun and (run["state"] == "done" or way == AGAIN):
            found = self.scene.alike() | {"locks": self.end["locks"]}  # those of a dead run are nobody's
            if found == self.end or run["state"] == "done":
                return self._unlike(self.end, found, run["state"])
        if way == UNDO:
            return self._undone(self.scene("runs", "rollback", "--retry-unfinished") if begun else None)
        done = self.scene("runs", "resume", "--retry-unfinished") if begun and way == RESUME else self.run()
        return self._unlike(self.end, self.scene.alike(), done.text, done.code)

    def _undone(self, done: Died | None) -> str:
        found = self.scene.state()
        if set(found["locks"]) <= set(self.before["locks"]):
            # An earlier point's dead run's is nobody's: who needs it takes it over.
            found["locks"] = self.before["locks"]
        lost = self._unlike(self.before, found, done.text if done else "nothing was begun")
        self.scene.holds = "" if lost else self.begins
        return lost

    def _unlike(self, wanted: dict[str, Any], found: dict[str, Any], text: str, code: int = 0) -> str:
        unlike = [f"{name}:\n{difference(was, found[name])}" for name, was in wanted.items() if found[name] != was]
        return "\n".join([*unlike, *([f"exit code {code}"] if code else []), text]) if unlike or code else ""


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with nursery() as ikoma:
        here = Scene(ikoma, tmp_path_factory.mktemp("crashes"))
        try:
            here("exec", "platform.up", expect=0)
            here.keep("nothing")
            for version in ("v1", "v2"):
                assert here.deploy(version).code == 0
                here.keep(version)
            yield here
        finally:
            here("run", "sandbox-down", "-e", "remove=true")


def deploy(scene: Scene, version: str) -> tuple[str, ...]:
    return ("run", "deploy", "-e", f"app={APP}", "-e", f"port={scene.port}", "-e", f"source={version}")


@pytest.fixture(scope="module")
def first(scene: Scene) -> Play:
    return Play(scene, "nothing", deploy(scene, "v1"), (RESUME, UNDO)).undisturbed()


@pytest.fixture(scope="module")
def second(scene: Scene) -> Play:
    return Play(scene, "v1", deploy(scene, "v2"), (RESUME, UNDO)).undisturbed()


@pytest.fixture(scope="module")
def back(scene: Scene) -> Play:
    words = ("run", "rollback", "-e", f"app={APP}", "-e", "yes=true")
    return Play(scene, "v2", words, (RESUME, AGAIN, UNDO)).undisturbed()


@pytest.mark.parametrize("name", ["second", "back"])
@pytest.mark.timeout(36000 if LONG else 300)
def test_killed_at_a_journal_write(request: pytest.FixtureRequest, name: str) -> None:
    play: Play = request.getfixturevalue(name)
    points = [(number, when) for number in range(1, play.writes + 1) for when in ("before", "after")]
    ways = {point: play.ways[(point[0] + (point[1] == "after")) % len(play.ways)] for point in points}
    chosen = random.Random(SEED).sample(points, len(points) if LONG else 1)
    none_lost(play, [(ways[point], {"at": point}) for point in chosen], f"of {len(points)} ")


@pytest.mark.parametrize(("name", "most"), [*([("first", 100)] if LONG else []), ("second", 100), ("back", 200)])
@pytest.mark.timeout(36000 if LONG else 300)
def test_killed_at_any_instant(request: pytest.FixtureRequest, name: str, most: int) -> None:
    play: Play = request.getfixturevalue(name)
    chance = random.Random(SEED)
    instants = [chance.uniform(0, play.seconds) for _ in range(most if LONG else 1)]
    turn = chance.randrange(len(play.ways))
    none_lost(play, [(play.ways[(turn + n) % len(play.ways)], {"after": one}) for n, one in enumerate(instants)])


def test_a_deploy_that_ended_well_is_undone_later(second: Play) -> None:
    """What may be of use stays: the backup, the database that was replaced, what was kept of other runs."""
    second.begin()
    second.run(expect=0)
    done = second.scene("runs", "rollback", expect=0)
    found = second.scene.state()
    for what, was in second.before.items():
        now = found[what]
        if what == "files":
            was, now = ({path: of for path, of in each.items() if _of_release(path)} for each in (was, now))
        if what == "databases":
            was, now = [APP], now[:1]
        assert now == was, f"{what}:\n{difference(was, now)}\n{done.text}"


def _of_release(path: str) -> bool:
    return not path.startswith(("backups", "apps/.ikoma"))


def none_lost(play: Play, points: list[tuple[str, dict[str, Any]]], of: str = "") -> None:
    lost = []
    for way, kill in points:
        what = play.lost(way, **kill)
        print(f"{play.words[1]} killed {kill}, {way}: {what or 'nothing lost'}", flush=True)
        lost += [f"{play.words[1]} killed {kill}, {way}:\n{what}"] if what else []
    print(f"\n{len(points)} {of}points: {len(lost)} lost")
    assert not lost, f"IKOMA_TESTS_SEED={SEED}\n" + "\n\n".join(lost)
