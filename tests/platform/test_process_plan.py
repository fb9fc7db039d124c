"""Compose files as processes: what each service becomes, and what is said about those that cannot be."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from ikoma_play.errors import Refused
from ikoma_play.platform.process_plan import Check, Plan, Port, plans

BUILD = {"build": {"context": "/srv/src"}}


def made(**service: Any) -> Plan:
    return plans({"services": {"web": {**BUILD, "command": ["serve"], **service}}}, "compose.yml")[0]


def port(published: str | None, target: int, **more: str) -> dict[str, Any]:
    return {"target": target, "protocol": "tcp", **({"published": published} if published else {}), **more}


def test_command_entrypoint_and_python() -> None:
    assert made(command=["a", "b"]).argv == ("a", "b")
    assert made(entrypoint=["in", "it"], command=["a"]).argv == ("in", "it", "a")
    assert made(command=["python3", "-m", "x"]).argv == (sys.executable, "-m", "x"), "python3 is our own Python"
    assert made(command=["python", "x.py"]).argv[0] == sys.executable


def test_a_port_is_where_the_process_listens() -> None:
    plan = made(ports=[port("8080", 8080, host_ip="127.0.0.1")])
    assert plan.ports == (Port("127.0.0.1", 8080),)
    assert plan.env["PORT"] == "8080", "one port and no PORT: the process has to be told"
    assert made(ports=[port("80", 80)], environment={"PORT": "x"}).env["PORT"] == "x"
    assert "PORT" not in made(ports=[port("80", 80), port("81", 81)]).env
    assert made(ports=[port(None, 70)]).ports == (Port("", 70),)


@pytest.mark.parametrize(
    ("said", "becomes"),
    [
        (None, None),
        ({"disable": True}, None),
        ({"test": ["NONE"]}, None),
        ({"test": ["CMD", "a", "b"]}, Check(("a", "b"))),
        ({"test": ["CMD-SHELL", "a | b"]}, Check(("/bin/sh", "-c", "a | b"))),
        (
            {"test": ["CMD", "a"], "interval": "1m30s", "timeout": "500ms", "retries": 5, "start_period": "20s"},
            Check(("a",), 90.0, 0.5, 5, 20.0),
        ),
        ({"test": ["CMD", "a"], "retries": 0}, Check(("a",), retries=0)),
    ],
)
def test_health_checks(said: Any, becomes: Check | None) -> None:
    assert made(healthcheck=said).check == becomes


@pytest.mark.parametrize(
    ("said", "becomes"),
    [(None, "never"), ("no", "never"), ("always", "always"), ("unless-stopped", "always"), ("on-failure:3", "failure")],
)
def test_restart_policies(said: str | None, becomes: str) -> None:
    assert made(restart=said).restart == becomes


def test_how_it_stops() -> None:
    plan = made(stop_signal="SIGINT", stop_grace_period="1m")
    assert (plan.stop_signal, plan.patience) == ("INT", 60)


def test_the_working_directory_lies_in_the_code() -> None:
    assert made(working_dir="below/it").folder == "below/it"
    assert made(working_dir="/app").folder == "", "a path of the image is where its build put the code"


def test_services_start_after_what_they_need() -> None:
    services = {
        "a": {**BUILD, "command": ["a"], "depends_on": {"b": {"condition": "service_completed_successfully"}}},
        "b": {**BUILD, "command": ["b"], "restart": "always", "depends_on": {"c": {"condition": "service_healthy"}}},
        "c": {**BUILD, "command": ["c"]},
    }
    found = plans({"services": services}, "compose.yml")
    assert [plan.service for plan in found] == ["c", "b", "a"]
    assert found[1].finishes and found[1].restart == "never", "a service that others wait to end is not restarted"
    assert found[2].needs == {"b": "service_completed_successfully"}


def test_the_digest_tells_definitions_apart() -> None:
    base = made().digest
    assert made().digest == base
    for other in ({"command": ["x"]}, {"environment": {"A": "1"}}, {"ports": [port("1", 1)]}, {"restart": "always"}):
        assert made(**other).digest != base, f"{other} makes no difference"


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ({"build": None, "image": "postgres:16"}, "runs the image postgres:16; give it build:"),
        ({"command": None}, "has no command; say in the compose file what the image's CMD says"),
        ({"build": {"context": "https://example.org/x.git"}}, "which is no directory here"),
        ({"volumes": [{"type": "bind"}]}, "mounts volumes (volumes)"),
        ({"secrets": ["x"]}, "is given secrets as files"),
        ({"network_mode": "service:other"}, "shares another container's network"),
        ({"deploy": {"replicas": 3}}, "has 3 copies"),
        ({"ports": [port("8080", 3000)]}, "publishes port 8080 for the container's 3000; a process listens on"),
    ],
)
def test_what_only_a_container_can_be_is_refused(service: dict[str, Any], said: str) -> None:
    with pytest.raises(Refused) as refused:
        made(**service)
    assert said in refused.value.message and refused.value.message.startswith("compose.yml cannot run")
    assert "ikoma_runtime: compose" in refused.value.remedy


def test_all_that_is_wrong_is_said_at_once() -> None:
    services = {
        "a": {"image": "x"},
        "b": {**BUILD, "command": ["b"], "volumes": ["v"], "ports": [port("80", 80)]},
        "c": {**BUILD, "command": ["c"], "ports": [port("80", 80)]},
    }
    with pytest.raises(Refused) as refused:
        plans({"services": services}, "compose.yml")
    for part in ("service a runs the image", "service b mounts volumes", "services b and c both publish port 80"):
        assert part in refused.value.message
