"""A backup is restored on trial where PostgreSQL is a container that only containers know by name."""

from __future__ import annotations

import secrets
from pathlib import Path

from ikoma_play.model import Host
from ikoma_play.platform.postgres import Server
from ikoma_play.tools import db
from ikoma_play.transport.local import LocalTransport
from tests.parts.platform import Platform


def test_the_trial_leaves_the_server_as_it_was(platform: Platform, tmp_path: Path) -> None:
    variables = {
        "ikoma_env_file": str(platform.env_file),
        "ikoma_apps_root": str(tmp_path / "apps"),
        "ikoma_backups_root": str(tmp_path / "backups"),
    }
    on = LocalTransport(Host("here", (), variables))
    app = f"shop-{secrets.token_hex(3)}"
    db.create(on, app)
    try:
        with Server(on).connect(app) as connection:
            connection.execute('CREATE TABLE "Odd name" AS SELECT generate_series(1, 7)')
        db.backup(on, app)
        assert db.verify_backup(on, app).result["rows"] == {"Odd name": 7}
        with Server(on).connect() as connection:
            left = connection.execute("SELECT datname FROM pg_database WHERE datname LIKE %s", [f"{app}%"]).fetchall()
        assert left == [(app,)], f"the scratch database is left: {left}"
    finally:
        platform.psql("postgres", f'DROP DATABASE IF EXISTS "{app}" WITH (FORCE)')
