"""`rollback: auto` on the tools for files: afterwards every file is as it was, by content, mode, owner and times; on
this machine and over SSH, on the hosts that failed or on all."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.command import Finished, Ikoma
from tests.parts.sshd import servers
from tests.parts.undone import difference, tree

STEPS = """\
    - copy: {dest: '{{ at }}/edited', content: new, mode: '0600'}
    - copy: {dest: '{{ at }}/fresh', content: new}
    - copy: {src: brought, dest: '{{ at }}/into/'}
    - copy: {src: tree, dest: '{{ at }}'}
    - copy: {src: tree/, dest: '{{ at }}/made/of/tree'}
    - copy: {dest: '{{ at }}/link', content: through the link, follow: true}
    - template: {src: brought.j2, dest: '{{ at }}/rendered'}
    - lineinfile: {path: '{{ at }}/lines', line: last}
    - blockinfile: {path: '{{ at }}/link', block: a block}
    - replace: {path: '{{ at }}/lines', regexp: one, replace: two}
    - file: {path: '{{ at }}/folder', state: absent}
    - file: {path: '{{ at }}/deep/er/est', state: directory}
    - copy: {dest: '{{ at }}/deep/er/file', content: new}
    - file: {path: '{{ at }}/modes', mode: '0700', recurse: true, state: directory}
    - file: {path: '{{ at }}/lines', mode: '0600'}
    - file: {path: '{{ at }}/touched', state: touch}
    - file: {path: '{{ at }}/linked', src: lines, state: link, force: true}
    - copy: {dest: '{{ at }}/{{ item }}', content: new}
      loop: [edited, another]
"""
FILES = {"edited": "old", "lines": "one\n", "real": "real\n", "folder/in/it": "x", "modes/a/b": "x", "touched": "x",
         "linked": "no link", "rendered": "old"}  # fmt: skip


def book(ikoma: Ikoma, hosts: dict[str, Any], head: str = "", last: str = "false") -> None:
    """The steps with `rollback: auto`, and a last one that fails where `last` says so."""
    steps = STEPS.replace("    - copy:", "    - rollback: auto\n      copy:")
    for tool in ("template", "lineinfile", "blockinfile", "replace", "file"):
        steps = steps.replace(f"    - {tool}:", f"    - rollback: auto\n      {tool}:")
    play = f"- hosts: all\n  gather_facts: false\n{head}  tasks:\n{steps}    - fail:\n      when: {last}\n"
    for name, text in {"p.yml": play, "inventory.yml": json.dumps({"all": {"hosts": hosts}})}.items():
        (ikoma.folder / name).write_text(text)
    for name in ("brought", "brought.j2", "tree/a/b", "tree/c"):
        (ikoma.folder / name).parent.mkdir(parents=True, exist_ok=True)
        (ikoma.folder / name).write_text(f"of the runner: {name}")


def furnished(folder: Path) -> Path:
    for name, text in FILES.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
        os.utime(folder / name, (1e9, 1e9))
    (folder / "link").symlink_to("real")
    (folder / "modes/a").chmod(0o711)
    return folder


def same(before: Any, folder: Path, done: Finished) -> None:
    assert tree(folder) == before, f"{difference(before, tree(folder))}\n{done}"
    assert (folder / "touched").stat().st_mtime == 1e9
    assert not (folder.parent / "home" / ".ikoma").exists(), "what was kept is left"


@pytest.fixture
def ikoma(tmp_path: Path) -> Iterator[Ikoma]:
    (tmp_path / "home").mkdir()
    yield Ikoma(tmp_path, {"HOME": str(tmp_path / "home")})


def local(folder: Path) -> dict[str, Any]:
    return {"ansible_connection": "local", "at": str(folder)}


def test_files_are_as_before_when_a_later_step_fails(ikoma: Ikoma) -> None:
    at = furnished(ikoma.folder / "at")
    before = tree(at)
    book(ikoma, {"here": local(at)}, last="true")
    same(before, at, ikoma("run", "p.yml", expect=3))


def test_files_are_as_before_when_a_run_that_ended_well_is_undone(ikoma: Ikoma) -> None:
    at = furnished(ikoma.folder / "at")
    before = tree(at)
    book(ikoma, {"here": local(at)})
    ikoma("run", "p.yml", expect=0)
    kept = ikoma.folder / "home/.ikoma/kept"
    assert {path.stat().st_mode & 0o777 for path in (kept, *kept.iterdir())} == {0o700}, "others can look in"
    (at / "fresh").write_text("of somebody, since")
    ikoma("runs", "rollback", expect=0)
    left = [name for name, what in tree(at).items() if name not in before and what[0] != "directory"]
    assert (at / "fresh.bak").read_text() == "of somebody, since", "what people did since is lost"
    assert all(".bak" in name for name in left), left
    assert {name: what for name, what in tree(at).items() if name in before} == before, difference(before, tree(at))


def test_what_is_copied_among_others_is_refused_before_anything_changes(ikoma: Ikoma) -> None:
    at = furnished(ikoma.folder / "at")
    before = tree(at)
    book(ikoma, {"here": local(at)})
    book_ = ikoma.folder / "p.yml"
    book_.write_text(f"- hosts: all\n  tasks:\n    - copy: {{src: tree/, dest: '{at}'}}\n      rollback: auto\n")
    done = ikoma("run", "p.yml", expect=2)
    assert "cannot be undone by itself" in done.text and tree(at) == before


@pytest.mark.parametrize("head", ["  any_errors_fatal: true\n", "  rollback_scope: all\n", ""])
def test_all_hosts_of_a_batch_are_undone_or_those_that_failed(ikoma: Ikoma, head: str) -> None:
    """Three hosts in batches of two; the second one fails."""
    places = {name: furnished(ikoma.folder / name / "at") for name in ("one", "two", "three")}
    before = tree(places["one"])
    hosts = {name: local(at) for name, at in places.items()}
    book(ikoma, hosts, f"{head}  serial: 2\n", last="inventory_hostname == 'two'")
    done = ikoma("run", "p.yml", expect=3)
    same(before, places["two"], done)
    assert (tree(places["one"]) == before) == bool(head), done
    assert (tree(places["three"]) == before) == bool(head), f"the next batch began, or it did not\n{done}"


def test_files_behind_ssh_are_as_before(ikoma: Ikoma) -> None:
    with servers() as site:
        server = site.server().start()
        try:
            at = furnished(site.folder / "at")
            before = tree(at)
            hosts = {"far": {**dict(server.host("far").vars), "at": str(at), "ansible_user": "root"}}
            book(ikoma, hosts, last="true")
            done = ikoma("run", "p.yml", expect=3)
            assert tree(at) == before, f"{difference(before, tree(at))}\n{done}"
        finally:
            server.stop()
