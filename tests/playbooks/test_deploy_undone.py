"""A deploy that fails after any of its steps leaves the host as it was: files bit for bit, the database row for row.

The steps are read from the playbook itself; the same failure is put in behind half of those that may change
something or are the last, chosen by chance, with IKOMA_TESTS_LONG=1 behind every one.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.engine import PlannedStep
from tests.parts.chance import LONG, half
from tests.parts.command import CHECKOUT, Finished, Ikoma
from tests.parts.platform import free_port
from tests.parts.sandbox import Sandbox
from tests.parts.undone import difference, failing_after, rows, steps, tree
from tests.parts.web import ask, ask_json

GUESTBOOK = CHECKOUT / "playbooks/examples/guestbook"
DEPLOY = CHECKOUT / "playbooks/deploy.yml"
STEPS = steps()
# Behind a step that only looks the same is to be undone as behind the one before: all of them take long.
BEHIND = [step for step in STEPS if LONG or step.undo or step is STEPS[-1]]
# What lives on while the platform runs, and what tells of the attempt.
LIVING = (r"postgres(/|$)", r"journal\.db", r"audit\.jsonl", r"supervisor/(?!programs|conf\.d)", r"supervisor$")
every_step = pytest.mark.parametrize("step", half(BEHIND), ids=lambda step: step.title)


class Deployed:
    """A sandbox whose guestbook, if there is one, is to stay as it is."""

    def __init__(self, folder: Path) -> None:
        self.ikoma = Ikoma(folder)
        self.sandbox = Sandbox(folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.playbook = folder / "failing"

    def state(self) -> dict[str, Any]:
        states = self.sandbox.supervisor.states()
        return {
            "files": tree(self.sandbox.root, LIVING),
            "rows": rows(self.sandbox.on.host, "guestbook"),
            "services": {name: state.up for name, state in states.items() if "." in name},
        }

    def deploy(self, playbook: str | Path, *words: str, expect: int | None = 0) -> Finished:
        return self.ikoma("run", str(playbook), "-e", f"port={self.port}", *words, "--json", expect=expect)

    def fails_and_is_undone(self, playbook: Path, *words: str) -> Finished:
        """Run what has to fail, and compare; exit code 3 where there was something to undo, else 2."""
        before = self.state()
        done = self.deploy(playbook, *words, expect=None)
        undoable = {step.title for step in STEPS if step.undo}
        touched = undoable & {*done.steps("changed"), *done.steps("failed")}
        assert done.code == (3 if touched else 2), done
        after = self.state()
        for what, was in before.items():
            assert after[what] == was, f"{what} differ\n{difference(was, after[what])}\n{done}"
        return done


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A platform on which nothing was deployed yet."""
    made = Deployed(tmp_path_factory.mktemp("empty"))
    try:
        made.ikoma("exec", "platform.up")
        yield made
    finally:
        made.ikoma("run", "sandbox-down", "-e", "remove=true")


@pytest.fixture(scope="module")
def serving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """A first release that serves, with an entry that somebody wrote."""
    made = Deployed(tmp_path_factory.mktemp("serving"))
    try:
        made.deploy("deploy")
        ask(made.url, {"author": "Ada", "message": "written meanwhile"})
        yield made
    finally:
        made.ikoma("run", "sandbox-down", "-e", "remove=true")


@pytest.fixture(scope="module")
def second(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A second release: other code, another compose file, a further migration and seed, a configuration."""
    source = tmp_path_factory.mktemp("second") / "source"
    shutil.copytree(GUESTBOOK, source)
    migration = "UPDATE entries SET author = 'x';\nALTER TABLE entries ADD mood text;\n"
    (source / "migrations/003_add_mood.sql").write_text(migration)
    (source / "seeds/002_more.sql").write_text("INSERT INTO entries (author, message) VALUES ('seed', 'second');\n")
    (source / "config").mkdir()
    (source / "config/new.conf").write_text("new")
    server = source / "guestbook/server.py"
    server.write_text(server.read_text() + "# second\n")
    compose = source / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("interval: 2s", "interval: 1s"))
    return source


@every_step
def test_a_first_deploy_that_fails_leaves_no_trace(empty: Deployed, step: PlannedStep) -> None:
    empty.fails_and_is_undone(failing_after(step, empty.playbook))


@every_step
def test_a_second_deploy_that_fails_leaves_the_first_serving(
    serving: Deployed, second: Path, step: PlannedStep
) -> None:
    words = ("-e", f"source={second}", "-e", json.dumps({"env": {"PORT": serving.port, "GUESTBOOK_TITLE": "Second"}}))
    serving.fails_and_is_undone(failing_after(step, serving.playbook), *words)
    assert ask_json(f"{serving.url}/health")[1]["entries"] == 2
    assert "written meanwhile" in ask(serving.url)[1]


def test_the_failing_step_is_undone_too(serving: Deployed, second: Path, tmp_path: Path) -> None:
    """Of two migrations the second fails: the first was applied on its own, and is not any more."""
    source = tmp_path / "source"
    shutil.copytree(second, source)
    (source / "migrations/004_broken.sql").write_text("SELECT no_such_function();")
    done = serving.fails_and_is_undone(DEPLOY, "-e", f"source={source}")
    assert done.steps("failed") == ["Apply the migrations"], done


def test_services_that_do_not_come_up_are_undone(serving: Deployed, second: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    shutil.copytree(second, source)
    (source / "guestbook/__main__.py").write_text("raise SystemExit('it does not start')\n")
    done = serving.fails_and_is_undone(DEPLOY, "-e", f"source={source}")
    assert "it does not start" in done.text
    assert ask_json(f"{serving.url}/health")[0] == 200


def test_migrations_with_a_way_back_of_their_own_keep_what_was_written_meanwhile(
    serving: Deployed, tmp_path: Path
) -> None:
    """One says it below a line, one in a file beside; the last seed fails after somebody wrote an entry."""
    source = tmp_path / "source"
    shutil.copytree(GUESTBOOK, source)
    (source / "migrations/003_mood.sql").write_text(
        "ALTER TABLE entries ADD mood text;\n-- rollback\nALTER TABLE entries DROP mood;\n"
    )
    (source / "migrations/004_stars.sql").write_text("ALTER TABLE entries ADD stars int;\n")
    (source / "migrations/004_stars.down.sql").write_text("ALTER TABLE entries DROP stars;\n")
    # As if by a visitor: a session of its own, which the failing transaction does not take along.
    (source / "migrations/005_visitor.sql").write_text(
        "CREATE TABLE visit (id int);\nINSERT INTO visit VALUES (1);\n-- rollback\n"
        "INSERT INTO entries (author, message) SELECT 'Bo', 'visited ' || id FROM visit;\nDROP TABLE visit;\n"
    )
    (source / "seeds/002_broken.sql").write_text("SELECT no_such_function();")
    before = serving.state()
    done = serving.deploy(DEPLOY, "-e", f"source={source}", expect=3)
    assert done.steps("failed") == ["Load the seeds"], done
    after = serving.state()
    assert after["files"] == before["files"], difference(before["files"], after["files"])
    assert "visited 1" in ask(serving.url)[1], "the ways back were not run, or not in reverse"
    assert "mood" not in after["rows"][1] and "stars" not in after["rows"][1]
    serving.sandbox.sql("guestbook", "DELETE FROM entries WHERE author = 'Bo'")


def test_a_way_back_that_fails_names_what_a_person_must_look_at(
    serving: Deployed, second: Path, tmp_path: Path
) -> None:
    """What was kept of the source is taken away before it is needed: the others are undone, the exit code is 5."""
    playbook = failing_after(next(step for step in STEPS if step.tool == "db.status"), tmp_path / "failing")
    took = "- name: Lose what was kept\n  shell: rm -rf {{ ikoma_apps_root }}/.ikoma/undo/*/{{ ikoma_run }}/*/src\n"
    roles = tmp_path / "failing/roles/database/tasks/main.yml"
    roles.write_text(took + "\n" + roles.read_text())
    before = serving.state()
    source = serving.sandbox.root / "apps/guestbook/src"
    former = tmp_path / "former"
    shutil.copytree(source, former)
    try:
        done = serving.ikoma("run", str(playbook), "-e", f"port={serving.port}", "-e", f"source={second}", expect=5)
        assert "the former source, kept as" in done.text and "is gone" in done.text, done
        assert "Undo: Put the source in place" in done.text, done
        assert serving.state()["rows"] == before["rows"], "the database was not undone after the failure"
    finally:
        serving.deploy("deploy")


def test_what_older_runs_kept_goes_in_the_end(empty: Deployed, tmp_path: Path) -> None:
    playbook = tmp_path / "six.yml"
    playbook.write_text(
        "- hosts: apps\n  tasks:\n"
        "    - apps.init: {appName: other}\n      rollback: auto\n"
        "    - copy: {dest: '{{ ikoma_apps_root }}/other/docker-compose.yml', content: 'services: {}'}\n"
        "    - apps.env.write: {appName: other, values: {NUMBER: '{{ number }}'}}\n      rollback: auto\n"
    )
    kept = empty.sandbox.root / "apps/.ikoma/undo/other"
    for number in range(7):
        empty.ikoma("run", str(playbook), "-e", f"number={number}")
    assert len(list(kept.iterdir())) == 5
    newest = max(kept.iterdir())
    assert [path.read_text() for path in newest.rglob("1")] == ["NUMBER=5\n"], "the former .env is not kept"
    modes = {path.stat().st_mode & 0o777 for path in (kept.parents[1], *kept.iterdir())}
    assert modes == {0o700}, "others can look in"
    shutil.rmtree(kept)
    shutil.rmtree(empty.sandbox.root / "apps/other")
