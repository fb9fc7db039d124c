"""Images of releases, kept from Docker's pruning by names of their own: `ikoma/APP:RELEASE-SERVICE`.

Local processes need none of this: their image is made from the source, whose digest is its name.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from ..transport.base import Transport
from .compose_cli import project_name
from .runtime import runtime
from .settings import settings

_REPOSITORY = re.compile(r"[a-z0-9]+(?:(?:_|__|-+)[a-z0-9]+)*")
_LONGEST_TAG = 128
_KEPT = "ikoma/"


def preload(on: Transport) -> None:
    """Begin to import what the other functions need, beside whatever comes next."""
    if _in_containers(on):
        from . import engine

        engine.preload()


def keep(on: Transport, app: str, release: str, images: Mapping[str, str]) -> None:
    """Name the images, by service, as the release's."""
    if not _in_containers(on) or not images:
        return
    from .engine import engine

    with engine(on) as docker:
        for service, image in images.items():
            if docker.has_image(image):
                docker.tag(image, name(app, release, service))


def missing(on: Transport, images: Mapping[str, str]) -> list[str]:
    """The services whose image is not on the host any more."""
    if not _in_containers(on) or not images:
        return []
    from .engine import engine

    with engine(on) as docker:
        return sorted(service for service, image in images.items() if not docker.has_image(image))


def put_back(on: Transport, app: str, images: Mapping[str, str]) -> list[str]:
    """Let the names that the compose file gives its images mean these again; sentences about what that moved.

    Only for images that are all there (`missing`)."""
    if not _in_containers(on) or not images:
        return []
    from .engine import engine

    config: dict[str, Any] = runtime(on).config(app)
    notes = []
    with engine(on) as docker:
        for service, about in config["services"].items():
            said = about.get("image") or f"{config['name']}-{service}"
            image = images.get(service)
            if image is None or "@" in said or docker.image_id(said) == image or on.dry:
                continue
            shared = not about.get("build") and bool(docker.image_id(said))
            docker.tag(image, said)
            if shared:
                notes.append(f"{said} means the image of the release again, for every application of this host")
    return notes


def forget_others(on: Transport, app: str, releases: Collection[str]) -> list[str]:
    """Take the names of all other releases away; those that were taken."""
    if not _in_containers(on):
        return []
    from .engine import engine, split_name

    with engine(on) as docker:
        found = docker.tags(_repository(app))
        others = [one for one in found if not any(split_name(one)[1].startswith(id) for id in releases)]
        if not on.dry:
            for one in others:
                docker.untag(one)
    return others


def names(on: Transport, app: str) -> list[str]:
    """The names that the images of the application's releases have."""
    if not _in_containers(on):
        return []
    from .engine import engine

    with engine(on) as docker:
        return docker.tags(_repository(app))


def take_away(on: Transport, names: Collection[str]) -> None:
    """Take names of releases' images away; an image goes with its last name."""
    if not names:
        return
    from .engine import engine

    with engine(on) as docker:
        for one in names:
            docker.untag(one)


def name(app: str, release: str, service: str) -> str:
    """The name that keeps the image."""
    tag = f"{release}-{service}"
    if len(tag) > _LONGEST_TAG:
        tag = f"{release}-{hashlib.sha256(service.encode()).hexdigest()[:12]}"
    return f"{_repository(app)}:{tag}"


def of_others(names: Iterable[str], apps: Iterable[str]) -> str:
    """The first of an image's names that keeps it for a release of none of these applications, "" where none does."""
    from .engine import split_name

    ours = {_repository(app) for app in apps}
    return next((one for one in names if one.startswith(_KEPT) and split_name(one)[0] not in ours), "")


def _repository(app: str) -> str:
    project = project_name(app)
    if not _REPOSITORY.fullmatch(project):
        project = f"app-{hashlib.sha256(app.encode()).hexdigest()[:12]}"
    return f"{_KEPT}{project}"


def _in_containers(on: Transport) -> bool:
    return settings(on).runtime == "compose"
