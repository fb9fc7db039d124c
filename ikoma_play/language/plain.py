"""Values made plainer: of what JSON knows, or with lists that are not in one another."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def plain(value: Any, moment: Callable[[Any], str] = str) -> Any:
    """The value made of what JSON knows: our own mappings become dict, tuples and sets lists, and points in time
    what `moment` makes of them."""
    if value is None or type(value) in (str, int, float, bool):
        return value
    if (undefined := getattr(type(value), "_fail_with_undefined_error", None)) is not None:
        undefined(value)  # as Jinja has it
    if isinstance(value, Mapping):
        return {str(key): plain(each, moment) for key, each in value.items()}
    if isinstance(value, (set, frozenset)):
        return sorted((plain(each, moment) for each in value), key=str)
    if isinstance(value, (list, tuple)) or (isinstance(value, Iterable) and not isinstance(value, (str, bytes))):
        return [plain(each, moment) for each in value]
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, str):
        return str(value)
    if isinstance(value, (int, float)):
        return value
    return moment(value) if hasattr(value, "isoformat") else str(value)


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
