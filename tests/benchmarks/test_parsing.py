"""The parsing benchmark runs, on a playbook without faults of the size that is meant."""

from __future__ import annotations

from tests.benchmarks import parsing


def test_five_thousand_steps_are_read_and_checked() -> None:
    found = parsing.measure()
    print("\n" + ", ".join(f"{name} {value:.2f}" for name, value in found.items()))
    assert (found["steps"], found["files"], found["faults"]) == (5000, 51, 0)
    assert found["megabytes"] < 200
