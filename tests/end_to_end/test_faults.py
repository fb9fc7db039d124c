"""What a run depends on breaks in the middle of it: it ends in words, and goes on when that is mended."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.command import CHECKOUT, Ikoma
from tests.parts.relay import Relay
from tests.parts.sandbox import Sandbox as Place
from tests.parts.sandbox import SmallDisk
from tests.parts.web import ask_json

from .conftest import DockerHost

HEAD = "- name: Try it\n  hosts: localhost\n  gather_facts: false\n  tasks:\n"
WAITS = "    - {name: Waits, shell: 'touch at; while [ ! -e go ]; do sleep 0.05; done', args: {creates: never}}\n"
MAKES = "    - {name: Makes, copy: {dest: '{{ playbook_dir }}/made', content: x}}\n"


@pytest.fixture
def ikoma(tmp_path: Path) -> Ikoma:
    return Ikoma(tmp_path)


def shown(ikoma: Ikoma) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(ikoma("runs", "show", "--json").out)
    return data


def until(true: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + 90
    while not true():
        assert time.monotonic() < end, what
        time.sleep(0.05)


def started(ikoma: Ikoma, *words: str) -> subprocess.Popen[str]:
    """A run under way; it is this process that ends it."""
    environment = {**os.environ, "PYTHONPATH": str(CHECKOUT), **ikoma.environment}
    argv = [sys.executable, "-m", "ikoma_play", "run", *words]
    return subprocess.Popen(
        argv, cwd=ikoma.folder, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


# --- the journal's disk and file ---


def test_the_journals_disk_fills_up(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", "8m") as disk:
        ikoma = Ikoma(tmp_path, {"IKOMA_STATE": f"sqlite:{disk}/journal.db"})
        fills = f"    - {{name: Fills, shell: 'dd if=/dev/zero of={disk}/fill bs=4k || true', args: {{creates: x}}}}\n"
        many = "".join(f"    - {{name: s{each}, debug: {{msg: '{'x' * 2000}'}}}}\n" for each in range(30))
        (tmp_path / "p.yml").write_text(HEAD + fills + many + MAKES)
        done = ikoma("run", "p.yml", expect=2)
        assert "journal" in done.err and "disk is full" in done.err
        assert not (tmp_path / "made").exists(), "a step ran that could not be written down"
        (disk / "fill").unlink()
        (tmp_path / "x").touch()
        assert shown(ikoma)["state"] == "died"
        ikoma("runs", "resume")
        assert shown(ikoma)["state"] == "done" and (tmp_path / "made").exists()


def test_the_journals_file_system_is_read_only(tmp_path: Path) -> None:
    with SmallDisk(tmp_path / "disk", "800k") as disk:
        ikoma = Ikoma(tmp_path, {"IKOMA_STATE": f"sqlite:{disk}/journal.db"})
        (tmp_path / "p.yml").write_text(HEAD + MAKES)
        ikoma("run", "p.yml")
        (tmp_path / "made").unlink()
        subprocess.run(["mount", "-o", "remount,ro", str(disk)], check=True)
        done = ikoma("run", "p.yml", expect=1)
        assert "nothing was run" in done.err and "Read-only" in done.err
        assert not (tmp_path / "made").exists()


def test_another_program_keeps_the_journal(ikoma: Ikoma) -> None:
    (ikoma.folder / "p.yml").write_text(HEAD + MAKES)
    ikoma("run", "p.yml")
    (ikoma.folder / "made").unlink()
    other = sqlite3.connect(ikoma.folder / ".ikoma/journal.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        done = ikoma("run", "p.yml", expect=1)
    finally:
        other.close()
    assert "nothing was run" in done.err and "is held by another program" in done.err
    assert not (ikoma.folder / "made").exists(), "a step ran that was not written down"
    ikoma("run", "p.yml")


def test_a_journal_that_is_damaged_inside(ikoma: Ikoma) -> None:
    (ikoma.folder / "p.yml").write_text(HEAD + MAKES)
    ikoma("run", "p.yml")
    (ikoma.folder / "made").unlink()
    path = ikoma.folder / ".ikoma/journal.db"
    content = bytearray(path.read_bytes())
    content[4096:] = os.urandom(len(content) - 4096)  # the first page tells SQLite that all is well
    path.write_bytes(content)
    for beside in path.parent.glob("journal.db-*"):
        beside.unlink()
    done = ikoma("run", "p.yml", expect=1)
    assert (
        "nothing was run" in done.err
        and "is damaged" in done.err
        and f"mv {path.relative_to(ikoma.folder)}" in done.err
    )
    assert not (ikoma.folder / "made").exists(), "a step ran that was not written down"


# --- the clock ---

CLOCK = """\
import os, sys, time
real, days = time.time, lambda: 86400 * len([name for name in os.listdir() if name.startswith("back")])
time.time = lambda: real() - days()
from ikoma_play.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


def test_the_clock_is_set_back(ikoma: Ikoma) -> None:
    """By a day in the middle of a run, and by another before the next one."""
    clock = ikoma.folder / "clock.py"
    clock.write_text(CLOCK)

    def at(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, str(clock), *words]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT)}
        return subprocess.run(argv, cwd=ikoma.folder, env=environment, capture_output=True, text=True, check=False)

    (ikoma.folder / "p.yml").write_text(
        f"{HEAD}    - {{name: First, shell: touch back1}}\n    - {{name: Second, command: 'true'}}\n{MAKES}"
    )
    (ikoma.folder / "q.yml").write_text(f"{HEAD}    - {{name: Broken, shell: 'test -e fine'}}\n{MAKES}")
    assert at("run", "p.yml").returncode == 0
    run = shown(ikoma)
    assert [step["title"] for step in run["steps"]] == ["First", "Second", "Makes"]
    assert all(step["outcome"]["seconds"] >= 0 for step in run["steps"])
    (ikoma.folder / "back2").touch()
    (ikoma.folder / "made").unlink()
    assert at("run", "q.yml").returncode == 2
    assert "-" not in at("runs", "list").stdout.split("took")[1].split("who")[0]
    (ikoma.folder / "fine").touch()
    done = at("runs", "resume")
    assert done.returncode == 0, f"the newest run is not the last one that began\n{done.stderr}"
    assert (ikoma.folder / "made").exists()


# --- PostgreSQL ---


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    here = Place(tmp_path_factory.mktemp("faults"))
    try:
        here.call("platform.up")
        yield here
    finally:
        here.call("platform.down", remove=True)


def kill_postgresql(place: Place) -> None:
    """As the kernel would when memory runs out; its supervisor starts it again."""
    os.kill(int((place.root / "postgres/data/postmaster.pid").read_text().split()[0]), signal.SIGKILL)


def answers(place: Place) -> bool:
    try:
        return place.sql("postgres", "SELECT 1") == [(1,)]
    except Exception:
        return False


def test_postgresql_is_killed_in_the_middle_of_a_migration(place: Place) -> None:
    place.call("apps.init", appName="shop")
    place.call("db.create", appName="shop")
    ikoma = Ikoma(place.folder)
    step = "{name: Migrates, db.migrate: {appName: shop, sql: \"{{ lookup('file', playbook_dir ~ '/statement') }}\"}}"
    (ikoma.folder / "p.yml").write_text(f"{HEAD}    - {step}\n{MAKES}".replace("localhost", "sandbox"))
    (ikoma.folder / "statement").write_text("CREATE TABLE half (n int); SELECT pg_sleep(600)")
    run = started(ikoma, "p.yml")
    busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(600)%' AND datname = 'shop'"
    until(lambda: place.sql("postgres", busy) == [(1,)], "the migration did not begin")
    kill_postgresql(place)
    out, _ = run.communicate(timeout=120)
    assert run.returncode == 2 and "failed: [sandbox] Migrates" in out, out
    assert "Traceback" not in out and "internal" not in out
    until(lambda: answers(place), "PostgreSQL did not come back")
    assert place.sql("shop", "SELECT to_regclass('half')") == [(None,)], "half a migration stays"
    (ikoma.folder / "statement").write_text("CREATE TABLE whole (n int)")
    ikoma("runs", "resume")
    assert place.sql("shop", "SELECT to_regclass('whole')") == [("whole",)] and (ikoma.folder / "made").exists()


def test_the_journals_postgresql_is_killed_in_the_middle_of_a_step(place: Place, tmp_path: Path) -> None:
    found = place.cluster.coordinates()
    assert found is not None
    url = f"postgresql://{found.user}:{found.password}@{found.host}:{found.port}/postgres"
    ikoma = Ikoma(tmp_path, {"IKOMA_STATE": url})
    (tmp_path / "p.yml").write_text(HEAD + WAITS + MAKES)
    run = started(ikoma, "p.yml")
    until((tmp_path / "at").exists, "the run did not come to its step")
    kill_postgresql(place)
    (tmp_path / "go").touch()
    out, _ = run.communicate(timeout=120)
    assert run.returncode == 2 and "the journal's PostgreSQL" in out and found.password not in out, out
    assert not (tmp_path / "made").exists(), "a step ran that could not be written down"
    until(lambda: answers(place), "PostgreSQL did not come back")
    assert [step["state"] for step in shown(ikoma)["steps"]] == ["started"]
    ikoma("runs", "resume")
    assert shown(ikoma)["state"] == "done" and (tmp_path / "made").exists()


# --- the Docker Engine ---


def test_the_docker_engine_is_gone_in_the_middle_of_a_step(docker_host: DockerHost) -> None:
    relay = Relay("/var/run/docker.sock", b"/containers/create")
    through = Ikoma(docker_host.folder, {"DOCKER_HOST": relay.address})
    done = through("run", "deploy", "-i", "hosts.yml", "--no-rollback", expect=2)
    assert relay.broken.is_set(), "the deploy did not come to creating a container"
    assert "failed: [here] Bring the services up" in done.out and "Docker" in done.out, done
    whole = Relay("/var/run/docker.sock")
    try:
        again = Ikoma(docker_host.folder, {"DOCKER_HOST": whole.address})
        again("runs", "resume")
    finally:
        whole.close()
    assert ask_json(f"{docker_host.url}/health")[0] == 200
