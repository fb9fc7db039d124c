"""What a compose file may say, checked and brought into one form.

Follows `docker compose config --format json`: lists for commands, mappings for environment, long ports.
"""

from __future__ import annotations

import difflib
import posixpath
import re
import shlex
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .compose_words import CONDITIONS, HEALTHCHECK, SERVICE, TOP, seconds
from .compose_yaml import Document, Path, spelled

EnvValues = Callable[[str, bool, Path], dict[str, str]]

_PORT = re.compile(
    r"(?:(?P<ip>\[[0-9a-fA-F:.]+\]|\d+\.\d+\.\d+\.\d+|[0-9a-fA-F:]*::[0-9a-fA-F:]*):)?"
    r"(?:(?P<published>\d+(?:-\d+)?)?:)?(?P<target>\d+(?:-\d+)?)(?:/(?P<protocol>tcp|udp|sctp))?\Z"
)


def normalise(
    document: Document, folder: str, name: str, env: Mapping[str, str], env_values: EnvValues
) -> dict[str, Any]:
    """The interpolated document in one form. `folder` is what relative paths stand on; `env` gives the
    environment entries without a value theirs; `env_values` reads an env_file.

    Raises StepError with file and line for what makes no sense."""
    return _Reader(document, folder, name, env, env_values).project()


class _Reader:
    def __init__(
        self, document: Document, folder: str, name: str, env: Mapping[str, str], env_values: EnvValues
    ) -> None:
        self.document, self.folder, self.name, self.env, self.env_values = document, folder, name, env, env_values

    def project(self) -> dict[str, Any]:
        top = self.document.data
        if top is None or top == {}:
            raise self.document.error((), "the compose file is empty", "Say which services it has.")
        self._mapping(top, (), TOP)
        for word in ("include", "models"):
            if word in top:
                raise self.document.error((word,), f"{word} is read by Docker Compose only")
        services = top.get("services")
        self._mapping(services, ("services",))
        if not services:
            raise self.document.error(("services",), "the compose file has no services", "Say which services it has.")
        made = {key: self._service(key, value) for key, value in services.items()}
        profiles = set(self.env.get("COMPOSE_PROFILES", "").split(","))
        made = {key: value for key, value in made.items() if "*" in profiles or self._enabled(value, profiles)}
        self._check_dependencies(made)
        return {
            "name": self.name,
            "services": dict(sorted(made.items())),
            "networks": self._shared("networks", made),
            "volumes": self._shared("volumes", made),
        }

    def _service(self, key: str, raw: Any) -> dict[str, Any]:
        path: Path = ("services", key)
        if not re.fullmatch(r"[A-Za-z0-9._-]+", key):
            raise self.document.error(path, f"{key!r} cannot be a service's name", "Use letters, digits, . _ and -.")
        self._mapping(raw, path, SERVICE)
        if "extends" in raw:
            raise self.document.error((*path, "extends"), "extends is read by Docker Compose only")
        if "image" not in raw and "build" not in raw:
            raise self.document.error(path, f"service {key!r} has neither an image nor a build")
        made = {word: value for word, value in raw.items() if word not in ("env_file", "expose", "tmpfs", "profiles")}
        made["command"] = self._argv(raw.get("command"), (*path, "command"))
        made["entrypoint"] = self._argv(raw.get("entrypoint"), (*path, "entrypoint"))
        environment = self._environment(raw, path)
        made.pop("environment", None)
        if environment:
            made["environment"] = dict(sorted(environment.items()))
        readers = {
            "ports": self._ports,
            "build": self._build,
            "healthcheck": self._healthcheck,
            "depends_on": self._depends_on,
            "labels": self._pairs,
            "volumes": self._volumes,
            "stop_grace_period": self._duration,
            "init": self._boolean,
        }
        for word, reader in readers.items():
            if raw.get(word) is not None:
                made[word] = reader(raw[word], (*path, word))
        for word in ("expose", "tmpfs", "profiles"):
            if raw.get(word) is not None:
                value = raw[word]
                made[word] = [_text(item) for item in (value if isinstance(value, list) else [value])]
        for word in ("working_dir", "user", "restart", "image", "stop_signal", "hostname", "container_name"):
            if raw.get(word) is not None and not isinstance(raw[word], str):
                raise self.document.error((*path, word), f"{spelled((*path, word))} must be text; put it in quotes")
        if "network_mode" not in raw:
            made["networks"] = self._networks(raw.get("networks"), (*path, "networks"))
        return made

    @staticmethod
    def _enabled(service: Mapping[str, Any], profiles: set[str]) -> bool:
        return not service.get("profiles") or bool(profiles & set(service["profiles"]))

    # --- parts of a service ---

    def _argv(self, value: Any, path: Path) -> list[str] | None:
        if value is None:
            return None
        if isinstance(value, str):
            try:
                return shlex.split(value)
            except ValueError as error:
                raise self.document.error(path, f"{spelled(path)} cannot be split into words: {error}") from None
        if isinstance(value, list) and not any(isinstance(item, list | dict) or item is None for item in value):
            return [_text(item) for item in value]
        raise self.document.error(path, f"{spelled(path)} must be text or a list of texts")

    def _environment(self, raw: Mapping[str, Any], path: Path) -> dict[str, str | None]:
        made: dict[str, str | None] = {}
        files = raw.get("env_file")
        for at, entry in enumerate([] if files is None else files if isinstance(files, list) else [files]):
            where = (*path, "env_file", at) if isinstance(files, list) else (*path, "env_file")
            required = True
            if isinstance(entry, dict):
                required = self._boolean(entry.get("required", True), where)
                entry = entry.get("path")
            if not isinstance(entry, str):
                raise self.document.error(where, f"{spelled(where)} must be a path")
            made.update(self.env_values(self._path(entry), required, where))
        own = self._pairs(raw.get("environment") or {}, (*path, "environment"), bare=None)
        made.update({name: self.env.get(name) if value is None else value for name, value in own.items()})
        return made

    def _pairs(self, value: Any, path: Path, bare: str | None = "") -> dict[str, str | None]:
        """A mapping, or a list of NAME=value; a name alone gets `bare`."""
        if isinstance(value, dict):
            for name, item in value.items():
                if isinstance(item, list | dict):
                    raise self.document.error((*path, name), f"{spelled((*path, name))} must be text or a number")
            return {name: bare if item is None else _text(item) for name, item in value.items()}
        if isinstance(value, list):
            made: dict[str, str | None] = {}
            for at, item in enumerate(value):
                if not isinstance(item, str):
                    raise self.document.error((*path, at), f"{spelled((*path, at))} must be NAME=value")
                name, equals, text = item.partition("=")
                made[name] = text if equals else bare
            return made
        raise self.document.error(path, f"{spelled(path)} must be a mapping or a list of NAME=value")

    def _ports(self, value: Any, path: Path) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise self.document.error(path, f"{spelled(path)} must be a list")
        return [port for at, item in enumerate(value) for port in self._port(item, (*path, at))]

    def _port(self, item: Any, path: Path) -> Iterator[dict[str, Any]]:
        if isinstance(item, dict):
            target = self._integer(item.get("target"), (*path, "target"))
            made = {"mode": item.get("mode", "ingress")}
            if "host_ip" in item:
                made["host_ip"] = _text(item["host_ip"])
            made["target"] = target
            if item.get("published") not in (None, ""):
                made["published"] = _text(item["published"])
            yield made | {"protocol": item.get("protocol", "tcp")}
            return
        found = _PORT.match(_text(item)) if isinstance(item, str | int) and not isinstance(item, bool) else None
        if found is None:
            raise self.document.error(
                path,
                f"{self.document.shown(path)} is no port",
                "Write CONTAINER, HOST:CONTAINER or ADDRESS:HOST:CONTAINER.",
            )
        targets = _range(found["target"])
        published = _range(found["published"]) if found["published"] else [None] * len(targets)
        if max(targets) > 65535 or any(number is not None and number > 65535 for number in published):
            raise self.document.error(path, f"{self.document.shown(path)} is no port: the highest is 65535")
        if len(targets) != len(published):
            if len(targets) != 1:
                raise self.document.error(
                    path, f"{self.document.shown(path)}: both ranges of ports must be of one length"
                )
            yield self._mapped(found, targets[0], found["published"])
            return
        for inside, outside in zip(targets, published, strict=True):
            yield self._mapped(found, inside, None if outside is None else str(outside))

    @staticmethod
    def _mapped(found: re.Match[str], target: int, published: str | None) -> dict[str, Any]:
        made: dict[str, Any] = {"mode": "ingress"}
        if found["ip"]:
            made["host_ip"] = found["ip"].strip("[]")
        made["target"] = target
        if published is not None:
            made["published"] = published
        return made | {"protocol": found["protocol"] or "tcp"}

    def _build(self, value: Any, path: Path) -> dict[str, Any]:
        made = {"context": value} if isinstance(value, str) else dict(value) if isinstance(value, dict) else None
        if made is None:
            raise self.document.error(path, f"{spelled(path)} must be a path or a mapping")
        made["context"] = self._path(_text(made.get("context", ".")))
        if "args" in made:
            made["args"] = self._pairs(made["args"] or {}, (*path, "args"), bare=None)
        return made if "dockerfile_inline" in made else made | {"dockerfile": made.get("dockerfile", "Dockerfile")}

    def _healthcheck(self, value: Any, path: Path) -> dict[str, Any]:
        self._mapping(value, path, HEALTHCHECK)
        made = dict(value)
        test = value.get("test")
        if self._boolean(value.get("disable", False), (*path, "disable")) or test in (["NONE"], "NONE"):
            return {"disable": True}
        if isinstance(test, str):
            made["test"] = ["CMD-SHELL", test]
        elif test is not None:
            words = self._argv(test, (*path, "test")) or []
            if not words or words[0] not in ("CMD", "CMD-SHELL") or len(words) < 2:
                raise self.document.error(
                    (*path, "test"),
                    f"{spelled((*path, 'test'))} must be text, or a list that starts with CMD or CMD-SHELL",
                )
            made["test"] = words
        for word in ("interval", "timeout", "start_period", "start_interval"):
            if made.get(word) is not None:
                made[word] = self._duration(made[word], (*path, word))
        if made.get("retries") is not None:
            made["retries"] = self._integer(made["retries"], (*path, "retries"))
        return made

    def _depends_on(self, value: Any, path: Path) -> dict[str, Any]:
        if isinstance(value, list):
            return {_text(item): {"condition": "service_started", "required": True} for item in value}
        self._mapping(value, path)
        made = {}
        for name, item in value.items():
            self._mapping(item, (*path, name))
            condition = item.get("condition", "service_started")
            if condition not in CONDITIONS:
                raise self.document.error(
                    (*path, name),
                    f"{spelled((*path, name))}: there is no such condition",
                    f"Use one of: {', '.join(CONDITIONS)}.",
                )
            made[name] = {"condition": condition, "required": item.get("required", True)} | {
                word: extra for word, extra in item.items() if word not in ("condition", "required")
            }
        return made

    def _volumes(self, value: Any, path: Path) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise self.document.error(path, f"{spelled(path)} must be a list")
        made = []
        for at, item in enumerate(value):
            if isinstance(item, dict):
                volume = dict(item)
                if volume.get("type") == "bind" and isinstance(volume.get("source"), str):
                    volume["source"] = self._path(volume["source"])
                made.append(volume)
                continue
            if not isinstance(item, str) or not item:
                raise self.document.error(
                    (*path, at), f"{self.document.shown((*path, at))} is no volume", "Write SOURCE:TARGET[:ro]."
                )
            source, colon, target = item.partition(":")
            if not colon:
                made.append({"type": "volume", "target": source, "volume": {}})
                continue
            target, _, options = target.partition(":")
            kind = "bind" if source.startswith((".", "/", "~")) else "volume"
            volume = {"type": kind, "source": self._path(source) if kind == "bind" else source, "target": target}
            if "ro" in options.split(","):
                volume["read_only"] = True
            made.append(volume | {kind: {}})
        return made

    def _networks(self, value: Any, path: Path) -> dict[str, Any]:
        if value is None:
            return {"default": None}
        if isinstance(value, list):
            return {_text(item): None for item in value}
        self._mapping(value, path)
        return dict(value) or {"default": None}

    # --- the project's own parts ---

    def _shared(self, word: str, services: Mapping[str, Any]) -> dict[str, Any]:
        declared = self.document.data.get(word) or {}
        self._mapping(declared, (word,))
        made = {}
        for key, item in declared.items():
            self._mapping(item or {}, (word, key))
            entry = dict(item or {})
            external = self._boolean(entry.get("external", False), (word, key, "external"))
            made[key] = entry | {"name": entry.get("name") or (key if external else f"{self.name}_{key}")}
            if external:
                made[key]["external"] = True
        used = {name for service in services.values() for name in self._used(word, service)}
        if word == "networks" and "default" in used and "default" not in made:
            made["default"] = {"name": f"{self.name}_default"}
        for name in sorted(used - made.keys()):
            raise self.document.error(
                ("services",), f"the {word[:-1]} {name!r} is used but not declared", f"Declare it under {word}:."
            )
        return dict(sorted(made.items()))

    @staticmethod
    def _used(word: str, service: Mapping[str, Any]) -> list[str]:
        if word == "networks":
            return list(service.get("networks") or ())
        return [
            volume["source"]
            for volume in service.get("volumes", ())
            if volume.get("type") == "volume" and volume.get("source")
        ]

    def _check_dependencies(self, services: Mapping[str, Any]) -> None:
        for key, service in services.items():
            for name, how in service.get("depends_on", {}).items():
                if name not in services and how["required"]:
                    raise self.document.error(
                        ("services", key, "depends_on"), f"service {key!r} depends on {name!r}, which does not exist"
                    )
        done: set[str] = set()

        def visit(key: str, above: tuple[str, ...]) -> None:
            if key in above:
                circle = " → ".join((*above[above.index(key) :], key))
                raise self.document.error(("services", key, "depends_on"), f"services depend on each other: {circle}")
            if key in done or key not in services:
                return
            for name in services[key].get("depends_on", {}):
                visit(name, (*above, key))
            done.add(key)

        for key in services:
            visit(key, ())

    # --- scalars ---

    def _mapping(self, value: Any, path: Path, known: frozenset[str] | None = None) -> None:
        if not isinstance(value, dict):
            raise self.document.error(path, f"{spelled(path) or 'the compose file'} must be a mapping")
        for key in value:
            if known is None or key in known or key.startswith("x-"):
                continue
            near = difflib.get_close_matches(key, known, 1)
            raise self.document.error(
                (*path, key),
                f"{spelled((*path, key))}: there is no such key",
                f"Did you mean {near[0]}?" if near else "",
            )

    def _path(self, path: str) -> str:
        return path if path.startswith("~") else posixpath.normpath(posixpath.join(self.folder, path))

    def _integer(self, value: Any, path: Path) -> int:
        try:
            return int(_text(value))
        except ValueError:
            raise self.document.error(
                path, f"{spelled(path)} must be a whole number, not {self.document.shown(path)}"
            ) from None

    def _boolean(self, value: Any, path: Path) -> bool:
        if _text(value).lower() not in ("true", "false"):
            raise self.document.error(path, f"{spelled(path)} must be true or false, not {self.document.shown(path)}")
        return _text(value).lower() == "true"

    def _duration(self, value: Any, path: Path) -> str:
        try:
            seconds(_text(value))
        except ValueError:
            raise self.document.error(
                path, f"{spelled(path)}: {self.document.shown(path)} is no duration", "Write 500ms, 10s or 1m30s."
            ) from None
        return _text(value)


def _text(value: Any) -> str:
    """A scalar as Docker Compose writes it."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e16:
        return str(int(value))
    return "" if value is None else str(value)


def _range(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1)) or [0]
