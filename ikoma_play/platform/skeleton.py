"""What apps.init makes: the directories of an application and a compose file to begin with."""

from __future__ import annotations

from collections.abc import Mapping

from ..transport.base import Transport
from . import application
from .settings import settings

FOLDERS = ("config", "migrations", "seeds", "src")

COMPOSE_FILE = """\
# The services of this application. Put the code into src/, with a Dockerfile, and say here how it runs;
# variables come from .env beside this file.
services:
  web:
    build:
      context: ./src
    ports:
      - "127.0.0.1:${PORT:?the port on which the application answers}:${PORT}"
    environment:
      PORT: ${PORT}
      POSTGRES_HOST: ${POSTGRES_HOST:-postgres}
      POSTGRES_PORT: ${POSTGRES_PORT:-5432}
      POSTGRES_DB: ${POSTGRES_DB:?the name of the database}
      POSTGRES_USER: ${POSTGRES_USER:?the database user}
      POSTGRES_PASSWORD: ${POSTGRES_PASSWORD:?the password of the database user}
    networks:
      - platform
    init: true
    restart: unless-stopped

networks:
  platform:
    name: ${IKOMA_NETWORK:-ikoma}
    external: true
"""

# The text of each file as apps.init writes it: one that still reads so was changed by nobody.
GENERATED: Mapping[str, str] = {"docker-compose.yml": COMPOSE_FILE}


def make(on: Transport, app: str) -> list[str]:
    """Make what is missing, never touching what is there; the paths that were made, relative to the application's.

    A directory with a compose file of any accepted name gets no other one."""
    from .compose_file import NAMES

    folder = settings(on).app(app)
    application.exists(on, app)  # a link in its place is refused
    made = [""] if on.mkdir(folder) else []
    made += [f"{name}/" for name in FOLDERS if on.mkdir(f"{folder}/{name}")]
    if not any(on.exists(f"{folder}/{name}") for name in NAMES):
        for name, text in GENERATED.items():
            on.write(f"{folder}/{name}", text.encode(), 0o644)
            made.append(name)
    return made
