"""The tool that lets a run wait for a person."""

from __future__ import annotations

from typing import Literal

from msgspec.structs import asdict

from ...errors import NotApproved, StepError, TimedOut
from ...events import Decision
from ...model import Access, Outcome, Status, ok
from ...tool import Scope, tool
from ...transport.base import Transport

HOUR = 3600.0


@tool("approve", access=Access.OPERATOR, changes=False, free_form="message")
def approve(
    on: Transport,
    *,
    scope: Scope,
    message: str,
    timeout: float = HOUR,
    role: Literal["observer", "operator", "builder", "admin"] = "operator",
) -> Outcome:
    """Wait until a person says yes; once for all hosts of the play.

    A no, and no answer in time, fail the step. On a terminal it is asked there; a run of a server, or one that was
    started with --await-approval, is answered by POST /runs/RUN/approve or `ikoma-play runs approve RUN`.

    message: the question
    timeout: seconds after which the step fails
    role: what the key of whoever answers must have at least
    """
    unanswered = {"approved": False, "by": None, "reason": "", "at": None}
    if on.dry:
        return Outcome(Status.SKIPPED, unanswered, "not asked in a check")
    if timeout <= 0:
        raise StepError(f"timeout is {timeout:g}, so nobody could answer", remedy="Give seconds, more than 0.")
    decision = scope.decided(message, Access[role.upper()], timeout)
    if decision is None:
        raise TimedOut(
            f"nobody has answered within {timeout:g} s: {message}",
            remedy="Run it again when somebody is there, or allow more time (timeout).",
            result=unanswered,
        )
    result = asdict(decision)
    if not decision.approved:
        raise NotApproved(_said("refused", decision), result=result)
    return ok(result, _said("approved", decision))


def _said(word: str, decision: Decision) -> str:
    return f"{word} by {decision.by}" + (f": {decision.reason}" if decision.reason else "")
