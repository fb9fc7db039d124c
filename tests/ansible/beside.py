"""One playbook text through our engine and through the real ansible-playbook, and what is to be compared of both."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from contextlib import chdir
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ikoma_play.cli import status
from ikoma_play.language.vault import DEFAULT, KEYS, Password
from tests.engine.golden import ONE_HOST, options_of, play, put

HERE = Path(__file__).parent
COUNTS = {"ok": "ok", "changed": "changed", "skipped": "skipped", "failures": "failed", "unreachable": "unreachable",
          "rescued": "rescued", "ignored": "ignored"}  # fmt: skip
OURS_AS_ANSIBLES = {status.UNDONE: 2, status.LOOK: 2, status.UNREACHABLE: 4}
INPUTS = ("hosts", "site.yml")


@dataclass(frozen=True)
class Came:
    """What a run came to: exit code, counts by host that are not 0, what debug said by host, files with their text."""

    code: int
    hosts: dict[str, dict[str, int]]
    said: dict[str, list[str]]
    files: dict[str, str]
    log: str = field(default="", compare=False)


def told(message: Any) -> str:
    """A message as it is compared: JSON, which is what both show, has lists and no tuples; null and "" are alike."""
    if message is None:
        return ""
    return (
        str(json.loads(json.dumps(message, default=str))) if isinstance(message, (list, tuple, dict)) else str(message)
    )


def prepared(folder: Path, case: Mapping[str, Any]) -> None:
    """An empty folder with the case's files."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name, text in case.get("files", {}).items():
        put(folder / name, text)


def ours(folder: Path, case: dict[str, Any]) -> Came:
    """The case through our engine."""
    prepared(folder, case)
    passwords = list(KEYS._passwords)
    if "vault_password_file" in case.get("options", {}):
        words = {**case["options"]}
        KEYS.add(Password(DEFAULT, (folder / words.pop("vault_password_file")).read_bytes().strip()))
        case = {**case, "options": words}
    try:
        with chdir(folder):
            ran = play(
                folder, case["playbook"], case.get("inventory", ONE_HOST), options_of(case),
                inventory_at=case.get("inventory_at", "hosts"),
            )  # fmt: skip
    finally:
        KEYS._passwords[:] = passwords
    hosts = {name: counts for name in ran.report.hosts if (counts := ran.counts(name))}
    said: dict[str, list[str]] = {}
    for event in ran.finished:
        if event.step is not None and event.step.tool == "debug":
            for one in event.outcome.items or (event.outcome,):
                if isinstance(one.result, dict) and "msg" in one.result:
                    said.setdefault(event.host, []).append(told(one.result["msg"]))
    code = status.of_report(ran.report)
    log = "\n".join(f"{event.title}: {event.outcome.failure}" for event in ran.report.failures)
    return Came(OURS_AS_ANSIBLES.get(code, code), hosts, said, _files(folder, case), log)


class Ansible:
    """Real ansible-playbook runs, one process for all of a test worker's."""

    def __init__(self, home: Path, **settings: str) -> None:
        self.home = home
        environment = {name: value for name, value in os.environ.items() if not name.startswith("ANSIBLE")}
        environment |= {
            "ANSIBLE_HOME": str(home),
            "ANSIBLE_LOCAL_TEMP": str(home / "tmp"),
            "ANSIBLE_STDOUT_CALLBACK": "recorded",
            "ANSIBLE_CALLBACK_PLUGINS": str(HERE / "callbacks"),
            "ANSIBLE_PIPELINING": "1",
            "ANSIBLE_PYTHON_INTERPRETER": sys.executable,
            "ANSIBLE_RETRY_FILES_ENABLED": "0",
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_DEPRECATION_WARNINGS": "0",
            "ANSIBLE_GATHERING": "explicit",
            "LC_ALL": "C.UTF-8",
            **settings,
        }
        home.mkdir(parents=True, exist_ok=True)
        self.process = subprocess.Popen(
            [sys.executable, str(HERE / "many_runs.py")], env=environment, cwd=home, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(30)

    def __call__(self, folder: Path, case: dict[str, Any]) -> Came:
        """The case through ansible-playbook."""
        prepared(folder, case)
        inventory = case.get("inventory_at", "hosts")
        put(folder / inventory, case.get("inventory", ONE_HOST))
        (folder / "site.yml").write_text(case["playbook"], encoding="utf-8")
        record, log = self.home / "record.json", self.home / "log"
        record.unlink(missing_ok=True)
        order = {
            "folder": str(folder), "arguments": ["-i", inventory, "site.yml", *_arguments(case)],
            "record": str(record), "log": str(log),
        }  # fmt: skip
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        code = int(self.process.stdout.readline())
        printed = log.read_text(errors="replace")
        found = json.loads(record.read_text()) if record.exists() else {"hosts": {}, "results": []}
        hosts = {
            host: {ours: counts[name] for name, ours in COUNTS.items() if counts[name]}
            for host, counts in found["hosts"].items()
        }
        said: dict[str, list[str]] = {}
        for result in found["results"]:
            if result["action"] in ("debug", "ansible.builtin.debug") and result["said"] and result["status"] == "ok":
                said.setdefault(result["host"], []).extend(result["said"])
        failed = "\n".join(f"{one['name']}: {one['msg']}" for one in found["results"] if one["status"] == "failed")
        return Came(code, hosts, said, _files(folder, case), f"{failed}\n{printed}")


def _arguments(case: Mapping[str, Any]) -> list[str]:
    given = dict(case.get("options", {}))
    words = ["--forks", str(given.pop("forks", 1))]
    for name, option in (("tags", "--tags"), ("skip_tags", "--skip-tags")):
        if name in given:
            words += [option, ",".join(given.pop(name))]
    for name, option in (("check", "--check"), ("diff", "--diff"), ("force_handlers", "--force-handlers")):
        if given.pop(name, False):
            words.append(option)
    for name, option in (
        ("limit", "--limit"),
        ("start_at_step", "--start-at-task"),
        ("vault_password_file", "--vault-password-file"),
    ):
        if name in given:
            words += [option, given.pop(name)]
    if "extra_vars" in given:
        words += ["-e", json.dumps(given.pop("extra_vars"))]
    words += case.get("arguments", [])
    assert not given, f"ansible-playbook has no option for {given}"
    return words


def _files(folder: Path, case: Mapping[str, Any]) -> dict[str, str]:
    """Every file that was made or changed, with its mode, and links with where they lead."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = str(path.relative_to(folder))
        if name in (*INPUTS, case.get("inventory_at")) or "__pycache__" in name:
            continue
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file():
            text = path.read_text(errors="replace")
            if case.get("files", {}).get(name) != text:
                found[name] = f"{path.stat().st_mode & 0o7777:o} {text}"
        elif path.is_dir():
            found[name] = f"{path.stat().st_mode & 0o7777:o} directory"
    return found
