"""Ansible's filters on values, lists and mappings; those on text, paths and numbers are in filters_text."""

from __future__ import annotations

import functools
import itertools
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from jinja2 import Environment, Undefined, pass_environment
from jinja2 import filters as standard

from . import filters_secret as filters_secret  # each adds its own to the table
from . import filters_text as filters_text
from .filter_table import FILTERS, named, wrong
from .plain import flatten, plain

named("flatten")(flatten)


def install(environment: Environment) -> None:
    """Put the table, and Jinja's lazy filters as ones that give lists, into an environment."""
    environment.filters.update(FILTERS)
    for name in ("map", "select", "reject", "selectattr", "rejectattr", "batch", "slice", "items"):
        environment.filters[name] = _listed(environment.filters[name])
    environment.filters["reverse"] = reverse
    for name, work in list(environment.filters.items()):
        environment.filters[f"ansible.builtin.{name}"] = work


def _listed(lazy: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(lazy)
    def eager(*args: Any, **kwargs: Any) -> Any:
        return list(lazy(*args, **kwargs))

    return eager


def reverse(value: Any) -> Any:
    found = standard.do_reverse(value)
    return found if isinstance(found, str) else list(found)


# --- Presence and truth ----------------------------------------------------------------------------


@named("mandatory")
def mandatory(value: Any, msg: str | None = None) -> Any:
    if isinstance(value, Undefined):
        name = value._undefined_name
        raise wrong(msg or f"the mandatory variable {name!r} is not defined")
    return value


TRUE_WORDS = frozenset(("y", "yes", "on", "1", "true", "t"))
FALSE_WORDS = frozenset(("n", "no", "off", "0", "false", "f"))


@named("bool")
def to_bool(value: Any) -> Any:
    """Ansible's reading of truth: yes, on, true and 1 are true, all else is false; None stays None."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.strip().lower() in ("yes", "on", "true", "1")
    return value == 1


@named("ternary")
def ternary(value: Any, true_val: Any, false_val: Any, none_val: Any = None) -> Any:
    if value is None and none_val is not None:
        return none_val
    return true_val if bool(value) else false_val


@named("type_debug")
def type_debug(value: Any) -> str:
    if isinstance(value, Undefined):
        return "Undefined"
    for kind in (str, dict, list):
        if isinstance(value, kind):  # whatever else our own kinds know
            return kind.__name__
    return type(value).__name__


# --- Data formats ----------------------------------------------------------------------------------


@named("to_json")
def to_json(value: Any, **options: Any) -> str:
    options.pop("vault_to_text", None), options.pop("preprocess_unsafe", None)
    return json.dumps(plain(value, lambda moment: moment.isoformat()), **options)


@named("to_nice_json")
def to_nice_json(value: Any, indent: int = 4, sort_keys: bool = True, **options: Any) -> str:
    return to_json(value, indent=indent, sort_keys=sort_keys, separators=(",", ": "), **options)


@named("from_json")
def from_json(value: Any) -> Any:
    try:
        return json.loads(value)
    except (ValueError, TypeError) as error:
        raise wrong(f"from_json: this is not JSON: {error}") from error


@named("to_yaml")
def to_yaml(value: Any, default_flow_style: bool | None = None, **options: Any) -> str:
    import yaml

    options.setdefault("sort_keys", True)
    return str(yaml.dump(plain(value), allow_unicode=True, default_flow_style=default_flow_style, **options))


@named("to_nice_yaml")
def to_nice_yaml(value: Any, indent: int = 4, **options: Any) -> str:
    return to_yaml(value, default_flow_style=False, indent=indent, **options)


@named("from_yaml")
def from_yaml(value: Any) -> Any:
    import yaml

    try:
        return yaml.safe_load(value) if isinstance(value, str) else value
    except yaml.YAMLError as error:
        raise wrong(f"from_yaml: this is not YAML: {error}") from error


@named("from_yaml_all")
def from_yaml_all(value: Any) -> Any:
    import yaml

    try:
        return list(yaml.safe_load_all(value)) if isinstance(value, str) else value
    except yaml.YAMLError as error:
        raise wrong(f"from_yaml_all: this is not YAML: {error}") from error


# --- Mappings and lists ----------------------------------------------------------------------------


def merge(below: Any, above: Any, recursive: bool = False, list_merge: str = "replace") -> Any:
    """`above` laid over `below`, as the filter `combine` does for one pair."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        raise wrong(f"combine: expected mappings, got {type_debug(below)} and {type_debug(above)}")
    merged = dict(below)
    for key, value in above.items():
        there = merged.get(key)
        if recursive and isinstance(there, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(there, value, recursive, list_merge)
        elif isinstance(there, list) and isinstance(value, list):
            merged[key] = _merge_lists(there, value, list_merge)
        else:
            merged[key] = value
    return merged


def _merge_lists(below: list[Any], above: list[Any], how: str) -> list[Any]:
    if how == "replace":
        return above
    if how == "keep":
        return below
    if how == "append":
        return below + above
    if how == "prepend":
        return above + below
    if how == "append_rp":
        return [each for each in below if each not in above] + above
    if how == "prepend_rp":
        return above + [each for each in below if each not in above]
    raise wrong(
        f"combine: list_merge cannot be {how!r}",
        "Use replace, keep, append, prepend, append_rp or prepend_rp.",
    )


@named("combine")
def combine(*terms: Any, recursive: bool = False, list_merge: str = "replace") -> Any:
    mappings = [each for term in terms for each in (term if isinstance(term, list) else [term]) if each]
    return functools.reduce(lambda below, above: merge(below, above, recursive, list_merge), mappings, {})


@named("dict2items")
def dict2items(value: Any, key_name: str = "key", value_name: str = "value") -> list[dict[str, Any]]:
    if not isinstance(value, Mapping):
        raise wrong(f"dict2items: expected a mapping, got {type_debug(value)}")
    return [{key_name: key, value_name: each} for key, each in value.items()]


@named("items2dict")
def items2dict(value: Any, key_name: str = "key", value_name: str = "value") -> dict[Any, Any]:
    try:
        return {each[key_name]: each[value_name] for each in value}
    except (KeyError, TypeError) as error:
        raise wrong(f"items2dict: every item needs {key_name!r} and {value_name!r}") from error


def _distinct(values: Iterable[Any]) -> list[Any]:
    try:
        return list(dict.fromkeys(values))
    except TypeError:
        kept: list[Any] = []
        for each in values:
            if each not in kept:
                kept.append(each)
        return kept


@named("unique")
def unique(value: Any, case_sensitive: bool | None = None, attribute: Any = None) -> list[Any]:
    def mark(each: Any) -> Any:
        for part in str(attribute).split(".") if attribute is not None else ():
            each = each[int(part)] if isinstance(each, list) else each[part]
        return each.lower() if case_sensitive is False and isinstance(each, str) else each

    seen: list[Any] = []
    kept = []
    for each in value:
        if (marked := mark(each)) not in seen:
            seen.append(marked)
            kept.append(each)
    return kept


@named("union")
def union(a: Any, b: Any) -> list[Any]:
    return _distinct([*a, *b])


@named("intersect")
def intersect(a: Any, b: Any) -> list[Any]:
    b = list(b)
    return _distinct(each for each in a if each in b)


@named("difference")
def difference(a: Any, b: Any) -> list[Any]:
    b = list(b)
    return _distinct(each for each in a if each not in b)


@named("symmetric_difference")
def symmetric_difference(a: Any, b: Any) -> list[Any]:
    a, b = list(a), list(b)
    return difference(union(a, b), intersect(a, b))


@named("zip")
def zip_lists(*lists: Any) -> list[Any]:
    return list(zip(*lists, strict=False))


@named("zip_longest")
def zip_longest(*lists: Any, fillvalue: Any = None) -> list[Any]:
    return list(itertools.zip_longest(*lists, fillvalue=fillvalue))


@named("product")
def product(*lists: Any, repeat: int = 1) -> list[Any]:
    return list(itertools.product(*lists, repeat=repeat))


@named("permutations")
def permutations(value: Any, length: int | None = None) -> list[Any]:
    return list(itertools.permutations(value, length))


@named("combinations")
def combinations(value: Any, length: int) -> list[Any]:
    return list(itertools.combinations(value, length))


@named("extract")
@pass_environment
def extract(environment: Environment, item: Any, container: Any, morekeys: Any = None) -> Any:
    keys = [item, *([] if morekeys is None else morekeys if isinstance(morekeys, list) else [morekeys])]
    return functools.reduce(environment.getitem, keys, container)


@named("subelements")
def subelements(value: Any, path: Any, skip_missing: bool = False) -> list[Any]:
    parts = path.split(".") if isinstance(path, str) else list(path)
    pairs: list[tuple[Any, Any]] = []
    for element in value.values() if isinstance(value, Mapping) else value:
        inner: Any = element
        for part in parts:
            if not isinstance(inner, Mapping) or part not in inner:
                if skip_missing:
                    inner = []
                    break
                raise wrong(
                    f"subelements: {path!r} is not in every item", "Give skip_missing=True to pass over such items."
                )
            inner = inner[part]
        if not isinstance(inner, list):
            raise wrong(f"subelements: {path!r} is not a list")
        pairs.extend((element, each) for each in inner)
    return pairs


@named("groupby")
@pass_environment
def groupby(
    environment: Environment, value: Any, attribute: Any, default: Any = None, case_sensitive: bool = False
) -> Any:
    return [
        (key, list(members))
        for key, members in standard.sync_do_groupby(environment, value, attribute, default, case_sensitive)
    ]


@named("rekey_on_member")
def rekey_on_member(value: Any, key: str, duplicates: str = "error") -> dict[Any, Any]:
    rekeyed: dict[Any, Any] = {}
    for each in value.values() if isinstance(value, Mapping) else value:
        if each[key] in rekeyed and duplicates == "error":
            raise wrong(f"rekey_on_member: {key} {each[key]!r} is there more than once")
        rekeyed[each[key]] = each
    return rekeyed


@named("min")
@pass_environment
def smallest(environment: Environment, value: Any, **options: Any) -> Any:
    return standard.do_min(environment, value, **options)


@named("json_query")
def json_query(value: Any, expression: str) -> Any:
    try:
        import jmespath  # type: ignore[import-not-found,import-untyped,unused-ignore]
    except ImportError as error:
        raise wrong(
            "json_query needs the package jmespath", "Install it beside ikoma-play: pip install jmespath"
        ) from error
    return jmespath.search(expression, plain(value))
