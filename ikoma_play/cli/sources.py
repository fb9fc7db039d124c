"""Finding what the command line names: playbooks, inventories, extra variables."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping, Sequence
from itertools import takewhile
from pathlib import Path
from typing import Any

from .. import shipped
from ..console.columns import columns
from ..errors import UsageError
from ..spelling import did_you_mean, listed
from .options import room

SUFFIXES = (".yml", ".yaml")


def playbook(name: str) -> str:
    """A playbook's path: `name` as a path, or a bare name looked up in ./playbooks, then among the shipped ones."""
    if Path(name).is_file():
        return name
    if Path(name).is_dir():
        raise UsageError(f"{name} is a directory", remedy=_remedy(name))
    if os.sep not in name:
        for folder in (Path("playbooks"), shipped.playbooks()):
            for candidate in (name, *(name + suffix for suffix in SUFFIXES)):
                if (found := folder / candidate).is_file():
                    return str(found)
    raise UsageError(f"There is no playbook {name}", remedy=_remedy(name))


def _remedy(name: str) -> str:
    known = known_playbooks()
    otherwise = f"Give a path, or one of {listed(known)}." if known else "Give the path of a playbook."
    return did_you_mean(Path(name).stem, known, otherwise)


def known_playbooks() -> dict[str, Path]:
    """The playbooks that need no path, by their names."""
    found: dict[str, Path] = {}
    for folder in (Path("playbooks"), shipped.playbooks()):
        for path in sorted(folder.glob("*.y*ml")):
            found.setdefault(path.stem, path)
    return found


def listing() -> list[str]:
    """Those playbooks for a person: each name with the first sentence of its opening comment."""
    rows = [(name, _purpose(path)) for name, path in known_playbooks().items()]
    return [
        *columns(rows, indent=0, room=room()),
        "",
        "Run one: ikoma-play run NAME. See its steps: ikoma-play plan NAME",
    ]


def _purpose(path: Path) -> str:
    lines = path.read_text("utf-8", "replace").splitlines()
    comment = [line.lstrip("# ") for line in takewhile(lambda line: line.startswith("# "), lines)]
    sentence, stop, _ = f"{' '.join(comment)} ".partition(". ")
    return (sentence + stop).strip()


def inventories(given: Sequence[str]) -> list[str]:
    """What `-i` says, else ./inventory.yml, else the shipped inventory with its host `sandbox`."""
    if not given:
        here = Path("inventory.yml")
        return [str(here if here.is_file() else shipped.inventory())]
    for source in given:
        if "," not in source and not Path(source).exists():
            beside = [path.name for path in Path(source).parent.glob("*")] if Path(source).parent.is_dir() else []
            guess = did_you_mean(Path(source).name, beside, "Give a file, a directory, or host names with a comma.")
            raise UsageError(f"There is no inventory {source}", remedy=guess)
    return list(given)


def roles_path() -> list[str]:
    """Where roles are looked for after those near the playbook: ANSIBLE_ROLES_PATH, then the shipped ones."""
    named = os.environ.get("ANSIBLE_ROLES_PATH", "").split(os.pathsep)
    return [*(str(Path(path).expanduser()) for path in named if path), str(shipped.roles())]


def extra_vars(given: Sequence[str]) -> dict[str, Any]:
    """What the `-e` options say, the last one winning: `KEY=VALUE` (text), `@FILE`, or a JSON or YAML mapping."""
    values: dict[str, Any] = {}
    for option in given:
        if option.startswith("@"):
            values.update(_file(option[1:]))
        elif option.lstrip().startswith(("{", "[")):
            values.update(_mapping(option, "-e"))
        else:
            values.update(_pairs(option))
    return values


def _pairs(option: str) -> dict[str, Any]:
    try:
        words = shlex.split(option)
    except ValueError:
        words = [option]
    if any("=" not in word for word in words):
        words = [option]  # one value with blanks that the calling shell has unquoted
    pairs = [word.partition("=") for word in words]
    for name, equals, _ in pairs:
        if not (equals and name.isidentifier()):
            raise UsageError(
                f"-e {name}{equals}… sets no variable" if equals else f"-e {name} sets no variable",
                remedy="Write -e name=value, -e @file.yml or -e '{\"name\": value}'; names are letters, digits and _.",
            )
    return {name: value for name, _, value in pairs}


def _file(path: str) -> Mapping[str, Any]:
    """The variables in a file, which may be encrypted as a whole or hold encrypted values. Raises FaultsFound."""
    from ..language import load_variables

    place = Path(path).expanduser()
    if not place.is_file():
        reason = "is a directory" if place.is_dir() else "there is no such file"
        raise UsageError(f"-e @{path}: {reason}", remedy="Give a YAML or JSON file of variables.")
    return load_variables(str(place))


def _mapping(text: str, shown: str) -> dict[str, Any]:
    import yaml

    from ..language.text import Unsafe

    class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
        """YAML's, with `!unsafe` for text that is no template."""

    Loader.add_constructor("!unsafe", lambda loader, node: Unsafe(loader.construct_scalar(node)))
    try:
        value = yaml.load(text, Loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" (line {mark.line + 1}, column {mark.column + 1})" if mark else ""
        raise UsageError(f"{shown} is not YAML or JSON{where}: {getattr(error, 'problem', error)}") from None
    if value is None:
        return {}
    if not isinstance(value, dict) or not all(isinstance(name, str) for name in value):
        raise UsageError(f"{shown} must be a mapping of names to values", remedy="Write name: value, one a line.")
    return value
