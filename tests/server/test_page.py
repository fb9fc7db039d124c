"""The page that shows /openapi.json, in a real browser: every tool, one unfolded and called, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.parts.browser import Page, page
from tests.parts.serving import Service

TITLES = "[...document.querySelectorAll('#tools summary > code')].map(e => e.textContent)"
SHOWN = f"{TITLES.replace('summary > code', 'details:not([hidden]) > summary > code')}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    with page(tmp_path_factory.mktemp("profile")) as opened:
        yield opened


def enter(browser: Page, key: str) -> None:
    browser.value("document.getElementById('key').value = ''; document.getElementById('key').focus()")
    browser.type(key)
    browser.click("#open button")


def test_the_page_shows_what_the_server_offers(service: Service, browser: Page, tmp_path: Path) -> None:
    at = f"http://127.0.0.1:{service.port}"
    browser.open(f"{at}/docs")
    enter(browser, service.key)
    browser.until("document.querySelectorAll('#tools details').length")
    paths = service.ask("GET", "/openapi.json", None, {"X-Api-Key": service.key}).data["paths"]
    titles = browser.value(TITLES)
    tools = {path.removeprefix("/execute/") for path in paths if path.startswith("/execute/")}
    assert len(tools) > 80 and tools <= set(titles)
    assert {"POST /runs", "POST /runs/{run}/approve", "GET /health"} <= set(titles)

    browser.value("document.getElementById('filter').focus()")
    browser.type("dump backup")
    browser.until(f"{SHOWN}.length < 5")
    assert "db.backup" in browser.value(SHOWN) and "apps.list" not in browser.value(SHOWN)
    browser.value(
        "[...document.querySelectorAll('summary')].find(e => e.textContent.startsWith('db.backup')).id = 'it'"
    )
    assert browser.value("document.querySelector('#it').parentNode.open") is False
    browser.click("#it")
    browser.until("document.querySelector('#it').parentNode.open")
    inside = browser.value("document.querySelector('#it').parentNode.innerText")
    assert "appName" in inside and "backupName" in inside and f"curl -X POST {at}/execute/db.backup" in inside
    browser.screenshot(tmp_path / "page.png")
    assert (tmp_path / "page.png").stat().st_size > 10_000
    assert browser.value("getComputedStyle(document.querySelector('.inside table')).borderCollapse") == "collapse"

    browser.click("details[open] .try button")
    browser.until("document.querySelector('details[open] .try pre').textContent.startsWith('500')")
    assert "PostgreSQL on 127.0.0.1:1" in browser.value("document.querySelector('.try pre.bad').textContent")
    browser.said = [line for line in browser.said if "/execute/db.backup" not in line]  # the answer that was asked for
    assert browser.said == [] and browser.value("document.documentElement.scrollWidth <= innerWidth")
    assert browser.fetched and all(url.startswith(f"{at}/") for url in browser.fetched), browser.fetched
    stored = browser.value("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie])")
    assert stored == '[{},{},""]', "the key stays in the page"


def test_a_wrong_key_and_a_lower_role(service: Service, browser: Page) -> None:
    browser.open(f"http://127.0.0.1:{service.port}/docs")
    enter(browser, "wrong")
    browser.until("document.querySelector('#told.bad')")
    assert browser.value("document.querySelector('#told').textContent") == "401: the key is not valid"
    browser.value("document.getElementById('role').value = 'observer'")
    enter(browser, service.key)
    browser.until("document.querySelectorAll('#tools details').length")
    assert "As observer" in browser.value("document.querySelector('#told').textContent")
    closed = browser.value("[...document.querySelectorAll('details.closed > summary > code')].map(e => e.textContent)")
    assert "apps.remove" in closed and "apps.list" not in closed
