"""Faster than its peers, in turns within one run: less work than in `peers.main`, the same figures to show it."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import pytest

from tests.parts.chance import LONG

from .peers import ANSIBLE, FULL, OURS, PYINFRA, Field, Workload, field, in_turns, measure, start_up, workloads

# The peers pay for each step, we for starting: with fewer steps the ratios are smaller than those of the full work.
WORK = FULL if LONG else workloads(commands=25, templates=10, fleet=5, local=20, hosts=10)
ROUNDS = {OURS: 3, PYINFRA: 2}  # of all others one: they are slow, and far behind
# At least so many times faster than ansible-core with pipelining and ControlPersist, and than the fastest peer.
LEAST = {
    "command": (25, 5) if LONG else (9, 1.7),
    "template": (40, 10) if LONG else (5, 1.5),
    "fleet": (30, 2.5) if LONG else (5, 1.1),
    "local": (50, 4) if LONG else (7, 1.3),
}


@pytest.fixture(scope="module")
def on() -> Iterator[Field]:
    with field(20) as made:
        yield made


@pytest.mark.timeout(3600 if LONG else 300)
@pytest.mark.parametrize("workload", WORK, ids=lambda workload: workload.title)
def test_faster_than_the_peers(on: Field, workload: Workload) -> None:
    figures = measure(on, workload, in_turns(3) if LONG else lambda who: ROUNDS.get(who, 1))
    sys.stdout.write(f"\n{figures}\n")
    ansible, fastest = LEAST[workload.play]
    assert figures.times_faster_than(ANSIBLE) >= ansible, figures
    assert figures.times_faster_than(figures.fastest_peer) >= fastest, figures


def test_starts_faster_than_the_peers(on: Field) -> None:
    on.prepare(FULL[0])
    for figures in start_up(on, 5 if LONG else 3).values():
        sys.stdout.write(f"\n{figures}\n")
        assert figures.times_faster_than(figures.fastest_peer) >= (4 if LONG else 2), figures
