"""`ikoma-play serve`: every tool over HTTP."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .. import language, shipped
from ..errors import AuditError, UsageError
from ..language import Inventory
from ..model import Host
from ..tools import TOOLS
from . import audits, journaling, options, roads, schedules, sources, status

if TYPE_CHECKING:
    from ..audit.log import AuditLog
    from ..platform.api_keys import Key
    from ..server.parts import Parts
    from ..server.settings import Environment

ENV_FILE = "/opt/ikoma/.env"
SPARE = 4  # threads that answer while all others run tools


@click.command("serve")
@options.inventory_sources
@options.vault_passwords
@click.option("-C", "--check", "dry", is_flag=True, help="Change nothing; tell what calls would change.")
@click.option("--host", metavar="HOST", help="The host that is meant where a call names none.")
@click.option(
    "--bind", metavar="ADDRESS:PORT|unix:PATH", help="Where to listen. Default: 127.0.0.1 and HTTP_PORT, else 3000."
)
@click.option(
    "--env-file",
    metavar="FILE",
    envvar="IKOMA_ENV_FILE",
    help=f"The platform's .env. Default: ikoma_env_file of the host, else {ENV_FILE}.",
)
@click.option("--tls-cert", metavar="FILE", type=click.Path(path_type=Path), help="Serve HTTPS with this certificate.")
@click.option("--tls-key", metavar="FILE", type=click.Path(path_type=Path), help="Its key, if it is not in there too.")
@click.option("--trusted-proxy", metavar="ADDRESS", help="Believe this proxy's X-Forwarded-For; `unix` for a socket.")
@click.option(
    "--threads", type=click.IntRange(SPARE + 1), default=20, show_default=True, help="How many requests at once."
)
@click.option(
    "--max-body", type=click.IntRange(1), default=1024 * 1024, show_default=True, help="Bytes of a request's body."
)
@click.option(
    "--log-level", type=click.Choice(["debug", "info", "warning", "error"]), default="info", show_default=True
)
@schedules.playbooks_option
@options.lock_timeout
def command(**given: Any) -> int:
    """Offer every tool as POST /execute/TOOL, with keys, roles and an audit log.

    Keys come from API_KEY_HASH in the platform's .env and from: ikoma-play keys create.
    """
    from ..server.app import Application, Web
    from ..server.calls import Calls
    from ..server.limiting import Limits
    from ..server.listener import Binding, Server, opened, serve
    from ..server.logs import Log
    from ..server.metrics import Metrics
    from ..server.once import Once
    from ..server.runs import Runs, answer_of
    from ..server.schedules import Schedules, offer
    from ..server.tls import certificate
    from .children import Children
    from .scheduling import ByItself, Known, People, Starting

    log = Log(given["log_level"])
    threading.excepthook = log.thread_failed
    if given["tls_key"] and not given["tls_cert"]:
        raise UsageError("--tls-key goes with --tls-cert", remedy="Name the certificate too.")
    names = _inventories(given)
    inventory = language.load_inventory(names)
    own = _own_host(inventory, given["host"])
    environment = _environment(given, inventory, own, log)
    secured_by = certificate(given["tls_cert"], given["tls_key"]) if given["tls_cert"] else None
    at = Binding.parse(given["bind"] or f"127.0.0.1:{environment.now.port}", environment.now.port)
    audit = Audit(environment, inventory, own)
    audit.demand()
    keys = _keys(environment)
    known = Known(given["schedules"], names, log)
    sock = opened(at)
    with closing(sock), closing(journaling.Kept(names, given["lock_timeout"])) as journal:
        parts = _parts(inventory, own, journal, audit, environment, given["dry"])
        calls = Calls(parts, given["threads"] - SPARE)
        limits = Limits(lambda: environment.latest.rates)
        children = Children(journal.store, names, lambda: _around(environment, audit), given["lock_timeout"])
        people = People(journal.store, inventory, log)
        due = Schedules(journal.store, Starting(known, children, people), log)
        by_itself = ByItself(due, people, log, given["dry"])
        metrics = Metrics(calls.look, journal.under_way, lambda: calls.running, due.told)
        calls.count = metrics.count
        once = Once(journal.store, lambda run: answer_of(journal.store, run))
        application = Application(Web(calls, lambda: environment.now, keys, limits, metrics, log, once))
        Runs(application, journal.store, children, once, max(2, given["threads"] // 4))
        offer(application, due)
        proxy = "unix" if given["trusted_proxy"] == "unix" else given["trusted_proxy"]
        trusted = {"trusted_proxy": proxy, "trusted_proxy_headers": {"x-forwarded-for", "x-forwarded-proto"}}
        server = Server(
            application, sock, given["threads"], log, secured_by=secured_by,
            max_request_body_size=given["max_body"] + 1, **(trusted if proxy else {}),
        )  # fmt: skip
        _load()
        log.write("info", "listening", on=str(at), tls=secured_by is not None, host=own, audit=str(audit.path))

        def begin_stop() -> None:
            calls.stopping = True
            log.write("info", "stopping", running=calls.running, runs=children.running)
            by_itself.stop()
            children.stop()

        by_itself.start()
        serve(server, begin_stop, lambda: not (calls.running or children.running or by_itself.running))
        if at.path is not None:
            at.path.unlink(missing_ok=True)
        log.write("info", "stopped")
    return status.DONE


def _inventories(given: dict[str, Any]) -> list[str]:
    """What -i says or what lies here; on a machine that is a platform, that machine alone."""
    if given["inventory"] or Path("inventory.yml").is_file():
        return sources.inventories(given["inventory"])
    if given["env_file"] or Path(ENV_FILE).is_file() or os.environ.get("APPS_ROOT"):
        return ["localhost,"]
    return sources.inventories(())


def _own_host(inventory: Inventory, named: str | None) -> str | None:
    """The platform's own host: the one that was named, the only one, or the only one that is this machine."""
    if named is not None:
        if named not in inventory.hosts:
            raise UsageError(f"--host {named}: the inventory has no such host", remedy="See: ikoma-play inventory")
        return named
    if not inventory.hosts:
        raise UsageError("The inventory has no hosts", remedy="Name one with -i; `-i localhost,` is this machine.")
    local = [name for name, host in inventory.hosts.items() if is_local(host)]
    for candidates in (list(inventory.hosts), local):
        if len(candidates) == 1:
            return candidates[0]
    return None


def is_local(host: Host) -> bool:
    return roads.connection(host) == "local"


def _said(inventory: Inventory, own: str | None, variable: str) -> str:
    """A plain text variable of the platform's own host, where that is this machine."""
    host = inventory.hosts.get(own or "")
    value = host.vars.get(variable) if host is not None and is_local(host) else None
    return value if isinstance(value, str) and "{{" not in value else ""


def _environment(given: dict[str, Any], inventory: Inventory, own: str | None, log: Any) -> Environment:
    from ..server.settings import Environment

    file = given["env_file"] or _said(inventory, own, "ikoma_env_file") or ENV_FILE
    if given["env_file"] and not Path(file).is_file():
        raise UsageError(f"There is no file {file}", remedy="Name the platform's .env with --env-file.")
    return Environment(
        Path(file).absolute(), os.environ, lambda message: log.write("warning", "settings", said=message)
    )


class Audit:
    """The audit log that the settings name now."""

    def __init__(self, environment: Environment, inventory: Inventory, own: str | None) -> None:
        self._environment = environment
        self._said = _said(inventory, own, "ikoma_audit_log")
        self._logs: dict[str, AuditLog] = {}

    @property
    def path(self) -> Path:
        return Path(self._environment.latest.audit_log or self._said or "/var/log/ikoma/audit.jsonl").absolute()

    def __call__(self) -> AuditLog:
        from ..audit.log import AuditLog

        named = self._environment.latest.audit_log
        if named not in self._logs:
            key = audits.chain_key(audits.setting("AUDIT_KEY_FILE", self._environment.file))
            self._logs[named] = AuditLog(self.path, key)
        return self._logs[named]

    def demand(self) -> None:
        """Raises UsageError where nothing could be written."""
        try:
            self().demand()
        except AuditError as error:
            raise UsageError(error.message, remedy=error.remedy) from None


def _around(environment: Environment, audit: Audit) -> dict[str, Any]:
    """What runs in processes of their own are told of this server."""
    return {
        "audit_log": str(audit.path),
        "env_file": str(environment.file),
        "connection": dict(environment.now.host_variables),
    }


def _load() -> None:
    """What the first calls would wait for."""
    TOOLS.all()
    gc.collect()
    gc.freeze()
    gc.enable()


def _parts(
    inventory: Inventory, own: str | None, journal: journaling.Kept, audit: Audit, environment: Environment, dry: bool
) -> Parts:
    from ..server.parts import Parts

    return Parts(
        inventory, TOOLS, roads.connect, is_local,
        lambda tool, host, here, key, request, keep: journal.call(tool, host, here, key.name, request, keep),
        audit, lambda: environment.latest.host_variables, str(shipped.playbooks()), own, dry,
        lambda: environment.latest.places,
    )  # fmt: skip


def _keys(environment: Environment) -> Callable[[str], Key | None]:
    """Finds a key among those of the file and the platform's own. Raises UsageError where there are none."""
    from ..errors import StepError
    from ..platform.api_keys import FILE
    from ..platform.key_file import KeyFile

    file = KeyFile(Path(audits.setting("API_KEYS_FILE", environment.file) or environment.file.with_name(FILE)))
    try:
        none = not list(file.keys) and not environment.now.key_hash
    except StepError as error:
        raise UsageError(error.message, remedy=error.remedy) from None
    if none:
        raise UsageError(
            f"there is no key that could be used: {environment.file} has no API_KEY_HASH, and {file.path} no keys",
            remedy="Make one with: ikoma-play keys create NAME --role admin, or write API_KEY_HASH=<sha256 of a key>.",
        )
    return lambda key: file.keys.find(key, environment.latest.key_hash or None)
