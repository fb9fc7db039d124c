"""What OpenSSH's own configuration and Ansible's `*_args` variables say about a host."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

from ..errors import UsageError

USERS = Path("~/.ssh/config")
SYSTEMS = Path("/etc/ssh/ssh_config")
DEPTH = 16  # files that include each other, as deep as OpenSSH goes
LISTS = ("identityfile", "certificatefile")
FLAGS = {"-i": "identityfile", "-p": "port", "-l": "user", "-J": "proxyjump", "-F": "F"}

Words = Mapping[str, str | list[str]]
Word = Literal[
    "canonicalizehostname", "connecttimeout", "globalknownhostsfile", "hostkeyalias", "hostname",
    "identitiesonly", "identityagent", "identityfile", "port", "proxycommand", "proxyjump", "serveralivecountmax",
    "serveraliveinterval", "stricthostkeychecking", "user", "userknownhostsfile",
]  # fmt: skip
"""The keywords of ssh_config that mean something here."""

_WORDS = frozenset(get_args(Word))
_LINE = r"(\w+)(?:\s*=\s*|\s+)(.+)"  # a keyword and its value, as ssh_config(5) has them


def looked_up(name: str, file: Path | None = None) -> dict[str, str | list[str]]:
    """The words of ssh_config for a host, in small letters; its users' file ranks above the system's.
    Raises UsageError."""
    files = (file,) if file is not None else (USERS.expanduser(), SYSTEMS)
    found: dict[str, str | list[str]] = {}
    for path in files:
        text = _text(path, _stamp(path), required=file is not None)
        if text:
            said = _said_of(name, text, path)
            found = {**{key: value for key, value in said.items() if key not in ("hostname",)}, **found} | (
                {"hostname": said["hostname"]} if said.get("hostname") != name and "hostname" not in found else {}
            )
    return found


def _said_of(name: str, text: str, path: Path) -> dict[str, str | list[str]]:
    from .lean_paramiko import CONFIG_ERRORS, ssh_config_of

    try:
        return dict(ssh_config_of(text).lookup(name))
    except CONFIG_ERRORS as error:
        why = str(error)
        if isinstance(error, KeyError):  # a word that another one needs
            why = f"it lacks {error.args[0]}"
        elif why == name:
            why = "there is no such host in its CanonicalDomains"
        raise UsageError(
            f"the SSH configuration {path} cannot be used for {name}: {why}",
            remedy=f"See what ssh says of it: ssh -G -F {path} {name}",
        ) from None


def _stamp(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


@lru_cache(maxsize=64)
def _text(path: Path, stamp: float, required: bool) -> str:
    """The file with what it includes, kept as long as it stays the same; nothing where no word of it means something
    here, as in most systems' own."""
    try:
        text = _included(path, 0)
    except OSError as error:
        if required:
            raise UsageError(f"cannot read the SSH configuration {path}: {error.strerror}") from None
        return ""
    return text if any(_keyword(line) in _WORDS for line in text.splitlines()) else ""


def _included(path: Path, depth: int) -> str:
    lines = []
    for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1):
        word, patterns = _taken_apart(line.strip(), f"{path}:{number}")
        if word != "include" or depth >= DEPTH:
            lines.append(line)
            continue
        for pattern in patterns:
            place = Path(os.path.expanduser(pattern))  # noqa: PTH111 - a user whom nobody knows is no error of ours
            place = place if place.is_absolute() else path.parent / place
            for file in sorted(place.parent.glob(place.name)):
                lines.append(_included(file, depth + 1))
    return "\n".join(lines)


def _taken_apart(line: str, place: str) -> tuple[str, list[str]]:
    """A line's keyword in small letters, and what it names where that is patterns. Raises UsageError."""
    if not line or line.startswith("#"):
        return "", []
    found = re.match(_LINE, line)
    if found is None:
        raise UsageError(
            f"{place}: {line!r} is no line of an SSH configuration",
            remedy="A line is a keyword and its value, such as: User deploy",
        )
    word = found[1].lower()
    return word, split(found[2], place) if word in ("include", "host", "match") else []


def _keyword(line: str) -> str:
    found = re.match(_LINE, line.strip())
    return "" if found is None else found[1].lower()


def split(line: str, place: str) -> list[str]:
    """The words of a line, as a shell takes it apart. Raises UsageError."""
    try:
        return shlex.split(line)
    except ValueError as error:
        raise UsageError(f"{place}: {str(error).lower()}", remedy="Close what is quoted.") from None


@lru_cache(maxsize=64)
def from_arguments(line: str, place: str) -> Words:
    """What of ssh's own arguments (`-o Key=Value -J host …`) concerns us; `F` is another file to read. `place` is
    whose they are. Raises UsageError."""
    found: dict[str, str | list[str]] = {}
    words = iter(split(line, place))
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
