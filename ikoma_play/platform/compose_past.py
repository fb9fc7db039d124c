"""The containers of an application as they were: remembered before something changes them, and brought back."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import StepError
from ..tool import Record
from ..transport.base import Transport
from . import compose_file, kept
from .compose_cli import ComposeCli, project_name
from .compose_restore import Restore
from .engine import Container, Engine, engine
from .runtime import runtime
from .settings import settings

_UNKNOWN: dict[str, Any] = {
    "health": "none",
    "image_name": "",
    "exit_code": 0,
    "restarts": 0,
    "ports": (),
    "labels": {},
}


def remember(on: Transport, app: str, at: str, files: Sequence[str]) -> dict[str, Any]:
    """What runs, by ids, and what there is of networks, volumes, images and directories that a start may make;
    further files of the application are kept."""
    record = kept.keep(on, app, at, files)
    project = project_name(app)
    try:
        config: Mapping[str, Any] = runtime(on).config(app)
    except StepError:  # the tool says so itself, before it changes anything
        config = {}
    with engine(on) as docker:
        return {
            **record,
            "containers": [_noted(container) for container in docker.containers(project)],
            "networks": sorted(docker.networks(project)),
            "volumes": docker.volumes(project),
            "absent_networks": [name for name in _foreign_networks(config) if not docker.has_network(name)],
            "images": {name: docker.image_id(name) for name in _built(config)},
            "absent_folders": [path for path in _mounted(config, settings(on).app(app)) if not on.exists(path)],
        }


def stop_newer(on: Transport, record: Record) -> str:
    """Remove the containers that took the place of what ran; a sentence about it, "" where nothing did."""
    before = {noted["id"] for noted in record["containers"]}
    with engine(on) as docker:
        newer = [one for one in docker.containers(project_name(str(record["app"]))) if one.id not in before]
        for container in newer:
            docker.remove_container(container.id)
    return f"{', '.join(sorted({container.service for container in newer}))} stopped" if newer else ""


def bring_back(on: Transport, record: Record, timeout: float, late: bool) -> str:
    """What ran before runs again, and nothing else of the application does; a sentence about it. `late`: what lies
    in volumes and mounted directories that were made since stays.

    Raises StepError where what ran does not come back."""
    app = str(record["app"])
    folder = settings(on).app(app)
    kept.put_back(on, record)
    before = [Container(**noted, **_UNKNOWN) for noted in record["containers"]]
    cli = _cli(on, app, folder)
    with engine(on) as docker:
        restore = Restore(cli, docker, folder, before, set(record["networks"]))
        restore.made_networks = list(record["absent_networks"])
        said = restore.go_back(timeout)
        for name, image in record["images"].items():
            _mean_again(docker, name, image)
        made = [name for name in docker.volumes(cli.project) if name not in record["volumes"]]
        for name in () if late else made:
            docker.remove_volume(name)
    made += [path for path in record["absent_folders"] if on.exists(path)]
    if late and made:
        return f"{said} What was written since stays in {', '.join(made)}."
    for path in record["absent_folders"]:
        on.remove(path)
    return said


def _noted(container: Container) -> dict[str, Any]:
    names = ("id", "name", "service", "state", "image", "started_at")
    return {name: getattr(container, name) for name in names}


def _foreign_networks(config: Mapping[str, Any]) -> Iterator[str]:
    for network in (config.get("networks") or {}).values():
        if network.get("external"):
            yield network.get("name", "")


def _built(config: Mapping[str, Any]) -> Iterator[str]:
    """The names of the images that a start builds."""
    for name, service in (config.get("services") or {}).items():
        if service.get("build"):
            yield service.get("image") or f"{config['name']}-{name}"


def _mounted(config: Mapping[str, Any], folder: str) -> Iterator[str]:
    """Directories of the application that Docker would make for mounts."""
    for service in (config.get("services") or {}).values():
        for volume in service.get("volumes") or ():
            source = posixpath.normpath(str(volume.get("source", ""))) if isinstance(volume, Mapping) else ""
            if source.startswith(folder.rstrip("/") + "/") and volume.get("type") == "bind":
                yield source


def _cli(on: Transport, app: str, folder: str) -> ComposeCli:
    try:
        files = compose_file.read(on, folder)
        names = {*files.env, *compose_file.required_variables(files.text, files.path)}
    except StepError:
        return ComposeCli(on, app, "/")
    return ComposeCli(on, app, folder, names)


def _mean_again(docker: Engine, name: str, image: str) -> None:
    """Let a name mean the image of before, or nothing."""
    if docker.image_id(name) == image:
        return
    if image and docker.has_image(image):
        docker.tag(image, name)
    elif not image:
        docker.untag(name)
