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


def remember(on: Transport, app: str, at: str, files: Sequence[str], starts: bool = True) -> dict[str, Any]:
    """What runs, by ids, and what there is of networks, volumes, images and directories that a start may make, where
    one `starts`; further files of the application are kept."""
    record = kept.keep(on, app, at, files)
    project = project_name(app)
    try:
        config: Mapping[str, Any] = runtime(on).config(app) if starts else {}
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


def stop_newer(on: Transport, record: Record, late: bool) -> str:
    """Remove what took the place of what ran, and what was made for it; a sentence about it, "" where there was
    nothing. `late`: what lies in volumes and mounted directories that were made since stays."""
    before = {noted["id"] for noted in record["containers"]}
    project = project_name(str(record["app"]))
    with engine(on) as docker:
        newer = [one for one in docker.containers(project) if one.id not in before]
        for container in newer:
            docker.remove_container(container.id)
        for network in docker.networks(project) - set(record["networks"]):
            docker.remove_network(network)
        for name in record["absent_networks"]:
            docker.remove_network(name)
        for name, image in record["images"].items():
            _mean_again(docker, name, image)
        made = [name for name in docker.volumes(project) if name not in record["volumes"]]
        for name in () if late else made:
            docker.remove_volume(name)
    made += [path for path in record["absent_folders"] if on.exists(path)]
    for path in () if late else record["absent_folders"]:
        on.remove(path)
    kept.put_back(on, record)
    said = f"{', '.join(sorted({container.service for container in newer}))} stopped" if newer else ""
    return f"{said}; what was written since stays in {', '.join(made)}" if late and made else said


def bring_back(on: Transport, record: Record, timeout: float) -> str:
    """What ran before runs again; a sentence about it. Raises StepError where it does not come back."""
    app = str(record["app"])
    folder = settings(on).app(app)
    before = [Container(**noted, **_UNKNOWN) for noted in record["containers"]]
    if not any(container.state == "running" for container in before):
        return "nothing of it runs, as before"
    with engine(on) as docker:
        return Restore(_cli(on, app, folder), docker, folder, before, set(record["networks"])).go_back(timeout)


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
