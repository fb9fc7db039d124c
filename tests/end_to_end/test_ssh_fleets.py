"""Several hosts over SSH: batches, what may fail, who runs what, and how much of it is told."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.parts.command import Finished, Ikoma
from tests.parts.sshd import Sshd, servers

NAMES = ("app1", "app2", "app3", "app4", "app5", "app6")
LOG = {"shell": "echo {{ inventory_hostname }} >> {{ here }}/log"}


@pytest.fixture(scope="module")
def boxes() -> Iterator[dict[str, Sshd]]:
    with servers() as site:
        made: dict[str, Sshd] = {}
        try:
            for name in NAMES:
                made[name] = site.server().start()
            yield made
        finally:
            for box in made.values():
                box.stop()


@pytest.fixture
def ikoma(boxes: dict[str, Sshd]) -> Iterator[Ikoma]:
    """In a folder that the hosts' users may write to as well, as `here`."""
    with tempfile.TemporaryDirectory(prefix="ikoma-fleets-") as place:
        folder = Path(place)
        folder.chmod(0o777)
        (folder / "log").touch()
        (folder / "log").chmod(0o666)
        hosts = {name: {**box.host().vars, "here": place} for name, box in boxes.items()}
        (folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
        yield Ikoma(folder)


def play(ikoma: Ikoma, steps: list[Any], *words: str, expect: int = 0, **keywords: Any) -> Finished:
    (ikoma.folder / "log").write_text("")
    (ikoma.folder / "play.yml").write_text(json.dumps([{"hosts": "all", "steps": steps, **keywords}]))
    return ikoma("run", "play.yml", "-i", "hosts.yml", *words, expect=expect)


def log(ikoma: Ikoma) -> list[str]:
    return (ikoma.folder / "log").read_text().split()


def test_a_rolling_deploy_goes_batch_by_batch(ikoma: Ikoma) -> None:
    """Each batch is wholly done before the next one begins."""
    steps = [{"shell": "echo begin{{ ansible_play_batch | length }} >> {{ here }}/log"}, {"command": "sleep 0.1"},
             {"shell": "echo end >> {{ here }}/log"}]  # fmt: skip
    play(ikoma, steps, serial=[1, 2, "50%"])
    assert log(ikoma) == ["begin1", "end", *["begin2"] * 2, *["end"] * 2, *["begin3"] * 3, *["end"] * 3]


def test_too_many_failures_end_a_rolling_deploy(ikoma: Ikoma) -> None:
    """Half a batch is more than may fail: the hosts of later batches are not touched."""
    steps = [LOG, {"command": "false", "when": "inventory_hostname in ('app2', 'app3')"}, {"command": "true"}]
    ended = play(ikoma, steps, "--json", serial=2, max_fail_percentage=40, expect=2)
    assert sorted(log(ikoma)) == ["app1", "app2"], ended
    ended = play(ikoma, steps, "--json", serial=2, max_fail_percentage=50, expect=2)
    assert sorted(log(ikoma)) == list(NAMES), ended
    assert [name for name, told in ended.recap.items() if told["failed"]] == ["app2", "app3"]


def test_a_host_that_is_gone_keeps_no_other_from_going_on(ikoma: Ikoma, boxes: dict[str, Sshd]) -> None:
    boxes["app4"].stop()
    try:
        ended = play(ikoma, [LOG, {"command": "true"}], "--json", serial=3, max_fail_percentage=40, expect=6)
        assert sorted(log(ikoma)) == [name for name in NAMES if name != "app4"]
        assert ended.recap["app4"]["unreachable"] == 1 and ended.recap["app4"]["failed"] == 0
    finally:
        boxes["app4"].start()


def test_throttle_bounds_how_many_work_at_once(ikoma: Ikoma) -> None:
    script = "echo + >> {{ here }}/log; sleep 0.3; echo - >> {{ here }}/log"
    play(ikoma, [{"shell": script, "throttle": 2}], "-f", "6")
    busy = most = 0
    for mark in log(ikoma):
        busy += 1 if mark == "+" else -1
        most = max(most, busy)
    assert most == 2 and busy == 0


def test_once_for_all_and_on_another_host(ikoma: Ikoma, boxes: dict[str, Sshd]) -> None:
    steps = [
        {"shell": "echo once >> {{ here }}/log; echo $SSH_CONNECTION", "run_once": True, "register": "first"},
        {"shell": "echo $SSH_CONNECTION", "delegate_to": "app6", "register": "other"},
        {"assert": {"that": ["first.stdout.split()[3] == ports[0]", "other.stdout.split()[3] == ports[5]"]}},
    ]
    play(ikoma, steps, vars={"ports": [str(box.port) for box in boxes.values()]})
    assert log(ikoma) == ["once"]


def test_with_the_free_strategy_nobody_waits_for_the_slow(ikoma: Ikoma) -> None:
    """app1 is through with its first step only when all others are through with their last one."""
    waiting = "until [ $(grep -c done {{ here }}/log) = 5 ]; do sleep 0.05; done"
    steps = [{"shell": waiting, "when": "inventory_hostname == 'app1'", "timeout": 60}, {"command": "true"},
             {"shell": "echo done-{{ inventory_hostname }} >> {{ here }}/log"}]  # fmt: skip
    play(ikoma, steps, "-f", "6", strategy="free")
    assert log(ikoma)[-1] == "done-app1"


def test_many_equal_outcomes_are_one_line_and_the_odd_ones_stand_out(ikoma: Ikoma, boxes: dict[str, Sshd]) -> None:
    names = [f"web{number:02}" for number in range(24)]
    variables = [dict(box.host().vars) for box in boxes.values()]
    hosts = {name: variables[number % len(variables)] for number, name in enumerate(names)}
    (ikoma.folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": hosts}}))
    odd = "exit {{ 1 if inventory_hostname == 'web07' else 0 }}"
    steps = [{"name": "first", "command": "true"}, {"name": "odd", "shell": odd},
             {"name": "last", "command": "true", "changed_when": False}]  # fmt: skip
    said = play(ikoma, steps, "-f", "24", expect=2).out.splitlines()
    assert len([line for line in said if "] first" in line]) == 1 and "[all 24 hosts] first" in "".join(said), said
    assert [line for line in said if line.startswith("failed:")] == ["failed: [web07] odd"], said
    assert len([line for line in said if "] last" in line]) == 1, said
    assert len(said) < 50, "\n".join(said)


@pytest.mark.parametrize(
    ("step", "sign", "code"),
    [
        ({"copy": {"src": "large", "dest": "{{ here }}/there/large"}}, ".large.ikoma-part", 0),
        ({"shell": "cd {{ here }}/there; echo x >> sign; sleep 2; touch made",
          "args": {"creates": "{{ here }}/there/made"}}, "sign", 0),
        ({"shell": "cd {{ here }}/there; echo x >> sign; sleep 2"}, "sign", 6),
    ],
    ids=["copy", "a command that makes a file", "any other command"],
)  # fmt: skip
def test_a_connection_lost_on_the_way(
    ikoma: Ikoma, boxes: dict[str, Sshd], step: dict[str, Any], sign: str, code: int
) -> None:
    """The step runs again on a new connection where twice is as good as once, and says so."""
    there = ikoma.folder / "there"
    there.mkdir(mode=0o777)
    there.chmod(0o777)
    with (ikoma.folder / "large").open("wb") as large:
        large.truncate(150_000_000)

    def drop() -> None:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            if (there / sign).exists():
                boxes["app1"].drop_connections()
                return
            time.sleep(0.01)

    dropper = threading.Thread(target=drop)
    dropper.start()
    said = play(ikoma, [step, {"command": "true"}], "-l", "app1", expect=code)
    dropper.join()
    assert "the connection to" in said.text and "was lost while" in said.text, said
    assert ("it was opened anew, and the step run again" in said.text) is (code == 0), said
    if "copy" in step:
        assert (there / "large").stat().st_size == 150_000_000 and len(list(there.iterdir())) == 1
    else:
        assert (there / "sign").read_text().split() == ["x"] * (2 if code == 0 else 1)


def test_round_trips_are_told(ikoma: Ikoma) -> None:
    steps = [{"name": name, "command": "true", "changed_when": False} for name in ("connect", "again")]
    said = play(ikoma, steps, "-vvv", "-l", "app1").out.splitlines()
    told = said[next(number for number, line in enumerate(said) if line.startswith("ok:") and "again" in line) :]
    assert "1 round trip" in [line.strip() for line in told[:4]], said
