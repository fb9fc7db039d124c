"""`runs resume` and `runs rollback` through the real command: what a run left is taken up where it was."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from base64 import b64encode
from pathlib import Path
from typing import Any

import pytest

from tests.parts.command import Finished, Ikoma
from tests.parts.crashing import nursery
from tests.parts.receivers import webhook

HEAD = "- name: Try it\n  hosts: localhost\n  gather_facts: false\n"
# A step that kills its own run the first time, and does its work the second time.
DIES = """\
    - name: Dies once
      shell: "test -e died || { touch died; kill -9 {{ lookup('pipe', 'echo $PPID') }}; exit 1; }; echo survived >> log"
"""


@pytest.fixture
def ikoma(tmp_path: Path) -> Ikoma:
    return Ikoma(tmp_path)


def book(ikoma: Ikoma, text: str, name: str = "p.yml", head: str = HEAD) -> Path:
    path = ikoma.folder / name
    path.write_text(f"{head}  tasks:\n{text}\n")
    return path


def killed(ikoma: Ikoma, *words: str) -> None:
    done = ikoma("run", "p.yml", *words, expect=None)
    assert done.code == -signal.SIGKILL, done


def log(ikoma: Ikoma) -> list[str]:
    return (ikoma.folder / "log").read_text().split()


def shown(ikoma: Ikoma, *words: str) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(ikoma("runs", "show", "--json", *words).out)
    return data


def resumed(ikoma: Ikoma, *words: str, expect: int = 0) -> Finished:
    return ikoma("runs", "resume", "--retry-unfinished", *words, expect=expect)


REMEMBERS = f"""\
    - {{name: Asks, shell: 'echo asked >> log; echo 7', register: said, notify: Restart}}
    - {{name: Knows, set_fact: {{port: '8{{{{ said.stdout }}}}'}}}}
    - {{name: Loops, command: 'echo {{{{ item }}}}', loop: [a, b], register: many}}
    - {{name: Fails, command: 'false', ignore_errors: true, register: lost}}
    - {{name: Adds, add_host: {{name: other, groups: [extra], ansible_connection: local}}}}
    - {{include_tasks: more.yml, loop: [1, 2]}}
    - name: Mended
      block: [{{command: 'false'}}]
      rescue: [{{shell: 'echo rescued >> log'}}]
{DIES}
    - shell: "echo {{{{ port }}}} {{{{ many.results | map(attribute='stdout') | join('+') }}}} {{{{ lost.rc }}}} >> log"
    - {{shell: 'echo {{{{ groups.extra | join }}}} {{{{ brought }}}} >> log'}}
  handlers:
    - {{name: Restart, shell: echo restarted >> log}}
"""


def test_a_killed_run_goes_on_with_what_it_knew(ikoma: Ikoma) -> None:
    (ikoma.folder / "more.yml").write_text(
        "- {shell: 'echo more{{ item }}', register: out}\n- set_fact: {brought: 'b{{ out.stdout }}'}\n"
    )
    book(ikoma, REMEMBERS)
    killed(ikoma)
    assert log(ikoma) == ["asked", "rescued"]
    done = resumed(ikoma)
    assert log(ikoma) == ["asked", "rescued", "survived", "87", "a+b", "1", "other", "bmore2", "restarted"]
    assert "Asks" not in done.out, "what was done before was told again"
    run = shown(ikoma)
    assert run["state"] == "done" and run["report"]["hosts"]["localhost"]["failed"] == 0
    occurrences = [step["occurrence"] for step in run["steps"]]
    assert len(set(occurrences)) == len(occurrences), "a step is in the journal twice"
    (note,) = run["notes"]
    assert "goes on with the run" in note["text"]
    assert "is done" in ikoma("runs", "resume", expect=1).err


def test_a_failed_run_goes_on_once_the_cause_is_mended(ikoma: Ikoma) -> None:
    book(
        ikoma,
        "    - {shell: echo one >> log, notify: Restart}\n"
        "    - {name: Needs, shell: 'test -e fine'}\n"
        "    - {shell: echo two >> log}\n"
        "  handlers: [{name: Restart, shell: echo restarted >> log}]",
    )
    ikoma("run", "p.yml", expect=2)
    ikoma("runs", "resume", expect=2)
    assert log(ikoma) == ["one"]
    (ikoma.folder / "fine").touch()
    ikoma("runs", "resume", expect=0)
    assert log(ikoma) == ["one", "two", "restarted"], "a handler that was notified before the failure is lost"


def test_only_what_failed_is_tried_again_on_several_hosts(ikoma: Ikoma) -> None:
    (ikoma.folder / "inventory.yml").write_text(
        "all: {vars: {ansible_connection: local}, hosts: {a: {}, b: {}, c: {}}}\n"
    )
    steps = """\
    - {shell: 'echo {{ inventory_hostname }}1 >> log'}
    - {name: Needs, shell: "test {{ inventory_hostname }} != b -o -e fine"}
    - {shell: 'echo {{ inventory_hostname }}2 >> log'}"""
    book(ikoma, steps, head=HEAD.replace("localhost", "all"))
    ikoma("run", "p.yml", expect=2)
    assert sorted(log(ikoma)) == ["a1", "a2", "b1", "c1", "c2"]
    (ikoma.folder / "fine").touch()
    ikoma("runs", "resume", expect=0)
    assert sorted(log(ikoma)) == ["a1", "a2", "b1", "b2", "c1", "c2"]


def test_a_run_is_limited_to_where_the_last_one_failed(ikoma: Ikoma) -> None:
    (ikoma.folder / "inventory.yml").write_text(
        "all: {vars: {ansible_connection: local}, hosts: {a: {}, b: {}, c: {}}}\n"
    )
    test = "test {{ inventory_hostname }} = b -o -e fine"
    steps = f"    - {{name: Needs, shell: 'echo {{{{ inventory_hostname }}}} >> log; {test}'}}"
    book(ikoma, steps, head=HEAD.replace("localhost", "all"))
    assert "there is no journal" in ikoma("run", "p.yml", "-l", "@retry", expect=1).err
    ikoma("run", "p.yml", expect=2)
    (ikoma.folder / "fine").touch()
    (ikoma.folder / "log").unlink()
    ikoma("run", "p.yml", "-l", "@retry", expect=0)
    assert sorted(log(ikoma)) == ["a", "c"]
    assert "no host failed" in ikoma("run", "p.yml", "-l", "@retry", expect=1).err


def test_an_edited_playbook_is_told_and_what_reads_the_same_is_known(ikoma: Ikoma) -> None:
    path = book(ikoma, "    - {name: One, shell: echo one >> log}\n    - {name: Broken, command: 'false'}")
    ikoma("run", "p.yml", expect=2)
    text = path.read_text().replace("command: 'false'", "shell: echo mended >> log")
    path.write_text("# A comment moves every line.\n\n" + text)
    told = ikoma("runs", "resume", expect=1)
    assert f"{path} has changed" in told.err and "--yes" in told.err
    assert log(ikoma) == ["one"]
    ikoma("runs", "resume", "--yes", expect=0)
    assert log(ikoma) == ["one", "mended"]


def test_secrets_are_given_again(ikoma: Ikoma) -> None:
    book(ikoma, "    - {name: Needs, shell: 'test -e fine && echo {{ db_password }}-{{ app }} > made'}")
    ikoma("run", "p.yml", "-e", "db_password=swordfish-9", "-e", "app=shop", expect=2)
    (ikoma.folder / "fine").touch()
    told = ikoma("runs", "resume", expect=1)
    assert "db_password" in told.err and "swordfish" not in told.err
    told = ikoma("runs", "resume", "-e", "db_password=another", expect=1)
    assert "the variable db_password has another value" in told.err
    ikoma("runs", "resume", "-e", "db_password=swordfish-9", expect=0)
    assert (ikoma.folder / "made").read_text() == "swordfish-9-shop\n"


def test_what_was_secret_is_found_out_again_or_asked_for(ikoma: Ikoma) -> None:
    steps = """\
    - {name: Reads, slurp: {src: secret}, register: api_token}
    - {name: Makes, shell: 'echo tick >> log; cat secret', register: made_token}
    - {name: Needs, shell: 'test -e fine'}
    - {copy: {dest: out, content: '{{ api_token.content | b64decode }}{{ made_token.stdout }}'}}"""
    (ikoma.folder / "secret").write_text("canary-8281")
    book(ikoma, steps)
    ikoma("run", "p.yml", expect=2)
    (ikoma.folder / "fine").touch()
    told = ikoma("runs", "resume", expect=1)
    assert "'Makes'" in told.err and "was secret" in told.err and "'Reads'" not in told.err
    done = ikoma("runs", "resume", "--skip-unfinished", expect=2)
    assert "was secret, so the journal does not have it" in done.out, "a mask was taken for the value"
    resumed(ikoma)
    assert (ikoma.folder / "out").read_text() == "canary-8281canary-8281"
    kept = b"".join(path.read_bytes() for path in (ikoma.folder / ".ikoma").iterdir())
    assert b"canary-8281" not in kept and b64encode(b"canary-8281") not in kept, "a secret is in the journal"
    assert log(ikoma) == ["tick", "tick"]


def test_an_unfinished_step_is_asked_for_unless_twice_is_as_good_as_once(ikoma: Ikoma) -> None:
    book(ikoma, DIES + "    - {shell: echo after >> log}")
    killed(ikoma)
    told = ikoma("runs", "resume", expect=1)
    assert "'Dies once' (shell, p.yml:5:7) on localhost was begun at" in told.err
    assert "--retry-unfinished or --skip-unfinished" in told.err
    ikoma("runs", "resume", "--skip-unfinished", expect=0)
    assert log(ikoma) == ["after"]
    assert "taken as done" in json.dumps(shown(ikoma)["steps"])


def test_a_repeatable_step_is_repeated_and_its_handlers_run(ikoma: Ikoma) -> None:
    # The second write of the file finds it in place; whether it was the first one's is not known.
    book(
        ikoma,
        "    - {copy: {dest: made, content: x}, notify: Restart}\n"
        "  handlers: [{name: Restart, shell: echo restarted >> log}]",
    )
    with nursery() as mortal:
        assert mortal(ikoma.folder, "run", "p.yml", at=(3, "before")).killed
    assert (ikoma.folder / "made").read_text() == "x"
    assert [step["state"] for step in shown(ikoma)["steps"]] == ["started"]
    ikoma("runs", "resume", expect=0)
    assert log(ikoma) == ["restarted"]


def test_what_was_posted_is_not_posted_again_unasked(ikoma: Ikoma) -> None:
    with webhook() as hook:
        step = f"url: '{hook.url}', method: POST, body_format: json, body: {{n: 1}}"
        book(ikoma, f"    - {{name: Orders, uri: {{{step}}}}}")
        with nursery() as mortal:
            assert mortal(ikoma.folder, "run", "p.yml", at=(3, "before")).killed
        assert "'Orders' (uri, p.yml:5:7) on localhost was begun at" in ikoma("runs", "resume", expect=1).err
        ikoma("runs", "resume", "--skip-unfinished", expect=0)
        assert len(hook.bodies) == 1


@pytest.mark.parametrize(
    ("regexp", "into", "asked"), [("old", "new", False), ("a", "aa", True), (r"(\\d)", r"\\1\\1", True)]
)
def test_a_replacement_is_repeated_where_it_finds_nothing_again(
    ikoma: Ikoma, regexp: str, into: str, asked: bool
) -> None:
    (ikoma.folder / "text").write_text("old a 1\n")
    book(ikoma, f'    - {{name: Replaces, replace: {{path: text, regexp: "{regexp}", replace: "{into}"}}}}')
    with nursery() as mortal:
        assert mortal(ikoma.folder, "run", "p.yml", at=(3, "before")).killed
    once = (ikoma.folder / "text").read_text()
    told = ikoma("runs", "resume", expect=1 if asked else 0)
    assert ("'Replaces' (replace, p.yml:5:7) on localhost was begun at" in told.err) is asked
    assert (ikoma.folder / "text").read_text() == once != "old a 1\n"


def test_one_process_takes_a_run_up(ikoma: Ikoma) -> None:
    steps = "    - {name: Waits, shell: 'echo tick >> log; touch at; while [ ! -e go ]; do sleep 0.05; done'}"
    book(ikoma, f"    - {{name: Needs, shell: 'test -e fine'}}\n{steps}")
    ikoma("run", "p.yml", expect=2)
    (ikoma.folder / "fine").touch()
    argv = [sys.executable, "-m", "ikoma_play", "runs", "resume"]
    from tests.parts.command import CHECKOUT

    env = {"PYTHONPATH": str(CHECKOUT), "PATH": "/usr/bin:/bin"}
    first = subprocess.Popen(argv, cwd=ikoma.folder, env=env, stdout=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while not (ikoma.folder / "at").exists():
            assert time.monotonic() < until and first.poll() is None
            time.sleep(0.02)
        assert f"is under way: process {first.pid}" in ikoma("runs", "resume", expect=1).err
        assert f"is under way: process {first.pid}" in ikoma("runs", "rollback", expect=1).err
    finally:
        (ikoma.folder / "go").touch()
        first.wait()
    assert first.returncode == 0 and log(ikoma) == ["tick"]


TWO_PLAYS = """\
- name: First
  hosts: localhost
  vars: {word: first}
  rollback: [{name: Un-play, shell: 'echo unplay-{{ word }} >> log'}]
  tasks:
    - shell: 'echo {{ word }} >> log; echo 1'
      register: said
      rollback: [{shell: 'echo un-{{ word }}-{{ result.stdout }} >> log'}]
- name: Second
  hosts: localhost
  vars: {word: second}
  tasks:
    - name: Both
      block:
        - {shell: 'echo {{ word }} >> log; echo 2', register: said}
      rollback: [{shell: 'echo un-{{ word }}-{{ said.stdout }} >> log'}]
    - {name: Stays, shell: 'echo stays >> log'}
"""


def test_a_finished_run_is_undone_with_what_each_play_knew(ikoma: Ikoma) -> None:
    (ikoma.folder / "p.yml").write_text(TWO_PLAYS)
    ikoma("run", "p.yml", expect=0)
    done = ikoma("runs", "rollback", expect=0)
    assert log(ikoma) == ["first", "second", "stays", "un-second-2", "un-first-1", "unplay-first"]
    assert "Undone in" in done.out and "have no rollback: Stays" in done.out
    assert shown(ikoma)["state"] == "undone"
    assert "is undone already" in ikoma("runs", "rollback", expect=1).err
    assert "was rolled back" in ikoma("runs", "resume", expect=1).err


def test_a_play_whose_failure_undoes_nothing_is_undone_when_that_is_asked_for(ikoma: Ikoma) -> None:
    (ikoma.folder / "tree").mkdir()
    (ikoma.folder / "tree/new").write_text("new")
    (ikoma.folder / "there").mkdir()
    steps = """\
    - {copy: {dest: made, content: new}, rollback: auto}
    - {name: Cannot, copy: {src: tree/, dest: there}, rollback: auto}
    - {name: Needs, shell: 'test -e fine'}"""
    book(ikoma, steps, head=HEAD + "  rollback_scope: none\n")
    assert "comes back, or it goes if there was none (by runs rollback only)" in ikoma("plan", "p.yml").out
    assert "Nothing was undone" in ikoma("run", "p.yml", expect=2).out
    assert (ikoma.folder / "made").exists() and (ikoma.folder / "there/new").exists()
    assert "this cannot be undone later" in json.dumps(shown(ikoma)["steps"])
    ikoma("runs", "rollback", expect=0)
    assert not (ikoma.folder / "made").exists() and (ikoma.folder / "there/new").exists()


def test_a_run_without_any_rollback_is_not_taken_for_undone(ikoma: Ikoma) -> None:
    steps = "    - {name: Works, shell: echo one >> log}\n    - {name: Needs, shell: 'test -e fine'}"
    book(ikoma, steps)
    ikoma("run", "p.yml", expect=2)
    refused = ikoma("runs", "rollback", expect=1).err
    assert "none of its steps has a rollback; nothing was touched" in refused and "runs resume" in refused
    (ikoma.folder / "fine").touch()
    ikoma("exec", "copy", "dest=made", "content=x", "-l", "localhost")
    ikoma("runs", "resume", expect=0)  # the call after it is passed by
    assert log(ikoma) == ["one"]
    book(ikoma, steps, head=HEAD + "  vars: {ikoma_undo: Call the other one.}\n")
    assert "Call the other one." in ikoma("runs", "rollback", shown_first(ikoma), "--yes", expect=1).err


def shown_first(ikoma: Ikoma) -> str:
    """The id of the oldest run."""
    return str(json.loads(ikoma("runs", "list", "--json").out)[-1]["id"])


def test_a_rollback_that_failed_is_finished_later(ikoma: Ikoma) -> None:
    (ikoma.folder / "p.yml").write_text(
        TWO_PLAYS.replace("'echo un-{{ word }}-{{ said", "'test -e fine && echo un-{{ word }}-{{ said")
    )
    ikoma("run", "p.yml", expect=0)
    done = ikoma("runs", "rollback", expect=5)
    assert log(ikoma)[3:] == ["un-first-1", "unplay-first"], "one handler that fails stopped the others"
    assert "finish the rollback" in done.out and shown(ikoma)["state"] == "rollback failed"
    (ikoma.folder / "fine").touch()
    ikoma("runs", "rollback", expect=0)
    assert log(ikoma)[3:] == ["un-first-1", "unplay-first", "un-second-2"]


def test_a_killed_run_is_undone_as_far_as_it_came(ikoma: Ikoma) -> None:
    steps = f"""\
    - {{shell: echo one >> log, rollback: [{{shell: echo un-one >> log}}]}}
{DIES.rstrip()}
      rollback: [{{shell: 'echo un-dies-{{{{ result.unfinished | default("whole") }}}} >> log'}}]
    - {{shell: echo never >> log, rollback: [{{shell: echo un-never >> log}}]}}"""
    book(ikoma, steps)
    killed(ikoma)
    done = ikoma("runs", "rollback", expect=0)
    assert log(ikoma) == ["one", "un-dies-True", "un-one"]
    assert "Dies once on localhost was under way" in done.out


def test_a_failed_run_kept_by_no_rollback_is_undone_by_one_command(ikoma: Ikoma) -> None:
    steps = """\
    - {shell: echo one >> log, rollback: [{shell: echo un-one >> log}]}
    - {command: 'false'}"""
    book(ikoma, steps)
    done = ikoma("run", "p.yml", "--no-rollback", expect=2)
    assert log(ikoma) == ["one"]
    (advice,) = (line.split()[2:] for line in done.out.splitlines() if "runs rollback" in line)
    ikoma(*advice, expect=0)
    assert log(ikoma) == ["one", "un-one"]


def test_a_run_that_dies_while_it_is_undone_is_undone_further(ikoma: Ikoma) -> None:
    steps = """\
    - {shell: echo one >> log, rollback: [{name: Un-one, file: {path: log, state: absent}}]}
    - name: Two
      shell: echo two >> log
      rollback:
        - name: Un-two
          shell: "test -e died || { touch died; kill -9 {{ lookup('pipe', 'echo $PPID') }}; exit 1; }; touch undone"
"""
    book(ikoma, steps)
    ikoma("run", "p.yml", expect=0)
    assert ikoma("runs", "rollback", expect=None).code == -signal.SIGKILL
    assert shown(ikoma)["state"] == "died"
    assert "is being undone" in ikoma("runs", "resume", expect=1).err
    ikoma("runs", "rollback", "--retry-unfinished", expect=0)
    assert (ikoma.folder / "undone").exists() and not (ikoma.folder / "log").exists()


def test_what_cannot_be_gone_on_with_is_said(ikoma: Ikoma) -> None:
    assert "there is no journal" in ikoma("runs", "resume", expect=1).err
    ikoma("exec", "command", "cmd=false", "-l", "localhost", expect=2)
    assert "no run of a playbook" in ikoma("runs", "resume", expect=1).err
    assert "one call of a tool" in ikoma("runs", "resume", shown_first(ikoma), expect=1).err
    assert "is no run" in ikoma("runs", "resume", "1999", expect=1).err
    book(ikoma, "    - {command: 'false'}")
    ikoma("run", "p.yml", expect=2)
    elsewhere = ikoma.folder / "elsewhere"
    elsewhere.mkdir()
    there = Ikoma(elsewhere, {"IKOMA_STATE": f"sqlite:{ikoma.folder}/.ikoma/journal.db"})
    assert f"cd {ikoma.folder}" in there("runs", "resume", expect=1).err
