"""Single calls (`exec`) of tools that know how they are undone: recorded as a step with `rollback: auto` is, and undone
by `runs rollback`."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.platform.kept import RUNS
from tests.parts.command import Ikoma
from tests.parts.crashing import nursery

KEPT = ".ikoma/kept"


@pytest.fixture
def ikoma(tmp_path: Path) -> Ikoma:
    return Ikoma(tmp_path, {"HOME": str(tmp_path / "home")})


@pytest.fixture
def platform(ikoma: Ikoma) -> Ikoma:
    """With a host whose database server is named, and not needed."""
    postgres = "postgresql://ikoma:canary-7712@127.0.0.1:1/postgres"
    host = {"ansible_connection": "local", "ikoma_runtime": "process", "ikoma_apps_root": "apps"}
    inventory = {"all": {"hosts": {"here": {**host, "ikoma_postgres": postgres}}}}
    (ikoma.folder / "inventory.yml").write_text(json.dumps(inventory))
    ikoma("exec", "apps.init", "appName=shop")
    return ikoma


def exec_(ikoma: Ikoma, tool: str, *words: str, expect: int = 0) -> None:
    ikoma("exec", tool, *words, "-l", "localhost", expect=expect)


def runs(ikoma: Ikoma) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(ikoma("runs", "list", "--json").out)
    return found


def kept(ikoma: Ikoma) -> list[str]:
    """What lies in the place for what was changed, by runs."""
    return sorted(path.name for path in (ikoma.folder / "home" / KEPT).glob("*"))


def test_a_call_is_undone(ikoma: Ikoma) -> None:
    made = ikoma.folder / "made"
    exec_(ikoma, "copy", "dest=made", "content=one")
    exec_(ikoma, "copy", "dest=made", "content=two")
    second, first = (run["id"] for run in runs(ikoma))
    told = ikoma("runs", "resume", second, expect=1).err
    assert "nothing left of it to do" in told
    assert "Undo: copy" in ikoma("runs", "rollback", second, expect=0).out
    assert made.read_text() == "one" and kept(ikoma) == [first]
    assert "is undone already" in ikoma("runs", "rollback", second, expect=1).err
    ikoma("runs", "rollback", first, expect=0)
    assert not made.exists() and not kept(ikoma), "what was kept is not dropped"


def test_what_a_platform_tool_did_is_undone_without_its_secrets(platform: Ikoma) -> None:
    env = platform.folder / "apps/shop/.env"
    platform("exec", "apps.env.write", "appName=shop", "values={PORT: 3000}")
    before = env.read_text()
    platform("exec", "apps.env.write", "appName=shop", "values={PORT: 3001, API_KEY: canary-8281}")
    assert "canary-8281" in env.read_text()
    shown = platform("runs", "show").out
    assert "appName=shop" in shown and "canary" not in shown
    platform("runs", "rollback", expect=0)
    assert env.read_text() == before
    journal = b"".join(path.read_bytes() for path in (platform.folder / ".ikoma").glob("journal.db*"))
    assert b"canary" not in journal


def test_calls_are_undone_in_the_order_that_they_were_made(platform: Ikoma) -> None:
    for value in ("one", "two"):
        platform("exec", "apps.env.write", "appName=shop", f"values={{PORT: 3000, NAME: {value}}}")
    later, earlier, _ = (run["id"] for run in runs(platform))
    told = platform("runs", "rollback", earlier, expect=5).out
    assert f"ikoma-play runs rollback {later}" in told, told
    platform("runs", "rollback", later, expect=0)
    platform("runs", "rollback", earlier, expect=0)
    assert not (platform.folder / "apps/shop/.env").exists()


def test_a_call_that_fails_is_left_and_undone_when_that_is_asked_for(ikoma: Ikoma) -> None:
    (ikoma.folder / "made").write_text("old")
    exec_(ikoma, "copy", "dest=made", "content=new", "validate=false %s", expect=2)
    assert [run["state"] for run in runs(ikoma)] == ["failed"], "a call that fails is not undone by itself"
    ikoma("runs", "rollback", expect=0)
    assert (ikoma.folder / "made").read_text() == "old" and not kept(ikoma)


def test_a_call_that_was_killed_is_undone_wherever_that_was(ikoma: Ikoma) -> None:
    made = ikoma.folder / "made"
    undone = 0
    words = ("exec", "copy", "dest=made", "content=new", "-l", "localhost")
    with nursery() as mortal:
        writes = mortal(ikoma.folder, *words, environment=ikoma.environment).writes
        assert writes > 3
        for number in range(1, writes + 1):
            for when in ("before", "after"):
                for name in (".ikoma", "home"):
                    shutil.rmtree(ikoma.folder / name, ignore_errors=True)
                made.write_text("old")
                mortal(ikoma.folder, *words, at=(number, when), environment=ikoma.environment)
                if (number, when) == (1, "before"):
                    continue  # the journal has no run
                done = ikoma("runs", "rollback", expect=None)
                assert done.code == 0 or (done.code == 1 and "nothing to undo: copy changed nothing" in done.err), done
                undone += done.code == 0
                assert made.read_text() == "old", f"killed {when} write {number}"
    assert undone > 2


def test_a_call_that_left_nothing_to_undo_says_so(ikoma: Ikoma) -> None:
    (ikoma.folder / "made").write_text("same")
    exec_(ikoma, "copy", "dest=made", "content=same")
    assert "there is nothing to undo: copy changed nothing" in ikoma("runs", "rollback", expect=1).err
    assert not kept(ikoma)
    exec_(ikoma, "command", "cmd=true")
    assert "a call of command, which cannot be undone by itself" in ikoma("runs", "rollback", expect=1).err
    exec_(ikoma, "copy", "dest=made", "content=other", "--check")
    assert len(runs(ikoma)) == 2, "a call that only looks is in the journal"


def test_a_call_that_cannot_be_undone_is_made_and_says_so(ikoma: Ikoma) -> None:
    (ikoma.folder / "tree").mkdir()
    (ikoma.folder / "tree/new").write_text("new")
    (ikoma.folder / "there").mkdir()
    told = ikoma("exec", "copy", "src=tree/", "dest=there", "-l", "localhost").err
    assert "warning: this cannot be undone later: what is copied from tree/" in told, told
    assert (ikoma.folder / "there/new").read_text() == "new"
    assert "this cannot be undone later: what is copied" in ikoma("runs", "rollback", expect=1).err


def test_calls_do_not_push_out_what_playbooks_kept(ikoma: Ikoma) -> None:
    (ikoma.folder / "p.yml").write_text(
        "- hosts: localhost\n  gather_facts: false\n  steps:\n"
        "    - {copy: {dest: other, content: new}, rollback: auto}\n"
    )
    ikoma("run", "p.yml")
    for number in range(RUNS + 2):
        exec_(ikoma, "copy", "dest=made", f"content={number}")
    *calls, playbook = (run["id"] for run in runs(ikoma))
    assert kept(ikoma) == sorted([playbook, *calls[:RUNS]])
    ikoma("runs", "rollback", playbook, expect=0)
    assert not (ikoma.folder / "other").exists()
    told = ikoma("runs", "rollback", calls[-2], expect=5).out
    assert "is gone, so it cannot be put back" in told


def test_variables_and_become_of_a_call_are_there_again(ikoma: Ikoma) -> None:
    words = ("-e", "name=made", "-e", "db_password=swordfish-9")
    exec_(ikoma, "copy", "dest={{ name }}", "content={{ db_password }}", *words)
    assert "db_password" in ikoma("runs", "rollback", expect=1).err, "what is secret is not kept"
    ikoma("runs", "rollback", "-e", "db_password=swordfish-9", expect=0)
    assert not (ikoma.folder / "made").exists()
