"""A play that stays open for single calls of tools that only look: what each run begins with is done once.

A call is what is left of a step without keywords: the arguments are bound, the tool is called over the open road, what
it came to is masked. There are no events, since nobody watches, nor locks and a journal, which tools that only look
do without. Measured, a read through a whole run took the server more than twice as long.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..language.templating import Templar
from ..model import Outcome, Play, Position, Step
from ..tool import Tool, Toolbox
from . import outcomes, reach
from .options import Options
from .plays import PlayRun
from .prepared import scoped
from .roads import Connect
from .scope import StepScope, finder
from .state import Inventory, RunState


class Standing:
    """An open play on one host, for one thread at a time."""

    def __init__(
        self, host: str, inventory: Inventory, tools: Toolbox, options: Options, connect: Connect, origin: Position
    ) -> None:
        """Raises IkomaError for variables that make no sense, and where the host cannot be reached."""
        run = self._run = RunState(inventory, tools, options, (), connect)
        run.enter(str(Path.cwd()))
        play = PlayRun(run, Play(host, origin, (), gather_facts=False))
        step = Step("", {}, origin)
        self._find = finder(step, run.playbook_dir)
        self._view = run.host(host).variables.view(play.variables, step, find=self._find, seen=run.secrets.see)
        self._road = reach.road(run, run.host(host), step, Templar(self._view), options.check, None)

    def call(self, tool: Tool, arguments: Mapping[str, Any]) -> Outcome:
        """What a tool that only looks came to, fit to be shown; whatever goes wrong is in it."""
        run = self._run
        try:
            bound = tool.bind(arguments)
            if scoped(tool.function):
                bound["scope"] = StepScope(self._view, run.options.check, False, self._find, run.secrets)
            with self._road.one_step():
                outcome = outcomes.returned(tool.function(self._road, **bound))
        except Exception as error:
            outcome = outcomes.of_error(error).outcome
        return run.secrets.mask_outcome(outcome)

    def shown(self, arguments: Mapping[str, Any]) -> Any:
        """Arguments without the secrets that are known here."""
        return self._run.secrets.mask_value(arguments)

    def close(self) -> None:
        self._run.close()
