"""Services of a host: systemd's units, and the scripts of /etc/init.d where there is no systemd."""

from __future__ import annotations

import re
import time
from typing import Any, Literal

from msgspec import Struct

from ...errors import NotFound, StepError, Unavailable
from ...model import Access, Command, Diff, Outcome, Result, changed, ok
from ...tool import tool
from ...transport.base import Transport

State = Literal["started", "stopped", "restarted", "reloaded"]
_PROPERTIES = ("Id", "LoadState", "ActiveState", "SubState", "UnitFileState", "FragmentPath", "MainPID", "CanReload")
_RUNS = ("active", "activating", "reloading")
_INSTALLED = ("enabled", "enabled-runtime", "alias", "static", "indirect", "generated")
_SYSTEMD_RUNS = "test -d /run/systemd/system"
_VERBS = {"started": "start", "stopped": "stop", "restarted": "restart", "reloaded": "reload"}
# Which scripts of the run levels start a service: S20name.
_LEVELS = 'ls /etc/rc[2-5].d/S[0-9][0-9]"$1" 2> /dev/null'


class _Systemd(Struct, frozen=True):
    """systemctl with the words that choose whose units are meant."""

    on: Transport
    words: tuple[str, ...] = ()

    def look(self, *words: str) -> Result:
        return self.on.run(Command(("systemctl", *self.words, *words), changes=False))

    def do(self, *words: str, message: str = "", remedy: str = "") -> None:
        self.on.demand(Command(("systemctl", *self.words, *words)), message, remedy)

    def properties(self, name: str) -> dict[str, str]:
        """What systemd knows of a unit. Raises Unavailable where no systemd answers."""
        shown = self.look("show", f"--property={','.join(_PROPERTIES)}", "--", name)
        if not shown.ok:
            raise _no_systemd(shown.stderr.decode("utf-8", "replace").strip())
        return dict(line.partition("=")[::2] for line in shown.text.splitlines() if "=" in line)

    def enabled(self, name: str) -> str:
        """How a unit stands to the next start of the host; read from its files, so that no systemd need run."""
        shown = self.look("is-enabled", "--", name)
        if shown.exit_code == 127:
            raise _no_systemd(shown.stderr.decode("utf-8", "replace").strip())
        lines = shown.text.split()
        return lines[-1] if lines else ""


def _no_systemd(said: str = "") -> Unavailable:
    return Unavailable(
        "no systemd runs on this host", remedy="Use service, which takes the scripts of /etc/init.d.", evidence=said
    )


@tool("systemd_service", access=Access.ADMIN, changes=True, also=("systemd",), aliases={
    "service": "name", "unit": "name", "daemon-reload": "daemon_reload", "daemon-reexec": "daemon_reexec",
})  # fmt: skip
def systemd_service(
    on: Transport,
    *,
    name: str | None = None,
    state: State | None = None,
    enabled: bool | None = None,
    masked: bool | None = None,
    force: bool = False,
    daemon_reload: bool = False,
    daemon_reexec: bool = False,
    scope_: Literal["system", "user", "global"] = "system",
    no_block: bool = False,
) -> Outcome:
    """Start, stop, enable or mask a unit of systemd.

    name: the unit; without an ending it is a service
    state: started, stopped, restarted or reloaded
    enabled: start it with the host
    masked: keep everybody from starting it
    force: also replace links of other units when enabling
    daemon_reload: have systemd read its files again before
    daemon_reexec: have systemd itself start anew before
    scope_: system: the host's units; user: those of the user; global: those of all users
    no_block: do not wait until it is done
    """
    if name is None and (state or enabled is not None or masked is not None):
        raise StepError("systemd needs the argument 'name' for state, enabled and masked", remedy="Name a unit.")
    words = () if scope_ == "system" else (f"--{scope_}",)
    systemd = _Systemd(on, words)
    for wanted, word in ((daemon_reexec, "daemon-reexec"), (daemon_reload, "daemon-reload")):
        if wanted:
            systemd.do(word, message=f"systemctl {word} failed")
    if name is None:
        return ok({"name": None, "changed": False})
    did: list[tuple[str, str]] = []
    if masked is not None:
        did += _mask(systemd, name, masked)
    if enabled is not None:
        did += _enable(systemd, name, enabled, force)
    status: dict[str, str] = {}
    if state is not None:
        status = systemd.properties(name)
        did += _run(systemd, name, state, status, ("--no-block",) if no_block else ())
    return _told(name, state, enabled, did, status)


@tool("service", access=Access.ADMIN, changes=True, aliases={"args": "arguments"})
def service(
    on: Transport,
    *,
    name: str,
    state: State | None = None,
    enabled: bool | None = None,
    pattern: str | None = None,
    sleep: float | None = None,
    arguments: str = "",
    runlevel: str = "default",
    use: str = "auto",
) -> Outcome:
    """Start, stop or enable a service, with systemd or the host's service scripts.

    name: the service
    state: started, stopped, restarted or reloaded
    enabled: start it with the host
    pattern: part of the command line of its process, where its script cannot tell whether it runs
    sleep: seconds between stop and start of a restart
    arguments: further words for its script
    runlevel: accepted for Ansible's sake
    use: auto, systemd or sysvinit
    """
    if state is None and enabled is None:
        raise StepError("service needs state or enabled", remedy="Say what is to become of it: state: started.")
    if use in ("systemd", "ansible.builtin.systemd") or (
        use == "auto" and on.run(Command(("sh", "-c", _SYSTEMD_RUNS), changes=False)).ok
    ):
        return systemd_service(on, name=name, state=state, enabled=enabled)
    script = f"/etc/init.d/{name}"
    if "/" in name or on.stat(script, follow=True) is None:
        raise NotFound(
            f"there is no service {name} on this host: no systemd runs there, and {script} is not there",
            remedy="Check the name, or install the package that brings it.",
        )
    did: list[tuple[str, str]] = []
    if enabled is not None:
        did += _enable_script(on, name, enabled)
    if state is not None:
        did += _run_script(on, script, state, pattern, sleep, tuple(arguments.split()))
    return _told(name, state, enabled, did, {})


def _told(
    name: str, state: str | None, enabled: bool | None, did: list[tuple[str, str]], status: dict[str, str]
) -> Outcome:
    values: dict[str, Any] = {"name": name}
    if state is not None:
        values["state"] = "stopped" if state == "stopped" else "started"
    if enabled is not None:
        values["enabled"] = enabled
    if status:
        values["status"] = status
    if not did:
        return ok(values)
    before, after = ("".join(f"{line}\n" for line in lines) for lines in zip(*did, strict=True))
    return changed(values, diffs=(Diff(f"service {name}", before, after),))


# --- systemd ---------------------------------------------------------------------------------------


def _mask(systemd: _Systemd, name: str, masked: bool) -> list[tuple[str, str]]:
    now = systemd.enabled(name).startswith("masked")
    if now is masked:
        return []
    systemd.do("mask" if masked else "unmask", "--", name, message=f"cannot {'mask' if masked else 'unmask'} {name}")
    return [("masked" if now else "not masked", "masked" if masked else "not masked")]


def _enable(systemd: _Systemd, name: str, enabled: bool, force: bool) -> list[tuple[str, str]]:
    now = systemd.enabled(name)
    if not now or now == "not-found":
        raise NotFound(f"there is no unit {name} on this host", remedy="Check the name; systemd.daemon_reload reads "
                       "files of units that were just written.")  # fmt: skip
    if (now in _INSTALLED) is enabled:
        return []
    word = "enable" if enabled else "disable"
    systemd.do(word, *(("--force",) if force else ()), "--", name, message=f"cannot {word} {name}")
    return [(now, f"{word}d")]


def _run(
    systemd: _Systemd, name: str, state: str, status: dict[str, str], words: tuple[str, ...]
) -> list[tuple[str, str]]:
    now = status.get("ActiveState", "unknown")
    if status.get("LoadState") == "not-found":
        raise NotFound(f"there is no unit {name} on this host", remedy="Check the name, or install what brings it.")
    runs = now in _RUNS
    if (state == "started" and runs) or (state == "stopped" and not runs and now != "deactivating"):
        return []
    verb = "start" if state == "reloaded" and not runs else _VERBS[state]
    remedy = f"Look at its log: journalctl -u {name}."
    systemd.do(verb, *words, "--", name, message=f"systemd cannot {verb} {name}", remedy=remedy)
    return [(now, {"stop": "inactive"}.get(verb, f"active ({verb}ed)"))]


# --- scripts of /etc/init.d --------------------------------------------------------------------------


def _enable_script(on: Transport, name: str, enabled: bool) -> list[tuple[str, str]]:
    now = on.run(Command(("sh", "-c", _LEVELS, "sh", name), changes=False)).ok
    if now is enabled:
        return []
    remedy = "It needs update-rc.d, as Debian has it, and root's rights (become)."
    if enabled:
        on.demand(Command(("update-rc.d", name, "defaults")), f"cannot enable {name}", remedy)
    on.demand(Command(("update-rc.d", name, "enable" if enabled else "disable")), f"cannot enable {name}", remedy)
    return [("enabled" if now else "disabled", "enabled" if enabled else "disabled")]


def _run_script(
    on: Transport, script: str, state: str, pattern: str | None, sleep: float | None, words: tuple[str, ...]
) -> list[tuple[str, str]]:
    runs = _script_runs(on, script, pattern)
    if (state == "started" and runs) or (state == "stopped" and not runs):
        return []

    def do(verb: str) -> None:
        on.demand(Command((script, verb, *words)), f"{script} cannot {verb} the service")

    if state == "restarted" and sleep and runs:
        do("stop")
        if not on.dry:
            time.sleep(sleep)
        do("start")
    else:
        do("start" if state == "restarted" and not runs else _VERBS[state])
    return [("runs" if runs else "does not run", "does not run" if state == "stopped" else f"runs ({state})")]


def _script_runs(on: Transport, script: str, pattern: str | None) -> bool:
    """Whether the service runs: by its process where a pattern is given, else by what its script says."""
    if pattern is not None:
        listed = on.demand(Command(("ps", "axww", "-o", "args="), changes=False)).stdout.decode("utf-8", "replace")
        return any(pattern in line for line in listed.splitlines() if not line.startswith("ps axww"))
    asked = on.run(Command((script, "status"), changes=False))
    said = asked.stdout.decode("utf-8", "replace").lower()
    if asked.exit_code == 0:
        return not re.search(r"\b(not running|stopped|is dead|inactive)\b", said)
    if asked.exit_code in (1, 2, 3):
        return False
    raise StepError(
        f"{script} cannot tell whether the service runs (exit code {asked.exit_code})",
        remedy="Give pattern: a part of its process's command line.",
        evidence=asked.stderr.decode("utf-8", "replace").strip(),
    )
