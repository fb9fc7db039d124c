"""What a server does by itself: it runs what is due, and sends notifications that wait."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import FaultsFound, IkomaError, UsageError
from ..language import Inventory, explain
from ..model import Schedule
from . import loading
from .children import Children, hosts_of
from .notifying import Hosts

if TYPE_CHECKING:
    from ..journal.store import Store
    from ..server.logs import Log
    from ..server.schedules import Schedules

CHANGES = 5.0  # seconds between two looks at the playbooks' files
SENDING = 30.0  # seconds between two attempts to send what waits


class Known:
    """The schedules of playbooks, read anew when one of their files changes. The first time it raises what is wrong
    with them; later the log has it, and what was known goes on."""

    def __init__(self, playbooks: Sequence[str], inventories: Sequence[str], log: Log) -> None:
        self._playbooks, self._inventories, self._log = playbooks, inventories, log
        self.by_name: dict[str, Schedule] = {}
        self.paths: dict[str, str] = {}
        self._loaded: loading.Loaded | None = None
        self._files: dict[str, tuple[int, int]] = {}
        self._looked = time.monotonic()
        self._read()

    def latest(self) -> Mapping[str, Schedule]:
        if time.monotonic() - self._looked > CHANGES:
            self._looked = time.monotonic()
            if self._files != (now := _stamps(self._files)):
                self._files = now
                try:
                    self._read()
                except FaultsFound as found:
                    said = [explain(fault) for fault in found.faults if not fault.warning]
                    self._log.write("error", "schedules unchanged", said=said[:5])
                except IkomaError as error:
                    self._log.write("error", "schedules unchanged", said=error.message, remedy=error.remedy)
        return self.by_name

    def hosts(self, name: str) -> list[str]:
        """The hosts of a schedule. Raises UsageError where it is gone."""
        assert self._loaded is not None, "what has a name was read"
        books = loading.scheduled(self._loaded.playbooks, name)
        return hosts_of([play for book in books for play in book.plays], self._loaded.inventory)

    def _read(self) -> None:
        by_name: dict[str, Schedule] = {}
        paths: dict[str, str] = {}
        files: list[str] = []
        loaded = loading.load(self._playbooks, self._inventories, ()) if self._playbooks else None
        for book in loaded.playbooks if loaded else ():
            found = loading.schedules([book])
            if twice := sorted(set(found) & set(by_name)):
                raise UsageError(
                    f"the schedule {twice[0]!r} stands in {paths[twice[0]]} and in {book.path}",
                    remedy="Give each a name of its own.",
                )
            if not found:
                raise UsageError(f"{book.path} has no play with a schedule", remedy="Add name: and schedule: to one.")
            by_name |= found
            paths |= dict.fromkeys(found, book.path)
            files += [book.path, *book.files]
        self.by_name, self.paths, self._loaded, self._files = by_name, paths, loaded, _stamps(files)
        if by_name:
            self._log.write("info", "schedules", names=list(by_name))


def _stamps(files: Sequence[str] | Mapping[str, object]) -> dict[str, tuple[int, int]]:
    """What tells that a file was changed: its time and size; zeros where it is gone."""
    found = {}
    for path in files:
        try:
            stat = Path(path).stat()
            found[path] = (stat.st_mtime_ns, stat.st_size)
        except OSError:
            found[path] = (0, 0)
    return found


class Starting:
    """Begins what schedules know, and has people told of what cannot be begun."""

    def __init__(self, known: Known, children: Children, people: People) -> None:
        self._known, self._children, self._people = known, children, people
        self.known = known.latest
        self.new_id = children.new_id

    def start(self, schedule: Schedule, run: str) -> None:
        self._children.scheduled(run, self._known.paths[schedule.name], schedule.name)

    def not_begun(self, schedule: Schedule, run: str, said: str) -> None:
        self._people.hear(self._known.hosts(schedule.name), schedule.name, run, said)


class People:
    """Whom the hosts' variables name, told by a server."""

    def __init__(self, store: Store, inventory: Inventory, log: Log) -> None:
        self._store, self._log = store, log
        self._hosts = Hosts(inventory)
        self.concerned = self._hosts.concerned()

    def hear(self, hosts: Sequence[str], schedule: str, run: str, said: str) -> None:
        """Of a schedule that came to no run."""
        from ..notify.watching import not_begun

        if self.concerned:
            not_begun(self._store, self._hosts.escalation, hosts, schedule, run, said)
            self.send()

    def send(self) -> None:
        """Try once to send what waits in the outbox."""
        from ..notify import outbox

        for one in outbox.deliver(self._store, self._hosts.escalation, pauses=()):
            told = {"contact": one.contact, "way": one.way, "severity": one.severity}
            if one.error:
                self._log.write("warning", "notification waits", **told, said=one.error)
            else:
                self._log.write("info", "notification sent", **told)


class ByItself:
    """The threads of a server in which it does something that nobody asks for."""

    def __init__(self, schedules: Schedules, people: People, log: Log, dry: bool) -> None:
        from ..server.repeated import Repeated
        from ..server.schedules import LOOK

        self._schedules = schedules
        self._threads = [] if dry else [Repeated("schedules", schedules.look, LOOK, log)]
        if people.concerned and not dry:
            self._threads.append(Repeated("notifications", people.send, SENDING, log))

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._schedules.stop()
        for thread in self._threads:
            thread.stop()

    @property
    def running(self) -> bool:
        return self._schedules.beginning > 0
