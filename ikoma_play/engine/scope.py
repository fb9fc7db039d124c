"""What a tool may know of the run: variables, files of the runner, secrets to keep."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from msgspec.structs import replace

from ..errors import NotFound, StepError
from ..events import Decision
from ..language.templating import Find, Templar, Variables
from ..language.variables import search_path
from ..model import Access, Step
from ..tool import Undoing
from .masking import Secrets

ORDINARY = Undoing()


class StepScope:
    """The Scope of one call of a tool."""

    def __init__(
        self,
        variables: Variables,
        check: bool,
        diff: bool,
        find: Find,
        secrets: Secrets,
        undoing: Undoing = ORDINARY,
        decided: Callable[[str, Access, float], Decision | None] | None = None,
        mark: str = "",
        again: bool = False,
    ) -> None:
        self.variables: Mapping[str, Any] = variables
        self.check = check
        self.diff = diff
        self.mark = mark
        self.again = again
        self._find = find
        self._secrets = secrets
        self._decided = decided
        self.undoing = replace(undoing, keep_secret=self.keep_secret)

    def evaluate(self, expression: str) -> Any:
        return self._templar({}).evaluate(expression)

    def render_file(self, path: Path, options: Mapping[str, Any], **extra: Any) -> str:
        return self._templar(extra).render_file(path, options)

    def find(self, kind: str, name: str) -> Path:
        return self._find(kind, name)

    def mask(self, text: str) -> str:
        return self._secrets.mask(text)

    def keep_secret(self, *values: str) -> None:
        self._secrets.add(list(values))

    def decided(self, question: str, role: Access, timeout: float) -> Decision | None:
        if self._decided is None:
            raise StepError("nobody can be asked here", remedy="Let a playbook ask: ikoma-play run, or POST /runs.")
        return self._decided(question, role, timeout)

    def _templar(self, extra: Mapping[str, Any]) -> Templar:
        return Templar(self.variables, self._find, extra)


@lru_cache(256)
def _places(kind: str, name: str, *roots: str) -> tuple[Path, ...]:
    """Where a file may be, below absolute folders."""
    return tuple(place for root in roots for place in (Path(root, kind, name), Path(root, name)))


def finder(step: Step, playbook_dir: str) -> Find:
    """Where the files that a step names are looked for: in each folder of its search path first below files/,
    templates/, tasks/ or vars/."""

    def find(kind: str, name: str) -> Path:
        given = Path(name).expanduser()
        if given.is_absolute():
            if given.exists():
                return given
            raise NotFound(f"there is no {given}", position=getattr(name, "position", None))
        places = _places(kind, str(name), *search_path(step, playbook_dir))
        for place in places:
            if place.exists():
                return place
        raise NotFound(
            f"there is no file {name!r} in {kind} of this step",
            remedy=f"Put it into one of: {', '.join(map(str, places))}.",
            position=getattr(name, "position", None),
        )

    return find
