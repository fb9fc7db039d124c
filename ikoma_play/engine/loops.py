"""`loop` and `with_…`: the items, and what a step knows of its place among them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import TemplateFailed
from ..language.templating import OMIT, Layer, Templar
from ..model import Loop


def items_of(loop: Loop, templar: Templar) -> list[Any]:
    """What the loop repeats over. Raises TemplateFailed."""
    value = templar.render(loop.items)
    if loop.kind == "loop":
        if isinstance(value, Mapping):
            raise TemplateFailed(
                "loop wants a list and got a mapping", remedy="Write `| dict2items` behind it.", position=loop.position
            )
        if not isinstance(value, list):
            raise TemplateFailed(
                f"loop wants a list and got {_kind(value)}",
                remedy="Write the list in brackets, or give an expression that is a list.",
                position=loop.position,
            )
        return [item for item in value if item is not OMIT]
    if value is OMIT or value is None:
        return []
    from ..language import lookups

    terms = value if isinstance(value, list) else [value]
    return lookups.find(templar, loop.kind, terms, {})


def _kind(value: Any) -> str:
    return "nothing" if value is None else "text" if isinstance(value, str) else f"a {type(value).__name__}"


def layers(
    loop: Loop, items: list[Any], extended: bool, every: bool = True, foreign: bool = True
) -> Iterator[tuple[Any, Layer]]:
    """Every item with the variables that stand for it; with `every` an extended loop holds all items too. `foreign`:
    they may come from a host."""
    last = len(items) - 1
    for index, item in enumerate(items):
        values: dict[str, Any] = {loop.var: item, "ansible_loop_var": loop.var}
        if loop.index_var:
            values[loop.index_var] = index
            values["ansible_index_var"] = loop.index_var
        if extended:
            place: dict[str, Any] = {
                "index": index + 1,
                "index0": index,
                "first": index == 0,
                "last": index == last,
                "length": len(items),
                "revindex": last - index + 1,
                "revindex0": last - index,
            }
            if every:
                place["allitems"] = items
            if index:
                place["previtem"] = items[index - 1]
            if index < last:
                place["nextitem"] = items[index + 1]
            values["ansible_loop"] = place
        yield item, Layer(values, authored=False, foreign=foreign)
