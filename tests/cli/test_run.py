"""`run` through the real command: exit codes, what is shown, what is written."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.etree import ElementTree as Xml

import pytest

from tests.parts.command import CHECKOUT, Finished, Ikoma

HEAD = "- name: Try it\n  hosts: localhost\n  gather_facts: false\n  tasks:\n"


@pytest.fixture
def ikoma(tmp_path: Path) -> Ikoma:
    return Ikoma(tmp_path)


def playbook(folder: Path, steps: str, head: str = HEAD) -> None:
    """Write `steps`, a list in YAML, as the tasks of p.yml."""
    lines = [f"    {line}" for line in steps.strip("\n").splitlines()]
    (folder / "p.yml").write_text(head + "\n".join(lines) + "\n")


def run(ikoma: Ikoma, steps: str, *words: str, expect: int = 0, head: str = HEAD) -> Finished:
    playbook(ikoma.folder, steps, head)
    return ikoma("run", "p.yml", *words, expect=expect)


BREAKS = """
- name: Fine
  command: "true"
- name: Broken
  command: ls /nowhere-at-all
- name: Never reached
  debug:
"""


def test_done(ikoma: Ikoma) -> None:
    done = run(ikoma, "- name: Hello\n  debug: {msg: good morning}")
    assert "ok: [localhost] Hello\n    good morning\n" in done.out
    assert done.err == ""


def test_variables_beside_the_playbook_count(ikoma: Ikoma) -> None:
    for name, text in {
        "inventory/hosts": "[web]\nlocalhost ansible_connection=local\n",
        "inventory/group_vars/web.yml": "one: inventory\ntwo: inventory\n",
        "play/group_vars/web.yml": "one: playbook\n",
        "play/host_vars/localhost.yml": "three: host\n",
        "play/p.yml": "- hosts: web\n  tasks:\n    - debug: {msg: '{{ one }} {{ two }} {{ three }}'}\n",
    }.items():
        path = ikoma.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    done = ikoma("run", "play/p.yml", "-i", "inventory", expect=0)
    assert "    playbook inventory host\n" in done.out


def test_a_step_fails_and_nothing_is_undone(ikoma: Ikoma) -> None:
    done = run(ikoma, BREAKS, expect=2)
    assert "failed: [localhost] Broken\n    p.yml:7:7\n" in done.out, "file, line and column of the failed step"
    assert "| ls: cannot access '/nowhere-at-all'" in done.out, "what the command printed"
    assert "Never reached" not in done.out
    assert "Nothing was undone." in done.out
    assert "ikoma-play runs resume 2" in done.out and "ikoma-play runs rollback 2" in done.out


def test_the_advice_works(ikoma: Ikoma) -> None:
    done = run(ikoma, BREAKS, expect=2)
    (advice,) = (line.split()[2:] for line in done.out.splitlines() if "ikoma-play runs resume" in line)
    book = ikoma.folder / "p.yml"
    book.write_text(book.read_text().replace("/nowhere-at-all", "/"))
    done = ikoma(*advice, "--yes", expect=0)
    assert "Fine" not in done.out and "changed: [localhost] Broken" in done.out and "Never reached" in done.out


def test_a_run_begins_at_a_step(ikoma: Ikoma) -> None:
    done = run(ikoma, BREAKS.replace("/nowhere-at-all", "/"), "--start-at-step", "Broken")
    assert "Fine" not in done.out and "changed: [localhost] Broken" in done.out and "Never reached" in done.out


def test_a_step_fails_and_everything_is_rolled_back(ikoma: Ikoma) -> None:
    steps = "- name: Make it\n  file: {path: made, state: touch}\n  rollback:\n    - name: Take it away\n"
    steps += "      file: {path: made, state: absent}\n- name: Broken\n  command: 'false'\n"
    done = run(ikoma, steps, expect=3)
    assert "PHASE Rolling back\n" in done.out and "rolled_back: [localhost] Take it away" in done.out
    assert "everything was rolled back" in done.out
    assert not (ikoma.folder / "made").exists()
    kept = run(ikoma, steps, "--no-rollback", expect=2)
    assert "Take it away" not in kept.out and (ikoma.folder / "made").exists()


def test_a_rollback_handler_fails(ikoma: Ikoma) -> None:
    steps = "- name: Make it\n  command: 'true'\n  rollback:\n    - name: Take it away\n      command: 'false'\n"
    done = run(ikoma, steps + "- name: Broken\n  command: 'false'\n", expect=5)
    assert "rollback_failed: [localhost] Take it away" in done.out and "A person must look" in done.out


def test_a_faulty_playbook_runs_nothing(ikoma: Ikoma) -> None:
    done = run(ikoma, "- command: touch made\n- name: Wrong\n  comand: 'true'\n", expect=4)
    assert "p.yml:7:7: " in done.err and "^" in done.err and "command" in done.err
    assert "nothing was run" in done.err
    assert done.out == "" and not (ikoma.folder / "made").exists()


def test_a_host_that_cannot_be_reached(ikoma: Ikoma) -> None:
    done = run(ikoma, "- ping:", "-i", "elsewhere,", expect=6, head=HEAD.replace("localhost", "all"))
    assert "unreachable: [elsewhere]" in done.out
    assert "$ ikoma-play exec ping -l elsewhere" in done.out


def test_interrupted(ikoma: Ikoma) -> None:
    playbook(ikoma.folder, "- name: Wait\n  command: sleep 30\n- name: After\n  command: touch after\n")
    process = subprocess.Popen(
        [sys.executable, "-m", "ikoma_play", "run", "p.yml", "--json"], cwd=ikoma.folder, text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line)["event"] == "step_started":
            break
    # The first signal lets the step end, the second one stops at once.
    process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=20)
    assert process.returncode == 130, out + err
    assert json.loads(out.splitlines()[-1])["interrupted"] is True
    assert not (ikoma.folder / "after").exists()
    assert "Traceback" not in err


def test_json_is_all_there_is_on_standard_output(ikoma: Ikoma) -> None:
    done = run(ikoma, BREAKS, "--json", expect=2)
    assert [event["event"] for event in done.events if not event["event"].startswith("step_")] == [
        "run_started", "play_started", "run_finished",
    ]  # fmt: skip
    assert done.steps("failed") == ["Broken"] and done.recap["localhost"]["failed"] == 1


def test_junit_through_a_pipe_or_a_link(ikoma: Ikoma) -> None:
    """What is no file is written to; a link stays, and what it leads to is replaced."""
    done = run(ikoma, "- command: 'true'", "--junit", "/dev/stdout")
    assert "<testsuites " in done.out and Path("/dev/stdout").is_symlink()
    (ikoma.folder / "link.xml").symlink_to("aim.xml")
    for _ in range(2):
        run(ikoma, "- command: 'true'", "--junit", "link.xml")
        assert (ikoma.folder / "link.xml").is_symlink() and "<testsuites " in (ikoma.folder / "aim.xml").read_text()


def test_junit_and_profile(ikoma: Ikoma) -> None:
    done = run(ikoma, BREAKS, "--junit", "junit.xml", "--profile", expect=2)
    root = Xml.parse(ikoma.folder / "junit.xml").getroot()
    assert (root.get("tests"), root.get("failures")) == ("2", "1")
    assert "Slowest of 2 steps" in done.out


def test_check_mode_and_differences(ikoma: Ikoma) -> None:
    steps = "- name: Write\n  copy: {dest: made, content: new line}\n"
    done = run(ikoma, steps, "--check", "--diff")
    assert "changed: [localhost] Write" in done.out and "    +new line\n" in done.out
    assert "1 step would change something" in done.out
    assert not (ikoma.folder / "made").exists()


def test_no_secret_of_the_command_line_comes_back(ikoma: Ikoma) -> None:
    words = ("-e", "db_password=canary-1", "-e", '{"api_token": "canary-2"}', "-e", "app=shop")
    done = run(ikoma, "- name: Use it\n  command: ls {{ db_password }} {{ api_token }}", *words, "-vvv", expect=2)
    assert "canary" not in done.text
    kept = ikoma("runs", "show").out
    assert "-e app=shop" in kept and "canary" not in kept, "what is no secret is kept with the run"


def test_extra_variables_from_everywhere(ikoma: Ikoma) -> None:
    (ikoma.folder / "more.yml").write_text("b: from file\nc: [1, 2]\n")
    words = ("-e", "a=typed b=too", "-e", "@more.yml", "-e", '{"d": {"e": 5}}', "--extra-vars", "f=with a blank")
    done = run(ikoma, "- debug: {msg: '{{ a }}, {{ b }}, {{ c | sum }}, {{ d.e + 1 }}, {{ f }}'}", *words)
    assert "typed, from file, 3, 6, with a blank\n" in done.out


def test_tags_and_lists(ikoma: Ikoma) -> None:
    steps = "- {name: One, debug: , tags: [a]}\n- {name: Two, debug: , tags: [b, c]}\n"
    assert "One" not in run(ikoma, steps, "--tags", "b").out
    assert "Two" not in run(ikoma, steps, "--skip-tags", "c,x").out
    listed = run(ikoma, steps, "--list-tasks", "--list-hosts", "--list-tags").out
    assert "hosts (1):\n    localhost\n" in listed and "tags: a, b, c\n" in listed
    assert "1  One  debug  [a]\n" in listed and "2  Two  debug  [b, c]\n" in listed
    assert "PLAY" not in listed, "nothing was run"
    assert "no faults" in run(ikoma, steps, "--syntax-check").out


def test_step_by_step(ikoma: Ikoma) -> None:
    playbook(ikoma.folder, "".join(f"- {{name: Step {n}, command: touch made{n}}}\n" for n in range(1, 5)))
    done = subprocess.run(
        [sys.executable, "-m", "ikoma_play", "run", "p.yml", "--step"], cwd=ikoma.folder, input="y\nn\nc\n", text=True,
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)}, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert [n for n in range(1, 5) if (ikoma.folder / f"made{n}").exists()] == [1, 3, 4]


def test_several_playbooks_in_a_row(ikoma: Ikoma) -> None:
    (ikoma.folder / "second.yml").write_text(HEAD.replace("Try it", "Second") + "    - debug: {msg: two}\n")
    playbook(ikoma.folder, "- debug: {msg: one}")
    out = ikoma("run", "p.yml", "second.yml").out
    assert out.index("one") < out.index("PLAY Second") < out.index("two")


def test_what_a_play_asks_for_must_be_given_where_nobody_can_answer(ikoma: Ikoma) -> None:
    head = HEAD.replace("  tasks:\n", "  vars_prompt:\n    - {name: who, private: false}\n  tasks:\n")
    steps = "- debug: {msg: 'hello {{ who }}'}"
    done = run(ikoma, steps, expect=1, head=head)
    assert "p.yml:1:3: " in done.err and "-e who=" in done.err
    assert "hello Ada" in run(ikoma, steps, "-e", "who=Ada", head=head).out


def test_connection_options_are_for_hosts_that_say_nothing_else(ikoma: Ikoma) -> None:
    head = HEAD.replace("localhost", "all")
    done = run(ikoma, "- ping:", "-i", "anything,", "--connection", "local", "-u", "nobody", head=head)
    assert "ok: [anything]" in done.out
