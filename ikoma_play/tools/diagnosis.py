"""Troubles: their causes with evidence, what uses the disk, and space given back."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta
from msgspec.structs import asdict

from ..arguments import AppName
from ..model import Access, Outcome, changed, ok
from ..platform import diagnosis, disk, disk_use, freeing, postgres
from ..tool import Scope, tool
from ..transport.base import Transport
from .apps import guard

Kind = Literal["backups", "images", "buildCache", "leftovers"]
AtLeastOne = Annotated[int, Meta(ge=1, description="a whole number from 1 up")]


@tool("apps.diagnose", access=Access.OBSERVER, changes=False)
def diagnose(on: Transport, app_name: AppName, *, scope: Scope | None = None) -> Outcome:
    """Tell why the application does not run or does not reach its database, each cause with its evidence.

    The cause to mend first comes first; `fix` names the playbook that mends it, where one does. Nothing is changed.

    app_name: the application
    """
    guard(on, app_name, scope)
    if scope is not None:
        scope.keep_secret(postgres.known_password(on))
    causes = [
        {"problem": cause.problem, "cause": cause.name, "service": cause.service, "message": cause.message,
         "remedy": cause.remedy, "evidence": cause.evidence, "fix": cause.fix}
        for cause in diagnosis.diagnose(on, app_name)
    ]  # fmt: skip
    summary = causes[0]["message"] if causes else f"nothing is wrong with {app_name}"
    more = f" (and {len(causes) - 1} more)" if len(causes) > 1 else ""
    return ok({"healthy": not causes, "causes": causes, "summary": summary}, summary + more)


@tool("platform.disk", access=Access.OBSERVER, changes=False)
def show_disk(on: Transport) -> Outcome:
    """Tell what uses the disks, and how much of it could be freed without losing anything that is needed.

    Sizes are bytes. platform.prune frees what `freeable` counts.
    """
    disks, uses = disk.filesystems(on), disk.uses(on)
    freeable = sum(use.freeable for use in uses)
    full = [one for one in disks if one.full]
    result = {
        "full": bool(full),
        "filesystems": [{**asdict(one), "holds": list(one.holds), "full": one.full} for one in disks],
        "uses": [{**asdict(use), "items": list(use.items)} for use in uses],
        "freeable": freeable,
    }
    said = "; ".join(one.said for one in full or disks)
    return ok(result, f"{said}; {disk_use.size(freeable)} can be freed")


@tool("platform.prune", access=Access.ADMIN, changes=True, lasting="what it deleted is gone")
def prune(on: Transport, what: list[Kind] | None = None, keep_backups: AtLeastOne = 3) -> Outcome:
    """Free disk space: old backups, images that nothing needs, build cache, half-written dumps.

    An image that a container was made from or a recorded release names stays, and so does one that was not built
    here. Of each application the newest backups stay, the last one whose checksum is right, and those that its
    releases name.

    what: backups, images, buildCache, leftovers; default all
    keep_backups: how many backups of each application stay at least
    """
    freed = freeing.free(on, what or freeing.KINDS, keep_backups)
    total = sum(one.bytes for one in freed)
    gone = any(one.bytes or one.names for one in freed)
    told = ", ".join(f"{one.kind} {disk_use.size(one.bytes)}" for one in freed if one.bytes or one.names)
    verb = "would be freed" if on.dry else "freed"
    message = f"{disk_use.size(total)} {verb}: {told}" if gone else "there was nothing to free"
    result: dict[str, Any] = {
        "success": True,
        "message": message,
        "bytesFreed": total,
        "freed": {one.kind: {"bytes": one.bytes, "removed": list(one.names)} for one in freed},
    }
    return changed(result, message) if gone else ok(result, message)
