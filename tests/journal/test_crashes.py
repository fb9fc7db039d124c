"""The runner is killed at its journal's writes and at random instants: what was begun is gone on with or undone, and
comes to what it would have come to undisturbed.

A part of the writes is tried each time, chosen by chance: IKOMA_TESTS_SEED chooses the same again. IKOMA_TESTS_LONG=1
tries every one, and many more instants. `pytest -s` prints how many were tried.
"""

from __future__ import annotations

import json
import random
import secrets
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import psycopg
import pytest

from tests.parts.chance import LONG, some
from tests.parts.crashing import Died, Nursery, nursery
from tests.parts.sandbox import Sandbox, sandbox

__all__ = ["sandbox"]

INSTANTS = 200 if LONG else 12

# Steps of every kind. Each leaves a file by its own work, so that a second time changes nothing more, and a line in
# `log`, so that it is seen how often it ran; handlers take the files away again.
BOOK = """\
- name: First
  hosts: all
  gather_facts: false
  vars: {made: '{{ playbook_dir }}/made', log: '{{ playbook_dir }}/log'}
  rollback: [{name: Un-first, file: {path: '{{ made }}/{{ inventory_hostname }}', state: absent}}]
  tasks:
    - {name: folder, file: {path: '{{ made }}/{{ inventory_hostname }}', state: directory}}
    - name: asks
      shell: echo asks-{{ inventory_hostname }} >> {{ log }}; echo 7 | tee {{ made }}/{{ inventory_hostname }}/asks
      register: said
      notify: restart
    - {name: fact, set_fact: {port: '8{{ said.stdout }}'}}
    - name: copies
      copy: {dest: '{{ made }}/{{ inventory_hostname }}/{{ item }}', content: '{{ port }} {{ item }}'}
      loop: [x, y]
      register: copied
      notify: reload
    - {name: lost, command: 'false', register: lost, ignore_errors: true}
    - include_tasks: more.yml
    - name: mended
      block: [{name: breaks, command: 'false'}]
      rescue: [{name: rescues, copy: {dest: '{{ made }}/{{ inventory_hostname }}/rescued', content: x}}]
      always: [{name: always, copy: {dest: '{{ made }}/{{ inventory_hostname }}/always', content: x}}]
    - name: once
      shell: echo once >> {{ log }}; touch {{ made }}/once
      run_once: true
      rollback: [{name: Un-once, file: {path: '{{ made }}/once', state: absent}}]
  handlers:
    - {name: restart, shell: 'echo restart-{{ inventory_hostname }} >> {{ log }}'}
    - {name: reload, copy: {dest: '{{ made }}/{{ inventory_hostname }}/reloaded', content: '{{ copied.changed }}'}}
- name: Second
  hosts: a
  gather_facts: false
  vars: {made: '{{ playbook_dir }}/made', log: '{{ playbook_dir }}/log'}
  tasks:
    - name: ends
      shell: >-
        echo ends >> {{ log }}; echo {{ port }} {{ copied.results | map(attribute='item') | join }}
        {{ lost.failed }} {{ brought }} > {{ made }}/end
      rollback: [{name: Un-end, file: {path: '{{ made }}/end', state: absent}}]
    - {name: last, command: 'test ! -e {{ playbook_dir }}/broken', changed_when: false}
"""
MORE = """\
- name: brings
  shell: echo brings-{{ inventory_hostname }} >> {{ log }}; echo b | tee {{ made }}/brought-{{ inventory_hostname }}
  register: out
  rollback: [{name: Un-bring, file: {path: '{{ made }}/brought-{{ inventory_hostname }}', state: absent}}]
- {name: keeps, set_fact: {brought: '{{ out.stdout }}'}}
"""
INVENTORY = "all: {hosts: {a: {}, b: {}}, vars: {ansible_connection: local}}\n"


@pytest.fixture(scope="module")
def ikoma() -> Iterator[Nursery]:
    with nursery() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def journal(request: pytest.FixtureRequest) -> dict[str, str]:
    """The environment that names a journal: of SQLite in each directory, of PostgreSQL one for all."""
    if request.param == "sqlite":
        return {}
    running: Sandbox = request.getfixturevalue("sandbox")
    found = running.cluster.coordinates()
    assert found is not None
    name = f"journal_{secrets.token_hex(4)}"
    server = f"postgresql://{found.user}:{found.password}@{found.host}:{found.port}"
    with psycopg.connect(f"{server}/postgres", autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"')  # type: ignore[call-overload]
    return {"IKOMA_STATE": f"{server}/{name}"}


class Trial:
    """One run of the book in a directory of its own."""

    def __init__(self, ikoma: Nursery, folder: Path, journal: dict[str, str], broken: bool = False) -> None:
        self.ikoma, self.folder, self.journal = ikoma, folder, journal
        folder.mkdir()
        for name, text in {"p.yml": BOOK, "more.yml": MORE, "inventory.yml": INVENTORY}.items():
            (folder / name).write_text(text)
        if broken:
            (folder / "broken").touch()

    def __call__(self, *words: str, **more: Any) -> Died:
        return self.ikoma(self.folder, *words, environment=self.journal, **more)

    def again(self, what: str, **more: Any) -> Died:
        return self("runs", what, "--retry-unfinished", **more)

    @property
    def begun(self) -> bool:
        """Whether the journal knows of a run here."""
        done = self("runs", "show", "--json")
        where = str(self.folder / "p.yml")
        return done.code == 0 and where in json.loads(done.text)["files"]

    @property
    def files(self) -> dict[str, str]:
        made = self.folder / "made"
        return {str(path.relative_to(made)): path.read_text() for path in sorted(made.rglob("*")) if path.is_file()}

    @property
    def steps(self) -> list[tuple[str, ...]]:
        """Every step with what it came to, whatever the order of the hosts."""
        shown = json.loads(self("runs", "show", "--json", expect=0).text)
        keys = ("host", "kind", "title", "occurrence", "state")
        return [(shown["state"],), *sorted(tuple(str(step[key]) for key in keys) for step in shown["steps"])]

    def repeated(self) -> set[str]:
        """The steps that ran more than once."""
        log = self.folder / "log"
        times = Counter(log.read_text().split() if log.exists() else [])
        return {step for step, times in times.items() if times > 1}


def points(writes: int) -> list[tuple[int, str]]:
    return [(number, when) for number in range(1, writes + 1) for when in ("before", "after")]


def killed(
    trials: Callable[[str], Trial], chosen: Sequence[tuple[int, str]], *words: str, ends: int = 0
) -> Iterator[tuple[Trial, str]]:
    """The trials in which this command was killed at one of these writes, and when that was. Hosts' notes may go
    together, so that some have fewer writes this time and come to their end; no more than every second one may."""
    deaths = 0
    for number, when in chosen:
        trial = trials(f"{number}-{when}")
        died = trial(*words, at=(number, when))
        assert died.killed or died.code == ends, died.text
        if died.killed:
            deaths += 1
            yield trial, f"{' '.join(words[:2])} killed {when} write {number}"
    assert deaths > len(chosen) / 2, "so few were killed that nothing is proven"
    print(f"\n{deaths} points at the journal's writes: none lost")


def test_a_run_killed_at_any_write_goes_on_to_the_same_end(
    ikoma: Nursery, tmp_path: Path, journal: dict[str, str]
) -> None:
    whole = Trial(ikoma, tmp_path / "whole", journal)
    writes = whole("run", "p.yml", expect=0).writes
    assert whole.files["end"] == "87 xy True b\n" and not whole.repeated()

    def trials(name: str) -> Trial:
        return Trial(ikoma, tmp_path / name, journal)

    for trial, what in killed(trials, some(points(writes), 6 if journal else 20), "run", "p.yml"):
        same(whole, trial, goes_on(trial), what)


def goes_on(trial: Trial) -> Died:
    """After a kill: a run that had begun is resumed, else there is nothing to resume and it is begun."""
    if not trial.begun:
        return trial("run", "p.yml")
    done = trial.again("resume")
    return Died(0, done.text, 0, 0) if "is done" in done.text else done  # killed after its last word


def same(whole: Trial, trial: Trial, done: Died, what: str) -> None:
    assert done.code == 0, f"{what}\n{done.text}"
    assert trial.files == whole.files, what
    assert trial.steps == whole.steps, what
    assert len(trial.repeated()) <= 2, f"{what}: more ran twice than one step on each host: {trial.repeated()}"


def test_a_run_killed_at_any_instant_goes_on_to_the_same_end(
    ikoma: Nursery, tmp_path: Path, journal: dict[str, str]
) -> None:
    whole = Trial(ikoma, tmp_path / "whole", journal)
    seconds = whole("run", "p.yml", expect=0).seconds
    deaths = 0
    for number in range(INSTANTS if not journal else INSTANTS // 4):
        trial = Trial(ikoma, tmp_path / str(number), journal)
        instant = random.uniform(0, seconds)
        deaths += trial("run", "p.yml", after=instant).killed
        same(whole, trial, goes_on(trial), f"killed after {instant:.4f} s")
    assert deaths > 0
    print(f"\n{deaths} runs killed at random instants: none lost")


def test_a_run_killed_at_any_write_is_undone(ikoma: Nursery, tmp_path: Path, journal: dict[str, str]) -> None:
    whole = Trial(ikoma, tmp_path / "whole", journal)
    writes = whole("run", "p.yml", expect=0).writes
    undone = whole.again("rollback", expect=0)
    assert whole.files == {} and whole.steps[0] == ("undone",)

    def trials(name: str) -> Trial:
        return Trial(ikoma, tmp_path / name, journal)

    for trial, what in killed(trials, some(points(writes), 6 if journal else 12), "run", "p.yml"):
        if trial.begun:
            done = trial.again("rollback")
            assert done.code == 0, f"{what}\n{done.text}"
        assert trial.files == {}, what

    def ran(name: str) -> Trial:
        trial = trials(f"undo-{name}")
        trial("run", "p.yml", expect=0)
        return trial

    rollback = ("runs", "rollback", "--retry-unfinished")
    for trial, what in killed(ran, some(points(undone.writes), 6), *rollback):
        done = trial.again("rollback")
        assert done.code == 0 or "is undone already" in done.text, f"{what}\n{done.text}"
        assert trial.files == {} and trial.steps == whole.steps, what


def test_a_failing_run_killed_at_any_write_is_rolled_back_all_the_same(
    ikoma: Nursery, tmp_path: Path, journal: dict[str, str]
) -> None:
    whole = Trial(ikoma, tmp_path / "whole", journal, broken=True)
    writes = whole("run", "p.yml", expect=3).writes
    first = writes // 2  # what comes before has been tried
    chosen = some([point for point in points(writes) if point[0] >= first], 6 if journal else 12)

    def trials(name: str) -> Trial:
        return Trial(ikoma, tmp_path / name, journal, broken=True)

    for trial, what in killed(trials, chosen, "run", "p.yml", ends=3):
        done = trial.again("resume")
        assert done.code == 3 or "was rolled back" in done.text, f"{what}\n{done.text}"
        assert trial.files == whole.files and trial.steps == whole.steps, f"{what}\n{done.text}"
