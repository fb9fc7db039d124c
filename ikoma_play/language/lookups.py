"""Ansible's lookups (`lookup('env', 'HOME')`, `query('dict', d)`); those on files are in lookups_files."""

from __future__ import annotations

import itertools
import os
import random
import re
import shlex
from collections.abc import Callable, Mapping
from typing import Any

from jinja2 import Environment, Undefined, pass_context, runtime

from ..errors import IkomaError, TemplateFailed
from ..spelling import did_you_mean
from . import left_out, lookups_files
from . import lookups_password as lookups_password  # adds its own to the table
from .filters import subelements
from .foreign import meet
from .host_patterns import choose
from .lookup_table import Asker, named
from .plain import flatten

LOOKUPS = lookups_files.LOOKUPS
# They give what the playbook, the inventory and the runner's settings say; what any other gives is foreign.
OWN = frozenset(
    ["cartesian", "config", "dict", "env", "first_found", "flattened", "indexed_items", "inventory_hostnames", "items",
     "list", "nested", "random_choice", "sequence", "subelements", "together", "varnames", "vars"]
)  # fmt: skip


def install(environment: Environment) -> None:
    environment.globals.update(lookup=lookup, query=query, q=query, now=now, undef=undefined(environment))


def known(name: str) -> str:
    """The lookup's own name. Raises TemplateFailed where there is none."""
    name = re.sub(r"^ansible\.(builtin|legacy)\.", "", name)
    if name in LOOKUPS:
        return name
    if left_out.collection_of(name):
        raise TemplateFailed(left_out.collections_plugin(name))
    raise TemplateFailed(f"there is no lookup {name!r}", remedy=did_you_mean(name, LOOKUPS, left_out.NO_PLUGINS))


def find(templar: Asker, name: str, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    """What a lookup gives. Raises TemplateFailed."""
    name = known(name)
    for term in terms:
        if isinstance(term, Undefined):
            term._fail_with_undefined_error()
    if name not in OWN:
        meet()
    return LOOKUPS[name](templar, terms, options)


@pass_context
def query(context: runtime.Context, name: str, *terms: Any, **options: Any) -> Any:
    """A lookup's whole list."""
    return _ask(context, name, list(terms), options)


@pass_context
def lookup(context: runtime.Context, name: str, *terms: Any, **options: Any) -> Any:
    """A lookup's values joined by commas, or its one value, as `lookup` gives them."""
    wanted = options.pop("wantlist", False)
    ignored = options.get("errors") in ("ignore", "warn")
    found = _ask(context, name, list(terms), options)
    if wanted:
        return found
    if ignored and not found:
        return None
    if all(isinstance(each, str) for each in found):
        return ",".join(found)
    return found[0] if len(found) == 1 else found


def _ask(context: runtime.Context, name: str, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    errors = options.pop("errors", "strict")
    try:
        return find(context.templar, name, terms, options)  # type: ignore[attr-defined]
    except (IkomaError, OSError, ValueError) as error:
        if errors in ("ignore", "warn"):
            return []
        if isinstance(error, IkomaError):
            raise
        raise TemplateFailed(f"lookup {name!r}: {error}") from error


def now(utc: bool = False, fmt: str | None = None) -> Any:
    from datetime import UTC, datetime

    moment = datetime.now(UTC).replace(tzinfo=None) if utc else datetime.now()
    return moment.strftime(fmt) if fmt else moment


def undefined(environment: Environment) -> Callable[..., Any]:
    return lambda hint=None: environment.undefined(hint or "a value is to be set here")


# --- Variables, environment, the web -----------------------------------------------------------------


@named("env")
def env(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    def value(name: str) -> Any:
        default = options.get("default", "")
        if isinstance(default, Undefined) and name not in os.environ:
            raise TemplateFailed(f"the environment variable {name!r} is not set")
        return os.environ.get(name, default)

    return [value(str(term)) for term in terms]


@named("vars")
def variables(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    def value(name: str) -> Any:
        try:
            return templar.variables[name]
        except KeyError:
            if "default" in options:
                return options["default"]
            raise TemplateFailed(f"{name!r} is not defined", remedy=did_you_mean(name, templar.variables)) from None

    return [value(str(term)) for term in terms]


@named("varnames")
def varnames(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return [name for name in templar.variables if any(re.search(str(term), name) for term in terms)]


@named("url")
def url(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    from urllib.error import URLError
    from urllib.request import Request, urlopen

    found: list[Any] = []
    for term in map(str, terms):
        if not term.startswith(("http://", "https://")):
            raise TemplateFailed(f"lookup 'url': {term!r} is not a web address")
        try:
            request = Request(term, headers=options.get("headers", {}))
            with urlopen(request, timeout=float(options.get("timeout", 10))) as answer:
                text = answer.read().decode("utf-8", "replace")
        except (URLError, OSError) as error:
            raise TemplateFailed(f"lookup 'url': {term}: {error}") from error
        found += text.splitlines() if options.get("split_lines", True) else [text]
    return found


# --- Lists -------------------------------------------------------------------------------------------


@named("items")
def items(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return [each for term in terms for each in (term if isinstance(term, (list, tuple)) else [term])]


@named("list")
def as_list(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return terms


@named("flattened")
def flattened(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return flatten(terms)


@named("indexed_items")
def indexed_items(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return [[index, each] for index, each in enumerate(items(templar, terms, options))]


@named("dict")
def dictionary(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    found = []
    for term in terms or []:
        for each in term if isinstance(term, list) else [term]:
            if not isinstance(each, Mapping):
                raise TemplateFailed(f"expected a mapping, got {type(each).__name__}")
            found += [{"key": key, "value": value} for key, value in each.items()]
    return found


@named("together")
def together(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return [list(each) for each in itertools.zip_longest(*terms)]


@named("nested", "cartesian")
def nested(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return [flatten(each) for each in itertools.product(*(t if isinstance(t, list) else [t] for t in terms))]


@named("subelements")
def sub_elements(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    if len(terms) < 2:
        raise TemplateFailed("subelements wants a list and the name of a key in its items")
    more = terms[2] if len(terms) > 2 and isinstance(terms[2], Mapping) else {}
    pairs = subelements(terms[0], terms[1], bool(more.get("skip_missing", options.get("skip_missing", False))))
    return [[_without(element, str(terms[1]).split(".")), each] for element, each in pairs]


def _without(element: Mapping[str, Any], path: list[str]) -> dict[str, Any]:
    """The element without what it was taken apart by, which would make each item long."""
    rest = {name: value for name, value in element.items() if name != path[0]}
    return rest if len(path) == 1 else {**rest, path[0]: _without(element[path[0]], path[1:])}


@named("random_choice")
def random_choice(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    return [random.choice(terms)] if terms else []


@named("sequence")
def sequence(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    found: list[str] = []
    for term in [*terms, *([options] if options else [])]:
        found += _numbers(_sequence_settings(term))
    return found


def _sequence_settings(term: Any) -> dict[str, Any]:
    if isinstance(term, Mapping):
        return dict(term)
    short = re.fullmatch(r"\s*(?:(\w+)-)?(\w+)(?:/(-?\w+))?(?::(\S+))?\s*", str(term))
    if short and "=" not in str(term):
        start, end, stride, shape = short.groups()
        return {"start": start or 1, "end": end, "stride": stride or 1, "format": shape or "%d"}
    return dict(pair.split("=", 1) for pair in shlex.split(str(term)))


def _numbers(settings: dict[str, Any]) -> list[str]:
    unknown = set(settings) - {"start", "end", "stride", "count", "format"}
    if unknown:
        raise TemplateFailed(
            f"sequence knows no {', '.join(sorted(unknown))}", remedy="Use start, end, stride, count, format."
        )
    start, stride = int(str(settings.get("start", 1)), 0), int(str(settings.get("stride", 1)), 0)
    if "count" in settings:
        count = int(str(settings["count"]), 0)
        numbers = range(start, start + count * stride, stride) if count and stride else range(0)
    elif "end" in settings:
        end = int(str(settings["end"]), 0)
        if (stride > 0 and end < start) or (stride < 0 and end > start):
            raise TemplateFailed(f"sequence cannot count from {start} to {end} by {stride}")
        numbers = range(start, end + (1 if stride > 0 else -1), stride) if stride else range(0)
    else:
        raise TemplateFailed("sequence wants an end or a count")
    return [str(settings.get("format", "%d")) % number for number in numbers]


# --- Secrets and settings ----------------------------------------------------------------------------


@named("config")
def config(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    """The few of Ansible's settings that mean something here too."""
    roles = os.environ.get("ANSIBLE_ROLES_PATH", "").split(":")
    known: dict[str, Any] = {
        "DEFAULT_FORKS": templar.variables.get("ansible_forks"),
        "DEFAULT_ROLES_PATH": [os.path.expanduser(place) for place in roles if place],
        "DEFAULT_BECOME_USER": "root",
        "DEFAULT_BECOME_METHOD": "sudo",
    }
    for term in map(str, terms):
        if term not in known and "default" not in options and options.get("on_missing", "error") == "error":
            raise TemplateFailed(
                f"lookup 'config': {term} is a setting of Ansible that has no meaning here",
                remedy=f"It knows {', '.join(known)}.",
            )
    found = [str(term) for term in terms if str(term) in known or "default" in options]
    return [known.get(term, options.get("default")) for term in found]


@named("inventory_hostnames")
def inventory_hostnames(templar: Asker, terms: list[Any], options: dict[str, Any]) -> list[Any]:
    """The names of the hosts that patterns choose."""
    groups = templar.variables["groups"]
    return choose(terms, groups, groups["all"])[0]
