"""Playbooks of a user who may do nothing there: each says what it is and what to do, and nothing is changed."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.parts.command import Ikoma
from tests.parts.platform import free_port
from tests.parts.users import ordinary_user

CASES: dict[str, dict[str, list[str]]] = yaml.safe_load((Path(__file__).parent / "faults.yml").read_text())


@pytest.fixture(scope="module")
def stranger() -> Iterator[Ikoma]:
    """An ordinary user beside an application and backups that are another's."""
    with ordinary_user() as ikoma:
        place = ikoma.folder.parent
        host = {
            "ansible_connection": "local", "app": "shop", "ikoma_apps_root": f"{place}/apps",
            "ikoma_backups_root": f"{place}/backups", "ikoma_env_file": f"{place}/none.env",
            "ikoma_postgres": f"postgresql://ikoma:canary-4711@127.0.0.1:{free_port()}/postgres",
            "ikoma_audit_log": f"{ikoma.folder}/audit.jsonl",
        }  # fmt: skip
        (place / "hosts.yml").write_text(json.dumps({"all": {"children": {"apps": {"hosts": {"here": host}}}}}))
        folder = place / "apps/shop"
        folder.mkdir(parents=True)
        (place / "backups").mkdir()
        (folder / "docker-compose.yml").write_text("services:\n  web: {image: busybox}\n")
        folder.chmod(0o700)
        yield ikoma


@pytest.mark.parametrize(
    ("playbook", "says"),
    [pytest.param(playbook, says, id=playbook) for playbook, says in CASES["forbidden"].items()],
)
def test_a_user_who_may_not(stranger: Ikoma, playbook: str, says: list[str]) -> None:
    place = stranger.folder.parent
    before = {path: path.stat().st_mtime_ns for path in (place / "apps").rglob("*")}
    words = ("-e", "yes=true", "-e", "server=false", "-e", f"source={place}/apps")
    told = stranger("run", playbook, "-i", f"{place}/hosts.yml", *words, expect=2)
    together = " ".join(told.text.split())
    missing = [each for each in says if each not in together]
    assert not missing, f"the message lacks {missing}\n{told}"
    assert "Traceback" not in told.text and "canary-4711" not in told.text, told
    assert {path: path.stat().st_mtime_ns for path in (place / "apps").rglob("*")} == before, "something was changed"
