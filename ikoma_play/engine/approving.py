"""A step that asks a person: the question is put where it can be answered, told of, and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable

from ..events import Decision, Question, StepWaits
from ..model import Access, Step
from .state import RunState

Decide = Callable[[str, Access, float], Decision | None]


def asking(run: RunState, step: Step, title: str, host: str, occurrence: str) -> Decide | None:
    """How a step asks; None in a run where nobody is to be asked. What this gives raises StepError where nobody could
    answer, and Interrupted when the run is to end before somebody has."""
    approvals = run.options.approvals
    if approvals is None:
        return None

    def decided(text: str, role: Access, timeout: float) -> Decision | None:
        asked = Question(run.id, host, occurrence, run.secrets.mask(text), role, time.time() + timeout)
        question = approvals.ask(asked)
        run.emit(StepWaits(run.id, time.time(), step, title, host, question))
        return approvals.answer(question, run.stopping.is_set)

    return decided
