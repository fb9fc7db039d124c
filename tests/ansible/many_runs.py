"""Runs ansible-playbook many times for the price of one import: each run is a fork of this process.

Reads one JSON object a line, {"folder", "arguments", "record", "log"}; answers the exit code, one a line.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from typing import Any

LIMIT = 250  # seconds a run may take


def main() -> None:
    from ansible.cli import playbook  # noqa: F401  (what takes the time)
    from ansible.executor import playbook_executor, task_executor  # noqa: F401
    from ansible.plugins.strategy import linear  # noqa: F401

    for line in sys.stdin:
        child = os.fork()
        if not child:
            _perform(json.loads(line))
        status = os.waitpid(child, 0)[1]
        print(os.waitstatus_to_exitcode(status), flush=True)


def _perform(order: dict[str, Any]) -> None:
    """One run, in a process of its own, which it ends."""
    code = 250
    try:
        os.setsid()
        signal.alarm(LIMIT)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        os.chdir(order["folder"])
        os.environ["RECORD_TO"] = order["record"]
        from ansible.cli.playbook import PlaybookCLI

        sys.argv = ["ansible-playbook", *order["arguments"]]
        code = PlaybookCLI(sys.argv).run()
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else 1
    except BaseException as error:
        traceback.print_exc()
        code = getattr(error, "exit_code", None) or {"AnsibleParserError": 4}.get(type(error).__name__, 1)
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


if __name__ == "__main__":
    main()
