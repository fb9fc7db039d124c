"""Attacks as data, each with what comes of it; attacks.yml says how its rows are read."""

from __future__ import annotations

import json
import random
import shutil
import statistics
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from ikoma_play.model import Access
from ikoma_play.platform.api_keys import Keys, sha256
from ikoma_play.tool import Parameter, Tool
from ikoma_play.tools import TOOLS
from tests.parts.chance import LONG
from tests.parts.platform import Platform
from tests.parts.serving import Answer, Service, serving

ROWS: list[dict[str, Any]] = yaml.safe_load(Path(__file__).with_name("attacks.yml").read_text("utf-8"))

COMPOSE_FILE = """\
services:
  web:
    image: ikoma-play.invalid/none
    pull_policy: never
    environment: {TOKEN: "${TOKEN:-}"}
"""


@dataclass
class Fort:
    """A server with two applications, keys of several kinds, and things that no attack may reach."""

    service: Service
    keys: Mapping[str, str]
    seen: tuple[int, int] = (0, 0)  # how much of the server's log and of the audit log other tests have looked at

    @property
    def folder(self) -> Path:
        return self.service.folder

    @property
    def canary(self) -> Path:
        return self.folder / "canary"

    @property
    def secret(self) -> Path:
        """A file outside of the applications' directory."""
        return self.folder / "outside/secret.txt"

    def filled(self, text: str) -> str:
        admin = self.service.key
        inner = '{"appName":"smuggled"}'
        head = f"POST /execute/apps.init HTTP/1.1\r\nHost: a\r\nX-Api-Key: {admin}\r\n"
        call = f"{head}Content-Length: {len(inner)}\r\n\r\n{inner}"
        values = {
            "admin": admin, "half": admin[:16], "hash": sha256(admin), "canary": str(self.canary), "call": call,
            "length": str(len(call)),
        }  # fmt: skip
        for name, value in values.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    def stands(self, answers: str) -> None:
        """Nothing came of an attack: nothing was done, and nothing said that is nobody's business."""
        assert not self.canary.exists(), "a command of the attacker was run"
        assert not (self.service.apps / "smuggled").exists(), "a second request was found in the first"
        lines, audited = list(self.service.lines), self.service.audit_log.read_text()
        told = [answers, json.dumps(lines[self.seen[0] :]), audited[self.seen[1] :]]
        self.seen = len(lines), len(audited)
        told += [path.read_bytes().decode("latin-1") for path in (self.folder / ".ikoma").glob("journal*")]
        for text in told:
            for secret in (*self.keys.values(), self.service.key, self.service.canary, "outside-canary-55"):
                assert secret not in text, f"a secret came out: {secret}"
            for trace in ("Traceback (most recent", "root:x:0:", "root:$"):
                assert trace not in text, f"{trace} came out"
        assert self.secret.read_text() == "outside-canary-55\n"
        assert self.service.ask("GET", "/health").status == 200, "the server does not answer any more"


@pytest.fixture(scope="module")
def fort(tmp_path_factory: pytest.TempPathFactory, platform: Platform) -> Iterator[Fort]:
    folder = tmp_path_factory.mktemp("fort")
    keys, shown = Keys(), dict[str, str]()
    for name, role in (("observer", Access.OBSERVER), ("operator", Access.OPERATOR), ("builder", Access.BUILDER)):
        keys, shown[name] = keys.create(name, role)
    keys, shown["limited"] = keys.create("limited", Access.ADMIN, applications=["shop"])
    keys, shown["expired"] = keys.create("expired", Access.ADMIN, expires=time.time() + 1)
    (folder / "keys.json").write_text(keys.text)
    (folder / "outside").mkdir()
    (folder / "outside/secret.txt").write_text("outside-canary-55\n")
    (folder / "backups").mkdir()
    env = {
        "POSTGRES_PORT": str(platform.port), "POSTGRES_USER": platform.user, "POSTGRES_PASSWORD": platform.password,
    }  # fmt: skip
    with serving(folder, env=env, canary=platform.password) as service:
        for app in ("shop", "other"):
            assert service.call("apps.init", {"appName": app}).status == 200
            (service.apps / app / "docker-compose.yml").write_text(COMPOSE_FILE)
        assert service.call("db.create", {"appName": "shop"}).status == 200
        time.sleep(1)
        yield Fort(service, shown)
    platform.psql("postgres", 'DROP DATABASE IF EXISTS "shop" WITH (FORCE)')


def body_of(row: Mapping[str, Any], fort: Fort) -> bytes:
    made = {
        "large": b"x" * (1024 * 1024 + 1),
        "deep": b"[" * 100_000,
        "deep objects": b'{"a":' * 1000 + b"1" + b"}" * 1000,
        "wide": json.dumps({f"a{number}": 1 for number in range(50_000)}).encode(),
        "number": b'{"appName":"shop","timeout":' + b"9" * 100_000 + b"}",
    }
    body = row.get("body", {})
    if isinstance(body, str):
        return made.get(body) or fort.filled(body).encode("latin-1", "replace")
    return fort.filled(json.dumps(body, ensure_ascii=False)).encode()


def key_of(row: Mapping[str, Any], fort: Fort) -> dict[str, str]:
    named = row.get("key", "admin")
    if named == "none":
        return {}
    key = {**fort.keys, "admin": fort.service.key, "long": "k" * 10_000}.get(named, named)
    return {"X-Api-Key": fort.filled(key)}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["name"])
def test_what_comes_of_it(row: dict[str, Any], fort: Fort) -> None:
    if "raw" in row:
        got = fort.service.raw(fort.filled("\r\n".join(row["raw"])).encode("latin-1"), timeout=1.0).decode("latin-1")
        statuses = [int(line.split()[1]) for line in got.splitlines() if line.startswith("HTTP/1.")]
        assert statuses, f"no answer: {got!r}"
        assert len(statuses) == 1 or set(statuses[1:]) == {400}, f"a second request was answered: {got}"
        assert statuses[0] in row["status"] or (statuses[0] == 200 and statuses[1:] == [400]), got
        fort.stands(got)
        return
    path = row.get("path") or f"/execute/{row['tool']}"
    path = f"/execute/{'a' * 10_000}" if path == "long" else fort.filled(path)
    headers = {**key_of(row, fort), **{name: fort.filled(value) for name, value in row.get("headers", {}).items()}}
    if "X-Much" in headers:
        headers["X-Much"] = "m" * 100_000
    answer = fort.service.ask(row.get("method", "POST"), path, body_of(row, fort), headers)
    assert answer.status in row["status"], answer
    assert row.get("says", "") in answer.text
    assert "x-injected" not in answer.headers
    if answer.status != 200:
        assert answer.data["success"] is False
    fort.stands(answer.text)


# --- every string argument of every tool ---

SHELL = "x; touch {canary} #$(touch {canary})`touch {canary}`|touch {canary}&touch {canary}\n touch {canary}"
TEMPLATE = "{{ lookup('pipe', 'touch {canary}') }}{{ 11111 * 9091 }}{% set x = cycler.__init__.__globals__.os %}"
SQL = "x'; CREATE TABLE ikoma_pwned (); --\"; CREATE TABLE ikoma_pwned (); --$$; CREATE TABLE ikoma_pwned (); --"
# Of the general tools, which are an administrator's, those that work on files and addresses; the others run what they
# are told, which is what they are for, or change the machine that the tests run on.
GENERAL = ("copy", "template", "assemble", "file", "stat", "slurp", "find", "fetch", "lineinfile", "blockinfile",
           "replace", "uri", "get_url", "unarchive", "git", "ping")  # fmt: skip
NOT_HERE = ("platform.up", "platform.down", "platform.prune")


@cache
def targets() -> list[tuple[Tool, Parameter]]:
    tools = [tool for tool in TOOLS.all() if (tool.dotted and tool.name not in NOT_HERE) or tool.name in GENERAL]
    return [(tool, parameter) for tool in tools for parameter in tool.parameters if "str" in str(parameter.type)]


def arguments(tool: Tool, parameter: Parameter, payload: str, place: Path) -> dict[str, Any]:
    """Such arguments that the payload gets as far as it can."""
    place.mkdir(exist_ok=True)
    (place / "file.txt").write_text("x\n")
    proper: dict[str, Any] = {
        "appName": "shop", "values": {"TOKEN": "x"}, "source": str(place), "backupPath": "none.sql",
        "dest": str(place / "dest"), "src": str(place / "file.txt"), "path": str(place / "file.txt"),
        "paths": [str(place)], "url": "http://127.0.0.1:1/", "repo": str(place), "regexp": "x", "line": "y",
        "block": "z",
    }  # fmt: skip
    found = {one.wire: proper.get(one.wire, "x") for one in tool.parameters if one.required}
    mapping = str(parameter.type).startswith("dict") or "dict[" in str(parameter.type)
    found[parameter.wire] = {"TOKEN": payload, "X": payload} if mapping else payload
    return found


@pytest.mark.parametrize("kind", ["shell", "template", "sql"] if LONG else ["all"])
@pytest.mark.parametrize("target", targets(), ids=lambda target: f"{target[0].name}-{target[1].wire}")
def test_what_is_injected_stays_text(target: tuple[Tool, Parameter], kind: str, fort: Fort, platform: Platform) -> None:
    tool, parameter = target
    kinds = {"shell": SHELL, "template": TEMPLATE, "sql": SQL}
    if parameter.wire == "sql":
        kinds["sql"] = "SELECT 1"  # SQL is what this argument is for
    payload = ("".join(kinds.values()) if kind == "all" else kinds[kind]).replace("{canary}", str(fort.canary))
    answer = fort.service.call(tool.name, arguments(tool, parameter, payload, fort.folder / "place"))
    assert answer.status in (200, 400, 500), answer
    assert answer.data.get("code") != "internal", answer
    assert "101010101" not in answer.text, "a template of the attacker was rendered"
    fort.stands(answer.text)
    with psycopg.connect(platform.url.replace("/postgres", "/shop")) as connection:
        found = connection.execute("SELECT count(*) FROM pg_class WHERE relname = 'ikoma_pwned'").fetchone()
    assert found == (0,), "SQL of the attacker was run"


# --- links that lead out ---

LINKS = [
    # what is a link, where it leads (below the test's folder), the tool, its further arguments
    ("apps/linked", "outside", "apps.status", {}),
    ("apps/linked", "outside", "apps.init", {}),
    ("apps/linked", "outside", "apps.remove", {}),
    ("apps/linked", "outside", "apps.env.write", {"values": {"A": "b"}}),
    ("apps/linked", "outside", "apps.source", {"source": "{place}"}),
    ("apps/linked", "outside", "deploy.up", {}),
    ("apps/linked/.env", "outside/secret.txt", "apps.env.write", {"values": {"A": "b"}}),
    ("apps/linked/.env", "outside/secret.txt", "apps.env.example", {}),
    ("apps/linked/.env", "outside/secret.txt", "apps.validate", {}),
    ("apps/linked/docker-compose.yml", "outside/secret.txt", "apps.validate", {}),
    ("apps/linked/docker-compose.yml", "outside/secret.txt", "apps.env.example", {}),
    ("apps/linked/docker-compose.yml", "outside/secret.txt", "deploy.up", {}),
    ("apps/linked/migrations", "outside", "db.migrate", {}),
    ("apps/linked/migrations/001.sql", "outside/secret.txt", "db.migrate", {}),
    ("apps/linked/seeds/001.sql", "outside/secret.txt", "db.seed", {}),
    ("apps/linked/src", "outside", "apps.source", {"source": "{place}"}),
    ("backups/linked-20260101.sql", "outside/secret.txt", "db.restore", {"backupPath": "linked-20260101.sql"}),
    ("backups/linked-20260102.sql", "outside/secret.txt", "db.verify_backup", {"backupPath": "linked-20260102.sql"}),
]


@pytest.mark.parametrize(("link", "target", "tool", "more"), LINKS, ids=[f"{row[0]}-{row[2]}" for row in LINKS])
def test_links_lead_nowhere(link: str, target: str, tool: str, more: dict[str, Any], fort: Fort) -> None:
    place = fort.folder / "place"
    place.mkdir(exist_ok=True)
    linked, app = fort.folder / link, fort.service.apps / "linked"
    try:
        if link.count("/") > 1:
            for name in ("migrations", "seeds", "src"):
                (app / name).mkdir(parents=True, exist_ok=True)
            (app / "docker-compose.yml").write_text(COMPOSE_FILE)
            if linked.is_dir():
                linked.rmdir()
        linked.unlink(missing_ok=True)
        linked.symlink_to(fort.folder / target)
        given = {name: str(place) if value == "{place}" else value for name, value in more.items()}
        answer = fort.service.call(tool, {"appName": "linked", **given})
        assert answer.status in (200, 500), answer
        assert answer.data.get("code") != "internal", answer
        fort.stands(answer.text)
        assert sorted(path.name for path in (fort.folder / "outside").iterdir()) == ["secret.txt"]
    finally:
        if linked.is_symlink():
            linked.unlink()
        shutil.rmtree(app, ignore_errors=True)


# --- time, and the shape of answers ---


def test_comparing_keys_takes_as_long_whatever_is_sent() -> None:
    keys, shown = Keys().create("one", Access.ADMIN)
    for number in range(20):
        keys, _ = keys.create(f"further-{number}", Access.OBSERVER)
    candidates = {"right": shown, "nearly": shown[:-1] + ("A" if shown[-1] != "A" else "B"), "wrong": "x" * len(shown)}
    seconds: dict[str, list[float]] = {name: [] for name in candidates}
    order = list(candidates) * 1500
    random.Random(5).shuffle(order)
    for name in order:
        begun = time.perf_counter()
        keys.find(candidates[name], "0" * 64)
        seconds[name].append(time.perf_counter() - begun)
    medians = {name: statistics.median(taken) for name, taken in seconds.items()}
    assert max(medians.values()) < 1.3 * min(medians.values()), f"how long it takes tells of the key: {medians}"


def test_there_are_enough_rows() -> None:
    assert len(ROWS) >= 80
    assert len({row["name"] for row in ROWS}) == len(ROWS), "two rows have one name"


def test_a_refusal_is_always_of_the_same_shape(fort: Fort) -> None:
    answers: list[Answer] = [
        fort.service.ask("POST", "/execute/apps.list", "{}"),
        fort.service.call("x.y"),
        fort.service.call("apps.list", "["),
    ]
    for answer in answers:
        assert {"success", "error", "code", "requestId"} <= set(answer.data)
