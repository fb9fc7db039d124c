"""The runbook that is kept beside an application, for whoever has nothing but the host at hand.

Its last line says which procedures it was written from, for which values, and what it held then, so that a look at it
tells whether it is of now.
"""

from __future__ import annotations

import hashlib
import posixpath
import re
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import Struct

from ..errors import StepError
from ..model import Outcome, changed
from ..tool import Record, Undoing
from ..transport.base import Transport
from . import application, kept
from .settings import settings

FILE = ".ikoma/runbook.md"
_SEAL = re.compile(r"<!-- written from ([0-9a-f]{64}) for ([0-9a-f]{64}), as ([0-9a-f]{64}) -->\n\Z")


class Origin(Struct, frozen=True):
    """Digests of what a runbook is written from: the procedures, and the values that one run was given."""

    procedures: str
    values: str


def path(on: Transport, app: str) -> str:
    return settings(on).app(app, FILE)


def wrong(on: Transport, app: str, origin: Origin, *, values: bool) -> str:
    """Why the kept runbook is not the one of `origin`; "" where it is. Without `values` those of another run do: they
    change no procedure. Raises StepError where it cannot be read."""
    there = path(on, app)
    if on.stat(there) is None:
        return f"there is no {there}"
    text = on.read(there).decode("utf-8", "replace")
    seal = _SEAL.search(text)
    if seal is None or seal[3] != _digest(text[: seal.start()]):
        return f"{there} was changed by somebody"
    if seal[1] != origin.procedures:
        return f"{there} was written from other procedures"
    return f"{there} was written for other values" if values and seal[2] != origin.values else ""


def write(on: Transport, app: str, origin: Origin, markdown: str) -> None:
    """Keep this document as the runbook of `origin`."""
    there, text = path(on, app), markdown.rstrip("\n") + "\n\n"
    on.mkdir(posixpath.dirname(there), 0o700)
    seal = f"<!-- written from {origin.procedures} for {origin.values}, as {_digest(text)} -->\n"
    on.write(there, f"{text}{seal}".encode(), 0o644)


def origin(procedures: Sequence[str], values: Mapping[str, str]) -> Origin:
    """What a runbook is written from."""
    return Origin(_digest("\0".join(procedures)), _digest(repr(sorted(values.items()))))


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
