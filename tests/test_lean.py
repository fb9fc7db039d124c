"""Libraries that are loaded without what takes long and is never used behave as they always do."""

from __future__ import annotations

import re
import threading
from pathlib import Path

import pytest

from ikoma_play.lean import LatePattern, late_patterns
from tests.parts.command import python


def test_yamls_own_patterns_are_made_when_they_are_asked_for(tmp_path: Path) -> None:
    """The reader of playbooks never asks, PyYAML's own functions do."""
    said = python(
        "from ikoma_play.language import load_playbook\n"
        "from ikoma_play.tools import TOOLS\n"
        "import yaml\n"
        "from ikoma_play.lean import LatePattern\n"
        "printable = yaml.reader.Reader.NON_PRINTABLE\n"
        "assert isinstance(printable, LatePattern)\n"
        "load_playbook('p.yml', TOOLS)\n"
        "assert 'search' not in vars(printable), 'a playbook was read with it'\n"
        "print(yaml.safe_load('[0x1F, 1.5e+3, 22:30, yes, 2001-12-14 21:59:43, text]'))\n"
        "print(yaml.safe_dump(['0x1F', '1.5', 'yes', 'text']), end='')\n"
        "try:\n"
        "    yaml.load('\\x07', yaml.SafeLoader)\n"
        "except yaml.reader.ReaderError as error:\n"
        "    print(error.reason)\n",
        written(tmp_path),
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.splitlines() == [
        "[31, 1500.0, 1350, True, datetime.datetime(2001, 12, 14, 21, 59, 43), 'text']",
        "- '0x1F'",
        "- '1.5'",
        "- 'yes'",
        "- text",
        "special characters are not allowed",
    ]


def test_other_threads_do_not_notice() -> None:
    made: list[object] = []
    with late_patterns():
        thread = threading.Thread(target=lambda: made.append(re.compile("a+", re.ASCII)))
        thread.start()
        thread.join(60)
        late = re.compile("B+", flags=re.IGNORECASE)
        assert isinstance(late, LatePattern) and late.sub("c", "abb") == "ac", "nor does it wait until it is over"
    assert isinstance(made[0], re.Pattern) and isinstance(re.compile("a"), re.Pattern)


def written(folder: Path) -> Path:
    (folder / "p.yml").write_text("[{hosts: localhost, tasks: [{command: echo 1}]}]\n")
    return folder


@pytest.mark.parametrize(("daemon", "expected"), [(True, ""), (False, "waited for\ntaken apart\n")])
def test_what_may_be_left_behind_is_not_taken_apart_at_the_end(daemon: bool, expected: str, tmp_path: Path) -> None:
    """Threads that nobody has to wait for hold no process up; others do."""
    said = python(
        "import atexit, sys, threading, time\n"
        "from ikoma_play.__main__ import program\n"
        "atexit.register(print, 'taken apart')\n"
        f"threading.Thread(target=lambda: (time.sleep(0.5), print('waited for')), daemon={daemon}).start()\n"
        "sys.argv[1:] = ['--version']\n"
        "program()\n",
        tmp_path,
    )
    assert said.returncode == 0, said.stderr
    assert said.stdout.partition("\n")[2] == expected
