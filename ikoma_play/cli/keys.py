"""`ikoma-play keys`: who may call the server. A key is shown once, when it is made; only its hash is kept."""

from __future__ import annotations

import json
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from .. import language
from ..console.columns import columns
from ..errors import UsageError
from ..model import Access
from ..platform import api_keys, envfile
from ..platform.api_keys import Keys
from ..platform.key_file import KeyFile
from ..transport.faults import remedy_of
from . import audits, options, sources, times

where = options.together(
    click.option(
        "--file", "file", metavar="FILE", help="The file of keys; default API_KEYS_FILE, else keys.json beside .env."
    ),
    click.option("--env-file", metavar="FILE", help="The platform's .env; default IKOMA_ENV_FILE says."),
    click.option("-i", "--inventory", multiple=True, metavar="INVENTORY", help="Whose hosts' platform."),
)
grace = click.option(
    "--grace", default="1h", show_default=True, metavar="SPAN", help="How long the old key stays valid: 0, 30m, 7d."
)


@click.group("keys", invoke_without_command=True)
@click.pass_context
def command(ctx: click.Context) -> int:
    """The server's keys: `list` (the default), `create`, `rotate` and `revoke`. A running server sees changes at once.

    The platform's own key, API_KEY_HASH of its .env, is called `platform` here and may do everything.
    """
    return int(ctx.invoke(list_keys)) if ctx.invoked_subcommand is None else 0


@command.command("list")
@where
@options.as_json
def list_keys(as_json: bool = False, **places: Any) -> int:
    """List keys: what each may do, and until when."""
    found = Place.of(**places)
    keys, now = found.file.keys, time.time()
    rows = [_data(key, now) for key in keys]
    if found.api_key_hash() is not None or keys.platform:
        own = api_keys.Key(api_keys.PLATFORM, Access.ADMIN.label, "", retiring=keys.platform)
        rows.insert(0, _data(own, now))
    if as_json:
        click.echo(json.dumps(rows, ensure_ascii=False))
        return 0
    if not rows:
        click.echo("No key yet. Make one with: ikoma-play keys create NAME --role operator")
        return 0
    table = [("name", "role", "created", "expires", "hosts", "applications", "old one until"), *map(_row, rows)]
    click.echo("\n".join(columns(table, indent=0, room=options.room())))
    return 0


@command.command("create")
@click.argument("name")
@where
@click.option("--role", required=True, type=click.Choice([access.label for access in Access]), help="What it may do.")
@click.option("--expires", metavar="TIME", help="Until when: 90d, 2027-01-31. Default: for ever.")
@click.option("--host", "hosts", multiple=True, metavar="HOST", help="Only these hosts; * stands for anything.")
@click.option("--app", "applications", multiple=True, metavar="APP", help="Only these applications; * as well.")
def create(
    name: str, role: str, expires: str | None, hosts: tuple[str, ...], applications: tuple[str, ...], **places: Any
) -> int:
    """Make a key and print it: it cannot be shown again."""
    until = times.ahead(expires, "expires") if expires else None
    found = Place.of(**places)
    said = {"name": name, "role": role, "expires": expires, "hosts": hosts, "applications": applications}
    with found.audited("keys.create", {key: value for key, value in said.items() if value}):
        shown = found.file.change(
            lambda keys: keys.create(
                name, Access[role.upper()], expires=until, hosts=hosts, applications=applications
            )
        )  # fmt: skip
    _tell(shown, f"The key {name} ({role}) is on standard output, this once.")
    return 0


@command.command("rotate")
@click.argument("name")
@where
@grace
def rotate(name: str, grace: str, **places: Any) -> int:
    """Give a key a new value and print it; the old one stays valid for a while, so that nobody is locked out."""
    seconds = times.span(grace, "grace")
    found = Place.of(**places)
    with found.audited("keys.rotate", {"name": name, "grace": grace}):
        shown = found.rotate(name, seconds)
    old = f"the old one is valid until {_when(time.time() + seconds)}" if seconds else "the old one is no longer valid"
    _tell(shown, f"The new key {name} is on standard output, this once; {old}.")
    return 0


@command.command("revoke")
@click.argument("name")
@where
@click.option("--old", "only_old", is_flag=True, help="Only the values that were rotated away; the new one stays.")
def revoke(name: str, only_old: bool, **places: Any) -> int:
    """Make a key invalid at once."""
    found = Place.of(**places)
    with found.audited("keys.revoke", {"name": name, **({"old": True} if only_old else {})}):
        found.file.change(lambda keys: (keys.revoke(name, only_old), None))
    click.echo(f"The {'old values of the ' if only_old else ''}key {name} {'are' if only_old else 'is'} revoked.")
    return 0


class Place:
    """Where a platform's keys lie: the file of keys, and its .env."""

    def __init__(self, file: KeyFile, env_file: Path, places: audits.Places, host: str) -> None:
        self.file = file
        self.env_file = env_file
        self._places = places
        self._host = host  # the platform's own

    @classmethod
    def of(
        cls, file: str | None = None, env_file: str | None = None, inventory: tuple[str, ...] = ()
    ) -> Place:  # fmt: skip
        """Raises UsageError where the inventory's hosts have several."""
        said = env_file or os.environ.get("IKOMA_ENV_FILE")
        places, host = _places(Path(said) if said else None, inventory)
        env = places.env_file(host)
        named = file or audits.setting("API_KEYS_FILE", env)
        path = Path(named).expanduser() if named else env.absolute().parent / api_keys.FILE
        return cls(KeyFile(path), env, places, host)

    def api_key_hash(self) -> str | None:
        try:
            text = self.env_file.read_text("utf-8", "replace")
        except OSError:
            return None
        return api_keys.platform_hash(envfile.EnvFile(text, str(self.env_file)).values)

    def rotate(self, name: str, seconds: float) -> str:
        """A key's new value. The platform's own changes in .env, once the old one is known to stay valid."""
        if name != api_keys.PLATFORM:
            shown = api_keys.new()
            return self.file.change(lambda keys: (keys.rotate(name, seconds, shown), shown))
        shown = api_keys.new()

        def change(keys: Keys) -> tuple[Keys, str]:
            old = self.api_key_hash()
            if old is None:
                raise UsageError(
                    f"there is no API_KEY_HASH in {self.env_file}", remedy="Name the platform's .env with --env-file."
                )
            return keys.retire_platform(old, seconds), shown

        return self.file.change(change, lambda: self._write_env(api_keys.sha256(shown)))

    def _write_env(self, digest: str) -> None:
        try:
            there = self.env_file.stat()
            changed = envfile.EnvFile(self.env_file.read_text("utf-8"), str(self.env_file))
            changed.merge({"API_KEY_HASH": digest})
            real = Path(os.path.realpath(self.env_file))
            beside = real.with_name(f".{real.name}.{secrets.token_hex(6)}")
            file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, envfile.MODE)
            with os.fdopen(file, "w", encoding="utf-8") as out:
                out.write(changed.text)
                out.flush()
                os.fsync(file)
            os.chown(beside, there.st_uid, there.st_gid)
            beside.replace(real)
        except OSError as error:
            raise UsageError(
                f"{self.env_file} cannot be written: {error.strerror}; the old key stays the platform's",
                remedy=remedy_of(error, "Run as the user whom it belongs to."),
            ) from None

    @contextmanager
    def audited(self, what: str, arguments: Mapping[str, Any]) -> Iterator[None]:
        """The change is in the audit log too; where that cannot be written, nothing is changed."""
        from ..audit.entries import Entry
        from ..errors import AuditError, IkomaError
        from ..journal.holder import this_process

        logs = audits.Logs(self._places, changes=True)
        begun, error = time.time(), ""
        try:
            log = logs.of(self._host)
        except AuditError as refused:
            raise UsageError(f"nothing was changed: {refused.message}", remedy=refused.remedy) from None
        try:
            yield
        except IkomaError as wrong:
            error = wrong.message
            raise
        finally:
            if log is not None:
                who = f"cli:{this_process().who}"
                log.append(Entry(what, "admin", arguments, error, time.time() - begun, key=who, at=begun))
            logs.close()


def _places(env_file: Path | None, inventory: tuple[str, ...]) -> tuple[audits.Places, str]:
    """Where the platform's things lie, and its own host. On a machine that is a platform it is that machine.
    Raises UsageError where the inventory's hosts have several."""
    if env_file is None and not inventory and not Path("inventory.yml").is_file() and Path(audits.ENV_FILE).is_file():
        env_file = Path(audits.ENV_FILE)
    if env_file is not None and not inventory:
        return audits.Places(None, env_file=env_file), "localhost"
    found = language.load_inventory(sources.inventories(inventory))
    places = audits.Places(found, env_file=env_file)
    files = {places.env_file(host): host for host in found.hosts} or {Path(audits.ENV_FILE): "localhost"}
    if len(files) > 1:
        raise UsageError(
            f"the inventory's hosts have {len(files)} platforms",
            remedy=f"Say which with --env-file: {', '.join(map(str, files))}",
        )
    return places, next(iter(files.values()))


def _data(key: api_keys.Key, now: float) -> dict[str, Any]:
    former = [old.until for old in key.retiring if now < old.until]
    return {
        "name": key.name, "role": key.role, "created": key.created or None, "expires": key.expires,
        "expired": key.expired(now), "hosts": list(key.hosts), "applications": list(key.applications),
        "old_until": max(former, default=None),
    }  # fmt: skip


def _row(row: Mapping[str, Any]) -> tuple[str, ...]:
    expires = f"{_when(row['expires'])} (expired)" if row["expired"] else _when(row["expires"])
    limits = (", ".join(row[name]) or "all" for name in ("hosts", "applications"))
    return (row["name"], row["role"], _when(row["created"]), expires, *limits, _when(row["old_until"]))


def _tell(shown: str, said: str) -> None:
    click.echo(shown)
    click.echo(said, err=True)


def _when(at: float | None) -> str:
    return "–" if at is None else time.strftime("%Y-%m-%d %H:%M", time.localtime(at))
