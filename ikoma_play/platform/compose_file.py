"""Compose files read without Docker: found, parsed, interpolated and normalised.

The result has the shape that `docker compose config --format json` prints, for the part of the format
that services of the process runtime can use; what only Docker can do is passed through as written.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from ..errors import NotFound, StepError
from ..transport.base import Transport
from . import compose_yaml, envfile
from .compose_yaml import Document, Path
from .interpolation import MissingVariable, interpolate, references

# In the order Docker Compose prefers them.
NAMES = ("compose.yaml", "compose.yml", "docker-compose.yml", "docker-compose.yaml")
# Docker Compose gives these to every file, whatever `.env` says.
_GIVEN = frozenset({"COMPOSE_PROJECT_NAME"})
# The surroundings' own variables, which nobody writes into `.env`.
SURROUNDINGS = frozenset({"HOME", "HOSTNAME", "LOGNAME", "PATH", "PWD", "SHELL", "TMPDIR", "UID", "USER"})


class ComposeFile(Struct, frozen=True):
    """A compose file as it lies on a host, with the `.env` beside it."""

    path: str
    text: str
    env: Mapping[str, str]

    @property
    def folder(self) -> str:
        return posixpath.dirname(self.path)

    def missing(self) -> list[str]:
        """The variables without a default that `.env` does not give."""
        return [
            name
            for name, default in required_variables(self.text, self.path).items()
            if default is None and name not in self.env and name not in SURROUNDINGS
        ]


def find(on: Transport, folder: str) -> str:
    """The path of the folder's compose file. Raises NotFound, naming where it looked."""
    names = {posixpath.basename(entry.path) for entry in on.scan(folder) if entry.kind != "directory"}
    for name in NAMES:
        if name in names:
            return posixpath.join(folder, name)
    raise NotFound(
        f"there is no compose file in {folder}",
        remedy=f"Put a docker-compose.yml there, or run apps.init; accepted names: {', '.join(NAMES)}.",
    )


def read(on: Transport, folder: str) -> ComposeFile:
    """The compose file and `.env` of a folder. Raises NotFound; StepError when `.env` does not parse."""
    path = find(on, folder)
    env = envfile.read(on, posixpath.join(folder, ".env")).values
    return ComposeFile(path, on.read(path).decode("utf-8", "replace"), env)


class Variable(Struct, frozen=True):
    """A variable of a compose file; `default` None where there is none, `message` what `:?` says about it."""

    default: str | None
    message: str = ""


def required_variables(text: str, file: str = "docker-compose.yml") -> dict[str, str | None]:
    """The variables that a compose file refers to, with their defaults; None where there is none.

    Raises StepError with file and line when the text does not parse."""
    return {name: variable.default for name, variable in variables(text, file).items()}


def variables(text: str, file: str = "docker-compose.yml") -> dict[str, Variable]:
    """Like required_variables, with what the file says about each."""
    found: dict[str, Variable] = {}
    document = compose_yaml.parse(text, file)
    for path, value in compose_yaml.texts(document.data):
        try:
            for use in references(value):
                if use.name in _GIVEN or use.rule.endswith("+"):
                    continue
                default = use.word if use.rule in ("-", ":-") else None
                before = found.get(use.name, Variable(default))
                # One use without a default is enough to need the variable.
                default = None if before.default is None else default
                found[use.name] = Variable(default, before.message or (use.word if use.rule in ("?", ":?") else ""))
        except ValueError as error:
            raise document.error(path, f"{_place(path)} {error}") from None
    return found


def load(on: Transport, folder: str, name: str) -> dict[str, Any]:
    """The folder's compose file, interpolated with `.env` and normalised; `name` is the project's.

    Raises NotFound (no compose file, a missing env_file), StepError with file and line (it does not
    parse, says something that makes no sense, or needs variables nobody gave: all are named)."""
    from .compose_model import normalise

    compose = read(on, folder)
    demand_variables(compose)
    document = compose_yaml.parse(compose.text, compose.path)
    lookup = {**compose.env, "COMPOSE_PROJECT_NAME": name}.get
    filled = Document(compose.path, _interpolated(document, document.data, (), lookup), document.lines, document.data)

    def env_values(path: str, required: bool, where: Path) -> dict[str, str]:
        if on.stat(path, follow=True) is None:
            if not required:
                return {}
            raise document.error(where, f"the env_file {path} is not there", "Make the file, or take the line out.")
        return envfile.EnvFile(on.read(path).decode("utf-8", "replace"), path, lookup).values

    return normalise(filled, compose.folder, name, compose.env, env_values)


def demand_variables(compose: ComposeFile) -> None:
    """Raises StepError naming every variable that the file needs and nobody gave."""
    if missing := compose.missing():
        many = len(missing) > 1
        raise StepError(
            f"{compose.path} needs the variable{'s' * many} {', '.join(missing)}, "
            f"which {posixpath.join(compose.folder, '.env')} does not give",
            remedy=f"Add {'them' if many else 'it'} to .env (apps.env.write writes it), or give a default: "
            f"${{{missing[0]}:-value}}.",
        )


def _interpolated(document: Document, value: Any, path: Path, lookup: Any) -> Any:
    if isinstance(value, dict):
        return {key: _interpolated(document, item, (*path, key), lookup) for key, item in value.items()}
    if isinstance(value, list):
        return [_interpolated(document, item, (*path, at), lookup) for at, item in enumerate(value)]
    if not isinstance(value, str) or "$" not in value:
        return value
    try:
        return interpolate(value, lookup)
    except MissingVariable as error:
        raise document.error(
            path, f"{_place(path)} {error}", f"Give {error.name} a value in .env (apps.env.write writes it)."
        ) from None
    except ValueError as error:
        raise document.error(path, f"{_place(path)} {error}") from None


def _place(path: Path) -> str:
    return compose_yaml.spelled(path)
