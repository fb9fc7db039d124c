"""What Prometheus is told: calls as they were made, and what is looked up when it asks."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from threading import Lock
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric

from ..journal.again import UNDER_WAY
from ..tool import Tool

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
STALE = 30.0  # seconds for which what a host was asked is good

Look = Callable[[str, dict[str, Any]], Any]
"""Calls a tool that only looks, on the platform's own host; None where it cannot."""


class Metrics:
    """The metrics of one server. `journal` gives how many runs are under way, by state, and how many locks are
    held; `running` how many calls are under way; `schedules` what is told of schedules."""

    def __init__(
        self,
        look: Look,
        journal: Callable[[], tuple[Mapping[str, int], int]],
        running: Callable[[], int],
        schedules: Callable[[], Sequence[Mapping[str, Any]]] = tuple,
    ) -> None:
        self._registry = CollectorRegistry()
        named: dict[str, Any] = {"registry": self._registry}
        self._calls = Counter("ikoma_calls", "Calls of tools by their result.", ["tool", "result"], **named)
        self._failures = Counter("ikoma_call_failures", "Calls that failed, by the code.", ["tool", "code"], **named)
        self._seconds = Histogram("ikoma_call_seconds", "How long calls took.", ["tool"], buckets=SECONDS, **named)
        self._labelled: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self._registry.register(_Looked(look, journal, running, schedules))

    def count(self, tool: Tool, code: str, seconds: float) -> None:
        """One more call; `code` is empty where it went well."""
        result = "error" if code else "success"
        known = self._labelled.get((tool.name, result))
        if known is None:
            known = self._calls.labels(tool.name, result), self._seconds.labels(tool.name)
            self._labelled[tool.name, result] = known
        known[0].inc()
        known[1].observe(seconds)
        if code:
            self._failures.labels(tool.name, code).inc()

    def text(self) -> str:
        return generate_latest(self._registry).decode()


class _Looked:
    """Gauges that are looked up when somebody asks."""

    def __init__(
        self,
        look: Look,
        journal: Callable[[], tuple[Mapping[str, int], int]],
        running: Callable[[], int],
        schedules: Callable[[], Sequence[Mapping[str, Any]]],
    ) -> None:
        self._look = look
        self._journal = journal
        self._running = running
        self._schedules = schedules
        self._lock = Lock()
        self._found: list[Metric] = []
        self._found_at = -STALE

    def describe(self) -> Iterable[Metric]:
        """Nothing: what there is to tell is known only when it is looked up."""
        return []

    def collect(self) -> Iterable[Metric]:
        runs, locks = self._journal()
        yield GaugeMetricFamily("ikoma_calls_running", "Calls under way.", self._running())
        yield GaugeMetricFamily("ikoma_runs_running", "Runs at work that share this journal.", runs.get("running", 0))
        yield GaugeMetricFamily("ikoma_runs_waiting", "Runs that wait for a person to answer.", runs.get("waiting", 0))
        yield GaugeMetricFamily("ikoma_locks_held", "Locks that living runs hold.", locks)
        yield from self._of_schedules()
        with self._lock:
            if time.monotonic() - self._found_at > STALE:
                self._found = [self._backups(), *self._disks()]
                self._found_at = time.monotonic()
        yield from self._found

    def _of_schedules(self) -> Iterable[Metric]:
        name = "ikoma_schedule_{}_timestamp_seconds"
        due = GaugeMetricFamily(name.format("next"), "When a schedule is due next.", labels=["schedule"])
        well = GaugeMetricFamily(name.format("last_success"), "When a run of it last ended well.", labels=["schedule"])
        good = GaugeMetricFamily(
            "ikoma_schedule_last_ok", "Whether its last time came to a run that ended well.", labels=["schedule"]
        )
        for one in self._schedules():
            if one["next"] is not None:
                due.add_metric([one["name"]], one["next"])
            if one["lastSuccess"] is not None:
                well.add_metric([one["name"]], one["lastSuccess"])
            if one["last"] is not None and (one["said"] or one["state"] not in ("not begun", *UNDER_WAY)):
                good.add_metric([one["name"]], float(not one["said"] and one["state"] == "done"))
        return due, well, good

    def _backups(self) -> Metric:
        gauge = GaugeMetricFamily(
            "ikoma_last_backup_timestamp_seconds", "When the newest backup of an application was made.", labels=["app"]
        )
        for app in self._look("apps.list", {}) or ():
            made = self._look("db.backups", {"appName": app})
            if made:
                gauge.add_metric([app], datetime.fromisoformat(made[0]["createdAt"]).timestamp())
        return gauge

    def _disks(self) -> Iterable[Metric]:
        free = GaugeMetricFamily("ikoma_disk_free_bytes", "Bytes free on disks that hold ours.", labels=["mount"])
        total = GaugeMetricFamily("ikoma_disk_bytes", "The size of disks that hold ours.", labels=["mount"])
        for disk in (self._look("platform.disk", {}) or {}).get("filesystems", ()):
            free.add_metric([disk["mount"]], disk["free"])
            total.add_metric([disk["mount"]], disk["total"])
        return free, total
