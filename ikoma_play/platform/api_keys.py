"""The keys of the HTTP server: named, each with what it may do; only their SHA-256 is kept.

The file is JSON, for its owner only, and small. Changes are made to the whole of it:

    keys = Keys.parse(text)
    keys, shown = keys.create("ci", Access.OPERATOR, applications=["shop"])     `shown` is the key itself, once
    keys = keys.rotate("ci", 3600.0, new())                                     the old one is valid for an hour more
    keys = keys.revoke("ci")
    keys.find(presented)                                                        the key's record, or None
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
import time
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from msgspec import Struct, field
from msgspec.structs import asdict, replace

from ..errors import NotFound, Refused, StepError
from ..model import Access
from ..spelling import did_you_mean

FILE = "keys.json"  # beside the platform's own .env
PLATFORM = "platform"  # the name under which API_KEY_HASH of the platform's .env is known
GRACE = 3600.0  # seconds for which a rotated key stays valid unless somebody says otherwise
NAME = re.compile(r"[A-Za-z0-9_.@-]{1,64}\Z")
_HASH = re.compile(r"[0-9a-f]{64}\Z")
_VERSION = 1


class Retiring(Struct, frozen=True):
    """A hash that was rotated away and is valid until a time, in seconds since the epoch."""

    sha256: str
    until: float


class Key(Struct, frozen=True):
    """A key without the key. Times are seconds since the epoch; empty limits mean every host or application,
    else they are names or patterns (`shop-*`)."""

    name: str
    role: str
    sha256: str
    created: float = 0.0
    expires: float | None = None
    hosts: tuple[str, ...] = ()
    applications: tuple[str, ...] = ()
    retiring: tuple[Retiring, ...] = ()

    @property
    def access(self) -> Access:
        return Access[self.role.upper()]

    @property
    def limited(self) -> bool:
        """Whether it is for some hosts or applications alone."""
        return bool(self.hosts or self.applications)

    def expired(self, now: float) -> bool:
        return self.expires is not None and now >= self.expires

    def hashes(self, now: float) -> list[str]:
        """The hashes that open with this key now."""
        if self.expired(now):
            return []
        return [*([self.sha256] if self.sha256 else []), *(old.sha256 for old in self.retiring if now < old.until)]

    def allows_host(self, host: str) -> bool:
        return not self.hosts or any(fnmatchcase(host, pattern) for pattern in self.hosts)

    def allows_application(self, application: str | None) -> bool:
        """Whether the key may work on an application; what is about none asks with None."""
        if not self.applications:
            return True
        return application is not None and any(fnmatchcase(application, pattern) for pattern in self.applications)


class Keys(Struct, frozen=True):
    """All keys of a file, by name; `platform` are former values of API_KEY_HASH that are valid a while yet."""

    by_name: Mapping[str, Key] = field(default_factory=dict)
    platform: tuple[Retiring, ...] = ()

    @classmethod
    def parse(cls, text: str, file: str = FILE) -> Keys:
        """The keys in a file's text. Raises StepError where it is not such a file."""
        if not text.strip():
            return cls()
        try:
            data = json.loads(text)
            if data["version"] != _VERSION:
                raise ValueError(f"its version is {data['version']!r}, this ikoma-play knows {_VERSION}")
            return cls({key.name: key for key in map(_read, data["keys"])}, _retiring(data.get("platform", ())))
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            said = f"{error} is missing" if isinstance(error, KeyError) else str(error)
            raise StepError(
                f"{file} is no file of keys: {said}",
                remedy=f"Put its backup back, or move it away and create the keys anew: mv {file} {file}.damaged",
            ) from None

    @property
    def text(self) -> str:
        whole = ({**asdict(key), "retiring": [asdict(old) for old in key.retiring]} for key in self)
        rows = [{name: value for name, value in key.items() if value not in (None, (), [])} for key in whole]
        data = {"version": _VERSION, "keys": rows, "platform": [asdict(old) for old in self.platform]}
        return json.dumps(data, indent=1) + "\n"

    def __iter__(self) -> Any:
        return iter(self.by_name.values())

    def find(self, presented: str, api_key_hash: str | None = None, now: float | None = None) -> Key | None:
        """The key that somebody presents; None for a wrong or expired one. `api_key_hash` is the platform's own,
        which may do everything. Takes as long for a wrong key as for a right one: its hash is compared with all."""
        digest = sha256(presented)
        now = time.time() if now is None else now
        found: Key | None = None
        own = Key(PLATFORM, Access.ADMIN.label, api_key_hash or "", retiring=self.platform)
        for key in (*self, own):
            for known in key.hashes(now):
                if hmac.compare_digest(known, digest):
                    found = key
        return found

    def create(self, name: str, access: Access, **limits: Any) -> tuple[Keys, str]:
        """The keys with a new one, and the key itself; `limits` and errors as of `add`."""
        shown = new()
        return self.add(name, access, sha256(shown), **limits), shown

    def add(
        self,
        name: str,
        access: Access,
        digest: str,
        *,
        expires: float | None = None,
        hosts: Iterable[str] = (),
        applications: Iterable[str] = (),
    ) -> Keys:
        """The keys with one that is known by its hash. Raises Refused for a name that is taken or none, or a hash
        that is none."""
        if not NAME.match(name) or name == PLATFORM:
            raise Refused(
                f"{name!r} cannot be the name of a key",
                remedy=f"Use 1 to 64 of letters, digits and _ . @ -; {PLATFORM} is the key of API_KEY_HASH.",
            )
        if name in self.by_name:
            raise Refused(
                f"there is a key {name} already", remedy=f"Give it a new value with: ikoma-play keys rotate {name}"
            )
        now = time.time()
        if expires is not None and expires <= now:
            raise Refused(f"the key {name} would have expired before it was made", remedy="Give a later time.")
        if not _HASH.match(digest):
            raise Refused("the hash of a key is no SHA-256: 64 hexadecimal digits", remedy="See: sha256sum")
        return self._with(Key(name, access.label, digest, now, expires, tuple(hosts), tuple(applications)))

    def rotate(self, name: str, grace: float, shown: str) -> Keys:
        """The keys with a new value, `shown`, for one; the old one stays valid for `grace` seconds."""
        key, now = self._named(name), time.time()
        return self._with(replace(key, sha256=sha256(shown), retiring=_retired(key, now, grace)))

    def retire_platform(self, old: str, grace: float = GRACE) -> Keys:
        """The keys once API_KEY_HASH is another than `old`, which stays valid for `grace` seconds more."""
        former = Key(PLATFORM, Access.ADMIN.label, old, retiring=self.platform)
        return replace(self, platform=_retired(former, time.time(), grace))

    def revoke(self, name: str, only_old: bool = False) -> Keys:
        """The keys without one, or without its former values that are still valid. Raises NotFound, and Refused for
        the platform's own, which is gone when .env has another."""
        if name == PLATFORM:
            if not only_old:
                raise Refused(
                    "the platform's own key cannot be revoked without another",
                    remedy=f"Rotate it: ikoma-play keys rotate {PLATFORM} --grace 0",
                )
            return replace(self, platform=())
        key = self._named(name)
        if only_old:
            return self._with(replace(key, retiring=()))
        return replace(self, by_name={other: each for other, each in self.by_name.items() if other != name})

    def _named(self, name: str) -> Key:
        if name not in self.by_name:
            raise NotFound(
                f"there is no key {name}", remedy=did_you_mean(name, self.by_name, "See: ikoma-play keys list")
            )
        return self.by_name[name]

    def _with(self, key: Key) -> Keys:
        return replace(self, by_name={**self.by_name, key.name: key})


def new() -> str:
    """A new key: 256 random bits, with a beginning by which scanners know it."""
    return f"ikoma_{secrets.token_urlsafe(32)}"


def sha256(presented: str) -> str:
    return hashlib.sha256(presented.encode("utf-8", "surrogatepass")).hexdigest()


def platform_hash(values: Mapping[str, str]) -> str | None:
    """API_KEY_HASH of the platform's .env, None where there is none. Raises StepError where it is no SHA-256."""
    said = values.get("API_KEY_HASH", "").strip().lower()
    if said and not _HASH.match(said):
        raise StepError(
            "API_KEY_HASH is no SHA-256: 64 hexadecimal digits",
            remedy="Make it with: echo -n \"$KEY\" | sha256sum | cut -d' ' -f1",
        )
    return said or None


def _retired(key: Key, now: float, grace: float) -> tuple[Retiring, ...]:
    old = (*key.retiring, *([Retiring(key.sha256, now + grace)] if grace > 0 else []))
    return tuple(each for each in old if now < each.until)


def _read(row: Mapping[str, Any]) -> Key:
    lists = {name: tuple(map(str, row.get(name, ()))) for name in ("hosts", "applications")}
    retiring = _retiring(row.get("retiring", ()))
    expires = row.get("expires")
    role = str(row["role"])
    if role.upper() not in Access.__members__:
        raise ValueError(f"the role of {row['name']} is {role!r}")
    return Key(
        str(row["name"]), role, _hash(row["sha256"]), float(row.get("created", 0)),
        None if expires is None else float(expires), **lists, retiring=retiring,
    )  # fmt: skip


def _retiring(rows: Iterable[Mapping[str, Any]]) -> tuple[Retiring, ...]:
    return tuple(Retiring(_hash(old["sha256"]), float(old["until"])) for old in rows)


def _hash(said: Any) -> str:
    if not isinstance(said, str) or not _HASH.match(said):
        raise ValueError("a sha256 is not 64 hexadecimal digits")
    return said
