"""`Idempotency-Key`: a request that was made once is answered again with the same, and carried out never again."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct

from ..errors import JournalError
from ..journal.holder import is_dead, this_process
from ..journal.store import Row, Store
from ..model import EMPTY
from .answers import Refusal

KEPT = 7 * 86400.0  # seconds for which a request is remembered
LONGEST = 4 * 1024 * 1024  # characters of an answer that are kept
_NAME = re.compile(r"[\x21-\x7e]{1,255}")


class Kept(Struct, frozen=True):
    """An answer that was given before."""

    status: int
    text: str


class Begun:
    """A request under way, in the journal by `names`: it may have an Idempotency-Key in common with a later one that
    took its place, but not the time as well. What it begins is told to the journal before it touches anything."""

    def __init__(self, store: Store | None = None, names: Mapping[str, Any] = EMPTY) -> None:
        self._store = store
        self._id = names
        self.run = ""

    def runs(self, run: str) -> None:
        """The request begins this run: from here on it is not carried out a second time. Raises JournalError where
        another server held it for dead and has begun it in its place."""
        if self.run:
            return
        if self._store is not None and not self._store.write(("request_runs", {**self._id, "run": run})):
            raise JournalError("this request was not heard of for long, so another one was made in its place")
        self.run = run

    def end(self, status: int, text: str, began: bool = True) -> None:
        """Keep the answer; where nothing was begun the request may be made again."""
        if self._store is None:
            return
        if status >= 400 and not (self.run and began):
            self._store.write(("forget_request", self._id))
        else:
            self._store.write(("end_request", {**self._id, "status": status, "answer": text[:LONGEST]}))


class Once:
    """The requests of all servers that share a journal. `answer_of` gives the answer of a run whose server died
    before it had one, where the journal knows it."""

    def __init__(self, store: Store, answer_of: Callable[[str], Kept | None]) -> None:
        self._store = store
        self._answer_of = answer_of
        self._here = this_process()
        self._swept = 0.0

    def begin(self, caller: str, name: str | None, asked: bytes) -> Begun | Kept:
        """A request to carry out, or the answer that it got before. Raises Refusal: 400 for a name that is none,
        409 while it is under way or when nobody knows what became of it, 422 where the name stood for another
        request."""
        if name is None:
            return Begun()
        if not _NAME.fullmatch(name):
            raise Refusal(
                400, "invalid", "Idempotency-Key must be 1 to 255 visible characters",
                fields={"Idempotency-Key": "1 to 255 visible characters, such as a UUID"},
            )  # fmt: skip
        self._sweep()
        names = {"caller": caller, "name": name, "at": time.time()}
        about = {each: value for each, value in self._here.row.items() if each != "who"}
        row = {**names, **about, "asked": hashlib.sha256(asked).hexdigest()}
        for _ in range(5):
            if self._store.write(("begin_request", row)):
                return Begun(self._store, names)
            found = self._store.read("request_of", caller=caller, name=name)
            if found and (kept := self._known(found[0], row["asked"])) is not None:
                return kept
        raise _under_way("")

    def _known(self, found: Row, asked: object) -> Kept | None:
        """The answer of a request that was made before; None where it began nothing and is free again."""
        if found["asked"] != asked:
            raise Refusal(
                422, "reused", "this Idempotency-Key stood for another request",
                remedy="Use a new one for each request; the same one only to make the same request again.",
            )  # fmt: skip
        if found["status"]:
            return Kept(int(found["status"]), found["answer"])
        if not is_dead(found, self._here):
            raise _under_way(found["run"])
        if found["run"]:
            if (kept := self._answer_of(found["run"])) is not None:
                return kept
            raise Refusal(
                409, "interrupted", "the server ended while this request was under way; it is not made again",
                run=found["run"], remedy=f"See how far it came: GET /runs/{found['run']}",
            )  # fmt: skip
        self._store.write(("forget_request", {each: found[each] for each in ("caller", "name", "at")}))
        return None

    def _sweep(self) -> None:
        if time.time() - self._swept > 3600:
            self._swept = time.time()
            self._store.write(("forget_old_requests", {"before": time.time() - KEPT}))


def _under_way(run: str) -> Refusal:
    return Refusal(
        409, "in-progress", "this request is under way", run=run, headers={"Retry-After": "1"},
        remedy="Make it again in a second: it will be answered, and not carried out twice.",
    )  # fmt: skip


def fingerprint(method: str, path: str, role: str, body: bytes) -> bytes:
    """What makes two requests the same."""
    return f"{method} {path}\n{role}\n".encode() + body
