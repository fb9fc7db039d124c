"""One play: its hosts in batches, its steps, its handlers, and what happens to hosts that fail."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ..errors import IkomaError, StepError, UsageError
from ..events import PlayStarted
from ..language.templating import Templar
from ..language.variables import PlayVariables
from ..model import Host, Node, Play, Step
from . import outcomes, rollback
from .calls import Call
from .handlers import Handlers
from .hosts import Frame, HostRun
from .includes import Includes
from .prepared import Prepared, prepare
from .settling import settle
from .stage import Failed
from .state import RunState, number, truth
from .walking import Walk

FOREVER = 1_000_000
# Words of `meta` that each host heeds for itself; of the others the first host's condition counts for all.
OF_EACH_HOST = ("flush_handlers", "end_host", "end_role", "reset_connection", "noop")


class PlayRun:
    """A play being run. `broken`: no further batch, no further play."""

    def __init__(self, run: RunState, play: Play) -> None:
        self.run = run
        self.play = play
        self.broken = False
        self.over = False
        self.batch: list[HostRun] = []
        self.variables = PlayVariables(play, run.layers, self._prompted())
        run.play = self.variables
        self._prepared: dict[int, tuple[Step, Prepared]] = {}
        self.handlers = Handlers(self, play.handlers)
        self.includes = Includes(self)
        self._walk = Walk(self)

    # --- the whole play ---

    def perform(self) -> None:
        """Run the play on every batch of its hosts."""
        run = self.run
        templar = Templar(run.host("localhost").variables.view(self.variables))
        with run.held.play(self.play.lock, templar):
            try:
                self._perform_on(self._hosts(templar), templar)
            finally:
                run.telling.catch_up()  # whoever has the lock next finds written what was done under it

    def _perform_on(self, hosts: list[HostRun], templar: Templar) -> None:
        run = self.run
        for host in hosts:
            host.ended, host.ended_role = False, None
            host.notified.clear()
            host.due.clear()
            host.roles.clear()
        batches = list(self._batches(hosts, templar)) or [[]]
        for turn, batch in enumerate(batches):
            self.batch = [host for host in batch if not (host.failed or host.unreachable)]
            run.play_batch = [host.name for host in self.batch]
            run.seen.update(run.play_batch)
            if turn == 0 or self.batch:
                title = str(_rendered(templar, self.variables.title))
                run.emit(PlayStarted(run.id, time.time(), title, tuple(run.play_batch)))
            if not self.batch:
                continue
            self._perform_batch()
            if self.broken or self.over or all(host.failed or host.unreachable for host in self.batch):
                break

    def _perform_batch(self) -> None:
        self._read_files()
        scope = self.play.rollback
        opened = [
            (host, rollback.open_on(self, host, scope, Frame(), self.play.position, self.play.name or "play"))
            for host in self.batch
            if scope is not None
        ]
        steps = (*self._gathering(), *self.play.steps)
        if self.play.strategy == "free":
            self.run.each(self.batch, lambda host: self._go(steps, [host]))
        else:
            self._go(steps, self.batch)
        rollback.closed(opened)

    def _go(self, steps: Sequence[Node], hosts: list[HostRun]) -> None:
        """Run the play's steps on hosts in lockstep; under the free strategy each host goes alone."""
        for node in steps:
            active = [host for host in hosts if host.going]
            if not active or (self.broken and self.play.strategy == "free"):
                break
            self._fall(self.walk((node,), active, Frame()))

    def _gathering(self) -> tuple[Step, ...]:
        """The step that gathers facts, where the play asks for it."""
        asked = self.play.gather_facts
        if asked is None or "setup" not in self.run.tools or not truth(self._once(asked)):
            return ()
        keywords = self.play.keywords
        step = Step(
            "setup",
            {"gather_subset": keywords["gather_subset"]} if "gather_subset" in keywords else {},
            self.play.position,
            name="Gathering Facts",
            tags=frozenset(("always",)),
        )
        return (step,)

    def walk(self, nodes: Sequence[Node], hosts: Sequence[HostRun], frame: Frame, forced: bool = False) -> Failed:
        """Run nodes on hosts; gives the hosts that failed and were not mended."""
        return self._walk.nodes(nodes, hosts, frame, forced)

    def _fall(self, failed: Failed) -> None:
        """The play has failed on these hosts: nothing further runs there, and what they did is undone."""
        if not failed:
            return
        if self.play.rollback_scope == "all":
            failed = {host.name: host for host in self.batch}
            self.broken = True
        reachable = []
        for host in failed.values():
            if not host.unreachable:
                host.failed = True
                reachable.append(host)
            elif any(entry.touched for entry in host.undo):
                self.run.warn(f"{host.name} cannot be reached, so what was done there is not undone")
        force = self.run.options.force_handlers or truth(self.play.force_handlers)
        if force and reachable:
            self.handlers.flush(reachable, forced=True)
        if self.run.options.rollback and self.play.rollback_scope != "none":
            due = [host for host in reachable if any(entry.touched for entry in host.undo)]
            if due:
                self.run.each(due, rollback.undo)

    def too_many(self, failed: Failed) -> bool:
        """Whether more hosts have failed than max_fail_percentage lets pass."""
        most = self.play.max_fail_percentage
        if most is None:
            return False
        percentage = number("max_fail_percentage", str(self._once(most)).rstrip("%"), Templar(), self.play.position)
        down = sum(1 for host in self.batch if host.failed or host.unreachable or host.name in failed)
        return bool(down) and down / len(self.batch) * 100 > percentage

    def _once(self, value: Any) -> Any:
        return Templar(self.batch[0].variables.view(self.variables)).render(value)

    # --- steps ---

    def prepared(self, step: Step) -> Prepared:
        known = self._prepared.get(id(step))
        if known is None:
            known = self._prepared[id(step)] = (step, prepare(step, self.run.tools, self.run.playbook_dir))
        return known[1]

    def meta(self, step: Step, hosts: list[HostRun], frame: Frame) -> Failed:
        """Carry out a `meta` step; it is neither told nor counted."""
        word = str(next(iter(step.args.values()), ""))
        if word == "flush_handlers" and not step.when:
            return self.handlers.flush(hosts)
        failed: Failed = {}
        going = []
        for host in hosts if word in OF_EACH_HOST else hosts[:1]:
            call = Call(self, self.prepared(step), host, frame)
            done = call.perform()
            if done.outcome.status.bad:
                if settle(self, call, done):
                    failed[host.name] = host
            elif not done.skipped:
                going.append(host)
        if word == "flush_handlers":
            failed |= self.handlers.flush(going)
        elif going:
            self._steer(word, going if word in OF_EACH_HOST else hosts, step)
        return failed

    def _steer(self, word: str, hosts: list[HostRun], step: Step) -> None:
        run = self.run
        if word == "end_role" and step.role is None:
            raise StepError("meta: end_role stands outside of any role", position=step.position)
        if word == "refresh_inventory":
            run.refresh()
        self.over |= word == "end_play"
        if word in ("end_play", "clear_host_errors"):
            hosts = [run.host(name) for name in run.play_hosts]
        elif word == "end_batch":
            hosts = self.batch
        for host in hosts:
            if word in ("end_play", "end_batch", "end_host"):
                host.ended = True
            elif word == "end_role":
                host.ended_role = step.role
            elif word == "clear_host_errors":
                host.failed = host.unreachable = False
            elif word == "clear_facts":
                host.facts.forget()
            elif word == "reset_connection":
                run.roads.forget((host.name,))

    # --- hosts ---

    def _hosts(self, templar: Templar) -> list[HostRun]:
        run = self.run
        pattern = templar.render(self.play.hosts)
        found = {host.name: host for host in run.select(pattern)}
        if run.options.limit:
            wanted = {host.name for host in run.select(run.options.limit)}
            found = {name: host for name, host in found.items() if name in wanted}
        if not found:
            run.warn(f"no hosts match {', '.join(map(str, _listed(pattern)))}", self.play.position)
        run.play_hosts = list(found)  # in the inventory's order, whatever order the play takes them in
        return [run.host(host.name) for host in self._ordered(list(found.values()))]

    def _ordered(self, hosts: list[Host]) -> list[Host]:
        order = self.play.order
        if order in ("reverse_inventory",):
            return hosts[::-1]
        if order in ("sorted", "reverse_sorted"):
            return sorted(hosts, key=lambda host: host.name, reverse=order == "reverse_sorted")
        if order in ("shuffle", "random"):
            import random

            return random.sample(hosts, len(hosts))
        return hosts

    def _batches(self, hosts: list[HostRun], templar: Templar) -> Iterator[list[HostRun]]:
        sizes = [self._size(each, len(hosts)) for each in _listed(templar.render(self.play.serial))] or [FOREVER]
        rest, turn = hosts, 0
        while rest:
            size = sizes[min(turn, len(sizes) - 1)]
            yield rest[:size]
            rest, turn = rest[size:], turn + 1

    def _size(self, value: Any, hosts: int) -> int:
        text = str(value).strip()
        try:
            size = int(float(text[:-1]) * hosts / 100) or 1 if text.endswith("%") else int(text)
        except ValueError:
            raise UsageError(
                f"serial takes numbers and percentages, not {text!r}", position=self.play.position
            ) from None
        return size if size > 0 else FOREVER

    # --- variables ---

    def _prompted(self) -> Mapping[str, Any]:
        run, answers = self.run, dict[str, Any]()
        for prompt in self.play.vars_prompt:
            name = str(prompt.get("name", ""))
            if name in run.options.extra_vars:
                continue
            if run.options.ask is not None:
                run.telling.catch_up()  # before the question stands there
                answers[name] = run.options.ask(prompt)
            elif "default" in prompt:
                answers[name] = prompt["default"]
            else:
                raise UsageError(
                    f"the play asks for {name!r}, and there is nobody to answer",
                    remedy=f"Give it with -e {name}=…",
                    position=self.play.position,
                )
            if prompt.get("private", True):
                run.secrets.add(answers[name])
            if prompt.get("encrypt"):
                answers[name] = _hashed(answers[name], prompt)
        return answers

    def _read_files(self) -> None:
        """The play's vars_files, as each host reads them; a host that cannot read its own fails."""
        if not self.play.vars_files:
            return
        from ..language import load_variables

        loaded: dict[str, Mapping[str, Any]] = {}

        def load(name: str) -> Mapping[str, Any]:
            path = self.run.playbook_file("vars", name)
            if path not in loaded:
                loaded[path] = load_variables(path)
            return loaded[path]

        for host in self.batch:
            try:
                host.variables.files = ()
                view = host.variables.view(self.variables)
                host.variables.read_files(self.play, view, load)
            except IkomaError as error:
                host.failed = True
                step = Step("include_vars", {}, self.play.position, name="vars_files")
                call = Call(self, self.prepared(step), host, Frame())
                settle(self, call, outcomes.of_error(error, self.play.position))


def _hashed(answer: Any, prompt: Mapping[str, Any]) -> str:
    """An answer as its prompt wants it hashed. Raises FilterFailed."""
    from ..language.filters_secret import password_hash

    size = prompt.get("salt_size")
    return password_hash(str(answer), str(prompt["encrypt"]), prompt.get("salt"), int(size) if size else None)


def _listed(value: Any) -> list[Any]:
    return [] if value is None else list(value) if isinstance(value, (list, tuple)) else [value]


def _rendered(templar: Templar, value: str) -> Any:
    try:
        return templar.render(value)
    except IkomaError:
        return value
