"""What waits in the outbox: a server sends it when the network is back, and a way that is shut holds nobody up."""

from __future__ import annotations

import json
import time
from contextlib import closing
from pathlib import Path

import pytest

from ikoma_play.errors import StepError, Unavailable
from ikoma_play.journal.opening import open_store
from ikoma_play.notify import outbox
from ikoma_play.notify.contacts import Escalation, Way
from ikoma_play.notify.message import Message
from ikoma_play.notify.ways import send
from tests.notify.test_notifications import Site
from tests.parts.platform import free_port
from tests.parts.receivers import mail_server, webhook
from tests.parts.serving import serving


def test_a_server_sends_what_waits_once_the_network_is_back(tmp_path: Path) -> None:
    port = free_port()
    site = Site(tmp_path, ikoma_contacts={"support": {"webhook": f"http://127.0.0.1:{port}/canary-of-the-hook"}})
    site.run(expect=3)
    assert site.notifications()[0]["sent"] is None
    with webhook(port) as hook, serving(tmp_path, words=("-i", "hosts.yml")) as service:
        service.until(lambda: len(hook.bodies) == 1, 60)
        service.until(lambda: any(line["event"] == "notification sent" for line in service.lines), 60)
        assert "canary-of-the-hook" not in json.dumps(service.lines)
    assert site.notifications()[0]["sent"] and len(hook.bodies) == 1


def test_a_way_that_is_shut_is_tried_for_one_of_many(tmp_path: Path) -> None:
    gone = Way("webhook", f"http://127.0.0.1:{free_port()}/x")
    known = Escalation({}, {"devs": (gone,), "ops": (Way("command", ("true",)),)})
    with closing(open_store(f"sqlite:{tmp_path}/j.db")) as store:
        for number in range(20):
            outbox.add(store, Message(f"number {number}", "", {}), known, ["devs", "ops"], run="r", host="h")
        before = time.monotonic()
        done = outbox.deliver(store, lambda host: known, pauses=(0.1,))
        assert time.monotonic() - before < 20
        assert sum(not one.error for one in done) == 20 and sum(one.shut for one in done) == 1
        rows = store.read("waiting_notifications")
        assert len(rows) == 20 and sum(row["attempts"] for row in rows) == 1


@pytest.mark.parametrize(
    "way",
    [
        Way("webhook", "http://127.0.0.1:1/canary of the hook"),
        Way("webhook", "http://[canary/"),
        Way("webhook", "canary"),
        Way("email", ("devs@example.org\nBcc: canary@example.org",)),
        Way("command", ("true", "canary\0")),
    ],
)
def test_what_a_way_cannot_take_is_told_and_stops_nothing(way: Way) -> None:
    with pytest.raises(StepError) as told:
        send(way, Message("a", "", {}), {"host": "127.0.0.1"})
    assert not isinstance(told.value, Unavailable) and "canary" not in told.value.message, told.value.message


def test_a_message_of_several_lines_is_mailed() -> None:
    with mail_server(port := free_port()) as mails:
        send(
            Way("email", ("devs@example.org",)),
            Message("v2 is out:\nsee there", "", {}),
            {"host": "127.0.0.1", "port": port},
        )
    ((_, mail),) = mails.received
    assert mail["Subject"] == "v2 is out: see there"
    assert mail.get_content().splitlines()[:2] == ["v2 is out:", "see there"]


def test_a_message_that_is_refused_does_not_shut_the_way(tmp_path: Path) -> None:
    with webhook(refuse=1) as hook, pytest.raises(Unavailable):  # 503: it may be better later
        send(Way("webhook", hook.url), Message("a", "", {}), {})
    for argv in (["false"], ["no-such-program-anywhere"]):
        with pytest.raises(StepError) as told:
            send(Way("command", tuple(argv)), Message("a", "", {}), {})
        assert not isinstance(told.value, Unavailable)
