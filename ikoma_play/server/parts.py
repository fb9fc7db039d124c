"""What the server is made of; the command line puts it together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

from msgspec import Struct

from ..audit.entries import Entry
from ..engine.locking import Locking
from ..events import Observer
from ..language import Inventory
from ..model import Host
from ..platform.api_keys import Key
from ..tool import Tool, Toolbox


class Audit(Protocol):
    """Where calls are written down."""

    def append(self, entry: Entry) -> object:
        """One line, with the system when this returns. Raises AuditError."""

    def demand(self) -> None:
        """Raises AuditError unless a line could be appended."""


class Journal(Protocol):
    """What a run that may change something is handed."""

    @property
    def observers(self) -> Sequence[Observer]: ...

    @property
    def locks(self) -> Locking | None: ...


class Parts(Struct, frozen=True):
    """The parts of one server."""

    inventory: Inventory
    tools: Toolbox
    connect: Callable[[Host], Any]
    is_local: Callable[[Host], bool]
    journal: Callable[[Tool, str, Mapping[str, Any], Key, str, bool], AbstractContextManager[Journal]]
    audit: Callable[[], Audit]
    host_variables: Callable[[], Mapping[str, Any]]
    play_home: str = ""
    own_host: str | None = None  # the one that is meant where a call names none
    check: bool = False  # nothing is changed, only told
    places: Callable[[], Sequence[str]] = tuple  # what keys may name beyond their applications
