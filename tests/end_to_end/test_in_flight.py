"""The step that was under way when a run was killed: done once in the end, and nobody is asked about it, wherever its
tool can tell or may be called twice."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.platform import databases
from tests.end_to_end.test_faults import started
from tests.parts.chance import half
from tests.parts.command import Ikoma
from tests.parts.crashing import nursery
from tests.parts.sandbox import Sandbox
from tests.parts.undone import tree

BOOK = """\
- hosts: sandbox
  gather_facts: false
  vars:
    ikoma_contacts: {me: {command: [touch, told]}}
  steps:
    - name: Look
      db.status: {appName: shop}
      register: before
    - name: Back up
      db.backup: {appName: shop}
      register: dump
    - name: Restore
      db.restore: {appName: shop, backupPath: "{{ dump.result.backupPath }}"}
      register: restored
    - name: Tell
      platform.notify: {message: it is restored, contacts: [me]}
    - name: Count
      shell: {cmd: "echo once >> counted; touch made", creates: made}
    - name: Keep what is known
      copy: {dest: known, content: "{{ restored.result.previousDatabase }}"}
"""


def exec_(ikoma: Ikoma, tool: str, *words: str) -> Any:
    return json.loads(ikoma("exec", tool, *words).out)


def test_a_step_under_way_is_done_once_and_nobody_is_asked(tmp_path: Path) -> None:
    ikoma, server = Ikoma(tmp_path), Sandbox(tmp_path).server
    (tmp_path / "p.yml").write_text(BOOK)
    try:
        exec_(ikoma, "platform.up")
        exec_(ikoma, "apps.init", "appName=shop")
        exec_(ikoma, "db.create", "appName=shop")
        exec_(ikoma, "db.migrate", "appName=shop", "sql=CREATE TABLE notes AS SELECT n FROM generate_series(1, 9) n;")
        with nursery() as mortal:
            whole = mortal(tmp_path, "run", "p.yml", expect=0)
            assert whole.writes > 10
            times = 1
            for number in half(range(2, whole.writes + 1)):
                for name in ("made", "counted"):
                    (tmp_path / name).unlink()
                assert mortal(tmp_path, "run", "p.yml", at=(number, "before")).killed
                done = mortal(tmp_path, "runs", "resume")
                assert done.code == 0, (number, done.text)
                times += 1
                found = ikoma("exec", "--json", "db.status", "appName=shop").out
                assert json.loads(found)["result"]["tables"] == ["notes"]
                assert len(exec_(ikoma, "platform.notifications", "most=500")["notifications"]) == times, number
                assert (tmp_path / "counted").read_text() == "once\n", number
                known = (tmp_path / "known").read_text()
                names = databases.named_after(server, "shop")
                assert len(names) == times, f"restored twice where it was killed before write {number}"
                assert known == names[-1]
                dumps = exec_(ikoma, "db.backups", "appName=shop")
                assert len(dumps) == times, f"dumped twice where it was killed before write {number}"
                assert all(dump["sha256"] for dump in dumps), number
    finally:
        ikoma("run", "sandbox-down", "-e", "remove=true", expect=None)


def killed_once(ikoma: Ikoma, seen: Callable[[], bool]) -> None:
    """A run that is killed at the moment when something is seen."""
    running = started(ikoma, "p.yml")
    until = time.monotonic() + 60
    while not seen():
        assert running.poll() is None and time.monotonic() < until, "nothing was seen under way"
        time.sleep(0.002)
    running.kill()
    running.wait()


def test_a_source_that_was_cut_off_leaves_nothing_behind(tmp_path: Path) -> None:
    ikoma, apps = Ikoma(tmp_path), Sandbox(tmp_path).root / "apps"
    source = tmp_path / "source"
    (source / "src").mkdir(parents=True)
    (source / "docker-compose.yml").write_text("services: {}\n")
    for number in range(30):
        (source / f"src/{number}").write_bytes(b"x" * 10_000_000)
    steps = [
        {"apps.init": {"appName": "shop"}, "rollback": "auto"},
        {"apps.source": {"appName": "shop", "source": str(source)}, "rollback": "auto"},
    ]
    (tmp_path / "p.yml").write_text(json.dumps([{"hosts": "sandbox", "gather_facts": False, "steps": steps}]))
    try:
        exec_(ikoma, "platform.up")
        before = tree(apps)
        killed_once(ikoma, lambda: bool(list(apps.glob("shop/.ikoma/incoming-*"))))
        assert list(apps.glob("shop/.ikoma/incoming-*"))
        ikoma("runs", "rollback", expect=0)
        assert tree(apps) == before
    finally:
        ikoma("run", "sandbox-down", "-e", "remove=true", expect=None)


@pytest.mark.parametrize("way", ["resume", "rollback"])
def test_a_dump_that_was_cut_off_leaves_nothing_behind(tmp_path: Path, way: str) -> None:
    ikoma, backups = Ikoma(tmp_path), Sandbox(tmp_path).root / "backups"
    step = {"name": "Back up", "db.backup": {"appName": "shop"}, "rollback": "auto"}
    (tmp_path / "p.yml").write_text(json.dumps([{"hosts": "sandbox", "gather_facts": False, "steps": [step]}]))
    try:
        exec_(ikoma, "platform.up")
        exec_(ikoma, "apps.init", "appName=shop")
        exec_(ikoma, "db.create", "appName=shop")
        rows = "SELECT n, repeat('x', 200) AS t FROM generate_series(1, 400000) n"
        exec_(ikoma, "db.migrate", "appName=shop", f"sql=CREATE TABLE many AS {rows};")
        before = tree(backups)
        killed_once(ikoma, lambda: any(part.stat().st_size for part in backups.glob("*.part")))
        assert list(backups.glob("*.part"))
        ikoma("runs", way, expect=0)
        found = sorted(path.name.partition("-")[0] + path.suffix for path in backups.iterdir() if path.is_file())
        assert found == (["shop.sha256", "shop.sql"] if way == "resume" else [])
        assert way == "resume" or tree(backups) == before
    finally:
        ikoma("run", "sandbox-down", "-e", "remove=true", expect=None)
