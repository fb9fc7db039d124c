"""What runs an application's services: one interface, two runtimes (`compose`, `process`)."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence

from msgspec import Struct

from ..transport.base import Transport
from .settings import Settings, settings


class Service(Struct, frozen=True):
    """One service of an application as it really is now.

    `state`: running, starting, restarting, exited, missing. `health`: healthy, unhealthy, starting,
    none (it declares no check). `image` identifies what it runs (an image id; for local processes
    a digest of the service's definition and code). `id` changes when the service is made anew.
    """

    name: str
    state: str
    health: str
    image: str = ""
    id: str = ""
    started_at: str = ""
    exit_code: int | None = None
    ports: tuple[str, ...] = ()  # published addresses, "127.0.0.1:8080"
    finished: bool = False  # it ended well, and other services wait for just that
    detail: str = ""  # what its last health check or the engine said, when it is not good
    restarts: int = 0  # how often the engine has started it again by itself; 0 of local processes

    @property
    def good(self) -> bool:
        """Running, and healthy where it can tell; or finished as it should."""
        return self.finished or (self.state == "running" and self.health in ("healthy", "none"))


class Runtime(ABC):
    """Services of applications on one host. `app` is a checked name; its files lie in `settings.app(app)`,
    with `docker-compose.yml` (or compose.yaml) and `.env` in that folder for both runtimes."""

    def __init__(self, on: Transport) -> None:
        self.on = on
        self.settings: Settings = settings(on)
        self.notes: list[str] = []  # what `up` did besides, for the result's details

    @abstractmethod
    def available(self) -> tuple[bool, str]:
        """Whether the runtime works on the host, and a sentence of detail (version, or what is wrong)."""

    @abstractmethod
    def config(self, app: str) -> dict[str, object]:
        """The compose file, interpolated with `.env` and normalised as `docker compose config` does.

        Raises NotFound (no compose file), StepError with the file, line and cause (it does not parse,
        a required variable is missing)."""

    @abstractmethod
    def services(self, app: str) -> Sequence[Service]:
        """Every service that the compose file declares, those not there as `missing`."""

    @abstractmethod
    def up(self, app: str, timeout: float, build: bool = True) -> bool:
        """Bring every service up as the compose file now says and wait until all are healthy. Without `build`
        images are taken as their names mean them now, where the runtime has such names.

        True when anything was created, recreated or started. Raises Unhealthy naming the service with
        its last log lines and failing health check's output; Refused for a port already taken, naming
        port and holder; Unavailable when the runtime itself is down."""

    @abstractmethod
    def down(self, app: str) -> bool:
        """Stop and remove the services; True when there were any. Volumes stay."""

    @abstractmethod
    def restart(self, app: str, timeout: float) -> None:
        """Restart every service and wait as `up` does."""

    @abstractmethod
    def lines(
        self, app: str, service: str | None = None, tail: int = 100, since: float | None = None
    ) -> list[tuple[str, str]]:
        """The last lines of each service's output, with the time of each (ISO, sorts as text) where it is known.

        `since`: only those printed after that time, in seconds since the epoch. Raises NotFound where nothing
        runs, Refused for `since` where lines carry no time."""

    def logs(self, app: str, service: str | None = None, tail: int = 100, since: float | None = None) -> str:
        """The last lines of the services' output as text."""
        return "\n".join(text for _, text in self.lines(app, service, tail, since))

    @abstractmethod
    def ports(self, app: str) -> Iterator[tuple[str, int, str]]:
        """Published ports that are taken by something else now: (service, port, holder)."""


def runtime(on: Transport) -> Runtime:
    """The runtime of the host that `on` leads to."""
    if settings(on).runtime == "process":
        from .process import ProcessRuntime

        return ProcessRuntime(on)
    from .compose import ComposeRuntime

    return ComposeRuntime(on)
