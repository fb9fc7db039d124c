"""Playbooks of a user who may do nothing there: each says what it is and what to do, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.parts.command import Ikoma
from tests.parts.platform import Platform
from tests.parts.users import ordinary_user

CASES: dict[str, dict[str, list[str]]] = yaml.safe_load((Path(__file__).parent / "faults.yml").read_text())

APP = "strange"


@pytest.fixture(scope="module")
def stranger(platform: Platform) -> Iterator[Ikoma]:
    """An ordinary user beside an application, backups and settings that are another's."""
    platform.psql("postgres", f"CREATE DATABASE {APP}")
    with ordinary_user() as ikoma:
        place = ikoma.folder.parent
        host = {
            "ansible_connection": "local", "app": APP, "ikoma_apps_root": f"{place}/apps",
            "ikoma_backups_root": f"{place}/backups", "ikoma_env_file": f"{place}/.env",
            "ikoma_postgres": platform.url, "ikoma_audit_log": f"{ikoma.folder}/audit.jsonl",
        }  # fmt: skip
        others = {**host, "ikoma_audit_log": f"{place}/audit.jsonl"}
        for name, variables in {"hosts.yml": host, "audited.yml": others}.items():
            hosts = {"all": {"children": {"apps": {"hosts": {"here": variables}}}}}
            (place / name).write_text(json.dumps(hosts))
        for name in (f"apps/{APP}", "backups"):
            (place / name).mkdir(parents=True)
        (place / f"apps/{APP}/docker-compose.yml").write_text("services:\n  web: {image: busybox}\n")
        (place / ".env").write_text("API_KEY_HASH=\n")
        for name in (f"apps/{APP}", "backups", ".env"):
            (place / name).chmod(0o700 if (place / name).is_dir() else 0o600)
        yield ikoma
    platform.psql("postgres", f"DROP DATABASE {APP} WITH (FORCE)")


@pytest.mark.parametrize(
    ("playbook", "says"),
    [pytest.param(playbook, says, id=playbook) for playbook, says in CASES["forbidden"].items()],
)
def test_a_user_who_may_not(stranger: Ikoma, platform: Platform, playbook: str, says: list[str]) -> None:
    place = stranger.folder.parent
    before = {path: path.stat().st_mtime_ns for path in (place / "apps").rglob("*")}
    words = ("-e", "yes=true", "-e", "server=false", "-e", f"source={place}/apps")
    told = stranger("run", playbook, "-i", f"{place}/hosts.yml", *words, expect=2)
    together = " ".join(told.text.split())
    missing = [each for each in says if each not in together]
    assert not missing, f"the message lacks {missing}\n{told}"
    assert "Traceback" not in told.text and platform.password not in told.text, told
    assert {path: path.stat().st_mtime_ns for path in (place / "apps").rglob("*")} == before, "something was changed"


def test_an_audit_log_that_is_another_users(stranger: Ikoma) -> None:
    """Nothing is done that could not be written down, and that is said of the log itself."""
    place = stranger.folder.parent
    (place / "audit.jsonl").touch(0o600)
    told = stranger("run", "audit-review", "-i", f"{place}/audited.yml", expect=1)
    assert f"nothing was run: the audit log {place}/audit.jsonl cannot be written" in told.text, told
    assert "Make it writable, or name another file in AUDIT_LOG" in told.text, told
