"""Plays that run by themselves: each time that is due, on one of the servers that share a journal.

Whoever puts the row of a time into the journal begins its run, under the id that the row names. What was taken and not
begun, since its server died in between, another one begins under the same id, which the journal takes once.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Protocol

from ..errors import IkomaError
from ..journal.again import state, under_way
from ..journal.holder import is_dead, this_process
from ..journal.store import Row, Store
from ..language.schedules import due_after, last_due
from ..model import Schedule
from .logs import Log

if TYPE_CHECKING:
    from .app import Application, Visit

LOOK = 0.5  # seconds between two looks at the clock
LATE = 60.0  # seconds after which a time was missed
DAY = 86400.0
BACK = DAY  # seconds that a clock may go back without anything running a second time
TAKEN = 120.0  # seconds that a living server has to begin what it took
LEFT = 5.0  # seconds between two looks for what others took and left
REMEMBERED = 400 * DAY
FIRST = "first seen"


class Starter(Protocol):
    """What is to run, and how it is begun."""

    def known(self) -> Mapping[str, Schedule]:
        """The schedules by name, as they are now."""

    def new_id(self) -> str: ...

    def start(self, schedule: Schedule, run: str) -> None:
        """Begin; the journal has the run when this returns. Raises IkomaError."""

    def not_begun(self, schedule: Schedule, run: str, said: str) -> None:
        """Tell people of what came to no run. Raises IkomaError."""


class Schedules:
    """Begins what is due. `look` is called again and again; `beginning` is how many runs are being begun."""

    def __init__(self, store: Store, starter: Starter, log: Log) -> None:
        self._store, self._starter, self._log = store, starter, log
        self._here = this_process()
        self._after: dict[tuple[str, str], float] = {}  # by name and expression: the last time that is dealt with
        self._looked_for_left = 0.0
        self._lock = threading.Lock()
        self._beginning: set[str] = set()
        self._stopping = False

    @property
    def beginning(self) -> int:
        with self._lock:
            return len(self._beginning)

    def stop(self) -> None:
        """Begin nothing new: what was taken and not begun is left to whoever serves next."""
        with self._lock:
            self._stopping = True

    def look(self) -> None:
        """Begin what is due now. Raises JournalError; then the next look deals with it."""
        known, now = self._starter.known(), time.time()
        for schedule in known.values():
            self._look_at(schedule, now)
        if abs(now - self._looked_for_left) > LEFT:
            self._looked_for_left = now
            self._take_over(known, now)

    def told(self) -> list[dict[str, Any]]:
        return [about(self._store, schedule, time.time()) for schedule in self._starter.known().values()]

    # --- one schedule ---

    def _look_at(self, schedule: Schedule, now: float) -> None:
        key = (schedule.name, expression(schedule))
        after = self._after.get(key)
        if after is None or now < after - BACK:
            after = self._after[key] = self._begun_at(schedule, now)
        due, missed = last_due(schedule, after, now)
        if due is not None:
            self._due(schedule, due, missed, now)
            self._after[key] = due

    def _begun_at(self, schedule: Schedule, now: float) -> float:
        """The last time that was dealt with by any server; now where the schedule is new, or due by other words."""
        rows = self._store.read("last_of_schedule", name=schedule.name, before=now + BACK)
        if rows and rows[0]["expression"] == expression(schedule):
            return float(rows[0]["due"])
        self._store.write(("forget_old_schedules", {"before": now - REMEMBERED}))
        self._claim(schedule, now, now, said=FIRST)
        return now

    def _due(self, schedule: Schedule, due: float, missed: int, now: float) -> None:
        said = ""
        if now - due > LATE and not schedule.catch_up:
            said = "missed, and catch_up says skip"
        elif before := self._under_way(schedule, now):
            said = f"run {before} of the time before is still under way"
        run = "" if said else self._starter.new_id()
        if not self._claim(schedule, due, now, run=run, missed=missed, said=said):
            return
        told = {"schedule": schedule.name, "due": due, "late": round(now - due, 1), "missed": missed}
        if said:
            self._log.write("warning", "schedule skipped", **told, said=said)
        else:
            self._log.write("info", "schedule due", **told, run=run)
            self._begin(schedule, due, run)

    def _under_way(self, schedule: Schedule, now: float) -> str:
        """The run that the schedule came to before, while it goes on or is being begun."""
        taken = self._store.read("last_taken_of_schedule", name=schedule.name)
        if not taken:
            return ""
        runs = self._store.read("run_of", run=taken[0]["run"])
        stands = under_way(runs[0]) if runs else self._is_being_begun(taken[0], now)
        return str(taken[0]["run"]) if stands else ""

    def _is_being_begun(self, row: Row, now: float) -> bool:
        """Whether the server that took a time may still begin it."""
        return not is_dead(row, self._here) and now - row["at"] < TAKEN

    def _claim(
        self, schedule: Schedule, due: float, now: float, *, run: str = "", missed: int = 0, said: str = ""
    ) -> bool:
        """Take a time; False where another server has it."""
        row = {"name": schedule.name, "due": due, "at": now, "run": run, "missed": missed, "said": said,
               "expression": expression(schedule), **self._mine()}  # fmt: skip
        return bool(self._store.write(("claim_schedule", row)))

    def _mine(self) -> dict[str, Any]:
        return {name: value for name, value in self._here.row.items() if name != "who"}

    # --- beginning ---

    def _take_over(self, known: Mapping[str, Schedule], now: float) -> None:
        """Begin what a server took and did not begin, since it died or stopped."""
        for row in self._store.read("schedules_not_begun", since=now - DAY):
            schedule = known.get(row["name"])
            with self._lock:
                ours = row["run"] in self._beginning
            if schedule is None or ours or self._is_being_begun(row, now):
                continue
            before = {"old_at": row["at"], "old_pid": row["pid"], "name": row["name"], "due": row["due"]}
            if self._store.write(("take_schedule_over", {**before, "at": now, **self._mine()})):
                self._log.write("warning", "schedule taken over", schedule=row["name"], due=row["due"], run=row["run"])
                self._begin(schedule, row["due"], row["run"])

    def _begin(self, schedule: Schedule, due: float, run: str) -> None:
        with self._lock:
            if self._stopping:
                return
            self._beginning.add(run)
        threading.Thread(target=self._start, args=(schedule, due, run), name=f"begin {run}", daemon=True).start()

    def _start(self, schedule: Schedule, due: float, run: str) -> None:
        try:
            self._starter.start(schedule, run)
        except IkomaError as error:
            self._not_begun(schedule, due, run, error)
        finally:
            with self._lock:
                self._beginning.discard(run)

    def _not_begun(self, schedule: Schedule, due: float, run: str, error: IkomaError) -> None:
        said = f"{error.message}. {error.remedy}".strip() if error.remedy else error.message
        with self._lock:
            stopping = self._stopping
        try:
            if stopping or self._store.read("run_of", run=run):
                return  # left to the next server, or begun by another one after all
            self._store.write(("schedule_failed", {"name": schedule.name, "due": due, "said": said}))
            self._starter.not_begun(schedule, run, said)
        except IkomaError as worse:
            said = f"{said}; {worse.message}"
        self._log.write("error", "schedule failed", schedule=schedule.name, due=due, run=run, said=said)


def expression(schedule: Schedule) -> str:
    return f"{schedule.cron} {schedule.zone}".strip()


def about(store: Store, schedule: Schedule, now: float) -> dict[str, Any]:
    """A schedule as it stands: when it is due next, what came of it last. Times are seconds since the epoch."""
    rows = store.read("last_of_schedule", name=schedule.name, before=now + BACK)
    last = rows[0] if rows and rows[0]["said"] != FIRST else None
    begun = store.read("last_run_of_schedule", name=schedule.name)
    # A run that has not begun after a day never will, or is forgotten by now.
    awaited = last["run"] if last and not last["said"] and now - last["at"] < DAY else ""
    run = begun[0] if begun and awaited in ("", begun[0]["id"]) else None
    success = store.read("last_success_of_schedule", name=schedule.name)
    return {
        "name": schedule.name,
        "cron": schedule.cron,
        "zone": schedule.zone or None,
        "catchUp": "once" if schedule.catch_up else "skip",
        "next": next(due_after(schedule, max(now, last["due"] if last else now)), None),
        "last": last["due"] if last else None,
        "missed": last["missed"] if last else 0,
        "said": last["said"] if last else "",
        "run": run["id"] if run else awaited or None,
        "state": state(run) if run else "not begun" if awaited else None,
        "started": run["started"] if run else None,
        "ended": run["ended"] if run else None,
        "lastSuccess": success[0]["ended"] if success else None,
    }


def offer(application: Application, schedules: Schedules) -> None:
    """`GET /schedules`; a key that is limited to hosts or applications is told of none."""
    from .described import SCHEDULES

    def listed(visit: Visit) -> Any:
        key, _ = application.role(visit)
        return {"schedules": [] if key.limited else schedules.told()}

    application.route("GET", "/schedules", listed, SCHEDULES)
