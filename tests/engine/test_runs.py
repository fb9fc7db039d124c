"""Runs as a whole: hosts that do not answer, mistakes of our own, interruption, parallel hosts, plans, events."""

from __future__ import annotations

import json
import os
import re
import signal
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.engine import Options, plan, run
from ikoma_play.errors import Unreachable, UsageError
from ikoma_play.events import (
    Event,
    PlayStarted,
    RunFinished,
    RunStarted,
    StepFinished,
    StepRetried,
    StepStarted,
    Warned,
)
from ikoma_play.language import load_inventory, load_playbook
from ikoma_play.model import Command, Host, Result, Status
from ikoma_play.tools import TOOLS
from ikoma_play.transport.base import Transport
from ikoma_play.transport.local import LocalTransport
from tests.engine.golden import play, put

THREE = "h[1:3] ansible_connection=local\n"


class Faulty(LocalTransport):
    """This machine, but commands of one host go wrong in a given way."""

    def __init__(self, host: Host, error: Exception) -> None:
        super().__init__(host)
        self.error = error

    def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
        raise self.error


def test_an_unreachable_host_leaves_the_others_alone(tmp_path: Path) -> None:
    def connect(host: Host) -> Transport:
        if host.name == "h2":
            raise Unreachable("h2 does not answer", remedy="Switch it on.")
        return LocalTransport(host)

    ran = play(tmp_path, "- hosts: all\n  tasks: [{ping: }, {ping: }]\n- hosts: all\n  tasks: [{ping: }]\n", THREE,
               connect=connect)  # fmt: skip
    assert ran.counts("h1") == {"ok": 3}
    assert ran.counts("h2") == {"unreachable": 1}
    assert ran.report.failures[0].outcome.failure.code == "unreachable"  # type: ignore[union-attr]


def test_a_lost_host_reaches_no_rescue_and_can_be_ignored(tmp_path: Path) -> None:
    def connect(host: Host) -> Transport:
        return Faulty(host, Unreachable("gone")) if host.name == "h2" else LocalTransport(host)

    text = """
- hosts: all
  tasks:
    - {command: "true", ignore_unreachable: true, register: r}
    - {debug: {msg: "{{ r.unreachable | default(false) }}!"}}
    - block: [{command: "true"}]
      rescue: [{debug: {msg: not here}}]
      always: [{debug: {msg: always}}]
"""
    ran = play(tmp_path, text, "h1 ansible_connection=local\nh2\n", connect=connect)
    assert ran.counts("h2") == {"ok": 2, "ignored": 1, "unreachable": 1}
    assert sorted(ran.said()) == ["h1: False!", "h1: always", "h2: True!"]  # hosts run at the same time


def test_a_mistake_of_ours_is_a_failure_with_its_place(tmp_path: Path) -> None:
    ran = play(tmp_path, "- hosts: h1\n  tasks: [{command: 'true'}]\n",
               connect=lambda host: Faulty(host, ZeroDivisionError("oops")))  # fmt: skip
    failure = ran.finished[0].outcome.failure
    assert failure is not None
    assert failure.code == "internal"
    assert re.fullmatch(r"ZeroDivisionError: oops \(test_runs\.py:\d+\)", failure.message)
    assert "Traceback" not in str(ran.events)


def test_what_this_machine_cannot_hold_is_no_mistake_of_ours(tmp_path: Path) -> None:
    for error, said in ((OverflowError("int too large"), "a number is out of range: int too large"),
                        (MemoryError(), "there is not enough memory for this")):  # fmt: skip
        place = tmp_path / type(error).__name__
        place.mkdir()
        ran = play(place, "- hosts: h1\n  tasks: [{command: 'true'}]\n", connect=lambda host, e=error: Faulty(host, e))
        failure = ran.finished[0].outcome.failure
        assert failure is not None and (failure.code, failure.message) == ("step-failed", said), failure


@pytest.mark.parametrize(
    ("step", "message"),
    [
        ({"copy": {"src": "x" * 300, "dest": "/tmp/x"}}, "file name too long"),
        ({"template": {"src": "x" * 300, "dest": "/tmp/x"}}, "file name too long"),
        ({"file": {"path": "\0x"}}, "a zero byte cannot be part of a path or of a command"),
        ({"command": {"argv": ["echo", "\0"]}}, "a zero byte cannot be part of a path or of a command"),
        ({"find": {"paths": "/tmp", "contains": "{["}}, "'{[' is not a regular expression"),
        ({"assemble": {"src": ".", "dest": "/tmp/x", "regexp": "("}}, "'(' is not a regular expression"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_what_the_system_will_not_take_is_no_mistake_of_ours(
    tmp_path: Path, step: dict[str, Any], message: str
) -> None:
    where = {"hosts": "h1", "connection": "local", "gather_facts": False}
    ran = play(tmp_path, json.dumps([{**where, "vars": {"given": step}, "tasks": [
        {tool: {name: f"{{{{ given['{tool}']['{name}'] }}}}" for name in arguments}} for tool, arguments in step.items()
    ]}]))  # fmt: skip
    failure = ran.finished[0].outcome.failure
    assert failure is not None and failure.code != "internal", failure
    assert message in failure.message, failure


def test_an_unreachable_host_keeps_what_it_did_and_says_so(tmp_path: Path) -> None:
    class Dies(LocalTransport):
        def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
            if command.argv[0] == "last":
                raise Unreachable("gone")
            return super().run(command, on_output)

    text = """
- hosts: h1
  tasks:
    - {command: "true", rollback: [{debug: {msg: not here}}]}
    - {command: last}
"""
    ran = play(tmp_path, text, connect=Dies)
    assert ran.said() == []
    assert not ran.report.undone
    assert any("not undone" in event.message for event in ran.events if isinstance(event, Warned))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_after_the_step(number: int, tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, StepStarted) and event.title == "long":
            os.kill(os.getpid(), number)

    text = """
- hosts: h1
  tasks:
    - {name: long, shell: "sleep 0.2; echo done > {{ playbook_dir }}/x", rollback: [{command: "true"}]}
    - {name: next, debug: {msg: not here}}
"""
    before = signal.getsignal(number)
    ran = play(tmp_path, text, observers=[interrupt])
    assert ran.report.interrupted
    assert (tmp_path / "x").read_text() == "done\n"
    assert [event.title for event in ran.finished] == ["long"]
    assert signal.getsignal(number) is before


def test_a_signal_as_soon_as_the_run_is_told_of_stops_it_before_its_first_step(tmp_path: Path) -> None:
    """Who reads in the journal that it runs may stop it at once."""

    def interrupt(event: Event) -> None:
        if isinstance(event, RunStarted):
            os.kill(os.getpid(), signal.SIGTERM)

    missed: list[int] = []
    before = signal.signal(signal.SIGTERM, lambda number, frame: missed.append(number))
    try:
        ran = play(tmp_path, "- hosts: h1\n  tasks: [{debug: {msg: not here}}]\n", observers=[interrupt])
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not missed and ran.report.interrupted
    assert not ran.finished


def test_a_signal_cuts_the_wait_between_retries_short(tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, StepRetried):
            os.kill(os.getpid(), signal.SIGINT)

    ran = play(tmp_path, "- hosts: h1\n  tasks: [{command: 'false', retries: 9, delay: 600}]\n", observers=[interrupt])
    assert ran.report.interrupted


def test_hosts_run_at_the_same_time(tmp_path: Path) -> None:
    """Each host waits for the others inside the step; in turn they would wait for ever."""
    meeting = threading.Barrier(3, timeout=30)

    class Meets(LocalTransport):
        def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
            meeting.wait()
            return super().run(command, on_output)

    ran = play(tmp_path, "- hosts: all\n  tasks: [{command: 'true'}]\n", THREE, connect=Meets)
    assert all(event.outcome.status is Status.CHANGED for event in ran.finished)


def busiest(folder: Path, text: str, options: Options) -> int:
    """How many hosts were at work at once."""
    now, most, lock = 0, 0, threading.Lock()

    class Counts(LocalTransport):
        def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
            nonlocal now, most
            with lock:
                now += 1
                most = max(most, now)
            time.sleep(0.02)
            result = super().run(command, on_output)
            with lock:
                now -= 1
            return result

    play(folder, text, "h[1:6] ansible_connection=local\n", options, connect=Counts)
    return most


def test_forks_bound_how_many(tmp_path: Path) -> None:
    assert busiest(tmp_path, "- hosts: all\n  tasks: [{command: 'true'}]\n", Options(forks=2)) == 2
    assert busiest(tmp_path, "- hosts: all\n  tasks: [{command: 'true'}]\n", Options(forks=1)) == 1


def test_throttle_bounds_a_step(tmp_path: Path) -> None:
    assert busiest(tmp_path, "- hosts: all\n  tasks: [{command: 'true', throttle: 2}]\n", Options(forks=6)) == 2


def test_each_host_has_one_road_that_is_closed(tmp_path: Path) -> None:
    opened: list[str] = []
    closed: list[str] = []

    class Road(LocalTransport):
        def __init__(self, host: Host) -> None:
            super().__init__(host)
            opened.append(host.name)

        def close(self) -> None:
            closed.append(self.host.name)

    def told(event: Event) -> None:
        if isinstance(event, RunFinished):
            closed.append("all is told")

    text = "- hosts: all\n  tasks: [{ping: }, {ping: }, {debug: {msg: x}}]\n- hosts: h1\n  tasks: [{ping: }]\n"
    play(tmp_path, text, THREE, connect=Road, observers=[told])
    assert sorted(opened) == ["h1", "h2", "h3"]
    assert closed[0] == "all is told", "nobody has to wait for what the hosts do when they are left"
    assert sorted(closed[1:]) == sorted(opened)


def test_steps_of_the_runner_open_no_road(tmp_path: Path) -> None:
    def connect(host: Host) -> Transport:
        raise Unreachable("nobody is there")

    text = "- hosts: h1\n  tasks: [{debug: {msg: x}}, {set_fact: {a: 1}}, {assert: {that: a == 1}}]\n"
    assert play(tmp_path, text, connect=connect).counts("h1") == {"ok": 3}


def test_a_road_carries_rendered_variables(tmp_path: Path) -> None:
    seen: dict[str, Any] = {}

    def connect(host: Host) -> Transport:
        seen.update(host.vars)
        return LocalTransport(host)

    text = "- hosts: h1\n  vars: {root: /srv, ikoma_apps_root: '{{ root }}/apps'}\n  tasks: [{ping: }]\n"
    play(tmp_path, text, "h1 ansible_host='{{ inventory_hostname }}.example'\n", connect=connect)
    assert seen["ikoma_apps_root"] == "/srv/apps"
    assert seen["ansible_host"] == "h1.example"
    assert "ansible_facts" not in seen


def test_events_come_in_order(tmp_path: Path) -> None:
    ran = play(
        tmp_path, "- name: p\n  hosts: h1\n  tasks: [{name: s, command: 'true'}, {debug: {msg: x}, when: false}]\n"
    )
    kinds = [type(event) for event in ran.events]
    assert kinds == [RunStarted, PlayStarted, StepStarted, StepFinished, StepFinished, RunFinished]
    assert ran.events[0].steps == 2  # type: ignore[attr-defined]
    assert ran.finished[0].arguments == {"cmd": "true"}
    assert ran.finished[0].outcome.seconds > 0
    assert len({event.run for event in ran.events}) == 1
    assert re.fullmatch(r"\d{8}-\d{6}-[0-9a-f]{4}", ran.report.run)


def test_a_step_is_the_same_object_for_every_host(tmp_path: Path) -> None:
    (tmp_path / "more.yml").write_text("- debug: {msg: x}\n")
    ran = play(tmp_path, "- hosts: all\n  tasks: [{include_tasks: more.yml}, {command: 'true'}]\n", THREE)
    assert len({id(event.step) for event in ran.finished}) == 3


def test_become_is_asked_of_the_road(tmp_path: Path) -> None:
    asked: list[tuple[Any, ...]] = []

    class Becomes(LocalTransport):
        def become(self, user: str, method: str = "sudo", password: str | None = None, flags: str = "") -> Transport:
            asked.append((user, method, password, flags))
            return self

    text = """
- hosts: h1
  become: true
  vars: {ansible_become_password: "pw-{{ 1 + 1 }}-canary"}
  tasks:
    - {command: "true"}
    - {command: "true"}
    - {command: "true", become_user: other, become_method: su}
    - {command: "true", become: false}
"""
    ran = play(tmp_path, text, connect=Becomes)
    assert asked == [("root", "sudo", "pw-2-canary", ""), ("other", "su", "pw-2-canary", "")]
    assert "pw-2-canary" not in str([event.outcome for event in ran.finished])


def test_confirm_leaves_out_and_goes_on(tmp_path: Path) -> None:
    answers = iter([True, False, None])
    asked = []

    def confirm(step: Any) -> bool | None:
        asked.append(step.title)
        return next(answers)

    text = "- hosts: h1\n  tasks: [" + ", ".join(f"{{name: s{n}, debug: {{msg: '{n}'}}}}" for n in range(5)) + "]\n"
    ran = play(tmp_path, text, options=Options(confirm=confirm))
    assert asked == ["s0", "s1", "s2"]
    assert ran.said() == ["h1: 0", "h1: 2", "h1: 3", "h1: 4"]


def test_prompts_are_answered(tmp_path: Path) -> None:
    text = """
- hosts: h1
  vars_prompt: [{name: who, private: false}, {name: pin}]
  tasks: [{debug: {msg: '{{ who }} {{ pin }}'}}]
"""
    ran = play(tmp_path, text, options=Options(ask=lambda prompt: f"answer-{prompt['name']}"))
    assert ran.said() == ["h1: answer-who ********"]
    given = play(tmp_path, text, options=Options(extra_vars={"who": "me", "pin": "1234567"}))
    assert given.said() == ["h1: me 1234567"]


def test_what_was_done_is_told_before_a_question_is_asked(tmp_path: Path) -> None:
    told: list[str] = []

    def watch(event: Event) -> None:
        if isinstance(event, StepFinished):
            told.append(event.title)

    def confirm(step: Any) -> bool:
        told.append(f"{step.title}?")
        return True

    def ask(prompt: Any) -> str:
        told.append("who?")
        return "me"

    text = """
- hosts: h1
  tasks: [{name: a, debug: {msg: a}}, {name: b, debug: {msg: b}}]
- hosts: h1
  vars_prompt: [{name: who}]
  tasks: [{name: c, debug: {msg: c}}]
"""
    play(tmp_path, text, options=Options(confirm=confirm, ask=ask), observers=[watch])
    assert told == ["a?", "a", "b?", "b", "who?", "c?", "c"]


def test_what_was_done_under_a_lock_is_told_before_it_is_given_back(tmp_path: Path) -> None:
    told: list[str] = []

    class Locks:
        def take(self, name: str, run: str, stopped: Callable[[], bool]) -> None:
            told.append(f"{name} taken")

        def give_back(self, name: str, run: str) -> None:
            told.append(f"{name} given back")

    def watch(event: Event) -> None:
        if isinstance(event, StepFinished):
            told.append(event.title)

    text = "- {hosts: h1, lock: one, tasks: [{name: a, debug: {msg: a}}]}\n- {hosts: h1, tasks: [{name: b, ping: }]}\n"
    put(tmp_path / "hosts", "h1 ansible_connection=local\n")
    put(tmp_path / "site.yml", text)
    playbook = load_playbook(str(tmp_path / "site.yml"), TOOLS)
    run([playbook], load_inventory([str(tmp_path / "hosts")]), TOOLS, Options(), [watch], LocalTransport, Locks())
    assert told == ["one taken", "a", "one given back", "b"]


def test_a_plan_tells_what_would_undo_each_step(tmp_path: Path) -> None:
    def connect(host: Host) -> Transport:
        raise AssertionError("a plan touches no host")

    (tmp_path / "site.yml").write_text("""
- name: p {{ v }}
  hosts: all
  vars: {v: 1}
  rollback: [{name: undo play, command: "true"}]
  tasks:
    - {name: "one {{ v }}", command: "true", rollback: [{name: undo one, command: "true"}]}
    - block: [{name: two, debug: {msg: x}, tags: t, when: v == 1}]
      rollback: [{name: undo block, command: "true"}]
      rescue: [{name: three, debug: {msg: x}}]
""")
    (tmp_path / "hosts").write_text(THREE)
    rows = plan([load_playbook(str(tmp_path / "site.yml"), TOOLS)], load_inventory([str(tmp_path / "hosts")]), TOOLS,
                Options())  # fmt: skip
    assert [(row.title, row.undo, row.part, row.changes) for row in rows] == [
        ("one 1", ("undo one", "undo play"), "step", True),
        ("two", ("undo block", "undo play"), "step", False),
        ("three", ("undo play",), "rescue", False),
    ]
    assert rows[0].hosts == ("h1", "h2", "h3")
    assert rows[0].play == "p 1"
    assert rows[1].when == ("v == 1",)
    assert rows[1].tags == ("t",)


@pytest.mark.parametrize("keyword", ["run_once", "throttle", "no_log", "ignore_errors", "delegate_to", "timeout"])
def test_a_wrong_template_in_a_keyword_fails_the_step(keyword: str, tmp_path: Path) -> None:
    text = f"""
- hosts: h1
  tasks:
    - block: [{{command: "false", {keyword}: "{{{{ nowhere }}}}"}}]
      rescue: [{{debug: {{msg: mended}}}}]
"""
    ran = play(tmp_path, text)
    assert ran.said() == ["h1: mended"]
    assert ran.counts("h1") == {"ok": 1, "rescued": 1}


def test_an_observer_that_fails_ends_the_run_after_the_step(tmp_path: Path) -> None:
    seen: list[Event] = []

    def broken(event: Event) -> None:
        seen.append(event)
        if isinstance(event, StepStarted):
            raise BrokenPipeError("nobody reads")

    text = "- hosts: h1\n  tasks: [{shell: 'echo x > {{ playbook_dir }}/x'}, {command: 'true'}]\n"
    with pytest.raises(BrokenPipeError):
        play(tmp_path, text, observers=[broken])
    assert (tmp_path / "x").exists()
    assert len(seen) == 3


@pytest.mark.parametrize(
    ("keywords", "said"),
    [
        ("retries: '{{ word }}'", "retries wants a number, not 'many'"),
        ("retries: 1, delay: '{{ word }}'", "delay wants a number, not 'many'"),
        ("throttle: '{{ word }}'", "throttle wants a number, not 'many'"),
        ("timeout: '{{ word }}'", "timeout wants a number, not 'many'"),
        ("environment: '{{ word }}'", "environment wants a mapping"),
        ("async: '{{ word }}', poll: 0", "async wants a number, not 'many'"),
    ],
)
def test_keywords_of_the_wrong_kind_say_what_they_want(keywords: str, said: str, tmp_path: Path) -> None:
    ran = play(tmp_path, f"- hosts: h1\n  vars: {{word: many}}\n  tasks: [{{command: 'true', {keywords}}}]\n")
    failure = ran.report.failures[0].outcome.failure
    assert failure is not None
    assert said in failure.message
    assert failure.position is not None
    assert failure.position.line == 3


@pytest.mark.parametrize(
    ("options", "message", "remedy"),
    [
        (Options(limit="h11"), "--limit h11 matches no host", "h1"),
        (Options(start_at_step="secnd"), "no step named 'secnd'", "second"),
    ],
)
def test_options_that_would_pass_everything_by(options: Options, message: str, remedy: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as caught:
        play(tmp_path, "- hosts: h1\n  tasks: [{name: second, command: 'true'}]\n", THREE, options)
    assert message in caught.value.message
    assert remedy in caught.value.remedy


def commands_run(folder: Path, text: str) -> tuple[list[str], list[str]]:
    """The first words of all commands that a playbook came to, and what debug said."""
    ran: list[str] = []

    class Tells(LocalTransport):
        def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
            ran.append(command.argv[0])
            return super().run(command, on_output)

    return ran, play(folder, text, connect=Tells).said()


def test_facts_are_gathered_when_they_are_asked_for(tmp_path: Path) -> None:
    text = """
- hosts: h1
  tasks:
    - {debug: {msg: "{{ ansible_system }}"}}
    - {debug: {msg: "{{ ansible_facts.system }} {{ ansible_facts['kernel'] == ansible_kernel }}"}}
    - {debug: {msg: "{{ hostvars.h1.ansible_system }} {{ ansible_nowhere is defined }}"}}
"""
    ran, said = commands_run(tmp_path, text)
    assert said == ["h1: Linux", "h1: Linux True", "h1: Linux False"]
    assert ran == ["/bin/sh"], "one round trip for all facts"


def test_nobody_asks_and_nothing_is_gathered(tmp_path: Path) -> None:
    text = "- hosts: h1\n  tasks: [{debug: {msg: '{{ inventory_hostname }} {{ vars | length > 5 }}'}}]\n"
    assert commands_run(tmp_path, text) == ([], ["h1: h1 True"])


def test_a_play_that_gathers_counts_a_step(tmp_path: Path) -> None:
    text = "- hosts: h1\n  gather_facts: true\n  tasks: [{debug: {msg: '{{ ansible_system }}'}}]\n"
    ran = play(tmp_path, text)
    assert ran.order() == ["h1 step Gathering Facts ok", "h1 step debug ok"]
    assert ran.said() == ["h1: Linux"]
