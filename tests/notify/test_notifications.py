"""A failing production play reaches the right contact, by every way, and nothing is lost when the network is down."""

from __future__ import annotations

import json
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from ikoma_play.errors import StepError
from ikoma_play.journal.opening import open_store
from ikoma_play.notify import outbox
from ikoma_play.notify.contacts import Escalation, Way, escalation
from ikoma_play.notify.message import Message
from tests.parts.command import Finished, Ikoma
from tests.parts.platform import free_port
from tests.parts.receivers import mail_server, webhook

PLAY = """\
- name: A change
  hosts: all
  gather_facts: false
  steps:
    - name: Make a file
      copy: {dest: made, content: "x"}
      rollback:
        - name: Take it away
          command: UNDO
    - name: Migrate
      command:
        argv: [sh, -c, "echo 'the password is {{ db_password }}' >&2; exit 3"]
      when: fails | bool
  """


class Site:
    """A folder with one production host and a playbook that fails when it is told to."""

    def __init__(self, folder: Path, **variables: Any) -> None:
        self.folder = folder
        self.ikoma = Ikoma(folder)
        (folder / "play.yml").write_text(PLAY.replace("UNDO", "rm -f made"))
        self.say(ikoma_production=True, **variables)

    def say(self, **variables: Any) -> None:
        host = {"ansible_connection": "local", "app": "shop", "fails": True, "db_password": "canary-4711", **variables}
        (self.folder / "hosts.yml").write_text(json.dumps({"all": {"hosts": {"web1": host}}}))

    def run(self, *words: str, expect: int) -> Finished:
        return self.ikoma("run", "play.yml", "-i", "hosts.yml", *words, expect=expect)

    def notifications(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.ikoma("notifications", "list", "--json").out)
        return rows


def fields(body: dict[str, Any]) -> dict[str, str]:
    """What an attachment says, by title."""
    return {field["title"]: field["value"] for field in body["attachments"][0]["fields"]}


def test_the_contact_of_the_severity_hears_by_every_way(tmp_path: Path) -> None:
    port = free_port()
    script = tmp_path / "page.py"
    script.write_text(
        "import json, os, sys\n"
        "said = json.load(sys.stdin) | {'env': os.environ['IKOMA_RUN'], 'level': os.environ['IKOMA_SEVERITY']}\n"
        "json.dump(said, open('paged.json', 'w'))\n"
    )
    with webhook() as hook, webhook() as other, mail_server(port) as mails:
        site = Site(
            tmp_path,
            ikoma_severities={"P3": {"response": "by noon", "contacts": ["support"]}},
            ikoma_contacts={
                "support": {
                    "webhook": hook.url, "email": ["support@example.org", "second@example.org"],
                    "command": [sys.executable, str(script)],
                },
                "on-call": {"webhook": other.url},
            },
            ikoma_smtp={"host": "127.0.0.1", "port": port, "from": "ikoma@example.org"},
        )  # fmt: skip
        failed = site.run(expect=3)
    assert "warning" not in failed.text, failed
    (body,) = hook.bodies
    assert not other.bodies, "somebody heard of it who need not"
    said = fields(body)
    run = said["run"]
    assert said["step"] == "Migrate" and said["host"] == "web1" and said["application"] == "shop", said
    assert said["error"] and said["more"] == f"`ikoma-play runs show {run}`" and said["response"] == "within by noon"
    assert said["undone"] == "everything" and body["text"].startswith("P3 shop failed on web1: Migrate"), body
    site.ikoma("runs", "show", run)  # the command that it names
    ((to, mail),) = mails.received
    assert to == ["support@example.org", "second@example.org"] and mail["Subject"] == "P3 shop failed on web1: Migrate"
    assert f"ikoma-play runs show {run}" in mail.get_content() and mail["From"] == "ikoma@example.org"
    paged = json.loads((tmp_path / "paged.json").read_text())
    assert paged["env"] == run and paged["level"] == "P3" and paged["step"] == "Migrate", paged
    everything = failed.text + json.dumps(body) + mail.get_content() + json.dumps(paged)
    assert "canary-4711" not in everything, "a secret was sent"
    kept = b"".join(path.read_bytes() for path in (tmp_path / ".ikoma").iterdir())
    assert b"canary-of-the-hook" not in kept and b"canary-4711" not in kept, "a secret is in the journal"


@pytest.mark.parametrize(
    ("words", "undo", "code", "severity"),
    [
        ((), "rm -f made", 3, "P3"),
        (("--no-rollback",), "rm -f made", 2, "P2"),
        ((), "/bin/false", 5, "P1"),
        (("-e", "ikoma_severity=P4"), "rm -f made", 3, "P4"),
    ],
)
def test_what_became_of_it_decides_who_hears(
    tmp_path: Path, words: tuple[str, ...], undo: str, code: int, severity: str
) -> None:
    names = {"P1": "on-call", "P2": "platform", "P3": "support", "P4": "documentation"}
    script = "import json, sys; open(sys.argv[1], 'w').write(json.load(sys.stdin)['severity'])"
    contacts = {name: {"command": [sys.executable, "-c", script, str(tmp_path / name)]} for name in names.values()}
    site = Site(tmp_path, ikoma_contacts=contacts)
    (tmp_path / "play.yml").write_text(PLAY.replace("UNDO", undo))
    site.run(*words, expect=code)
    heard = {name: (tmp_path / name).read_text() for name in names.values() if (tmp_path / name).exists()}
    assert heard == {names[severity]: severity}


def test_who_is_no_production_or_only_looks_tells_nobody(tmp_path: Path) -> None:
    with webhook() as hook:
        contacts = {name: {"webhook": hook.url} for name in ("on-call", "platform", "support")}
        site = Site(tmp_path, ikoma_contacts=contacts)
        site.run("-e", "fails=false", expect=0)
        site.run("--check", expect=0)
        site.say(ikoma_production=False, ikoma_contacts=contacts)
        site.run(expect=3)
        assert not hook.bodies and site.notifications() == []


def test_nothing_is_lost_when_the_network_is_down(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/services/T0/canary-of-the-hook"
    site = Site(tmp_path, ikoma_contacts={"support": {"webhook": url}})
    failed = site.run(expect=3)
    assert "the webhook to support was not sent" in failed.text and "notifications send" in failed.text, failed
    assert "canary-of-the-hook" not in failed.text, "the webhook's address lets anybody write"
    (row,) = site.notifications()
    assert row["sent"] is None and "cannot be reached" in row["error"], row
    assert site.ikoma("notifications", "send", "-i", "hosts.yml", expect=2).text.startswith(
        "support by webhook: the web"
    )
    with webhook(port) as hook:
        site.run("-e", "fails=false", expect=0)  # the next run, whatever it does
        site.run("-e", "fails=false", expect=0)
        assert [fields(body)["step"] for body in hook.bodies] == ["Migrate"], "it came not just once"
    assert "Nothing waits" in site.ikoma("notifications", "send", "-i", "hosts.yml").text
    assert site.notifications()[0]["sent"] and "sent" in site.ikoma("notifications").text


def test_a_receiver_that_falters_is_asked_again(tmp_path: Path) -> None:
    with webhook(refuse=2) as hook:
        site = Site(tmp_path, ikoma_contacts={"support": {"webhook": hook.url}})
        site.run(expect=3)
        assert len(hook.bodies) == 1 and site.notifications()[0]["sent"]


def test_success_is_told_to_the_team(tmp_path: Path) -> None:
    with webhook() as hook:
        site = Site(tmp_path, ikoma_contacts={"devs": {"webhook": hook.url}}, ikoma_team=["devs"])
        words = ("platform.notify", "message=shop v2 is out", "appName=shop", "-i", "hosts.yml")
        told = json.loads(site.ikoma("exec", *words, "--check").out)
        assert told["waiting"] == ["devs"] and not hook.bodies
        told = json.loads(site.ikoma("exec", *words).out)
        assert told["sent"] == ["devs by webhook"] and hook.bodies[0]["text"].startswith("shop v2 is out"), told
        nobody = site.ikoma("exec", *words, "contacts=[nosuch]", expect=2)
        assert "ikoma_contacts has no nosuch" in nobody.text and "It has: devs" in nobody.text
        shown = json.loads(site.ikoma("exec", "platform.notifications", "appName=shop", "-i", "hosts.yml").out)
        assert len(shown["notifications"]) == 1 and shown["waiting"] == 0
        assert shown["severities"]["P1"] == {
            "meaning": "critical: production is down", "response": "15 minutes", "contacts": ["on-call"], "reached": [],
        }  # fmt: skip


def test_a_production_host_without_a_way_to_anybody_says_so(tmp_path: Path) -> None:
    failed = Site(tmp_path).run(expect=3)
    assert "is P3, for support, and ikoma_contacts says no way there" in failed.text, failed


def test_two_who_send_do_not_send_twice(tmp_path: Path) -> None:
    known = Escalation({}, {"devs": (Way("command", ("true",)),)})
    with (
        closing(open_store(f"sqlite:{tmp_path}/j.db")) as store,
        closing(open_store(f"sqlite:{tmp_path}/j.db")) as other,
    ):
        outbox.add(store, Message("hello", "", {}), known, ["devs"], run="r", host="h")
        (row,) = store.read("waiting_notifications")
        assert outbox._claim(store, row) and not outbox._claim(other, row)
        assert outbox.deliver(other, lambda host: known) == []


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"ikoma_contacts": {"a": {"fax": "1"}}}, "ikoma_contacts.a must say webhook, email or command"),
        ({"ikoma_contacts": {"a": {"webhook": "slack"}}}, "ikoma_contacts.a.webhook is no http or https URL"),
        ({"ikoma_contacts": ["a"]}, "ikoma_contacts must be a mapping"),
        ({"ikoma_contacts": {"a": {"email": {"x": 1}}}}, "ikoma_contacts.a.email must be a list"),
        ({"ikoma_severities": {"P9": {}}}, "ikoma_severities.P9 is no severity"),
        ({"ikoma_severities": {"P1": {"who": "x"}}}, "ikoma_severities.P1 has who"),
        ({"ikoma_severity": "high"}, "ikoma_severity is 'high'"),
        ({"ikoma_contacts": {"a": {"email": "x@y"}}, "ikoma_team": ["b"]}, "ikoma_contacts has no b"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_wrong_with_contacts_is_told(values: dict[str, Any], said: str) -> None:
    with pytest.raises(StepError) as told:
        escalation(values)
    assert said in told.value.message


def test_wrong_contacts_do_not_hide_the_failure(tmp_path: Path) -> None:
    failed = Site(tmp_path, ikoma_contacts={"support": {"fax": 1}}).run(expect=3)
    assert "nobody was notified of the failure on web1: ikoma_contacts.support" in failed.text, failed
