"""Why an application does not do what it should: every cause told apart, the one to mend first in front."""

from __future__ import annotations

from ..transport.base import Transport
from . import application, diagnosis_database, diagnosis_services, disk
from .causes import DISK, Cause, ranked


def diagnose(on: Transport, app: str) -> list[Cause]:
    """Every cause that can be seen, the first to mend first; [] where nothing is wrong. Raises NotFound."""
    application.demand(on, app)
    return ranked(
        [
            *(_full(filesystem) for filesystem in disk.filesystems(on) if filesystem.full),
            *diagnosis_services.causes(on, app),
            *diagnosis_database.causes(on, app),
        ]
    )


def _full(filesystem: disk.Filesystem) -> Cause:
    return Cause(
        DISK,
        "disk-full",
        f"the disk of {', '.join(filesystem.holds)} is full: {filesystem.said}",
        "See what uses it: platform.disk. The playbook fix-disk frees what can be freed safely.",
        f"df {filesystem.mount}: {filesystem.said}",
        fix="fix-disk",
    )
