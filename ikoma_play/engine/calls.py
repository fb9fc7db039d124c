"""One step on one host: conditions, loop, retries, the tool, and the judgement of what it came to."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from functools import partial
from typing import Any

from msgspec.structs import replace

from ..errors import IkomaError, Interrupted, JournalError, StepError, TemplateFailed
from ..events import Event, Memory, StepFinished, StepProgress, StepRetried, StepStarted, UndoRecorded
from ..language.foreign import traced
from ..language.templating import Layer, Templar, has_template
from ..model import EMPTY, Failure, Outcome, Progress, Retry, Status
from ..tool import CACHEABLE, CALL, INTENDED, Undoing
from ..transport.base import Transport
from . import loops, outcomes, reach, undoing
from .approving import asking
from .hosts import Frame, HostRun, Undo
from .outcomes import Done
from .prepared import Prepared
from .roads import called_in_time
from .scope import StepScope
from .stage import Stage
from .state import number, truth


class Call:
    """One call of a step's tool on one host, or of a loop of them."""

    def __init__(self, play: Stage, prepared: Prepared, host: HostRun, frame: Frame) -> None:
        self.play = play
        self.run = play.run
        self.prepared = prepared
        self.step = prepared.step
        self.host = host
        self.frame = frame
        params = (*frame.params, Layer(self.step.given_vars))  # an include's own, as what it brings has them
        see = self.run.secrets.see
        self.view = host.variables.view(play.variables, self.step, params, prepared.find, see, frame.keep)
        self.templar = Templar(self.view)
        self.notifying = [self.templar]  # what the names of handlers are rendered with: one for each item
        self.hidden = False
        self.title = self.step.title
        self.arguments: Mapping[str, Any] = EMPTY
        self.started = False
        self.notified: tuple[str, ...] = ()
        self.entries: list[Undo] = []  # what would undo it, one for each item of a loop
        self.touched = False  # something may have been changed
        self._captured = False
        self._way: Transport | None = None  # what the tool was given, and what had been asked on it before
        self._before = self._trips = 0
        self.foreign_items = True  # what it repeats over may come from a host
        self.again = False  # an earlier process had begun it, and how far it came is not known
        self.replayed = False  # given back from the journal: nobody is told of it again
        self._occurrence = ""

    # --- the whole step ---

    def perform(self) -> Done:
        """Run the step and tell of it; whatever goes wrong is in the outcome."""
        begun = time.perf_counter()
        self.occurrence()
        try:
            self.hidden = truth(self.step.no_log, self.templar) if self.step.no_log else False
            self.title = self._title()
            done = self._looped() if self.step.loop is not None else self._once(self.templar)
        except Exception as error:
            done = outcomes.of_error(error, self.step.position)
        done = self._forgiven(done)
        seconds = time.perf_counter() - begun
        hidden = self.hidden or done.outcome.hidden
        outcome = replace(done.outcome, seconds=seconds, hidden=hidden, round_trips=self._trips)
        self.host.tally.seconds += seconds
        return replace(done, outcome=outcome)

    def occurrence(self) -> str:
        """Which of the host's steps this is; given when it is first asked for."""
        if not self._occurrence:
            self._occurrence = self.host.occurrence(self.frame.kind, self.prepared.digest)
        return self._occurrence

    def finished(self, outcome: Outcome, done: Done) -> StepFinished:
        """The event that tells what the step came to."""
        return StepFinished(
            self.run.id, time.time(), self.step, self.title, self.host.name, self.frame.kind,
            EMPTY if self.hidden else self.arguments, outcome, self.occurrence(),
            Memory(done.changed, done.extra, self.notified, touched=self.touched),
        )  # fmt: skip

    def _title(self) -> str:
        title = self.step.title
        if "{" not in title:
            return title
        try:
            return str(self.templar.render(title))
        except IkomaError:
            return title

    def _forgiven(self, done: Done) -> Done:
        """ignore_errors and ignore_unreachable; a mistake in them is a failure of its own."""
        said = self.step.ignore_errors if done.failed else self.step.ignore_unreachable if done.unreachable else False
        if said is False:
            return done
        try:
            ignored = truth(said, self.templar)
        except TemplateFailed as error:
            return outcomes.of_error(error, self.step.position)
        return replace(done, outcome=replace(done.outcome, ignored=True)) if ignored else done

    # --- loops ---

    def _looped(self) -> Done:
        loop = self.step.loop
        assert loop is not None
        try:
            items, self.foreign_items = traced(lambda: loops.items_of(loop, self.templar))
        except TemplateFailed:
            # What the loop needs may be missing just because the step is not to run here.
            if (refused := self._refused(self.templar, lenient=True)) is not None:
                return refused
            raise
        done: list[Done] = []
        extended = truth(loop.extended, self.templar)
        every = truth(loop.extended_allitems, self.templar)
        pause = number("pause", loop.pause, self.templar, loop.position)
        own = has_template(self.step.notify)
        self.notifying = [] if own else self.notifying
        for item, layer in loops.layers(loop, items, extended, every, self.foreign_items):
            if done and pause:
                self.run.stopping.wait(pause)
            if self.run.stopping.is_set():
                break
            templar = Templar(self.view.over(layer))
            one = self._item(templar, item, layer.values)
            done.append(one)
            self.notifying += [templar] if own and not one.skipped else []
            if loop.break_when and templar_test(templar, loop.break_when, self.step.register, one):
                break
        return outcomes.of_items(done)

    def _item(self, templar: Templar, item: Any, place: Mapping[str, Any]) -> Done:
        loop = self.step.loop
        assert loop is not None
        one = self._once(templar)
        try:
            label = item if loop.label is None else templar.render(loop.label)
        except TemplateFailed:
            label = item
        outcome = replace(one.outcome, item=label, hidden=self.hidden)
        return replace(one, outcome=outcome, extra={**one.extra, **place})

    # --- one item, or the step without a loop ---

    def _refused(self, templar: Templar, lenient: bool = False) -> Done | None:
        """The outcome where a condition keeps the step from running."""
        for condition in self.step.when:
            try:
                holds = templar.test(condition)
            except TemplateFailed as error:
                if lenient:
                    return None
                raise _of_condition(error, condition) from error
            if not holds:
                return outcomes.skipped("Conditional result was False", false_condition=condition)
        return None

    def _once(self, templar: Templar) -> Done:
        begun = time.perf_counter()
        self._captured = False
        try:
            done = self._refused(templar)
            if done is None:
                retry = self.step.retry
                done = self._attempt(templar) if retry is None else self._retried(templar, retry)
                self.take_facts(done)
        except Exception as error:
            done = outcomes.of_error(error, self.step.position)
        return replace(done, outcome=replace(done.outcome, seconds=time.perf_counter() - begun))

    def _retried(self, templar: Templar, retry: Retry) -> Done:
        at = self.step.position
        retries = int(number("retries", retry.retries, templar, at))
        if retries <= 0:  # as in Ansible: neither tried again nor asked whether `until` holds
            return self._attempt(templar)
        most = retries + 1
        delay = max(number("delay", retry.delay, templar, at), 0.0)
        backoff = max(number("backoff", retry.backoff, templar, at), 1.0)
        for attempt in range(1, most + 1):
            done = self._attempt(templar)
            done = replace(
                done,
                outcome=replace(done.outcome, attempts=attempt),
                extra={**done.extra, "attempts": attempt},
            )
            if done.skipped or done.unreachable or self._good_enough(templar, retry, done):
                return done
            if attempt == most or self.run.stopping.is_set():
                break
            outcome = replace(done.outcome, hidden=self.hidden)
            self.run.emit(
                StepRetried(self.run.id, time.time(), self.step, self.host.name, attempt, most, delay, outcome)
            )
            self.run.stopping.wait(delay)
            delay *= backoff
        # The registered variable counts as Ansible's does once all is in vain: the tries after the first.
        done = replace(done, extra={**done.extra, "attempts": retries})
        if done.failed:
            return done
        told = ", ".join(map(str, retry.until))
        failure = Failure("until", f"after {done.outcome.attempts} attempts this does not hold yet: {told}")
        return replace(done, outcome=replace(done.outcome, status=Status.FAILED, failure=failure))

    def _good_enough(self, templar: Templar, retry: Retry, done: Done) -> bool:
        if not retry.until:
            return not done.failed
        return templar_test(templar, retry.until, self.step.register, done)

    def _attempt(self, templar: Templar) -> Done:
        """Call the tool once and judge what it came to."""
        self._way = None
        try:
            done = reach.twice_if_lost(self.prepared, partial(self._called, templar), lambda: self.arguments)
        except Exception as error:
            done = outcomes.of_error(error, self.step.position)
        self._trips += self._way.round_trips - self._before if self._way is not None else 0
        if self.step.async_seconds and "started" not in done.registered():
            done = replace(done, extra={**done.extra, "started": 1, "finished": 1})
        if self.step.changed_when is None and self.step.failed_when is None:
            return done
        return done if done.skipped or done.unreachable else self._judged(templar, done)

    def _called(self, templar: Templar, again: bool) -> Done:
        run, prepared = self.run, self.prepared
        values = prepared.render(templar)
        shown = prepared.shown(values, run.secrets)
        if self.hidden:
            run.secrets.add_hidden(values)
            shown = {}
        self.arguments = self.arguments or shown
        self._tell_start()
        kwargs = prepared.bind(values)
        dry = reach.is_dry(run, self.step, templar)
        delegate = reach.delegate(self.step, templar)
        detached = reach.background_limit(self.step, templar) if reach.goes_on(self.step, templar, dry) else None
        way = reach.road(run, self.host, self.step, templar, dry, delegate, detached=detached)
        way.progress = self._progress
        self._way, self._before = way, way.round_trips
        auto = (self.step.auto_rollback or run.options.single) and self.frame.kind != "rollback"
        kept = dict(kwargs) if auto and not dry and not self._captured else None
        if prepared.scoped:
            diff = run.options.diff if self.step.diff is None else truth(self.step.diff, templar)
            when = Undoing(run.late, self.host.tally.rollback_failed > 0)
            asked = asking(run, self.step, self.title, self.host.name, self.occurrence())
            known = (f"{run.id} {self.occurrence()}", again or self.again)
            kwargs["scope"] = StepScope(templar.variables, dry, diff, prepared.find, run.secrets, when, asked, *known)
        if not dry:
            run.held.application(prepared.tool, way.host, values)
        lost = ""
        with way.one_step():
            if kept is not None:
                lost = self._capture(way, kept, delegate)
            touched, self.touched = self.touched, True
            if detached is not None and not prepared.tool.detaches:

                def apart(name: str) -> Transport:
                    return reach.road(run, self.host, self.step, templar, dry, delegate, apart=name)

                done = outcomes.of_outcome(run.background.start(prepared.tool, apart, kwargs, detached))
            else:
                done = outcomes.of_outcome(called_in_time(prepared.tool.function, way, kwargs))
            self.touched = touched or done.changed or done.failed
        if lost and done.changed:
            done = replace(done, outcome=replace(done.outcome, warnings=(*done.outcome.warnings, lost)))
        if self.hidden:
            run.secrets.add_hidden(done.outcome.result)
        return done

    def _capture(self, way: Transport, arguments: Mapping[str, Any], delegate: str | None) -> str:
        """Have the tool keep what it is about to change, and write down how that is undone. From then on it is
        among what is undone on the host, so that a step that fails half-way is undone too. Raises what keeps it
        from that: then nothing must be changed. Gives it where a failure undoes nothing: being undone is a favour."""
        undo = self.prepared.tool.undo
        if undo is None:
            return ""
        import secrets

        number = CALL if self.run.options.single else f"{len(self.host.undo):03}"
        name = f"{self.run.id}/{number}-{secrets.token_hex(3)}"
        try:
            intended = undo.intend(way, name, **arguments)
            self.keep_undo({"delegate": delegate, "record": intended, INTENDED: True})
            recorded = {"delegate": delegate, "record": undo.capture(way, name, **arguments)}
        except StepError as error:
            if not (self.run.options.single or self.play.play.rollback_scope == "none"):
                raise
            return f"this cannot be undone later: {error.message.removesuffix('; nothing was changed')}"
        self.keep_undo(recorded)
        self.entries += undoing.remember(self.play, self.host, self.step, self.frame, recorded)
        self._captured = True
        return ""

    def _tell_start(self) -> None:
        if not self.started:
            self.started = True
            shown = EMPTY if self.step.loop is not None else self.arguments
            self._write_down(
                StepStarted(
                    self.run.id, time.time(), self.step, self.title, self.host.name, self.frame.kind, shown,
                    self.occurrence(),
                )
            )  # fmt: skip

    def keep_undo(self, record: Any) -> None:
        """Write down how a change is undone (plain JSON without secrets) before it is made, or raise JournalError."""
        event = UndoRecorded(self.run.id, time.time(), self.step, self.host.name, self.occurrence(), record)
        self._write_down(event)

    def remember(self, recorded: Iterable[Mapping[str, Any]]) -> None:
        """Put what an earlier process wrote down of this step among what is undone."""
        for each in recorded:
            if each.get(INTENDED):
                undoing.abandon(self.play, self.host, self.step, self.frame, each)
                continue
            self.entries += undoing.remember(self.play, self.host, self.step, self.frame, each)
            self.touched = True

    def _write_down(self, event: Event) -> None:
        self.run.emit(event)
        if isinstance(self.run.observer_error, JournalError):
            raise self.run.observer_error  # nothing touches a host that is not written down before
        if self.run.aborted:  # in the middle of telling, perhaps
            raise Interrupted("the run was interrupted")

    def _progress(self, progress: Progress) -> None:
        if not self.hidden:
            self.run.emit(StepProgress(self.run.id, time.time(), self.step, self.host.name, progress), wait=False)

    def _judged(self, templar: Templar, done: Done) -> Done:
        """What changed_when and failed_when make of an outcome."""
        step = self.step
        try:
            if step.changed_when is not None:
                did = templar_test(templar, step.changed_when, step.register, done)
                done = replace(done, changed=did)
            wrong = done.failed
            if step.failed_when is not None:
                wrong = templar_test(templar, step.failed_when, step.register, done)
        except TemplateFailed as error:
            again = outcomes.of_error(error, step.position)
            return replace(done, outcome=replace(done.outcome, status=Status.FAILED, failure=again.outcome.failure))
        outcome, extra = done.outcome, done.extra
        if not wrong:
            status = Status.CHANGED if done.changed else Status.OK
            if (failure := outcome.failure) is not None:  # forgiven, and still what later steps may tell
                extra = {**extra, "error": outcomes.of_failure(failure)}
                outcome = replace(outcome, message=outcome.message or failure.message)
            outcome = replace(outcome, status=status, failure=None)
        elif outcome.status is not Status.FAILED:
            told, message = " and ".join(map(str, step.failed_when or ())), outcome.message or ""
            failure = Failure("failed-when", f"failed_when holds: {told}", evidence=message, position=step.position)
            outcome = replace(outcome, status=Status.FAILED, failure=failure)
        if step.failed_when is not None:
            extra = {**extra, "failed_when_result": wrong}
        return replace(done, outcome=outcome, extra=extra)

    def take_facts(self, done: Done) -> None:
        """Variables that the tool found out; at once, since the next item may ask for them."""
        facts = done.outcome.facts
        if not facts:
            return
        to = self.host
        if self.step.delegate_to is not None and truth(self.step.delegate_facts, self.templar):
            to = self.run.host(reach.delegate(self.step, self.templar) or to.name)
        if self.prepared.tool.name == "set_fact":
            to.variables.results.update(facts)
            if isinstance(done.outcome.result, dict) and done.outcome.result.get(CACHEABLE):
                to.variables.facts.update({f"ansible_{name}": value for name, value in facts.items()})
            if self.frame.keep is not None:
                self.frame.keep.update(facts)
        elif self.prepared.tool.name == "include_vars":
            to.variables.included.update(facts)
        else:
            to.variables.facts.update(facts)


def templar_test(templar: Templar, conditions: Any, register: str | None, done: Done) -> bool:
    """Whether conditions hold, with the step's result under its registered name."""
    named = {register: done.registered()} if register else {}
    return Templar(templar.variables.over(Layer(named, authored=False, foreign=True))).test(conditions)


def _of_condition(error: TemplateFailed, condition: Any) -> TemplateFailed:
    if error.evidence and str(condition) in error.evidence:
        return error
    error.evidence = f"when: {condition}\n{error.evidence}".rstrip()
    return error
