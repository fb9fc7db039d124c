"""wait_for and pause, with real ports and files that come and go meanwhile."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import StepError, TimedOut
from ikoma_play.model import Host, Outcome, Progress, Status
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport
from tests.tools.general import harness


def wait(told: list[Progress] | None = None, **arguments: Any) -> Outcome:
    on = LocalTransport(Host("here"))
    if told is not None:
        on.progress = told.append
    return harness.call(on, harness.RunScope(Path()), "wait_for", {"sleep": 0.02, "timeout": 30, **arguments})


@contextmanager
def soon(deed: Callable[[], object]) -> Iterator[None]:
    timer = threading.Timer(0.15, deed)
    timer.start()
    yield
    timer.join()


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


def test_a_port_that_answers(server: socket.socket) -> None:
    outcome = wait(port=server.getsockname()[1])
    assert outcome.status is Status.OK and outcome.result["elapsed"] == 0 and outcome.result["state"] == "started"


def test_a_port_that_begins_to_answer() -> None:
    told: list[Progress] = []
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        with soon(server.listen):
            assert wait(told, port=server.getsockname()[1]).status is Status.OK
    assert told and "waiting for 127.0.0.1" in told[0].text


def test_a_port_that_is_closed(server: socket.socket) -> None:
    port = server.getsockname()[1]
    with soon(server.close):
        assert wait(port=port, state="stopped").status is Status.OK


def test_a_port_that_never_answers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(TimedOut, match=rf"waited 0\.1 s for 127\.0\.0\.1:{port} to be started") as caught:
        wait(port=port, timeout=0.1)
    assert caught.value.returned["port"] == port
    with pytest.raises(TimedOut, match="own words"):
        wait(port=port, timeout=0.1, msg="own words")


def test_what_a_port_says_at_once(server: socket.socket) -> None:
    def greet() -> None:
        for _ in range(2):
            theirs, _ = server.accept()
            theirs.sendall(b"220 mail ")
            time.sleep(0.05)
            theirs.sendall(b"ready\r\n")
            theirs.close()

    thread = threading.Thread(target=greet)
    thread.start()
    port = server.getsockname()[1]
    outcome = wait(port=port, search_regex=r"(\d+) (?P<who>\w+) ready")
    assert outcome.result["match_groups"] == ["220", "mail"] and outcome.result["match_groupdict"] == {"who": "mail"}
    with pytest.raises(TimedOut):
        wait(port=port, search_regex="never said", timeout=0.3, connect_timeout=0.2)
    thread.join()


def test_a_unix_socket_is_a_file(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server, soon(lambda: server.bind(str(tmp_path / "s"))):
        assert wait(path=f"{tmp_path}/s").status is Status.OK


def test_a_file_comes_and_goes(tmp_path: Path) -> None:
    path = tmp_path / "flag"
    with soon(lambda: path.write_text("")):
        assert wait(path=str(path)).status is Status.OK
    with soon(path.unlink):
        assert wait(path=str(path), state="absent").status is Status.OK


def test_a_text_in_a_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_text("starting\n")
    with soon(lambda: path.write_text("starting\nlistening on 80\n")):
        assert wait(path=str(path), search_regex=r"^listening on (\d+)").result["match_groups"] == ["80"]


def test_connections_that_end(server: socket.socket) -> None:
    port = server.getsockname()[1]
    mine = socket.create_connection(("127.0.0.1", port))
    theirs, _ = server.accept()
    arguments = {"port": port, "state": "drained", "active_connection_states": ["ESTABLISHED"]}
    with pytest.raises(TimedOut):
        wait(**arguments, timeout=0.1)

    def close() -> None:
        theirs.close()
        mine.close()

    with soon(close):
        assert wait(**arguments).status is Status.OK


def test_only_time() -> None:
    begun = time.monotonic()
    wait(timeout=0.2)
    assert time.monotonic() - begun >= 0.2


def test_a_regular_expression_that_is_none(server: socket.socket) -> None:
    with pytest.raises(StepError, match="regular expression"):
        wait(port=server.getsockname()[1], search_regex="(")


def test_nothing_is_waited_for_in_a_check() -> None:
    on = DryTransport(LocalTransport(Host("here")))
    assert harness.call(on, harness.RunScope(Path()), "wait_for", {"port": 1}).status is Status.SKIPPED


def test_pause() -> None:
    told: list[Progress] = []
    on = LocalTransport(Host("here"))
    on.progress = told.append
    begun = time.monotonic()
    outcome = harness.call(on, harness.RunScope(Path()), "pause", {"seconds": 0.2, "prompt": "breathe"})
    assert time.monotonic() - begun >= 0.2 and outcome.status is Status.OK and told[0].text == "breathe"


def test_pause_asks_nobody_where_there_is_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    with open("/dev/null") as nothing:  # noqa: PTH123
        monkeypatch.setattr("sys.stdin", nothing)
        with pytest.raises(StepError, match="terminal"):
            harness.call(LocalTransport(Host("here")), harness.RunScope(Path()), "pause", {"prompt": "go on?"})
