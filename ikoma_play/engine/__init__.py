"""Plays, steps, retries and rollback: runs playbooks on hosts and tells observers what happens.

    run(playbooks, inventory, tools, options, observers, connect) -> Report
    call(tool, arguments, hosts, …) -> Report, finished steps            a playbook of one step
    recalled(tool, hosts, origin, rows) -> Playbook, rows                such a call again, for undoing it
    plan(playbooks, inventory, tools, options) -> list[PlannedStep]      no host touched

Each is imported when it is first asked for: a check needs no more of the engine than its tools. No module has the name
of one of them: importing it would put the module in the place of the function.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .options import Confirm, Options
    from .planning import PlannedStep, plan
    from .running import run
    from .single import call, recalled
    from .standing import Standing

_PLACES = {
    "Confirm": "options",
    "Options": "options",
    "PlannedStep": "planning",
    "plan": "planning",
    "run": "running",
    "call": "single",
    "recalled": "single",
    "Standing": "standing",
}

__all__ = ["Confirm", "Options", "PlannedStep", "Standing", "call", "plan", "recalled", "run"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = getattr(importlib.import_module(f".{_PLACES[name]}", __name__), name)
    globals()[name] = found
    return found
