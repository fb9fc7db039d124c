"""The emergency rollback on real Docker and PostgreSQL, with the application broken in every way the runbook fears."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.parts.chance import half
from tests.parts.images import run
from tests.parts.web import ask, ask_json

from .conftest import AUTHORS, COLUMNS, Released


def crash(released: Released) -> None:
    """The image of v2 made anew from code that ends at once: the container restarts again and again."""
    (released.place / "src/guestbook/__main__.py").write_text("raise SystemExit('broken by hand')\n")
    released.host.compose("up", "--detach", "--build")


def drop_database(released: Released) -> None:
    released.host.platform.psql("postgres", f'DROP DATABASE "{released.host.app}" WITH (FORCE)')


def lose_env(released: Released) -> None:
    (released.place / ".env").unlink()


def dirty_source(released: Released) -> None:
    (released.place / "src/guestbook/pages.py").write_text("# edited at 3 a.m.\n")
    (released.place / "src/untracked").write_text("x")
    compose = released.place / "docker-compose.yml"
    compose.write_text(compose.read_text().replace("unless-stopped", "'no'"))


def lose_source(released: Released) -> None:
    shutil.rmtree(released.place / "src")
    (released.place / "docker-compose.yml").unlink()
    shutil.rmtree(released.place / "migrations")


def lose_images(released: Released) -> None:
    """Somebody pruned images, those of former releases too: they are built from the kept source."""
    released.host.compose("down", "--timeout", "1")
    for name in run("docker", "images", "--format", "{{.Repository}}:{{.Tag}}").stdout.split():
        if released.host.app in name:
            run("docker", "rmi", "--force", name)


BROKEN = (crash, drop_database, lose_env, dirty_source, lose_source, lose_images)


@pytest.mark.parametrize("breaking", half(BROKEN), ids=lambda one: one.__name__)
def test_the_release_before_serves_with_its_rows(released: Released, breaking: Callable[[Released], None]) -> None:
    released.host.platform.psql(released.host.app, "INSERT INTO entries (author, message) VALUES ('Eve', 'too late')")
    breaking(released)
    done = released.host.run("rollback", "-e", "yes=true")
    assert "v1" in done.out.split("Say what was done")[1], done
    serves_v1(released)


def serves_v1(released: Released) -> None:
    assert released.release() == "v1"
    assert released.table(COLUMNS) == released.rows, "the rows are not those that v1 had"
    columns = "SELECT count(*) FROM information_schema.columns WHERE column_name = 'mood'"
    assert released.host.platform.psql(released.host.app, columns) == "0"
    page = ask(released.host.url)[1]
    assert all(f"{author} was here" in page for author in AUTHORS) and "too late" not in page
    head = run("git", "-C", str(released.place / "src"), "describe", "--tags", "--exact-match").stdout.strip()
    assert head == "v1", "src/ is no checkout of the release's tag"


def test_a_database_that_a_deploy_left_half_migrated(released: Released) -> None:
    """The deploy of v3 did not come to its end: the last verified release is v2."""
    before = released.table(f"{COLUMNS}, mood")
    released.deploy("v3", "--no-rollback", expect=2)
    assert released.host.platform.psql(released.host.app, "SELECT count(*) FROM entries") == "0"
    told = released.host.run("rollback", "-e", "yes=true")
    assert "a deploy that did not come to its end" in told.out, told
    assert released.release() == "v2" and released.table(f"{COLUMNS}, mood") == before
    assert not (released.place / "migrations/004_half.sql").exists()
    assert ask_json(f"{released.host.url}/health")[0] == 200


def test_a_disk_with_no_room_for_a_copy_of_the_source(released: Released, small_disk: Path) -> None:
    resize(small_disk, str(shutil.disk_usage(small_disk).used + 48 * 1024))
    try:
        with pytest.raises(subprocess.CalledProcessError):
            subprocess.run(["cp", "-r", released.place / "src", small_disk / "copy"], check=True, capture_output=True)
        shutil.rmtree(small_disk / "copy")
        released.host.run("rollback", "-e", "yes=true")
        serves_v1(released)
    finally:
        resize(small_disk, "2g")


def test_a_disk_that_is_read_only(released: Released, small_disk: Path) -> None:
    subprocess.run(["mount", "-o", "remount,ro", small_disk], check=True)
    try:
        told = released.host.run("rollback", "-e", "yes=true", expect=2).text
    finally:
        subprocess.run(["mount", "-o", "remount,rw", small_disk], check=True)
    assert "mounted read-only: remount it" in " ".join(told.split()), told
    released.host.run("rollback", "-e", "yes=true")
    serves_v1(released)


def resize(disk: Path, size: str) -> None:
    subprocess.run(["mount", "-o", f"remount,size={size}", disk], check=True)


def test_postgresql_restarted_in_the_middle(released: Released) -> None:
    """The chosen backup takes a while to restore; meanwhile the server dies and comes back."""
    backups = released.host.folder / "backups"
    fitting = Path(released.host.execute("artifact.previous_release")["backupPath"])
    slow = backups / f"{released.host.app}-slow.sql"
    slow.write_text(fitting.read_text() + "\nSELECT pg_sleep(1.5);\n")
    platform, killed = released.host.platform, threading.Event()
    container = f"{platform.network}-postgres"

    def kill_in_the_middle() -> None:
        busy = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%pg_sleep(1.5)%' AND pid <> pg_backend_pid()"
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            if platform.psql("postgres", busy) != "0":
                subprocess.run(["docker", "restart", "--time", "0", container], check=True, capture_output=True)
                killed.set()
                return

    killer = threading.Thread(target=kill_in_the_middle)
    killer.start()
    try:
        released.host.run("rollback", "-e", "yes=true", "-e", f"backup={slow.name}")
    finally:
        killer.join()
        slow.unlink()
    assert killed.is_set(), "PostgreSQL was not restarted while the backup was restored"
    serves_v1(released)
    scratch = f"SELECT datname FROM pg_database WHERE datname LIKE '{released.host.app}_restore%'"
    left = platform.psql("postgres", scratch)
    assert left == "", f"what the dead server had half restored is left: {left}"


def test_a_rollback_that_was_a_mistake_is_undone(released: Released) -> None:
    released.host.platform.psql(released.host.app, "INSERT INTO entries (author, message) VALUES ('Eve', 'of v2')")
    before = released.table(f"{COLUMNS}, mood")
    files = {path: path.read_bytes() for path in (released.place / "src").rglob("*.py")}
    released.host.run("rollback", "-e", "yes=true")
    assert released.release() == "v1"
    released.host.ikoma("runs", "rollback")
    assert released.release() == "v2" and released.table(f"{COLUMNS}, mood") == before
    assert {path: path.read_bytes() for path in (released.place / "src").rglob("*.py")} == files
    assert "of v2" in ask(released.host.url)[1]


def test_nothing_is_touched_without_consent_or_where_something_is_missing(released: Released) -> None:
    containers = released.host.compose("ps", "--quiet")
    refused = released.host.run("rollback", expect=2)
    assert "Nothing was rolled back" in refused.text and "stop" in refused.text
    unknown = released.host.run("rollback", "-e", "yes=true", "-e", "release=v9", expect=2)
    assert "no release v9" in unknown.text and "v1" in unknown.text
    missing = released.host.run("rollback", "-e", "yes=true", "-e", "backup=none.sql", expect=2)
    assert "there is no backup" in missing.text
    assert released.host.compose("ps", "--quiet") == containers and released.release() == "v2"


def test_a_rehearsal_proves_it_and_touches_nothing_that_serves(released: Released) -> None:
    host = released.host
    before = everything(released)
    told = host.run("rollback", "--rehearse")
    assert "the way back to v1 works; it would take about" in told.out, told
    assert everything(released) == before, "the rehearsal left something, or touched what serves"
    (last, *_) = host.execute("artifact.rehearsals")["rehearsals"]
    assert (
        last["version"] == "v1" and last["rows"]["entries"] == len(released.rows.splitlines()) and last["seconds"] > 0
    )
    assert set(last["parts"]) == {"restore", "source", "start", "stop", "verify"}
    refused = host.run("deploy", "--rehearse", expect=1)
    assert "has no rehearsal" in refused.text and everything(released) == before


def everything(released: Released) -> dict[str, object]:
    """What serves, and what Docker, PostgreSQL and the disk hold, but for the record of rehearsals."""
    host = released.host
    docker = {
        kind: sorted(run("docker", *words).stdout.split())
        for kind, words in {
            "containers": ("ps", "--all", "--no-trunc", "--quiet", "--filter", f"name={host.app}"),
            "networks": ("network", "ls", "--quiet", "--filter", f"name={host.app}"),
            "volumes": ("volume", "ls", "--quiet", "--filter", f"name={host.app}"),
            "images": ("images", "--format", "{{.Repository}}:{{.Tag}}", f"{host.app}*"),
        }.items()
    }
    files = {str(path): path.read_bytes() for path in released.place.rglob("*") if path.is_file()}
    names = f"SELECT datname FROM pg_database WHERE datname LIKE '{host.app}%' ORDER BY 1"
    return {
        **docker,
        "files": {path: data for path, data in files.items() if not path.endswith("rehearsals.json")},
        "databases": host.platform.psql("postgres", names),
        "rows": released.table(f"{COLUMNS}, mood"),
        "started": run("docker", "inspect", "-f", "{{.State.StartedAt}}", *docker["containers"]).stdout,
    }
