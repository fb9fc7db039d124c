"""The server's throughput beside a bare handler that does the least: same WSGI server, same key, same audit line."""

from __future__ import annotations

from pathlib import Path

from tests.benchmarks.http_load import compared, ratio

LEAST = 0.6  # of the bare handler's requests a second; 0.63 to 0.85 were measured on days that differ


def test_a_call_costs_little_more_than_its_http(tmp_path: Path) -> None:
    ratios: list[float] = []
    for attempt in range(5):  # what else the machine does weighs more on the one that asks more of it
        folder = tmp_path / str(attempt)
        folder.mkdir()
        bare, ours = compared(folder, seconds=1, connections=16)
        print(f"\nbare {bare}\nours {ours}")
        assert sum(load.bad for load in (*bare, *ours)) == 0, "calls failed under load"
        ratios.append(ratio(bare, ours))
        if ratios[-1] >= LEAST:
            break
    assert max(ratios) >= LEAST, f"the way to a tool has become longer: {ratios}"
