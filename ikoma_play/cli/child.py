"""The process in which a server runs a playbook for the holder of a key: `python -m ikoma_play.cli.child`.

It is told on standard input what to do, as JSON, so that nothing of it is in the list of processes. It is a process
of its own: a run goes on while the server is started anew, is interrupted by a signal like any other, and what it does
is in the journal that both have.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from . import loading, resume, status
from .behalf import Behalf
from .carrying import carried_out as run
from .main import guarded


def carried_out(told: Mapping[str, Any]) -> int:
    """Run what the server asks for, and give the exit status."""
    behalf = Behalf(**told["behalf"])
    if told.get("again") is not None:
        undo = told["again"] == "rollback"
        more = {name: told[name] for name in ("extra_vars", "yes", "unfinished")}
        report = resume.go_on(behalf.run, {**resume.taken(), **more}, undo, behalf)
        return status.of_undoing(report) if undo else status.of_report(report)
    given = {**resume.of_options(), **told["given"]}
    loaded = loading.load(given["playbooks"], given["inventory"], given["extra_vars"], given["schedule"])
    return status.of_report(run(loaded, given, told["command"], behalf=behalf))


def main() -> int:
    return guarded(lambda: carried_out(json.load(sys.stdin)))


if __name__ == "__main__":
    sys.exit(main())
