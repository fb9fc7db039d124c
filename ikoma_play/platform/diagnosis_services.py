"""Why an application's services do not start or do not keep running."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import IkomaError, StepError
from ..transport.base import Transport
from . import compose_file
from .causes import CONTAINERS, Cause
from .health import shown
from .runtime import Runtime, Service, runtime
from .settings import settings

LOG_LINES = 15


def causes(on: Transport, app: str) -> Iterator[Cause]:
    """What keeps the services from running; what cannot be looked at because of an earlier cause is left out."""
    through = runtime(on)
    there, said = through.available()
    if not there:
        yield _engine(on, said)
    config, wrong = _configuration(on, app, through)
    yield from wrong
    if not there or config is None:
        return
    before = [*_ports(app, through), *_images(on, config, through, app)]
    yield from before
    yield from _services(app, through, bool(before))


def _engine(on: Transport, said: str) -> Cause:
    message, _, remedy = said.partition(". ")
    asked = "supervisord" if settings(on).runtime == "process" else "docker info"
    return Cause(CONTAINERS, "engine-down", message, remedy, f"{asked} on {on.host.name}: {said}", fix="fix-docker")


def _configuration(on: Transport, app: str, through: Runtime) -> tuple[dict[str, Any] | None, list[Cause]]:
    """The compose file as it is read, None with the causes where it cannot be."""
    folder = settings(on).app(app)
    try:
        files = compose_file.read(on, folder)
        missing = files.missing()
    except StepError as error:
        name = "env-missing" if ".env:" in error.message else "compose-file"
        return None, [_unreadable(on, name, error)]
    if missing:
        return None, [_missing(files, missing)]
    try:
        return dict(through.config(app)), []
    except StepError as error:
        name = "env-missing" if ".env" in error.remedy else "compose-file"
        return None, [_unreadable(on, name, error)]


def _unreadable(on: Transport, name: str, error: StepError) -> Cause:
    """A file that cannot be read as it is; the line that the error names is the evidence."""
    seen = error.evidence
    if not seen and (place := re.match(r"(/.*?):(\d+)(?::\d+)?: ", error.message)):
        lines = on.read(place[1]).decode("utf-8", "replace").splitlines()
        last = int(place[2])
        seen = "\n".join(
            f"{number:4} {lines[number - 1]}" for number in range(max(1, last - 2), min(len(lines), last) + 1)
        )
    fix = "fix-containers" if name == "env-missing" else ""
    remedy = error.remedy or "Correct that line; docker compose config shows whether the file is right."
    return Cause(CONTAINERS, name, error.message, remedy, seen or error.message, fix=fix)


def _missing(files: compose_file.ComposeFile, missing: Sequence[str]) -> Cause:
    words = ", ".join(missing)
    return Cause(
        CONTAINERS,
        "env-missing",
        f"{files.folder}/.env does not give {words}, which {files.path} needs",
        f"Give {'them' if len(missing) > 1 else 'it'}: "
        f'ikoma-play run fix-containers -e \'{{"env": {{"{missing[0]}": …}}}}\'',
        f"{files.folder}/.env gives {', '.join(sorted(files.env)) or 'nothing'}",
        fix="fix-containers",
    )


def _ports(app: str, through: Runtime) -> Iterator[Cause]:
    try:
        taken = list(through.ports(app))
    except IkomaError:
        return
    for service, port, holder in taken:
        yield Cause(
            CONTAINERS,
            "port-taken",
            f"port {port}, which service {service} publishes, is taken by {holder}",
            "Stop what has the port, or publish another one: "
            f'ikoma-play run fix-containers -e \'{{"env": {{"PORT": {port + 1}}}}}\'',
            f"port {port} is held by {holder}",
            service,
            "fix-containers",
        )


def _images(on: Transport, config: dict[str, Any], through: Runtime, app: str) -> Iterator[Cause]:
    if settings(on).runtime != "compose":
        return
    from .compose_cli import project_name
    from .engine import engine

    with engine(on) as docker:
        runs = {one.service for one in docker.containers(project_name(app)) if one.state == "running"}
        for name, service in (config.get("services") or {}).items():
            image = service.get("image", "")
            if image and not service.get("build") and name not in runs and not docker.has_image(image):
                yield Cause(
                    CONTAINERS,
                    "image-missing",
                    f"the image {image} of service {name} is not on {on.host.name}",
                    f"Correct its name, or bring it: docker pull {image} (docker login where the registry wants one, "
                    "docker load where there is none).",
                    f"docker image inspect {image}: no such image",
                    name,
                )


def _services(app: str, through: Runtime, explained: bool) -> Iterator[Cause]:
    """`explained`: why services are not there has been told already."""
    try:
        services = through.services(app)
    except IkomaError:
        return
    for service in services:
        if service.good:
            continue
        log = _log(app, service.name, through)
        if _crashes(service):
            yield _crash(service, log)
        elif service.state in ("running", "starting"):
            yield _unhealthy(service, log)
        elif not explained:
            yield Cause(
                CONTAINERS,
                "not-running",
                f"service {service.name} does not run: it is {shown(service)}",
                "Bring it up: ikoma-play run fix-containers",
                log or f"service {service.name} has no container",
                service.name,
                "fix-containers",
            )


def _crashes(service: Service) -> bool:
    """Also one that has just been started again after a crash, and is no better for it yet."""
    if service.state == "exited":
        return bool(service.exit_code)
    return service.state == "restarting" or (service.state == "starting" and service.restarts > 0)


def _crash(service: Service, log: str) -> Cause:
    again = "crashed" if service.state == "exited" else "crashes again and again"
    code = "" if service.exit_code is None else f", exit code {service.exit_code}"
    return Cause(
        CONTAINERS,
        "crash-loop",
        f"service {service.name} {again}{code}",
        f"Its last log lines say why; correct the service, its command or its .env, then: ikoma-play run "
        f"fix-containers (more lines: ikoma-play run logs -e service={service.name})",
        log or service.detail,
        service.name,
        "fix-containers",
    )


def _unhealthy(service: Service, log: str) -> Cause:
    return Cause(
        CONTAINERS,
        "unhealthy",
        f"service {service.name} runs, but is {service.health}",
        "Its health check's output says what it misses; correct that, or the healthcheck in the compose file.",
        "\n".join(filter(None, (service.detail, log))),
        service.name,
        "fix-containers",
    )


def _log(app: str, service: str, through: Runtime) -> str:
    try:
        return through.logs(app, service, LOG_LINES)
    except IkomaError:
        return ""
