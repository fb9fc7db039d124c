"""Events of a small run, made by hand, to show."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from ikoma_play.events import Event, HostRecap, PlayStarted, Report, RunFinished, RunStarted, StepFinished, StepStarted
from ikoma_play.model import Failure, Outcome, Position, Status, Step

RUN, AT = "20260102T030405-abcd", 1767322945.5


def step(name: str, tool: str = "command", phase: str = "Deployment", line: int = 3, **args: Any) -> Step:
    return Step(tool, args, Position("deploy.yml", line, 5), name, phase)


def outcome(status: str = "ok", **more: Any) -> Outcome:
    return Outcome(Status(status), **more)


def failed(**more: Any) -> Outcome:
    """A failure with everything there is to say."""
    failure = Failure("command-failed", "it ended with exit code 1", "Try harder.", "$ false\nfirst\nlast")
    return outcome("failed", failure=failure, **more)


def told(step: Step, outcome: Outcome, host: str = "web1", kind: str = "step", title: str = "") -> Iterator[Event]:
    """One step from its start to its end on one host."""
    yield StepStarted(RUN, AT, step, title or step.title, host, kind, step.args)
    yield finished(step, outcome, host, kind, title)


def finished(step: Step, outcome: Outcome, host: str = "web1", kind: str = "step", title: str = "") -> StepFinished:
    return StepFinished(RUN, AT, step, title or step.title, host, kind, step.args, outcome)


def run(*events: Event | Iterator[Event], hosts: Sequence[str] = ("web1",), **report: Any) -> Iterator[Event]:
    """A whole run of one play around these events; the figures of its report are counted from them."""
    yield RunStarted(RUN, AT, ("deploy.yml",), False, len(events))
    yield PlayStarted(RUN, AT, "Deploy", tuple(hosts))
    counts: dict[str, dict[str, float]] = {host: {} for host in hosts}
    failures = []
    for some in events:
        for event in [some] if isinstance(some, Event) else some:
            yield event
            if isinstance(event, StepFinished):
                count = counts[event.host]
                status = event.outcome.status
                for name in {"ok", "changed"} if status is Status.CHANGED else {status.value}:
                    count[name] = count.get(name, 0) + 1
                count["seconds"] = count.get("seconds", 0) + event.outcome.seconds
                failures += [event] if status.bad else []
    recaps = {host: HostRecap(**figures) for host, figures in counts.items()}  # type: ignore[arg-type]
    yield RunFinished(RUN, AT, Report(RUN, recaps, **{"seconds": 2.0, "failures": tuple(failures), **report}))
