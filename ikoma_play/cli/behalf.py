"""A run for the holder of a key: what the server adds to it, and what watches over it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct, field

from ..errors import Forbidden
from ..events import Event, Observer, StepStarted
from ..model import EMPTY
from . import audits

if TYPE_CHECKING:
    from ..audit.steps import Caller
    from .journaling import Journal


class Behalf(Struct, frozen=True):
    """Who asked for a run, and what the server adds to it. `connection` are variables of hosts that are this machine,
    where their own say nothing; `hosts` and `applications` are what the key is limited to."""

    run: str
    key: str
    role: str
    request: str
    audit_log: str
    env_file: str
    connection: Mapping[str, Any] = EMPTY
    hosts: Sequence[str] = ()
    applications: Sequence[str] = ()
    noted: Mapping[str, Any] = field(default_factory=dict)  # what the journal keeps of it

    @property
    def caller(self) -> Caller:
        from ..audit.steps import Caller

        return Caller(self.key, self.role, self.request)

    @property
    def places(self) -> audits.Places:
        return audits.Places(None, env_file=Path(self.env_file), log=Path(self.audit_log))

    def observers(self, journal: Journal) -> tuple[Observer, ...]:
        """What watches the run beside the journal and the audit log."""
        return (Limits(self), Events(journal))


class Limits:
    """Refuses steps on hosts and about applications that the key is not for, before they touch anything."""

    def __init__(self, behalf: Behalf) -> None:
        from ..platform.api_keys import Key

        self._key = Key(behalf.key, behalf.role, "", hosts=tuple(behalf.hosts), applications=tuple(behalf.applications))

    def __call__(self, event: Event) -> None:
        if not isinstance(event, StepStarted):
            return
        app = event.arguments.get("appName")
        if not self._key.allows_host(event.host):
            raise Forbidden(f"the key {self._key.name} is not for the host {event.host}")
        if app is not None and not self._key.allows_application(str(app)):
            raise Forbidden(f"the key {self._key.name} is not for the application {app}")


class Events:
    """Keeps events for those who watch the run over HTTP."""

    def __init__(self, journal: Journal) -> None:
        assert journal.store is not None, "a server's runs are in the journal"
        self._store = journal.store

    def __call__(self, event: Event) -> None:
        from ..console.jsonlines import as_data
        from ..journal.recorder import text

        self._store.write(("add_event", {"run": event.run, "event": text(as_data(event))}), durable=False)
