"""Compose files read without Docker, held against `docker compose config`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import NotFound, StepError
from ikoma_play.model import Host
from ikoma_play.platform import compose_file
from ikoma_play.platform.compose_words import seconds
from ikoma_play.transport.local import LocalTransport

RICH = """\
x-common: &common
  environment: {SHARED: "1", OVER: no}
  init: true
services:
  web:
    <<: *common
    image: ${IMAGE:-busybox}:${TAG-latest}
    build: ./src
    command: sh -c 'echo "a b $$HOME"; sleep ${PAUSE:-${LONG:-9}}'
    environment:
      FROM_ENV:
      GIVEN: ${PASSWORD:?the password}
      NUMBER: 3
      YES: true
      FLOAT: 1.10
      CLOCK: 22:30
      HEX: 0x10
      NOTHING: ~
      ALTERNATIVE: ${TAG:+set}${PASSWORD:+set}
      PROJECT: $COMPOSE_PROJECT_NAME
    env_file: [extra.env, {path: not-there.env, required: false}]
    ports: ["3000:80", "127.0.0.1:${PORT:-8}:81/udp", 9000, "9100-9102:9100-9102", {target: 7, published: 77}]
    healthcheck: {test: wget -q localhost, interval: 1m30s, retries: "3", start_period: 500ms}
    depends_on: [db]
    expose: [1, "2"]
    volumes: ["./data:/data:ro", "vol:/x", /anon]
    stop_grace_period: 1s
    labels: [a=b, c]
    tmpfs: /tmp
    restart: unless-stopped
    networks: [default, platform]
  db:
    image: x
    entrypoint: /bin/sh -c
    user: "1000"
    environment: [A=b=c, FROM_ENV, UNKNOWN]
    healthcheck: {test: [CMD, /bin/true], timeout: 2s}
    depends_on: {cache: {condition: service_healthy}}
  cache: {build: {context: ., args: {X: 1}}, healthcheck: {disable: true}}
  tools: {image: x, profiles: [tools]}
volumes: {vol: }
networks: {platform: {name: "${NETWORK:-ikoma}", external: true}}
"""


def on_this_machine() -> LocalTransport:
    return LocalTransport(Host("here"))


def load(folder: Path, text: str, env: str = "") -> dict[str, Any]:
    (folder / "docker-compose.yml").write_text(text)
    (folder / ".env").write_text(env)
    return compose_file.load(on_this_machine(), str(folder), "demo")


def by_docker(folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        ["docker", "compose", "--project-name", "demo", "config", "--format", "json"],
        cwd=folder, capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.replace("$$", "$"))  # type: ignore[no-any-return]


def test_the_normal_form_is_that_of_docker_compose(docker_engine: None, tmp_path: Path) -> None:
    (tmp_path / "extra.env").write_text('EXTRA="$PASSWORD!"\n')
    ours = load(tmp_path, RICH, "PASSWORD=it's\nFROM_ENV=given # by .env\n")
    real = by_docker(tmp_path)
    for network in real["networks"].values():
        network.pop("ipam")
    real.pop("x-common", None)
    assert ours == real


def test_references_are_listed_with_their_defaults() -> None:
    text = (
        "services:\n  web:\n    # not ${COMMENT}\n    image: ${A}:$B\n"
        "    command: ['${C:-x}', '${D:?why}', '$${E}', '${F-${G}}', '${C}', '${H:+y}']\n"
    )
    assert compose_file.required_variables(text) == {"A": None, "B": None, "C": None, "D": None, "F": "${G}", "G": None}


def test_all_missing_variables_are_named_at_once(tmp_path: Path) -> None:
    with pytest.raises(StepError) as caught:
        load(tmp_path, "services: {web: {image: '${A}:${B:?no B}', command: '${C:-fine} $D'}}\n", "D=\n")
    assert "A, B" in caught.value.message
    assert "C" not in caught.value.message.replace(str(tmp_path), "").split("which")[0].split("variables")[1]
    assert "apps.env.write" in caught.value.remedy


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("services:\n  web:\n    image: x\n    prots: [1]\n", 4, "Did you mean ports?"),
        ("services:\n  web:\n    image: x\n    ports: [\n", 5, "not valid YAML"),
        ("services:\n  web:\n    image: x\n    image: y\n", 4, "stands twice, here and on line 3"),
        ("services:\n  web:\n    image: ${A\n", 3, "without its }"),
        ("services:\n  web:\n    image: ${A:?}\n    command: ${!}\n", 4, "names no variable"),
        ("services:\n  web: {}\n", 2, "neither an image nor a build"),
        ("services:\n  web:\n    image: x\n    depends_on: [db]\n", 4, "'db', which does not exist"),
        ("services:\n  web:\n    image: x\n    ports:\n      - 1\n      - abc:def\n", 6, "is no port"),
        ("services:\n  web:\n    image: x\n    ports: ['80:99999']\n", 4, "highest is 65535"),
        ("services:\n  web:\n    image: x\n    healthcheck: {test: x, interval: soon}\n", 4, "no duration"),
        ("services:\n  web:\n    image: x\n    healthcheck: {test: [echo]}\n", 4, "CMD"),
        ('services:\n  web:\n    image: x\n    command: "sh -c \'x"\n', 4, "split into words"),
        ("services:\n  web:\n    image: x\n    env_file: gone.env\n", 4, "is not there"),
        ("services:\n  web:\n    image: x\n    networks: [far]\n", 1, "used but not declared"),
        ("services: [web]\n", 1, "must be a mapping"),
        ("servces: {}\n", 1, "Did you mean services?"),
        ("- a\n", 1, "must be a mapping"),
        ("", 1, "empty"),
        ("services: {}\n", 1, "no services"),
        ("a: &a [*a]\n", 1, "nested too deeply"),
        (
            "services:\n  a: {image: x, depends_on: [b]}\n  b: {image: x, depends_on: [a]}\n",
            2,
            "depend on each other: a → b → a",
        ),
    ],
)
def test_faults_have_file_line_and_cause(tmp_path: Path, text: str, line: int, says: str) -> None:
    with pytest.raises(StepError) as caught:
        load(tmp_path, text, "A=1\n")
    error = caught.value
    assert error.message.startswith(f"{tmp_path}/docker-compose.yml:{line}: "), error.message
    assert says in f"{error.message} {error.remedy}"
    assert error.remedy


def test_a_folder_without_a_compose_file_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        compose_file.load(on_this_machine(), str(tmp_path), "demo")
    assert str(tmp_path) in caught.value.message
    assert "docker-compose.yml" in caught.value.remedy


def test_names_are_tried_in_docker_composes_order(tmp_path: Path) -> None:
    for name in reversed(compose_file.NAMES):
        (tmp_path / name).write_text("services: {}\n")
        assert compose_file.find(on_this_machine(), str(tmp_path)) == str(tmp_path / name)


def test_a_secret_of_env_is_in_no_message(tmp_path: Path) -> None:
    with pytest.raises(StepError) as caught:
        load(
            tmp_path,
            "services:\n  web:\n    image: x\n    healthcheck: {retries: '${PASSWORD}'}\n",
            "PASSWORD=canary\n",
        )
    assert "canary" not in caught.value.message


def test_durations() -> None:
    assert [seconds(text) for text in ("500ms", "10s", "1m30s", "1h", "1.5s")] == [0.5, 10, 90, 3600, 1.5]
    for wrong in ("", "10", "s", "1 s", "-1s"):
        with pytest.raises(ValueError, match="no duration"):
            seconds(wrong)
