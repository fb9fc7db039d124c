"""What Docker keeps on disk, and which of it nothing needs.

An image may go when no container is made from it, running or not, no recorded release names it, here or among
applications that others keep on the same engine, and it was built here (Compose's label) or has no name any more.
Others may be hard to get again, so they stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec import Struct

from ..errors import IkomaError, StepError
from ..transport.base import Transport
from . import application, release_images, releases
from .disk_use import Use
from .engine import Engine, engine

_BUILT = ("com.docker.compose.image.builder", "com.docker.compose.project")
_MOST = 10  # items told of one kind


class Image(Struct, frozen=True):
    """An image; `bytes` are those that no other image shares, `why` says why it stays, "" where it may go."""

    id: str
    names: tuple[str, ...]
    bytes: int
    why: str

    @property
    def shown(self) -> str:
        return ", ".join(self.names) or self.id.removeprefix("sha256:")[:12]


def uses(on: Transport) -> list[Use]:
    """Raises Unavailable where the engine does not answer."""
    with engine(on) as docker:
        usage = docker.usage()
        found = list(_images(on, docker, usage))
        logs = _logs(on, docker)
    spare = [image for image in found if not image.why]
    items = sorted(found, key=lambda image: image.bytes, reverse=True)[:_MOST]
    cache = usage.get("BuildCache") or ()
    cold = sum(int(entry.get("Size") or 0) for entry in cache if not entry.get("InUse") and not entry.get("Shared"))
    volumes = [
        {"name": entry["Name"], "bytes": max(0, (entry.get("UsageData") or {}).get("Size", 0))}
        for entry in usage.get("Volumes") or ()
    ]
    return [
        Use(
            "images",
            int(usage.get("LayersSize") or 0),
            sum(image.bytes for image in spare),
            "images of containers and of recorded releases stay, and those that were not built here",
            tuple({"name": one.shown, "bytes": one.bytes, "freeable": not one.why, "why": one.why} for one in items),
        ),
        Use("buildCache", sum(int(entry.get("Size") or 0) for entry in cache), cold, "a build makes it anew"),
        Use(
            "volumes",
            sum(int(str(entry["bytes"])) for entry in volumes),
            0,
            "volumes hold data and are never freed by themselves",
            tuple(volumes[:_MOST]),
        ),
        Use(
            "containerLogs",
            sum(logs.values()),
            0,
            "give services a limit: logging: {driver: json-file, options: {max-size: 10m, max-file: '3'}}",
            tuple({"name": name, "bytes": number} for name, number in sorted(logs.items(), key=lambda it: -it[1]))[
                :_MOST
            ],
        ),
    ]


def prune_images(on: Transport) -> tuple[int, list[str]]:
    """Remove the images that nothing needs: bytes freed and names. In check mode only tells."""
    with engine(on) as docker:
        spare = [image for image in _images(on, docker, docker.usage()) if not image.why]
        if on.dry:
            return sum(image.bytes for image in spare), [image.shown for image in spare]
        before, gone = docker.layers_size(), []
        for image in spare:
            if docker.remove_image(image.id, image.names):
                gone.append(image.shown)
        return max(0, before - docker.layers_size()), gone


def prune_build_cache(on: Transport) -> int:
    """Remove what builds left for the next one: bytes freed. In check mode only tells."""
    with engine(on) as docker:
        if on.dry:
            cache = docker.usage().get("BuildCache") or ()
            return sum(int(one.get("Size") or 0) for one in cache if not one.get("InUse") and not one.get("Shared"))
        return docker.prune_builds()


# --- how ---


def _images(on: Transport, docker: Engine, usage: Mapping[str, Any]) -> Iterator[Image]:
    apps = application.names(on)
    used, needed = docker.images_in_use(), _of_releases(on, apps)
    for entry in usage.get("Images") or ():
        names = tuple(name for name in entry.get("RepoTags") or () if name != "<none>:<none>")
        labels = entry.get("Labels") or {}
        own = max(0, int(entry.get("Size") or 0) - max(0, int(entry.get("SharedSize") or 0)))
        if entry["Id"] in used:
            why = f"container {used[entry['Id']]} is made from it"
        elif entry["Id"] in needed:
            why = f"a release of {needed[entry['Id']]} needs it"
        elif theirs := release_images.of_others(names, apps):
            why = f"{theirs} keeps a release of an application that is not on this host's list"
        elif names and not any(label in labels for label in _BUILT):
            why = "it was not built here"
        else:
            why = ""
        yield Image(entry["Id"], names, own, why)


def _of_releases(on: Transport, apps: Iterable[str]) -> dict[str, str]:
    """Image ids of recorded releases, with the application."""
    found: dict[str, str] = {}
    for app in apps:
        try:
            for release in releases.all_of(on, app):
                found |= dict.fromkeys(release.images.values(), app)
        except IkomaError as error:
            raise StepError(
                f"the releases of {app} cannot be read, so no image is known to be spare: {error.message}",
                remedy=error.remedy,
            ) from None
    return found


def _logs(on: Transport, docker: Engine) -> dict[str, int]:
    """Bytes of each container's log, where we may look."""
    found = {}
    for name, path in docker.log_files():
        try:
            there = on.stat(path)
        except IkomaError:
            continue
        if there is not None:
            found[name] = there.size
    return found
