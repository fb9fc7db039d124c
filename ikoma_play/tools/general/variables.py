"""Tools that give a host variables."""

from __future__ import annotations

import re
from typing import Any

from ...errors import StepError
from ...model import Access, Outcome, ok
from ...tool import tool
from ...transport.base import Transport

NAME = re.compile(r"[A-Za-z_]\w*", re.ASCII)


@tool("set_fact", access=Access.OBSERVER, changes=False, open=True)
def set_fact(on: Transport, *, cacheable: bool = False, **values: Any) -> Outcome:
    """Set variables of the host for the rest of the run.

    cacheable: accepted for Ansible's sake; facts are kept for one run
    """
    if not values:
        raise StepError("set_fact was given no variable", remedy="Name one: set_fact: name: value.")
    for name in values:
        demand_name(name)
    return ok({"ansible_facts": values}, facts=values)


def demand_name(name: str) -> None:
    if not NAME.fullmatch(name):
        raise StepError(
            f"{name!r} cannot be the name of a variable", remedy="Use letters, digits and _, and no digit first."
        )
