"""A run that goes on, or is undone, after its process has ended: what was done is given back, not done again.

The run is walked through from its beginning. A step that the journal knows the end of hands over what it came to:
its registered variable, facts, notified handlers, and what would undo it. The walk is a run of its own from the
first step on that the journal does not know.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from ..errors import IkomaError
from ..journal.past import SKIP, Past, Recorded
from ..language.templating import Templar
from ..model import Outcome, Status
from ..tool import INTENDED
from . import loops, rollback
from .calls import Call
from .masking import MASK
from .outcomes import Done
from .state import RunState

_BEFORE_ROLLBACK = {Status.ROLLED_BACK: Status.CHANGED, Status.ROLLBACK_FAILED: Status.FAILED}


def performed(call: Call) -> Done | None:
    """What a step came to, from the journal where it knows, else by running it; None where a run that is to be
    undone had come no further on this host."""
    past = call.run.past
    if past is None:
        return call.perform()
    known = past.step(call.host.name, call.occurrence())
    if past.undo and call.frame.kind != "rollback":
        return _looked_back(call, known)
    if known is None:
        return call.perform()
    return _given_back(call, known) if _stands(past, call, known) else _again(past, call, known)


def _looked_back(call: Call, known: Recorded | None) -> Done | None:
    if known is None or known.unfinished:
        call.host.over = True
        if known is not None:
            call.remember(known.undo)
            call.run.unfinished.append(known)
            rollback.undoable(call, Done(Outcome(Status.CHANGED, {"unfinished": True}), True))
        return None
    done = _given_back(call, known)
    undone = call.step.rollback is not None or bool(call.entries) or bool(call.host.open)
    if done.changed and not undone:
        call.run.staying.append(known)
    return done


def _stands(past: Past, call: Call, known: Recorded) -> bool:
    """Whether what the journal has of a step is to be taken as it is."""
    if known.outcome is None or (known.memory.withheld and call.frame.kind != "rollback"):
        return False
    outcome = known.outcome
    if not outcome.status.bad or outcome.ignored:
        return True
    if call.frame.kind == "rollback":
        return not past.undo
    return call.frame.rescued or not past.tries_again(known)


def _again(past: Past, call: Call, known: Recorded) -> Done:
    """Run a step that was run before, at least begun."""
    if past.answers.get(known.number) == SKIP:
        return _taken_as_done(call, known)
    call.remember(known.undo)
    call.again = known.unfinished
    done = call.perform()
    began = known.unfinished and call.prepared.tool.changes and call.step.changed_when is None
    if (began or known.memory.changed) and not done.outcome.status.bad and not done.skipped:
        # What it finds in place its own first time may have put there: handlers and conditions are to know.
        status = Status.CHANGED if done.outcome.status is Status.OK else done.outcome.status
        done = replace(done, outcome=replace(done.outcome, status=status), changed=True)
    return done


def _taken_as_done(call: Call, known: Recorded) -> Done:
    if known.outcome is not None:
        return _given_back(call, known)
    call.title = known.title
    call.remember(known.undo)
    return Done(Outcome(Status.CHANGED, message="begun before the run's process ended, and taken as done"), True)


def _given_back(call: Call, known: Recorded) -> Done:
    assert known.outcome is not None
    call.replayed = True
    call.title, call.arguments, call.notified = known.title, known.arguments, known.memory.notified
    call.hidden = known.outcome.hidden
    told = known.memory.changed or known.outcome.status.bad or call.step.changed_when is not None
    # Of a step that found everything as asked nothing is kept, unless its process died before it dropped that.
    call.remember(each for each in known.undo if told or each.get(INTENDED))
    _learn_secrets(call)
    outcome, extra = known.outcome, known.memory.extra
    if known.memory.withheld:
        name = call.step.register or "result"
        outcome = replace(outcome, result=_without_masks(outcome.result, name))
        extra = _without_masks(extra, name)
    outcome = replace(outcome, status=_BEFORE_ROLLBACK.get(outcome.status, outcome.status))
    done = Done(outcome, known.memory.changed, extra)
    call.take_facts(done)
    call.host.tally.seconds += outcome.seconds
    return done


def _learn_secrets(call: Call) -> None:
    """What the step was given is as secret as when it ran: later steps may print it."""
    if not call.step.no_log and not call.prepared.secret & call.prepared.args.keys():
        return
    try:
        templars = [call.templar]
        if call.step.loop is not None:
            items = loops.items_of(call.step.loop, call.templar)
            templars = [Templar(call.view.over(layer)) for _, layer in loops.layers(call.step.loop, items, False)]
        for templar in templars:
            values = call.prepared.render(templar)
            call.prepared.shown(values, call.run.secrets)
            if call.hidden:
                call.run.secrets.add_hidden(values)
    except IkomaError:
        return  # it cannot be rendered any more, nor by what comes later


def _without_masks(value: Any, name: str) -> Any:
    """The value with what a secret was left out of made undefined, so that nobody takes the mask for it."""
    if isinstance(value, Mapping):
        return {key: _without_masks(each, f"{name}.{key}") for key, each in value.items()}
    if isinstance(value, list):
        return [_without_masks(each, f"{name}[{place}]") for place, each in enumerate(value)]
    if isinstance(value, str) and MASK in value:
        from ..language.jinja_environment import Missing

        return Missing(f"{name} was secret, so the journal does not have it", name=name)
    return value


def undo_all(state: RunState) -> None:
    """Undo what every host had completed, of all plays, the newest first."""
    hosts = [host for host in state.hosts.values() if any(entry.touched for entry in host.undo)]
    for host in hosts:
        host.unreachable = False  # it may be back
    state.each(hosts, rollback.undo)
