"""Ansible's filters, in one table: adding one is one function with its name in the table's decorator."""

from __future__ import annotations

import base64
import functools
import glob
import hashlib
import itertools
import json
import ntpath
import os.path
import posixpath
import random
import re
import shlex
import time
import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from jinja2 import Environment, Undefined, pass_environment
from jinja2 import filters as standard

from ..errors import TemplateFailed

FILTERS: dict[str, Callable[..., Any]] = {}
_F = TypeVar("_F", bound=Callable[..., Any])


def named(*names: str) -> Callable[[_F], _F]:
    def add(function: _F) -> _F:
        FILTERS.update(dict.fromkeys(names, function))
        return function

    return add


def install(environment: Environment) -> None:
    """Put the table, and Jinja's lazy filters as ones that give lists, into an environment."""
    environment.filters.update(FILTERS)
    for name in ("map", "select", "reject", "selectattr", "rejectattr", "batch", "slice"):
        environment.filters[name] = _listed(environment.filters[name])


def _listed(lazy: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(lazy)
    def eager(*args: Any, **kwargs: Any) -> Any:
        return list(lazy(*args, **kwargs))

    return eager


def _wrong(message: str, remedy: str = "") -> TemplateFailed:
    return TemplateFailed(message, remedy=remedy)


# --- Presence and truth ----------------------------------------------------------------------------


@named("mandatory")
def mandatory(value: Any, msg: str | None = None) -> Any:
    if isinstance(value, Undefined):
        name = value._undefined_name
        raise _wrong(msg or f"the mandatory variable {name!r} is not defined")
    return value


TRUE_WORDS = frozenset(("y", "yes", "on", "1", "true", "t"))
FALSE_WORDS = frozenset(("n", "no", "off", "0", "false", "f"))


@named("bool")
def to_bool(value: Any) -> Any:
    """Ansible's reading of truth: its words for true are true, all else is false; None stays None."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.strip().lower() in TRUE_WORDS
    return value == 1


@named("ternary")
def ternary(value: Any, true_val: Any, false_val: Any, none_val: Any = None) -> Any:
    if value is None and none_val is not None:
        return none_val
    return true_val if bool(value) else false_val


@named("type_debug")
def type_debug(value: Any) -> str:
    return type(value).__name__ if not isinstance(value, str) else "str"


# --- Data formats ----------------------------------------------------------------------------------


def plain(value: Any) -> Any:
    """The value made of what JSON knows: our own mappings become dict, tuples and sets lists."""
    if isinstance(value, Undefined):
        value._fail_with_undefined_error()
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(each) for each in value), key=str)
    if isinstance(value, (list, tuple)) or (isinstance(value, Iterable) and not isinstance(value, (str, bytes))):
        return [plain(each) for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return str(value)
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


@named("to_json")
def to_json(value: Any, **options: Any) -> str:
    options.pop("vault_to_text", None), options.pop("preprocess_unsafe", None)
    return json.dumps(plain(value), **options)


@named("to_nice_json")
def to_nice_json(value: Any, indent: int = 4, sort_keys: bool = True, **options: Any) -> str:
    return to_json(value, indent=indent, sort_keys=sort_keys, separators=(",", ": "), **options)


@named("from_json")
def from_json(value: Any) -> Any:
    try:
        return json.loads(value)
    except (ValueError, TypeError) as error:
        raise _wrong(f"from_json: this is not JSON: {error}") from error


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
        raise _wrong(f"from_yaml: this is not YAML: {error}") from error


@named("from_yaml_all")
def from_yaml_all(value: Any) -> Any:
    import yaml

    try:
        return list(yaml.safe_load_all(value)) if isinstance(value, str) else value
    except yaml.YAMLError as error:
        raise _wrong(f"from_yaml_all: this is not YAML: {error}") from error


# --- Mappings and lists ----------------------------------------------------------------------------


def merge(below: Any, above: Any, recursive: bool = False, list_merge: str = "replace") -> Any:
    """`above` laid over `below`, as the filter `combine` does for one pair."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        raise _wrong(f"combine: expected mappings, got {type_debug(below)} and {type_debug(above)}")
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
    raise _wrong(
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
        raise _wrong(f"dict2items: expected a mapping, got {type_debug(value)}")
    return [{key_name: key, value_name: each} for key, each in value.items()]


@named("items2dict")
def items2dict(value: Any, key_name: str = "key", value_name: str = "value") -> dict[Any, Any]:
    try:
        return {each[key_name]: each[value_name] for each in value}
    except (KeyError, TypeError) as error:
        raise _wrong(f"items2dict: every item needs {key_name!r} and {value_name!r}") from error


@named("flatten")
def flatten(value: Any, levels: int | None = None, skip_nulls: bool = True) -> list[Any]:
    flat: list[Any] = []
    for each in value:
        if each in (None, "None", "null") and skip_nulls:
            continue
        if isinstance(each, (list, tuple)) and levels != 0:
            flat.extend(flatten(each, None if levels is None else levels - 1, skip_nulls))
        else:
            flat.append(each)
    return flat


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
    return [list(each) for each in zip(*lists, strict=False)]


@named("zip_longest")
def zip_longest(*lists: Any, fillvalue: Any = None) -> list[Any]:
    return [list(each) for each in itertools.zip_longest(*lists, fillvalue=fillvalue)]


@named("product")
def product(*lists: Any, repeat: int = 1) -> list[Any]:
    return [list(each) for each in itertools.product(*lists, repeat=repeat)]


@named("permutations")
def permutations(value: Any, length: int | None = None) -> list[Any]:
    return [list(each) for each in itertools.permutations(value, length)]


@named("combinations")
def combinations(value: Any, length: int) -> list[Any]:
    return [list(each) for each in itertools.combinations(value, length)]


@named("extract")
@pass_environment
def extract(environment: Environment, item: Any, container: Any, morekeys: Any = None) -> Any:
    keys = [item, *([] if morekeys is None else morekeys if isinstance(morekeys, list) else [morekeys])]
    return functools.reduce(environment.getitem, keys, container)


@named("subelements")
def subelements(value: Any, path: Any, skip_missing: bool = False) -> list[Any]:
    parts = path.split(".") if isinstance(path, str) else list(path)
    pairs: list[list[Any]] = []
    for element in value.values() if isinstance(value, Mapping) else value:
        inner: Any = element
        for part in parts:
            if not isinstance(inner, Mapping) or part not in inner:
                if skip_missing:
                    inner = []
                    break
                raise _wrong(
                    f"subelements: {path!r} is not in every item", "Give skip_missing=True to pass over such items."
                )
            inner = inner[part]
        if not isinstance(inner, list):
            raise _wrong(f"subelements: {path!r} is not a list")
        pairs.extend([element, each] for each in inner)
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
            raise _wrong(f"rekey_on_member: {key} {each[key]!r} is there more than once")
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
        raise _wrong(
            "json_query needs the package jmespath", "Install it beside ikoma-play: pip install jmespath"
        ) from error
    return jmespath.search(expression, plain(value))


# --- Text ------------------------------------------------------------------------------------------


def flags(ignorecase: bool = False, multiline: bool = False) -> int:
    return (re.IGNORECASE if ignorecase else 0) | (re.MULTILINE if multiline else 0)


@named("regex_replace")
def regex_replace(
    value: Any, pattern: str = "", replacement: str = "", ignorecase: bool = False, multiline: bool = False,
    count: int = 0, mandatory_count: int = 0,
) -> str:  # fmt: skip
    text, made = re.subn(pattern, replacement, str(value), count=count, flags=flags(ignorecase, multiline))
    if made < mandatory_count:
        raise _wrong(f"regex_replace: {pattern!r} was found {made} times, {mandatory_count} are asked for")
    return text


@named("regex_search")
def regex_search(value: Any, pattern: str, *groups: str, ignorecase: bool = False, multiline: bool = False) -> Any:
    found = re.search(pattern, str(value), flags(ignorecase, multiline))
    if found is None:
        return None
    if not groups:
        return found.group()
    return [
        found.group(int(group[1:]) if re.fullmatch(r"\\\d+", group) else re.sub(r"^\\g<(.*)>$", r"\1", group))
        for group in groups
    ]


@named("regex_findall")
def regex_findall(value: Any, pattern: str, multiline: bool = False, ignorecase: bool = False) -> list[Any]:
    return [
        list(each) if isinstance(each, tuple) else each
        for each in re.findall(pattern, str(value), flags(ignorecase, multiline))
    ]


@named("regex_escape")
def regex_escape(value: Any, re_type: str = "python") -> str:
    if re_type == "posix_basic":
        return re.sub(r"([].[^$*\\])", r"\\\1", str(value))
    return re.escape(str(value))


@named("b64encode")
def b64encode(value: Any, encoding: str = "utf-8") -> str:
    return base64.b64encode(str(value).encode(encoding)).decode()


@named("b64decode")
def b64decode(value: Any, encoding: str = "utf-8") -> str:
    try:
        return base64.b64decode(str(value)).decode(encoding)
    except ValueError as error:
        raise _wrong(f"b64decode: {error}") from error


@named("hash")
def digest(value: Any, hashtype: str = "sha1") -> str:
    try:
        return hashlib.new(hashtype, str(value).encode()).hexdigest()
    except ValueError as error:
        raise _wrong(f"hash: there is no {hashtype!r}", "Use sha256, sha512, sha1 or md5.") from error


FILTERS["checksum"] = FILTERS["sha1"] = functools.partial(digest, hashtype="sha1")
FILTERS["md5"] = functools.partial(digest, hashtype="md5")


@named("to_uuid")
def to_uuid(value: Any, namespace: str = "361E6D51-FAEC-444A-9079-341386DA8E2E") -> str:
    return str(uuid.uuid5(uuid.UUID(str(namespace)), str(value)))


@named("quote")
def quote(value: Any) -> str:
    return shlex.quote("" if value is None else str(value))


@named("comment")
def comment(
    value: Any, style: str = "plain", decoration: str | None = None, prefix: str = "", postfix: str = "",
    beginning: str | None = None, end: str | None = None, newline: str = "\n", prefix_count: int = 1,
    postfix_count: int = 1,
) -> str:  # fmt: skip
    styles = {
        "plain": ("", "# ", ""),
        "erlang": ("", "% ", ""),
        "c": ("", "// ", ""),
        "cblock": ("/*", " * ", " */"),
        "xml": ("<!--", " - ", "-->"),
    }
    opens, marks, closes = styles.get(style, styles["plain"])
    marks = marks if decoration is None else decoration
    opens, closes = opens if beginning is None else beginning, closes if end is None else end
    empty = marks.rstrip()
    lines = [opens] if opens else []
    lines += [(prefix or empty)] * prefix_count
    lines += [f"{marks}{line}".rstrip() for line in str(value).split("\n")]
    lines += [(postfix or empty)] * postfix_count
    return newline.join(lines + ([closes] if closes else []))


@named("split")
def split(value: Any, by: str | None = None, maxsplit: int = -1) -> list[str]:
    return str(value).split(by, maxsplit)


@named("human_readable")
def human_readable(size: Any, isbits: bool = False, unit: str | None = None) -> str:
    base = "bits" if isbits else "Bytes"
    for place, letter in enumerate("YZEPTGMK"):
        limit = 1 << (10 * (8 - place))
        if (unit is None and float(size) >= limit) or (unit is not None and unit.upper() == letter):
            return f"{float(size) / limit:.2f} {letter}{'b' if isbits else 'B'}"
    return f"{float(size):.2f} {base}"


@named("human_to_bytes")
def human_to_bytes(size: Any, default_unit: str | None = None, isbits: bool = False) -> int:
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([A-Za-z]*)\s*", str(size))
    if not found:
        raise _wrong(f"human_to_bytes: {size!r} is not a size", "Write it like 10M or 1.5 GB.")
    letter = (found[2] or default_unit or "B")[0].upper()
    if letter not in "BKMGTPEZY":
        raise _wrong(f"human_to_bytes: there is no unit {found[2]!r}")
    return round(float(found[1]) * (1 << (10 * "BKMGTPEZY".index(letter))))


@named("urldecode")
def urldecode(value: Any) -> str:
    return unquote(str(value))


@named("urlsplit")
def split_url(value: Any, query: str = "") -> Any:
    parts = urlsplit(str(value))
    found = {
        name: getattr(parts, name)
        for name in ("fragment", "hostname", "netloc", "password", "path", "port", "query", "scheme", "username")
    }
    if query and query not in found:
        raise _wrong(f"urlsplit: there is no part {query!r}")
    return found[query] if query else found


# --- Paths -----------------------------------------------------------------------------------------


def _path_filter(name: str, work: Callable[[str], Any]) -> None:
    FILTERS[name] = lambda value: work(str(value))


_path_filter("basename", posixpath.basename)
_path_filter("dirname", posixpath.dirname)
_path_filter("expanduser", os.path.expanduser)
_path_filter("expandvars", os.path.expandvars)
_path_filter("realpath", os.path.realpath)
_path_filter("normpath", posixpath.normpath)
_path_filter("splitext", lambda path: list(posixpath.splitext(path)))
_path_filter("win_basename", ntpath.basename)
_path_filter("win_dirname", ntpath.dirname)
_path_filter("win_splitdrive", lambda path: list(ntpath.splitdrive(path)))
_path_filter("fileglob", lambda pattern: files_like(pattern))


def files_like(pattern: str) -> list[str]:
    """The runner's files that a pattern of the shell names, sorted."""
    return sorted(each for each in glob.glob(pattern) if Path(each).is_file())  # noqa: PTH207 - absolute patterns


@named("relpath")
def relpath(value: Any, start: str = ".") -> str:
    return os.path.relpath(str(value), start)


@named("path_join")
def path_join(value: Any) -> str:
    return posixpath.join(*([value] if isinstance(value, str) else value))


@named("commonpath")
def commonpath(value: Sequence[str]) -> str:
    return posixpath.commonpath(value)


# --- Time, chance, numbers -------------------------------------------------------------------------


@named("to_datetime")
def to_datetime(value: Any, format: str = "%Y-%m-%d %H:%M:%S") -> datetime:
    try:
        return datetime.strptime(str(value), format)
    except ValueError as error:
        raise _wrong(f"to_datetime: {error}") from error


@named("strftime")
def strftime(format: str, second: Any = None, utc: bool = False) -> str:
    moment = time.time() if second is None else float(second)
    return time.strftime(format, time.gmtime(moment) if utc else time.localtime(moment))


def _dice(seed: Any) -> random.Random:
    return random.SystemRandom() if seed is None else random.Random(str(seed))


@named("random")
def pick(end: Any, start: int | None = None, step: int | None = None, seed: Any = None) -> Any:
    if isinstance(end, int):
        return _dice(seed).randrange(start or 0, end, step or 1)
    return _dice(seed).choice(list(end))


@named("shuffle")
def shuffle(value: Any, seed: Any = None) -> list[Any]:
    shuffled = list(value)
    _dice(seed).shuffle(shuffled)
    return shuffled


@named("random_mac")
def random_mac(value: str, seed: Any = None) -> str:
    parts = [part for part in str(value).strip(":").split(":") if part]
    if len(parts) > 5 or not all(re.fullmatch(r"[0-9a-fA-F]{2}", part) for part in parts):
        raise _wrong(f"random_mac: {value!r} is not the beginning of an address")
    dice = _dice(seed)
    return ":".join(parts + [f"{dice.randrange(256):02x}" for _ in range(6 - len(parts))])


@named("log")
def logarithm(value: Any, base: float | None = None) -> float:
    import math

    return math.log10(value) if base == 10 else math.log(value) if base is None else math.log(value, base)


@named("pow")
def power(value: Any, exponent: float) -> Any:
    return pow(value, exponent)


@named("root")
def root(value: Any, base: float = 2) -> float:
    return float(pow(float(value), 1.0 / float(base)))


@named("password_hash")
def password_hash(value: Any, hashtype: str = "sha512", salt: str | None = None, rounds: int | None = None) -> str:
    """A crypt(3) hash, from the system's own library while Python brings it."""
    import secrets
    import string
    import warnings

    prefixes = {"sha512": "6", "sha512_crypt": "6", "sha256": "5", "sha256_crypt": "5", "md5": "1", "md5_crypt": "1"}
    if hashtype not in prefixes:
        raise _wrong(f"password_hash: there is no {hashtype!r}", "Use sha512 or sha256.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            import crypt
    except ImportError as error:
        raise _wrong("password_hash: this Python has no crypt") from error
    salt = salt or "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(16))
    middle = f"rounds={rounds}$" if rounds else ""
    return str(crypt.crypt(str(value), f"${prefixes[hashtype]}${middle}{salt}"))
