"""The road that a step takes: whose host, as which user, dry or not, with what environment and time."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from msgspec.structs import replace

from ..errors import ConnectionLost, StepError
from ..language.templating import OMIT, Templar
from ..model import Step
from ..transport.base import Transport
from .hosts import HostRun
from .outcomes import Done
from .prepared import Prepared
from .roads import RUNNERS_OWN, LazyRoad, StepRoad, way
from .state import RunState, number, truth

_PASSWORDS = ("ansible_become_password", "ansible_become_pass", "ansible_sudo_pass", "ansible_su_pass")


def delegate(step: Step, templar: Templar) -> str | None:
    """The host that the step runs on in place of its own."""
    if step.delegate_to is None:
        return None
    name = templar.render(step.delegate_to)
    if name is None or name is OMIT or name == "":
        return None
    if not isinstance(name, str):
        raise StepError(f"delegate_to wants the name of a host, not {name!r}", position=step.position)
    return str(name)


def twice_if_lost(prepared: Prepared, call: Callable[[bool], Done], arguments: Callable[[], Mapping[str, Any]]) -> Done:
    """The call, done once more on a new connection when the old one is lost and twice is as good as once; it is told
    whether it is made again."""
    try:
        return call(False)
    except ConnectionLost as lost:
        if not prepared.tool.twice(arguments()):
            raise
        done = call(True)
        said = f"{lost.message}; it was opened anew, and the step run again"
        return replace(done, outcome=replace(done.outcome, warnings=(*done.outcome.warnings, said)))


def is_dry(run: RunState, step: Step, templar: Templar) -> bool:
    return run.options.check if step.check_mode is None else truth(step.check_mode, templar)


def road(
    run: RunState, host: HostRun, step: Step, templar: Templar, dry: bool, to: str | None, apart: str = "",
    detached: float | None = None,
) -> Transport:  # fmt: skip
    """The open road for one call of a tool. Raises Unreachable, StepError.

    `apart` names a connection of its own; `detached` is how long a command goes on by itself."""
    variables = templar.variables
    if to is not None and to != host.name:
        assert run.play is not None
        variables = run.host(to).variables.view(run.play, seen=run.secrets.see)
    said = _said(run, step, templar)
    key = (to, host.name) if to is not None and to != host.name else (host.name,)
    key = (*key, *(f"{name}={value}" for name, value in said.items()))
    if apart:
        key = (*key, apart)
    timeout = number("timeout", step.timeout, templar, step.position) if step.timeout else 0.0
    if not timeout and detached is None and not apart:
        timeout = background_limit(step, templar)
    if step.tool in RUNNERS_OWN:
        name = to or host.name
        return LazyRoad(
            run.host(name).variables.host,
            dry,
            timeout or None,
            lambda: run.roads.road((*key, *way(variables)), lambda: run.carried(name, variables, said), dry),
        )
    key = (*key, *way(variables))
    found = run.roads.road(key, lambda: run.carried(to or host.name, variables, said), dry)
    if step.become.enabled is not None or run.options.become or "ansible_become" in variables:
        found = _become(run, key, found, step, templar, variables)
    env = environment(step, templar) if step.environment else {}
    if timeout or env or detached is not None:
        return StepRoad(found, env, timeout or None, detached)
    return found


def background_limit(step: Step, templar: Templar) -> float:
    """How many seconds `async` gives the step, 0 where it says nothing."""
    return number("async", step.async_seconds, templar, step.position) if step.async_seconds else 0.0


def goes_on(step: Step, templar: Templar, dry: bool) -> bool:
    """Whether the step is not waited for. Raises StepError for a tool of which there is nothing to wait for."""
    if dry or not background_limit(step, templar) or number("poll", step.poll, templar, step.position):
        return False
    if step.tool in RUNNERS_OWN:
        raise StepError(f"{step.tool} cannot go on in the background", remedy="Leave out async and poll.",
                        position=step.position)  # fmt: skip
    return True


def _said(run: RunState, step: Step, templar: Templar) -> dict[str, Any]:
    """What the step's own keywords say of the connection; a host's variables rank above them."""
    said = {
        name: templar.render(value)
        for name, value in (
            ("ansible_connection", getattr(step, "connection", None)),
            ("ansible_user", getattr(step, "remote_user", None)),
            ("ansible_port", getattr(step, "port", None)),
        )
        if value is not None
    }
    return {name: value for name, value in said.items() if value is not None and value is not OMIT}


def _become(
    run: RunState, key: tuple[str, ...], found: Transport, step: Step, templar: Templar, variables: Mapping[str, Any]
) -> Transport:
    enabled = step.become.enabled
    wanted = run.options.become if enabled is None else truth(enabled, templar)
    if "ansible_become" in variables:
        wanted = truth(variables["ansible_become"])
    if not wanted:
        return found

    def setting(name: str, said: Any, otherwise: Any) -> Any:
        value = variables[f"ansible_{name}"] if f"ansible_{name}" in variables else templar.render(said)
        return otherwise if value is None or value is OMIT else value

    user = str(setting("become_user", step.become.user, run.options.become_user or "root"))
    method = str(setting("become_method", step.become.method, run.options.become_method or "sudo")).rpartition(".")[2]
    flags = str(setting("become_flags", step.become.flags, ""))
    password = next((variables[name] for name in _PASSWORDS if name in variables), run.options.become_password)
    if password is not None:
        run.secrets.add(password)
    return run.roads.as_user(key, found, user, method, None if password is None else str(password), flags)


def environment(step: Step, templar: Templar) -> dict[str, str]:
    """The variables that the step's commands get, inner levels over outer ones."""
    found: dict[str, str] = {}
    for layer in step.environment:
        value = templar.render(layer)
        for each in value if isinstance(value, list) else [value]:
            if each is None or each is OMIT or each == "":
                continue
            if not isinstance(each, Mapping):
                raise StepError(f"environment wants a mapping, not {type(each).__name__}", position=step.position)
            found |= {str(name): _text(text) for name, text in each.items() if text is not OMIT}
    return found


def _text(value: Any) -> str:
    return "" if value is None else str(value)
