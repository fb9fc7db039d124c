"""Notifications in the journal: written before the first attempt to send them, so that none is lost.

A row names the contact and the way by name; what the way is (an URL, addresses) may be secret, so it is looked up
in the inventory when it is sent.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence

from msgspec import Struct

from ..errors import IkomaError, StepError, Unavailable
from ..journal.store import Row, Store
from . import message as messages
from .contacts import Escalation
from .message import Message
from .ways import LoginRefused, send

PAUSES = (0.5, 2.0)  # seconds between the attempts at one time
_MINE = 120.0  # seconds that one who is sending is left alone


class Delivery(Struct, frozen=True):
    """What became of one notification; `error` "" when it was sent, `shut` when nothing gets through that way."""

    contact: str
    way: str
    severity: str
    error: str = ""
    shut: bool = False


def add(
    store: Store,
    message: Message,
    escalation: Escalation,
    contacts: Iterable[str],
    *,
    run: str,
    host: str,
    app: str = "",
) -> int:
    """Write a notification for every way to these contacts; how many."""
    rows = [
        {
            "id": f"{int(time.time() * 1000):013d}-{secrets.token_hex(4)}",
            "run": run,
            "at": time.time(),
            "severity": message.severity,
            "contact": contact,
            "way": way.kind,
            "host": host,
            "app": app,
            "message": message.kept(),
        }
        for contact in dict.fromkeys(contacts)
        for way in escalation.contacts.get(contact, ())
    ]
    if rows:
        store.write(*(("add_notification", row) for row in rows))
    return len(rows)


def deliver(
    store: Store, of_host: Callable[[str], Escalation], pauses: Sequence[float] = PAUSES, run: str | None = None
) -> list[Delivery]:
    """Try to send what waits, all of it or one run's, the oldest first. Whatever cannot be sent stays.

    A way that is shut is tried for one of them; the others that would go by it wait for the next time."""
    done: list[Delivery] = []
    shut: set[tuple[str, str, str]] = set()
    for row in store.read("waiting_notifications"):
        way = (row["host"], row["contact"], row["way"])
        if run in (None, row["run"]) and way not in shut and _claim(store, row):
            done.append(_deliver(store, row, of_host, pauses))
            if done[-1].shut:
                shut.add(way)
    return done


def _claim(store: Store, row: Row) -> bool:
    """Whether it is ours to send: another runner may be at it."""
    now = time.time()
    return bool(store.write(("claim_notification", {"id": row["id"], "now": now, "stale": now - _MINE})))


def _deliver(store: Store, row: Row, of_host: Callable[[str], Escalation], pauses: Sequence[float]) -> Delivery:
    error, closed = "", False
    for pause in (*pauses, None):
        try:
            escalation = of_host(row["host"])
            way = next((one for one in escalation.contacts.get(row["contact"], ()) if one.kind == row["way"]), None)
            if way is None:
                raise StepError(f"the inventory knows no {row['way']} of {row['contact']} any more")
            send(way, messages.from_kept(row["message"]), escalation.smtp)
        except IkomaError as failed:
            error, closed = failed.message, isinstance(failed, Unavailable)
            if pause is None or isinstance(failed, LoginRefused):
                break
            time.sleep(pause)
            continue
        store.write(("notification_sent", {"id": row["id"], "sent": time.time()}))
        return Delivery(row["contact"], row["way"], row["severity"])
    store.write(("notification_failed", {"id": row["id"], "error": error}))
    return Delivery(row["contact"], row["way"], row["severity"], error, closed)
