"""Files of the server's machine and addresses that it can reach: named only by keys that may."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ikoma_play.model import Access
from ikoma_play.platform.key_file import KeyFile
from ikoma_play.server.places import allowed
from tests.parts.serving import Service, serving

from .test_runs import post

PATTERNS = ("https://git.example.org/team/", "ssh://git@git.example.org", "git@git.example.org:team", "/srv/sources")
LIES_IN = [
    "https://git.example.org/team/shop.git", "https://git.example.org/team", "https://GIT.example.org:443/team/a/b",
    "https://user:pass@git.example.org/team/x", "ssh://git.example.org/anything", "git@git.example.org:team/shop.git",
    "/srv/sources/shop", "/srv/sources", "/srv/sources/a/../b",
]  # fmt: skip
LIES_NOT_IN = [
    "https://git.example.org.evil.net/team/x", "https://git.example.org@evil.net/team/x", "https://evil.net/team/x",
    "https://evil.net#https://git.example.org/team/x", "https://git.example.org/teams/x", "https://git.example.org/",
    "https://git.example.org/team/../other/x", "https://git.example.org/team/%2e%2e/other/x",
    "https://git.example.org/team/%252e%252e/x", "https://git.example.org:8443/team/x", "http://git.example.org/team/x",
    "https://git.example.org\t/team/x", "https://git.example.org/team/x\n", "https://git.example.org\\@evil.net/team/x",
    "https://a@git.example.org@evil.net/team/x", "https://git.example.org:port/team", "https:///team/x", "https://[::1",
    "git@git.example.org:other/x", "git@git.example.org:team/../x", "git@evil.net:team/x",
    "git@git.example.org:teams/x",
    "file:///srv/sources/shop", "ext::sh -c id", "-oProxyCommand=id", "/srv/sources-of-others",
    "/srv/sources/../../etc",
    "/etc", "~", ".", "", "sources",
]  # fmt: skip


@pytest.mark.parametrize("place", LIES_IN)
def test_a_place_that_lies_in_a_pattern(place: str) -> None:
    assert allowed(place, PATTERNS) and not allowed(place, ())


@pytest.mark.parametrize("place", LIES_NOT_IN)
def test_a_place_that_only_looks_so(place: str) -> None:
    assert not allowed(place, PATTERNS)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("places")
    for name in ("sources/shop", "private"):
        (folder / name).mkdir(parents=True)
        (folder / name / "file.txt").write_text(name)
    (folder / "sources/link").symlink_to(folder / "private")
    with serving(folder, env={"ALLOWED_PLACES": f"{folder}/sources http://127.0.0.1:1/ok"}) as service:
        assert service.call("apps.init", {"appName": "shop"}).status == 200
        yield service


def test_what_a_key_may_name(server: Service) -> None:
    file, folder = KeyFile(server.folder / "keys.json"), server.folder
    made: dict[str, Any] = {"builder": {}, "observer": {}, "limited": {"applications": ["shop"]}}
    roles = {"builder": Access.BUILDER, "observer": Access.OBSERVER, "limited": Access.ADMIN}
    keys = {
        name: file.change(lambda keys, name=name, limits=limits: keys.create(name, roles[name], **limits))  # type: ignore[misc]
        for name, limits in made.items()
    }

    def status(key: str, tool: str, **arguments: str) -> int:
        answer = server.call(tool, {"appName": "shop", **arguments}, key=keys.get(key, server.key))
        assert "secret-in-url" not in answer.text + server.audit_log.read_text()
        return answer.status

    for key in ("builder", "limited"):
        assert status(key, "apps.source", source=str(folder / "sources/shop")) == 200
        assert status(key, "apps.source", source=str(folder / "private")) == 403
        assert status(key, "apps.source", source=str(folder / "sources/link")) == 403
        assert status(key, "apps.source", source="https://u:secret-in-url@127.0.0.1/x.git") == 403
    assert (server.apps / "shop/src/file.txt").read_text() == "sources/shop"
    assert status("platform", "apps.source", source=str(folder / "private")) == 200, "an admin's key may"
    for key in ("observer", "limited"):
        assert status(key, "platform.preflight", source="/etc") == 403
        assert status(key, "apps.health", healthUrl="http://169.254.169.254/latest") == 403
        assert status(key, "apps.health", healthUrl="http://127.0.0.1:1/ok") == 200
        assert status(key, "apps.health") == 200
    variables = {"app": "shop", "source": "/etc"}
    for name in ("builder", "limited"):
        answer = post(server, "/runs", {"playbook": "deploy", "variables": variables}, key=keys[name])
        assert answer.status == 403 and "ALLOWED_PLACES" in answer.text, answer
    told = server.call("apps.source", {"appName": "shop", "source": "/etc"}, key=keys["builder"])
    assert told.data["current"] == "builder" and "ALLOWED_PLACES" in told.data["remedy"]


def test_the_setting_is_taken_up_without_a_restart(server: Service) -> None:
    key = KeyFile(server.folder / "keys.json").change(lambda keys: keys.create("late", Access.BUILDER))
    source = {"appName": "shop", "source": str(server.folder / "private")}
    assert server.call("apps.source", source, key=key).status == 403
    server.write_env(ALLOWED_PLACES=str(server.folder / "private"))
    assert server.call("apps.source", source, key=key).status == 200
