"""Which host keys are known: OpenSSH's known_hosts files, hashed names, authorities and revoked keys included."""

from __future__ import annotations

import base64
import binascii
import fnmatch
import hashlib
import hmac
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from enum import Enum
from functools import lru_cache
from pathlib import Path

from msgspec import Struct

from .host_certificate import CERTIFIED, Certificate, WrongCertificate, key_type

AUTHORITY, REVOKED = "@cert-authority", "@revoked"
_writing = threading.Lock()


class Verdict(Enum):
    KNOWN = "known"
    UNKNOWN = "unknown"
    CHANGED = "changed"
    REVOKED = "revoked"
    WRONG_CERTIFICATE = "wrong certificate"


class Entry(Struct, frozen=True):
    """One line: the names it is about, the marker before them, the key as it travels."""

    marker: str
    names: tuple[str, ...]
    blob: bytes
    file: str
    line: int

    def about(self, name: str) -> bool:
        """Whether it is about a host, `[host]:port` where the port is not 22."""
        found = False
        for pattern in self.names:
            if pattern.startswith("|1|"):
                found = found or _hashed(pattern, name)
            elif pattern.startswith("!"):
                if _matches(pattern[1:], name):
                    return False
            else:
                found = found or _matches(pattern, name)
        return found


class Answer(Struct, frozen=True):
    """What is known about the key that a host showed; `entries` are the lines that say otherwise."""

    verdict: Verdict
    fingerprint: str
    entries: tuple[Entry, ...] = ()
    why: str = ""


class KnownHosts:
    """Several files, read once for as long as they stay the same."""

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files

    def entries(self, name: str) -> list[Entry]:
        return [entry for file in self._files for entry in _about(file, _stamp(file), name)]

    def wanted_types(self, name: str) -> list[str]:
        """The algorithms to ask the host for first, so that it shows a key that is known."""
        wanted: list[str] = []
        for entry in self.entries(name):
            if entry.marker == REVOKED:
                continue
            if entry.marker == AUTHORITY:
                wanted += [f"{kind}{CERTIFIED}" for kind in _ALGORITHMS]
            else:
                wanted += _signatures(key_type(entry.blob))
        return list(dict.fromkeys(wanted))

    def check(self, name: str, blob: bytes) -> Answer:
        """What is known about the key, or the certificate, that the host called `name` has shown."""
        entries = self.entries(name)
        certificate = Certificate.parsed(blob) if key_type(blob).endswith(CERTIFIED) else None
        shown = {blob} if certificate is None else {certificate.key, certificate.authority}
        print_of = fingerprint(blob if certificate is None else certificate.key)
        revoked = tuple(entry for entry in entries if entry.marker == REVOKED and entry.blob in shown)
        if revoked:
            return Answer(Verdict.REVOKED, print_of, revoked)
        if certificate is not None:
            trusted = [entry for entry in entries if entry.marker == AUTHORITY]
            if any(entry.blob == certificate.authority for entry in trusted):
                try:
                    certificate.verify(name)
                except WrongCertificate as wrong:
                    return Answer(Verdict.WRONG_CERTIFICATE, print_of, why=str(wrong))
                return Answer(Verdict.KNOWN, print_of)
            blob = certificate.key  # an unknown authority's word is worth nothing, but the key may be known itself
        plain = [entry for entry in entries if entry.marker == ""]
        if any(entry.blob == blob for entry in plain):
            return Answer(Verdict.KNOWN, print_of)
        return Answer(Verdict.CHANGED if plain else Verdict.UNKNOWN, print_of, tuple(plain))

    def add(self, name: str, blob: bytes) -> None:
        """Note a key in the first file. Raises OSError."""
        path = Path(self._files[0])
        with _writing:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            if any(entry.blob == blob and entry.marker == "" for entry in self.entries(name)):
                return
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
            with open(descriptor, "r+b") as file:  # noqa: PTH123
                end = file.seek(0, os.SEEK_END) if file.seekable() else 0
                cut = False
                if end:
                    file.seek(-1, os.SEEK_END)
                    cut = file.read(1) != b"\n"
                file.write(b"\n" * cut + line(name, blob).encode() + b"\n")


def line(name: str, blob: bytes) -> str:
    """How known_hosts has a key."""
    return f"{name} {key_type(blob)} {base64.b64encode(blob).decode()}"


def fingerprint(blob: bytes) -> str:
    """As `ssh-keygen -l` shows it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(blob).digest()).decode().rstrip("=")


_ALGORITHMS = (
    "ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "rsa-sha2-512", "rsa-sha2-256",
)  # fmt: skip


def _signatures(kind: str) -> Iterable[str]:
    return ("rsa-sha2-512", "rsa-sha2-256") if kind == "ssh-rsa" else (kind,)


def _stamp(file: str) -> tuple[int, int]:
    try:
        found = Path(file).stat()
    except OSError:
        return (0, 0)
    return (found.st_mtime_ns, found.st_size)


def _entries(file: str) -> Iterator[Entry]:
    try:
        text = Path(file).read_text("utf-8", "replace")
    except OSError:
        return
    parsed = (_entry(file, number, words) for number, words in enumerate(text.splitlines(), 1))
    yield from (entry for entry in parsed if entry is not None)


@lru_cache(maxsize=64)
def _by_name(file: str, stamp: tuple[int, int]) -> tuple[Mapping[str, Sequence[Entry]], Sequence[Entry]]:
    """The lines of which a name tells whether they are about it, and those that have to be asked."""
    named: dict[str, list[Entry]] = {}
    others = []
    for entry in _entries(file):
        if any(name.startswith(("|", "!")) or "*" in name or "?" in name for name in entry.names):
            others.append(entry)
            continue
        for name in {name.lower() for name in entry.names}:
            named.setdefault(name, []).append(entry)
    return named, others


@lru_cache(maxsize=4096)
def _about(file: str, stamp: tuple[int, int], name: str) -> Sequence[Entry]:
    """The lines about a host, who is asked after twice: a hashed name takes a digest each time."""
    named, others = _by_name(file, stamp)
    found = [*named.get(name.lower(), ()), *(entry for entry in others if entry.about(name))]
    return sorted(found, key=lambda entry: entry.line)


def _entry(file: str, number: int, text: str) -> Entry | None:
    words = text.split()
    if not words or words[0].startswith("#"):
        return None
    marker = words.pop(0) if words[0].startswith("@") else ""
    if len(words) < 3 or marker not in ("", AUTHORITY, REVOKED):
        return None
    try:
        blob = base64.b64decode(words[2], validate=True)
        named = key_type(blob)
    except (binascii.Error, ValueError):
        return None
    return Entry(marker, tuple(words[0].split(",")), blob, file, number) if named == words[1] else None


def _matches(pattern: str, name: str) -> bool:
    """ssh's patterns know `*` and `?` only; brackets are part of `[host]:port`."""
    return fnmatch.fnmatchcase(name.lower(), pattern.lower().replace("[", "[[]"))


def _hashed(pattern: str, name: str) -> bool:
    try:
        _, _, salt, told = pattern.split("|")
        digest = hmac.digest(base64.b64decode(salt), name.encode(), "sha1")
        return hmac.compare_digest(digest, base64.b64decode(told))
    except (ValueError, binascii.Error):
        return False
