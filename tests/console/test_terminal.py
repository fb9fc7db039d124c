"""What a stream can show, and the live view on real terminals (pseudo-terminals, drawn by pyte)."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import termios
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pyte
import pytest

from ikoma_play.console.columns import columns
from ikoma_play.console.live import LiveView
from ikoma_play.console.narrator import Narrator
from ikoma_play.console.terminal import Looks, looks, printable, size
from ikoma_play.console.words import call, duration, hosts
from ikoma_play.events import Event, PlayStarted, RunStarted, StepProgress, StepStarted
from ikoma_play.model import Failure, Progress

from .story import AT, RUN, failed, finished, outcome, run, step, told


class Terminal:
    """A pseudo-terminal of a given size; what is written to `stream` appears on `screen`."""

    def __init__(self, width: int, height: int, encoding: str = "utf-8") -> None:
        self.screen = pyte.HistoryScreen(width, height, history=2000)
        self.raw = b""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))
        self.stream: TextIO = os.fdopen(slave, "w", encoding=encoding, errors="replace")
        self._feed = pyte.ByteStream(self.screen)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            self.raw += data
            self._feed.feed(data)

    def close(self) -> None:
        self.stream.close()
        self._reader.join(10)
        os.close(self._master)

    @property
    def text(self) -> str:
        above = ["".join(line[column].data for column in sorted(line)) for line in self.screen.history.top]
        return "\n".join(line.rstrip() for line in [*above, *self.screen.display]).rstrip()


@contextmanager
def terminal(width: int = 100, height: int = 40, encoding: str = "utf-8") -> Iterator[Terminal]:
    opened = Terminal(width, height, encoding)
    try:
        yield opened
    finally:
        opened.close()


def live(on: Terminal, environ: Mapping[str, str] | None = None, verbosity: int = 0) -> LiveView:
    settings = looks(on.stream, environ or {"TERM": "xterm-256color"})
    assert settings.live
    return LiveView(on.stream, settings, Narrator(verbosity), ("ikoma-play", "run", "deploy"))


def drawn(events: Iterable[Event], width: int = 100, height: int = 60, encoding: str = "utf-8", **more: str) -> str:
    """What stands on the terminal in the end."""
    with terminal(width, height, encoding) as on:
        view = live(on, {"TERM": "xterm-256color", **more})
        for event in events:
            view(event)
        view.close()
    return on.text


# --- the stream ---


@pytest.mark.parametrize(
    ("environ", "shows"),
    [
        ({"TERM": "xterm"}, (True, True)),
        ({"TERM": "xterm", "NO_COLOR": "1"}, (True, False)),
        ({"TERM": "xterm", "NO_COLOR": ""}, (True, True)),
        ({"TERM": "dumb"}, (False, False)),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, (False, True)),
        ({"TERM": "xterm", "NO_COLOR": "1", "FORCE_COLOR": "1"}, (True, False)),
    ],
)
def test_a_terminal_and_its_environment(environ: dict[str, str], shows: tuple[bool, bool]) -> None:
    with terminal() as on:
        found = looks(on.stream, environ)
    assert (found.live, found.colour) == shows


def test_a_file_is_no_terminal(tmp_path: Path) -> None:
    with (tmp_path / "log").open("w", encoding="utf-8") as file:
        assert looks(file, {"TERM": "xterm"}) == Looks(False, False, True, looks(file).width)
        assert looks(file, {"FORCE_COLOR": "1"}).colour


@pytest.mark.parametrize(
    ("columns", "lines", "found"),
    [("", "", (80, 24)), ("100", "40", (100, 40)), ("0", "0", (80, 24)), ("7", "1", (20, 5)), ("wide", "-3", (80, 24))],
)
def test_what_is_no_terminal_has_the_size_that_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, columns: str, lines: str, found: tuple[int, int]
) -> None:
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setenv("LINES", lines)
    with (tmp_path / "log").open("w", encoding="utf-8") as file:
        assert size(file) == found
        assert looks(file).width == found[0]


@pytest.mark.parametrize(("encoding", "has"), [("ascii", False), ("latin-1", False), ("utf-8", True)])
def test_marks_only_where_the_encoding_has_them(tmp_path: Path, encoding: str, has: bool) -> None:
    with (tmp_path / "log").open("w", encoding=encoding) as file:
        assert looks(file).marks is has


def test_printable() -> None:
    assert printable("a\x1b[31;1mb\x1b[0m\x00c\td") == "abc d"
    assert printable("\x1b]8;;http://evil\x1b\\link\x1b]8;;\x07") == "link"
    assert printable("50%\r100%\r\nüber ✓") == "50%\n100%\nüber ✓"


def test_words() -> None:
    assert [duration(seconds) for seconds in (0.04, 9.94, 9.96, 59.6, 185, 3725)] == [
        "0.0 s", "9.9 s", "10 s", "1 min 00 s", "3 min 05 s", "1 h 02 min",
    ]  # fmt: skip
    assert hosts(["a", "b", "c"]) == "a, b, c"
    assert hosts(["a", "b", "c", "d"]) == "4 hosts: a, b, …"
    assert call("copy", {"src": "x", "dest": "y" * 100}, 60) == ["copy", "  src=x", f"  dest={'y' * 79}…"]
    assert columns([("a", "1"), ("日本", "22")], right=(1,)) == ["  a      1", "  日本  22"]


# --- the live view ---


def test_a_good_run_on_a_terminal() -> None:
    text = drawn(
        run(
            told(step("Make the structure", phase="Initialisation"), outcome("changed", seconds=1.24)),
            told(step("Only on staging"), outcome("skipped")),
            told(step("Bring it up"), outcome()),
            told(step("Say where", "debug"), outcome(message="It answers on http://127.0.0.1:8080/health")),
        )
    )
    lines = text.splitlines()
    assert lines[0] == "Deploy  web1"
    assert lines[2] == "Initialisation"
    assert lines[3].startswith("  ● Make the structure ") and lines[3].endswith(" 1.2 s")
    assert lines[5:9] == [
        "Deployment",
        "  ✓ Bring it up",
        "  ✓ Say where",
        "    It answers on http://127.0.0.1:8080/health",
    ]
    assert lines[10].split() == ["host", "ok", "changed", "skipped", "failed", "time"]
    assert lines[11].split() == ["web1", "3", "1", "1", "0", "1.2", "s"]
    assert lines[13:] == ["  ✓ Done in 2.0 s: 1 step changed something.", "    Open http://127.0.0.1:8080/health"]
    assert "Only on staging" not in text


@pytest.mark.parametrize("width", [30, 60, 200])
def test_a_failure_on_terminals_of_any_width(width: int) -> None:
    text = drawn(run(told(step("Bring it up", "deploy.up", appName="shop"), failed())), width)
    flat = " ".join(text.split())
    assert "✗ Bring it up" in flat and "deploy.yml:3:5" in flat and "deploy.up appName=shop" in flat
    assert "it ended with exit code 1 │ $ false │ first │ last → Try harder." in flat
    assert max(map(len, text.splitlines())) <= min(width, 120)


def test_ascii_marks_where_the_locale_has_no_others() -> None:
    text = drawn(run(told(step("Écrire"), outcome("changed")), told(step("Break"), failed())), encoding="ascii")
    assert "  * ?crire" in text and "  x Break" in text and "    | first" in text and "    > Try harder." in text
    assert text.isascii()


def test_no_colour_on_a_terminal_that_asks_for_none() -> None:
    with terminal() as on:
        view = live(on, {"TERM": "xterm-256color", "NO_COLOR": "1"})
        for event in run(told(step("Break"), failed())):
            view(event)
    assert b"\x1b[1;31m" not in on.raw and b"\x1b[3" not in on.raw.replace(b"\x1b[?25", b""), on.raw


def test_what_is_running_is_shown_with_its_progress_and_then_taken_away() -> None:
    copying, waiting = step("Copy the source", phase="Configuration"), step("Wait")
    with terminal() as on:
        view = live(on)
        view(RunStarted(RUN, AT, ("deploy.yml",), False, 4))
        view(PlayStarted(RUN, AT, "Deploy", ("web1",)))
        view(StepStarted(RUN, AT, copying, "Copy the source", "web1"))
        view(StepProgress(RUN, AT, copying, "web1", Progress("half of it", 5, 10)))
        deadline = time.monotonic() + 10
        while "half of it" not in on.text and time.monotonic() < deadline:
            time.sleep(0.05)
        during = on.text
        view(finished(copying, outcome("changed")))
        view(StepStarted(RUN, AT, waiting, "Wait", "web1"))
        view.close()
    assert (
        "Configuration" in during and "Copy the source  half of it" in during and "━" in during and "0 of 4" in during
    )
    assert on.text.splitlines() == ["Deploy  web1", "", "Configuration", "  ● Copy the source"]
    assert b"\x1b[?25h" in on.raw, "the cursor was not given back"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 40)])
def test_of_many_hosts_the_slow_and_the_failed_stay_in_sight(width: int, height: int) -> None:
    """200 hosts: a third fails alike, five are gone, two are slow. All of it is on one screen until the end."""
    names = [f"web{number:03}" for number in range(200)]
    look, restart = step("Look at the host"), step("Restart the service", line=9)
    gone, slow = names[10:15], {"web042", "web111"}
    with terminal(width, height) as on:
        view = live(on)
        events = list(run(hosts=names))
        view(events[0])
        view(events[1])
        for name in names:
            status = "unreachable" if name in gone else "ok"
            failure = Failure("unreachable", f"{name}: refused", "Start it.") if name in gone else None
            for event in told(look, outcome(status, failure=failure), name):
                view(event)
        left = [name for name in names if name not in gone]
        for name in left:
            view(StepStarted(RUN, AT, restart, restart.title, name))
        for number, name in enumerate(left):
            if name not in slow:
                view(finished(restart, failed() if number % 3 == 0 else outcome("changed"), name))
        deadline = time.monotonic() + 10
        while "393 steps" not in on.text and time.monotonic() < deadline:
            time.sleep(0.05)
        during = [line.rstrip() for line in on.screen.display]
        view.close()
    shown = "\n".join(during)
    moving = [line.split()[-3] for line in during if "Restart the service  web" in line and "✗" not in line]
    assert moving == ["web042", "web111"], shown
    assert "✗ failed: 65 hosts: web000, web003, …; unreachable: 5 hosts: web010, web01" in shown
    assert shown.count("it ended with exit code 1") == 1
    assert "4 hosts: web011, web012, …  unreachable  as on web010" in shown
    assert not on.screen.history.top and max(map(len, during)) <= width


def test_a_host_that_was_mended_is_not_among_the_failed() -> None:
    names = ["web1", "web2"]
    with terminal() as on:
        view = live(on)
        for event in list(run(hosts=names))[:2]:
            view(event)
        for event in told(step("Try"), failed(), "web1"):
            view(event)
        assert [str(each.renderable) for each in view._those_out()] == ["✗ failed: web1"]  # type: ignore[attr-defined]
        view(StepStarted(RUN, AT, step("Rescue"), "Rescue", "web1"))
        assert view._those_out() == []
        view.close()


def test_hosts_at_once_do_not_block_each_other() -> None:
    """Events come from the threads of many hosts while the view redraws itself."""
    names = [f"web{number}" for number in range(20)]
    steps = [step(f"Step {number}") for number in range(10)]
    events = list(run(hosts=names))
    with terminal() as on:
        view = live(on)
        view(events[0])
        view(events[1])

        def host(name: str) -> None:
            for one in steps:
                for event in told(one, outcome("changed"), name):
                    view(event)
                    time.sleep(0.005)

        threads = [threading.Thread(target=host, args=(name,), daemon=True) for name in names]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        stuck = [thread for thread in threads if thread.is_alive()]
        assert not stuck, f"{len(stuck)} hosts wait for the view for ever"
        view(events[-1])
    assert "Step 9" in on.text and "20 hosts: web0, web1, …" in on.text
