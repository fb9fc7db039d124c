"""What OpenSSH's own configuration and Ansible's `*_args` variables say about a host."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path

from ..errors import UsageError

USERS = Path("~/.ssh/config")
SYSTEMS = Path("/etc/ssh/ssh_config")
DEPTH = 16  # files that include each other, as deep as OpenSSH goes
LISTS = ("identityfile", "certificatefile")
FLAGS = {"-i": "identityfile", "-p": "port", "-l": "user", "-J": "proxyjump", "-F": "F"}

Words = Mapping[str, str | list[str]]


def looked_up(name: str, file: Path | None = None) -> dict[str, str | list[str]]:
    """The words of ssh_config for a host, in small letters; its users' file ranks above the system's."""
    from .lean_paramiko import ssh_config_of

    files = (file,) if file is not None else (USERS.expanduser(), SYSTEMS)
    found: dict[str, str | list[str]] = {}
    for path in files:
        text = _text(path, _stamp(path), required=file is not None)
        if text:
            said = ssh_config_of(text).lookup(name)
            found = {**{key: value for key, value in said.items() if key not in ("hostname",)}, **found} | (
                {"hostname": said["hostname"]} if said.get("hostname") != name and "hostname" not in found else {}
            )
    return found


def _stamp(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


@lru_cache(maxsize=64)
def _text(path: Path, stamp: float, required: bool) -> str:
    """The file with what it includes, kept as long as it stays the same."""
    try:
        return _included(path, 0)
    except OSError as error:
        if required:
            raise UsageError(f"cannot read the SSH configuration {path}: {error.strerror}") from None
        return ""


def _included(path: Path, depth: int) -> str:
    lines = []
    for line in path.read_text("utf-8", "replace").splitlines():
        word, _, rest = line.strip().replace("=", " ", 1).partition(" ")
        if word.lower() != "include" or depth >= DEPTH:
            lines.append(line)
            continue
        for pattern in shlex.split(rest):
            place = Path(pattern).expanduser()
            place = place if place.is_absolute() else path.parent / place
            for file in sorted(place.parent.glob(place.name)):
                lines.append(_included(file, depth + 1))
    return "\n".join(lines)


def from_arguments(line: str) -> dict[str, str | list[str]]:
    """What of ssh's own arguments (`-o Key=Value -J host …`) concerns us; `F` is another file to read."""
    found: dict[str, str | list[str]] = {}
    words = iter(shlex.split(line))
    for word in words:
        if word.startswith("-o"):
            key, _, value = (word[2:] or next(words, "")).strip().replace("=", " ", 1).partition(" ")
            _set(found, key.lower(), value.strip())
        elif word[:2] in FLAGS:
            _set(found, FLAGS[word[:2]], word[2:] or next(words, ""))
    return found


def _set(found: dict[str, str | list[str]], key: str, value: str) -> None:
    if key in LISTS:
        before = found.get(key, [])
        found[key] = [*before, value] if isinstance(before, list) else [value]
    else:
        found.setdefault(key, value)  # the first word counts, as with ssh
