"""Tools for what a host is called and whom it knows: hostname, known_hosts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import posixpath
import re
from typing import Any, Literal

from ...errors import StepError
from ...model import Access, Command, Diff, Outcome, changed, ok
from ...tool import tool
from ...transport.base import Transport
from .placing import Attributes, host_path, place, read_if_there

NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")


@tool("hostname", access=Access.ADMIN, changes=True)
def hostname(on: Transport, *, name: str, use: str | None = None) -> Outcome:
    """Give the host its name, now and after a restart.

    name: the name
    use: accepted for Ansible's sake
    """
    if not NAME.fullmatch(name) or len(name) > 64:
        raise StepError(f"{name!r} is not a host's name", remedy="Use letters, digits and -, in parts between dots.")
    now = on.demand(Command(("uname", "-n"), changes=False)).text
    kept = place(on, "/etc/hostname", f"{name}\n".encode())
    if now != name:
        on.demand(
            Command(("hostname", "--", name)), f"cannot name the host {name}", "This needs root's rights (become)."
        )
    values = {"name": name}
    if now == name and not kept.changed:
        return ok(values)
    return changed(values, diffs=(Diff("hostname", f"{now}\n", f"{name}\n"),) if now != name else kept.diffs)


@tool("known_hosts", access=Access.ADMIN, changes=True, aliases={"host": "name"})
def known_hosts(
    on: Transport,
    *,
    name: str,
    key: str | None = None,
    path: str = "~/.ssh/known_hosts",
    state: Literal["present", "absent"] = "present",
    hash_host: bool = False,
) -> Outcome:
    """Have a server's key among those that ssh trusts, or not.

    name: the server, as ssh is asked for it; [name]:port where the port is not 22
    key: its line, as ssh-keyscan gives it; for absent, none or any
    path: the file
    state: present or absent
    hash_host: write the name so that nobody can read it
    """
    file = host_path(on, path)
    content = (read_if_there(on, file) or b"").decode("utf-8", "replace")
    lines = content.splitlines()
    values: dict[str, Any] = {"name": name, "state": state, "path": file, "hash_host": hash_host, "key": key}
    if state == "absent":
        kept = [line for line in lines if not _is_of(line, name)]
        if len(kept) == len(lines):
            return ok(values)
    else:
        kind, blob = _parsed(name, key)
        # Another key of the same type is no longer the server's; keys of other types stay.
        kept = [line for line in lines if not (_is_of(line, name) and _fields(line)[1] == kind)]
        mine = [line for line in lines if _is_of(line, name) and _fields(line)[1:3] == [kind, blob]]
        if mine and len(kept) == len(lines) - len(mine) and mine[0].startswith("|1|") == hash_host:
            return ok(values)
        kept.append(f"{_hashed(name) if hash_host else name} {kind} {blob}")
        on.mkdir(posixpath.dirname(file) or ".", 0o700)
    placed = place(on, file, "".join(line + "\n" for line in kept).encode(), Attributes())
    return (changed if placed.changed else ok)(values, diffs=placed.diffs)


def _parsed(name: str, key: str | None) -> tuple[str, str]:
    if not key:
        raise StepError("known_hosts needs the key that shall be present", remedy="Give a line as from ssh-keyscan.")
    for line in key.splitlines():
        fields = _fields(line)
        if len(fields) < 3:
            continue
        if not _is_of(line, name):
            raise StepError(f"the key is one of {fields[0]}, not of {name}", remedy="Check name and key.")
        return fields[1], fields[2]
    raise StepError(f"{key[:40]!r} is not a line of known_hosts", remedy="Give a line as from ssh-keyscan.")


def _fields(line: str) -> list[str]:
    """Names, type and key of a line; a mark such as @revoked makes it none of ours."""
    if line.startswith(("#", "@")):
        return []
    return line.split()[:3]


def _is_of(line: str, name: str) -> bool:
    fields = _fields(line)
    if not fields:
        return False
    if not fields[0].startswith("|1|"):
        return name in fields[0].split(",")
    try:
        _, _, salt, digest = fields[0].split("|")
        made = hmac.new(base64.b64decode(salt), name.encode(), hashlib.sha1).digest()
        return hmac.compare_digest(made, base64.b64decode(digest))
    except ValueError:
        return False


def _hashed(name: str) -> str:
    salt = os.urandom(20)
    made = hmac.new(salt, name.encode(), hashlib.sha1).digest()
    return f"|1|{base64.b64encode(salt).decode()}|{base64.b64encode(made).decode()}"
