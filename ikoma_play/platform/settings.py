"""Where the platform's things lie on a host: its `ikoma_*` variables, made typed."""

from __future__ import annotations

import os.path
import posixpath
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import asdict

from ..errors import StepError
from ..transport.base import Transport

RUNTIMES = ("compose", "process")


class Settings(Struct, frozen=True):
    """The platform on one host; paths are absolute paths of that host."""

    runtime: str = "compose"
    apps_root: str = "/srv/apps"
    backups_root: str = "/var/backups/ikoma"
    postgres: str = ""  # a postgresql:// URL as seen from the host, `embedded`, or "": from the env file
    audit_log: str = "/var/log/ikoma/audit.jsonl"
    env_file: str = "/opt/ikoma/.env"
    sandbox_root: str = ".ikoma"  # the process runtime's own state and the embedded PostgreSQL

    def app(self, name: str, *below: str) -> str:
        """The application's directory, or a path below it."""
        return posixpath.join(self.apps_root, name, *below)


_DEFAULTS = [(f"ikoma_{name}", default) for name, default in asdict(Settings()).items()]


def settings(on: Transport) -> Settings:
    """The settings of the host that `on` leads to. Raises StepError for a value that makes no sense."""
    said = []
    for variable, default in _DEFAULTS:
        value = on.host.vars.get(variable, default)
        if not isinstance(value, str):
            raise StepError(f"{variable} of host {on.host.name} must be text, not {value!r}")
        said.append(str(value))
    if said[0] not in RUNTIMES:
        raise StepError(
            f"ikoma_runtime of host {on.host.name} is {said[0]!r}", remedy=f"Use one of: {', '.join(RUNTIMES)}."
        )
    if not on.local:
        return Settings(*said)
    return _here(os.getcwd(), os.environ.get("HOME"), *said)  # noqa: PTH109


@lru_cache(64)
def _here(folder: str, home: str | None, *said: str) -> Settings:
    """Settings of this machine: relative paths are below the working directory, as the sandbox's is, and `~` is
    the home directory."""
    found = dict(zip(Settings.__struct_fields__, said, strict=True))
    for name in ("apps_root", "backups_root", "audit_log", "env_file", "sandbox_root"):
        found[name] = os.path.normpath(os.path.join(folder, os.path.expanduser(found[name])))  # noqa: PTH111
    return Settings(**found)
