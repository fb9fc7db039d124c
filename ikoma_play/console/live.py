"""A run as it goes, on a terminal: what is done scrolls up, what is being done moves below it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from threading import Lock
from typing import TextIO

from msgspec import Struct
from rich.console import Console, ConsoleDimensions, Group, RenderableType
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ..events import Event, PlayStarted, Report, RunFinished, RunStarted, StepFinished, StepProgress, StepStarted
from ..model import Progress, Status, Step
from . import words
from .narrator import Line, Narrator
from .recap import closing, columns, rows
from .terminal import Looks, one_line, size

SPINNER = "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏"
ASCII_SPINNER = "-\\|/"
MARKS = {
    Status.OK: ("✓", "+", "green"),
    Status.CHANGED: ("●", "*", "yellow"),
    Status.SKIPPED: ("–", "-", "bright_black"),
    Status.FAILED: ("✗", "x", "bold red"),
    Status.UNREACHABLE: ("✗", "!", "bold red"),
    Status.ROLLED_BACK: ("↺", "<", "magenta"),
    Status.ROLLBACK_FAILED: ("✗", "x", "bold red"),
}
STYLES = {
    "message": "cyan",
    "detail": "bright_black",
    "where": "bright_black",
    "call": "",
    "cause": "bold red",
    "evidence": "",
    "remedy": "bold",
    "head": "bold",
    "hunk": "cyan",
    "added": "green",
    "removed": "red",
    "same": "bright_black",
}
WIDEST = 100  # beyond this the eye loses the line
NARROW = 50  # below this there is no room for bars
SHOWN = 5  # steps that run at the same time


class Running(Struct):
    """A step under way on one host."""

    key: int
    title: str
    host: str
    since: float
    progress: Progress | None = None


class _Terminal(Console):
    """rich asks standard input for the size; ours is that of the stream it writes to, also after a change."""

    @property
    def size(self) -> ConsoleDimensions:
        return ConsoleDimensions(*size(self.file))  # type: ignore[arg-type]

    @size.setter
    def size(self, new_size: tuple[int, int]) -> None:
        """The terminal alone decides."""


class LiveView:
    """Draws the run on a terminal. `close()` gives the terminal back, also when no run ever finished."""

    def __init__(self, stream: TextIO, looks: Looks, narrator: Narrator, again: Sequence[str] = ()) -> None:
        self._marks = looks.marks
        self._narrator = narrator
        self._again = again
        self._console = _Terminal(
            file=stream,
            force_terminal=True,
            no_color=not looks.colour,
            color_system="auto" if looks.colour else None,
            highlight=False,
            markup=False,
            emoji=False,
            soft_wrap=False,
            legacy_windows=False,
        )
        self._lock = Lock()
        self._running: dict[tuple[int, str], Running] = {}
        self._moved: tuple[Running, ...] = ()  # what the redrawing thread sees of them
        self._phase = ""
        self._hosts = 1
        self._out: dict[str, Status] = {}  # hosts that a step failed on, or that cannot be reached
        self._known = 0
        self._done = 0
        self._check = False
        self._began = self._redrawn = time.monotonic()
        self._live = Live(get_renderable=self._region, console=self._console, transient=True, refresh_per_second=8)

    def __call__(self, event: Event) -> None:
        with self._lock:
            self._note(event)
            self._moved = tuple(self._running.values())
            lines = list(self._narrator.tell(event))
            for line in lines:
                self._console.print(self._drawn(line))
            if lines and time.monotonic() - self._redrawn > 0.05:  # what is told must not be shown as running too
                self._redrawn = time.monotonic()
                self._live.refresh()
            if isinstance(event, RunFinished):
                self._live.stop()
                if event.report:
                    self._recap(event.report)

    def close(self) -> None:
        self._live.stop()

    def pause(self) -> None:
        """Leave the terminal to a question until `go_on`."""
        self._live.stop()

    def go_on(self) -> None:
        self._live.start(refresh=True)

    def _note(self, event: Event) -> None:
        """Keep up what the moving part shows."""
        match event:
            case RunStarted():
                self._check, self._known = event.check, event.steps
                self._live.start(refresh=True)
            case PlayStarted():
                self._hosts = len(event.hosts)
                self._out.clear()
            case StepStarted():
                if event.kind != "rollback" and event.host in self._out:  # something has mended it
                    del self._out[event.host]
                running = Running(id(event.step), one_line(event.title), event.host, time.monotonic())
                self._running[id(event.step), event.host] = running
                if event.step is not None and _asks(event.step):
                    self.pause()
                if event.step is not None:
                    self._phase = words.phase(event.step.phase, event.kind, not self._narrator.phase)
            case StepProgress():
                if found := self._running.get((id(event.step), event.host)):
                    found.progress = event.progress
            case StepFinished():
                self._running.pop((id(event.step), event.host), None)
                self._done += 1
                if event.outcome.status in (Status.FAILED, Status.UNREACHABLE) and not event.outcome.ignored:
                    self._out[event.host] = event.outcome.status
                if event.step is not None and _asks(event.step):
                    self.go_on()

    # --- lines that stay ---

    @property
    def _width(self) -> int:
        return min(self._console.width, WIDEST)

    def _drawn(self, line: Line) -> RenderableType:
        match line.kind:
            case "play":
                names = words.hosts(line.hosts, most=5) or "no hosts"
                return Text.assemble(
                    "\n" if self._done else "", (line.text or "Play", "bold"), (f"  {names}", "bright_black")
                )
            case "phase":
                return Text.assemble("\n", (line.text, "bold cyan"))
            case "step":
                return self._step(line)
            case "retry":
                return Padding(Text(f"{line.text}: {line.note}", "yellow"), (0, 0, 0, 4))
            case "warning":
                return Text.assemble("\n", ("warning: ", "bold yellow"), line.text, (f"  {line.note}", "bright_black"))
            case "waiting":
                return Padding(
                    Text.assemble((line.text, "bold yellow"), (f"  {line.note}", "bright_black")), (0, 0, 0, 4)
                )
        return self._below(line)

    def _step(self, line: Line) -> RenderableType:
        """Mark, title, what is worth saying of it, and the time at the right edge."""
        status = line.status or Status.OK
        text = Text(line.text, "red" if status.bad else "bright_black" if status is Status.SKIPPED else "")
        if self._hosts > 1:
            text.append(f"  {words.hosts(line.hosts, line.everyone)}", "bright_black")
        if status in (Status.UNREACHABLE, Status.ROLLED_BACK, Status.ROLLBACK_FAILED):
            text.append(f"  {status.value.replace('_', ' ')}", "bright_black")
        if line.note:
            text.append(f"  {line.note}", "bright_black")
        grid = Table.grid(expand=False, padding=(0, 1, 0, 0))
        grid.width = self._width - 2
        grid.add_column(width=1)
        grid.add_column(ratio=1)
        grid.add_column(justify="right", no_wrap=True)
        seconds = Text(words.duration(line.seconds) if line.seconds >= 1 else "", "bright_black")
        grid.add_row(self._mark(status), text, seconds)
        return Padding(grid, (0, 0, 0, 2), expand=False)

    def _mark(self, status: Status) -> Text:
        mark, plain, style = MARKS[status]
        return Text(mark if self._marks else plain, style)

    def _below(self, line: Line) -> RenderableType:
        """What stands below a step, indented; lines that are too long go on below their own beginning."""
        before = {"evidence": ("│ ", "| ", "red"), "remedy": ("→ ", "> ", "bold")}.get(line.kind, ("", "", ""))
        lead, style = before[0] if self._marks else before[1], before[2]
        note = f"  {line.note}" if line.note else ""
        text = Text(line.text + note, STYLES.get(line.kind, ""))
        wrapped = text.wrap(self._console, max(10, self._console.width - 4 - len(lead)))
        follow = lead if line.kind == "evidence" else " " * len(lead)
        parts = [
            Text.assemble("    ", (lead if number == 0 else follow, style), part) for number, part in enumerate(wrapped)
        ]
        return Group(*(parts or [Text("")]))

    # --- the part that moves ---

    def _region(self) -> RenderableType:
        """Called by the thread that redraws, which holds a lock of its own: nothing here may wait for ours."""
        now = time.monotonic()
        lines: list[RenderableType] = [Text("")]
        if self._phase and self._phase != self._narrator.phase:
            lines.append(Text(self._phase, "bold cyan"))
        shown = [[running] for running in self._moved]
        if len(shown) > SHOWN:
            groups: dict[int, list[Running]] = {}
            for running in self._moved:
                groups.setdefault(running.key, []).append(running)
            shown = list(groups.values())[:SHOWN]
        return Group(*lines, *(self._moving(group, now) for group in shown), *self._those_out(), self._overall(now))

    def _those_out(self) -> list[RenderableType]:
        """Of several hosts those that are no longer in it, whose failures may have scrolled away."""
        if self._hosts == 1 or not self._out:
            return []
        out = dict(self._out)
        parts = [
            f"{status.value}: {words.hosts(sorted(host for host, came in out.items() if came is status))}"
            for status in (Status.FAILED, Status.UNREACHABLE)
            if status in out.values()
        ]
        text = Text.assemble(self._mark(Status.FAILED), (f" {'; '.join(parts)}", "red"))
        text.truncate(max(self._width - 4, 1), overflow="ellipsis")
        return [Padding(text, (0, 0, 0, 2), expand=False)]

    def _moving(self, running: list[Running], now: float) -> RenderableType:
        """One running step, or one step that runs on several hosts; the longest of them counts."""
        first = min(running, key=lambda one: one.since)
        frames = SPINNER if self._marks else ASCII_SPINNER
        text = Text.assemble((frames[int(now * 8) % len(frames)], "cyan"), f" {first.title}")
        if len(running) > 1:
            text.append(f"  {words.hosts([one.host for one in running])}", "bright_black")
        elif self._hosts > 1:
            text.append(f"  {first.host}", "bright_black")
        if first.progress and first.progress.text:
            text.append(f"  {words.shortened(one_line(first.progress.text), 40)}", "bright_black")
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.width = self._width - 2
        grid.add_column(ratio=1, no_wrap=True, overflow="ellipsis")
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(justify="right", no_wrap=True, width=8)
        bar: RenderableType = ""
        if first.progress and first.progress.total and self._width >= NARROW:
            bar = ProgressBar(first.progress.total, min(first.progress.done, first.progress.total), width=20)
        grid.add_row(text, bar, Text(words.duration(now - first.since), "bright_black"))
        return Padding(grid, (0, 0, 0, 2), expand=False)

    def _overall(self, now: float) -> RenderableType:
        total = self._known * max(self._hosts, 1)
        grid = Table.grid(padding=(0, 1, 0, 0))
        grid.width = self._width - 2
        grid.add_column(ratio=1)
        grid.add_column(justify="right", no_wrap=True)
        grid.add_column(justify="right", no_wrap=True, width=8)
        bar: RenderableType = ""
        figures = words.count(self._done, "step")
        if total and self._done <= total:
            if self._width >= NARROW:
                bar = ProgressBar(total, self._done, complete_style="cyan", finished_style="cyan")
            figures = f"{self._done} of {total}"
        grid.add_row(bar, Text(figures, "bright_black"), Text(words.duration(now - self._began), "bright_black"))
        return Padding(grid, (0, 0, 0, 2), expand=False)

    # --- the end ---

    def _recap(self, report: Report) -> None:
        names = columns(report)
        table = Table(box=None, padding=(0, 2, 0, 0), header_style="bright_black", show_edge=False)
        table.add_column("host", overflow="fold")
        for name in names:
            table.add_column(name.replace("_", " "), justify="right")
        table.add_column("time", justify="right", no_wrap=True)
        for row in rows(report):
            cells = [self._figure(name, getattr(row.recap, name)) for name in names]
            table.add_row(Text(row.title, "bold red" if row.bad else ""), *cells, words.duration(row.recap.seconds))
        if report.hosts:
            self._console.print(Padding(table, (1, 0, 0, 2)))
        last = closing(report, self._check, self._again, self._narrator.last_message)
        mark = self._mark(Status.OK if last.good else Status.FAILED)
        self._console.print(
            Text.assemble("\n  ", mark, " ", (last.sentence, "bold green" if last.good else "bold red"))
        )
        for line in last.advice:
            command = line.startswith("$ ")
            # A command is one to copy: it must not be broken by us where the terminal is narrow.
            self._console.print(
                Text(
                    f"    {line.removeprefix('$ ')}" if not command else f"      {line[2:]}", "cyan" if command else ""
                ),
                soft_wrap=True,
            )

    def _figure(self, name: str, number: int) -> Text:
        styles = {"ok": "green", "changed": "yellow", "rolled_back": "magenta", "skipped": "bright_black"}
        grave = {"failed": "bold red", "unreachable": "bold red", "rollback_failed": "bold red"}
        return Text(str(number), {**styles, **grave}.get(name, "") if number else "bright_black")


def _asks(step: Step) -> bool:
    """Whether the step waits for somebody to type something."""
    return step.tool == "pause" and not {"seconds", "minutes"}.intersection(step.args)
