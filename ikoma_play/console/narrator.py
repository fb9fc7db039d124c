"""Turns the events of a run into lines to show; how a line is drawn is the views' matter.

What is quiet unless asked for: skipped steps, results (-v), arguments (-vv). Outcomes that are equal on
many hosts become one line; of equal failures the first is told at once, with all there is to say.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from msgspec import Struct, field

from ..events import (
    Event,
    PlayStarted,
    Question,
    RunFinished,
    StepFinished,
    StepRetried,
    StepStarted,
    StepWaits,
    Warned,
)
from ..model import Outcome, Status, Step
from . import words
from .terminal import one_line, printable

ADDRESS = r"\d+(\.\d+){3}(:\d+)?|\[?[0-9a-f]*(:[0-9a-f]*){2,}\]?(:\d+)?"  # with its port
SAID = {"assert": ("fail_msg", "msg", "success_msg"), "fail": ("msg",)}  # arguments that are what the failure says
MANY = 8  # from more hosts than this on, equal outcomes are told together

Kind = str
"""play, phase, step, retry, waiting; and what stands below a step: message, detail, where, call, cause, evidence,
remedy, head, hunk, added, removed, same; warning"""


class Line(Struct, frozen=True):
    """One line to show. `note` is what stands behind a step's title: `ignored`, `3 attempts`."""

    kind: Kind
    text: str
    status: Status | None = None
    hosts: tuple[str, ...] = ()
    seconds: float = 0.0
    note: str = ""
    everyone: bool = False  # `hosts` are all hosts of the play


class Group(Struct):
    """A step's equal outcomes, held back until no host is at it any more."""

    title: str
    phase: str
    finished: dict[tuple[Status, str, tuple[Line, ...]], list[StepFinished]] = field(default_factory=dict)
    failed: dict[tuple[str, ...], str] = field(default_factory=dict)  # failures that were told, and the first's host
    running: set[str] = field(default_factory=set)


class Narrator:
    """One run, told line by line."""

    def __init__(self, verbosity: int = 0, diff: bool = False) -> None:
        self.verbosity = verbosity
        self.diff = diff
        self.phase = ""  # as last told
        self.hosts: tuple[str, ...] = ()
        self.warnings: dict[str, int] = {}
        self.last_message = ""  # of those with an address in it
        self._groups: dict[int, Group] = {}
        self._places: dict[str, int] = {}

    def tell(self, event: Event) -> Iterator[Line]:
        """The lines that this event gives rise to."""
        match event:
            case PlayStarted():
                yield from self._flush(everything=True)
                yield from self._play(event)
            case StepStarted(step=Step() as step):
                yield from self._started(event, step)
            case StepRetried():
                yield from self._retried(event)
            case StepWaits(question=Question() as question):
                yield from self._heading(event.step.phase if event.step else "", "step")
                until = words.clock(question.until)
                yield Line(
                    "waiting", one_line(question.text), hosts=(event.host,),
                    note=f"until {until} for the role {question.role.label}: ikoma-play runs approve {event.run}",
                )  # fmt: skip
            case StepFinished(step=Step() as step):
                yield from self._finished(event, step)
            case Warned(at_once=True):
                yield Line("warning", event.message)
            case Warned():
                self._warn(f"{event.position}: {event.message}" if event.position else event.message)
            case RunFinished():
                yield from self._flush(everything=True)
                for warning, times in self.warnings.items():
                    yield Line("warning", warning, note=f"{times} times" if times > 1 else "")

    # --- one event each ---

    def _play(self, event: PlayStarted) -> Iterator[Line]:
        self.hosts = event.hosts
        self._places = {host: place for place, host in enumerate(event.hosts)}
        self.phase = ""
        yield Line("play", one_line(event.play), hosts=event.hosts)

    def _started(self, event: StepStarted, step: Step) -> Iterator[Line]:
        if self._many:
            key = id(step)
            yield from self._flush(besides=key)
            self._group(step, event.title).running.add(event.host)

    def _retried(self, event: StepRetried) -> Iterator[Line]:
        if event.step is None or (self._many and not self.verbosity):
            return
        yield from self._heading(event.step.phase, "step")
        again = f", again in {words.duration(event.delay)}" if event.delay else ""
        yield Line(
            "retry",
            one_line(event.step.title),
            hosts=(event.host,),
            note=f"attempt {event.attempt} of {event.of}{again}",
        )
        if self.verbosity and event.outcome and event.outcome.failure and not event.outcome.hidden:
            yield from _lines("detail", event.outcome.failure.message)

    def _finished(self, event: StepFinished, step: Step) -> Iterator[Line]:
        outcome = event.outcome
        for warning in outcome.warnings:
            self._warn(warning)
        if self._many:
            group = self._group(step, event.title)
            group.running.discard(event.host)
            told = (outcome.status, note(outcome), tuple(self._below(event, step)))
            if outcome.status.bad:
                alike = _likeness(event, told[1], told[2])
                first = group.failed.setdefault(alike, event.host)
                told = (outcome.status, f"as on {first}", ())
            if not outcome.status.bad or first != event.host:
                group.finished.setdefault(told, []).append(event)
                return
        if outcome.status is Status.SKIPPED and not self.verbosity:
            return
        yield from self._heading(step.phase, event.kind)
        yield Line("step", one_line(event.title), outcome.status, (event.host,), outcome.seconds, note(outcome))
        yield from self._below(event, step)

    # --- what stands below a step ---

    def _below(self, event: StepFinished, step: Step) -> list[Line]:
        outcome = event.outcome
        lines = []
        if outcome.status.bad:
            return list(failure(event, step))
        if outcome.hidden:
            return []
        if step.tool == "debug":
            lines += [Line("message", line) for line in self._said(outcome)]
        elif self.verbosity and outcome.message:
            lines += _lines("message", outcome.message)
        if self.verbosity > 1 and outcome.status is not Status.SKIPPED:
            lines.append(Line("where", str(step.position)))
            if self.verbosity > 2 and outcome.round_trips:
                lines.append(Line("where", words.count(outcome.round_trips, "round trip")))
            lines += [Line("call", line) for line in words.call(step.tool, event.arguments)]
        if self.verbosity and step.tool != "debug":
            lines += self._results(outcome)
        if self.diff:
            lines += [Line(*pair) for diff in _all_diffs(outcome) for pair in words.diff_lines(diff)]
        return lines

    def _said(self, outcome: Outcome) -> Iterator[str]:
        """What debug has to say, for each item of its loop."""
        for one in outcome.items or (outcome,):
            if one.status is Status.SKIPPED:
                continue
            text = one.message or (one.result if isinstance(one.result, str) else words.compact(one.result))
            said = printable(text)
            if "://" in said and len(said.splitlines()) == 1:  # a list may quote addresses that are no answer
                self.last_message = said
            yield from said.splitlines() or [""]

    def _results(self, outcome: Outcome) -> Iterator[Line]:
        for one in outcome.items:
            yield Line("detail", f"{one.status.value}: {words.value(one.item)}", note=note(one))
        if not outcome.items and outcome.result is not None:
            yield from (Line("detail", line) for line in words.result_lines(outcome.result, self.verbosity > 2))

    # --- headings, groups, warnings ---

    def _heading(self, name: str, kind: str) -> Iterator[Line]:
        title = words.phase(name, kind, not self.phase)
        if title and title != self.phase:
            self.phase = title
            yield Line("phase", title)

    @property
    def _many(self) -> bool:
        return len(self.hosts) > MANY

    def _group(self, step: Step, title: str) -> Group:
        return self._groups.setdefault(id(step), Group(title, step.phase))

    def _flush(self, besides: int = 0, everything: bool = False) -> Iterator[Line]:
        """Tell the groups that are complete: every host that was at the step has finished it."""
        for key, group in list(self._groups.items()):
            if everything or (key != besides and not group.running):
                del self._groups[key]
                yield from self._tell_group(group)

    def _tell_group(self, group: Group) -> Iterator[Line]:
        for (status, behind, below), events in sorted(group.finished.items(), key=lambda pair: -len(pair[1])):
            if status is Status.SKIPPED and not self.verbosity:
                continue
            yield from self._heading(group.phase, events[0].kind)
            titles = {event.title for event in events}
            title = titles.pop() if len(titles) == 1 else group.title
            slowest = max(event.outcome.seconds for event in events)
            hosts = tuple(sorted((event.host for event in events), key=self._place))
            everyone = len(hosts) == len(self.hosts)
            yield Line("step", one_line(title), status, hosts, slowest, behind, everyone)
            yield from below

    def _place(self, host: str) -> tuple[int, str]:
        """Where the host stands in the play."""
        return self._places.get(host, len(self._places)), host

    def _warn(self, message: str) -> None:
        text = one_line(message)
        self.warnings[text] = self.warnings.get(text, 0) + 1


def note(outcome: Outcome) -> str:
    """What stands behind a step's title."""
    notes = []
    if outcome.ignored:
        notes.append("ignored")
    if outcome.attempts > 1:
        notes.append(f"{outcome.attempts} attempts")
    if len(outcome.items) > 1:
        notes.append(f"{len(outcome.items)} items")
    return ", ".join(notes)


def _likeness(event: StepFinished, behind: str, below: tuple[Line, ...]) -> tuple[str, ...]:
    """What a failure says that would be the same on another host: without names, addresses and the step's values."""
    said = (line.text for line in below if line.kind != "call")
    return (event.outcome.status.value, behind, *(re.sub(ADDRESS, "", text.replace(event.host, "")) for text in said))


def failure(event: StepFinished, step: Step) -> Iterator[Line]:
    """Why a step failed: where it stands, what was asked, what came of it, what to do."""
    outcome = event.outcome
    yield Line("where", str(step.position))
    if outcome.hidden:
        yield Line("cause", f"{step.tool} failed; no_log hides what it was asked and what it said")
        return
    asked = {name: value for name, value in event.arguments.items() if name not in SAID.get(step.tool, ())}
    yield from (Line("call", printable(line)) for line in words.call(step.tool, asked))
    failed = [one for one in outcome.items if one.status.bad]
    for one in failed[:5]:
        yield from _cause(one, step, f"{words.value(one.item)}: ")
    if len(failed) > 5:
        yield Line("cause", f"… and {len(failed) - 5} more items")
    if not failed:
        yield from _cause(outcome, step, "")


def _cause(outcome: Outcome, step: Step, prefix: str) -> Iterator[Line]:
    why = outcome.failure
    message = why.message if why else outcome.message or "it failed without a word"
    yield from _lines("cause", prefix + message)
    if why and why.position and why.position != step.position:
        yield Line("where", f"in {why.position}")
    if why and why.evidence:
        yield from _lines("evidence", why.evidence)
    if why and why.remedy:
        yield from _lines("remedy", why.remedy)


def _lines(kind: Kind, text: str) -> list[Line]:
    return [Line(kind, line) for line in printable(text).splitlines()]


def _all_diffs(outcome: Outcome) -> Iterator[Any]:
    yield from outcome.diffs
    for one in outcome.items:
        yield from one.diffs
