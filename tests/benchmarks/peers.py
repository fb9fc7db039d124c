"""The whole command beside its peers, in turns within one run: ansible-core, ansible-core with Mitogen, pyinfra.

    python -m tests.benchmarks.peers [ROUNDS]     the full workloads; takes a while, the peers are slow. The quick ones
                                                  have three times as many rounds
    python -m tests.benchmarks.peers --install    only makes the peers' virtual environment

The peers live in a virtual environment of their own, `.venv-peers` (or what IKOMA_PEERS names): they are no
dependencies of ours. Real OpenSSH servers on loopback, one a host; every measurement is a whole process, from its
start to its end, and the connections it left open are closed before the next one.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import time
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.parts.images import PartMissing
from tests.parts.sshd import ROOT, Sshd, servers

from .peers_files import write_files

CHECKOUT = Path(__file__).resolve().parents[2]
WANTED = Path(__file__).with_name("peers.txt")
OURS, ANSIBLE, MITOGEN, PYINFRA, FLOOR = "ikoma-play", "ansible-core", "with Mitogen", "pyinfra", "floor"
SLOW = (ANSIBLE, MITOGEN)


def home() -> Path:
    """The peers' virtual environment, made when it is not there or when other versions are wanted."""
    place = Path(os.environ.get("IKOMA_PEERS") or CHECKOUT / ".venv-peers")
    made = place / "ikoma-peers.txt"
    with (Path(tempfile.gettempdir()) / "ikoma-play-test-peers.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists() or made.read_text() != WANTED.read_text():
            venv.create(place, with_pip=True, clear=True)
            argv = [place / "bin/python", "-m", "pip", "install", "-q", "--disable-pip-version-check", "-r", WANTED]
            done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
            if done.returncode:
                raise PartMissing(f"the peers cannot be installed: {done.stderr[-2000:]}")
            made.write_text(WANTED.read_text())
    return place


def own_script(place: Path) -> str:
    """The script that an installation has, as the peers are called by theirs, in an environment that finds our
    dependencies: the one that runs the tests looks for editable packages first, which takes as long as the rest."""
    venv.create(place)
    (next(place.glob("lib/python*/site-packages")) / "tests.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    script = place / "bin/ikoma-play"
    script.write_text(
        f"#!{place}/bin/python\nimport sys\nfrom ikoma_play.__main__ import program\nsys.exit(program())\n"
    )
    script.chmod(0o755)
    return str(script)


@dataclass(frozen=True)
class Workload:
    """`play` is the name of the playbook (and of pyinfra's deploy); `fresh`: its files are removed before each run."""

    title: str
    play: str
    steps: int
    hosts: int = 1
    fresh: bool = False
    who: tuple[str, ...] = (OURS, PYINFRA, MITOGEN, ANSIBLE)  # the machine's speed drifts: the closest are neighbours


class Field:
    """The hosts, the folder with everybody's files, and each one's command line."""

    def __init__(self, folder: Path, boxes: Sequence[Sshd]) -> None:
        self.folder = folder
        self.boxes = list(boxes)
        self.out = boxes[0].site.homes / "deployer" / "out" if ROOT else folder / "out"
        self.peers = home()
        others = ("ANSIBLE_", "PYTHON", "PYTEST", "IKOMA_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(others)}
        own = {"ANSIBLE_CONFIG": str(folder / "ansible.cfg"), "ANSIBLE_HOME": str(folder / "ansible")}
        self._environment = {**kept, **own, "LC_ALL": "C.UTF-8"}
        self.ours = own_script(folder / "ours")
        # An installed package is compiled; the unmeasured run does that here, outside of the checkout.
        self._ours = {**self._environment, "PYTHONPATH": str(CHECKOUT), "PYTHONPYCACHEPREFIX": str(folder / "compiled")}

    def prepare(self, workload: Workload) -> None:
        write_files(self.folder, self.boxes[: workload.hosts], self.out, workload.play, workload.steps, self.peers)

    def once(self, workload: Workload, who: str) -> float:
        """Seconds of one whole run. Raises AssertionError with what it printed when it does not succeed."""
        if workload.fresh:
            shutil.rmtree(self.out, ignore_errors=True)
        self.out.mkdir(mode=0o777, exist_ok=True)
        self.out.chmod(0o777)
        argv, environment = self._command(workload, who)
        begun = time.perf_counter()
        done = subprocess.run(argv, cwd=self.folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True,
                              text=True, check=False)  # fmt: skip
        seconds = time.perf_counter() - begun
        said = done.stdout[-3000:] + done.stderr[-3000:]
        assert done.returncode == 0, f"{who}, {workload.title}: {done.returncode}\n{said}"
        for box in self.boxes:
            box.drop_connections()  # ansible's would stay for a minute
        return seconds

    def _command(self, workload: Workload, who: str) -> tuple[list[str], Mapping[str, str]]:
        binary = self.peers / "bin"
        local = workload.play == "local"
        environment = dict(self._environment)
        if who == FLOOR:
            return self._floor(workload), environment
        if who == OURS:
            return [self.ours, "run", f"{workload.play}.yml", "-i", "hosts.yml", "-f", "20"], self._ours
        if who == PYINFRA:
            inventory = "@local" if local else "inventory.py"
            return [str(binary / "pyinfra"), "-y", inventory, f"{workload.play}.py"], environment
        if who == MITOGEN:
            environment["ANSIBLE_STRATEGY"] = "mitogen_linear"
        return [str(binary / "ansible-playbook"), f"{workload.play}.yml", "-i", "hosts.yml"], environment

    def _floor(self, workload: Workload) -> list[str]:
        """No answer is waited for between the commands: one process on this machine, or one `ssh` a host."""
        if workload.play == "local":
            script = f"import subprocess\nfor n in range({workload.steps}): subprocess.run(['echo', str(n)], stdout=-1)"
            return [sys.executable, "-c", script]
        return ["sh", str(self.folder / "floor.sh")]


@contextmanager
def field(hosts: int) -> Iterator[Field]:
    with servers() as site, tempfile.TemporaryDirectory(prefix="ikoma-peers-") as folder:
        boxes = [site.server() for _ in range(hosts)]
        try:
            for box in boxes:
                box.start()
            yield Field(Path(folder), boxes)
        finally:
            for box in boxes:
                box.stop()


@dataclass(frozen=True)
class Figures:
    """Seconds of each, of every round."""

    workload: Workload
    taken: Mapping[str, Sequence[float]]

    def median(self, who: str) -> float:
        return statistics.median(self.taken[who])

    def times_faster_than(self, who: str) -> float:
        return self.median(who) / self.median(OURS)

    @property
    def fastest_peer(self) -> str:
        return min((who for who in self.taken if who not in (OURS, FLOOR)), key=self.median)

    def __str__(self) -> str:
        lines = [f"{self.workload.title}"]
        for who, seconds in self.taken.items():
            ratio = "" if who == OURS else f"{self.times_faster_than(who):8.1f} ×"
            lines.append(f"  {who:16}{self.median(who) * 1000:9.0f} ms{ratio}   {len(seconds)} rounds")
        return "\n".join(lines)


def in_turns(count: int) -> Callable[[str], int]:
    """So many rounds of those that take long, three times as many of the others."""
    return lambda who: count if who in SLOW else 3 * count


def measure(on: Field, workload: Workload, rounds: Callable[[str], int]) -> Figures:
    """`rounds` says how often each is run; one run of ours and of the floor comes before, unmeasured."""
    on.prepare(workload)
    who = (*workload.who, FLOOR) if not workload.play.startswith("template") else workload.who
    taken: dict[str, list[float]] = {each: [] for each in who}
    on.once(workload, OURS)
    for number in range(max(rounds(each) for each in who)):
        for each in who:
            if number < rounds(each):
                taken[each].append(on.once(workload, each))
    return Figures(workload, taken)


START_UP = {
    "version": {OURS: ["--version"], "ansible-core": ["--version"], "pyinfra": ["--version"]},
    "syntax check": {OURS: ["check", "command.yml", "-i", "hosts.yml"],
                     "ansible-core": ["--syntax-check", "command.yml", "-i", "hosts.yml"]},
}  # fmt: skip


def start_up(on: Field, rounds: int) -> dict[str, Figures]:
    """How long each takes to say its version, and to find nothing wrong with a playbook."""
    program = {OURS: [on.ours], "ansible-core": [str(on.peers / "bin/ansible-playbook")],
               "pyinfra": [str(on.peers / "bin/pyinfra")]}  # fmt: skip
    figures = {}
    for title, ways in START_UP.items():
        taken: dict[str, list[float]] = {who: [] for who in ways}
        for number in range(rounds + 1):
            for who, words in ways.items():
                begun = time.perf_counter()
                subprocess.run([*program[who], *words], cwd=on.folder, check=True, stdin=subprocess.DEVNULL,
                               capture_output=True,
                               env=on._ours if who == OURS else on._environment)  # fmt: skip
                if number:  # the first round writes bytecode
                    taken[who].append(time.perf_counter() - begun)
        figures[title] = Figures(Workload(f"start-up, {title}", title, 0), taken)
    return figures


def workloads(commands: int, templates: int, fleet: int, local: int, hosts: int = 20) -> tuple[Workload, ...]:
    """The sizes are how many steps each has."""
    return (
        Workload(f"1 host × {commands} commands", "command", commands),
        Workload(f"1 host × {templates} templates, absent", "template", templates, fresh=True),
        Workload(f"1 host × {templates} templates, unchanged", "template", templates),
        Workload(f"{hosts} hosts × {fleet} commands", "fleet", fleet, hosts),
        Workload(f"this machine × {local} commands", "local", local, who=(OURS, PYINFRA, ANSIBLE)),
    )


FULL = workloads(50, 50, 20, 100)


def main() -> None:
    if sys.argv[1:] == ["--install"]:
        home()
        return
    count = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with field(20) as on:
        for workload in FULL:
            print(measure(on, workload, in_turns(count)), flush=True)
        for figures in start_up(on, max(5, count)).values():
            print(figures, flush=True)


if __name__ == "__main__":
    main()
