"""Ansible's filters on text, paths, times and numbers."""

from __future__ import annotations

import base64
import functools
import glob
import hashlib
import ntpath
import os.path
import posixpath
import random
import re
import shlex
import time
import uuid
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from .filter_table import FILTERS, named, wrong

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
        raise wrong(f"regex_replace: {pattern!r} was found {made} times, {mandatory_count} are asked for")
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
    return re.findall(pattern, str(value), flags(ignorecase, multiline))


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
        raise wrong(f"b64decode: {error}") from error


@named("hash")
def digest(value: Any, hashtype: str = "sha1") -> str:
    try:
        return hashlib.new(hashtype, str(value).encode()).hexdigest()
    except ValueError as error:
        raise wrong(f"hash: there is no {hashtype!r}", "Use sha256, sha512, sha1 or md5.") from error


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
        raise wrong(f"human_to_bytes: {size!r} is not a size", "Write it like 10M or 1.5 GB.")
    letter = (found[2] or default_unit or "B")[0].upper()
    if letter not in "BKMGTPEZY":
        raise wrong(f"human_to_bytes: there is no unit {found[2]!r}")
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
        raise wrong(f"urlsplit: there is no part {query!r}")
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
_path_filter("splitext", posixpath.splitext)
_path_filter("win_basename", ntpath.basename)
_path_filter("win_dirname", ntpath.dirname)
_path_filter("win_splitdrive", ntpath.splitdrive)
_path_filter("fileglob", lambda pattern: files_like(pattern))


def files_like(pattern: str) -> list[str]:
    """The runner's files that a pattern of the shell names, sorted."""
    return sorted(each for each in glob.glob(pattern) if Path(each).is_file())


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
        raise wrong(f"to_datetime: {error}") from error


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
        raise wrong(f"random_mac: {value!r} is not the beginning of an address")
    dice = _dice(seed)
    return ":".join(parts + [f"{dice.randrange(256):02x}" for _ in range(6 - len(parts))])


@named("log")
def logarithm(value: Any, base: float | None = None) -> float:
    import math

    return math.log10(value) if base == 10 else math.log(value) if base is None else math.log(value, base)


@named("pow")
def power(value: Any, exponent: float) -> float:
    return float(pow(float(value), float(exponent)))


@named("root")
def root(value: Any, base: float = 2) -> float:
    return float(pow(float(value), 1.0 / float(base)))
