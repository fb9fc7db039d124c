"""What a server runs by itself: each time once, however many servers share the journal and whichever of them dies."""

from __future__ import annotations

import json
import os
import secrets
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import StepError
from ikoma_play.journal.opening import open_store
from ikoma_play.journal.store import Store
from ikoma_play.model import Position, Schedule
from ikoma_play.server import schedules as schedules_of
from ikoma_play.server.logs import Log
from ikoma_play.server.schedules import FIRST, Schedules, about
from tests.journal.test_store import RUN
from tests.notify.test_notifications import fields
from tests.parts.command import CHECKOUT, Ikoma
from tests.parts.platform import Platform
from tests.parts.receivers import webhook
from tests.parts.serving import Service, serving
from tests.parts.traces import processes_about

PLAY = """\
- name: {name}
  hosts: all
  gather_facts: false
  schedule: {when}
  steps:
    - command: sh -c 'echo {{{{ ikoma_run }}}} >> {marks}'
"""


def site(folder: Path, *plays: str, **service: Any) -> dict[str, Any]:
    """A folder with a playbook of these plays, and what a server of it is started with."""
    (folder / "times.yml").write_text("\n".join(plays))
    return {"folder": folder, "words": ("--schedules", "times.yml"), **service}


SLOW_MACHINE = 120.0  # seconds to wait at most


def play(name: str, when: str, marks: str = "marks") -> str:
    return PLAY.format(name=name, when=when, marks=marks)


def get(service: Service, path: str) -> Any:
    answer = service.ask("GET", path, None, {"X-Api-Key": service.key})
    assert answer.status == 200, f"{answer.text} {service.lines[-3:]}"
    return answer.text if path == "/metrics" else answer.data


def events(service: Service, event: str) -> list[dict[str, Any]]:
    return [line for line in service.lines if line["event"] == event]


def lines(path: Path) -> list[str]:
    return path.read_text().split() if path.exists() else []


@pytest.fixture
def journal(platform: Platform) -> Iterator[str]:
    """The URL of a journal in PostgreSQL."""
    name = f"journal_{secrets.token_hex(4)}"
    platform.psql("postgres", f'CREATE DATABASE "{name}"')
    yield platform.url.replace("/postgres", f"/{name}")
    platform.psql("postgres", f'DROP DATABASE "{name}" WITH (FORCE)')


def test_two_servers_run_each_time_once_and_one_that_is_killed_leaves_none_out(tmp_path: Path, journal: str) -> None:
    known = {**site(tmp_path, play("Tick", '"* * * * * *"')), "environment": {"IKOMA_STATE": journal}, "key": "k"}
    one, other = Service(**known), Service(**known)
    try:
        one.start()
        other.start()
        other.until(lambda: sum(len(events(each, "schedule due")) for each in (one, other)) >= 3, SLOW_MACHINE)
        # whose eye falls on the clock first takes every time: that one is killed
        other, one = sorted((one, other), key=lambda each: len(events(each, "schedule due")))
        one.stop(signal.SIGKILL)
        killed, before = time.time(), len(events(other, "schedule due"))
        other.until(lambda: len(events(other, "schedule due")) >= before + 2, SLOW_MACHINE)
        with closing(open_store(journal)) as store:
            other.until(lambda: all(row["due"] > killed for row in store.read("schedules_not_begun", since=0)), 60)
    finally:
        one.stop(signal.SIGKILL)
        other.stop()
    with closing(open_store(journal)) as store:
        runs = {row["id"]: row for row in store.read("newest_runs", most=500)}
        left = store.read("schedules_not_begun", since=0)
    due = [line for each in (one, other) for line in events(each, "schedule due")]
    assert max(Counter(line["due"] for line in due).values()) == 1, "both ran the same time"
    marks = Counter(lines(tmp_path / "marks"))
    assert set(marks.values()) == {1} and set(marks) <= set(runs), marks
    assert {row["state"] for row in runs.values()} <= {"done", "interrupted"}, runs
    assert set(runs) | {row["run"] for row in left} == {line["run"] for line in due}


def test_what_a_server_took_when_it_was_killed_another_one_begins(tmp_path: Path) -> None:
    """The one moment that a clock cannot be trusted to hit: taken, and its process not begun yet."""
    url = f"sqlite:{tmp_path}/journal.db"
    script = (
        "import os, sys\n"
        "from tests.server.test_schedules import Begun, tick\n"
        "from ikoma_play.journal.opening import open_store\n"
        "begun = Begun(kill=True)\n"
        "tick(open_store(sys.argv[1]), begun)\n"
    )
    died = subprocess.run([sys.executable, "-c", script, url], cwd=CHECKOUT, timeout=60, check=False)
    assert died.returncode == -signal.SIGKILL
    begun = Begun(every="0 0 1 1 *")  # nothing else is due
    with closing(open_store(url)) as store:
        (left,) = store.read("schedules_not_begun", since=0)
        tick(store, begun, looks=1)
    assert begun.runs == [left["run"]]


class Begun:
    """Takes what is due down instead of starting processes; `kill` ends its own process instead."""

    def __init__(self, every: str = "* * * * * *", kill: bool = False, catch_up: bool = True) -> None:
        self.schedule = Schedule("Tick", every, Position("times.yml", 1), "UTC", catch_up)
        self.kill = kill
        self.runs: list[str] = []
        self.error = ""
        self.told: list[str] = []
        self.state = "done"
        self.store: Store | None = None

    def known(self) -> dict[str, Schedule]:
        return {"Tick": self.schedule}

    def new_id(self) -> str:
        return f"run-{secrets.token_hex(4)}"

    def start(self, schedule: Schedule, run: str) -> None:
        if self.kill:
            os.kill(os.getpid(), signal.SIGKILL)
        if self.error:
            raise StepError(self.error, remedy="Mend it.")
        if self.store is not None:
            self.store.write(("add_run", {**RUN, "id": run, "state": self.state}))
        self.runs.append(run)

    def not_begun(self, schedule: Schedule, run: str, said: str) -> None:
        self.told.append(said)


def tick(store: Store, begun: Begun, looks: int = 40) -> None:
    """Look at the clock until something was begun, or so often."""
    kept = Schedules(store, begun, Log("error"))
    for _ in range(looks):
        kept.look()
        settle(kept)
        if begun.runs:
            return
        time.sleep(0.1)


def settle(kept: Schedules) -> None:
    while kept.beginning:
        time.sleep(0.01)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time that schedules go by, to be set: noon of a day in UTC at first."""
    now = [1780315200.0]
    monkeypatch.setattr(schedules_of.time, "time", lambda: now[0])
    return now


HOUR = 3600.0


def test_a_clock_that_is_set_back_runs_nothing_twice(tmp_path: Path, clock: list[float]) -> None:
    begun = Begun("0 * * * *")
    with closing(open_store(f"sqlite:{tmp_path}/journal.db")) as store:
        begun.store = store
        kept = Schedules(store, begun, Log("error"))

        def look(at: float) -> int:
            clock[0] = at
            kept.look()
            settle(kept)
            return len(begun.runs)

        noon = clock[0]
        assert look(noon) == 0, "what is new begins with its next time"
        assert look(noon + HOUR + 1) == 1 and look(noon + HOUR + 2) == 1
        assert look(noon - 3 * HOUR) == 1 and look(noon + HOUR / 2) == 1 and look(noon + HOUR + 3) == 1, "twice"
        assert look(noon + 2 * HOUR + 1) == 2
        assert look(noon - 72 * HOUR) == 2, "so far back, the clock was wrong before: it goes on from now"
        assert look(noon - 71 * HOUR + 1) == 3
        again = Schedules(store, begun, Log("error"))  # and so does a server that is started then
        again.look()
        settle(again)
        assert len(begun.runs) == 3


@pytest.mark.parametrize(("catch_up", "came"), [(True, 1), (False, 0)])
def test_what_was_missed_is_made_up_for_once_or_left_out(
    tmp_path: Path, clock: list[float], catch_up: bool, came: int
) -> None:
    with closing(open_store(f"sqlite:{tmp_path}/journal.db")) as store:
        begun = Begun("0 * * * *", catch_up=catch_up)
        begun.store = store
        Schedules(store, begun, Log("error")).look()
        clock[0] += 10.5 * HOUR  # nobody serves
        kept = Schedules(store, begun, Log("error"))
        for _ in range(3):
            kept.look()
            settle(kept)
        assert len(begun.runs) == came
        (row,) = store.read("last_of_schedule", name="Tick", before=clock[0] + 1)
        assert row["missed"] == 9 and row["due"] == clock[0] - HOUR / 2
        assert bool(row["said"]) is not catch_up, row
        clock[0] += HOUR / 2
        kept.look()
        settle(kept)
        assert len(begun.runs) == came + 1, "it does not go on"


def test_another_expression_begins_anew(tmp_path: Path, clock: list[float]) -> None:
    with closing(open_store(f"sqlite:{tmp_path}/journal.db")) as store:
        Schedules(store, Begun("0 * * * *"), Log("error")).look()
        clock[0] += 10.5 * HOUR
        begun = Begun("0 3 * * *")
        Schedules(store, begun, Log("error")).look()
        assert begun.runs == [], "what was not due by the words of then was not missed"


@pytest.mark.parametrize(("heard", "came"), [(True, 1), (False, 2)])
def test_a_run_elsewhere_stands_in_the_way_as_long_as_it_is_heard_of(
    tmp_path: Path, clock: list[float], heard: bool, came: int
) -> None:
    with closing(open_store(f"sqlite:{tmp_path}/journal.db")) as store:
        begun = Begun("0 * * * *")
        begun.store, begun.state = store, "running"
        kept = Schedules(store, begun, Log("error"))
        for hour in range(3):
            if heard and hour == 2:
                assert store.write(("live", {**RUN, "id": begun.runs[0]}))
            kept.look()
            settle(kept)
            clock[0] += HOUR
        assert len(begun.runs) == came


def test_what_cannot_be_begun_is_told(tmp_path: Path, clock: list[float]) -> None:
    with closing(open_store(f"sqlite:{tmp_path}/journal.db")) as store:
        begun = Begun("0 * * * *")
        begun.error = "there is no inventory"
        kept = Schedules(store, begun, Log("error"))
        kept.look()
        clock[0] += HOUR
        kept.look()
        settle(kept)
        told = about(store, begun.schedule, clock[0])
        assert told["said"] == "there is no inventory. Mend it." and told["next"] == clock[0] + HOUR, told
        assert begun.told == [told["said"]]
        rows = store.read("schedules_not_begun", since=0)
        assert rows == [] and FIRST not in told["said"]


SLOW = """\
- name: Slow
  hosts: all
  gather_facts: false
  schedule: "* * * * * *"
  steps:
    - command: sh -c 'echo a >> begun; while [ ! -e go ]; do sleep 0.05; done'
    - command: touch after
"""


@contextmanager
def no_run_left(folder: Path) -> Iterator[None]:
    """A run is a process of its own that its server does not take along: whatever becomes of the test, it ends."""
    try:
        yield
    finally:
        for pid in processes_about(folder):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)


def test_a_time_while_the_one_before_runs_is_left_out_and_a_stop_lets_the_step_end(tmp_path: Path) -> None:
    with no_run_left(tmp_path), serving(**site(tmp_path, SLOW)) as service:
        service.until(
            lambda: len(events(service, "schedule skipped")) >= 2 and (tmp_path / "begun").exists(), SLOW_MACHINE
        )
        assert lines(tmp_path / "begun") == ["a"]
        (row,) = get(service, "/schedules")["schedules"]
        assert row["state"] == "running" and f"run {row['run']} of the time before is still under way" == row["said"]
        assert service.process is not None
        service.process.send_signal(signal.SIGTERM)
        service.until(lambda: bool(events(service, "stopping")), SLOW_MACHINE)
        (tmp_path / "go").touch()
        assert service.process.wait(60) == 0
    assert lines(tmp_path / "begun") == ["a"] and not (tmp_path / "after").exists()
    (run,) = json.loads(Ikoma(tmp_path)("runs", "list", "--json").out)
    assert run["state"] == "interrupted" and run["id"] == row["run"]
    Ikoma(tmp_path)("runs", "resume", run["id"])
    assert (tmp_path / "after").exists()


FAILS = """\
- name: Fails
  hosts: all
  gather_facts: false
  schedule: {cron: "*/2 * * * * *", zone: Europe/Paris}
  steps:
    - command: test -e well
"""


def production(url: str) -> dict[str, object]:
    """The variables of a host whose failures are told to a webhook."""
    contacts = {"platform": {"webhook": url}}
    return {"ansible_connection": "local", "ikoma_production": True, "ikoma_contacts": contacts}


def test_a_failure_is_told_once_until_it_goes_well_and_everything_shows_it(tmp_path: Path) -> None:
    with webhook() as hook:
        host = production(hook.url)
        (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"here": host}}}))
        with serving(**site(tmp_path, FAILS, play("Yearly", "'@yearly'")) | {
            "words": ("--schedules", "times.yml", "-i", "hosts.yml")
        }) as service:  # fmt: skip
            ikoma = Ikoma(tmp_path)

            def states() -> list[str]:
                return [run["state"] for run in get(service, "/runs")["runs"]]

            service.until(lambda: states().count("failed") >= 2, SLOW_MACHINE)
            assert len(hook.bodies) == 1, "a schedule that fails each time calls each time"
            listed = ikoma("schedules", "times.yml", "-i", "hosts.yml").out
            assert "Fails " in listed and "*/2 * * * * *  Europe/Paris" in listed, listed
            metrics = get(service, "/metrics")
            assert 'ikoma_schedule_last_ok{schedule="Fails"} 0.0' in metrics, metrics
            assert "last_success_timestamp_seconds{schedule=" not in metrics
            (tmp_path / "well").touch()
            service.until(lambda: states()[0] == "done", SLOW_MACHINE)
            metrics = get(service, "/metrics")
            assert 'last_success_timestamp_seconds{schedule="Fails"}' in metrics, metrics
            (tmp_path / "well").unlink()
            service.until(lambda: states()[0] == "failed" and len(hook.bodies) == 2, SLOW_MACHINE)
            # a playbook that is changed is taken up, one that is wrong is not
            (tmp_path / "times.yml").write_text(play("Other", '"* * * * *"'))
            service.until(
                lambda: [one["name"] for one in get(service, "/schedules")["schedules"]] == ["Other"], SLOW_MACHINE
            )
            (tmp_path / "times.yml").write_text(play("Worse", '"61 * * * *"'))
            service.until(lambda: bool(events(service, "schedules unchanged")), SLOW_MACHINE)
            assert [one["name"] for one in get(service, "/schedules")["schedules"]] == ["Other"]
        runs = ikoma("runs", "list").out
        assert "schedule:Fails" in runs, runs
        said = json.loads((tmp_path / "log/audit.jsonl").read_text().splitlines()[0])
        assert said["key"] == "schedule:Fails" and said["capability"] == "command", said


def test_one_that_cannot_even_begin_is_told_once(tmp_path: Path) -> None:
    with webhook() as hook:
        host = production(hook.url)
        inventory = {"all": {"hosts": {"one": host, "two": host, "other": {**host, "ikoma_production": False}}}}
        (tmp_path / "hosts.yml").write_text(json.dumps(inventory))
        known = site(tmp_path, play("Tick", '"* * * * * *"')) | {
            "words": ("--schedules", "times.yml", "-i", "hosts.yml")
        }
        with serving(**known) as service:
            service.until(lambda: bool(events(service, "schedule due")), SLOW_MACHINE)
            (tmp_path / "times.yml").write_text(play("Tick", '"* * * * * *"').replace("command", "comand"))
            service.until(lambda: len(events(service, "schedule failed")) >= 2, SLOW_MACHINE)
            (body,) = hook.bodies
            said = fields(body)
            assert body["text"].startswith("P2 the schedule Tick could not begin"), body
            assert (said["host"], said["response"]) == ("one", "within 1 hour") and "comand" in said["error"], said
            rows = json.loads(Ikoma(tmp_path)("notifications", "list", "--json").out)
            assert [(row["host"], bool(row["sent"])) for row in rows] == [("one", True)], rows


def test_one_is_run_by_hand_and_wrong_ones_keep_the_server_from_starting(tmp_path: Path) -> None:
    site(tmp_path, play("One", '"@daily"', "one"), play("Other", '"@hourly"', "two"))
    ikoma = Ikoma(tmp_path)
    ikoma("run", "times.yml", "-i", "localhost,", "--schedule", "Other")
    assert (tmp_path / "two").exists() and not (tmp_path / "one").exists()
    wrong = ikoma("run", "times.yml", "-i", "localhost,", "--schedule", "Othr", expect=1).text
    assert "no play has a schedule called 'Othr'" in wrong and "Did you mean 'Other'?" in wrong, wrong
    shown = ikoma("plan", "times.yml", "-i", "localhost,").out
    assert "Runs by itself" in shown and "00:00 UTC" in shown, shown
    (tmp_path / "times.yml").write_text(play("One", '"0 25 * * *"'))
    service = Service(tmp_path, words=("--schedules", "times.yml"))
    with pytest.raises(AssertionError, match="no hour"):
        service.start()
    service.stop(signal.SIGKILL)
