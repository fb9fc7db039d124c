"""People told: a message to contacts, and what became of earlier ones."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any, Literal

from ..arguments import AppName, Count
from ..errors import JournalError, StepError
from ..model import Access, Outcome, changed, ok
from ..tool import Scope, tool
from ..transport.base import Transport

if TYPE_CHECKING:
    from ..journal.store import Store
    from ..notify.contacts import Escalation


@tool("platform.notify", access=Access.OPERATOR, changes=True, lasting="a message cannot be taken back")
def notify(
    on: Transport,
    message: str,
    app_name: AppName | None = None,
    severity: Literal["P1", "P2", "P3", "P4"] | None = None,
    contacts: list[str] | None = None,
    about: str | None = None,
    *,
    scope: Scope | None = None,
) -> Outcome:
    """Tell people something: by webhook, mail or command, as the inventory's contacts say.

    It is written to the outbox first; what cannot be sent now is sent with a later run.

    message: what to tell
    app_name: the application that it is about
    severity: whose contacts hear of it; default the contacts of ikoma_team
    contacts: names of ikoma_contacts, instead of the severity's or the team's
    about: what it is about, a release for instance: whoever heard of it already is not told again
    """
    from ..notify import outbox
    from ..notify.message import Message

    known = escalation_of(on, scope)
    wanted = contacts or (known.severities[severity].contacts if severity else known.team)
    reached = [name for name in wanted if known.contacts.get(name)]
    if contacts and (unknown := [name for name in contacts if name not in known.contacts]):
        raise StepError(f"ikoma_contacts has no {', '.join(unknown)}", remedy=f"It has: {', '.join(known.contacts)}.")
    if not reached:
        said = "nobody is to be told: ikoma_team and ikoma_contacts of the inventory say who and how"
        return ok({"success": True, "message": said, "sent": [], "waiting": []}, said)
    run, text = _text(scope, "ikoma_run"), scope.mask(message) if scope else message
    title = f"{severity} {text}" if severity else text
    reached = _not_told_yet(reached, app_name, about, (run, title) if scope is not None and scope.again else None)
    if not reached:
        said = f"all have heard of {about or 'it'} already"
        return ok({"success": True, "message": said, "sent": [], "waiting": []}, said)
    if on.dry:
        said = f"{', '.join(reached)} would be told"
        return changed({"success": True, "message": said, "sent": [], "waiting": reached}, said)
    fields = {
        "host": on.host.name,
        **({"application": app_name} if app_name else {}),
        **({"run": run} if run else {}),
        **({"about": about} if about else {}),
    }
    with _outbox() as store:
        tag = run or "platform.notify"
        outbox.add(
            store, Message(title, severity or "", fields), known, reached,
            run=tag, host=on.host.name, app=app_name or "",
        )  # fmt: skip
        done = outbox.deliver(store, lambda name: known, run=tag)
    waiting = [one for one in done if one.error]
    sent = [f"{one.contact} by {one.way}" for one in done if not one.error]
    said = f"told {', '.join(sent)}" if sent else "nobody could be told yet"
    warnings = tuple(f"{one.contact} waits in the outbox: {one.error}" for one in waiting)
    result = {"success": not waiting, "message": said, "sent": sent, "waiting": [one.contact for one in waiting]}
    return changed(result, said, warnings=warnings)


@tool("platform.notifications", access=Access.OBSERVER, changes=False)
def notifications(
    on: Transport, app_name: AppName | None = None, most: Count = 20, *, scope: Scope | None = None
) -> Outcome:
    """Tell who is notified of what, and which notifications were sent or wait, the newest first.

    app_name: only those about this application
    most: how many
    """
    known = escalation_of(on, scope)
    rows = _known_to_the_outbox(app_name, most)
    found = [
        {"at": row["at"], "severity": row["severity"], "contact": row["contact"], "way": row["way"],
         "run": row["run"], "host": row["host"], "sent": row["sent"], "error": row["error"],
         "about": json.loads(row["message"])["fields"].get("about", "")}
        for row in rows
    ]  # fmt: skip
    severities = {
        name: {"meaning": one.meaning, "response": one.response, "contacts": list(one.contacts),
               "reached": known.reached(name)}
        for name, one in known.severities.items()
    }  # fmt: skip
    waiting = sum(1 for one in found if one["sent"] is None)
    result = {"severities": severities, "team": list(known.team), "notifications": found, "waiting": waiting}
    return ok(result, f"{len(found)} notifications, {waiting} waiting")


def _not_told_yet(contacts: list[str], app: str | None, about: str | None, again: tuple[str, str] | None) -> list[str]:
    """Those for whom no notification about the same is in the outbox, sent or waiting, nor the one that is made
    `again`, by its run and title."""
    if not (about or again) or not contacts:
        return contacts
    told = set()
    for row in _known_to_the_outbox(app, 1000):
        message = json.loads(row["message"])
        if (about and message["fields"].get("about") == about) or (row["run"], message["title"]) == again:
            told.add(row["contact"])
    return [name for name in contacts if name not in told]


def _known_to_the_outbox(app: str | None, most: int) -> list[dict[str, Any]]:
    """The newest notifications; none where there is no journal yet, which looking does not begin."""
    from ..journal.opening import default_url, open_store

    try:
        store = open_store(default_url(), create=False)
    except JournalError:
        return []
    with closing(store):
        return store.read("newest_notifications", app=app or "", most=most)


@contextmanager
def _outbox() -> Iterator[Store]:
    from ..journal.opening import default_url, open_store

    with closing(open_store(default_url())) as store:
        yield store


def escalation_of(on: Transport, scope: Scope | None) -> Escalation:
    """Who is to be told, as the host's variables say. Raises StepError for what makes no sense there."""
    from ..notify.contacts import VARIABLES, escalation

    values: dict[str, Any] = {}
    if scope is not None:
        for name in VARIABLES:
            if (value := scope.variables.get(name)) is not None:
                values[name] = value
    found = escalation(values or on.host.vars)
    if scope is not None:
        hooks = (way.target for ways in found.contacts.values() for way in ways if way.kind == "webhook")
        scope.keep_secret(*hooks, *filter(None, (str(found.smtp.get("password") or ""),)))
    return found


def _text(scope: Scope | None, name: str) -> str:
    value = scope.variables.get(name) if scope is not None else None
    return value if isinstance(value, str) else ""
