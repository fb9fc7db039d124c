"""Through the nodes of a play, host sets in lockstep: a step runs everywhere before the next one starts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from fnmatch import fnmatchcase
from typing import Any

from msgspec.structs import replace

from ..errors import Interrupted
from ..language.templating import Templar
from ..model import Block, Node, Outcome, Status, Step
from . import outcomes, replay, rollback
from .calls import Call
from .hosts import Frame, HostRun
from .outcomes import Done
from .settling import keep_result, settle
from .stage import Failed, Stage
from .state import number, truth
from .tags import chosen

NOTHING = Done(Outcome(Status.SKIPPED))


class Walk:
    """One play's steps on sets of hosts. Every method gives the hosts that failed and were not mended."""

    def __init__(self, play: Stage) -> None:
        self.play = play
        self.run = play.run

    def nodes(self, nodes: Sequence[Node], hosts: Sequence[HostRun], frame: Frame, forced: bool = False) -> Failed:
        """Run nodes in order. `forced` goes on with hosts whose play has failed: rollback, forced handlers."""
        failed: Failed = {}
        for node in nodes:
            active = [
                host for host in hosts if host.name not in failed and (host.going or (forced and not host.unreachable))
            ]
            if not active:
                break
            if self.run.stopping.is_set():
                raise Interrupted("the run was interrupted")
            if isinstance(node, Block):
                failed |= self._use(node, active, frame, forced)
            else:
                failed |= self._step(node, active, frame, forced)
        return failed

    # --- blocks ---

    def _use(self, block: Block, hosts: list[HostRun], frame: Frame, forced: bool) -> Failed:
        """A block, unless it is the use of a role that a host has had and may not have again."""
        due = [host for host in hosts if block.again or block.use not in host.roles]
        before = {host.name: host.tally.ran for host in due}
        failed = self._block(block, due, frame, forced) if due else {}
        for host in due:
            if block.use and host.name not in failed and host.tally.ran > before[host.name]:
                host.roles.add(block.use)
        return failed

    def _block(self, block: Block, hosts: list[HostRun], frame: Frame, forced: bool) -> Failed:
        opened = rollback.opened(self.play, hosts, block, frame)
        inside = frame
        if block.rescue and not frame.rescued:
            inside = Frame(frame.params, frame.kind, True, frame.keep, frame.depth)
        marks = {host.name: len(host.failures) for host in hosts}
        done = {host.name: len(host.undo) - bool(opened) for host in hosts}
        failed = self.nodes(block.steps, hosts, inside, forced)
        if failed and block.atomic is not False and self._is_atomic(block, hosts[0], frame):
            whole = [host for host in failed.values() if not host.unreachable]
            self.run.each(whole, lambda host: rollback.undo(host, done[host.name]))
        if failed and block.rescue:
            lost = {name: host for name, host in failed.items() if host.unreachable}
            fallen = [host for host in failed.values() if not host.unreachable]
            failed = lost | self.nodes(block.rescue, fallen, frame, forced)
            for host in fallen:
                if host.name not in failed:  # mended
                    del host.failures[marks[host.name] :]
        if block.always:
            failed |= self.nodes(block.always, hosts, frame, forced)
        rollback.closed(opened)
        return failed

    def _is_atomic(self, block: Block, host: HostRun, frame: Frame) -> bool:
        variables = host.variables.view(self.play.variables, None, frame.params)
        return self.run.options.rollback and truth(block.atomic, Templar(variables))

    # --- steps ---

    def _step(self, step: Step, hosts: list[HostRun], frame: Frame, forced: bool) -> Failed:
        hosts = [host for host in hosts if host.ended_role is None or host.ended_role is not step.role]
        if not hosts or not self._wanted(step, hosts, frame):
            return {}
        try:
            return self._carried_out(step, hosts, frame, forced)
        except Interrupted:
            raise
        except Exception as error:  # in what is settled before any host is touched, such as run_once
            prepared = self.play.prepared(step)
            for host in hosts:
                settle(self.play, Call(self.play, prepared, host, frame), outcomes.of_error(error, step.position))
            return {host.name: host for host in hosts}

    def _carried_out(self, step: Step, hosts: list[HostRun], frame: Frame, forced: bool) -> Failed:
        if step.tool == "meta":
            return self.play.meta(step, hosts, frame)
        once = self._runs_once(step, hosts[0], frame)
        workers = hosts[:1] if once else hosts
        prepared = self.play.prepared(step)
        most = 0
        if step.throttle:
            most = int(number("throttle", step.throttle, self._templar(step, hosts[0], frame), step.position))

        def work(host: HostRun) -> tuple[bool, Done, Any]:
            call = Call(self.play, prepared, host, frame)
            done = replay.performed(call)
            if done is None:
                return False, NOTHING, ()
            brought: Any = ()
            if step.tool in ("include_tasks", "include_role"):
                done, brought = self.play.includes.bring(call, done)
            bad = settle(self.play, call, done)
            return bad, done, brought

        results = self.run.each(workers, work, most)
        failed = {host.name: host for host, (bad, _, _) in zip(workers, results, strict=True) if bad}
        if once:
            failed = self._share(step, hosts, frame, results[0], failed)
        if failed:
            failed = self._swept(step, hosts, frame, failed)
        if step.tool in ("add_host", "group_by"):
            self.play.includes.regroup(
                step, [(host, done) for host, (_, done, _) in zip(workers, results, strict=True)]
            )
        alive = hosts if once else [host for host, (bad, _, _) in zip(workers, results, strict=True) if not bad]
        if any(brought for _, _, brought in results):
            each = [brought for bad, _, brought in results if not bad]
            failed |= self._brought(alive, each * len(alive) if once else each, frame, forced, failed)
        return failed

    def _brought(
        self, hosts: list[HostRun], brought: Sequence[Any], frame: Frame, forced: bool, failed: Failed
    ) -> Failed:
        """Run what includes brought: equal ones on all their hosts together, in the order they came up."""
        groups: dict[Any, tuple[Any, list[HostRun]]] = {}
        for host, includes in zip(hosts, brought, strict=True):
            times: Counter[Any] = Counter()  # a host may ask for the same more than once, with other things between
            for include in includes:
                times[include.key] += 1
                groups.setdefault((include.key, times[include.key]), (include, []))[1].append(host)
        fallen: Failed = {}
        coming = [
            (include, members, replace(frame, params=(*frame.params, *include.layers), depth=frame.depth + 1))
            for include, members in groups.values()
        ]
        for include, _, inside in coming:
            if include.handlers:
                self.play.handlers.add(include.handlers, inside.params)
        for include, members, inside in coming:
            active = [host for host in members if host.name not in fallen and host.name not in failed]
            if active:
                fallen |= self.nodes(include.nodes, active, inside, forced)
        return fallen

    def _wanted(self, step: Step, hosts: list[HostRun], frame: Frame) -> bool:
        """Whether tags, --start-at-step and --step let this step run."""
        options, start = self.run.options, self.run.start_at
        if frame.kind != "step":  # what was notified, and what is to be undone, is due whatever was asked for
            return True
        if start.name is not None:
            if step.name != start.name and not fnmatchcase(step.name, start.name):
                return False
            start.name = None
        if not chosen(step.tags, options.tags, options.skip_tags):
            return False
        return self.run.confirm is None or step.tool == "meta" or self._confirmed(step, hosts)

    def _confirmed(self, step: Step, hosts: list[HostRun]) -> bool:
        assert self.run.confirm is not None
        if self.run.past is not None:
            digest = self.play.prepared(step).digest
            if any(self.run.past.step(host.name, host.next_occurrence("step", digest)) for host in hosts):
                return True
        self.run.telling.catch_up()  # before the question stands there
        answer = self.run.confirm(step)
        if answer is None:
            self.run.confirm = None
        return answer is not False

    def _runs_once(self, step: Step, host: HostRun, frame: Frame) -> bool:
        if step.tool in ("add_host", "approve"):  # the same whichever host it is for
            return True
        if step.run_once is False:
            return False
        return truth(step.run_once, self._templar(step, host, frame))

    def _templar(self, step: Step, host: HostRun, frame: Frame) -> Templar:
        return Templar(host.variables.view(self.play.variables, step, frame.params))

    def _share(
        self, step: Step, hosts: list[HostRun], frame: Frame, result: tuple[bool, Done, Any], failed: Failed
    ) -> Failed:
        """run_once: every host gets what the first one came to."""
        bad, done, _ = result
        for host in hosts[1:]:
            keep_result(host, step, frame, done, self.run.secrets)
            if done.outcome.facts and step.tool == "set_fact":
                host.variables.results.update(done.outcome.facts)
            elif done.outcome.facts:
                host.variables.facts.update(done.outcome.facts)
        return {host.name: host for host in hosts} if bad else failed

    def _swept(self, step: Step, hosts: list[HostRun], frame: Frame, failed: Failed) -> Failed:
        """The failed hosts, and the others with them where the play says that all stand or fall together."""
        fatal = self.run.options.any_errors_fatal
        if not fatal and step.any_errors_fatal is not False:
            fatal = truth(step.any_errors_fatal, self._templar(step, hosts[0], frame))
        if fatal or (not frame.rescued and self.play.too_many(failed)):
            if not frame.rescued:
                self.play.broken = True
            return {host.name: host for host in hosts}
        return failed
