"""Every playbook that changes something, ended in its middle by a person or by the kernel, and run again: it completes,
and the end is that of an undisturbed run. Some in one way each time; all in both with IKOMA_TESTS_LONG=1."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ikoma_play.platform import api_keys
from ikoma_play.platform.envfile import EnvFile
from ikoma_play.platform.key_file import KeyFile
from tests.parts.chance import LONG
from tests.parts.crashing import nursery
from tests.parts.scene import APP, Scene
from tests.parts.undone import difference

ROWS: dict[str, list[Any]] = yaml.safe_load((Path(__file__).parent / "faults.yml").read_text())["interrupted"]
ALERTS = '{"ikoma_contacts": {"on-call": {"command": ["true"]}}}'
SIGNALS = (signal.SIGINT, signal.SIGKILL)
QUICK = {"restore": signal.SIGKILL, "remove": signal.SIGINT, "fix-database": signal.SIGKILL, "restart": signal.SIGINT}
STAYING = ("backup",)  # ended before its first step: a dump that was made stays beside that of the run again
CASES = [
    pytest.param(playbook, says, how, id=f"{playbook}-{how.name}")
    for playbook, says in ROWS.items()
    for how in SIGNALS
    if LONG or QUICK.get(playbook) is how
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """The second release serves, after the first."""
    with nursery() as ikoma:
        here = Scene(ikoma, tmp_path_factory.mktemp("interrupted"))
        try:
            here("exec", "platform.up", expect=0)
            for version in ("v1", "v2"):
                done = here.deploy(version)
                assert done.code == 0, done.text
            here.keep("v2")
            yield here
        finally:
            here("run", "sandbox-down", "-e", "remove=true")


@pytest.mark.parametrize(("playbook", "says", "how"), CASES)
def test_run_again_it_completes(scene: Scene, playbook: str, says: list[Any], how: signal.Signals) -> None:
    words = ("run", playbook, "-e", f"app={APP}", "-e", f"port={scene.port}", "-e", "source=v2", "-e", "yes=true",
             "-e", "server=false", "-e", "strict=false", "-e", ALERTS)  # fmt: skip

    def end(**kill: Any) -> tuple[Any, dict[str, Any]]:
        scene.put_back("v2")
        if kill:
            cut = scene(*words, **kill)
            assert cut.code == (-signal.SIGKILL if how is signal.SIGKILL else 130), cut.text
        done = scene(*words)
        return done, scene.alike() | {"locks": []}

    whole, wanted = end()
    middle = 2 if playbook in STAYING else max(1, whole.writes // 2)
    again, found = end(at=(middle, "before"), by=how)
    code, *said = says if isinstance(says[0], int) else [0, *says]
    assert again.code == whole.code == code, f"{whole.text}\n{again.text}"
    told = " ".join(again.text.split())
    assert not [each for each in said if each not in told], again.text
    unlike = [f"{name}:\n{difference(was, found[name])}" for name, was in wanted.items() if found[name] != was]
    assert not unlike, "\n".join([*unlike, again.text])


def test_a_rotation_ended_in_its_middle_locks_nobody_out(scene: Scene) -> None:
    """Wherever it is ended, the key of before opens, and run again it leaves one that opens too."""
    root = scene.sandbox.root
    scene("exec", "platform.up", expect=0)
    scene("exec", "keys.create", "name=platform", "saveTo=.ikoma/first.txt", expect=0)
    first = (root / "first.txt").read_text().strip()

    def opens(key: str) -> bool:
        env = EnvFile((root / ".env").read_text())
        return KeyFile(root / "keys.json").keys.find(key, api_keys.platform_hash(env.values)) is not None

    writes = scene("run", "rotate-key", expect=0).writes
    points = [(number, when, how) for number in range(1, writes + 1) for when in ("before", "after") for how in SIGNALS]
    for number, when, how in points if LONG else points[len(points) // 2 :][:2]:
        scene("run", "rotate-key", at=(number, when), by=how)
        assert opens(first), f"{how.name} {when} {number}: whoever has the key of before is locked out"
        scene("run", "rotate-key", expect=0)
        new = (root / "api-key.txt").read_text().strip()
        assert opens(new) and opens(first) and not opens("another"), f"{how.name} {when} {number}"
