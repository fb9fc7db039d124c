"""Servers that tests ask."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.serving import Service, serving


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server without limits, on this machine as its only host; the tests of a module share it."""
    with serving(tmp_path_factory.mktemp("server")) as service:
        yield service
