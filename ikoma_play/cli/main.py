"""The command itself: finds the subcommand, and turns whatever ends it into words and an exit status."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence

from . import status

NAME = "ikoma-play"


def main(arguments: Sequence[str]) -> int:
    """Run the command line and return its exit status; nothing it raises gets past here."""

    def command() -> int:
        from .commands import cli

        return int(cli.main(list(arguments), prog_name=NAME, standalone_mode=False) or status.DONE)

    return guarded(command)


def guarded(work: Callable[[], int]) -> int:
    """Do it and return its exit status; whatever it raises becomes words on standard error and a status."""
    _forgive_encodings()
    _heed_threads()
    try:
        code = _run(work)
        sys.stdout.flush()
        return code
    except BrokenPipeError:
        # The reader (head, less) has had enough. Python would complain once more when it closes the stream.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return status.DONE
    except KeyboardInterrupt:
        return _complain("Interrupted.", "", "", status.INTERRUPTED)
    except Exception as error:
        if os.environ.get("IKOMA_DEBUG"):
            raise
        return _unforeseen(error)


def _forgive_encodings() -> None:
    """What a locale cannot show is no reason to fail."""
    import codecs

    from ..console.terminal import spelled_out

    codecs.register_error("spelled_out", spelled_out)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="spelled_out")


def _heed_threads() -> None:
    """A mistake of ours in a thread is told as one anywhere else; the run itself goes on as it can."""
    import threading

    def failed(how: threading.ExceptHookArgs) -> None:
        if isinstance(how.exc_value, Exception):
            _unforeseen(how.exc_value)

    if not os.environ.get("IKOMA_DEBUG"):
        threading.excepthook = failed


def _run(work: Callable[[], int]) -> int:
    import click

    from ..errors import FaultsFound, IkomaError

    try:
        return work()
    except click.exceptions.Exit as leaving:
        return leaving.exit_code
    except click.Abort:
        return _complain("Interrupted.", "", "", status.INTERRUPTED)
    except click.ClickException as error:
        return _misused(error)
    except FaultsFound as error:
        from .faults import show

        return show(error.faults)
    except IkomaError as error:
        where = f"{error.position}: " if error.position else ""
        return _complain(where + error.message, error.evidence, error.remedy, status.of_error(error))


def _misused(error: Exception) -> int:
    """A wrong option, argument or command name, as click found it."""
    import click

    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return status.USED_WRONGLY
    if isinstance(error, click.UsageError):
        place = error.ctx.command_path if error.ctx else NAME
        sentence, _, guess = error.format_message().partition(" Did you mean")
        guess = f"Did you mean{guess} " if guess else ""
        return _complain(sentence, "", f"{guess}See {place} --help.", status.USED_WRONGLY)
    message = error.format_message() if isinstance(error, click.ClickException) else str(error)
    return _complain(message, "", "", status.USED_WRONGLY)


def _complain(message: str, evidence: str, remedy: str, code: int) -> int:
    import click

    sys.stdout.flush()
    click.echo(f"{click.style('error:', fg='red', bold=True)} {message}", err=True)
    for line in evidence.splitlines():
        click.echo(f"  | {line}", err=True)
    if remedy:
        click.echo(f"  {remedy}", err=True)
    return code


def _unforeseen(error: Exception) -> int:
    """What the system will not take; else a mistake of ours: one sentence, and how to see the rest."""
    from ..transport.faults import of_input

    if (refused := of_input(error)) is not None:
        return _complain(refused.message, "", refused.remedy, status.USED_WRONGLY)
    kind = type(error).__name__
    message = f"ikoma-play itself failed: {kind}: {error}".rstrip(": ")
    return _complain(message, "", "Run it again with IKOMA_DEBUG=1 to see where, and tell its makers.", status.FAILED)
