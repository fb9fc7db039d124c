"""Certificates of host keys (OpenSSH's PROTOCOL.certkeys): who signed, for whom, how long."""

from __future__ import annotations

import fnmatch
import struct
import time
from typing import Any

from msgspec import Struct

CERTIFIED = "-cert-v01@openssh.com"
HOST = 2
PARTS_OF_KEY = {"ssh-ed25519": 1, "ssh-rsa": 2}  # ecdsa: curve and point


class WrongCertificate(Exception):
    """What is wrong with it, as half a sentence."""


def key_type(blob: bytes) -> str:
    """The kind of key that a blob begins with. Raises ValueError."""
    return _Reader(blob).text()


class Certificate(Struct, frozen=True):
    """A host's key with an authority's signature; times are seconds since the epoch."""

    key: bytes  # the plain key, as it would travel without a certificate
    authority: bytes  # the key that signed
    kind: int
    principals: tuple[str, ...]
    not_before: int
    not_after: int
    critical: bytes
    signed: bytes  # everything before the signature
    signature: bytes

    @classmethod
    def parsed(cls, blob: bytes) -> Certificate:
        """Raises ValueError for what is no certificate."""
        reader = _Reader(blob)
        kind = reader.text().removesuffix(CERTIFIED)
        reader.string()  # a nonce
        parts = [reader.string() for _ in range(PARTS_OF_KEY.get(kind, 2))]
        reader.number(8)  # the serial number
        usage = reader.number(4)
        reader.string()  # the certificate's own name
        principals = _Reader(reader.string()).texts()
        not_before, not_after = reader.number(8), reader.number(8)
        critical = reader.string()
        reader.string()  # extensions
        reader.string()  # reserved
        authority = reader.string()
        signed = blob[: reader.at]
        signature = reader.string()
        key = b"".join(struct.pack(">I", len(part)) + part for part in (kind.encode(), *parts))
        return cls(key, authority, usage, tuple(principals), not_before, not_after, critical, signed, signature)

    def verify(self, name: str) -> None:
        """That the authority has signed it, for this host and for now. Raises WrongCertificate."""
        host = name[1:].partition("]")[0] if name.startswith("[") else name
        now = time.time()
        if self.kind != HOST:
            raise WrongCertificate("it is not a certificate of a host")
        if self.critical:
            raise WrongCertificate("it has conditions that are not known")
        if now < self.not_before:
            raise WrongCertificate("it is not valid yet: is this machine's clock right?")
        if now >= self.not_after:
            raise WrongCertificate("it has expired")
        if not any(fnmatch.fnmatchcase(host.lower(), each.lower().replace("[", "[[]")) for each in self.principals):
            told = ", ".join(self.principals) or "nobody"
            raise WrongCertificate(f"it is for {told}, not for {host}")
        if not _genuine(self.authority, self.signed, self.signature):
            raise WrongCertificate("its authority has not signed it")


def _genuine(authority: bytes, signed: bytes, signature: bytes) -> bool:
    import paramiko

    kinds: dict[str, Any] = {"ssh-ed25519": paramiko.Ed25519Key, "ssh-rsa": paramiko.RSAKey}
    kind = key_type(authority)
    if kind.startswith("ecdsa-sha2-"):
        kinds[kind] = paramiko.ECDSAKey
    if kind not in kinds or key_type(signature) == "ssh-rsa":  # SHA-1 proves nothing any more
        return False
    key = kinds[kind](data=authority)
    return bool(key.verify_ssh_sig(signed, paramiko.Message(signature)))


class _Reader:
    """SSH's wire format. Every method raises ValueError where the data ends too soon."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.at = 0

    def number(self, size: int) -> int:
        return int.from_bytes(self._bytes(size), "big")

    def string(self) -> bytes:
        return self._bytes(self.number(4))

    def text(self) -> str:
        return self.string().decode("ascii")

    def texts(self) -> list[str]:
        found = []
        while self.at < len(self._data):
            found.append(self.string().decode("utf-8", "replace"))
        return found

    def _bytes(self, size: int) -> bytes:
        found = self._data[self.at : self.at + size]
        if len(found) < size:
            raise ValueError("the data ends too soon")
        self.at += size
        return found
