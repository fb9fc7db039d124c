"""The real parts, one set a test process. A part that is missing is an error, never a skipped test."""

from __future__ import annotations

import os
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from tests.parts.chance import SEED
from tests.parts.engine import demand_engine
from tests.parts.images import busybox_image, python_image
from tests.parts.platform import Platform

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


def pytest_sessionstart(session: pytest.Session) -> None:
    if not hasattr(session.config, "workerinput"):  # with -q too, for which pytest has no header
        print(f"IKOMA_TESTS_SEED={SEED}")


@pytest.fixture(scope="session", autouse=True)
def audit_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where commands write down what they call, unless a test says otherwise; this machine's own log is no place."""
    path = tmp_path_factory.mktemp("audit") / "audit.jsonl"
    os.environ["AUDIT_LOG"] = str(path)
    return path


@pytest.fixture(scope="session")
def docker_engine() -> None:
    """A Docker Engine that answers, and Docker Compose."""
    demand_engine()


@pytest.fixture(scope="session")
def busybox(docker_engine: None) -> str:
    """The name of an image with a shell and busybox's small servers (httpd, nc)."""
    return busybox_image()


@pytest.fixture(scope="session")
def python_base(docker_engine: None) -> str:
    """The name of an image with Debian's python3 and psycopg, good as BASE_IMAGE."""
    return python_image()


@pytest.fixture(scope="session")
def platform(docker_engine: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Platform]:
    """The platform's compose project with PostgreSQL; a test that stops it starts it again."""
    platform = Platform(tmp_path_factory.mktemp("platform"))
    try:
        yield platform.up()
    finally:
        platform.down()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    return _no_skip((yield))


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    return _no_skip((yield))


def _no_skip(report: Report) -> Report:
    """In CI every part can be had, so that a test that was skipped is a test that failed."""
    if os.environ.get("CI") and report.outcome == "skipped" and not hasattr(report, "wasxfail"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report
