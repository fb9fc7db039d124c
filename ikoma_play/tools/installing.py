"""What a host needs of the platform itself: its settings, and this very program."""

from __future__ import annotations

import posixpath
import re
import secrets as randomness
from collections.abc import Mapping

from ..errors import Refused
from ..model import Access, Outcome, changed, ok
from ..platform import envfile, program
from ..platform.settings import settings
from ..tool import Scope, tool
from ..transport.base import Transport

WHEELS = re.compile(r"ikoma_play-[^/]+\.whl\Z")
PASSWORD_BYTES = 24


@tool("platform.env", access=Access.ADMIN, changes=True, secrets=("values",), lasting="settings stay, and are kept as "
      "they are by the next run")  # fmt: skip
def env(
    on: Transport,
    values: dict[str, str | int | float | bool],
    generate: list[str] | None = None,
    *,
    scope: Scope | None = None,
) -> Outcome:
    """Write settings into the platform's own `.env`, which only its owner may read; all others in it stay.

    values: the settings
    generate: names that get a random value where they have none, for passwords
    """
    path = settings(on).env_file
    if on.stat(folder := posixpath.dirname(path), follow=True) is None and not on.dry:
        raise Refused(f"there is no directory {folder} for {path}", remedy="Make it, or correct ikoma_env_file.")
    file = envfile.read(on, path)
    made = {name: randomness.token_urlsafe(PASSWORD_BYTES) for name in generate or () if not file.values.get(name)}
    if scope is not None:
        scope.keep_secret(*made.values(), *envfile.secret_values(file.values), *envfile.secret_values(_text(values)))
    names = file.merge({**made, **_text(values)})
    result = {"path": path, "names": names, "generated": sorted(made)}
    if not envfile.write(on, path, file):
        return ok(result, f"{path} says so already")
    return changed(result, f"{path}: {', '.join(names) or 'only its owner may read it now'}")


@tool("platform.program", access=Access.ADMIN, changes=True, lasting="a file that nothing uses by itself")
def bring_program(on: Transport, folder: str) -> Outcome:
    """Put this very program on the host, as a wheel that pip installs there; wheels of other states are removed.

    folder: the directory on the host that takes it
    """
    if on.stat(folder, follow=True) is None and not on.dry:
        raise Refused(f"there is no directory {folder} on {on.host.name}", remedy="Make it first.")
    name, data = program.wheel()
    path = posixpath.join(folder, name)
    result = {"path": path, "version": name.split("-")[1]}
    others = [entry.path for entry in on.scan(folder) if WHEELS.search(entry.path) and entry.path != path]
    if on.exists(path) and not others:
        return ok(result, f"{name} is there")
    on.write(path, data, 0o644)
    for other in others:
        on.remove(other)
    return changed(result, f"{name} put in {folder}")


def _text(values: Mapping[str, str | int | float | bool]) -> dict[str, str]:
    """Values as a `.env` has them."""
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in values.items()}
