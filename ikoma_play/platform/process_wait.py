"""Waiting until processes are good, and saying at once when one never will be."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NoReturn

from ..errors import TimedOut, Unhealthy
from ..model import Progress
from .process_plan import Check, Plan
from .supervisor import State, Supervisor

CRASHES = 3  # so many starts that failed are a crash loop; fewer may be patience with a dependency
_LOG_LINES = 15
_PAUSES = (0.03, 0.05, 0.05, 0.1, 0.1, 0.2, 0.2, 0.2, 0.2, 0.5)


def probe(supervisor: Supervisor, program: str, check: Check) -> tuple[bool, str]:
    """Run the health check now: whether it is content, and what it printed."""
    try:
        result = supervisor.on.run(supervisor.check_command(program, check.timeout))
    except TimedOut:
        return False, f"the check took longer than {check.timeout:g} s"
    said = (result.stdout + result.stderr).decode("utf-8", "replace").strip()
    return result.ok, said or f"the check ended with exit code {result.exit_code}"


class Wait:
    """Watches services that were started; one object for one `up`, so that crashes are counted through it."""

    def __init__(self, supervisor: Supervisor, program: Callable[[str], str], deadline: float) -> None:
        self.supervisor = supervisor
        self.program = program
        self.deadline = deadline
        self.began = time.monotonic()
        self.printed: dict[str, int] = {}  # bytes of log before it was started
        self.starts: dict[str, set[float]] = {}  # of those that failed
        self.since: dict[tuple[str, int], float] = {}  # of each process of a service
        self.said: dict[str, str] = {}

    def begin(self, plan: Plan) -> None:
        """Start a service; what it prints from here on is what an error shows."""
        name = self.program(plan.service)
        self.printed[plan.service] = self.supervisor.log_size(name)
        self.supervisor.begin(name)

    def until(self, plans: Sequence[Plan], condition: Callable[[Plan], str] = lambda plan: "service_healthy") -> None:
        """Return when every one is as its condition (of `depends_on`) says. Raises Unhealthy."""
        left, rounds = list(plans), 0
        while left:
            states = self.supervisor.states()
            left = [plan for plan in left if not self._good(plan, condition(plan), states)]
            if not left:
                return
            names = ", ".join(plan.service for plan in left)
            if time.monotonic() >= self.deadline:
                self._fail(left[0], f"is not healthy after {time.monotonic() - self.began:.0f} s")
            self.supervisor.on.progress(Progress(f"waiting for {names}"))
            time.sleep(_PAUSES[min(rounds, len(_PAUSES) - 1)])
            rounds += 1

    def _good(self, plan: Plan, condition: str, states: Mapping[str, State]) -> bool:
        state = states.get(self.program(plan.service))
        if state is None:
            self._fail(plan, "was removed meanwhile")
        if plan.finishes and state.state == "EXITED" and state.exit_code == 0:
            return True
        self._refuse_dead(plan, state)
        if plan.finishes:
            return condition == "service_started"
        if not state.up:
            return False
        if condition == "service_started" or plan.check is None:
            # Without a check, staying up for a second is all that can be seen.
            return state.state == "RUNNING" or (condition == "service_started" and plan.check is not None)
        return self._answers(plan, plan.check, state)

    def _answers(self, plan: Plan, check: Check, state: State) -> bool:
        first = self.since.setdefault((plan.service, state.pid), time.monotonic())
        good, said = probe(self.supervisor, self.program(plan.service), check)
        if good:
            return state.state == "RUNNING"
        self.said[plan.service] = said
        if time.monotonic() - first > check.patience:
            self._fail(plan, "is unhealthy")
        return False

    def _refuse_dead(self, plan: Plan, state: State) -> None:
        over = plan.restart == "never" or (plan.restart == "failure" and state.exit_code == 0)
        if state.state == "FATAL" or (state.state == "EXITED" and over):
            self._fail(plan, f"ended{self._how(plan)}")
        if state.state in ("BACKOFF", "EXITED"):
            starts = self.starts.setdefault(plan.service, set())
            starts.add(state.started_at)
            if len(starts) >= CRASHES:
                self._fail(plan, f"starts and ends again and again{self._how(plan)}")

    def _how(self, plan: Plan) -> str:
        how = self.supervisor.last_exit(self.program(plan.service))
        return f" ({how})" if how else ""

    def _fail(self, plan: Plan, what: str) -> NoReturn:
        log = self.supervisor.log(self.program(plan.service), _LOG_LINES, self.printed.get(plan.service, 0))
        parts = [f"{plan.service}'s last lines:\n{log}" if log else f"{plan.service} printed nothing"]
        if plan.check and plan.service in self.said:
            parts.append(f"its health check said:\n{self.said[plan.service]}")
        raise Unhealthy(
            f"service {plan.service} {what}",
            remedy="See what it printed, apps.logs shows more; often a value in .env is wrong or the database is away.",
            evidence="\n".join(parts),
        )
