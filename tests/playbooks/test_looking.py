"""Logs and health of an application in Docker, on this machine and on a host that is reached over SSH."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import NotFound, Refused
from ikoma_play.transport.base import Transport
from ikoma_play.transport.connect import connect
from tests.parts.applications import Application, application
from tests.parts.command import Ikoma
from tests.parts.sshd import servers

COMPOSE = """\
services:
  clock:
    image: {image}
    init: true
    stop_grace_period: 1s
    command: ["sh", "-c", "echo early; sleep 2; n=0; while :; do n=$$((n+1)); echo tick $$n; sleep 0.2; done"]
  once:
    image: {image}
    init: true
    stop_grace_period: 1s
    command: ["sh", "-c", "echo said once; exec sleep 600"]
"""


@pytest.fixture(scope="module", params=["local", "ssh"])
def clock(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, busybox: str
) -> Iterator[tuple[Application, Transport]]:
    with ExitStack() as stack:
        app = stack.enter_context(application(tmp_path_factory.mktemp("clock")))
        on: Transport = app.on
        if request.param == "ssh":
            server = stack.enter_context(servers()).server().start()
            stack.callback(server.stop)
            on = connect(server.host("box", user="root", **app.on.host.vars))
            stack.callback(on.close)
        app.write(COMPOSE.format(image=busybox))
        app.call("deploy.up", through=on)
        yield app, on


def lines(clock: tuple[Application, Transport], **values: Any) -> list[str]:
    app, on = clock
    text: str = app.call("apps.logs", through=on, **values).result
    return text.splitlines()


def test_all_services_or_one_and_only_the_last_lines(clock: tuple[Application, Transport]) -> None:
    time.sleep(2.5)
    everything = lines(clock)
    assert any("said once" in line for line in everything) and any("tick" in line for line in everything)
    assert any("early" in line for line in everything)
    last = lines(clock, service="clock", tail=2)
    assert len(last) == 2 and all("tick" in line for line in last), last
    with pytest.raises(NotFound, match="no container of service nosuch") as told:
        lines(clock, service="nosuch")
    assert told.value.remedy == "It has containers of: clock, once."


def test_only_what_was_printed_since(clock: tuple[Application, Transport]) -> None:
    recent = lines(clock, since="2s")
    assert recent and not any("early" in line or "once" in line for line in recent), recent
    now = datetime.now(UTC).isoformat()
    time.sleep(0.7)
    after = lines(clock, since=now)
    assert 1 <= len(after) < 20 and set(after).isdisjoint(recent), after
    with pytest.raises(Refused, match="is no time"):
        lines(clock, since="yesterday")


def test_following_gives_each_line_once_as_it_comes(clock: tuple[Application, Transport]) -> None:
    _, on = clock
    seen: list[str] = []
    on.progress = lambda progress: seen.append(progress.text)
    followed = lines(clock, service="clock", tail=1, follow=1.5)
    numbers = [int(line.rsplit(" ", 1)[1]) for line in followed if "tick" in line]
    assert len(numbers) >= 3 and numbers == list(range(numbers[0], numbers[0] + len(numbers))), followed
    assert seen == followed[1:], "what came was not told as it came"


def test_the_playbook_shows_and_follows_them(clock: tuple[Application, Transport], tmp_path: Path) -> None:
    app, _ = clock
    variables = {"ansible_connection": "local", **app.on.host.vars, "app": app.name}
    (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"children": {"apps": {"hosts": {"here": variables}}}}}))

    def told(*words: str) -> str:
        given = [word for one in words for word in ("-e", one)]
        return Ikoma(tmp_path)("run", "logs", "-i", "hosts.yml", *given).out

    everything = told()
    assert "said once" in everything and "tick" in everything
    assert "tick" in (recent := told("since=2s")) and "said once" not in recent and "early" not in recent
    assert told("service=clock", "tail=2").count("tick") == 2
    assert told("service=clock", "tail=1", "follow=1.5").count("tick") >= 3


def test_health_is_a_table_and_an_exit_code(tmp_path: Path, busybox: str) -> None:
    with application(tmp_path) as app, application(tmp_path) as other:
        for one in (app, other):
            one.write(f"services:\n  web: {{image: '{busybox}', init: true, command: [sleep, '600']}}\n")
        app.call("deploy.up")
        variables = {"ansible_connection": "local", **app.on.host.vars}
        (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"children": {"apps": {"hosts": {"here": variables}}}}}))
        told = Ikoma(tmp_path)("run", "health", "-i", "hosts.yml", expect=2)
        rows = {words[0]: words[1] for line in told.text.splitlines() if len(words := line.split()) > 2}
        assert rows[app.name] == "healthy" and rows["platform"] == "unhealthy", told  # no PostgreSQL is configured
        assert rows[other.name] == "unknown", told
