"""The directory of an application on a host, looked at before anything is done in it."""

from __future__ import annotations

import posixpath
import re

from ..errors import NotFound, Refused
from ..model import Command
from ..transport.base import Stat, Transport
from .settings import settings

NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


def names(on: Transport) -> list[str]:
    """The applications of the host, sorted."""
    entries = on.scan(settings(on).apps_root)
    found = (posixpath.basename(entry.path) for entry in entries if entry.kind == "directory")
    return sorted(name for name in found if NAME.fullmatch(name))


def exists(on: Transport, app: str) -> bool:
    """Whether the application's directory is there. Raises Refused as `demand` does."""
    there = on.stat(settings(on).app(checked(app)))
    if there is None:
        return False
    _refuse_links(on, there)
    return True


def demand(on: Transport, app: str) -> str:
    """The application's directory. Raises NotFound; Refused where a link leads out of it."""
    if not exists(on, app):
        raise NotFound(
            f"there is no application {app} in {settings(on).apps_root} on {on.host.name}",
            remedy="apps.list names those there are; apps.init makes one.",
        )
    return settings(on).app(app)


def same_place(on: Transport, one: str, other: str) -> bool:
    """Whether two paths lead to the same place, links followed."""
    if posixpath.normpath(one) == posixpath.normpath(other):
        return True
    led = on.run(Command(("readlink", "-f", "--", one, other), changes=False)).text.splitlines()
    return len(led) == 2 and led[0] == led[1]


def checked(app: str) -> str:
    """Raises Refused for a name that could lead elsewhere."""
    if not NAME.fullmatch(app):
        raise Refused(
            f"{app!r} cannot be an application's name", remedy="Use 1 to 64 letters, digits, underscores and hyphens."
        )
    return app


def _refuse_links(on: Transport, there: Stat) -> None:
    if there.kind != "directory":
        what = f"a link to {there.target}" if there.kind == "link" else f"a {there.kind}"
        raise Refused(f"{there.path} is {what}, not a directory", remedy="Put the directory itself there.")
    for entry in on.scan(there.path):
        if entry.kind != "link":
            continue
        leads_to = posixpath.normpath(posixpath.join(there.path, entry.target))
        if not leads_to.startswith(there.path.rstrip("/") + "/"):
            raise Refused(
                f"the link {entry.path} leads out of the application's directory, to {entry.target}",
                remedy="Put the file or directory itself there.",
            )
