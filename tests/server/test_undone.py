"""Calls over HTTP are undone by `runs rollback`, over HTTP and from the command line beside the server."""

from __future__ import annotations

import json
from pathlib import Path

from ikoma_play.model import Access
from ikoma_play.platform.key_file import KeyFile
from tests.parts.command import Ikoma
from tests.parts.serving import Answer, Service, serving


def rollback(service: Service, run: str, key: str = "", role: str = "") -> Answer:
    headers = {"X-Api-Key": key or service.key, **({"X-Role": role} if role else {})}
    return service.ask("POST", f"/runs/{run}/rollback", "{}", headers)


def get(service: Service, path: str) -> Answer:
    return service.ask("GET", path, None, {"X-Api-Key": service.key})


def newest(service: Service) -> str:
    return str(get(service, "/runs").data["runs"][0]["id"])


def until_undone(service: Service, run: str) -> None:
    service.until(lambda: get(service, f"/runs/{run}").data["state"] not in ("done", "running"))
    assert get(service, f"/runs/{run}").data["state"] == "undone"


def test_a_call_over_http_is_undone(tmp_path: Path) -> None:
    env = tmp_path / "apps/shop/.env"
    with serving(tmp_path) as server:
        server.call("apps.init", {"appName": "shop"})
        texts, runs = [], []
        for value in ("canary-8281", "canary-8282", "canary-8283"):
            answer = server.call("apps.env.write", {"appName": "shop", "values": {"PORT": "3000", "API_KEY": value}})
            assert answer.status == 200, answer
            texts.append(env.read_text())
            runs.append(newest(server))
        assert rollback(server, runs[2]).status == 202
        until_undone(server, runs[2])
        assert env.read_text() == texts[1]
        again = rollback(server, runs[2])
        assert again.status == 409 and "is undone already" in again.text, again
        assert server.call("apps.list").status == 200
        assert newest(server) == runs[2], "a call that only looks is in the journal"
        shown = get(server, f"/runs/{runs[2]}").text
    here = Ikoma(tmp_path)  # without the server's settings
    here("runs", "rollback", runs[1])
    assert env.read_text() == texts[0], "undone in another place than where it was done"
    journal = b"".join(path.read_bytes() for path in (tmp_path / ".ikoma").glob("journal.db*"))
    told = shown + here("runs", "show", "--json", runs[1]).out
    assert b"canary" not in journal and "canary" not in told and json.dumps("shop") in told


def test_a_call_is_undone_by_who_may_make_it(tmp_path: Path) -> None:
    with serving(tmp_path) as server:
        file = KeyFile(tmp_path / "keys.json")
        blog = file.change(lambda keys: keys.create("blog", Access.ADMIN, applications=["blog"]))
        server.call("apps.init", {"appName": "shop"})
        run = newest(server)
        assert rollback(server, run, role="operator").status == 403
        assert rollback(server, run, key=blog).status == 404
        assert rollback(server, run, role="builder").status == 202
        until_undone(server, run)
        assert not (tmp_path / "apps/shop").exists()
        server.call("platform.prune", {"what": ["leftovers"]})  # images of this engine are others' too
        refused = rollback(server, newest(server))
        assert refused.status == 409 and "cannot be undone by itself: what it deleted is gone" in refused.text, refused
