"""Ansible's filters on secrets: hashes of passwords, and texts in Ansible Vault's format."""

from __future__ import annotations

from typing import Any

from . import vault as vaults
from .filter_table import named, wrong

_HASHES = {"md5": "md5_crypt", "blowfish": "bcrypt", "sha256": "sha256_crypt", "sha512": "sha512_crypt"}
_FILTERED = "filter_default"  # the vault id of what the filter encrypts, where none is given


@named("password_hash")
def password_hash(
    value: Any,
    hashtype: str = "sha512",
    salt: str | int | None = None,
    salt_size: int | None = None,
    rounds: int | None = None,
    ident: str | None = None,
) -> str:
    """A hash as crypt(3) takes it. Raises FilterFailed without the password in what it says."""
    import passlib.hash

    if not isinstance(value, (str, bytes)):
        raise wrong(f"password_hash wants text, not a {type(value).__name__}", "Write `| string` before it.")
    name = _HASHES.get(hashtype, hashtype)
    if name not in dir(passlib.hash):
        raise wrong(f"password_hash: there is no {hashtype!r}", "Use sha512, sha256 or blowfish.")
    handler = getattr(passlib.hash, name)
    settings: dict[str, Any] = {"rounds": rounds, "ident": ident, "salt_size": salt_size}
    if salt is not None:
        settings["salt"] = _salt(handler, str(salt))
    try:
        return str(handler.using(**{key: each for key, each in settings.items() if each is not None}).hash(value))
    except (ValueError, TypeError) as error:
        raise wrong(f"password_hash: {error}", "Give a salt of letters and digits, as long as it may be.") from None


def _salt(handler: Any, salt: str) -> str | bytes:
    if isinstance(getattr(handler, "salt_chars", None), bytes) or handler.name.startswith("pbkdf2"):
        return salt.encode()
    return str(handler.normhash(f"$2b$12${salt}{'.' * 31}")[7:29]) if handler.name == "bcrypt" else salt


@named("vault")
def vault(
    data: Any, secret: Any, salt: Any = None, vault_id: str = _FILTERED, wrap_object: bool = False, **old: Any
) -> str:
    """The text encrypted with a password of its own. `wrap_object` makes no difference: it is shown encrypted."""
    for what, value in (("text", data), ("password", secret)):
        if not isinstance(value, (str, bytes)):
            raise wrong(f"vault wants a {what}, not a {type(value).__name__}")
    password = vaults.Password(old.get("vaultid", vault_id), _bytes(secret))
    return vaults.encrypt(_bytes(data), password, _bytes(salt or b""))


@named("unvault")
def unvault(text: Any, secret: Any, vault_id: str = _FILTERED, **old: Any) -> str:
    """What an encrypted text holds; any other text is given back as it is."""
    if not isinstance(text, (str, bytes)):
        raise wrong(f"unvault wants a text, not a {type(text).__name__}")
    given = text if isinstance(text, str) else text.decode("utf-8", "replace")
    if not vaults.is_encrypted(given):
        return given
    keys = vaults.Keyring()
    keys.add(vaults.Password(vault_id, _bytes(secret)))
    try:
        return keys.decrypt(given).decode("utf-8", "replace")
    except vaults.VaultError as error:
        raise wrong(f"unvault: {error.message}", error.remedy) from None


def _bytes(value: Any) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode()
