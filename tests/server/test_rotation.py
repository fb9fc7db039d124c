"""The runbook's security as playbooks: a key rotated under a client that never stops, the audit log reviewed."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from ikoma_play.model import Access
from ikoma_play.platform.key_file import KeyFile
from tests.parts.command import Ikoma
from tests.parts.serving import Service, serving


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Service]:
    with serving(tmp_path / "platform") as service:
        yield service


@pytest.fixture
def ikoma(server: Service) -> Ikoma:
    """The command line on the server's machine, with an inventory of its own platform."""
    inventory = server.folder / "hosts.yml"
    inventory.write_text(
        f"all: {{children: {{apps: {{hosts: {{here: {{ansible_connection: local, ikoma_env_file: '{server.env_file}',\n"
        f"      ikoma_audit_log: '{server.audit_log}', ikoma_apps_root: '{server.apps}'}}}}}}}}}}\n"
    )
    return Ikoma(server.folder, {"AUDIT_LOG": ""})


class Client:
    """Calls without a pause; takes the key from the file as soon as there is one."""

    def __init__(self, server: Service, key: str, file: Path) -> None:
        self._server, self._key, self._file = server, key, file
        self._over = threading.Event()
        self.statuses: list[int] = []
        self.keys: list[str] = []
        self._thread = threading.Thread(target=self._call)
        self._thread.start()

    def _call(self) -> None:
        while not self._over.is_set():
            key = self._file.read_text().strip() if self._file.exists() else self._key
            self.keys.append(key)
            self.statuses.append(self._server.call("apps.list", key=key).status)

    def end(self) -> None:
        self._over.set()
        self._thread.join()


@pytest.mark.parametrize("name", ["platform", "ci"])
def test_a_client_that_never_stops_sees_no_failure(server: Service, ikoma: Ikoma, name: str) -> None:
    old = server.key
    if name != "platform":
        old = KeyFile(server.folder / "keys.json").change(lambda keys: keys.create(name, Access.OBSERVER))
    file = server.folder / f"{'api-key' if name == 'platform' else name}.txt"
    clients = [Client(server, old, file), Client(server, old, server.folder / "never")]
    done = ikoma("run", "rotate-key", "-i", "hosts.yml", "-e", f"key={name}")
    new = file.read_text().strip()
    assert file.stat().st_mode & 0o777 == 0o600 and new not in done.text
    server.until(lambda: clients[0].keys[-1] == new)
    for client in clients:
        client.end()
        assert set(client.statuses) == {200} and len(client.statuses) > 5
    # Only the revoked key is refused.
    ikoma("run", "rotate-key", "-i", "hosts.yml", "-e", f"key={name}", "-e", "revoke_old=true")
    assert server.call("apps.list", key=new).status == 200
    assert server.call("apps.list", key=old).status == 401
    again = ikoma("run", "rotate-key", "-i", "hosts.yml", "-e", f"key={name}", "-e", "revoke_old=true")
    assert "changed=0" in again.out
    kept = server.audit_log.read_text() + (server.folder / "keys.json").read_text()
    assert new not in kept and new.encode() not in (server.folder / ".ikoma/journal.db").read_bytes()


def test_a_key_that_is_not_there_and_a_folder_that_is_not_there(server: Service, ikoma: Ikoma) -> None:
    done = ikoma("run", "rotate-key", "-i", "hosts.yml", "-e", "key=nobody", expect=2)
    assert "there is no key nobody" in done.out
    done = ikoma("run", "rotate-key", "-i", "hosts.yml", "-e", "key_file=/nowhere/at/all.txt", expect=2)
    assert "there is no directory /nowhere/at" in done.out
    assert server.call("apps.list").status == 200


def test_the_log_is_reviewed(server: Service, ikoma: Ikoma) -> None:
    server.call("apps.init", {"appName": "shop"})
    server.call("apps.health", {"appName": "gone"})
    quiet = ikoma("run", "audit-review", "-i", "hosts.yml").out
    assert "application shop: 1 calls, 0 failed" in quiet and "apps.health gone by platform" in quiet
    assert "the log is whole" in quiet and "caller platform:" in quiet and "2 calls, 1 failed" in quiet, quiet
    ikoma("run", "audit-review", "-i", "hosts.yml")  # that it was reviewed is nothing unusual
    for _ in range(3):
        server.call("apps.list", key="wrong")
    loud = ikoma("run", "audit-review", "-i", "hosts.yml", expect=2).out
    assert "3 failed attempts to log in from 127.0.0.1" in loud
    assert "failed=0" in ikoma("run", "audit-review", "-i", "hosts.yml", "-e", "strict=false").out
    text = server.audit_log.read_text()
    server.audit_log.write_text(text.replace('"appName":"shop"', '"appName":"shed"', 1))
    broken = ikoma("run", "audit-review", "-i", "hosts.yml", expect=2).out
    assert "NOT whole" in broken and "was changed" in broken
