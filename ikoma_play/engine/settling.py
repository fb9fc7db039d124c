"""After a step: counts, the registered variable, notified handlers, what would undo it, the event."""

from __future__ import annotations

from msgspec.structs import replace

from ..language.plain import flatten
from ..model import Failure, Outcome, Status, Step
from . import rollback, undoing
from .calls import Call
from .hosts import Frame, HostRun
from .masking import Secrets, looks_secret
from .outcomes import Done
from .stage import Stage


def settle(play: Stage, call: Call, done: Done) -> bool:
    """Take in what a step came to on a host; True when the host fails by it. What was given back from the journal
    counts like all else, and is told to nobody again."""
    host, step, frame = call.host, call.step, call.frame
    if play.run.aborted:  # what it came to is the doing of who ended it
        return done.outcome.status.bad
    keep_result(host, step, frame, done, play.run.secrets)
    if (done.changed or step.rollback is not None) and not done.outcome.status.bad:
        done = _notify(play, call, done)
    outcome = done.outcome
    bad = outcome.status.bad and not outcome.ignored
    if frame.kind != "rollback" and not outcome.status.bad and outcome.status is not Status.SKIPPED:
        rollback.undoable(call, done)
    if bad:
        keep_failure(host, step, done)
    shown = _as_rollback(outcome) if frame.kind == "rollback" else outcome
    count(host, shown, done.changed, frame, _times(step, outcome))
    event = call.finished(shown, done)
    if bad:
        play.run.failed_with(host, event)
    if not call.replayed:
        play.run.emit(event, wait=bool(call.entries))  # what is kept for undoing goes only once that is written
    if call.entries and not call.touched and step.changed_when is None:
        undoing.unchanged(play, host, call.entries)
    if outcome.status is Status.UNREACHABLE and not outcome.ignored:
        host.unreachable = True
    return bad


def keep_result(host: HostRun, step: Step, frame: Frame, done: Done, secrets: Secrets) -> None:
    """`register`, also where the step was skipped or failed."""
    if step.register is None:
        return
    value = done.registered()
    if looks_secret(step.register):
        secrets.add(value)
    host.variables.results[step.register] = value
    if frame.keep is not None:
        frame.keep[step.register] = value


def keep_failure(host: HostRun, step: Step, done: Done) -> None:
    """What a rescue may ask for: the step that failed and its result."""
    host.variables.results["ansible_failed_task"] = {
        "name": step.name,
        "action": step.tool,
        "args": dict(step.args),
        "position": str(step.position),
    }
    host.variables.results["ansible_failed_result"] = done.registered()


def count(host: HostRun, outcome: Outcome, changed: bool, frame: Frame, times: int = 1) -> None:
    """A step counts once on each host, as Ansible counts; a rollback handler under its own names."""
    tally, status = host.tally, outcome.status
    if status is Status.ROLLED_BACK:
        tally.rolled_back += 1
    elif status is Status.ROLLBACK_FAILED:
        tally.rollback_failed += 1
    elif status is Status.SKIPPED:
        tally.skipped += 1
    elif status is Status.UNREACHABLE and not outcome.ignored:
        tally.unreachable += 1
    elif status is Status.FAILED and not outcome.ignored:
        if frame.rescued:
            tally.rescued += 1
        else:
            tally.failed += 1
    else:
        tally.ok += times
        tally.changed += changed
        tally.ignored += outcome.ignored


def _times(step: Step, outcome: Outcome) -> int:
    """How often a step counts: a loop of includes counts each, as Ansible does."""
    if step.loop is None or step.tool not in ("include_tasks", "include_role"):
        return 1
    return sum(1 for item in outcome.items if item.status is not Status.SKIPPED)


def _as_rollback(outcome: Outcome) -> Outcome:
    if outcome.status is Status.SKIPPED:
        return outcome
    bad = outcome.status.bad and not outcome.ignored
    return replace(outcome, status=Status.ROLLBACK_FAILED if bad else Status.ROLLED_BACK)


def _notify(play: Stage, call: Call, done: Done) -> Done:
    if not done.changed or call.frame.kind == "rollback":
        return done
    if call.replayed:
        for name in call.notified:
            play.handlers.notify(call.host, name)
        return done
    rendered = [templar.render(name) for templar in call.notifying for name in call.step.notify]
    call.notified = tuple(dict.fromkeys(map(str, flatten(rendered))))
    for name in call.notified:
        if not play.handlers.notify(call.host, name):
            known = play.handlers.nearest(name)
            failure = Failure(
                "unknown-handler",
                f"there is no handler named {name!r}",
                f"Did you mean {known!r}?" if known else "Add it to the play's or the role's handlers.",
                position=call.step.position,
            )
            done = replace(done, outcome=replace(done.outcome, status=Status.FAILED, failure=failure))
    return done
