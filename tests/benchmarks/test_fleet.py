"""Many hosts at once: all of them are done, and each one takes little memory on the runner."""

from __future__ import annotations

import sys

from tests.parts.chance import LONG

from . import fleet

HOSTS = 200 if LONG else 50


def test_every_host_at_once_in_little_memory() -> None:
    few, many = fleet.measure([5, HOSTS])
    a_host = fleet.megabytes_a_host(few, many)
    sys.stdout.write(f"\n{few}\n{many}\n{a_host:.2f} MB more for each host\n")
    assert a_host < 1.5
