"""A run from its first event to its report."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from queue import SimpleQueue
from types import FrameType
from typing import Any

from ..errors import IkomaError, Interrupted, JournalError, UsageError
from ..events import Observer, Report, RunFinished, RunStarted, Warned
from ..journal.past import Past
from ..model import Failure, Playbook
from ..spelling import did_you_mean
from ..tool import Toolbox
from . import replay, undoing
from .locking import Locking
from .options import Options
from .plays import PlayRun
from .roads import Connect
from .state import Inventory, RunState, nodes_below
from .tags import chosen

STOPPING = "it stops after the step that is under way; a second signal stops it at once"


def run(
    playbooks: Sequence[Playbook],
    inventory: Inventory,
    tools: Toolbox,
    options: Options,
    observers: Sequence[Observer],
    connect: Connect,
    locking: Locking | None = None,
    past: Past | None = None,
) -> Report:
    """Run playbooks in order and tell what became of every host. Raises FaultsFound and UsageError, and
    Locked where another run holds a play's lock; never a step's own failure: that is in the report. The first
    SIGINT or SIGTERM ends the run after the step it is at.

    `past` is what an earlier process did of this run: it goes on from there under its own id, or is undone."""
    state = RunState(inventory, tools, options, observers, connect, locking, past)
    _demand_sense(state, playbooks, options)
    began = time.perf_counter()
    known = sum(1 for playbook in playbooks for step in _known(playbook, options))
    paths = tuple(book.path for book in playbooks)
    with _signals(state):  # from before anybody is told: what says that it runs can be stopped in order
        state.emit(RunStarted(state.id, time.time(), paths, options.check, known, _again(state)))
        if isinstance(failed := state.observer_error, JournalError):
            raise UsageError(f"nothing was run: {failed.message}", remedy=failed.remedy, evidence=failed.evidence)
        report = _carried_out(state, playbooks, began)
    if state.observer_error is not None:
        raise state.observer_error
    return report


def _carried_out(state: RunState, playbooks: Sequence[Playbook], began: float) -> Report:
    interrupted = False
    stopped_by: Failure | None = None
    try:
        plays: list[PlayRun] = []
        for playbook in playbooks:
            state.enter(str(Path(playbook.path).absolute().parent))
            if _perform(state, playbook, plays):
                break
        if state.past is not None and state.past.undo:
            _undo(state)
        else:
            _expire(state, plays)
    except (Interrupted, KeyboardInterrupt):
        interrupted = True
    except IkomaError as error:
        stopped_by = error.failure
        raise
    finally:
        try:
            state.settle()
            report = _report(state, time.perf_counter() - began, interrupted or state.stopping.is_set(), stopped_by)
            state.emit(RunFinished(state.id, time.time(), report))
            state.telling.end()
        finally:
            state.roads.close()  # last: nobody has to wait for what the hosts do about it
    return report


def _expire(state: RunState, plays: Sequence[PlayRun]) -> None:
    """What older runs kept for their undoing may go where this one has ended well."""
    well = [host for host in state.hosts.values() if host.undo and not (host.failed or host.unreachable)]
    if plays and well:
        state.each(well, lambda host: undoing.expire(plays[-1], host))


def _perform(state: RunState, playbook: Playbook, plays: list[PlayRun]) -> bool:
    """Run the plays of a playbook, which are added to `plays`; True when nothing further is to run."""
    for play in playbook.plays:
        current = PlayRun(state, play)
        plays.append(current)
        current.perform()
        if current.broken:
            return True
        hosts = [state.hosts[name] for name in state.play_hosts]
        if hosts and all(host.failed or host.unreachable or host.over for host in hosts):
            return True
    return False


def _again(state: RunState) -> str:
    past = state.past
    return "" if past is None else "undo" if past.undo else "resume"


def _undo(state: RunState) -> None:
    """Undo the whole run, and tell what that leaves."""
    for step in state.unfinished:
        state.warn(
            f"{step.title} on {step.host} was under way when the run ended: how much of it was done is not known"
        )
    replay.undo_all(state)
    if state.staying:
        titles = ", ".join(dict.fromkeys(step.title for step in state.staying))
        state.warn(f"what these steps changed stays, since they have no rollback: {titles}")


def _demand_sense(state: RunState, playbooks: Sequence[Playbook], options: Options) -> None:
    """Options that would let the run pass by everything are a mistake. Raises UsageError."""
    if options.limit and not state.select(options.limit):
        raise UsageError(
            f"--limit {options.limit} matches no host", remedy=did_you_mean(options.limit, state.inventory.hosts)
        )
    if options.start_at_step is not None:
        titles = [
            step.name
            for playbook in playbooks
            for play in playbook.plays
            for step in nodes_below(play.steps)
            if step.name
        ]
        if not any(fnmatchcase(title, options.start_at_step) or title == options.start_at_step for title in titles):
            raise UsageError(
                f"there is no step named {options.start_at_step!r} to start at",
                remedy=did_you_mean(
                    options.start_at_step, titles, "Steps that an include brings cannot be started at."
                ),
            )


def _known(playbook: Playbook, options: Options) -> Iterator[Any]:
    """The steps that are known to be due before anything runs, for a progress bar."""
    for play in playbook.plays:
        for step in nodes_below(play.steps):
            if step.tool != "meta" and chosen(step.tags, options.tags, options.skip_tags):
                yield step


@contextmanager
def _signals(state: RunState) -> Iterator[None]:
    """The first signal asks the run to stop after its step, the second stops it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    # Told from a thread: what the signal has interrupted may be telling something itself. Such a queue may be put to
    # by a signal at any instant.
    signalled: SimpleQueue[bool] = SimpleQueue()

    def tell() -> None:
        if signalled.get():
            state.emit(Warned(state.id, time.time(), STOPPING, at_once=True))

    telling = threading.Thread(target=tell, daemon=True)
    telling.start()

    def stop(number: int, frame: FrameType | None) -> None:
        if state.stopping.is_set():
            state.aborted = True
            raise KeyboardInterrupt
        state.stopping.set()
        signalled.put(True)

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("the run was interrupted") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signalled.put(False)
        if state.stopping.is_set():
            telling.join(1)


def _report(state: RunState, seconds: float, interrupted: bool, stopped_by: Failure | None) -> Report:
    hosts = {
        name: host.tally.recap()
        for name, host in state.hosts.items()
        if name in state.seen or host.tally != type(host.tally)()
    }
    failed = [host for host in state.hosts.values() if host.failed or host.unreachable]
    rolled_back = any(host.tally.rolled_back for host in failed)
    clean = all(not host.tally.rollback_failed and not host.unreachable and not host.left for host in failed)
    if state.past is not None and state.past.undo:
        every = state.hosts.values()
        lost = any(host.tally.rollback_failed or host.unreachable or host.left for host in every)
        undone = not (lost or interrupted or stopped_by or state.observer_error)
    else:
        undone = bool(failed) and rolled_back and clean
    return Report(
        state.id,
        hosts,
        seconds,
        interrupted,
        undone=undone,
        again=_again(state),
        failures=tuple(sorted((event for host in failed for event in host.failures), key=lambda event: event.at)),
        stopped_by=state.secrets.mask_failure(stopped_by) if stopped_by else None,
    )
