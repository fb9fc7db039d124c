"""Which views watch a run, by what the command line asks for and what standard output is."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

from ..console.terminal import looks
from ..events import Event


class View(Protocol):
    """An observer that may hold something open."""

    def __call__(self, event: Event) -> None: ...

    def close(self) -> None: ...


@contextmanager
def watching(
    again: Sequence[str], *, as_json: bool, junit: str | None, profile: bool, verbosity: int, diff: bool
) -> Iterator[list[View]]:
    """The views, closed at the end whatever happens. Raises UsageError where a file cannot be written."""
    views: list[View] = []
    settings = looks(sys.stdout)
    if as_json:
        from ..console.jsonlines import JsonLines

        views.append(JsonLines(sys.stdout))
    else:
        from ..console.narrator import Narrator

        narrator = Narrator(verbosity, diff)
        if settings.live:
            from ..console.live import LiveView

            views.append(LiveView(sys.stdout, settings, narrator, again))
        else:
            from ..console.plain import PlainView

            views.append(PlainView(sys.stdout, settings, narrator, again))
    if junit:
        from ..console.junit import JUnitFile

        views.append(JUnitFile(Path(junit)))
    if profile:
        from ..console.profile import Profile

        stream = sys.stderr if as_json else sys.stdout
        views.append(Profile(stream, settings.width if settings.live else 0))
    try:
        yield views
    finally:
        for view in views:
            view.close()


@contextmanager
def quiet(views: Sequence[View]) -> Iterator[None]:
    """Nothing is redrawn while a person is asked something."""
    for view in views:
        if (pause := getattr(view, "pause", None)) is not None:
            pause()
    try:
        yield
    finally:
        for view in views:
            if (go_on := getattr(view, "go_on", None)) is not None:
                go_on()
