"""Golden cases: playbook text and what must come of it, in files below cases/.

A case is one YAML document: `name`, `playbook` (text), and of these what it needs: `inventory` (INI text;
otherwise one local host h1), `files` (made before), `options` (of the engine), `faults: true`; and what is
expected: `hosts` (counts; those not named are 0), `said` (messages in order, "host: message"), `order`
(finished steps in order, "host kind title status"), `made` (file → text), `not_made`, `undone`, `error`
(a piece of the first failure's message), `ansible: false` where Ansible has no such thing
or does otherwise, `ansible: unordered` where the order of what is said is chance there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from ikoma_play.engine import Options, run
from ikoma_play.events import Event, Report, StepFinished
from ikoma_play.language import load_inventory, load_playbook
from ikoma_play.model import Host
from ikoma_play.tools import TOOLS
from ikoma_play.transport.base import Transport
from ikoma_play.transport.local import LocalTransport

CASES = Path(__file__).parent / "cases"
COUNTS = ("ok", "changed", "skipped", "failed", "unreachable", "rescued", "ignored", "rolled_back", "rollback_failed")
ONE_HOST = "h1 ansible_connection=local\n"


def cases() -> Iterator[tuple[str, dict[str, Any]]]:
    """Every case with a name that tells its file."""
    for path in sorted(CASES.glob("*.yml")):
        for case in yaml.safe_load_all(path.read_text(encoding="utf-8")):
            yield f"{path.stem}: {case['name']}", case


@dataclass
class Ran:
    """A run of a playbook text: its report and events."""

    report: Report
    events: list[Event] = field(default_factory=list)

    @property
    def finished(self) -> list[StepFinished]:
        return [event for event in self.events if isinstance(event, StepFinished)]

    def counts(self, host: str) -> dict[str, int]:
        """The host's counts that are not 0."""
        recap = self.report.hosts[host]
        return {name: getattr(recap, name) for name in COUNTS if getattr(recap, name)}

    def said(self) -> list[str]:
        """What debug said, in order."""
        found = []
        for event in self.finished:
            if event.step is not None and event.step.tool == "debug":
                for one in event.outcome.items or (event.outcome,):
                    if one.message and one.status.value != "skipped":
                        found.append(f"{event.host}: {one.message}")
        return found

    def order(self) -> list[str]:
        return [f"{event.host} {event.kind} {event.title} {event.outcome.status.value}" for event in self.finished]


def put(path: Path, text: str) -> None:
    """Write a file; a program may be run."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    if text.startswith("#!"):
        path.chmod(0o755)


def play(
    folder: Path,
    playbook: str,
    inventory: str = ONE_HOST,
    options: Options | None = None,
    connect: Callable[[Host], Transport] = LocalTransport,
    observers: Sequence[Callable[[Event], None]] = (),
    inventory_at: str = "hosts",
) -> Ran:
    """Run a playbook text in a folder, with the inventory at a place in it."""
    put(folder / inventory_at, inventory)
    (folder / "site.yml").write_text(playbook, encoding="utf-8")
    ran = Ran(Report("", {}))
    ran.report = run(
        [load_playbook(str(folder / "site.yml"), TOOLS)],
        load_inventory([str(folder / inventory_at)]),
        TOOLS,
        options or Options(),
        [ran.events.append, *observers],
        connect,
    )
    return ran


def options_of(case: dict[str, Any]) -> Options:
    """A case's options; one host after another, so that the order of what is said is always the same."""
    given = {"forks": 1, **case.get("options", {})}
    for name in ("tags", "skip_tags"):
        if name in given:
            given[name] = frozenset(given[name])
    return Options(**given)
