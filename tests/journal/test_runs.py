"""`runs` through the real command: what a run leaves behind, locks between runs, and what happens without a journal."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.parts.command import CHECKOUT, Ikoma
from tests.parts.sandbox import Sandbox, sandbox
from tests.parts.sshd import servers

__all__ = ["sandbox"]

HEAD = "- name: Try it\n  hosts: localhost\n  gather_facts: false\n"


@pytest.fixture
def ikoma(tmp_path: Path) -> Ikoma:
    return Ikoma(tmp_path)


def book(ikoma: Ikoma, steps: str, name: str = "p.yml", head: str = HEAD) -> None:
    (ikoma.folder / name).write_text(f"{head}  tasks:\n{steps}\n")


def shown(ikoma: Ikoma, *words: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(ikoma("runs", "show", "--json", *words, expect=0).out)
    return data


STEPS = """\
    - {name: Fine, command: 'true'}
    - {name: Left out, debug: {msg: x}, when: false}
    - {name: Known, command: echo hunter2secret, no_log: true}
    - {name: Secret, debug: {msg: 'it is {{ db_password }}'}}
    - {name: Broken, command: ls /nowhere-at-all}
"""


def test_a_run_is_written_down(ikoma: Ikoma) -> None:
    book(ikoma, STEPS)
    ikoma("run", "p.yml", "-e", "db_password=swordfish-9", expect=2)
    run = shown(ikoma)
    assert run["state"] == "failed"
    assert [step["state"] for step in run["steps"]] == ["changed", "skipped", "changed", "ok", "failed"]
    assert [step["title"] for step in run["steps"]] == ["Fine", "Left out", "Known", "Secret", "Broken"]
    assert run["steps"][4]["outcome"]["failure"]["position"] == "p.yml:9:7"
    assert run["report"]["hosts"]["localhost"]["failed"] == 1
    assert run["options"]["command"][:3] == ["ikoma-play", "run", "p.yml"]
    assert list(run["files"]) == [str(ikoma.folder / "p.yml")]
    assert list(run["variables"]) == ["db_password"]
    kept = b"".join(path.read_bytes() for path in (ikoma.folder / ".ikoma").iterdir())
    assert b"swordfish-9" not in kept and b"hunter2secret" not in kept, "a secret is in the journal"


def test_people_see_lists_and_trees(ikoma: Ikoma) -> None:
    assert "there is no journal" in ikoma("runs", expect=1).err
    assert not (ikoma.folder / ".ikoma").exists(), "looking made a journal"
    book(ikoma, STEPS)
    ikoma("run", "p.yml", "-e", "db_password=swordfish-9", expect=2)
    book(ikoma, "    - {name: All well, command: 'true'}", "q.yml")
    ikoma("run", "q.yml", expect=0)
    lines = ikoma("runs", "list", expect=0).out.splitlines()
    assert [line.split()[1] for line in lines] == ["state", "done", "failed"]
    assert lines[1].endswith("q") and lines[2].endswith("p")
    failed = lines[2].split()[0]
    tree = ikoma("runs", "show", failed, expect=0).out
    assert "✗ Broken" in tree and "– Left out" in tree and "/nowhere-at-all" in tree
    assert shown(ikoma, failed)["id"] == failed
    assert "is no run" in ikoma("runs", "show", "1999", expect=1).err


def test_what_changes_nothing_leaves_no_journal(ikoma: Ikoma) -> None:
    book(ikoma, "    - {name: All well, command: 'true'}")
    ikoma("run", "p.yml", "--check", expect=0)
    ikoma("exec", "stat", "path=/tmp", "-l", "localhost", expect=0)
    assert not (ikoma.folder / ".ikoma").exists()
    ikoma("exec", "copy", "dest=made", "content=x", "-l", "localhost", expect=0)
    assert [step["tool"] for step in shown(ikoma)["steps"]] == ["copy"]


REMEMBERED = """\
    - {name: Plain, command: echo 7, register: said, notify: Restart}
    - {name: Secret, debug: {msg: 'it is {{ db_password }}'}, register: told}
    - {name: Unasked, debug: {msg: 'it is {{ db_password }}'}}
    - {name: Hidden, command: echo 8, register: quiet, no_log: true}
    - {name: Facts, set_fact: {port: 80}}
    - {name: Looped, debug: {msg: '{{ item }}'}, loop: [1, 2], register: many}
    - {name: Again, command: echo 9, loop: [1, 2]}
    - {name: Again, command: echo 9, loop: [1, 2]}
  handlers:
    - {name: Restart, debug: {msg: x}}"""


def test_a_step_is_kept_as_the_rest_of_the_run_saw_it(ikoma: Ikoma) -> None:
    book(ikoma, REMEMBERED)
    ikoma("run", "p.yml", "-e", "db_password=swordfish-9", expect=0)
    steps = {step["title"]: step for step in shown(ikoma)["steps"]}
    assert steps["Plain"]["notified"] == ["Restart"] and steps["Plain"]["changed"] and not steps["Plain"]["withheld"]
    assert [name for name, step in steps.items() if step["withheld"]] == ["Secret", "Hidden"]
    assert steps["Facts"]["facts"] == {"port": 80}
    assert [each["result"] for each in steps["Looped"]["extra"]["results"]] == [{"msg": 1}, {"msg": 2}]
    assert steps["Unasked"]["extra"] is None, "what nobody can ask for is kept twice"
    occurrences = [step["occurrence"] for step in shown(ikoma)["steps"]]
    assert len(set(occurrences)) == len(occurrences)
    assert [one.split()[-1] for one in occurrences if one[:-2] == steps["Again"]["occurrence"][:-2]] == ["1", "2"]


@pytest.mark.parametrize("fault", ["damaged", "a directory"])
def test_without_its_journal_nothing_runs(ikoma: Ikoma, fault: str) -> None:
    book(ikoma, "    - {copy: {dest: '{{ playbook_dir }}/made', content: x}}")
    path = ikoma.folder / ".ikoma/journal.db"
    path.parent.mkdir()
    if fault == "damaged":
        path.write_bytes(b"nonsense" * 1000)
    else:
        path.mkdir()
    done = ikoma("run", "p.yml", expect=1)
    assert "nothing was run" in done.err and "Traceback" not in done.text
    assert not (ikoma.folder / "made").exists()


def test_a_journal_that_fails_in_the_middle_stops_the_run_before_the_next_step(ikoma: Ikoma) -> None:
    spoil = "import sqlite3; c = sqlite3.connect('.ikoma/journal.db'); c.execute('DROP TABLE steps'); c.commit()"
    (ikoma.folder / "spoil.py").write_text(spoil)
    book(
        ikoma,
        f"    - {{command: '{sys.executable} spoil.py'}}\n"
        "    - {copy: {dest: '{{ playbook_dir }}/made', content: x}}",
    )
    done = ikoma("run", "p.yml", expect=2)
    assert "journal" in done.err
    assert not (ikoma.folder / "made").exists(), "a step ran that was not written down"


def begun(ikoma: Ikoma, name: str, more: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
    """A run that is at its step, which goes on until the file `go` is there."""
    argv = [sys.executable, "-m", "ikoma_play", "run", name]
    process = subprocess.Popen(
        argv, cwd=ikoma.folder, env={**os.environ, "PYTHONPATH": str(CHECKOUT), **(more or {})}, stdout=subprocess.PIPE
    )
    until = time.monotonic() + 60
    while not (ikoma.folder / "at").exists():
        assert time.monotonic() < until and process.poll() is None, "the run did not come to its step"
        time.sleep(0.02)
    return process


WAITS = "    - {name: Waits, shell: 'touch at; while [ ! -e go ]; do sleep 0.05; done'}"


def test_one_run_at_a_time_holds_a_plays_lock(ikoma: Ikoma) -> None:
    head = HEAD + "  lock: release\n"
    book(ikoma, WAITS, head=head)
    book(ikoma, "    - {copy: {dest: '{{ playbook_dir }}/made', content: x}}", "q.yml", head)
    first = begun(ikoma, "p.yml")
    try:
        second = ikoma("run", "q.yml", expect=2)
        assert "release is held by run" in second.err and f"process {first.pid}" in second.err
        assert not (ikoma.folder / "made").exists()
        assert shown(ikoma)["state"] == "failed"
    finally:
        (ikoma.folder / "go").touch()
        first.communicate()
    assert first.returncode == 0
    ikoma("run", "q.yml", expect=0)


def test_the_lock_of_a_killed_run_is_taken_over(ikoma: Ikoma) -> None:
    head = HEAD + "  lock: release\n"
    book(ikoma, WAITS, head=head)
    book(ikoma, "    - {command: 'true'}", "q.yml", head)
    first = begun(ikoma, "p.yml")
    first.send_signal(signal.SIGKILL)
    first.communicate()
    (ikoma.folder / "go").touch()  # the step itself outlives its run
    assert shown(ikoma)["state"] == "died"
    assert [step["state"] for step in shown(ikoma)["steps"]] == ["started"]
    assert "nothing is known of its end" in ikoma("runs", "show", expect=0).out
    ikoma("run", "q.yml", expect=0)
    (note,) = shown(ikoma)["notes"]
    assert "took the lock release over" in note["text"]


def test_an_interrupted_run_says_so(ikoma: Ikoma) -> None:
    book(ikoma, f"{WAITS}\n    - {{command: 'true'}}")
    first = begun(ikoma, "p.yml")
    first.send_signal(signal.SIGINT)
    assert first.stdout is not None
    told = "warning: it stops after the step that is under way; a second signal stops it at once\n"
    until = time.monotonic() + 60
    while first.stdout.readline().decode() != told:  # before the step has ended
        assert time.monotonic() < until
    (ikoma.folder / "go").touch()
    assert b"it stops after" not in first.communicate()[0], "it is told twice"
    assert first.returncode == 130
    run = shown(ikoma)
    assert run["state"] == "interrupted"
    assert [step["state"] for step in run["steps"]] == ["changed"], "the step at the interruption was not finished"


@pytest.mark.parametrize("hosts", [1, 2])
def test_a_second_signal_ends_a_run_at_once(ikoma: Ikoma, hosts: int) -> None:
    names = [f"h{number}" for number in range(hosts)]
    everywhere = {"hosts": {name: {} for name in names}, "vars": {"ansible_connection": "local"}}
    (ikoma.folder / "inventory.yml").write_text(json.dumps({"all": everywhere}))
    ended_at_once(ikoma)


def test_a_second_signal_ends_a_run_on_hosts_behind_ssh(ikoma: Ikoma) -> None:
    with servers() as site:
        running = [site.server().start() for _ in range(2)]
        try:
            hosts = {f"h{number}": dict(server.host(f"h{number}").vars) for number, server in enumerate(running)}
            (ikoma.folder / "inventory.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
            ikoma.folder.chmod(0o777)
            ended_at_once(ikoma)
        finally:
            for server in running:
                server.stop()


def ended_at_once(ikoma: Ikoma) -> None:
    seconds = random.randrange(100_000, 999_999)  # by which the commands are found among all processes
    steps = f"    - {{name: Sleeps, shell: 'touch {ikoma.folder}/at; exec sleep {seconds}'}}"
    book(ikoma, steps, head=HEAD.replace("localhost", "all"))
    for parent in ikoma.folder.parents[:-2]:  # others than the owner may have to come here
        if parent.stat().st_uid == os.geteuid():
            parent.chmod(parent.stat().st_mode | 0o011)
    process = begun(ikoma, "p.yml")
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=120)
    assert process.returncode == 130
    run = shown(ikoma)
    assert run["state"] == "interrupted"
    assert {step["state"] for step in run["steps"]} == {"started"}, "nobody knows what the step would have come to"
    until = time.monotonic() + 30
    while left := [path for path in Path("/proc").glob("[0-9]*/cmdline") if f"sleep\0{seconds}" in read(path)]:
        assert time.monotonic() < until, f"left running: {left}"
        time.sleep(0.1)


def read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""


def test_an_application_is_changed_by_one_run_at_a_time(ikoma: Ikoma) -> None:
    inventory = f"all: {{hosts: {{here: {{ansible_connection: local, ikoma_apps_root: '{ikoma.folder}/apps'}}}}}}\n"
    (ikoma.folder / "inventory.yml").write_text(inventory)
    (ikoma.folder / "apps").mkdir()
    head = HEAD.replace("localhost", "here")
    book(ikoma, f"    - {{apps.init: {{appName: shop}}}}\n{WAITS}", head=head)
    first = begun(ikoma, "p.yml")
    try:
        second = ikoma("exec", "apps.init", "appName=shop", expect=2)
        assert "application shop on" in second.err and "is held by run" in second.err
        ikoma("exec", "apps.init", "appName=other", expect=0)
        ikoma("exec", "apps.status", "appName=shop", expect=0)
    finally:
        (ikoma.folder / "go").touch()
        first.communicate()
    ikoma("exec", "apps.init", "appName=shop", expect=0)


def test_directories_share_a_journal_in_postgresql(tmp_path: Path, sandbox: Sandbox) -> None:
    sandbox.call("platform.up")
    found = sandbox.cluster.coordinates()
    assert found is not None
    url = f"postgresql://{found.user}:{found.password}@{found.host}:{found.port}/postgres"
    here, there = (Ikoma(tmp_path / name, {"IKOMA_STATE": url}) for name in ("here", "there"))
    for ikoma in (here, there):
        ikoma.folder.mkdir()
    head = HEAD + "  lock: release\n"
    book(here, WAITS, head=head)
    book(there, "    - {command: 'true'}", "q.yml", head)
    first = begun(here, "p.yml", {"IKOMA_STATE": url})
    try:
        assert "release is held by run" in there("run", "q.yml", expect=2).err
    finally:
        (here.folder / "go").touch()
        first.communicate()
    there("run", "q.yml", "--lock-timeout", "60", expect=0)
    lines = here("runs", expect=0).out.splitlines()
    assert [line.split()[1] for line in lines[1:]] == ["done", "failed", "done"]
    assert list(here.folder.glob(".ikoma/*")) == []
    assert found.password not in there("runs", "show", "--json", expect=0).text


def test_an_application_is_waited_for_and_taken_over_from_a_dead_run(ikoma: Ikoma) -> None:
    inventory = f"all: {{hosts: {{here: {{ansible_connection: local, ikoma_apps_root: '{ikoma.folder}/apps'}}}}}}\n"
    (ikoma.folder / "inventory.yml").write_text(inventory)
    (ikoma.folder / "apps").mkdir()
    book(ikoma, f"    - {{apps.init: {{appName: shop}}}}\n{WAITS}", head=HEAD.replace("localhost", "here"))
    first = begun(ikoma, "p.yml")
    lets_go = threading.Timer(1, (ikoma.folder / "go").touch)
    lets_go.start()
    ikoma("exec", "apps.init", "appName=shop", "--lock-timeout", "60", expect=0)
    first.communicate()
    for name in ("at", "go"):
        (ikoma.folder / name).unlink()
    killed = begun(ikoma, "p.yml")
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    (ikoma.folder / "go").touch()
    ikoma("exec", "apps.init", "appName=shop", expect=0)
    (note,) = shown(ikoma)["notes"]
    assert "took the lock application shop on" in note["text"] and "whose process has ended" in note["text"], note
