"""Where the platform's things lie on a host: its `ikoma_*` variables, made typed."""

from __future__ import annotations

import os.path
import posixpath
from dataclasses import dataclass

from ..errors import StepError
from ..transport.base import Transport

RUNTIMES = ("compose", "process")


@dataclass(frozen=True, slots=True)
class Settings:
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


def settings(on: Transport) -> Settings:
    """The settings of the host that `on` leads to. Raises StepError for a value that makes no sense."""
    variables = on.host.vars

    def text(name: str, default: str) -> str:
        value = variables.get(f"ikoma_{name}", default)
        if not isinstance(value, str):
            raise StepError(f"ikoma_{name} of host {on.host.name} must be text, not {value!r}")
        return value

    def path(name: str, default: str) -> str:
        # Relative paths are for hosts on this machine, where the sandbox lies below the working directory.
        if not on.local:
            return text(name, default)
        return os.path.abspath(os.path.expanduser(text(name, default)))  # noqa: PTH100, PTH111 - resolve() follows links

    runtime = text("runtime", "compose")
    if runtime not in RUNTIMES:
        raise StepError(
            f"ikoma_runtime of host {on.host.name} is {runtime!r}", remedy=f"Use one of: {', '.join(RUNTIMES)}."
        )
    defaults = Settings()
    return Settings(
        runtime,
        path("apps_root", defaults.apps_root),
        path("backups_root", defaults.backups_root),
        text("postgres", defaults.postgres),
        path("audit_log", defaults.audit_log),
        path("env_file", defaults.env_file),
        path("sandbox_root", defaults.sandbox_root),
    )
