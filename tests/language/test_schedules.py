"""When schedules are due: in their time zone, through changes of the clocks, after years of silence."""

from __future__ import annotations

import time
from datetime import datetime
from itertools import islice
from zoneinfo import ZoneInfo

import pytest

from ikoma_play.language.schedules import MANY, due_after, last_due, shown
from ikoma_play.model import Position, Schedule

PARIS = ZoneInfo("Europe/Paris")


def schedule(cron: str, zone: str = "Europe/Paris") -> Schedule:
    return Schedule("a", cron, Position("play.yml", 1), zone)


def at(*when: int, fold: int = 0) -> float:
    year, month, day, hour, minute = when
    return datetime(year, month, day, hour, minute, tzinfo=PARIS, fold=fold).timestamp()


@pytest.mark.parametrize(
    ("cron", "after", "due"),
    [
        ("30 2 * * *", at(2026, 1, 5, 12, 0), ["2026-01-06 02:30:00 CET", "2026-01-07 02:30:00 CET"]),
        ("@daily", at(2026, 1, 5, 12, 0), ["2026-01-06 00:00:00 CET", "2026-01-07 00:00:00 CET"]),
        ("0 9 2 1,4,7,10 *", at(2026, 1, 5, 12, 0), ["2026-04-02 09:00:00 CEST", "2026-07-02 09:00:00 CEST"]),
        ("0 8 * * mon", at(2026, 1, 5, 12, 0), ["2026-01-12 08:00:00 CET", "2026-01-19 08:00:00 CET"]),
        # 02:00 to 03:00 is left out on 29 March: what was due in it is due right after, once
        ("30 2 * * *", at(2026, 3, 28, 12, 0), ["2026-03-29 03:00:00 CEST", "2026-03-30 02:30:00 CEST"]),
        ("0,30 2 * * *", at(2026, 3, 28, 12, 0), ["2026-03-29 03:00:00 CEST", "2026-03-30 02:00:00 CEST"]),
        # 02:00 to 03:00 comes twice on 25 October: the first time counts
        ("30 2 * * *", at(2026, 10, 24, 12, 0), ["2026-10-25 02:30:00 CEST", "2026-10-26 02:30:00 CET"]),
        ("30 2 * * *", at(2026, 10, 25, 2, 15, fold=1), ["2026-10-26 02:30:00 CET", "2026-10-27 02:30:00 CET"]),
        # what is due all the time goes on evenly
        ("*/30 * * * *", at(2026, 3, 29, 1, 15), ["2026-03-29 01:30:00 CET", "2026-03-29 03:00:00 CEST"]),
        ("*/30 * * * *", at(2026, 10, 25, 2, 15), ["2026-10-25 02:30:00 CEST", "2026-10-25 02:00:00 CET"]),
    ],
)
def test_when_it_is_due(cron: str, after: float, due: list[str]) -> None:
    asked = schedule(cron)
    assert [shown(asked, each) for each in islice(due_after(asked, after), len(due))] == due


def test_the_own_zone_is_that_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    asked = schedule("30 2 * * *", "")
    assert shown(asked, next(due_after(asked, at(2026, 1, 5, 12, 0)))) == "2026-01-06 02:30:00 JST"


def test_what_was_missed_is_the_last_time_and_a_count() -> None:
    nightly = schedule("30 2 * * *")
    now = at(2026, 1, 10, 12, 0)
    assert last_due(nightly, at(2026, 1, 5, 12, 0), now) == (at(2026, 1, 10, 2, 30), 4)
    assert last_due(nightly, at(2026, 1, 10, 2, 30), now) == (None, 0)
    assert last_due(nightly, at(2026, 1, 10, 2, 30), at(2026, 1, 11, 2, 30)) == (at(2026, 1, 11, 2, 30), 0)


def test_years_without_a_server_do_not_take_long() -> None:
    before = time.process_time()
    assert last_due(schedule("* * * * * *"), 0, at(2026, 1, 10, 12, 0)) == (at(2026, 1, 10, 12, 0), MANY)
    in_january = schedule("* * * 1 *")
    assert last_due(in_january, at(2020, 1, 1, 0, 0), at(2026, 12, 10, 12, 0)) == (at(2026, 1, 31, 23, 59), MANY)
    assert time.process_time() - before < 5
