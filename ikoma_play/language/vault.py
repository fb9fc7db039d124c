"""Values and files in Ansible Vault's format, versions 1.1 and 1.2: read and written.

A text is a header line, `$ANSIBLE_VAULT;1.1;AES256` or `;1.2;AES256;ID`, then the hexadecimal of three
lines that are hexadecimal themselves: a salt, the HMAC-SHA256 of the ciphertext, and the ciphertext, AES-256 in
counter mode. Both keys and the first counter are PBKDF2 of the password and the salt.
"""

from __future__ import annotations

import binascii
import hashlib
import hmac
import os
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import IkomaError

HEADER = "$ANSIBLE_VAULT;"
DEFAULT = "default"  # the id of passwords that were given without one
_CIPHER = "AES256"
_ROUNDS = 10_000
_WIDTH = 80
_BLOCK = 16


class VaultError(IkomaError):
    """A text that cannot be decrypted: no password, a wrong one, or a text that is damaged."""

    code = "vault"


class Password(NamedTuple):
    """A vault password and the id that it was given for."""

    label: str
    secret: bytes


class Keyring:
    """The vault passwords of this process.

    They belong to the process and not to a call, since encrypted values turn up in any file, at any depth and at
    any time of a run; what is decrypted is kept, because deriving a key is slow on purpose.
    """

    def __init__(self) -> None:
        self._passwords: list[Password] = []
        self._known: dict[str, bytes] = {}

    def add(self, password: Password) -> None:
        if password not in self._passwords:
            self._passwords.append(password)

    def __bool__(self) -> bool:
        return bool(self._passwords)

    def __iter__(self) -> Iterator[Password]:
        return iter(self._passwords)

    def decrypt(self, text: str) -> bytes:
        """What an encrypted text holds. The password of its own id is tried first. Raises VaultError."""
        if text not in self._known:
            self._known[text] = self._decrypted(text)
        return self._known[text]

    def _decrypted(self, text: str) -> bytes:
        label = label_of(text)
        if not self._passwords:
            raise VaultError(
                "this is encrypted, and no vault password was given",
                remedy="Give it with --vault-password-file, --vault-id or --ask-vault-pass.",
            )
        for password in sorted(self._passwords, key=lambda each: each.label != label):
            try:
                return decrypt(text, password.secret)
            except _WrongPassword:
                continue
        named = f" (it is encrypted for the vault id {label})" if label != DEFAULT else ""
        raise VaultError(f"none of the vault passwords decrypts this{named}", remedy="Give the right one.")


KEYS = Keyring()


class _WrongPassword(Exception):
    pass


def is_encrypted(text: str | bytes) -> bool:
    return text.startswith(HEADER) if isinstance(text, str) else text.startswith(HEADER.encode())


def label_of(text: str) -> str:
    """The vault id in a text's header."""
    parts = text.lstrip().partition("\n")[0].strip().split(";")
    return parts[3] if len(parts) > 3 else DEFAULT


def encrypt(data: bytes, password: Password, salt: bytes = b"") -> str:
    """The text for `data`, with a final newline; the salt is made up where none is given."""
    salt = salt or os.urandom(32)
    key, signing, counter = _keys(password.secret, salt)
    padding = _BLOCK - len(data) % _BLOCK
    ciphertext = _cipher(data + bytes([padding]) * padding, key, counter)
    signature = hmac.digest(signing, ciphertext, "sha256")
    body = binascii.hexlify(b"\n".join(map(binascii.hexlify, (salt, signature, ciphertext)))).decode()
    head = f"{HEADER}1.1;{_CIPHER}" if password.label == DEFAULT else f"{HEADER}1.2;{_CIPHER};{password.label}"
    lines = (body[start : start + _WIDTH] for start in range(0, len(body), _WIDTH))
    return "\n".join([head, *lines, ""])


def decrypt(text: str, secret: bytes) -> bytes:
    """What a text holds. Raises VaultError where it is damaged."""
    head, _, body = text.strip().partition("\n")
    parts = head.strip().split(";")
    if not is_encrypted(head) or len(parts) < 3 or parts[1] not in ("1.1", "1.2") or parts[2] != _CIPHER:
        raise VaultError(f"this is not encrypted in a form that is known: {head[:40]!r}")
    try:
        inner = binascii.unhexlify("".join(body.split())).split(b"\n")
        salt, signature, ciphertext = map(binascii.unhexlify, inner)
    except (binascii.Error, ValueError):
        raise VaultError("this encrypted text is damaged", remedy="Take it from its source again.") from None
    key, signing, counter = _keys(secret, salt)
    if not hmac.compare_digest(hmac.digest(signing, ciphertext, "sha256"), signature):
        raise _WrongPassword
    padded = _cipher(ciphertext, key, counter)
    return padded[: -padded[-1]] if padded else b""


def _keys(secret: bytes, salt: bytes) -> tuple[bytes, bytes, bytes]:
    """The key of the cipher, that of the signature, and the first counter."""
    made = hashlib.pbkdf2_hmac("sha256", secret, salt, _ROUNDS, 80)
    return made[:32], made[32:64], made[64:]


def _cipher(data: bytes, key: bytes, counter: bytes) -> bytes:
    """AES in counter mode, which is the same in both directions."""
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

    return Cipher(algorithms.AES(key), modes.CTR(counter)).encryptor().update(data)
