"""`python -m ikoma_play`, and what the `ikoma-play` script calls."""

from __future__ import annotations

import os
import sys

from . import __version__


def program() -> None:
    """Run the command line and end the process with its exit status."""
    code = main()
    threading = sys.modules.get("threading")  # not loaded just for this
    if threading is None or all(each.daemon or each is threading.main_thread() for each in threading.enumerate()):
        try:
            sys.stdout.flush()
            sys.stderr.flush()
        except (OSError, ValueError):  # the reader has gone: Python's own end knows how to tell
            pass
        else:
            os._exit(code)  # taking everything loaded apart takes long, and gives nothing back
    sys.exit(code)


def main() -> int:
    """Run the command line; the exit status."""
    if sys.argv[1:] == ["--version"]:  # scripts ask for it and wait, so nothing else is loaded first
        sys.stdout.write(f"ikoma-play {__version__}\n")
        return 0
    import gc

    gc.disable()  # what is loaded at start stays, so looking through it is lost time; a run enables it again
    from .cli.main import main as run

    try:
        return run(sys.argv[1:])
    finally:
        gc.freeze()  # nor is it looked through at the end, which gives everything back at once


if __name__ == "__main__":
    program()
