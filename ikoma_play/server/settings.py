"""What the server is told by the environment and by the platform's `.env`, which is taken up anew when it changes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from threading import Lock
from typing import Any
from urllib.parse import quote

from msgspec import Struct

from ..errors import IkomaError, UsageError
from ..platform.api_keys import platform_hash
from ..platform.envfile import EnvFile

RATES = {"RATE_LIMIT_PER_KEY": "1200", "RATE_LIMIT_PER_ADDRESS": "2400", "RATE_LIMIT_FAILURES": "20"}


class Settings(Struct, frozen=True):
    """`key_hash`: the sha256 of the platform's own key, hexadecimal, "" where there is none; `rates` are calls a
    minute (or `10/second`, as the library spells them), 0 for no limit; `host_variables` are what the platform's
    own host takes from here where the inventory says nothing; `audit_log` is "" where nothing is said; `places` are
    those of ALLOWED_PLACES."""

    key_hash: str
    audit_log: str
    port: int
    rates: Mapping[str, str]
    host_variables: Mapping[str, Any]
    places: tuple[str, ...] = ()


class Environment:
    """The settings as they are now. Where a name stands twice the last one counts, and the file comes after
    the environment: it is what can be changed while the server runs."""

    def __init__(self, file: Path, environment: Mapping[str, str], warn: Any = None) -> None:
        """Raises UsageError for a file that cannot be read or a value that makes no sense."""
        self.file = file
        self._environment = environment
        self._warn = warn or (lambda message: None)
        self._lock = Lock()
        self._stamp = _stamp(file)
        self.latest = self._read()  # as `now` last found them; a request asks `now` once

    @property
    def now(self) -> Settings:
        """The settings; a file that has become wrong is told of once and leaves them as they were."""
        stamp = _stamp(self.file)
        if stamp != self._stamp:
            with self._lock:
                if stamp != self._stamp:
                    try:
                        self.latest = self._read()
                    except UsageError as error:
                        self._warn(f"{error.message}; the former settings stay in force")
                    self._stamp = stamp
        return self.latest

    def _read(self) -> Settings:
        values = {**self._environment, **self._from_file()}
        try:
            key_hash = platform_hash(values) or ""
        except IkomaError as error:
            raise UsageError(f"{self.file} or the environment: {error.message}", remedy=error.remedy) from None
        port = values.get("HTTP_PORT") or "3000"
        if not (port.isdigit() and 0 < int(port) < 65536):
            raise UsageError(f"HTTP_PORT is {port!r}", remedy="Write a port number from 1 to 65535.")
        return Settings(
            key_hash,
            values.get("AUDIT_LOG", ""),
            int(port),
            {name: _rate(name, values.get(name) or default) for name, default in RATES.items()},
            self._host_variables(values),
            tuple(values.get("ALLOWED_PLACES", "").split()),
        )

    def _from_file(self) -> dict[str, str]:
        try:
            return EnvFile(self.file.read_text("utf-8", "replace"), str(self.file)).values
        except FileNotFoundError:
            return {}
        except OSError as error:
            raise UsageError(
                f"{self.file} cannot be read: {error.strerror}",
                remedy="Let the server's user read it, or name another.",
            ) from None
        except IkomaError as error:
            raise UsageError(error.message, remedy=error.remedy) from None

    def _host_variables(self, values: Mapping[str, str]) -> dict[str, Any]:
        found: dict[str, Any] = {"ikoma_env_file": str(self.file)}
        for name, variable in (
            ("APPS_ROOT", "ikoma_apps_root"),
            ("BACKUPS_ROOT", "ikoma_backups_root"),
            ("AUDIT_LOG", "ikoma_audit_log"),
            ("IKOMA_RUNTIME", "ikoma_runtime"),
        ):
            if values.get(name):
                found[variable] = values[name]
        if self._environment.get("POSTGRES_HOST") and "POSTGRES_HOST" not in self._from_file():
            found["ikoma_postgres"] = _postgres_url(values)
        return found


def _postgres_url(values: Mapping[str, str]) -> str:
    user = quote(values.get("POSTGRES_USER") or "ikoma", safe="")
    password = quote(values.get("POSTGRES_PASSWORD", ""), safe="")
    host = values["POSTGRES_HOST"]
    place = f"[{host}]" if ":" in host else host
    return f"postgresql://{user}:{password}@{place}:{values.get('POSTGRES_PORT') or '5432'}/postgres"


def _rate(name: str, text: str) -> str:
    """A rate as the library reads it: `600` is a minute's. Raises UsageError."""
    from limits import parse

    if text.strip() == "0":
        return ""
    spelled = f"{text.strip()}/minute" if text.strip().isdigit() else text.strip()
    try:
        parse(spelled)
    except ValueError:
        raise UsageError(
            f"{name} is {text!r}", remedy="Write a number of calls a minute, such as 600, or 10/second; 0: no limit."
        ) from None
    return spelled


def _stamp(file: Path) -> tuple[int, ...]:
    try:
        found = os.stat(file)  # noqa: PTH116 - once a request
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino)
