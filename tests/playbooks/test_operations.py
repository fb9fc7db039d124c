"""The playbooks of operation on a real sandbox with the guestbook, through the real command."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.parts.command import CHECKOUT, Finished, Ikoma
from tests.parts.platform import free_port
from tests.parts.serving import Service
from tests.parts.web import ask, ask_json


class Guestbook:
    """The guestbook on a sandbox in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.ikoma = Ikoma(folder)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.home = folder / ".ikoma/apps/guestbook"

    def run(self, playbook: str, *words: str, expect: int = 0) -> Finished:
        return self.ikoma("run", playbook, "-e", f"port={self.port}", *words, expect=expect)

    def write(self, message: str) -> None:
        assert ask(self.url, {"author": "Ada", "place": "here", "message": message})[0] == 200

    def page(self) -> str:
        return ask(self.url)[1]


@pytest.fixture
def guestbook(tmp_path: Path) -> Iterator[Guestbook]:
    made = Guestbook(tmp_path)
    try:
        made.run("deploy")
        yield made
    finally:
        made.ikoma("run", "sandbox-down", "-e", "remove=true")


def test_an_application_is_operated_by_playbooks(guestbook: Guestbook) -> None:
    missing = guestbook.run("checklist", expect=2)
    assert "[ ] a backup is there and restores" in missing.text, f"the missing backup was not told\n{missing}"
    assert "[x] the release is verified" in missing.text, f"what is proved was not ticked\n{missing}"

    document = json.loads(guestbook.ikoma("exec", "artifact.generate_runbook", "appName=guestbook").out)["markdown"]
    assert f"apps.source appName=guestbook source={CHECKOUT}/playbooks/examples/guestbook\n" in document
    assert "\n1. Arrêter la version actuelle\n" in document, "with no release to go back to there is one way only"

    guestbook.write("before the backup")
    backup = guestbook.run("backup", "--json")
    proved = next(e for e in backup.events if e["event"] == "step_finished" and "scratch" in e["title"])["outcome"]
    assert proved["result"]["rows"]["entries"] >= 2, f"the rows of the backup were not counted\n{backup}"

    assert re.search(r"guestbook-[\d-]+\.sql restores; rows: entries \d+", guestbook.run("backup").text)
    ticked = guestbook.run("checklist").text
    assert "[x] a backup is there and restores" in ticked and "[ ]" not in ticked, ticked

    guestbook.write("after the backup")
    refused = guestbook.run("restore", "-e", "yes=false", expect=2)
    assert "Nothing was restored" in refused.text and "after the backup" in guestbook.page()
    restored = guestbook.run("restore", "-e", "yes=true", "--json")
    assert len(restored.steps("changed")) == 2, f"the application was not restarted after the restore\n{restored}"
    assert "is in place; the database before is kept as guestbook_before_" in restored.out
    page = guestbook.page()
    assert "before the backup" in page and "after the backup" not in page, "the newest backup was not restored"

    guestbook.run("restart")
    assert ask_json(f"{guestbook.url}/health")[0] == 200
    assert "guestbook is healthy" in guestbook.run("health").text
    assert "web" in guestbook.run("logs", "-e", "tail=5").out

    guestbook.run("stop")
    ill = guestbook.run("health", expect=2)
    assert "guestbook is " in ill.text, f"the stopped application was not named\n{ill}"

    refused = guestbook.run("remove", "-e", "yes=false", expect=2)
    assert "Nothing was removed" in refused.text and guestbook.home.exists()
    removed = guestbook.run("remove", "-e", "yes=true").text
    assert "removed database, files; the last backup is" in " ".join(removed.split()), removed
    assert "that restores put aside stay: guestbook_before_" in removed, removed
    assert not guestbook.home.exists()
    assert "there is no application guestbook" in guestbook.run("remove", "-e", "yes=true").text
    left = json.loads(guestbook.ikoma("exec", "db.backups", "appName=guestbook").out)
    assert len(left) == 3, f"the last backup is missing: {left}"


def test_what_a_server_runs_by_itself(guestbook: Guestbook, tmp_path: Path) -> None:
    """Each of the shipped schedules, as the server runs it."""
    people = {"ikoma_team": ["devs"], "ikoma_contacts": {"devs": {"command": ["tee", str(tmp_path / "told.json")]}}}
    for name in ("Nightly backup", "Nightly retention", "Health", "Weekly review of the audit log"):
        guestbook.run("schedules", "--schedule", name)
    guestbook.run("schedules", "--schedule", "Quarterly review of the runbook", "-e", json.dumps(people))
    assert "quarterly review" in (tmp_path / "told.json").read_text()
    assert len(json.loads(guestbook.ikoma("exec", "db.backups", "appName=guestbook").out)) == 1
    listed = guestbook.ikoma("schedules", "schedules").out
    assert "Nightly backup" in listed and "02:30:00" in listed, listed


def test_a_server_runs_the_shipped_schedules(guestbook: Guestbook, tmp_path: Path) -> None:
    """At the times of a test: backups and their retention in turns, health each second, told when it fails."""
    shipped = (CHECKOUT / "playbooks/schedules.yml").read_text()
    often = {"30 2 * * *": "*/10 * * * * *", "30 3 * * *": "5-55/10 * * * * *", "*/5 * * * *": "* * * * * *"}
    for nightly, soon in often.items():
        assert shipped.count(nightly) == 1
        shipped = shipped.replace(nightly, soon)
    (tmp_path / "playbooks").mkdir()
    (tmp_path / "playbooks/schedules.yml").write_text(shipped)
    told = tmp_path / "told.json"
    host = yaml.safe_load((CHECKOUT / "inventory.yml").read_text())["all"]["children"]["apps"]["hosts"]["sandbox"]
    host |= {"port": guestbook.port, "keep_backups": 1, "keep_days": 0, "ikoma_production": True}
    host["ikoma_contacts"] = {"platform": {"command": ["tee", "-a", str(told)]}}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"children": {"apps": {"hosts": {"sandbox": host}}}}}))
    server = Service(tmp_path, words=("--schedules", "schedules", "-i", "hosts.yml", "--lock-timeout", "60"))
    try:
        server.start()

        def done(name: str) -> list[str]:
            runs = json.loads(guestbook.ikoma("runs", "list", "--json").out)
            return [run["state"] for run in runs if run["who"] == f"schedule:{name}"]

        def thinned() -> bool:
            left = json.loads(guestbook.ikoma("exec", "db.backups", "appName=guestbook").out)
            return 1 <= len(left) < done("Nightly backup").count("done")

        names = ("Nightly backup", "Nightly retention", "Health")
        server.until(lambda: all("done" in done(name) for name in names) and thinned(), 240)
        assert not told.exists(), told.read_text()
        guestbook.run("stop")
        server.until(told.exists, 240)
    finally:
        server.stop()
    assert "guestbook is unhealthy" in told.read_text() and "P2" in told.read_text()


def test_a_backup_that_does_not_restore_is_told_and_leaves_no_scratch(guestbook: Guestbook) -> None:
    backups = guestbook.home.parents[1] / "backups"
    backups.mkdir(exist_ok=True)
    sound, broken = backups / "guestbook-sound.sql", backups / "guestbook-broken.sql"
    sound.write_text("CREATE TABLE seen AS SELECT datname FROM pg_database;\n")
    broken.write_text("CREATE TABLE half (i int);\nSELECT nosuch;\n")

    def verify(path: Path, expect: int | None = 0) -> Finished:
        return guestbook.ikoma("exec", "db.verify_backup", "appName=guestbook", f"backupPath={path}", expect=expect)

    # How many databases there are while it is restored, its own scratch among them.
    first = json.loads(verify(sound).out)["rows"]["seen"]
    told = verify(broken, expect=None)
    assert told.code != 0 and "nosuch" in told.text, f"the broken dump was not told\n{told}"
    assert json.loads(verify(sound).out)["rows"]["seen"] == first, "a scratch database was left"


def test_a_backup_that_was_cut_short_is_refused(guestbook: Guestbook) -> None:
    guestbook.run("backup")
    (dump,) = (guestbook.home.parents[1] / "backups").glob("*.sql")
    dump.write_bytes(dump.read_bytes()[:400])
    told = guestbook.ikoma("exec", "db.verify_backup", "appName=guestbook", expect=2)
    assert dump.name in told.text and "sha256" in told.text, f"the damaged file was not named\n{told}"
    guestbook.write("still served")
    guestbook.run("restore", "-e", "yes=true", expect=2)
    assert "still served" in guestbook.page(), "a damaged backup took the place of the database"


def test_a_source_that_is_no_checkout_is_rolled_back_and_rehearsed(guestbook: Guestbook, tmp_path: Path) -> None:
    guestbook.write("of the first")
    second = tmp_path / "second"
    shutil.copytree(CHECKOUT / "playbooks/examples/guestbook", second)
    (second / "migrations/003_mood.sql").write_text("ALTER TABLE entries ADD COLUMN mood text;\n")
    (second / "guestbook/second.txt").write_text("2")
    guestbook.run("deploy", "-e", f"source={second}")
    guestbook.write("of the second")

    assert "[ ] the rollback was rehearsed" in guestbook.run("checklist", expect=2).text
    told = guestbook.run("rollback", "--rehearse").text
    assert "works; it would take about" in told and "of the second" in guestbook.page()
    assert "[x] the rollback was rehearsed" in guestbook.run("checklist").text

    shutil.rmtree(second)
    shutil.rmtree(guestbook.home / "src")
    (guestbook.home / ".env").unlink()
    guestbook.run("rollback", "-e", "yes=true")
    page = guestbook.page()
    assert "of the first" in page and "of the second" not in page
    assert not (guestbook.home / "src/guestbook/second.txt").exists()
    again = guestbook.run("rollback", "-e", "yes=true", expect=2)
    assert "which a rollback put back" in again.text and "release=" in again.text


def test_a_release_of_long_ago_can_be_chosen_and_the_way_there_undone(guestbook: Guestbook, tmp_path: Path) -> None:
    guestbook.write("of the first")
    for number in ("2", "3"):
        source = tmp_path / f"source{number}"
        shutil.copytree(CHECKOUT / "playbooks/examples/guestbook", source)
        (source / "migrations/003_mood.sql").write_text("ALTER TABLE entries ADD COLUMN mood text;\n")
        (source / "guestbook/version.txt").write_text(number)
        guestbook.run("deploy", "-e", f"source={source}")
        guestbook.write(f"of version {number}")
    oldest = json.loads(guestbook.ikoma("exec", "artifact.releases", "appName=guestbook").out)[-1]

    guestbook.run("rollback", "-e", "yes=true", "-e", f"release={oldest['id']}")
    assert "of the first" in guestbook.page() and "of version" not in guestbook.page()
    assert not (guestbook.home / "src/guestbook/version.txt").exists()

    guestbook.ikoma("runs", "rollback")
    assert "of version 2" in guestbook.page() and "of version 3" in guestbook.page(), "rows were lost"
    assert (guestbook.home / "src/guestbook/version.txt").read_text() == "3"
    assert "[x] the release is verified" in guestbook.run("checklist", expect=2).text
