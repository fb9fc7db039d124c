"""What a run came to: a row for each host, the closing sentence, and what to do next."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence

from msgspec import Struct

from ..events import HostRecap, Report
from ..model import Status
from . import words

ALWAYS = ("ok", "changed", "skipped", "failed")
SOMETIMES = ("unreachable", "rescued", "ignored", "rolled_back", "rollback_failed")
GROUPED = 20  # from more hosts than this on, hosts with equal figures share a row

_URL = re.compile(r"https?://[^\s'\"<>]+[^\s'\"<>.,;:)]")


class Row(Struct, frozen=True):
    """One line of the recap; `bad` when something failed on it."""

    title: str
    recap: HostRecap
    bad: bool


def columns(report: Report) -> list[str]:
    """The figures worth a column: the usual ones, and others where any host has them."""
    return [*ALWAYS, *(name for name in SOMETIMES if any(getattr(host, name) for host in report.hosts.values()))]


def rows(report: Report) -> list[Row]:
    """A row for each host in the order of the run; for a fleet, one for all with the same figures."""
    if len(report.hosts) <= GROUPED:
        return [Row(name, recap, _bad(recap)) for name, recap in report.hosts.items()]
    groups: dict[tuple[int, ...], list[str]] = {}
    counted = [name for name in HostRecap.__struct_fields__ if name != "seconds"]
    for name, recap in report.hosts.items():
        groups.setdefault(tuple(getattr(recap, field) for field in counted), []).append(name)
    found = []
    for figures, names in groups.items():
        slowest = max(report.hosts[name].seconds for name in names)
        recap = HostRecap(**dict(zip(counted, figures, strict=True)), seconds=slowest)
        found.append(Row(words.hosts(names), recap, _bad(recap)))
    return sorted(found, key=lambda row: not row.bad)


def _bad(recap: HostRecap) -> bool:
    return bool(recap.failed or recap.unreachable or recap.rollback_failed)


class Closing(Struct, frozen=True):
    """The last words: `good` or not, the sentence, and lines of advice (`$ ` before a command)."""

    good: bool
    sentence: str
    advice: tuple[str, ...] = ()


def closing(report: Report, check: bool, again: Sequence[str], message: str = "") -> Closing:
    """`again` is the command line of this run without `--start-at-step`; `message` the last
    that the playbook said with an address in it."""
    time = words.duration(report.seconds)
    hosts = report.hosts.values()
    undo = f"$ ikoma-play runs rollback {report.run}"
    if any(host.rollback_failed for host in hosts):
        what = "A rollback handler failed" if report.again == "undo" else "Failed, and a rollback handler failed too"
        advice = "A person must look at what is named above. With the cause mended, finish the rollback:"
        return Closing(False, f"{what}, after {time}.", (advice, undo))
    if report.again == "undo":
        return _undone(report, time, undo)
    if report.interrupted:
        later = ("Go on with:", f"$ ikoma-play runs resume {report.run}", "Or undo what it did:", undo)
        return Closing(False, f"Interrupted after {time}.", later if not check else ())
    if any(_bad(host) for host in hosts):
        return _failed(report, again, time, check)
    if not report.hosts:
        return Closing(True, "No host was worked on.", ("See which there are:", "$ ikoma-play inventory"))
    changed = sum(host.changed for host in hosts)
    what = f"{words.count(changed, 'step')} changed something" if changed else "nothing changed"
    if check:
        what = f"{words.count(changed, 'step')} would change something" if changed else "nothing would change"
    urls = _URL.findall(message)
    return Closing(True, f"Done in {time}: {what}.", (f"Open {urls[-1]}",) if urls else ())


def _undone(report: Report, time: str, undo: str) -> Closing:
    if not report.undone:
        lost = [name for name, host in report.hosts.items() if host.unreachable]
        where = f" on {words.hosts(lost)}" if lost else ""
        return Closing(False, f"Not everything is undone{where} after {time}.", ("Go on with:", undo))
    ran = sum(host.rolled_back for host in report.hosts.values())
    what = f"{words.count(ran, 'rollback step')} ran" if ran else "no step that it completed has a rollback"
    return Closing(True, f"Undone in {time}: {what}.")


def _failed(report: Report, again: Sequence[str], time: str, check: bool) -> Closing:
    failed = [finished for finished in report.failures if finished.outcome.status is Status.FAILED]
    lost = [name for name, host in report.hosts.items() if host.unreachable]
    where = words.hosts([name for name, host in report.hosts.items() if host.failed or host.unreachable])
    undone = " and everything was rolled back" if report.undone else ""
    nothing = "" if report.undone or not failed else " Nothing was undone."
    sentence = f"Failed on {where} after {time}{undone}.{nothing}"
    advice: list[str] = []
    if lost:
        ping = ["ikoma-play", "exec", "ping", "-l", lost[0], *_inventories(again)]
        advice += [f"See whether {words.hosts(lost)} can be reached:", f"$ {shlex.join(ping)}"]
    if report.undone or check or _only_looked(report):
        advice += ["With the cause mended, start again:", f"$ {shlex.join(again)}"]
    else:
        advice += ["With the cause mended, go on from there:", f"$ ikoma-play runs resume {report.run}"]
        advice += ["Or undo what was done:", f"$ ikoma-play runs rollback {report.run}"]
    return Closing(False, sentence, tuple(advice))


def _only_looked(report: Report) -> bool:
    """Whether nothing is there to go on from, nor to undo: a check has failed before anything was changed."""
    by = {finished.step.tool if finished.step else "" for finished in report.failures}
    return by <= {"assert", "fail"} and not any(host.changed for host in report.hosts.values())


def _inventories(again: Sequence[str]) -> list[str]:
    """The inventories of a command line, as words of another."""
    places = [number for number, word in enumerate(again[:-1]) if word in ("-i", "--inventory")]
    return [word for number in places for word in again[number : number + 2]]
