"""The server of a host: how it is named, and what is said when it cannot be reached."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from ikoma_play.errors import IkomaError, NotFound, Refused, StepError, Unavailable
from ikoma_play.model import Host
from ikoma_play.platform import databases
from ikoma_play.platform.postgres import Server, database_name
from ikoma_play.platform.postgres_programs import major, programs
from ikoma_play.transport.local import LocalTransport
from tests.parts.platform import Platform, free_port
from tests.parts.sandbox import Sandbox, sandbox

__all__ = ["sandbox"]


def server(tmp_path: Path, postgres: str = "", env: str | None = None) -> Server:
    if env is not None:
        (tmp_path / ".env").write_text(env)
    variables = {"ikoma_postgres": postgres, "ikoma_env_file": str(tmp_path / ".env")}
    return Server(LocalTransport(Host("here", (), variables)))


def test_a_url_is_taken_apart(tmp_path: Path) -> None:
    address = server(tmp_path, "postgresql://me:p%40ss%2F@db.example:6432/main?sslmode=require").address
    assert (address.host, address.port, address.user, address.password) == ("db.example", 6432, "me", "p@ss/")
    assert (address.database, address.options) == ("main", {"sslmode": "require"})
    plain = server(tmp_path, "postgres://db.example").address
    assert (plain.port, plain.user, plain.database) == (5432, "postgres", "postgres")


def test_a_url_without_a_password_takes_the_platforms(tmp_path: Path) -> None:
    assert server(tmp_path, "postgresql://me@h/x", "POSTGRES_PASSWORD=of the platform\n").address.password == (
        "of the platform"
    )


def test_the_last_of_doubled_names_in_the_env_file_counts(tmp_path: Path) -> None:
    env = "POSTGRES_HOST=127.0.0.1\nPOSTGRES_PORT=1\nPOSTGRES_USER=u\nPOSTGRES_PASSWORD=old\n"
    address = server(tmp_path, env=env + "POSTGRES_PASSWORD='new one'\nPOSTGRES_PORT=7432\n").address
    assert (address.host, address.port, address.user, address.password) == ("127.0.0.1", 7432, "u", "new one")


@pytest.mark.parametrize("url", ["mysql://h/x", "localhost", "postgresql:///x", "postgresql://h:port/x"])
def test_what_is_no_url_is_refused_without_showing_it(tmp_path: Path, url: str) -> None:
    with pytest.raises(StepError, match=r"neither `embedded` nor a postgresql:// URL") as failed:
        _ = server(tmp_path, url).address
    assert url not in failed.value.message


@pytest.mark.parametrize(
    ("env", "said"), [(None, "gives no POSTGRES_HOST"), ("POSTGRES_HOST=x\nPOSTGRES_PORT=five\n", "is 'five'")]
)
def test_an_env_file_that_says_too_little(tmp_path: Path, env: str | None, said: str) -> None:
    with pytest.raises(StepError, match=said) as failed:
        _ = server(tmp_path, env=env).address
    assert failed.value.remedy


def test_coordinates_are_what_an_application_needs(sandbox: Sandbox) -> None:
    known = sandbox.cluster.coordinates()
    assert known is not None
    assert sandbox.server.coordinates("app") == {
        "POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(known.port), "POSTGRES_DB": "app",
        "POSTGRES_USER": "ikoma", "POSTGRES_PASSWORD": known.password,
    }  # fmt: skip


def refused(of: Server, database: str | None = None) -> IkomaError:
    with pytest.raises(IkomaError) as failed, of.connect(database):
        pass
    assert failed.value.remedy, f"no remedy: {failed.value.message}"
    return failed.value


def test_what_keeps_us_out_is_told_apart(sandbox: Sandbox, tmp_path: Path) -> None:
    known = sandbox.cluster.coordinates()
    assert known is not None
    place = f"127.0.0.1:{known.port}"

    wrong = refused(server(tmp_path, f"postgresql://ikoma:canary-password@{place}/postgres"))
    assert isinstance(wrong, Unavailable) and "does not accept the password of user ikoma" in wrong.message
    assert "canary-password" not in wrong.message + wrong.remedy + wrong.evidence

    missing = refused(sandbox.server, "nosuch")
    assert isinstance(missing, NotFound) and missing.message == f"there is no database nosuch on {place}"

    off = free_port()
    down = refused(server(tmp_path, f"postgresql://ikoma:x@127.0.0.1:{off}/postgres"))
    assert isinstance(down, Unavailable) and f"127.0.0.1:{off}" in down.message and "is not running" in down.message

    nowhere = refused(server(tmp_path, "postgresql://ikoma:x@no-such-host.invalid/postgres"))
    assert isinstance(nowhere, Unavailable) and "no-such-host.invalid" in nowhere.message


def test_a_server_that_lets_nobody_in_from_here(sandbox: Sandbox, tmp_path: Path) -> None:
    ((place,),) = sandbox.sql("postgres", "SHOW hba_file")
    rules = Path(place)
    kept = rules.read_text()
    known = sandbox.cluster.coordinates()
    assert known is not None
    rules.write_text(f"host all stranger 127.0.0.1/32 reject\n{kept}")
    try:
        sandbox.sql("postgres", "SELECT pg_reload_conf()")
        stranger, until = (
            server(tmp_path, f"postgresql://stranger:x@127.0.0.1:{known.port}/postgres"),
            time.monotonic() + 10,
        )
        while "does not let" not in (told := refused(stranger)).message and time.monotonic() < until:
            time.sleep(0.05)  # the server reads its rules when it comes to it
    finally:
        rules.write_text(kept)
        sandbox.sql("postgres", "SELECT pg_reload_conf()")
    assert "does not let user stranger in from 127.0.0.1" in told.message and "pg_hba.conf" in told.remedy


def test_no_free_connection_is_told(sandbox: Sandbox) -> None:
    with contextlib.ExitStack() as stack, pytest.raises(Unavailable, match="has no free connection"):
        for _ in range(200):
            stack.enter_context(sandbox.server.connect())


def test_an_embedded_server_that_never_ran(tmp_path: Path) -> None:
    never = Sandbox(tmp_path)
    failed = refused(never.server)
    assert isinstance(failed, NotFound) and failed.remedy == "Start it: ikoma-play exec platform.up"
    assert Server(never.dry).coordinates("a")["POSTGRES_HOST"] == "127.0.0.1", "check mode cannot go on without one"


def test_what_sql_says_inside_is_an_error_of_ours(sandbox: Sandbox) -> None:
    with pytest.raises(StepError, match='relation "nosuch" does not exist'), sandbox.server.connect() as connection:
        connection.execute("SELECT * FROM nosuch")
    with pytest.raises(Unavailable, match="the connection was lost"), sandbox.server.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(pg_backend_pid())")


def test_databases_are_made_described_and_dropped(sandbox: Sandbox) -> None:
    name = 'We"ird-Name'
    of = sandbox.server
    assert databases.describe(of, name) == databases.Description(name, False)
    assert databases.create(of, name) and not databases.create(of, name)
    sandbox.sql(name, "CREATE SCHEMA s; CREATE TABLE s.t (); CREATE TABLE b (); CREATE TABLE a ()")
    found = databases.describe(of, name)
    assert found.tables == ("a", "b", "s.t") and found.size > 1_000_000
    with of.connect(name):
        assert databases.drop(of, name), "a client kept it"
    assert not databases.drop(of, name)


def test_a_name_that_postgresql_would_cut_is_refused() -> None:
    assert database_name("a" * 63)
    with pytest.raises(Refused, match="at most 63 bytes"):
        database_name("a" * 64)


def test_client_programs_are_new_enough(sandbox: Sandbox) -> None:
    found = programs(sandbox.server)
    with sandbox.server.connect() as connection:
        needed = connection.info.server_version // 10000
    assert major(sandbox.server, found.argv("pg_dump")[0]) >= needed
    assert major(sandbox.server, "no-such-program") == 0
    assert sandbox.server.address.password not in " ".join(found.argv("psql", "-l"))


def test_a_server_that_only_containers_know_by_name_is_reached(platform: Platform, tmp_path: Path) -> None:
    env = f"POSTGRES_HOST=postgres\nPOSTGRES_USER={platform.user}\nPOSTGRES_PASSWORD={platform.password}\n"
    on = LocalTransport(Host("here", (), {"ikoma_env_file": str(platform.folder / "other.env")}))
    (platform.folder / "other.env").write_text(env)
    of = Server(on)
    with of.connect() as connection:
        assert connection.execute("SELECT current_user").fetchone() == (platform.user,)
    assert of.coordinates("x")["POSTGRES_HOST"] == "postgres", "an application is told another name than it knows"
    found = programs(Server(on))
    assert found.argv("pg_dump")


def test_programs_of_the_container_serve_where_the_host_has_none(
    platform: Platform, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ikoma_play.model import Command
    from ikoma_play.platform import postgres_embedded, postgres_programs

    monkeypatch.setattr(postgres_programs, "major", lambda server, program: 0)
    monkeypatch.setattr(postgres_embedded, "binaries", lambda: None)
    variables = {"ikoma_postgres": platform.url, "ikoma_env_file": str(platform.env_file)}
    of = Server(LocalTransport(Host("here", (), variables)))
    found = programs(of)
    assert platform.password not in " ".join(found.argv("psql"))
    asked = Command(found.argv("psql", "-d", "postgres", "-qAt", "-c", "SELECT 6 * 7"), env=found.env)
    assert of.on.run(asked).text == "42"
