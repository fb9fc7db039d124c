"""Every playbook in trouble: a clear error with its remedy, nothing lost, and run again it completes."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ikoma_play.platform import api_keys
from tests.parts.applications import Application, application
from tests.parts.chance import half
from tests.parts.command import CHECKOUT
from tests.parts.crashing import Nursery, nursery
from tests.parts.platform import Platform, free_port
from tests.parts.sandbox import SmallDisk

CASES: dict[str, dict[str, Any]] = yaml.safe_load((Path(__file__).parent / "faults.yml").read_text())
TROUBLES = ("unknown", "halved", "docker", "postgres", "readonly", "full", "forbidden", "interrupted")
NO_IMAGES = ("-e", '{"what": ["leftovers"]}')  # of fix-disk: those of this machine's engine are others' too
COMPOSE = "services:\n  web: {{image: '{image}', init: true, stop_grace_period: 1s, command: [sleep, '600']}}\n"


class Site:
    """An application with a database, deployed twice and with a backup, and an inventory that names its host `here`."""

    def __init__(self, app: Application, platform: Platform, ikoma: Nursery) -> None:
        self.app, self.platform, self.ikoma = app, platform, ikoma
        self.write()

    def write(self, **changed: Any) -> None:
        host = {"ansible_connection": "local", **self.app.on.host.vars, "app": self.app.name, "yes": True, **changed}
        hosts = {"all": {"children": {"apps": {"hosts": {"here": host}}}}}
        (self.app.root / "hosts.yml").write_text(json.dumps(hosts))

    def run(self, playbook: str, expect: int | None, *words: str, **environment: str) -> str:
        more = (
            "run",
            playbook,
            "-i",
            "hosts.yml",
            "-e",
            "yes=true",
            "-e",
            "server=false",
            "-e",
            f"source={self.app.root}/source",
            *words,
        )
        return self.ikoma(self.app.root, *more, environment=environment, expect=expect).text

    def furnish(self, place: Path) -> Path:
        """Put the backup there, and what a killed run left, which is given back; the source is another one then."""
        backups, name = self.app.root / "backups", f"{self.app.name}-first.sql"
        (place / ".ikoma").mkdir()
        for file in (name, f"{name}.sha256", f".ikoma/{name}.json"):
            shutil.copy2(backups / file, place / file)
        (place / "killed.sql.part").touch()
        os.utime(place / "killed.sql.part", (0, 0))
        (self.app.root / "source/note").write_text(str(place))
        return place / "killed.sql.part"

    def names(self, *places: Path) -> set[str]:
        return {str(path) for place in places for path in place.rglob("*")}

    def files(self) -> set[str]:
        return self.names(self.app.root / "apps", self.app.root / "backups")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, platform: Platform, busybox: str) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with application(folder, ikoma_env_file=str(platform.env_file)) as app, nursery() as ikoma:
        made = Site(app, platform, ikoma)
        try:
            (folder / "source/migrations").mkdir(parents=True)
            (folder / "source/migrations/001.sql").write_text("CREATE TABLE entries (id int);\n")
            for seconds in (600, 601):
                compose = COMPOSE.format(image=busybox).replace("600", str(seconds))
                (folder / "source/docker-compose.yml").write_text(compose)
                made.run("deploy", 0)
            app.call("db.backup", backupName=f"{app.name}-first.sql")
            yield made
        finally:
            platform.psql("postgres", f'DROP DATABASE IF EXISTS "{app.name}" WITH (FORCE)')


def cases(trouble: str) -> list[Any]:
    tried = half([*CASES[trouble].items()])
    return [pytest.param(playbook, says, id=f"{trouble}-{playbook}") for playbook, says in tried]


def test_each_playbook_and_each_trouble_has_a_row_or_a_reason() -> None:
    shipped = {path.stem for path in (CHECKOUT / "playbooks").glob("*.yml")}
    for trouble in TROUBLES:
        reasons = [CASES[kind].get(trouble, {}) for kind in ("cannot meet it", "tested by")]
        named = [name for each in reasons for names in each.values() for name in names]
        named += CASES[trouble]
        assert sorted(named) == sorted(shipped), f"{trouble}: {shipped ^ set(named)} has none, or one has two"
        for test in reasons[1]:
            file, name = test.split("::")
            assert f"def {name}(" in (Path(__file__).parent / file).read_text(), f"there is no test {test}"


def tell(site: Site, playbook: str, says: list[Any], *words: str, **environment: str) -> None:
    """Run it; what it says and its exit code must be those of the row."""
    code, *said = says if isinstance(says[0], int) else [2, *says]
    text = site.run(playbook, code, *words, **environment)
    together = " ".join(text.split())
    missing = [words for words in said if " ".join(words.split()) not in together]
    assert not missing, f"the message lacks {missing}\n{text}"


@pytest.mark.parametrize(("playbook", "says"), cases("unknown"))
def test_an_unknown_application(site: Site, playbook: str, says: list[Any]) -> None:
    before = site.files()
    tell(site, playbook, says, "-e", "app=nosuch")
    assert site.files() == before


@pytest.mark.parametrize(("playbook", "says"), cases("docker"))
def test_docker_is_down(site: Site, playbook: str, says: list[Any]) -> None:
    before, container = site.files(), site.app.traces()
    tell(site, playbook, says, DOCKER_HOST=f"unix://{site.app.root}/nobody.sock")
    lost = before - site.files()
    assert not lost and site.app.traces() == container, f"something was lost: {lost}"


@pytest.mark.parametrize(("playbook", "says"), cases("postgres"))
def test_postgresql_is_down(site: Site, playbook: str, says: list[Any]) -> None:
    before, containers = site.files(), site.app.traces()
    site.write(ikoma_postgres=f"postgresql://ikoma:canary@127.0.0.1:{free_port()}/postgres")
    try:
        tell(site, playbook, says)
    finally:
        site.write()
    assert not before - site.files() and site.app.traces() == containers, "something was lost"


@pytest.mark.parametrize(("playbook", "says"), cases("readonly") + cases("full"))
def test_the_disk_of_the_backups(
    site: Site, tmp_path: Path, playbook: str, says: list[Any], request: pytest.FixtureRequest
) -> None:
    with SmallDisk(tmp_path / "small", "256k") as place:
        leftover = site.furnish(place)
        held = site.names(place)
        if "readonly" in request.node.name:
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        else:
            site.platform.psql(site.app.name, "CREATE TABLE IF NOT EXISTS big AS SELECT repeat(md5(i::text), 20) "
                                              "FROM generate_series(1, 2000) i")  # fmt: skip
        site.write(ikoma_backups_root=str(place))
        try:
            tell(site, playbook, says, *NO_IMAGES)
            assert site.names(place) | {str(leftover)} == held, "something half-made is left, or something is gone"
        finally:
            site.write()
    assert site.app.folder.exists() and site.platform.psql(site.app.name, "SELECT 1").strip() == "1"
    if playbook != "remove":  # which would take away what other tests need, and does in the last one
        site.run(playbook, 0, *NO_IMAGES)


@pytest.mark.parametrize("trouble", ["full", "readonly"])
@pytest.mark.parametrize("small", ["settings", "key"])
def test_the_disk_of_the_keys(tmp_path: Path, trouble: str, small: str) -> None:
    """Of the settings, or of the file that takes the new key: the key of before stays the one that counts."""
    with SmallDisk(tmp_path / "small", "64k") as place, nursery() as ikoma:
        places = {name: place if name == small else tmp_path / name for name in ("settings", "key")}
        for each in places.values():
            each.mkdir(exist_ok=True)
        env, key = places["settings"] / ".env", places["key"] / "key.txt"
        env.write_text(f"API_KEY_HASH={api_keys.sha256('first')}\n")
        words = ("run", "rotate-key", "-e", f"key_file={key}", "-i", "hosts.yml")
        host = {"ansible_connection": "local", "ikoma_env_file": str(env)}
        (tmp_path / "hosts.yml").write_text(json.dumps({"all": {"children": {"apps": {"hosts": {"here": host}}}}}))
        if trouble == "full":
            with contextlib.suppress(OSError):
                (place / "filler").write_bytes(bytes(1 << 20))
        else:
            subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        told = ikoma(tmp_path, *words, expect=2).text
        assert "cannot write" in told and {"full": "Free some disk", "readonly": "remount it"}[trouble] in told, told
        assert env.read_text() == f"API_KEY_HASH={api_keys.sha256('first')}\n" and not list(places["key"].glob("key*"))
        subprocess.run(["mount", "-o", "remount,rw", str(place)], check=True)
        (place / "filler").unlink(missing_ok=True)
        ikoma(tmp_path, *words, expect=0)
        assert api_keys.sha256(key.read_text().strip()) in env.read_text() and key.stat().st_mode & 0o077 == 0
        assert api_keys.sha256("first") in (env.parent / api_keys.FILE).read_text()


def test_interrupted_in_the_middle_and_run_again(site: Site) -> None:
    """A backup of which the process is killed leaves no backup that looks like one."""
    site.platform.psql(site.app.name, "DROP TABLE IF EXISTS big; CREATE TABLE big AS SELECT repeat(md5(i::text), 40) "
                                      "FROM generate_series(1, 60000) i")  # fmt: skip
    before = site.files()
    argv = [sys.executable, "-m", "ikoma_play", "run", "backup", "-i", "hosts.yml", "-e", "backup_name=cut.sql"]
    process = subprocess.Popen(argv, cwd=site.app.root, env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)  # fmt: skip
    until = time.monotonic() + 60
    while not list((site.app.root / "backups").glob("*.part")) and process.poll() is None and time.monotonic() < until:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait(30)
    whole = {path for path in site.files() - before if path.endswith(".sql")}
    assert not whole, f"a dump that was cut short looks like a backup: {whole}"
    site.run("backup", 0, "-e", "backup_name=cut.sql")
    site.platform.psql(site.app.name, "DROP TABLE big")


@pytest.mark.parametrize(("playbook", "says"), cases("halved"))
def test_an_application_that_is_half_removed(site: Site, playbook: str, says: list[Any]) -> None:
    compose = site.app.folder / "docker-compose.yml"
    text = compose.read_text()
    name = site.app.name
    site.platform.psql("postgres", f'ALTER DATABASE "{name}" RENAME TO "{name}_away"')
    compose.unlink()
    try:
        tell(site, playbook, says)
    finally:
        compose.write_text(text)
        site.platform.psql("postgres", f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')  # fix-database makes it
        site.platform.psql("postgres", f'ALTER DATABASE "{name}_away" RENAME TO "{name}"')


def test_what_is_left_of_an_application_can_be_removed(site: Site) -> None:
    """The last test of the file: it takes the application away in two goes, the first of which is cut short."""
    (site.app.folder / "docker-compose.yml").unlink()
    site.platform.psql("postgres", f'DROP DATABASE "{site.app.name}" WITH (FORCE)')
    site.run("remove", 0)
    assert not site.app.folder.exists() and not site.app.traces()
    assert list((site.app.root / "backups").glob("*.sql")), "its backups are gone too"
    assert "there is no application" in site.run("remove", 0, "-v")
