"""What a host needs of the platform itself: settings with a password of its own, a key, and the program as a wheel."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import StepError
from ikoma_play.model import Host, Outcome
from ikoma_play.platform import program
from ikoma_play.tools import TOOLS
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport
from tests.parts.applications import SecretsKept

HASH = hashlib.sha256(b"mine").hexdigest()


class Place:
    """A platform's folder on this machine."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.env = folder / ".env"
        self.scope = SecretsKept()
        self.on = LocalTransport(Host("here", vars={"ikoma_env_file": str(self.env)}))

    def call(self, called: str, /, dry: bool = False, **arguments: Any) -> Outcome:
        tool = TOOLS.find(called)
        assert tool is not None
        scope = {} if called == "platform.program" else {"scope": self.scope}
        return tool.function(DryTransport(self.on) if dry else self.on, **tool.bind(arguments), **scope)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_settings_are_written_and_a_password_is_made_once(place: Place) -> None:
    place.env.write_text("# mine\nRATE_LIMIT_PER_KEY=5\nHTTP_PORT=1\n")
    asked = {"values": {"HTTP_PORT": 3000}, "generate": ["POSTGRES_PASSWORD"]}
    assert place.call("platform.env", dry=True, **asked).status == "changed" and "3000" not in place.env.read_text()
    first = place.call("platform.env", **asked)
    assert first.status == "changed" and first.result["generated"] == ["POSTGRES_PASSWORD"]
    text = place.env.read_text()
    assert (
        text.startswith("# mine\nRATE_LIMIT_PER_KEY=5\nHTTP_PORT=3000\n") and place.env.stat().st_mode & 0o777 == 0o600
    )
    password = text.rpartition("=")[2].strip()
    assert len(password) >= 32 and password in place.scope.kept and password not in repr(first)
    assert place.call("platform.env", **asked).status == "ok" and place.env.read_text() == text
    place.on.host.vars["ikoma_env_file"] = "/nowhere/at/all/.env"  # type: ignore[index]
    with pytest.raises(StepError, match="there is no directory /nowhere/at/all"):
        place.call("platform.env", **asked)


def test_a_key_is_made_where_there_is_none(place: Place) -> None:
    file = place.folder / "key"
    asked = {"name": "platform", "saveTo": str(file)}
    assert place.call("keys.create", dry=True, **asked).status == "changed" and not file.exists()
    made = place.call("keys.create", **asked)
    key = file.read_text().strip()
    assert made.status == "changed" and key not in repr(made) and place.scope.kept[-1] == key
    assert place.env.read_text() == f"API_KEY_HASH={hashlib.sha256(key.encode()).hexdigest()}\n"
    again = place.call("keys.create", **asked)
    assert again.status == "ok" and file.read_text().strip() == key
    assert again.result["savedTo"] is None, "it says that a key is there which may be gone"


def test_a_key_with_a_role_and_one_that_somebody_has(place: Place) -> None:
    place.call("keys.create", name="ci", saveTo=str(place.folder / "ci"), role="operator")
    place.call("keys.create", name="mine", sha256=HASH)
    kept = {key["name"]: key for key in json.loads((place.folder / "keys.json").read_text())["keys"]}
    assert kept["ci"]["role"] == "operator" and kept["mine"]["sha256"] == HASH
    assert place.call("keys.create", name="mine", sha256=HASH).status == "ok"
    assert place.call("keys.create", name="platform", sha256=HASH).status == "changed"
    assert place.env.read_text() == f"API_KEY_HASH={HASH}\n"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"name": "a"}, "saveTo, or the sha256"),
        ({"name": "a", "saveTo": "/nowhere/key"}, "there is no directory /nowhere"),
        ({"name": "a b", "saveTo": "key"}, "cannot be the name of a key"),
        ({"name": "a", "sha256": "abc"}, "is no SHA-256"),
        ({"name": "platform", "sha256": "abc"}, "is no SHA-256"),
    ],
)
def test_keys_that_cannot_be(place: Place, arguments: dict[str, str], says: str) -> None:
    with pytest.raises(StepError, match=says):
        place.call("keys.create", **arguments)
    assert not list(place.folder.iterdir())


def test_a_key_goes_into_no_pipe(place: Place) -> None:
    os.mkfifo(place.folder / "pipe")
    for tool in ("keys.create", "keys.rotate"):
        with pytest.raises(StepError, match="not a regular file"):
            place.call(tool, name="platform", saveTo=str(place.folder / "pipe"))
    assert [path.name for path in place.folder.iterdir()] == ["pipe"]
    assert (place.folder / "pipe").is_fifo()


def test_the_program_brings_itself(place: Place, tmp_path: Path) -> None:
    (tmp_path / "ikoma_play-0.0.1-py3-none-any.whl").touch()
    (tmp_path / "other-1.0-py3-none-any.whl").touch()
    assert place.call("platform.program", dry=True, folder=str(tmp_path)).status == "changed"
    done = place.call("platform.program", folder=str(tmp_path))
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [Path(done.result["path"]).name, "other-1.0-py3-none-any.whl"]
    assert place.call("platform.program", folder=str(tmp_path)).status == "ok"
    # pip's own check of a wheel, and the program from nowhere but this wheel.
    argv = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-compile", "--target", tmp_path / "in"]
    subprocess.run([*argv, done.result["path"]], check=True, capture_output=True)
    ask = "from ikoma_play.platform import program; print(program.wheel()[0])"
    told = subprocess.run(
        [sys.executable, "-c", ask],
        env={"PYTHONPATH": str(tmp_path / "in")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert told.stdout.strip() == program.wheel()[0], "what was installed is another program"
