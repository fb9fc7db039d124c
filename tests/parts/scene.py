"""An application on a sandbox whose state is kept and put back in a second, so that hundreds of crashes begin alike.

What counts as its state: every file of the application, its backups and what is kept for undoing, with modes and
owners; its databases, row for row; its services and the processes of the sandbox; the locks of the journal.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
import sqlite3
import subprocess
from pathlib import Path
from typing import Any

from ikoma_play.platform import process_past
from tests.parts.crashing import Died, Nursery
from tests.parts.platform import free_port
from tests.parts.sandbox import CHECK, COMPOSE, WEB, Sandbox
from tests.parts.traces import processes_about
from tests.parts.undone import rows, tree
from tests.parts.web import ask

APP = "shop"
KEPT = ("apps", "backups", "images")
FIRST = "CREATE TABLE entries (id serial PRIMARY KEY, author text, at timestamptz DEFAULT now());\n"
SECOND = "ALTER TABLE entries ADD mood text;\nUPDATE entries SET mood = 'glad', author = upper(author);\n"
# What is another one each time: ids of runs and releases, names of backups, what undoing keeps, times.
_NAMED_ANEW = [
    (re.compile(pattern), word)
    for pattern, word in {
        r"\d{8}T\d{9}Z-[0-9a-f]{4}": "RELEASE",
        r"\d{8}-\d{6}-[0-9a-f]{4}": "RUN",
        r"-\d{8}-\d{6}": "-TIME",
        r"/\d{3}-[0-9a-f]{6}": "/CALL",
        r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|\+\d\d)?": "TIME",
        r'"placed": "[0-9a-f]+"': "PLACED",
        r"(?m)^\\(un)?restrict \w+": "RESTRICT",  # a random word in each dump, and so in what is made of dumps:
        r"[0-9a-f]{64}  \S+\.sql|\"sha256\": \"[0-9a-f]{64}\"": "SHA256",
        r"_(before|undo|restore)_[0-9a-z_]+": "_NEW",
    }.items()
]


class Scene:
    """A sandbox with one application, `APP`, and the sources of two releases of it."""

    def __init__(self, ikoma: Nursery, folder: Path) -> None:
        self.ikoma = ikoma
        self.folder = folder
        self.holds = ""  # the kept state that it is known to be in
        self.sandbox = Sandbox(folder)
        self.port = free_port()
        web = {"docker-compose.yml": COMPOSE, "web.py": WEB, "check.py": CHECK, "seeds/001.sql": ""}
        web["seeds/001.sql"] = "INSERT INTO entries (author) SELECT 'author ' || n FROM generate_series(1, 20) AS n;\n"
        _write(folder / "v1", {**web, "migrations/001.sql": FIRST})
        _write(
            folder / "v2",
            {
                **web,
                "web.py": WEB.replace("hello", "second"),
                "docker-compose.yml": COMPOSE.replace("hello", "second"),
                "migrations/001.sql": FIRST,
                "migrations/002.sql": SECOND,
                "seeds/002.sql": "INSERT INTO entries (author) VALUES ('of the second');\n",
                "config/new.conf": "new",
            },
        )

    def __call__(self, *words: str, **kill: Any) -> Died:
        return self.ikoma(self.folder, *words, **kill)

    def deploy(self, version: str, **kill: Any) -> Died:
        words = ("-e", f"app={APP}", "-e", f"port={self.port}", "-e", f"source={version}")
        return self("run", "deploy", *words, **kill)

    def newest(self) -> dict[str, Any]:
        """The newest run of the journal; {} where there is none."""
        done = self("runs", "show", "--json")
        return dict(json.loads(done.text)) if done.code == 0 else {}

    # --- the state ---

    def state(self) -> dict[str, Any]:
        root = self.sandbox.root
        found = {f"{name}/{path}": what for name in KEPT for path, what in tree(root / name).items()}
        names, told = rows(self.sandbox.on.host, APP) if self.sandbox.cluster.running() else ([], "")
        states = self.sandbox.supervisor.states()
        services = {name: state.up for name, state in states.items() if name.startswith(f"{APP}.")}
        with sqlite3.connect(root / "journal.db") as journal:
            locks = journal.execute("SELECT name, run FROM locks").fetchall()
            sane = journal.execute("PRAGMA integrity_check").fetchone()
        return {
            "files": {path: what for path, what in found.items() if "__pycache__" not in path},
            "databases": [name for name in names if not name.startswith("kept_")],
            "rows": told,
            "services": services,
            "answer": ask(f"http://127.0.0.1:{self.port}/")[1] if any(services.values()) else "",
            "processes": sorted(name for name in processes_about(root).values() if "postgres" not in name),
            "locks": locks,
            "journal": sane,
        }

    def alike(self) -> dict[str, Any]:
        """The state without what is named anew each time, and what is kept of the way here for undoing it: two ways
        to one end are alike."""
        state = self.state()
        root = self.sandbox.root
        files: dict[str, list[Any]] = {}
        for path, what in state["files"].items():
            if path.startswith("apps/.ikoma"):
                continue
            if what[0] == "file":
                text = (root / path).read_bytes().decode("utf-8", "replace")
                what = (what[0], hashlib.sha256(plain(text).encode()).hexdigest(), *what[2:])
            files.setdefault(plain(path), []).append(what)
        return {
            **state,
            "files": {path: sorted(whats) for path, whats in files.items()},
            # A restoration that is repeated keeps once more what it replaces.
            "databases": sorted({plain(name) for name in state["databases"]}),
            "rows": without_gaps(plain(state["rows"])),
        }

    # --- keeping it, and putting it back ---

    def keep(self, name: str) -> None:
        """Keep the present state under a name."""
        place = self.folder / f"kept-{name}"
        place.mkdir()
        for part in KEPT:
            if (self.sandbox.root / part).exists():
                subprocess.run(["cp", "-a", self.sandbox.root / part, place / part], check=True)
        for database in self._databases():
            self._copy(database, f"kept_{name}_{database}")
        supervisor = self.sandbox.supervisor
        running = process_past.in_order(supervisor, APP)
        programs = [supervisor.program(one) for one in supervisor.programs() if one.startswith(f"{APP}.")]
        self.kept = {**getattr(self, "kept", {}), name: (programs, running)}

    def put_back(self, name: str) -> None:
        if not self.sandbox.cluster.running():
            self("exec", "platform.up", expect=0)
        supervisor = self.sandbox.supervisor
        programs, running = self.kept[name]
        for one in supervisor.programs():
            if one.startswith(f"{APP}."):
                supervisor.drop(one)
        place = self.folder / f"kept-{name}"
        for part in KEPT:
            shutil.rmtree(self.sandbox.root / part, ignore_errors=True)
            if (place / part).exists():
                subprocess.run(["cp", "-a", place / part, self.sandbox.root / part], check=True)
        for database in self._databases():
            self._sql(f'DROP DATABASE "{database}" WITH (FORCE)')
        beginning = f"kept_{name}_"
        for database in self._databases(beginning):
            self._copy(database, database.removeprefix(beginning))
        for program in programs:
            supervisor.put(program)
        if running:
            process_past.start(supervisor, running, 60)

    def _databases(self, beginning: str = APP) -> list[str]:
        found = self.sandbox.sql("postgres", "SELECT datname FROM pg_database ORDER BY 1")
        return [name for (name,) in found if name.startswith(beginning)]

    def _copy(self, database: str, name: str) -> None:
        self._sql(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'",
            f'CREATE DATABASE "{name}" TEMPLATE "{database}"',
        )

    def _sql(self, *statements: str) -> None:
        with self.sandbox.server.connect("postgres") as connection:
            connection.autocommit = True
            for statement in statements:
                connection.execute(statement.encode())


def without_gaps(dump: str) -> str:
    """A dump with its rows numbered one after the other: PostgreSQL takes back no number that a transaction has drawn
    from a sequence, also where it was cut off and everything else of it is undone."""

    def numbered(found: re.Match[str]) -> str:
        lines = found[2].splitlines()
        rows = sorted((int(number), rest) for number, _, rest in (line.partition("\t") for line in lines))
        return found[1] + "".join(f"{count}\t{rest}\n" for count, (_, rest) in enumerate(rows, 1))

    dump = re.sub(r"(?m)^(COPY .* FROM stdin;\n)((?:\d+\t.*\n)+)", numbered, dump)
    return re.sub(r"(setval\('[^']+'), \d+", r"\1, NUMBER", dump)


def plain(text: str) -> str:
    for pattern, word in _NAMED_ANEW:
        text = pattern.sub(word, text)
    return text


def _write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
