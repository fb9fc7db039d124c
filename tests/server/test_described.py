"""What the server says of itself: /openapi.json, the page that shows it, /metrics."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from ikoma_play.server.calls import OF_PLAYBOOKS
from ikoma_play.tools import TOOLS
from tests.parts.serving import Answer, Service, serving

PAGES = Path(__file__).parents[2] / "ikoma_play/server/pages"


def get(service: Service, path: str) -> Answer:
    return service.ask("GET", path, headers={"X-Api-Key": service.key})


@pytest.mark.parametrize("path", ["/openapi.json", "/metrics", "/capabilities"])
def test_they_need_a_key(service: Service, path: str) -> None:
    assert service.ask("GET", path).status == 401
    assert get(service, path).status == 200


def test_every_tool_is_described_by_its_declaration(service: Service) -> None:
    document = get(service, "/openapi.json").data
    assert document["openapi"] == "3.1.0"
    for tool in TOOLS.all():
        if tool.name in OF_PLAYBOOKS:
            assert f"/execute/{tool.name}" not in document["paths"]
            continue
        call = document["paths"][f"/execute/{tool.name}"]["post"]
        shape = call["requestBody"]["content"]["application/json"]["schema"]
        assert set(shape["properties"]) == {parameter.wire for parameter in tool.parameters} | {"host"}
        assert shape.get("required", []) == [parameter.wire for parameter in tool.parameters if parameter.required]
        assert call["x-role"] == tool.access.label
        assert call["summary"] == tool.summary
    assert {"/health", "/capabilities", "/metrics", "/openapi.json"} <= set(document["paths"])


def test_metrics_count_calls_and_look_at_the_platform(tmp_path: Path) -> None:
    with serving(tmp_path) as service:
        counted(service)


def counted(service: Service) -> None:
    service.call("apps.init", {"appName": "counted"})
    service.call("apps.list")
    service.call("apps.health", {"appName": "gone"})
    backups = service.folder / "backups"
    backups.mkdir(exist_ok=True)
    (backups / "counted-20260102.sql").write_text("SELECT 1;\n")
    text = get(service, "/metrics").text

    def value(name: str) -> float:
        found = re.search(rf"^{re.escape(name)} (\S+)$", text, re.M)
        assert found, f"{name} is not among the metrics:\n{text}"
        return float(found[1])

    assert value('ikoma_calls_total{result="success",tool="apps.list"}') >= 1
    assert value('ikoma_call_failures_total{code="not-found",tool="apps.health"}') >= 1
    assert value('ikoma_call_seconds_count{tool="apps.init"}') == 1
    assert value("ikoma_calls_running") == 0
    assert value("ikoma_locks_held") == 0
    assert value("ikoma_runs_running") == 0
    assert value('ikoma_last_backup_timestamp_seconds{app="counted"}') > 1e9
    assert re.search(r'^ikoma_disk_free_bytes\{mount="/.*"\} [1-9]', text, re.M)


def test_the_page_brings_everything_along(service: Service) -> None:
    page = service.ask("GET", "/docs")
    assert page.headers["content-type"].startswith("text/html")
    assert "script-src 'self'" in page.headers["content-security-policy"]
    for name in ("docs.css", "docs.js"):
        assert service.ask("GET", f"/docs/{name}").status == 200
        assert f"/docs/{name}" in page.text
    for file in PAGES.iterdir():
        assert not re.search(r"https?://|//[a-z]", re.sub(r"^\s*//.*", "", file.read_text(), flags=re.M)), (
            f"{file.name} leads elsewhere"
        )


@pytest.mark.parametrize("name", ["nothing.js", "..%2Fapp.py", "%2e%2e%2fapp.py", "docs.html%00", ".", "..%2f..%2fetc"])
def test_the_page_is_no_way_to_other_files(service: Service, name: str) -> None:
    assert service.ask("GET", f"/docs/{name}").status == 404
