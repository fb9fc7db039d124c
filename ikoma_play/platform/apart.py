"""A compose file changed so that its services run beside those that serve, without touching anything of theirs.

Nothing is published, nothing is found by a proxy's labels, on shared networks nothing has the name of a service
that serves, volumes are new, and directories of the host can only be read.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Mapping
from typing import Any
from urllib.parse import urlsplit

PREFIX = "rehearsal-"
# What a proxy beside would take for the address of something that serves.
_FOR_PROXIES = frozenset({"VIRTUAL_HOST", "VIRTUAL_PORT", "LETSENCRYPT_HOST"})
_DROPPED = ("ports", "container_name", "labels", "profiles", "external_links", "scale", "deploy")


def apart(config: Mapping[str, Any], images: Mapping[str, str], folder: str) -> dict[str, Any]:
    """The normalised compose file for running beside. `images` are ids by service, taken instead of building;
    below `folder` the services may write."""
    names = {name: PREFIX + name for name in config["services"]}
    shared = {name for name, about in (config.get("networks") or {}).items() if (about or {}).get("external")}
    services = {
        names[name]: _service(name, service, names, images.get(name, ""), shared, folder)
        for name, service in config["services"].items()
    }
    networks = {
        name: {"name": about.get("name", name), "external": True} if name in shared else {}
        for name, about in (config.get("networks") or {}).items()
    }
    rest = {word: config[word] for word in ("secrets", "configs") if config.get(word)}
    volumes: dict[str, Any] = {name: {} for name in config.get("volumes") or {}}
    return {"services": services, "networks": networks, "volumes": volumes, **rest}


def names_database(config: Mapping[str, Any], database: str) -> list[str]:
    """The variables of services, `SERVICE: NAME`, that lead to this database."""
    found = []
    for service, about in config["services"].items():
        for name, value in (about.get("environment") or {}).items():
            if leads_to(name, str(value or ""), database):
                found.append(f"{service}: {name}")
    return found


def leads_to(name: str, value: str, database: str) -> bool:
    """Whether a variable names the database, by itself or at the end of a URL."""
    if value == database:
        return any(word in name.upper() for word in ("DB", "DATABASE"))
    return "://" in value and _database_of(value) == database


def with_database(url: str, database: str) -> str:
    """The URL with another database's name."""
    return urlsplit(url)._replace(path=f"/{database}").geturl()


def _database_of(url: str) -> str:
    try:
        parts = urlsplit(url)
    except ValueError:
        return ""
    return parts.path.lstrip("/") if parts.scheme.startswith(("postgres", "jdbc")) else ""


def _service(
    name: str,
    service: Mapping[str, Any],
    names: Mapping[str, str],
    image: str,
    shared: Collection[str],
    folder: str,
) -> dict[str, Any]:
    made = {word: value for word, value in service.items() if word not in _DROPPED}
    made["restart"] = "no"  # a crash is to be seen
    if image:
        made.pop("build", None)
        made["image"] = image
    elif made.get("build"):
        made.pop("image", None)  # the name is that of the image that serves
    environment = made.get("environment")
    if environment:
        made["environment"] = {word: value for word, value in environment.items() if word not in _FOR_PROXIES}
    if made.get("networks"):
        made["networks"] = {
            network: None if network in shared else {"aliases": [name, *((about or {}).get("aliases") or ())]}
            for network, about in made["networks"].items()
        }
    if made.get("depends_on"):
        made["depends_on"] = {names.get(other, other): how for other, how in made["depends_on"].items()}
    for word in ("network_mode", "ipc", "pid"):
        kind, colon, other = str(made.get(word, "")).partition(":")
        if colon and kind == "service":
            made[word] = f"service:{names.get(other, other)}"
    for word in ("volumes_from", "links"):
        if made.get(word):
            made[word] = [_renamed(str(entry), names, alias=word == "links") for entry in made[word]]
    if made.get("volumes"):
        made["volumes"] = [_volume(entry, folder) for entry in made["volumes"]]
    return made


def _renamed(entry: str, names: Mapping[str, str], alias: bool) -> str:
    other, colon, rest = entry.partition(":")
    return f"{names.get(other, other)}:{rest or other}" if alias or colon else names.get(other, other)


def _volume(entry: Any, folder: str) -> Any:
    if not isinstance(entry, dict) or entry.get("type") != "bind":
        return entry
    source = posixpath.normpath(str(entry.get("source", "")))
    return dict(entry) if source.startswith(folder.rstrip("/") + "/") else {**entry, "read_only": True}
