"""A callback of ansible-playbook that writes what came of every step, and the recap, as one JSON document."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from ansible.plugins.callback import CallbackBase

DOCUMENTATION = """
name: recorded
type: stdout
short_description: writes results to the file that RECORD_TO names
description: see short_description
"""


def told(message: Any) -> str:
    """As tests/ansible/beside.py does it for our own: through JSON."""
    if message is None:
        return ""
    return (
        str(json.loads(json.dumps(message, default=str))) if isinstance(message, (list, tuple, dict)) else str(message)
    )


class CallbackModule(CallbackBase):
    """One entry for each result: host, action, status, and what debug said."""

    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "stdout"
    CALLBACK_NAME = "recorded"

    def __init__(self) -> None:
        super().__init__()
        self.results: list[dict[str, Any]] = []

    def _add(self, status: str, result: Any) -> None:
        found = result._result
        each = found.get("results") if isinstance(found.get("results"), list) else [found]
        self.results.append({
            "host": result._host.get_name(), "action": result._task.action, "status": status,
            "name": result._task.get_name(), "msg": str(found.get("msg", ""))[:2000],
            "said": [told(one["msg"]) for one in each if isinstance(one, dict) and "msg" in one
                     and not one.get("skipped")],
        })  # fmt: skip

    def v2_runner_on_ok(self, result: Any) -> None:
        self._add("ok", result)

    def v2_runner_on_failed(self, result: Any, ignore_errors: bool = False) -> None:
        self._add("failed", result)

    def v2_runner_on_skipped(self, result: Any) -> None:
        self._add("skipped", result)

    def v2_runner_on_unreachable(self, result: Any) -> None:
        self._add("unreachable", result)

    def v2_playbook_on_stats(self, stats: Any) -> None:
        hosts = {host: stats.summarize(host) for host in sorted(stats.processed)}
        Path(os.environ["RECORD_TO"]).write_text(json.dumps({"hosts": hosts, "results": self.results}))
