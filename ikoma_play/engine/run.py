"""A run from its first event to its report."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from pathlib import Path
from types import FrameType
from typing import Any

from ..errors import IkomaError, Interrupted, UsageError
from ..model import Failure, Observer, Playbook, Report, RunFinished, RunStarted
from ..spelling import did_you_mean
from ..tool import Toolbox
from . import undoing
from .locking import Locking
from .options import Options
from .plays import PlayRun
from .roads import Connect
from .state import Inventory, RunState, nodes_below
from .tags import chosen


def run(
    playbooks: Sequence[Playbook],
    inventory: Inventory,
    tools: Toolbox,
    options: Options,
    observers: Sequence[Observer],
    connect: Connect,
    locking: Locking | None = None,
) -> Report:
    """Run playbooks in order and tell what became of every host. Raises FaultsFound and UsageError, and
    Locked where another run holds a play's lock; never a step's own failure: that is in the report. The first
    SIGINT or SIGTERM ends the run after the step it is at."""
    state = RunState(inventory, tools, options, observers, connect, locking)
    _demand_sense(state, playbooks, options)
    began = time.perf_counter()
    known = sum(1 for playbook in playbooks for step in _known(playbook, options))
    state.emit(RunStarted(state.id, time.time(), tuple(book.path for book in playbooks), options.check, known))
    interrupted = False
    stopped_by: Failure | None = None
    try:
        with _signals(state):
            plays: list[PlayRun] = []
            for playbook in playbooks:
                state.enter(str(Path(playbook.path).absolute().parent))
                if _perform(state, playbook, plays):
                    break
            _expire(state, plays)
    except Interrupted:
        interrupted = True
    except IkomaError as error:
        stopped_by = error.failure
        raise
    finally:
        state.close()
        report = _report(state, time.perf_counter() - began, interrupted or state.stopping.is_set(), stopped_by)
        state.emit(RunFinished(state.id, time.time(), report))
    if state.observer_error is not None:
        raise state.observer_error
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
        if hosts and all(host.failed or host.unreachable for host in hosts):
            return True
    return False


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

    def stop(number: int, frame: FrameType | None) -> None:
        if state.stopping.is_set():
            raise KeyboardInterrupt
        state.stopping.set()

    before = {number: signal.signal(number, stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("the run was interrupted") from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _report(state: RunState, seconds: float, interrupted: bool, stopped_by: Failure | None) -> Report:
    hosts = {
        name: host.tally.recap()
        for name, host in state.hosts.items()
        if name in state.seen or host.tally != type(host.tally)()
    }
    failed = [host for host in state.hosts.values() if host.failed or host.unreachable]
    rolled_back = any(host.tally.rolled_back for host in failed)
    clean = all(not host.tally.rollback_failed and not host.unreachable and not host.left for host in failed)
    return Report(
        state.id,
        hosts,
        seconds,
        interrupted,
        undone=bool(failed) and rolled_back and clean,
        failures=tuple(sorted((event for host in failed for event in host.failures), key=lambda event: event.at)),
        stopped_by=state.secrets.mask_failure(stopped_by) if stopped_by else None,
    )
