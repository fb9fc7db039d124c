"""`ikoma-play`, killed by SIGKILL at one of its journal writes: what a power cut or the kernel's killer would do.

    python -m tests.parts.dying WRITE before|after WORDS…

The process dies just before or just after its write of that number, counted from 1. A number that it does not
reach lets it end by itself; the last line on standard error then says how many writes there were.
"""

from __future__ import annotations

import os
import signal
import sys
from typing import Any

from ikoma_play.cli.main import main
from ikoma_play.journal.store import Change


def deadly(store: Any, at: int, when: str, count: list[int]) -> None:
    """Make the store's writes count, and one of them deadly."""
    write = store.write

    def counted(self: Any, *changes: Change, durable: bool = True) -> int:
        count[0] += 1
        number = count[0]
        if number == at and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        rows: int = write(self, *changes, durable=durable)
        if number == at:
            os.kill(os.getpid(), signal.SIGKILL)
        return rows

    store.write = counted


if __name__ == "__main__":
    from ikoma_play.journal.sqlite import SqliteStore

    writes = [0]
    number, when, *words = sys.argv[1:]
    deadly(SqliteStore, int(number), when, writes)
    if os.environ.get("IKOMA_STATE", "").startswith("postgresql:"):
        from ikoma_play.journal.postgres import PostgresStore

        deadly(PostgresStore, int(number), when, writes)
    code = main(words)
    print(f"{writes[0]} writes", file=sys.stderr)
    sys.exit(code)
