"""Which backups are needed, and which could go."""

from __future__ import annotations

from collections import defaultdict

from ..errors import IkomaError
from ..transport.base import Transport
from . import application, dumps, releases

KEEP = 3  # of each application, where nobody says another number


def divide(on: Transport, keep: int) -> tuple[list[dumps.Dump], list[dumps.Dump]]:
    """Every backup of the host, as (needed, spare).

    Needed are the newest `keep` of each application, also of removed ones, the newest that is whole (its
    checksum is the recorded one), and those that a recorded release names."""
    by_app = defaultdict(list)
    for dump in dumps.everything(on):
        by_app[dump.app].append(dump)
    named = _of_releases(on)
    needed: list[dumps.Dump] = []
    spare: list[dumps.Dump] = []
    for app, found in by_app.items():
        # Without an owner nobody can say what it is for.
        stays = {dump.path for n, dump in enumerate(found) if not app or n < keep or dump.path in named}
        rest = [dump for dump in found if dump.path not in stays]
        if rest and not any(whole(on, dump) for dump in found if dump.path in stays):
            last = next((dump for dump in rest if whole(on, dump)), None)
            stays |= {last.path} if last else {dump.path for dump in rest}  # where none can be proved, none may go
        needed += [dump for dump in found if dump.path in stays]
        spare += [dump for dump in found if dump.path not in stays]
    return needed, spare


def whole(on: Transport, dump: dumps.Dump) -> bool:
    """Whether the file is what was written when the backup was made."""
    try:
        return bool(dump.sha256) and dumps.checksum(on, dump.path) == dump.sha256
    except IkomaError:
        return False


def _of_releases(on: Transport) -> set[str]:
    found = set()
    for app in application.names(on):
        try:
            found |= {release.backup for release in releases.all_of(on, app) if release.backup}
        except IkomaError:
            continue
    return found
