"""Docker Compose as commands on a host: the plugin of `docker`, or `docker-compose` where that is missing.

What a person would type in the application's directory, with one difference: variables come from the
`.env` there and not from the surroundings, so that the platform's own POSTGRES_DB, say, never becomes an
application's.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from hashlib import sha256
from weakref import WeakKeyDictionary

from ..errors import Unavailable
from ..model import Command, Result
from ..transport.base import Transport
from .compose_file import SURROUNDINGS

PLUGIN = ("docker", "compose")
STANDALONE = ("docker-compose",)
INSTALL = (
    "Install Docker Compose: apt-get install docker-compose-plugin, or see https://docs.docker.com/compose/install/"
)
# Settings of Compose that would lead it elsewhere.
_ASIDE = ("COMPOSE_FILE", "COMPOSE_PROJECT_NAME", "COMPOSE_PROFILES", "COMPOSE_ENV_FILES")
_NO_PLUGIN = re.compile(rb"is not a docker command|unknown flag: --project-name|unknown command: docker compose")
_words_of: WeakKeyDictionary[Transport, tuple[str, ...]] = WeakKeyDictionary()


def project_name(app: str) -> str:
    """What Docker Compose makes of a directory's name, so that commands typed there mean the same project."""
    name = re.sub(r"[^a-z0-9_-]", "", app.lower()).lstrip("_-")
    return name or f"app-{sha256(app.encode()).hexdigest()[:12]}"


class ComposeCli:
    """Docker Compose for one project; `variables` are the names that only `.env` may give."""

    def __init__(self, on: Transport, app: str, folder: str | None, variables: Iterable[str] = ()) -> None:
        self.on, self.folder = on, folder
        self.project = project_name(app)
        self.variables = sorted({*variables, *_ASIDE} - SURROUNDINGS)

    def run(
        self,
        *words: str,
        stdin: bytes | None = None,
        timeout: float | None = None,
        changes: bool = True,
        on_output: Callable[[bytes], None] | None = None,
    ) -> Result:
        """A bad exit code is a Result. Raises Unavailable where Docker Compose is not to be found, TimedOut."""
        apart = tuple(word for name in self.variables for word in ("-u", name))
        kinds = [_words_of[self.on]] if self.on in _words_of else [PLUGIN, STANDALONE]
        for kind in kinds:
            argv = ("env", *apart, *kind, "--project-name", self.project, *words)
            result = self.on.run(
                Command(argv, stdin=stdin, cwd=self.folder, timeout=timeout, changes=changes), on_output
            )
            if result.exit_code == 127 or (kind is PLUGIN and not result.ok and _NO_PLUGIN.search(result.stderr)):
                continue
            if not (changes and self.on.dry):
                _words_of[self.on] = kind
            return result
        raise Unavailable(f"Docker Compose is not installed on {self.on.host.name}", remedy=INSTALL)


def compose_version(on: Transport) -> str:
    """Raises Unavailable where Docker Compose is not to be found."""
    return ComposeCli(on, "ikoma", None).run("version", "--short", changes=False).text
