"""Handlers that are notified and not there, and those that nothing notifies."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ..model import Block, Node, Step
from ..spelling import did_you_mean
from .contents import Contents
from .faults import Faults
from .text import has_template


def check_handlers(contents: Contents, faults: Faults) -> None:
    handlers = list(_flat(contents.handlers))
    names: dict[str, None] = {}
    for handler in handlers:
        for name in _names(handler):
            names[name] = None
    uncertain = not contents.closed or any(has_template(name) for name in names)
    notified: set[str] = set()
    for place in contents.places:
        for name in place.step.notify:
            notified.add(name)
            if has_template(name):
                uncertain = True
            elif name not in names and not uncertain:
                otherwise = "Add it to the play's handlers." if names else "The play has no handlers."
                text = f"there is no handler '{name}' to notify"
                faults.add("unknown-handler", text, name, did_you_mean(name, names, otherwise),
                           otherwise=place.step.position)  # fmt: skip
    if uncertain:
        return
    for handler in handlers:
        if not any(name in notified for name in _names(handler)) and handler.tool not in ("include_tasks", "meta"):
            text = f"nothing notifies the handler '{handler.title}'"
            faults.add("unused-handler", text, handler.position, warning=True)


def _flat(nodes: Sequence[Node]) -> Iterator[Step]:
    for node in nodes:
        if isinstance(node, Block):
            yield from _flat((*node.steps, *node.rescue, *node.always))
        else:
            yield node


def _names(handler: Step) -> tuple[str, ...]:
    own = (handler.name,) if handler.name else ()
    of_role = (f"{handler.role.name} : {handler.name}",) if handler.role and handler.name else ()
    return (*own, *of_role, *handler.listen)
