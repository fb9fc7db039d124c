"""The step that undoes another one by `rollback: auto`: made from its text and from what was recorded before it ran."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec.structs import replace

from ..model import Outcome, Step
from ..tool import Tool
from ..transport.base import Transport
from .scope import StepScope

TITLE = "Undo: "
LAST = " (the last part)"
FINISH = "finish"  # in what is undone: the part that comes after all others


def reversal(step: Step, recorded: Mapping[str, Any], last: bool = False) -> Step:
    """The step that undoes `step`: on the same host, as the same user. `recorded` is what UndoRecorded told:
    `{"delegate": the host that did it in the step's own stead, or null, "record": the tool's own}`; `last` is for
    the part that comes after everything else is undone."""
    return Step(
        step.tool,
        {},
        step.position,
        name=f"{TITLE}{step.title}{LAST if last else ''}",
        phase=step.phase,
        role=step.role,
        vars=step.vars,
        environment=step.environment,
        become=step.become,
        connection=step.connection,
        remote_user=step.remote_user,
        port=step.port,
        delegate_to=recorded.get("delegate"),
        no_log=step.no_log,
        undoes={**recorded["record"], FINISH: True} if last else recorded["record"],
    )


def reverting(tool: Tool) -> Tool:
    """The tool whose call undoes what a call of `tool` did."""
    undo = tool.undo
    assert undo is not None

    def revert(on: Transport, record: dict[str, Any], app_name: str = "", *, scope: StepScope) -> Outcome:
        way = undo.finish if record.pop(FINISH, False) else undo.revert
        assert way is not None
        return way(on, record, scope.undoing)

    return replace(tool, function=revert, changes=True, free_form=None, open=False, secrets=(), aliases={})


def arguments(step: Step) -> dict[str, Any]:
    """What a call of `reverting` takes; the application is named for its lock."""
    record = dict(step.undoes or {})
    return {"record": record, **({"appName": record["app"]} if record.get("app") and "." in step.tool else {})}
