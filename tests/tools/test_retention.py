"""What releases keep, for how long, and what is left of restores that were killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import NotFound, Refused
from ikoma_play.model import Status
from ikoma_play.platform import databases
from tests.parts.command import CHECKOUT
from tests.parts.platform import free_port
from tests.parts.sandbox import Sandbox, sandbox

__all__ = ["sandbox"]


class Shop:
    """An application on the sandbox with its database."""

    def __init__(self, made: Sandbox) -> None:
        self.sandbox = made
        env = f"PORT={free_port()}\nPOSTGRES_DB=shop\nTOKEN=canary-4711\n"
        self.folder = made.app("shop", {".env": env, "migrations/001_a.sql": "CREATE TABLE a (b int);"})
        self.backups = made.root / "backups"
        for tool in ("db.create", "db.migrate", "deploy.up"):
            self.call(tool)

    def call(self, tool: str, **arguments: Any) -> Any:
        return self.sandbox.call(tool, appName="shop", **arguments)

    def release(self, number: int, verify: bool = True) -> str:
        """A release of its own: only the source differs; its backup is months old."""
        self.back_up(f"shop-2026010{number}-000000.sql", f"2026-01-0{number}T00:00:00Z")
        (self.folder / "src/version").write_text(str(number))
        recorded = self.call("artifact.record_release", ref=f"v{number}").result["release"]
        if verify:
            assert self.call("artifact.verify_release").result["verified"]
        return str(recorded["id"])

    def back_up(self, name: str, at: str) -> None:
        self.call("db.backup", backupName=name)
        record = self.backups / ".ikoma" / f"{name}.json"
        record.write_text(json.dumps(json.loads(record.read_text()) | {"created_at": at}))

    def dumps(self) -> list[str]:
        return sorted(path.name for path in self.backups.glob("*.sql"))


@pytest.fixture
def shop(sandbox: Sandbox) -> Iterator[Shop]:
    made = Shop(sandbox)
    yield made
    made.call("apps.remove", backup=False)
    for path in made.backups.rglob("shop-*"):
        path.unlink()


def test_a_release_says_what_it_takes_to_put_it_back(shop: Shop) -> None:
    id = shop.release(1, verify=False)
    (release, _) = shop.call("artifact.releases").result
    assert release["id"] == id and release["verified"] == "" and "@" in release["who"]
    assert release["migrations"].keys() == {"001_a.sql"} and release["backup"].endswith("shop-20260101-000000.sql")
    env = shop.folder / f".ikoma/releases/{id}.env"
    assert "canary" in env.read_text() and env.stat().st_mode & 0o777 == 0o600
    assert (shop.folder / ".ikoma/sources" / release["kept"] / "src/version").read_text() == "1"
    assert "canary" not in json.dumps(release)
    assert shop.call("artifact.verify_release").result["verified"]
    first = shop.call("artifact.releases").result[0]["verified"]
    shop.call("artifact.verify_release")
    assert first and shop.call("artifact.releases").result[0]["verified"] == first, "when it was verified first counts"


def test_a_backup_of_another_application_is_not_restored(shop: Shop) -> None:
    shop.back_up("shop-20260101-000000.sql", "2026-01-01T00:00:00Z")
    for tool in ("db.restore", "db.verify_backup"):
        with pytest.raises(Refused, match="is a backup of shop, not of another"):
            shop.sandbox.call(tool, appName="another", backupPath="shop-20260101-000000.sql")


def test_the_way_back_leads_to_the_last_verified_release(shop: Shop) -> None:
    with pytest.raises(NotFound, match="no other verified release before"):
        shop.call("artifact.previous_release")
    shop.release(1)
    shop.release(2, verify=False)
    shop.release(3)
    back = shop.call("artifact.previous_release").result
    assert (back["present"]["ref"], back["release"]["ref"], back["database"]) == ("v3", "v1", "restore")
    assert back["backupPath"].endswith("shop-20260103-000000.sql"), "the newest that fits was not chosen"
    assert shop.call("artifact.previous_release", release="v2").result["release"]["ref"] == "v2"
    assert shop.call("artifact.previous_release", keepDatabase=True).result["database"] == "keep"

    newest = shop.backups / "shop-20260103-000000.sql"
    newest.write_text(newest.read_text() + "-- damaged\n")
    passed_over = shop.call("artifact.previous_release").result
    assert passed_over["backupPath"].endswith("shop-20260102-000000.sql")
    assert "is not the backup that was made" in passed_over["plan"][-1]

    shop.call("db.migrate", sql="CREATE TABLE later (i int);")
    shop.call("db.backup", backupName="shop-later.sql")
    assert shop.call("artifact.previous_release").result["backupPath"].endswith("shop-20260102-000000.sql")
    for path in shop.backups.glob("shop-2026*.sql"):
        path.unlink()
    with pytest.raises(NotFound, match="no good backup that fits release v1") as caught:
        shop.call("artifact.previous_release")
    assert "keep_database=true" in caught.value.remedy

    changed = shop.folder / ".ikoma/sources" / back["release"]["kept"] / "src/version"
    changed.write_text("forged")
    with pytest.raises(NotFound, match="its copy was changed"):
        shop.call("artifact.previous_release", release="v1", keepDatabase=True)


def test_the_rule_keeps_what_a_rollback_needs(shop: Shop) -> None:
    ids = [shop.release(number, verify=number < 4) for number in (1, 2, 3, 4, 5)]
    shop.back_up("shop-before-the-move.sql", "2025-01-01T00:00:00Z")
    unproved = ("shop-20260103-000000.sql", "shop-20260104-000000.sql", "shop-20260105-000000.sql")
    for name in (*unproved, "shop-before-the-move.sql"):
        with (shop.backups / name).open("a") as file:
            file.write("-- damaged\n")
    assert shop.call("artifact.prune", keepReleases=9, keepBackups=1, keepDays=100000).result["backups"] == []

    rule = {"keepReleases": 1, "keepBackups": 1, "keepDays": 30}
    would = shop.sandbox.call("artifact.prune", on=shop.sandbox.dry, appName="shop", **rule)
    assert would.status is Status.CHANGED and len(shop.dumps()) == 6
    gone = shop.call("artifact.prune", **rule).result
    left = [release["id"] for release in shop.call("artifact.releases").result]
    assert left == [ids[4], ids[2]], "the last verified release before the present must stay"
    assert sorted(gone["releases"])[1:] == [ids[0], ids[1], ids[3]]
    files = {path.name.partition(".")[0] for path in (shop.folder / ".ikoma/releases").iterdir()}
    assert files == set(left)
    kept = {release["kept"] for release in shop.call("artifact.releases").result}
    assert {path.name for path in (shop.folder / ".ikoma/sources").iterdir()} == kept
    # 02 is the last good one; 03 and 05 are named by releases that stay; a name that somebody chose stays.
    assert shop.dumps() == [
        "shop-20260102-000000.sql",
        "shop-20260103-000000.sql",
        "shop-20260105-000000.sql",
        "shop-before-the-move.sql",
    ]
    assert shop.call("artifact.prune", **rule).status is Status.OK


def test_a_dump_in_the_making_of_another_application_stays(shop: Shop) -> None:
    backups = shop.backups
    backups.mkdir(exist_ok=True)
    dead = backups / "shop-20260101-000000.sql.0123abcd.part"
    others = [backups / "shop-2-20260101-000000.sql.0123abcd.part", backups / "shop-20.sql.0123abcd.part"]
    for path in (dead, *others):
        path.write_text("half")
    shop.call("db.backup", backupName="shop-now.sql")
    assert [path.exists() for path in (dead, *others)] == [False, True, True]


HOLD = """
import sys, time
from ikoma_play.model import Host
from ikoma_play.platform import databases
from ikoma_play.platform.postgres import Server
from ikoma_play.transport.local import LocalTransport
import json
with databases.scratch(Server(LocalTransport(Host("sandbox", (), json.loads(sys.argv[1])))), "shop", "verify") as name:
    print(name, flush=True)
    time.sleep(60)
"""


def test_the_scratch_of_a_killed_restore_is_dropped_and_no_living_one(shop: Shop) -> None:
    argv = [sys.executable, "-c", HOLD, json.dumps(dict(shop.sandbox.on.host.vars))]
    holder = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=CHECKOUT)
    try:
        assert holder.stdout is not None
        name = holder.stdout.readline().strip()
        assert databases.sweep(shop.sandbox.server, "shop") == [], "a living one was dropped"
        assert databases.exists(shop.sandbox.server, name)
    finally:
        holder.kill()
        holder.wait()
    shop.call("db.backup", backupName="shop-now.sql")
    _until_gone(shop, holder.pid)
    early = "shop_verify_0123abcd"  # as of a maker that was killed before it could say what it is
    databases.create(shop.sandbox.server, early)
    assert shop.call("db.verify_backup").result["rows"] == {"a": 0}
    for each in (name, early):
        assert not databases.exists(shop.sandbox.server, each), f"what the killed one left is still there: {each}"


def _until_gone(shop: Shop, pid: int) -> None:
    """The server notices a moment later that a client is gone."""
    import time

    assert not Path(f"/proc/{pid}").exists()
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        if shop.sandbox.sql("postgres", "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'") == []:
            return
        time.sleep(0.05)
