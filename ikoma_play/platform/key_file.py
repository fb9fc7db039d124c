"""The file of keys: changed whole, by one at a time, and read again when it has changed.

Whoever changes it holds a lock beside it, FILE.lock, and changes the platform's .env under the same one: `KeyFile` on
this machine, `swapped` on any host."""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from ..errors import Unavailable
from ..model import Command
from ..transport.base import Transport
from ..transport.faults import remedy_of
from ..transport.shelled import failed
from .api_keys import Keys

T = TypeVar("T")
MODE = 0o600


class KeyFile:
    """Keys in a file; `keys` are those that it holds now, read only when the file has changed."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys = Keys()
        self._lock = threading.Lock()

    @property
    def keys(self) -> Keys:
        """What the file holds. Raises StepError where it is no file of keys or cannot be read."""
        try:
            there = os.stat(self.path)  # noqa: PTH116 - once a request
        except FileNotFoundError:
            return Keys()
        except OSError as error:
            raise self._unavailable("read", error) from None
        state = (there.st_ino, there.st_mtime_ns, there.st_size)
        with self._lock:
            if state != self._seen:
                self._keys = self._read()
                self._seen = state
            return self._keys

    def change(self, make: Callable[[Keys], tuple[Keys, T]], then: Callable[[], None] = lambda: None) -> T:
        """Put what `make` makes of the keys in their place, whole or not at all, and give what it gives besides;
        `then` is done before anybody else may change them."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            lock = os.open(lock_of(str(self.path)), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, MODE)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX)
                made, more = make(self._read())
                self._replace(made.text)
                then()
            finally:
                os.close(lock)
        except OSError as error:
            raise self._unavailable("written", error) from None
        return more

    def _read(self) -> Keys:
        if self.path.exists() and not self.path.is_file():
            raise Unavailable(f"{self.path} is no regular file", remedy="Name another with --file or API_KEYS_FILE.")
        try:
            return Keys.parse(self.path.read_text("utf-8", "replace"), str(self.path))
        except FileNotFoundError:
            return Keys()
        except OSError as error:
            raise self._unavailable("read", error) from None

    def _replace(self, text: str) -> None:
        beside = self.path.with_name(f".{self.path.name}.{secrets.token_hex(6)}")
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, MODE)
        try:
            with os.fdopen(file, "w", encoding="utf-8") as out:
                out.write(text)
                out.flush()
                os.fsync(file)
            beside.replace(self.path)
        except BaseException:
            beside.unlink(missing_ok=True)
            raise

    def _unavailable(self, what: str, error: OSError) -> Unavailable:
        return Unavailable(
            f"the file of keys {self.path} cannot be {what}: {error.strerror}",
            remedy=remedy_of(error, "Run as the user who owns it, or name another with --file or API_KEYS_FILE."),
        )


def lock_of(path: str) -> str:
    """The lock of a file of keys."""
    return f"{path}.lock"


def swapped(on: Transport, lock: str, path: str, before: bytes | None, after: bytes) -> bool:
    """Put `after` in place of `before` in a file of a host, whole or not at all; None stands for no file. False where
    the file holds something else by now. Raises StepError where it cannot be written."""
    digest = "absent" if before is None else f"{hashlib.sha256(before).hexdigest()}  -"
    done = on.run(Command(("flock", lock, "sh", "-c", _SWAP, "sh", path, digest), stdin=after))
    if done.exit_code not in (0, _ANOTHER):
        raise failed("write", path, done)
    return done.ok


_ANOTHER = 75
_SWAP = f"""\
set -e
umask 077
real=$(readlink -f -- "$1")
now=absent
test ! -e "$real" || now=$(sha256sum < "$real")
test "$now" = "$2" || exit {_ANOTHER}
beside=$(mktemp "$real.XXXXXX")
trap 'rm -f -- "$beside"' EXIT
cat > "$beside"
test ! -e "$real" || chown "$(stat -c %u:%g -- "$real")" "$beside"
sync "$beside"
mv -f -- "$beside" "$real"
"""
