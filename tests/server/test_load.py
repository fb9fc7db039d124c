"""Many clients at once, deploys among them, the server stopped and killed meanwhile: what was answered is in the audit
log exactly once. IKOMA_TESTS_LONG=1 makes it five minutes and 64 clients."""

from __future__ import annotations

import http.client
import json
import random
import signal
import threading
import time
from collections import Counter
from pathlib import Path

import pytest

from ikoma_play.audit.log import files
from ikoma_play.audit.verifying import verify
from tests.parts.applications import WEB
from tests.parts.chance import LONG
from tests.parts.platform import free_port
from tests.parts.serving import Service, serving

SECONDS, CLIENTS, STOPS = (300, 64, 12) if LONG else (8, 12, 2)
PATIENCE = 120.0  # seconds
READS = [
    ("apps.list", {}),
    ("apps.status", {"appName": "shop"}),
    ("platform.info", {}),
    ("apps.health", {"appName": "x"}),
]


class Client:
    """Calls one after another on a connection that is kept; `answered` are the ids of calls that got an answer."""

    def __init__(self, service: Service, number: int) -> None:
        self.service, self.number = service, number
        self.answered: dict[str, int] = {}
        self.stop = threading.Event()
        self.thread = threading.Thread(target=self.work)

    def work(self) -> None:
        chance = random.Random(self.number)
        connection = self.service.connect()
        count = 0
        while not self.stop.is_set():
            count += 1
            name = f"{self.number}-{count}"
            tool, arguments = chance.choice(READS)
            if chance.random() < 0.1:
                tool, arguments = "apps.init", {"appName": f"made-{self.number}"}
            if self.number == 0:  # one of them deploys
                tool, arguments = ("deploy.up", "deploy.down")[count % 2], {"appName": "shop"}
            headers = {"X-Api-Key": self.service.key, "X-Request-Id": name}
            try:
                connection.request("POST", f"/execute/{tool}", json.dumps(arguments), headers)
                answer = connection.getresponse()
                answer.read()
                self.answered[name] = answer.status
            except (OSError, http.client.HTTPException):
                connection.close()
                time.sleep(0.05)
                connection = self.service.connect()
        connection.close()


def memory(service: Service) -> int:
    """Kilobytes that the server has in memory."""
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))


@pytest.mark.timeout(900)
def test_what_was_answered_is_in_the_audit_log_once(tmp_path: Path, busybox: str) -> None:
    with serving(tmp_path) as service:
        service.call("apps.init", {"appName": "shop"})
        (service.apps / "shop/docker-compose.yml").write_text(WEB.format(image=busybox, port=free_port(), more=""))
        try:
            clients = loaded(service)
        finally:
            service.call("deploy.down", {"appName": "shop"}, timeout=120)
        answered = Counter(name for client in clients for name in client.answered)
        statuses = Counter(status for client in clients for status in client.answered.values())
        print(f"\n{sum(answered.values())} calls answered: {dict(statuses)}")
        assert set(statuses) <= {200, 409, 500, 503}, statuses
        assert came_through(clients[0]), "no deploy came through"

        written: Counter[str] = Counter()
        for file in files(service.audit_log):
            written.update(json.loads(line)["requestId"] for line in file.read_text().splitlines())
        wrong = {name: written[name] for name in answered if written[name] != 1}
        assert not wrong, f"of {len(answered)} answered calls these are not in the log once: {wrong}"
        assert not verify(service.audit_log).findings


def deploys(client: Client) -> dict[str, int]:
    """The best status that the deploying client's calls came to, by kind."""
    found: dict[str, int] = {}
    for name, status in list(client.answered.items()):
        kind = ("up", "down")[int(name.partition("-")[2]) % 2]
        found[kind] = min(found.get(kind, 999), status)
    return found


def came_through(client: Client) -> bool:
    return {"up": 200, "down": 200}.items() <= deploys(client).items()


def loaded(service: Service) -> list[Client]:
    """The clients, after their time; the server was stopped in order and killed in turn, and started again."""
    clients = [Client(service, number) for number in range(CLIENTS)]
    for client in clients:
        client.thread.start()
    try:
        for turn in range(STOPS):
            time.sleep(SECONDS / (STOPS + 1))
            service.stop(signal.SIGKILL if turn % 2 else signal.SIGTERM, patience=120)
            service.start()
        time.sleep(SECONDS / (STOPS + 1) / 3)
        before = memory(service)
        time.sleep(SECONDS / (STOPS + 1) * 2 / 3)
        after = memory(service)
        print(f"\nmemory {before} kB, then {after} kB")
        # In the short run it is still loading what the first calls need.
        assert after < 1.25 * before or not LONG, f"memory grows: {before} kB, then {after} kB"
        until = time.monotonic() + PATIENCE  # where much else goes on, a deploy takes longer than all of the above
        while not came_through(clients[0]) and time.monotonic() < until:
            time.sleep(0.5)
    finally:
        for client in clients:
            client.stop.set()
        for client in clients:
            client.thread.join(150)
    return clients
