"""The runbook that is kept beside an application, for whoever has nothing but the host at hand.

Its last line says what it was written from and what it held then, so that a look at it tells whether it is of now.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Sequence
from typing import Any

from ..errors import StepError
from ..model import Outcome, changed
from ..tool import Record, Undoing
from ..transport.base import Transport
from . import application, kept
from .settings import settings

FILE = ".ikoma/runbook.md"
_SEAL = re.compile(r"<!-- written from ([0-9a-f]{64}), as ([0-9a-f]{64}) -->\n\Z")


def path(on: Transport, app: str) -> str:
    return settings(on).app(app, FILE)


def wrong(on: Transport, app: str, origin: str) -> str:
    """Why the kept runbook is not the one of `origin`; "" where it is. Raises StepError where it cannot be read."""
    there = path(on, app)
    if on.stat(there) is None:
        return f"there is no {there}"
    text = on.read(there).decode("utf-8", "replace")
    seal = _SEAL.search(text)
    if seal is None or seal[2] != _digest(text[: seal.start()]):
        return f"{there} was changed by somebody"
    return "" if seal[1] == origin else f"{there} was written from other procedures"


def write(on: Transport, app: str, origin: str, markdown: str) -> None:
    """Keep this document as the runbook of `origin`."""
    there, text = path(on, app), markdown.rstrip("\n") + "\n\n"
    on.mkdir(posixpath.dirname(there), 0o700)
    on.write(there, f"{text}<!-- written from {origin}, as {_digest(text)} -->\n".encode(), 0o644)


def origin(parts: Sequence[str]) -> str:
    """The digest of what a runbook is written from."""
    return _digest("\0".join(parts))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _before(on: Transport, at: str, app_name: str, **more: object) -> dict[str, Any]:
    there = path(on, application.checked(app_name))
    return kept.keep(on, app_name, at, [there], [posixpath.dirname(there)])


def _put_back(on: Transport, record: Record, undoing: Undoing) -> Outcome:
    try:
        kept.refuse_later(on, record, undoing)
    except StepError:
        return changed(None, "a later run wrote it too, so it stays")
    kept.put_back(on, record)
    return changed(None, "the runbook is as before")


UNDO = kept.undo("the former runbook comes back", _before, _put_back)
