"""Why an application does not do what it should: every cause told apart, the one to mend first in front."""

from __future__ import annotations

from ..transport.base import Transport
from . import application, diagnosis_database, diagnosis_services, disk
from .causes import DISK, Cause, ranked
from .disk_use import Use, size
from .settings import settings

_TOLD = 4  # of what uses a full disk


def diagnose(on: Transport, app: str) -> list[Cause]:
    """Every cause that can be seen, the first to mend first; [] where nothing is wrong. Raises NotFound."""
    application.demand(on, app)
    full = [filesystem for filesystem in disk.filesystems(on) if filesystem.full]
    return ranked(
        [
            *(_full(filesystem, _uses(on, filesystem)) for filesystem in full),
            *diagnosis_services.causes(on, app),
            *diagnosis_database.causes(on, app),
        ]
    )


def _full(filesystem: disk.Filesystem, uses: list[Use]) -> Cause:
    """A full disk; what on it can be freed, and what is largest, is the evidence."""
    told = [f"{use.kind}: {size(use.bytes)}, of which {size(use.freeable)} can be freed" for use in uses[:_TOLD]]
    return Cause(
        DISK,
        "disk-full",
        f"the disk of {', '.join(filesystem.holds)} is full: {filesystem.said}",
        "See what uses it: platform.disk. The playbook fix-disk frees what can be freed safely.",
        "\n".join([f"df {filesystem.mount}: {filesystem.said}", *told]),
        fix="fix-disk",
    )


def _uses(on: Transport, filesystem: disk.Filesystem) -> list[Use]:
    """What takes space there, what could give the most back first."""
    found = settings(on)
    places = {"applications": found.apps_root, "backups": found.backups_root, "logs": ""}
    rest = disk.docker_root(on) if found.runtime == "compose" else ""
    there = [use for use in disk.uses(on) if use.bytes and places.get(use.kind, rest) in filesystem.holds]
    return sorted(there, key=lambda use: (use.freeable, use.bytes), reverse=True)
