"""Journaling costs at most 2 ms a step; where disk and processor are busy with others, what these make of it."""

from __future__ import annotations

from tests.parts.chance import LONG

from .journal import measure

STEPS, TURNS = (1000, 5) if LONG else (400, 3)


def test_the_journal_costs_a_step_little() -> None:
    cost = measure(STEPS, TURNS)
    print(f"\n{cost}")
    busy = 3 * (cost.without + cost.disk)  # both measured in between, so that other people's load is in them too
    assert cost.added <= max(2.0, busy), str(cost)
