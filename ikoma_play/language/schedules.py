"""When plays are due: cron expressions as Debian's cron reads them, in a time zone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime, tzinfo
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

from ..model import Schedule
from .faults import Faults
from .keywords import LEVELS, SCHEDULE
from .text import Entries, has_template, position_of
from .values import keyword_values

NICKNAMES = {
    "@hourly": "0 * * * *", "@daily": "0 0 * * *", "@midnight": "0 0 * * *", "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *", "@yearly": "0 0 1 1 *", "@annually": "0 0 1 1 *",
}  # fmt: skip
_TAKES = {
    "second": "0 to 59", "minute": "0 to 59", "hour": "0 to 23", "day-of-month": "1 to 31",
    "month": "1 to 12 or jan to dec", "day-of-week": "0 to 7 (Sunday is 0 and 7) or sun to sat",
}  # fmt: skip
_HOW = "Write minute, hour, day of the month, month and day of the week, as '30 2 * * *'; or @daily and the like."
MANY = 1000  # missed times that are counted


class ScheduleReader:
    """Reads the schedules of a file of plays and of what it imports; each has a name of its own."""

    def __init__(self, faults: Faults) -> None:
        self._faults = faults
        self._names: dict[str, Any] = {}

    def read(self, entry: Entries, said: Mapping[str, Any]) -> Schedule | None:
        """The schedule of a play or an import; None where it has none, or (a fault) none that makes sense."""
        value = said.get("schedule")
        if value is None:
            return None
        key = next(key for key in entry if key == "schedule")
        words = keyword_values(value, SCHEDULE, self._faults) if isinstance(value, Entries) else {"cron": value}
        cron = words.get("cron")
        if not cron:
            if "cron" not in value and not set(value) - set(LEVELS[SCHEDULE]):
                self._faults.add("missing-keyword", "this schedule says no cron:", value, _HOW, otherwise=key)
            return None
        written = value.get("cron") if isinstance(value, Entries) else value
        name = self._name(entry, said, key)
        schedule = Schedule(
            name,
            str(cron),
            position_of(written, key) or entry.position,
            str(words.get("zone") or ""),
            words.get("catch_up") != "skip",
        )
        for what, wrong in (("zone", wrong_zone(schedule.zone)), ("cron", wrong_cron(schedule.cron))):
            if wrong:
                place = value.get(what) if isinstance(value, Entries) else value
                self._faults.add("schedule", wrong[0], place, wrong[1], otherwise=key)
                return None
        return schedule if name else None

    def _name(self, entry: Entries, said: Mapping[str, Any], key: Any) -> str:
        name = str(said.get("name") or "")
        if not name or has_template(name):
            text = "a schedule is known by the name of its play, and this one has " + ("a template" if name else "none")
            self._faults.add("schedule", text, key, "Give it a name: of its own.")
            return ""
        if name in self._names:
            text = f"two schedules are called '{name}', and their runs could not be told apart"
            self._faults.add("schedule", text, entry.get("name"), "Give each a name of its own.", otherwise=key)
            return ""
        self._names[name] = key
        return name


def wrong_zone(zone: str) -> tuple[str, str] | None:
    """What is wrong with the name of a time zone, and the remedy."""
    try:
        _zone(zone)
    except (KeyError, ValueError, OSError):
        return f"there is no time zone '{zone}'", "Write a name such as Europe/Paris or UTC, or leave it out."
    return None


def wrong_cron(cron: str) -> tuple[str, str] | None:
    """What is wrong with an expression, and the remedy."""
    from cronsim import CronSimError

    if has_template(cron):
        return "a schedule is known before any host is, so it cannot be a template", _HOW
    never = f"'{cron}' never comes", "No such day is in these months."
    try:
        next(_times(cron, datetime(2024, 1, 1, tzinfo=UTC)))
    except CronSimError as error:
        bad, words = str(error).removeprefix("Bad "), cron.split()
        if bad not in _TAKES:
            return f"'{cron}' is no cron expression: five fields are wanted, not {len(words)}", _HOW
        word = words[list(_TAKES).index(bad) - 6]
        if bad == "day-of-month" and all(0 < int(day) <= 31 for day in re.findall(r"\d+", word)):
            return never
        remedy = f"It takes {_TAKES[bad]}, lists, ranges, and steps such as */5."
        return f"'{cron}' is no cron expression: '{word}' is no {bad.replace('-', ' ')}", remedy
    except StopIteration:
        return never
    return None


def due_after(schedule: Schedule, after: float) -> Iterator[float]:
    """The times, in seconds since the epoch, at which it is due after one, in order.

    Where clocks change, times that are skipped are due right after the change, and times that come twice are due
    the first time only; expressions with `*` in minute or hour, or with seconds, go on evenly through it.
    """
    before = after
    for found in _times(schedule.cron, datetime.fromtimestamp(int(after), _zone(schedule.zone))):
        if (at := found.timestamp()) > before:
            yield at
            before = at


def last_due(schedule: Schedule, after: float, now: float) -> tuple[float | None, int]:
    """The last time after one that has come, None where none has, and how many came before it (1000 at most)."""

    def until_now(begin: float) -> Iterator[float]:
        return takewhile(lambda at: at <= now, due_after(schedule, begin))

    found = list(islice(until_now(after), MANY))
    if len(found) < MANY:
        return (found[-1], len(found) - 1) if found else (None, 0)
    span = 60.0
    while not (recent := list(until_now(now - span))):
        span *= 2
    return recent[-1], MANY


def shown(schedule: Schedule, at: float) -> str:
    """A time as the schedule's zone has it."""
    return datetime.fromtimestamp(at, _zone(schedule.zone)).strftime("%Y-%m-%d %H:%M:%S %Z")


def _times(cron: str, start: datetime) -> Iterator[datetime]:
    from cronsim import CronSim

    return CronSim(NICKNAMES.get(cron.strip().lower(), cron), start)


def _zone(name: str) -> tzinfo:
    """A time zone by its name; this machine's own for none. Raises KeyError, ValueError, OSError."""
    from zoneinfo import ZoneInfo

    if name:
        return ZoneInfo(name)
    with suppress(KeyError, ValueError, OSError):
        if named := os.environ.get("TZ", "").removeprefix(":"):
            return ZoneInfo(named)
        with Path("/etc/localtime").open("rb") as file:
            return ZoneInfo.from_file(file)
    return UTC
