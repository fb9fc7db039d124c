"""The server's keys, and what its audit log has to say."""

from __future__ import annotations

import os
import posixpath
import time
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from ..audit import reading, verifying
from ..audit.entries import ERROR, HEAD_LOST, RECOVERED, timestamp
from ..errors import AuditError, Refused, StepError, Unavailable
from ..model import Access, Outcome, changed, ok
from ..platform import api_keys, envfile
from ..platform.api_keys import Keys
from ..platform.key_file import lock_of, swapped
from ..platform.settings import Settings, settings
from ..tool import Scope, tool
from ..transport.base import Transport
from ..transport.faults import demand_replaceable

PATIENCE = 100  # times that a file is read again which somebody else has changed meanwhile
NEWEST = 20  # failures that are listed
Role = Literal["observer", "operator", "builder", "admin"]
SUSPICIOUS = 3  # failed attempts to log in, from one address


@tool(
    "keys.create",
    access=Access.ADMIN,
    changes=True,
    lasting="a key that may be in use already stays valid; keys.revoke ends it",
)
def create(
    on: Transport,
    name: str,
    save_to: str | None = None,
    role: Role = "admin",
    sha256: str | None = None,
    *,
    scope: Scope | None = None,
) -> Outcome:
    """Make a key of the server where there is none of this name; it is written to a file of its own, and nowhere else.

    The file is there before the key counts: a run that is cut off in between makes another one the next time.

    name: the key; `platform` is that of API_KEY_HASH in the platform's .env
    save_to: the file on the host that takes the key, for its owner only
    role: what it may do; the platform's own may do everything
    sha256: the hash of a key that somebody has already; then there is nothing to write down
    """
    found = settings(on)
    if _known(on, found, name):
        return ok({"name": name, "savedTo": None}, f"there is a key {name} already")
    if (save_to is None) == (sha256 is None):
        raise Refused("a key needs saveTo, or the sha256 of one that is there", remedy="Give one of them.")
    shown = api_keys.new()
    if scope is not None:
        scope.keep_secret(shown)
    digest = sha256 or api_keys.sha256(shown)
    api_keys.platform_hash({"API_KEY_HASH": digest})  # raises where it is no hash
    if name != api_keys.PLATFORM:
        Keys().add(name, Access[role.upper()], digest)  # raises where it cannot be a name
    if save_to is not None:
        _demand_place(on, save_to)
        if not on.dry:
            on.write(save_to, f"{shown}\n".encode(), envfile.MODE)
    if name == api_keys.PLATFORM:
        _name_platform(on, found, digest)
    else:
        _change(on, found, lambda keys: keys.add(name, Access[role.upper()], digest))
    said = f"the key {name} is in {save_to}" if save_to else f"the key {name} counts"
    return changed({"name": name, "savedTo": save_to}, said)


@tool(
    "keys.rotate",
    access=Access.ADMIN,
    changes=True,
    lasting="the former key stays valid for its grace period, then it is over",
)
def rotate(
    on: Transport, name: str, save_to: str, grace: float = api_keys.GRACE, *, scope: Scope | None = None
) -> Outcome:
    """Give a key of the server a new value, written to a file of its own; the old one stays valid for a while.

    The new value counts before it is in the file, so that whoever reads it there has a key that opens; whoever has
    the old one is let in until the grace period is over, also where a rotation that was cut off is made again. It is
    written beside the file first: where it cannot be kept, nothing is changed.

    name: the key; `platform` is that of API_KEY_HASH in the platform's .env
    save_to: the file on the host that takes the new key, for its owner only
    grace: seconds for which the old one stays valid
    """
    found = settings(on)
    shown = api_keys.new()
    if scope is not None:
        scope.keep_secret(shown)
    result = {"name": name, "savedTo": save_to, "oldValidUntil": timestamp(time.time() + max(grace, 0.0))}
    _demand_place(on, save_to)
    beside = f"{save_to}.new"
    if not on.dry:
        on.write(beside, f"{shown}\n".encode(), envfile.MODE)
    try:
        if name == api_keys.PLATFORM:
            _rotate_platform(on, found, shown, grace)
        else:
            _change(on, found, lambda keys: keys.rotate(name, grace, shown))
    except BaseException:
        on.remove(beside)
        raise
    if not on.dry:
        on.rename(beside, save_to)
    return changed(result, f"the new key is in {save_to}, and counts")


@tool("keys.revoke", access=Access.ADMIN, changes=True, lasting="a revoked key stays revoked")
def revoke(on: Transport, name: str, only_old: bool = False) -> Outcome:
    """Make a key of the server invalid at once.

    name: the key
    only_old: only the values that were rotated away; the new one stays
    """
    found = settings(on)

    def without(keys: Keys) -> Keys:
        known = name in keys.by_name or name == api_keys.PLATFORM
        return keys.revoke(name, only_old) if known else keys

    if not _change(on, found, without):
        return ok({"name": name}, "nothing of such a key was valid")
    return changed({"name": name}, "the former values are revoked" if only_old else "the key is revoked")


@tool("audit.review", access=Access.ADMIN, changes=False)
def review(on: Transport, days: float = 90.0, log: str | None = None, key_file: str | None = None) -> Outcome:
    """Tell what the audit log has of the last days: failures, callers, applications, and whether it is whole.

    Unusual are callers that the log did not know before, addresses with several failed attempts to log in, and
    whatever happened to the log itself.

    days: how far to look back
    log: the log, a file of the runner; default AUDIT_LOG, else that of the host
    key_file: the key that the log is chained with, a file of the runner
    """
    path = Path(log or os.environ.get("AUDIT_LOG") or settings(on).audit_log)
    try:
        key = Path(key_file).read_bytes().strip() if key_file else b""
    except OSError as error:
        raise StepError(f"{key_file} cannot be read: {error.strerror}", remedy="Name the chain's key file.") from None
    try:
        entries = reading.newest(path, reading.Wanted(), None)
        verified = verifying.verify(path, key)
    except AuditError as error:
        raise StepError(error.message, remedy=error.remedy) from None
    since = timestamp(time.time() - days * 86400)
    recent = [entry for entry in entries if entry["timestamp"] >= since]
    before = {entry["key"] for entry in entries if entry["timestamp"] < since}
    failures = [entry for entry in recent if entry["result"] == ERROR]
    result: dict[str, Any] = {
        "log": str(path),
        "whole": not verified.findings,
        "findings": [str(finding) for finding in verified.findings],
        "known": f"{verified.number}:{verified.hash}",
        "since": since,
        "calls": len(recent),
        "failed": len(failures),
        "failures": [_shown(entry) for entry in failures[-NEWEST:]],
        "byApplication": _counted(recent, lambda entry: str(entry["arguments"].get("appName") or "")),
        "byCaller": _counted(recent, lambda entry: str(entry["key"] or "")),
        "unusual": _unusual(recent, before, [str(finding) for finding in verified.findings]),
    }
    return ok(result, f"{len(recent)} calls, {len(failures)} failed, {len(result['unusual'])} things to look at")


def _unusual(recent: Sequence[dict[str, Any]], before: set[Any], findings: Sequence[str]) -> list[str]:
    told = [f"the log is not as it was written: {finding}" for finding in findings]
    if before:
        fresh = sorted({str(entry["key"]) for entry in recent if entry["key"] and entry["key"] not in before})
        told += [f"the caller {key} was never seen before" for key in fresh]
    failed = Counter(entry["arguments"].get("address") for entry in recent if entry["capability"] == "authentication")
    told += [
        f"{times} failed attempts to log in from {where}" for where, times in failed.items() if times >= SUSPICIOUS
    ]
    marks = (RECOVERED, HEAD_LOST)
    told += [f"{entry['timestamp']}: {entry['error']}" for entry in recent if entry["capability"] in marks]
    return told


def _counted(entries: Sequence[dict[str, Any]], name: Any) -> dict[str, dict[str, int]]:
    """Calls and failures by a name that entries have; those without are left out."""
    found: dict[str, dict[str, int]] = {}
    for entry in entries:
        if of := name(entry):
            count = found.setdefault(of, {"calls": 0, "failed": 0})
            count["calls"] += 1
            count["failed"] += entry["result"] == ERROR
    return dict(sorted(found.items()))


def _shown(entry: dict[str, Any]) -> dict[str, Any]:
    names = ("timestamp", "capability", "host", "key", "error", "requestId")
    return {**{name: entry.get(name) for name in names}, "appName": entry["arguments"].get("appName")}


def _demand_place(on: Transport, path: str) -> None:
    """Raises StepError where a key's file cannot be written, before anything is changed."""
    folder = posixpath.dirname(path)
    if (not path.startswith("/") and not on.local) or (on.stat(folder or ".", follow=True) is None and not on.dry):
        raise Refused(f"there is no directory {folder} for the new key", remedy="Name a file in one that is there.")
    demand_replaceable(path, on.stat(path))


def _file(on: Transport, found: Settings) -> str:
    """The file of keys: API_KEYS_FILE of the platform's .env, else of the environment, else beside that .env."""
    there = on.stat(found.env_file, follow=True) is not None
    named = envfile.read(on, found.env_file).values.get("API_KEYS_FILE") if there else None
    if not named and on.local:
        named = os.environ.get("API_KEYS_FILE")
    return named or posixpath.join(posixpath.dirname(found.env_file), api_keys.FILE)


def _change(on: Transport, found: Settings, make: Callable[[Keys], Keys]) -> bool:
    """Put what `make` makes of the keys in their place; False where that is what they were."""
    path = _file(on, found)
    for _ in range(PATIENCE):
        before = on.read(path) if on.stat(path, follow=True) is not None else None
        keys = Keys.parse((before or b"").decode("utf-8", "replace"), path)
        made = make(keys)
        if made == keys or on.dry or swapped(on, lock_of(path), path, before, made.text.encode()):
            return made != keys
    raise Unavailable(f"{path} is changed by others all the time", remedy="Try again.")


def _known(on: Transport, found: Settings, name: str) -> bool:
    """Whether there is a key of this name."""
    if name == api_keys.PLATFORM:
        return api_keys.platform_hash(envfile.read(on, found.env_file).values) is not None
    path = _file(on, found)
    there = on.stat(path, follow=True) is not None
    return there and name in Keys.parse(on.read(path).decode("utf-8", "replace"), path).by_name


def _name_platform(on: Transport, found: Settings, digest: str) -> None:
    """The platform's own key where .env has none. Raises Refused where somebody else has named one meanwhile."""
    for _ in range(PATIENCE):
        before = on.read(found.env_file) if on.stat(found.env_file, follow=True) is not None else None
        env = envfile.EnvFile((before or b"").decode("utf-8", "replace"), found.env_file)
        if api_keys.platform_hash(env.values) is not None:
            raise Refused(f"somebody else has put a key into {found.env_file} meanwhile", remedy="Use that one.")
        env.merge({"API_KEY_HASH": digest})
        if on.dry or swapped(on, lock_of(_file(on, found)), found.env_file, before, env.text.encode()):
            return
    raise Unavailable(f"{found.env_file} is changed by others all the time", remedy="Try again.")


def _rotate_platform(on: Transport, found: Settings, shown: str, grace: float) -> None:
    """The platform's own key changes in .env, once the old one is known to stay valid."""
    for _ in range(PATIENCE):
        before = on.read(found.env_file) if on.stat(found.env_file, follow=True) is not None else b""
        env = envfile.EnvFile(before.decode("utf-8", "replace"), found.env_file)
        old = api_keys.platform_hash(env.values)
        if old is None:
            raise Refused(
                f"{found.env_file} has no API_KEY_HASH",
                remedy="Make a key first: ikoma-play exec keys.create name=platform saveTo=FILE",
            )
        _change(on, found, partial(Keys.retire_platform, old=old, grace=grace))
        env.merge({"API_KEY_HASH": api_keys.sha256(shown)})
        if on.dry or swapped(on, lock_of(_file(on, found)), found.env_file, before, env.text.encode()):
            return
    raise Unavailable(f"{found.env_file} is changed by others all the time", remedy="Try again.")
