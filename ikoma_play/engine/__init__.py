"""Plays, steps, retries and rollback: runs playbooks on hosts and tells observers what happens.

    run(playbooks, inventory, tools, options, observers, connect) -> Report
    call(tool, arguments, hosts, …) -> Report, finished steps            a playbook of one step
    recalled(tool, hosts, origin, rows) -> Playbook, rows                such a call again, for undoing it
    plan(playbooks, inventory, tools, options) -> list[PlannedStep]      no host touched

Each is imported when it is first asked for: a check needs no more of the engine than its tools. `run` and
`plan` are these functions; nothing else imports the modules of the same names.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .options import Confirm, Options
    from .plan import PlannedStep, plan
    from .run import run
    from .single import call, recalled
    from .standing import Standing

_PLACES = {
    "Confirm": "options",
    "Options": "options",
    "PlannedStep": "plan",
    "plan": "plan",
    "run": "run",
    "call": "single",
    "recalled": "single",
    "Standing": "standing",
}

__all__ = ["Confirm", "Options", "PlannedStep", "Standing", "call", "plan", "recalled", "run"]


def __getattr__(name: str) -> Any:
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    importlib.import_module(f".{_PLACES[name]}", __name__)
    # All names that are known now: importing has put the modules themselves where `run` or `plan` belong.
    known = {each: sys.modules.get(f"{__name__}.{place}") for each, place in _PLACES.items()}
    globals().update({each: getattr(place, each) for each, place in known.items() if place is not None})
    return globals()[name]
