"""The observer that tells people of a production play that failed."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Mapping

from ..errors import IkomaError
from ..events import Event, Report, RunFinished, RunStarted, StepFinished
from ..journal.store import Store
from . import outbox
from .contacts import Escalation, Way
from .message import Message

REMINDING = 4 * 3600.0  # seconds after which a schedule that still fails tells of it once more


class Notifier:
    """Writes a notification for each production host on which a play failed, and sends what waits in the outbox.

    `of_host` gives what a host's variables say, `app_of` the application's name; `warn` is told what could not be
    sent, in a sentence. A notification that fails never makes a run fail. `schedule` is what the run was due by: one
    that fails each time tells of the same failure every four hours only."""

    def __init__(
        self,
        store: Store,
        of_host: Callable[[str], Escalation],
        app_of: Callable[[str], str],
        warn: Callable[[str], None],
        schedule: str = "",
    ) -> None:
        self._schedule = schedule
        self._store, self._of_host, self._app_of, self._warn = store, of_host, app_of, warn
        self._playbooks: tuple[str, ...] = ()
        self._check = False

    def __call__(self, event: Event) -> None:
        match event:
            case RunStarted():
                self._playbooks, self._check = event.playbooks, event.check
            case RunFinished(report=Report() as report) if not self._check:
                try:
                    self._finished(report)
                except IkomaError as error:
                    self._warn(f"notifications could not be sent: {error.message}. {error.remedy}".strip())

    def _finished(self, report: Report) -> None:
        for host, recap in report.hosts.items():
            bad = recap.failed or recap.unreachable or recap.rollback_failed
            if not bad:
                continue
            try:
                found = self._of_host(host)
                if found.production:
                    self._add(report, host, found)
            except IkomaError as error:
                self._warn(f"nobody was notified of the failure on {host}: {error.message}. {error.remedy}".strip())
        for one in outbox.deliver(self._store, self._of_host):
            if one.error:
                self._warn(
                    f"the {one.way} to {one.contact} was not sent: {one.error}. It is kept and sent with the next run; "
                    "now: ikoma-play notifications send"
                )

    def _add(self, report: Report, host: str, found: Escalation) -> None:
        severity = found.severities[found.severity or _severity(report, host)]
        app = self._app_of(host)
        message = _message(report, host, app, self._playbooks, severity.response, severity.name)
        if self._schedule and _told(self._store, self._schedule, message, host):
            return
        if not outbox.add(self._store, message, found, severity.contacts, run=report.run, host=host, app=app):
            who = ", ".join(severity.contacts) or "nobody"
            self._warn(
                f"the failure on {host} is {severity.name}, for {who}, and ikoma_contacts says no way there. "
                "Give it webhook, email or command."
            )


def not_begun(
    store: Store, of_host: Callable[[str], Escalation], hosts: Iterable[str], schedule: str, run: str, error: str
) -> None:
    """Write a notification of a schedule that could not even begin its run, for its production hosts; who is told for
    one of them need not be told for the next. Raises IkomaError."""
    told: set[tuple[tuple[Way, ...], ...]] = set()
    for host in hosts:
        found = of_host(host)
        severity = found.severities[found.severity or "P2"]
        ways = tuple(found.contacts.get(contact, ()) for contact in severity.contacts)
        if not found.production or ways in told:
            continue
        told.add(ways)
        fields = {"schedule": schedule, "run": run, "host": host, "error": error}
        fields |= {"response": f"within {severity.response}", "more": "ikoma-play schedules"}
        message = Message(f"{severity.name} the schedule {schedule} could not begin", severity.name, fields)
        if not _told(store, schedule, message, host):
            outbox.add(store, message, found, severity.contacts, run=run, host=host)


def _told(store: Store, schedule: str, message: Message, host: str) -> bool:
    """Whether the same was told a while ago, and the schedule has not run well since."""
    found = store.read("last_success_of_schedule", name=schedule)
    since = max(time.time() - REMINDING, found[0]["ended"] or 0.0)
    rows = store.read("newest_notifications", app=message.fields.get("application", ""), most=200)
    return any(
        row["at"] > since and row["host"] == host and json.loads(row["message"])["title"] == message.title
        for row in rows
    )


def _severity(report: Report, host: str) -> str:
    """P1 where a person must look before anything else, P2 for a failure that stands, P3 for one that was undone."""
    recap = report.hosts[host]
    if recap.rollback_failed or recap.unreachable:
        return "P1"
    return "P3" if report.undone else "P2"


def _message(report: Report, host: str, app: str, playbooks: tuple[str, ...], response: str, severity: str) -> Message:
    failure = next((one for one in reversed(report.failures) if one.host == host), None)
    playbook = ", ".join(playbooks)
    fields: dict[str, str] = {"run": report.run, "playbook": playbook, "host": host}
    if app:
        fields["application"] = app
    fields |= _failed(failure)
    fields |= {"undone": "everything" if report.undone else "nothing", "response": f"within {response}"}
    fields["more"] = f"ikoma-play runs show {report.run}"
    step = f": {failure.title}" if failure else ""
    return Message(f"{severity} {app or playbook} failed on {host}{step}", severity, fields)


def _failed(event: StepFinished | None) -> Mapping[str, str]:
    if event is None:
        return {"error": "a step failed"}
    failure = event.outcome.failure
    error = failure.message if failure else event.outcome.message or "it failed"
    found = {"step": event.title, "error": error}
    if failure and failure.evidence:
        found["evidence"] = "\n".join(failure.evidence.splitlines()[-10:])
    if failure and failure.remedy:
        found["remedy"] = failure.remedy
    return found
