"""Playbooks over HTTP: `/runs` starts, shows, follows, cancels, resumes and undoes them.

The journal is what is shown, so that runs from the command line and of servers that share it are there too. A key that
is limited to hosts or applications sees and touches only the runs that it started itself.
"""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import bottle
from msgspec import Struct

from ..audit.entries import Entry
from ..errors import FaultsFound, IkomaError, NotFound, Unavailable, UsageError
from ..journal import approvals
from ..journal.again import state, under_way
from ..journal.holder import is_dead, this_process
from ..journal.store import Row, Store
from ..model import EMPTY, Access
from ..platform.api_keys import Key
from . import bodies, callers, places
from .answers import Refusal, wrong_fields
from .app import Application, Visit, answered, begun_text
from .calls import shown_body
from .described import RUNS
from .once import Kept, Once, fingerprint
from .run_data import (
    AGAIN,
    APPROVE,
    START,
    Field,
    about,
    approval,
    demand_harmless,
    may_see,
    of_faults,
    read,
    step,
)

LOOKAGAIN = 0.1  # seconds
BEAT = 5.0  # seconds after which a stream says that it is still there


class Wanted(Struct, frozen=True):
    """What is to be run for whom; `role` is what the call has, `request` its id."""

    key: Key
    role: Access
    request: str
    playbook: str = ""
    variables: Mapping[str, Any] = EMPTY
    limit: str | None = None
    tags: Sequence[str] = ()
    skip_tags: Sequence[str] = ()
    unfinished: str | None = None
    approve: bool = False
    reason: str = ""
    number: int | None = None


class Starter(Protocol):
    """Begins runs in processes of their own. Raises IkomaError with what the process said."""

    def access(self, playbook: str) -> Access:
        """The role that starting a playbook needs."""

    def hosts(self, playbook: str, variables: Mapping[str, Any], limit: str | None) -> Sequence[str]:
        """The hosts that it would run on; raises FaultsFound with all that is wrong with it."""

    def new_id(self) -> str: ...

    def start(self, run: str, wanted: Wanted) -> None:
        """Begin; the journal has the run when this returns."""

    def again(self, run: str, undo: bool, wanted: Wanted) -> None:
        """Resume or undo a run; the journal has it as running when this returns, or it is over already."""

    def access_of(self, row: Row) -> Access:
        """The role that a run of the journal needs from whoever goes on with it."""


class Runs:
    """The routes below /runs. `streams` is how many may follow runs at once."""

    def __init__(self, application: Application, store: Store, starter: Starter, once: Once, streams: int) -> None:
        self._app = application
        self._calls = application.web.calls
        self._store = store
        self._starter = starter
        self._once = once
        self._streams = threading.BoundedSemaphore(streams)
        route = application.route
        route("POST", "/runs", self._start, RUNS["start"])
        route("GET", "/runs", self._list, RUNS["list"])
        route("GET", "/runs/<run>", self._show, RUNS["show"])
        route("GET", "/runs/<run>/events", self._events, RUNS["events"])
        for word in ("cancel", "resume", "rollback", "approve"):
            route("POST", f"/runs/<run>/{word}", getattr(self, f"_{word}"), RUNS[word])

    # --- looking ---

    def _list(self, visit: Visit) -> Any:
        key, _ = self._app.role(visit)
        most = bottle.request.query.get("most", "20")
        if not most.isdecimal() or not most.isascii() or not 0 < int(most) <= 500:
            raise wrong_fields({"most": "most: a number from 1 to 500"})
        rows = self._store.read("newest_runs", most=500 if key.limited else int(most))
        return {"runs": [about(row) for row in rows if may_see(key, row)][: int(most)]}

    def _show(self, visit: Visit, run: str) -> Any:
        key, _ = self._app.role(visit)
        row = self._row(key, run)
        return {
            **about(row),
            "steps": [step(row) for row in self._store.read("steps_of", run=run)],
            "notes": self._store.read("notes_of", run=run),
            "approvals": [approval(each) for each in self._store.read("approvals_of", run=run)],
        }

    def _events(self, visit: Visit, run: str) -> Any:
        key, _ = self._app.role(visit)
        self._row(key, run)
        said = bottle.request.get_header("Last-Event-ID") or bottle.request.query.get("after") or "0"
        if not (said.isdecimal() and said.isascii()) or len(said) > 15:
            raise wrong_fields({"Last-Event-ID": "Last-Event-ID: the id of an event, which is a number"})
        if not self._streams.acquire(blocking=False):
            raise Refusal(
                503, "busy", "too many follow runs already", headers={"Retry-After": "5"},
                remedy=f"Ask again later, or look at GET /runs/{run}.",
            )  # fmt: skip
        headers = {"Content-Type": "text/event-stream; charset=utf-8", "X-Accel-Buffering": "no"}
        return bottle.HTTPResponse(_Stream(self._streams, self._follow(run, int(said))), 200, headers)

    def _follow(self, run: str, after: int) -> Iterator[bytes]:
        """Events as they come, until the run has ended, the server stops or the client is gone."""
        beat = time.monotonic()
        yield b": events of a run, as `ikoma-play run --json` prints them\n\n"
        while True:
            over = not under_way(self._store.read("run_of", run=run)[0])
            found = self._new_events(run, after)
            for number, event in found:
                after, beat = number, time.monotonic()
                data = json.dumps(event, ensure_ascii=False)
                yield f"id: {number}\nevent: {event['event']}\ndata: {data}\n\n".encode()
            if not found:
                if over:
                    yield b"event: end\ndata: {}\n\n"
                    return
                if self._calls.stopping:
                    return
                if time.monotonic() - beat > BEAT:
                    beat = time.monotonic()
                    yield b": still there\n\n"
                time.sleep(LOOKAGAIN)

    def _new_events(self, run: str, after: int) -> list[tuple[int, dict[str, Any]]]:
        """What was kept of the run's events; where a run from elsewhere keeps none, its steps as they end, in order."""
        found = self._store.read("events_after", run=run, after=after)
        if found or self._store.read("events_after", run=run, after=0):
            return [(row["number"], json.loads(row["event"])) for row in found]
        events: list[tuple[int, dict[str, Any]]] = []
        for row in self._store.read("steps_of", run=run)[after:]:
            if row["outcome"] is None:
                break
            events.append((row["number"], {"event": "step_finished", "run": run, **step(row)}))
        return events

    # --- doing ---

    def _start(self, visit: Visit) -> Any:
        def begin(wanted: Wanted) -> str:
            self._demand_harmless(wanted)
            callers.demand_access(self._starter.access(wanted.playbook), wanted.role, wanted.playbook)
            app = wanted.variables.get("app")
            for host in self._starter.hosts(wanted.playbook, wanted.variables, wanted.limit):
                callers.demand_reach(wanted.key, host, app if isinstance(app, str) else None)
            return self._starter.new_id()

        return self._doing(visit, "runs.start", START, begin, self._starter.start)

    def _resume(self, visit: Visit, run: str) -> Any:
        return self._again(visit, run, "resume")

    def _rollback(self, visit: Visit, run: str) -> Any:
        return self._again(visit, run, "rollback")

    def _again(self, visit: Visit, run: str, word: str) -> Any:
        def begin(wanted: Wanted) -> str:
            callers.demand_access(self._starter.access_of(self._row(wanted.key, run)), wanted.role, f"{word} of {run}")
            self._demand_harmless(wanted)
            return run

        def go_on(run: str, wanted: Wanted) -> None:
            self._starter.again(run, word == "rollback", wanted)

        return self._doing(visit, f"runs.{word}", AGAIN, begin, go_on, run)

    def _demand_harmless(self, wanted: Wanted) -> None:
        """Variables that are not for the key to say. Raises Refusal."""
        demand_harmless(wanted.variables, wanted.role)
        places.demand(places.of_run(wanted.variables), wanted.key, wanted.role, self._calls.parts.places())

    def _cancel(self, visit: Visit, run: str) -> Any:
        def begin(wanted: Wanted) -> str:
            row = self._row(wanted.key, run)
            callers.demand_access(Access.OPERATOR, wanted.role, f"cancel of {run}")
            if not under_way(row):
                raise Refusal(409, "over", f"run {run} is {state(row)}, so there is nothing to cancel")
            here = this_process()
            if (row["host"], row["boot"]) != (here.host, here.boot):
                raise Refusal(
                    409, "elsewhere", f"run {run} is under way on {row['host']}, and this server is on {here.host}",
                    remedy=f"Ask the server on {row['host']}.",
                )  # fmt: skip
            if row["pid"] == os.getpid():
                raise Refusal(409, "one-call", f"{run} is one call of a tool, which ends by itself")
            return run

        def stop(run: str, wanted: Wanted) -> None:
            row = self._store.read("run_of", run=run)[0]
            if not is_dead(row, this_process()):
                os.kill(row["pid"], signal.SIGINT)

        return self._doing(visit, "runs.cancel", {}, begin, stop, run)

    def _approve(self, visit: Visit, run: str) -> Any:
        number = 0

        def begin(wanted: Wanted) -> str:
            nonlocal number
            question = self._question(self._row(wanted.key, run), wanted)
            callers.demand_access(approvals.role_of(question), wanted.role, f"an answer to {question['question']!r}")
            number = question["number"]
            return run

        def answer(run: str, wanted: Wanted) -> None:
            if not approvals.decide(self._store, run, number, wanted.approve, wanted.key.name, wanted.reason):
                raise Refusal(409, "answered", f"question {number} of run {run} has been answered, or its time is over")

        return self._doing(visit, "runs.approve", APPROVE, begin, answer, run)

    def _question(self, row: Row, wanted: Wanted) -> Row:
        """The question that is answered. Raises Refusal where none waits."""
        try:
            return approvals.demand_waiting(self._store, row, wanted.number)
        except UsageError as error:
            raise Refusal(409, "not-waiting", error.message, remedy=f"See GET /runs/{row['id']}.") from None

    def _doing(
        self,
        visit: Visit,
        what: str,
        fields: Mapping[str, Field],
        begin: Callable[[Wanted], str],
        act: Callable[[str, Wanted], None],
        run: str = "",
    ) -> Any:
        """One POST: its body checked, carried out once, in the audit log when it is answered with 202."""
        key, role = self._app.role(visit)
        raw = bottle.request.body.read()
        name = bottle.request.get_header("Idempotency-Key")
        begun = self._once.begin(key.name, name, fingerprint("POST", bottle.request.path, role.label, raw))
        if isinstance(begun, Kept):
            return answered(begun.status, begun.text, {"Idempotent-Replayed": "true"})
        at, began, run = time.time(), False, run[:60]
        body: dict[str, Any] = {}
        refusal: Refusal | None = None
        try:
            body = read(bodies.parse(raw), fields)
            wanted = Wanted(key, role, visit.id, **body)
            run = begin(wanted)
            if self._calls.parts.check:
                raise Refusal(409, "checking", "this server changes nothing (--check), so it starts and stops no run")
            self._calls.demand_audit()
            with self._calls.slot():
                begun.runs(run)
                act(run, wanted)
                began = True
        except Refusal as error:
            refusal = error
        except FaultsFound as error:
            refusal = of_faults(error)
        except IkomaError as error:
            began = isinstance(error, Unavailable)
            status = 404 if isinstance(error, NotFound) else 500 if began else 400 if what == "runs.start" else 409
            refusal = Refusal(status, error.code, error.message, remedy=error.remedy, run=run or None)
        self._calls.write(
            Entry(
                what, role.label, shown_body({**body, **({"run": run} if run else {})}),
                error=refusal.message if refusal else "", duration=time.time() - at, key=key.name, run=run or None,
                request_id=visit.id, at=at,
            )
        )  # fmt: skip
        if refusal is not None:
            begun.end(refusal.status, json.dumps({**refusal.body(), "requestId": visit.id}) + "\n", began)
            raise refusal
        begun.end(202, begun_text(run))
        return answered(202, begun_text(run), {"Location": f"/runs/{run}"})

    def _row(self, key: Key, run: str) -> Row:
        found = self._store.read("run_of", run=run)
        if not found or not may_see(key, found[0]):
            raise Refusal(404, "no-such-run", f"there is no run {run[:60]!r}", remedy="GET /runs names them.")
        return found[0]


class _Stream:
    """The body of a stream: gives its place back when it is closed, whether it was read or not."""

    def __init__(self, places: threading.BoundedSemaphore, parts: Iterator[bytes]) -> None:
        self._places: threading.BoundedSemaphore | None = places
        self._parts = parts

    def __iter__(self) -> Iterator[bytes]:
        return self._parts

    def close(self) -> None:
        if self._places is not None:
            self._places.release()
            self._places = None


def answer_of(store: Store, run: str) -> Kept | None:
    """The answer to a request whose server died before it gave one, where the journal knows what came of it."""
    found = store.read("run_of", run=run)
    if not found:
        return None
    if json.loads(found[0]["playbooks"]) != ["http"]:
        return Kept(202, begun_text(run))
    steps = store.read("steps_of", run=run)
    if state(found[0]) != "done" or not steps or not steps[-1]["outcome"]:
        return None
    return Kept(200, json.dumps({"success": True, "result": json.loads(steps[-1]["outcome"]).get("result")}) + "\n")
