"""Where calls are written down, and the observer that writes a run's steps there.

What AUDIT_LOG says in the platform's .env or in the environment; else `ikoma_audit_log` of the host; else
/var/log/ikoma/audit.jsonl. It is a file of the machine that ikoma-play runs on, whichever host a step is for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from msgspec import Struct

from ..errors import AuditError, FaultsFound, IkomaError, UsageError
from ..events import Observer
from ..model import EMPTY, Host
from . import journaling, roads

if TYPE_CHECKING:
    from ..audit.log import AuditLog
    from ..audit.steps import Caller
    from ..language import Inventory

DEFAULT = "/var/log/ikoma/audit.jsonl"
ENV_FILE = "/opt/ikoma/.env"
SHORTEST_KEY = 16  # bytes


class Place(Struct, frozen=True):
    """Where a log lies; `named`: somebody said so, so that nothing runs where it cannot be written."""

    path: Path
    named: bool


class Places:
    """The logs of an inventory's hosts; `variables` are those of the command line."""

    def __init__(
        self,
        inventory: Inventory | None,
        variables: Mapping[str, Any] = EMPTY,
        env_file: Path | None = None,
        log: Path | None = None,
    ) -> None:
        self._inventory = inventory
        self._variables = variables
        self._env_file = env_file  # of the platform, where it is known
        self._log = log  # the one of all hosts, where it is known

    def of(self, host: str) -> Place:
        """Raises UsageError for an `ikoma_audit_log` or an .env that makes no sense."""
        if self._log is not None:
            return Place(self._log, True)
        found = self._inventory.hosts.get(host) if self._inventory is not None else None
        said = setting("AUDIT_LOG", self.env_file(host)) or self.variable(found, "ikoma_audit_log")
        return Place(Path(os.path.realpath(Path(said or DEFAULT).expanduser())), bool(said))

    def env_file(self, host: str | None) -> Path:
        """The platform's own .env: that of the host, where the host is this machine."""
        if self._env_file is not None:
            return self._env_file
        found = self._inventory.hosts.get(host or "") if self._inventory is not None else None
        if found is None or roads.connection(found) != "local":
            return Path(ENV_FILE)
        return Path(self.variable(found, "ikoma_env_file") or ENV_FILE)

    def variable(self, host: Host | None, name: str) -> str:
        """A variable of a host as text, rendered; "" where it says nothing."""
        if host is None or (name not in host.vars and name not in self._variables):
            return ""
        value = self._variables.get(name, host.vars.get(name))
        if isinstance(value, str) and "{" in value:
            from ..language.templating import Layer
            from ..language.variables import HostVariables

            try:
                view = HostVariables(host, Layer(self._variables), {"inventory_hostname": host.name}).outside()
                value = view[name]
            except IkomaError as error:
                raise UsageError(f"{name} of host {host.name}: {error.message}", remedy=error.remedy) from None
        if not isinstance(value, str) or not value or "\0" in value:
            raise UsageError(f"{name} of host {host.name} must be a path, not {value!r}")
        return value

    def all(self) -> list[Place]:
        """Every log that the inventory's hosts have, each once."""
        return list(dict.fromkeys(map(self.of, self._hosts())))

    def _hosts(self) -> list[str]:
        return (list(self._inventory.hosts) if self._inventory is not None else []) or ["localhost"]


def setting(name: str, env_file: Path) -> str:
    """What the platform's .env says, else the environment; "" for nothing. Raises UsageError for a broken .env."""
    return _settings(env_file).get(name) or os.environ.get(name, "")


@cache
def _settings(env_file: Path) -> Mapping[str, str]:
    try:
        text = env_file.read_text("utf-8", "replace")
    except OSError:  # none, or none of ours
        return EMPTY
    from ..platform.envfile import EnvFile

    try:
        return EnvFile(text, str(env_file)).values
    except IkomaError as error:
        raise UsageError(error.message, remedy=error.remedy) from None


def chain_key(file: str) -> bytes:
    """The key that a log is chained with, from the file that AUDIT_KEY_FILE names; nothing for "".
    Raises UsageError."""
    if not file:
        return b""
    try:
        key = Path(file).expanduser().read_bytes().strip()
    except OSError as error:
        raise UsageError(f"the key of the audit log, {file}, cannot be read: {error.strerror}") from None
    if len(key) < SHORTEST_KEY:
        raise UsageError(
            f"the key of the audit log, {file}, has less than {SHORTEST_KEY} bytes",
            remedy=f"Make one with: openssl rand -hex 32 > {file}",
        )
    return key


class Logs:
    """The open logs of one run."""

    def __init__(self, places: Places, changes: bool) -> None:
        self._places = places
        self._changes = changes
        self._of_host: dict[str, AuditLog | None] = {}
        self._of_path: dict[Path, AuditLog | None] = {}

    def of(self, host: str) -> AuditLog | None:
        """The log of a host; None where its steps are not kept. Raises AuditError where they must be and cannot."""
        if host not in self._of_host:
            try:
                place = self._places.of(host)
            except UsageError as error:
                raise AuditError(error.message, remedy=error.remedy) from None
            if place.path not in self._of_path:
                self._of_path[place.path] = self._opened(place, host)
            self._of_host[host] = self._of_path[place.path]
        return self._of_host[host]

    def _opened(self, place: Place, host: str) -> AuditLog | None:
        from ..audit.log import AuditLog

        try:
            log = AuditLog(place.path, chain_key(setting("AUDIT_KEY_FILE", self._places.env_file(host))))
            log.demand()
        except AuditError as error:
            ordinary = not place.named and os.geteuid() != 0
            if self._changes and not ordinary:
                raise
            if not ordinary or place.path.parent.is_dir():
                click.echo(f"warning: this is not in the audit log: {error.message}", err=True)
            return None
        except UsageError as error:
            raise AuditError(error.message, remedy=error.remedy) from None
        return log

    def close(self) -> list[Path]:
        """Close them all and give their paths."""
        for log in self._of_path.values():
            if log is not None:
                log.close()
        return [path for path, log in self._of_path.items() if log is not None]


@contextmanager
def kept(
    hosts: Iterable[Any],
    inventory: Inventory,
    variables: Mapping[str, Any] = EMPTY,
    limit: str | None = None,
    changes: bool = True,
    dry: bool = False,
    caller: Caller | None = None,
    places: Places | None = None,
) -> Iterator[tuple[Observer, ...]]:
    """The observer that writes a run's steps; none for a run that only tells what it would do.

    `hosts` are the patterns of its plays; `caller` is on whose behalf it goes, default who sits at the command line;
    `places` are where logs lie, if elsewhere. Raises UsageError where a log cannot be written and something may
    change: then nothing runs."""
    if dry:
        yield ()
        return
    from ..audit.steps import Caller, Steps
    from ..journal.holder import this_process

    sandbox_was_here = journaling.sandbox_is_here()
    logs = Logs(places or Places(inventory, variables), changes)
    try:
        try:
            for host in _hosts(hosts, inventory, limit):
                logs.of(host)
        except AuditError as error:
            raise UsageError(f"nothing was run: {error.message}", remedy=error.remedy) from None
        yield (Steps(logs.of, caller or Caller(f"cli:{this_process().who}", "admin")),)
    finally:
        paths = logs.close()
        if sandbox_was_here and not journaling.sandbox_is_here():
            _forget(paths)


def _hosts(patterns: Iterable[Any], inventory: Inventory, limit: str | None) -> Iterator[str]:
    """The hosts that are known to be worked on; the others are looked at when their play begins."""
    chosen = {host.name for host in inventory.select(limit)} if limit else None
    for pattern in patterns:
        try:
            names = [host.name for host in inventory.select(pattern)]
        except (UsageError, FaultsFound):
            continue
        yield from (name for name in names if chosen is None or name in chosen)


def _forget(paths: Iterable[Path]) -> None:
    """The sandbox of this directory was removed with everything in it, and that includes its audit log."""
    from ..audit.log import files, head_of
    from ..journal.opening import DEFAULT as JOURNAL

    sandbox = Path(JOURNAL).parent.absolute()
    for path in paths:
        if path.is_relative_to(os.path.realpath(sandbox)):
            for each in (*files(path), head_of(path)):
                each.unlink(missing_ok=True)
