"""How what tools do to an application's services is undone: what ran before runs again, and nothing else.

In two parts: what is newer stops at once, and what ran before starts when its files and rows are back, so that
nobody writes in between.
"""

from __future__ import annotations

import posixpath
from typing import Any

from ..model import Outcome, changed, ok
from ..tool import Record, Undoing
from ..transport.base import Transport
from . import app_env, application, compose_restore, kept, releases
from .settings import settings
from .undo_files import env_files, newer_removed, of_releases

TIMEOUT = 120.0  # seconds for what ran before to be healthy again


def _before_up(on: Transport, at: str, app_name: str, env: object = None, **more: object) -> dict[str, Any]:
    folder = settings(on).app(application.checked(app_name))
    files = [posixpath.join(folder, name) for name in (compose_restore.RECORD, releases.FOLDER)]
    record = _past(on).remember(on, app_name, at, [*files, *(env_files(folder) if env else ())])
    return {**record, **of_releases(on, app_name)}


def _before_down(on: Transport, at: str, app_name: str) -> dict[str, Any]:
    return dict(_past(on).remember(on, app_name, at, [], starts=False))


def _stop_newer(on: Transport, record: Record, undoing: Undoing) -> Outcome:
    kept.refuse_later(on, record, undoing)
    undoing.keep_secret(*app_env.secrets(on, str(record["app"])))
    newer_removed(on, record)
    said = _past(on).stop_newer(on, record, undoing.late)
    return changed(None, said) if said else ok(None, "what ran before runs")


def _bring_back(on: Transport, record: Record, undoing: Undoing) -> Outcome:
    kept.refuse_later(on, record, undoing)
    app = str(record["app"])
    undoing.keep_secret(*app_env.secrets(on, app))
    return changed(None, _past(on).bring_back(on, record, TIMEOUT))


def _past(on: Transport) -> Any:
    """What knows the past of services on the host's runtime."""
    if settings(on).runtime == "process":
        from . import process_past

        return process_past
    from . import compose_past

    return compose_past


UP = kept.undo("what ran before runs again", _before_up, _stop_newer, _bring_back)
DOWN = kept.undo("what ran before runs again", _before_down, _stop_newer, _bring_back)
