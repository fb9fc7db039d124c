"""`.env` files, held against Docker Compose's own reading of them."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ikoma_play.errors import Refused, StepError
from ikoma_play.model import Host
from ikoma_play.platform import envfile
from ikoma_play.platform.envfile import EnvFile
from ikoma_play.transport.local import LocalTransport

WRITTEN_BY_HAND = r"""# the port
PORT=3000

export EXPORTED=1
YAMLISH: colon
SPACED = around # with a comment
HASH=a#b
HASH_FIRST=#foo
EMPTY=
SINGLE='it is $PORT\n' # comment
SINGLE_QUOTE='it\'s'
DOUBLE="a \"b\" \t c\\d \$PORT ${PORT} $$PORT"
SEVERAL="one
two # no comment
three"
REFERENCE=${PORT}/${NONE:-else}/$EXPORTED
BACKSLASH=a\nb
DOLLAR=a $5 and $
ACCENT=é
TWICE=first
TWICE=last"""


def as_compose_reads(folder: Path, text: str) -> dict[str, str]:
    """The environment of a service whose env_file holds `text`."""
    (folder / ".env").write_text(text)
    (folder / "docker-compose.yml").write_text("services: {it: {image: none, env_file: .env}}\n")
    done = subprocess.run(
        ["docker", "compose", "config", "--format", "json"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"docker compose refuses the file:\n{text}\n{done.stderr}"
    environment = json.loads(done.stdout)["services"]["it"].get("environment", {})
    return {name: value.replace("$$", "$") for name, value in environment.items()}  # config doubles each


def test_reads_what_people_write_as_docker_compose_does(docker_engine: None, tmp_path: Path) -> None:
    ours = EnvFile(WRITTEN_BY_HAND)
    assert ours.values == as_compose_reads(tmp_path, WRITTEN_BY_HAND)
    assert ours.values["TWICE"] == "last"
    assert ours.text == WRITTEN_BY_HAND, "a file that was only read must stay as it was written"


values = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=30) | st.text(
    "ab \t\n\r'\"\\$#{}=:-`!%;&|", max_size=12
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(values, min_size=1, max_size=15))
def test_every_value_comes_back_from_docker_compose(docker_engine: None, tmp_path: Path, wanted: list[str]) -> None:
    named = {f"V{number}": value for number, value in enumerate(wanted)}
    file = EnvFile("# kept")
    file.merge(named)
    assert EnvFile(file.text).values == named, f"we read another value than we wrote:\n{file.text}"
    assert as_compose_reads(tmp_path, file.text) == named, f"docker compose reads another value:\n{file.text}"


def test_merge_changes_only_the_lines_it_must() -> None:
    file = EnvFile("# head\nA=1\n\nB='two'  # why\nA=2\nC=3")
    assert file.merge({"A": "new", "C": "3", "D": "x y"}) == ["A", "D"]
    assert file.text == "# head\nA=1\n\nB='two'  # why\nA=new\nC=3\nD='x y'\n"
    assert file.merge({"A": "new", "B": "two"}) == []


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("A=1\nwhat is this\n", 2, "neither a comment nor NAME=value"),
        ("A=1\nB='open\n", 2, "starts with '"),
        ("A='x' y\n", 1, "closing quote"),
        ("\nA=${B\n", 2, "without its }"),
        ("1A=x\n", 1, "neither a comment"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(text: str, line: int, says: str) -> None:
    with pytest.raises(StepError) as caught:
        EnvFile(text, "/srv/apps/x/.env")
    assert caught.value.message.startswith(f"/srv/apps/x/.env:{line}: ")
    assert says in caught.value.message
    assert caught.value.remedy


@pytest.mark.parametrize(("name", "value"), [("A B", "x"), ("", "x"), ("A=B", "x"), ("A\nB", "x"), ("A", "x\0y")])
def test_what_no_file_can_hold_is_refused(name: str, value: str) -> None:
    with pytest.raises(Refused):
        EnvFile().merge({name: value})


def test_the_file_is_private_and_left_alone_when_nothing_changes(tmp_path: Path) -> None:
    on, path = LocalTransport(Host("here")), tmp_path / ".env"
    file = envfile.read(on, str(path))
    file.merge({"PASSWORD": "se cret"})
    assert envfile.write(on, str(path), file)
    assert path.stat().st_mode & 0o777 == 0o600
    before = path.stat().st_ino
    again = envfile.read(on, str(path))
    assert again.merge({"PASSWORD": "se cret"}) == []
    assert not envfile.write(on, str(path), again)
    assert path.stat().st_ino == before, "an unchanged file was written again"
    path.chmod(0o644)
    assert envfile.write(on, str(path), again), "a file that others may read must be made private"
    assert path.stat().st_mode & 0o777 == 0o600
