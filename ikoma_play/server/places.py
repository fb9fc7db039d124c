"""What a key may name that lies beyond its application: files of this machine, and addresses that it can reach.

A tool says which of its arguments are such places. Keys of admins that are limited to nothing may name any; others
only what ALLOWED_PLACES says, directories and beginnings of URLs. A URL counts by its parts, so that nothing in it can
stand for another host than it seems to.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ..model import Access
from ..platform.api_keys import Key
from ..tool import Tool
from .answers import Refusal

# Variables of playbooks that are handed to such arguments (README, "Deploy your application").
VARIABLES = ("source", "health_url")
_PORTS = {"http": 80, "https": 443, "ssh": 22, "git": 9418}
_REMOTE = re.compile(r"(?P<host>[\w.-]+@[\w.-]+):(?P<path>.*)", re.ASCII)  # user@host:path, as git takes it
Parts = tuple[str, str, int | None, str]


def of_call(tool: Tool, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call that name places."""
    wires = {parameter.wire for parameter in tool.parameters if parameter.name in tool.places}
    return {name: value for name, value in arguments.items() if name in wires}


def of_run(variables: Mapping[str, Any]) -> dict[str, Any]:
    """The variables of a run that name places."""
    return {name: variables[name] for name in VARIABLES if name in variables}


def demand(named: Mapping[str, Any], key: Key, role: Access, patterns: Iterable[str]) -> None:
    """Raises Refusal: 403 for a place that the key may not name."""
    if role >= Access.ADMIN and not key.limited:
        return
    for name, value in named.items():
        if value in (None, "") or (isinstance(value, str) and allowed(value, patterns)):
            continue
        raise Refusal(
            403, "forbidden", f"{name}: this is no place that this key may name",
            required="the key of an admin, limited to nothing, or a place in ALLOWED_PLACES",
            current=f"{role.label}, limited" if key.limited else role.label,
            remedy="Write it into ALLOWED_PLACES of the platform's .env: directories and beginnings of URLs.",
        )  # fmt: skip


def allowed(value: str, patterns: Iterable[str]) -> bool:
    """Whether a place lies in one of the patterns."""
    wanted = _parts(value)
    if wanted is None:
        return False
    return any(_within(wanted, found) for pattern in patterns if (found := _parts(pattern)) is not None)


def _within(wanted: Parts, pattern: Parts) -> bool:
    return wanted[:3] == pattern[:3] and (wanted[3] + "/").startswith(pattern[3].rstrip("/") + "/")


def _parts(text: str) -> Parts | None:
    """A place taken apart: scheme (`file` for a path, "" for user@host:path), host, port, path; None: it is odd."""
    if re.search(r"[\x00-\x20\x7f\\]", text) or text.startswith("-"):
        return None
    if "://" in text:
        return _of_url(text)
    if found := _REMOTE.fullmatch(text):
        path = found["path"].lstrip("/")
        return None if _climbs(path) else ("", found["host"], None, path.rstrip("/"))
    if "::" in text.partition("/")[0]:
        return None
    return "file", "", None, str(Path(text).expanduser().resolve())


def _of_url(text: str) -> Parts | None:
    try:
        url = urlsplit(text)
        port = url.port or _PORTS.get(url.scheme)
    except ValueError:
        return None
    path = unquote(url.path)
    if not url.hostname or _climbs(path) or url.netloc.count("@") > 1 or "%" in path:
        return None
    return url.scheme, url.hostname, port, path.rstrip("/")


def _climbs(path: str) -> bool:
    return ".." in path.split("/")
