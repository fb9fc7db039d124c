"""Looking after what went on in the background: async with poll 0."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from ...errors import NotFound, StepError
from ...model import Access, Outcome, Result, changed, ok
from ...tool import tool
from ...transport import background
from ...transport.base import Transport
from .commands import returned


@tool("async_status", access=Access.ADMIN, changes=False)
def async_status(on: Transport, *, jid: str, mode: Literal["status", "cleanup"] = "status") -> Outcome:
    """Tell how far a step is that goes on in the background, or forget what it left.

    jid: its id: ansible_job_id of what the step registered
    mode: status: tell how far it is; cleanup: remove what the host keeps of it
    """
    told: dict[str, Any] = {"ansible_job_id": jid, "started": 1, "finished": 1}
    try:
        found = background.standing(on, jid)
    except NotFound as error:
        raise StepError(error.message, remedy=error.remedy, result=told) from None
    told["results_file"] = found.folder
    if mode == "cleanup":
        background.forget(on, jid)
        return ok({**told, "erased": found.folder})
    if not found.finished:
        return ok({**told, "finished": 0}, message="still at it")
    if found.vanished:
        raise StepError("it ended without a result: it was killed, or the host was started anew", result=told)
    if found.result is not None:
        return _of_runner(found.result, told)
    return _of_command(found, told)


def _of_command(found: background.Standing, told: dict[str, Any]) -> Outcome:
    result = Result(found.code or 0, found.stdout, found.stderr, max(found.ended - found.began, 0.0))
    shown = found.about.get("cmd", "")
    told |= returned(shown, bool(found.about.get("strip", True)), result, datetime.fromtimestamp(found.began))
    if found.overdue:
        raise StepError("it was ended, since it took longer than async lets it", result=told)
    if result.exit_code:
        what = shown[0] if isinstance(shown, list) and shown else str(shown).partition("\n")[0][:80]
        text = f"{what} ended with exit code {result.exit_code}"
        raise StepError(text, evidence=result.stderr.decode("utf-8", "replace")[-2000:],
                        result={**told, "changed": True})  # fmt: skip
    return changed(told)


def _of_runner(result: Any, told: dict[str, Any]) -> Outcome:
    """What a tool that the runner carried out came to."""
    told |= result
    if result.get("failed"):
        raise StepError(str(result.get("msg") or "it failed"), result=told)
    return changed(told) if result.get("changed") else ok(told)
