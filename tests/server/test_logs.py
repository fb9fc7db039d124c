"""The server's own log."""

from __future__ import annotations

import json
import threading
from io import StringIO
from pathlib import Path

import pytest

from ikoma_play.server.logs import Log
from tests.parts.command import python
from tests.parts.serving import Service


def test_a_thread_that_fails_is_a_line_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where it happened is told, and nothing that the error says: that may hold a value."""
    written = StringIO()
    monkeypatch.setattr(threading, "excepthook", Log(stream=written).thread_failed)

    def fails() -> None:
        raise ValueError("the password is hunter2")

    thread = threading.Thread(target=fails, name="outbox")
    thread.start()
    thread.join()
    (line,) = map(json.loads, written.getvalue().splitlines())
    assert (line["level"], line["event"], line["name"], line["error"]) == ("error", "thread", "outbox", "ValueError")
    assert line["where"][-1].endswith(" fails") and "hunter2" not in written.getvalue()


def test_serve_has_its_threads_heeded(tmp_path: Path) -> None:
    """The listener is replaced by a thread that fails; all that begins a server runs before it."""
    service = Service(tmp_path)
    service.apps.mkdir()
    service.write_env()
    script = (
        "import sys, threading; from ikoma_play.server import listener; from ikoma_play.cli.main import main\n"
        "def fails(): raise ValueError('hunter2')\n"
        "def serve(*_):\n"
        "    thread = threading.Thread(target=fails); thread.start(); thread.join()\n"
        "listener.serve = serve\n"
        f"sys.exit(main({service.argv()[3:]!r}))\n"
    )
    done = python(script, tmp_path)
    assert done.returncode == 0 and "hunter2" not in done.stderr
    events = [json.loads(line)["event"] for line in done.stderr.splitlines()]
    assert events == ["listening", "thread", "stopped"]
