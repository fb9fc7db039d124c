"""Docker Engine and Docker Compose, as the tests need them; tests/run starts and installs what is missing."""

from __future__ import annotations

from .images import PartMissing, run


def demand_engine() -> None:
    """Raises PartMissing where no Docker Engine answers or `docker compose` is not there."""
    for argv, brings in (
        (("docker", "info"), "a running Docker Engine: `bash tests/run` installs and starts one"),
        (("docker", "compose", "version"), "Docker Compose: `bash tests/run` installs it"),
    ):
        try:
            run(*argv, timeout=60)
        except (OSError, PartMissing) as error:
            raise PartMissing(f"These tests need {brings}.\n{error}") from error
