"""What the services of a compose file are as processes of this machine, and why some cannot be."""

from __future__ import annotations

import hashlib
import json
import os
import posixpath
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct

from ..errors import Refused
from .compose_words import seconds

ANY = ("", "0.0.0.0", "::")
# What gives a container something of its own that a process of this machine cannot have.
_ONLY_CONTAINERS = {
    "volumes": "mounts volumes",
    "volumes_from": "mounts volumes",
    "devices": "is given devices",
    "secrets": "is given secrets as files",
    "configs": "is given configs as files",
    "gpus": "is given gpus",
    "provider": "comes from a provider",
    "links": "reaches other services by their names",
    "external_links": "reaches other services by their names",
}
_RESTART = {"no": "never", "": "never", "on-failure": "failure", "always": "always", "unless-stopped": "always"}
_SIGNALS = frozenset({"TERM", "HUP", "INT", "QUIT", "KILL", "USR1", "USR2"})  # those that the supervisor knows


class Check(Struct, frozen=True):
    """A health check; times in seconds, Docker's defaults."""

    argv: tuple[str, ...]
    interval: float = 30.0
    timeout: float = 30.0
    retries: int = 3
    start_period: float = 0.0

    @property
    def patience(self) -> float:
        """After so long without one good answer a service is unhealthy."""
        return self.start_period + self.interval * self.retries


class Port(Struct, frozen=True):
    """An address that the process is to listen on; `host` as written, "" for all."""

    host: str
    number: int
    protocol: str = "tcp"

    def __str__(self) -> str:
        return f"{self.host or '0.0.0.0'}:{self.number}"


class Plan(Struct, frozen=True):
    """One service as a process. `context` is the directory of its code, `folder` a directory in there to run in;
    `needs` says what other services have to be before it starts; `finishes`: others wait for its end."""

    service: str
    argv: tuple[str, ...]
    env: Mapping[str, str]
    context: str
    folder: str = ""
    check: Check | None = None
    ports: tuple[Port, ...] = ()
    needs: Mapping[str, str] | None = None
    restart: str = "never"
    stop_signal: str = "TERM"
    patience: int = 10
    finishes: bool = False

    @property
    def digest(self) -> str:
        """Another one when the definition differs; the code has a digest of its own."""
        said = {name: getattr(self, name) for name in Plan.__struct_fields__ if name not in ("context", "needs")}
        said["check"] = repr(self.check)
        said["ports"] = repr(self.ports)
        return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def plans(config: Mapping[str, Any], file: str) -> list[Plan]:
    """The services in the order in which they start.

    Raises Refused naming everything in the compose file that cannot be as local processes."""
    services: Mapping[str, Mapping[str, Any]] = config.get("services") or {}
    faults = [f"service {name} {fault}" for name, service in services.items() for fault in _faults(service)]
    faults += _shared_ports(services)
    if faults:
        raise Refused(
            f"{file} cannot run as local processes: {'; '.join(faults)}",
            remedy="Change the file so, or run it in containers (ikoma_runtime: compose).",
        )
    awaited = {
        name
        for service in services.values()
        for name, how in (service.get("depends_on") or {}).items()
        if how.get("condition") == "service_completed_successfully"
    }
    return [_plan(name, services[name], name in awaited) for name in _in_order(services)]


def base_environment() -> dict[str, str]:
    """What every process finds: our own Python before others, and nothing of the runner's secrets."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TZ", "TMPDIR", "PYTHONPATH") if name in os.environ}
    path = f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}"
    return {"LANG": "C.UTF-8", **kept, "PATH": path, "PYTHONUNBUFFERED": "1"}


# --- how ---


def _faults(service: Mapping[str, Any]) -> Iterator[str]:
    if not service.get("build"):
        yield f"runs the image {service.get('image')}; give it build: with the directory of its code, and a command"
    elif "://" in str(service["build"].get("context", "")) or not posixpath.isabs(service["build"]["context"]):
        yield f"is built from {service['build']['context']}, which is no directory here"
    elif not service.get("command") and not service.get("entrypoint"):
        yield "has no command; say in the compose file what the image's CMD says"
    for word, fault in _ONLY_CONTAINERS.items():
        if service.get(word):
            yield f"{fault} ({word})"
    if str(service.get("network_mode", "host")).startswith(("service:", "container:")):
        yield "shares another container's network (network_mode)"
    copies = (service.get("deploy") or {}).get("replicas", service.get("scale", 1))
    if copies not in (0, 1):
        yield f"has {copies} copies; one port takes one process"
    for port in service.get("ports") or ():
        published, target = str(port.get("published") or port["target"]), port["target"]
        if published != str(target):
            yield (
                f"publishes port {published} for the container's {target}; a process listens on the published port "
                f'itself: write both the same, "${{PORT}}:${{PORT}}", and let it listen on $PORT'
            )


def _shared_ports(services: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    seen: dict[tuple[int, str], str] = {}
    for name, service in services.items():
        for port in _ports(service):
            other = seen.setdefault((port.number, port.protocol), name)
            if other != name:
                yield f"services {other} and {name} both publish port {port.number}"


def _ports(service: Mapping[str, Any]) -> tuple[Port, ...]:
    return tuple(
        Port(str(port.get("host_ip", "")), int(str(port["target"])), str(port.get("protocol", "tcp")))
        for port in service.get("ports") or ()
        if str(port.get("published") or port["target"]) == str(port["target"])
    )


def _plan(name: str, service: Mapping[str, Any], finishes: bool) -> Plan:
    ports = _ports(service)
    env = {key: str(value) for key, value in (service.get("environment") or {}).items() if value is not None}
    if len(ports) == 1:
        env.setdefault("PORT", str(ports[0].number))  # an image mostly says so itself
    folder = str(service.get("working_dir") or "")
    policy = str(service.get("restart") or "no").partition(":")[0]
    signal = str(service.get("stop_signal") or "TERM").removeprefix("SIG")
    return Plan(
        service=name,
        argv=_argv([*(service.get("entrypoint") or ()), *(service.get("command") or ())]),
        env=env,
        context=str(service["build"]["context"]),
        # An absolute one is a place in the image, where the build put the code.
        folder="" if posixpath.isabs(folder) else posixpath.normpath(folder) if folder else "",
        check=_check(service.get("healthcheck")),
        ports=ports,
        needs={other: str(how.get("condition")) for other, how in (service.get("depends_on") or {}).items()},
        restart="never" if finishes else _RESTART.get(policy, "never"),
        stop_signal=signal if signal in _SIGNALS else "TERM",
        patience=max(1, round(seconds(str(service.get("stop_grace_period") or "10s")))),
        finishes=finishes,
    )


def _argv(words: list[str]) -> tuple[str, ...]:
    """`python` and `python3` are the Python that we run on, whatever it is called here."""
    return (sys.executable, *words[1:]) if words[0] in ("python", "python3") else tuple(words)


def _check(said: Mapping[str, Any] | None) -> Check | None:
    test = (said or {}).get("test")
    if not said or said.get("disable") or not test or test[0] == "NONE":
        return None
    argv = ("/bin/sh", "-c", *test[1:]) if test[0] == "CMD-SHELL" else _argv(test[1:])
    standard = Check(())
    return Check(
        argv,
        _duration(said.get("interval"), standard.interval),
        _duration(said.get("timeout"), standard.timeout),
        int(said["retries"]) if said.get("retries") is not None else standard.retries,
        _duration(said.get("start_period"), standard.start_period),
    )


def _duration(said: object, standard: float) -> float:
    return standard if said is None else seconds(str(said))


def _in_order(services: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Those that others need come first; the compose file was checked for circles."""
    order: list[str] = []

    def visit(name: str, above: tuple[str, ...]) -> None:
        if name in order or name not in services or name in above:
            return
        for other in services[name].get("depends_on") or {}:
            visit(other, (*above, name))
        order.append(name)

    for name in services:
        visit(name, ())
    return order
