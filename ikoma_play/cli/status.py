"""What the command's exit status says; the one place where an error becomes a number."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..errors import IkomaError

if TYPE_CHECKING:
    from ..events import Report

DONE = 0
USED_WRONGLY = 1
FAILED = 2
UNDONE = 3  # a step failed and everything was rolled back
FAULTY = 4  # the playbook or inventory is wrong, nothing ran
LOOK = 5  # a rollback handler failed: a person must look
UNREACHABLE = 6
INTERRUPTED = 130

BY_CODE = {
    "usage": USED_WRONGLY,
    "faults": FAULTY,
    "unreachable": UNREACHABLE,
    "interrupted": INTERRUPTED,
}


def of_error(error: IkomaError) -> int:
    """The exit status of an error that ended the command."""
    return BY_CODE.get(error.code, FAILED)


def of_undoing(report: Report) -> int:
    """The exit status of undoing a run: what it had come to itself does not count."""
    hosts = report.hosts.values()
    if any(host.rollback_failed for host in hosts):
        return LOOK
    if report.interrupted:
        return INTERRUPTED
    return DONE if report.undone else FAILED


def of_report(report: Report) -> int:
    """The exit status of a run, the gravest of its hosts' fates."""
    hosts = report.hosts.values()
    if any(host.rollback_failed for host in hosts):
        return LOOK
    if report.interrupted:
        return INTERRUPTED
    if report.failures and any(host.failed for host in hosts):  # a failed handler counts even where it was rescued
        return UNDONE if report.undone else FAILED
    if any(host.unreachable for host in hosts):
        return UNREACHABLE
    return DONE
