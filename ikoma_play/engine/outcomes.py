"""From what a tool returns or raises to an outcome, and from an outcome to the registered variable."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from msgspec import Struct, field
from msgspec.structs import replace

from ..errors import CommandFailed, IkomaError, Interrupted, StepError, Unreachable
from ..language.plain import plain
from ..model import Failure, Outcome, Position, Status
from ..transport.faults import of_input


class Done(Struct, frozen=True):
    """What one attempt, item or step came to: its outcome and the registered variable.

    `changed` is kept apart since a failed command has mostly changed something."""

    outcome: Outcome
    changed: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)  # further keys of the registered variable

    @property
    def failed(self) -> bool:
        return self.outcome.status is Status.FAILED

    @property
    def skipped(self) -> bool:
        return self.outcome.status is Status.SKIPPED

    @property
    def unreachable(self) -> bool:
        return self.outcome.status is Status.UNREACHABLE

    def registered(self) -> dict[str, Any]:
        """The variable that `register` names: the result's own keys, and the step's state."""
        outcome = self.outcome
        result = outcome.result
        value: dict[str, Any] = {}
        if isinstance(result, Mapping):
            value.update(result)
            value.setdefault("result", result)
        elif result is not None or not outcome.items:
            value["result"] = result
        value["changed"] = self.changed
        value["failed"] = self.failed or self.unreachable
        if self.skipped:  # as in Ansible, where people ask whether it is defined
            value["skipped"] = True
        if self.unreachable:
            value["unreachable"] = True
        message = outcome.failure.message if outcome.failure and not value.get("msg") else outcome.message
        if message:
            value.setdefault("msg", message)
        if outcome.failure is not None:
            value["error"] = of_failure(outcome.failure)
        if outcome.warnings:
            value["warnings"] = list(outcome.warnings)
        value.update(self.extra)
        return value


def of_failure(failure: Failure) -> dict[str, str]:
    """What `error` of a registered variable says: {code, message, remedy}."""
    return {"code": failure.code, "message": failure.message, "remedy": failure.remedy}


def returned(outcome: Outcome) -> Outcome:
    """What a tool returned, with its result as plain data, and a failure where it failed."""
    if outcome.result is not None:
        outcome = replace(outcome, result=plain(outcome.result))
    if outcome.status is Status.FAILED and outcome.failure is None:
        outcome = replace(outcome, failure=Failure("step-failed", outcome.message or "the step failed"))
    return outcome


def of_outcome(outcome: Outcome) -> Done:
    """What a step came to whose tool returned this."""
    outcome = returned(outcome)
    changed = outcome.status is Status.CHANGED
    if outcome.status is Status.FAILED:
        changed = isinstance(outcome.result, Mapping) and bool(outcome.result.get("changed", "rc" in outcome.result))
    return Done(outcome, changed)


def of_error(error: BaseException, position: Position | None = None) -> Done:
    """The one place where an exception becomes an outcome; never a traceback. What ends the run passes by."""
    if isinstance(error, Interrupted):
        raise error
    error = of_input(error) or error
    if isinstance(error, Unreachable):
        return Done(Outcome(Status.UNREACHABLE, failure=_placed(error.failure, position)))
    if isinstance(error, IkomaError):
        result = plain(error.returned) if isinstance(error, StepError) and error.returned is not None else None
        ran = isinstance(error, CommandFailed) and error.command.changes
        changed = ran if not isinstance(result, Mapping) else bool(result.get("changed", ran))
        return Done(Outcome(Status.FAILED, result, failure=_placed(error.failure, position)), changed)
    import traceback

    frames = traceback.extract_tb(error.__traceback__)
    where = f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""
    said = str(error).strip() or "no message"
    failure = Failure(
        "internal",
        f"{type(error).__name__}: {said}{where}",
        "This is a fault of ikoma-play, not of the playbook: report it with this line.",
        position=position,
    )
    return Done(Outcome(Status.FAILED, failure=failure))


def failed(code: str, message: str, remedy: str = "", position: Position | None = None, evidence: str = "") -> Done:
    return Done(Outcome(Status.FAILED, failure=Failure(code, message, remedy, evidence, position)))


def skipped(message: str, **extra: Any) -> Done:
    return Done(Outcome(Status.SKIPPED, message=message), extra={"skip_reason": message, **extra})


def _placed(failure: Failure, position: Position | None) -> Failure:
    return failure if failure.position is not None or position is None else replace(failure, position=position)


def of_items(items: list[Done]) -> Done:
    """The outcome of a whole loop: failed if one is, changed if one is, skipped if all are."""
    if not items:
        return Done(
            Outcome(Status.SKIPPED, message="no items in the list"),
            extra={"results": [], "skip_reason": "No items in the list", "skipped_reason": "No items in the list"},
        )
    outcomes = tuple(done.outcome for done in items)
    changed = any(done.changed for done in items)
    results = [done.registered() for done in items]
    failure = next((outcome.failure for outcome in outcomes if outcome.failure), None)
    if any(done.unreachable for done in items):
        status = Status.UNREACHABLE
    elif any(done.failed for done in items):
        status = Status.FAILED
    elif all(done.skipped for done in items):
        status = Status.SKIPPED
    else:
        status = Status.CHANGED if changed else Status.OK
    message = {Status.FAILED: "One or more items failed", Status.SKIPPED: "All items skipped"}.get(
        status, "All items completed"
    )
    facts: dict[str, Any] = {}
    for outcome in outcomes:
        facts.update(outcome.facts)
    outcome = Outcome(
        status,
        failure=failure if status.bad else None,
        items=outcomes,
        facts=facts,
        diffs=tuple(diff for each in outcomes for diff in each.diffs),
        warnings=tuple(warning for each in outcomes for warning in each.warnings),
        attempts=max(each.attempts for each in outcomes),
        hidden=any(each.hidden for each in outcomes),
    )
    return Done(outcome, changed, {"results": results, "msg": message})
