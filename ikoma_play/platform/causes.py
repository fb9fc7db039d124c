"""The causes that diagnosis tells apart, and which of several is to be mended first."""

from __future__ import annotations

from collections.abc import Iterable

from msgspec import Struct

from ..errors import IkomaError

CONTAINERS, DATABASE, DISK = "containers", "database", "disk"

# A cause hides or brings about those after it: without space no container starts, without a server no login fails.
ORDER = (
    "disk-full", "engine-down", "compose-file", "env-missing",
    "database-server-down", "database-password", "database-settings", "database-connections", "database-missing",
    "port-taken", "image-missing", "crash-loop", "unhealthy", "not-running",
)  # fmt: skip

PROBLEMS = {
    name: DISK if name.startswith("disk") else DATABASE if name.startswith("database") else CONTAINERS for name in ORDER
}
# The playbook that mends it; the others are a person's.
FIXES = {
    "disk-full": "fix-disk",
    "engine-down": "fix-docker",
    **dict.fromkeys(("env-missing", "port-taken", "crash-loop", "unhealthy", "not-running"), "fix-containers"),
    **{name: "fix-database" for name in ORDER if name.startswith("database")},
}


class Cause(Struct, frozen=True):
    """`problem` is the runbook's (containers, database, disk), `name` one of ORDER; `evidence` is what was seen;
    `fix` is the playbook that mends it, "" where only a person can."""

    problem: str
    name: str
    message: str
    remedy: str
    evidence: str = ""
    service: str = ""
    fix: str = ""


def of_error(problem: str, name: str, error: IkomaError, fix: str = "") -> Cause:
    """A cause that one of our errors already tells."""
    return Cause(problem, name, error.message, error.remedy, error.evidence, fix=fix)


def ranked(causes: Iterable[Cause]) -> list[Cause]:
    """The first to mend first."""
    return sorted(causes, key=lambda cause: ORDER.index(cause.name))
