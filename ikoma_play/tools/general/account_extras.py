"""What a user has besides an account: how long account and password last, and a key of its own for ssh."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from ...model import Command, Diff, Outcome, Status
from ...transport.base import Transport

DAY = 86_400
# Field of /etc/shadow, chage's flag, and what it is.
AGES = {
    "password_expire_min": (3, "-m"),
    "password_expire_max": (4, "-M"),
    "password_expire_warn": (5, "-W"),
    "password_expire_account_disable": (6, "-I"),
    "expires": (7, "-E"),
}
_RIGHTS = "Look at what it said; this needs root's rights (become)."


class Key(Struct, frozen=True):
    """The key that a user is to have: `ssh-keygen` makes it where the file is not there."""

    file: str | None = None
    type: str = "rsa"
    bits: int = 0
    comment: str | None = None


class Extras(Struct, frozen=True):
    """`ages` are days by the argument's name; -1 takes a limit away."""

    ages: Mapping[str, int] = field(default_factory=dict)
    key: Key | None = None

    def added(self, on: Transport, entry: Callable[[str], list[str] | None], name: str, outcome: Outcome) -> Outcome:
        """The outcome of the account with what these have changed. Raises StepError."""
        account = entry("passwd")
        if account is None:  # a check, and the user is not there yet
            return outcome
        told: dict[str, Any] = {}
        diffs = self._age(on, entry("shadow") or [], name)
        if self.key is not None:
            made, told = _key(on, self.key, account)
            diffs += made
        values = {**(outcome.result or {}), **told}
        if not diffs:
            return replace(outcome, result=values)
        return replace(outcome, status=Status.CHANGED, result=values, diffs=(*outcome.diffs, *diffs))

    def _age(self, on: Transport, shadow: list[str], name: str) -> list[Diff]:
        words, diffs = list[str](), list[Diff]()
        for what, days in self.ages.items():
            number, flag = AGES[what]
            now = (shadow[number] if len(shadow) > number else "") or "-1"
            if now != str(days):
                words += [flag, str(days)]
                diffs.append(Diff(f"user {name}", f"{what} {now} days\n", f"{what} {days} days\n"))
        if words:
            message = f"cannot set how long {name} and its password last"
            on.demand(Command(("chage", *words, "--", name)), message, _RIGHTS)
        return diffs


def ages(values: Mapping[str, float | None]) -> dict[str, int]:
    """What arguments say, as days; `expires` is seconds since 1970."""
    given = {name: value for name, value in values.items() if value is not None}
    return {name: int(value // DAY) if name == "expires" else int(value) for name, value in given.items()} | (
        {"expires": -1} if given.get("expires", 0) < 0 else {}
    )


def _key(on: Transport, key: Key, account: list[str]) -> tuple[list[Diff], dict[str, Any]]:
    uid, group, home = account[2], account[3], account[5]
    path = posixpath.join(home, key.file or f".ssh/id_{key.type}")
    diffs = []
    if on.stat(path) is None:
        folder = posixpath.dirname(path)
        comment = key.comment
        if comment is None:
            comment = f"ansible-generated on {on.run(Command(('uname', '-n'), changes=False)).text.strip()}"
        owned = [path, f"{path}.pub"]
        if on.mkdir(folder, 0o700):
            owned.append(folder)
        words = ["ssh-keygen", "-q", "-t", key.type, *(["-b", str(key.bits)] if key.bits else []), "-N", ""]
        on.demand(Command((*words, "-C", comment, "-f", path)), f"cannot make the key {path}", "It needs ssh-keygen.")
        on.demand(Command(("chown", f"{uid}:{group}", "--", *owned)), f"cannot hand {path} over", _RIGHTS)
        diffs.append(Diff(path, "", "(a new key)\n"))
    told: dict[str, Any] = {"ssh_key_file": path}
    if on.stat(f"{path}.pub") is not None:
        told["ssh_public_key"] = on.read(f"{path}.pub").decode("utf-8", "replace").strip()
        shown = on.run(Command(("ssh-keygen", "-l", "-f", path), changes=False))
        told["ssh_fingerprint"] = shown.text.strip()
    return diffs, told
