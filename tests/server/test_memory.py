"""A server that is not restarted, under many clients and with deploys: what it has in memory does not grow with the
calls. IKOMA_TESTS_LONG=1 makes it six minutes and 64 clients."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

import pytest

from tests.parts.applications import WEB
from tests.parts.chance import LONG
from tests.parts.platform import free_port
from tests.parts.serving import Service, serving
from tests.server.test_load import Client, deploys, memory

# Warm is a server whose threads have all worked, and whose journal has the 2 MB of pages that it keeps at hand.
WARM_UP, SECONDS, CLIENTS, EVERY = (120, 240, 64, 5.0) if LONG else (8, 14, 12, 0.5)
MOST = 0.03 if LONG else 0.06  # of its memory by which it may grow in that time


def grown(kilobytes: list[int]) -> float:
    """By how much memory grew, as a part of it: the line that fits best, from its begin to its end."""
    slope = statistics.linear_regression(range(len(kilobytes)), kilobytes).slope
    return slope * (len(kilobytes) - 1) / statistics.mean(kilobytes)


@pytest.mark.timeout(900)
def test_memory_is_flat(tmp_path: Path, busybox: str) -> None:
    with serving(tmp_path) as service:
        service.call("apps.init", {"appName": "shop"})
        (service.apps / "shop/docker-compose.yml").write_text(WEB.format(image=busybox, port=free_port(), more=""))
        try:
            clients, kilobytes, calls = loaded(service)
        finally:
            service.call("deploy.down", {"appName": "shop"}, timeout=120)
    print(f"\n{calls} calls; kB {kilobytes}; grown by {grown(kilobytes):.1%}")
    assert {"up": 200, "down": 200}.items() <= deploys(clients[0]).items(), "no deploy came through"
    assert grown(kilobytes) < MOST, f"memory grew by {grown(kilobytes):.1%} in {calls} calls: {kilobytes} kB"


def loaded(service: Service) -> tuple[list[Client], list[int], int]:
    """The clients, the server's memory in kB as time went by, and how many calls were answered meanwhile."""
    clients = [Client(service, number) for number in range(CLIENTS)]
    for client in clients:
        client.thread.start()
    try:
        time.sleep(WARM_UP)
        before = sum(len(client.answered) for client in clients)
        kilobytes = []
        for _ in range(int(SECONDS / EVERY)):
            time.sleep(EVERY)
            kilobytes.append(memory(service))
        calls = sum(len(client.answered) for client in clients) - before
    finally:
        for client in clients:
            client.stop.set()
        for client in clients:
            client.thread.join(150)
    return clients, kilobytes, calls
