"""Steps of playbooks and `exec`, written to the log like calls over HTTP."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from msgspec import Struct

from ..events import Event, PlayStarted, StepFinished, StepStarted
from ..model import Status
from .entries import Entry
from .log import AuditLog


class Caller(Struct, frozen=True):
    """On whose behalf a run goes: the name of a key or of who sits at the command line, and what he may do."""

    key: str
    role: str
    request_id: str = ""  # of the HTTP request that asked for the run


class Steps:
    """An observer that writes one line for each step that was called on a host; events come masked, one at a time.

    `log_of` gives the log of a host by its name, None for a host whose steps are not kept. A step is refused before
    it touches its host where its line could not be written: AuditError ends the run."""

    def __init__(self, log_of: Callable[[str], AuditLog | None], caller: Caller) -> None:
        self._log_of = log_of
        self._caller = caller
        self._count = 0

    def __call__(self, event: Event) -> None:
        self.many((event,))

    def many(self, events: Sequence[Event]) -> None:
        """Write the lines of several events at once, then see whether the steps that begin could be written down."""
        lines: dict[AuditLog, list[Entry]] = {}
        wanted: dict[AuditLog, None] = {}
        for event in events:
            match event:
                case PlayStarted(hosts=hosts):
                    wanted.update((log, None) for host in hosts if (log := self._log_of(host)))
                case StepStarted(host=host):
                    if (log := self._log_of(host)) is not None:
                        wanted[log] = None
                case StepFinished() if event.outcome.status is not Status.SKIPPED and event.step is not None:
                    if (log := self._log_of(event.host)) is not None:
                        lines.setdefault(log, []).append(self._entry(event))
        for log, entries in lines.items():
            log.append(*entries)
        for log in wanted:
            log.demand()

    def _entry(self, event: StepFinished) -> Entry:
        assert event.step is not None
        self._count += 1
        came = event.outcome
        return Entry(
            event.step.tool,
            self._caller.role,
            event.arguments,
            came.failure.message if came.failure is not None and came.status.bad else "",
            came.seconds,
            event.host,
            self._caller.key,
            event.run,
            f"{self._caller.request_id or event.run}/{self._count}",
            event.at - came.seconds,
            failed=came.status.bad,
        )
