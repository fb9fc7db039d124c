"""Tools for packages: apt (and package, where the host has apt), and pip."""

from __future__ import annotations

import json
import posixpath
import re
import time
from typing import Any, Literal

from ...errors import NotFound, StepError
from ...model import Access, Command, Diff, Outcome, Progress, changed, ok
from ...tool import tool
from ...transport.base import Transport
from .placing import host_path

AptState = Literal["present", "absent", "latest", "installed", "removed", "fixed"]
PipState = Literal["present", "absent", "latest", "forcereinstall"]
QUIET = {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
LISTS = "/var/lib/apt/lists"


@tool("apt", access=Access.ADMIN, changes=True, aliases={
    "pkg": "name", "package": "name", "update-cache": "update_cache", "default-release": "default_release",
    "install-recommends": "install_recommends", "allow-downgrade": "allow_downgrade",
    "allow_downgrades": "allow_downgrade", "allow-downgrades": "allow_downgrade",
    "allow-unauthenticated": "allow_unauthenticated",
})  # fmt: skip
def apt(
    on: Transport,
    *,
    name: list[str] | None = None,
    state: AptState = "present",
    update_cache: bool | None = None,
    cache_valid_time: int = 0,
    upgrade: Literal["no", "yes", "safe", "full", "dist"] | bool = "no",
    deb: str | None = None,
    purge: bool = False,
    autoremove: bool = False,
    autoclean: bool = False,
    clean: bool = False,
    default_release: str | None = None,
    install_recommends: bool | None = None,
    only_upgrade: bool = False,
    allow_downgrade: bool = False,
    allow_change_held_packages: bool = False,
    allow_unauthenticated: bool = False,
    force: bool = False,
    force_apt_get: bool = True,
    fail_on_autoremove: bool = False,
    dpkg_options: list[str] | None = None,
    lock_timeout: int = 60,
    policy_rc_d: int | None = None,
) -> Outcome:
    """Have Debian packages installed, at the newest version, or not.

    name: the packages; name=version for one version
    state: present, latest, absent, or fixed (mend what is half installed)
    update_cache: read the lists of packages anew first
    cache_valid_time: only when they are older than so many seconds
    upgrade: bring everything up to date: safe (removes nothing), full or dist
    deb: a package's file on the host
    purge: when absent, remove settings too
    autoremove: remove what nothing needs any more
    autoclean: remove downloaded files that are out of date
    clean: remove all downloaded files
    default_release: where to take packages from
    install_recommends: also what packages recommend
    only_upgrade: do not install what is not there
    allow_downgrade: a version may be older than what is installed
    allow_change_held_packages: also packages that are held at their version
    allow_unauthenticated: also packages that nobody has signed
    force: all three of these
    force_apt_get: accepted for Ansible's sake; apt-get is what is used
    fail_on_autoremove: accepted for Ansible's sake
    policy_rc_d: accepted for Ansible's sake
    dpkg_options: options for dpkg; default force-confdef and force-confold, which keep changed settings
    lock_timeout: seconds to wait while another program installs
    """
    options = ["-y", "-q", "-o", f"DPkg::Lock::Timeout={lock_timeout}"]
    for option in dpkg_options if dpkg_options is not None else ["force-confdef", "force-confold"]:
        options += ["-o", f"Dpkg::Options::=--{option.lstrip('-')}"]
    if install_recommends is not None:
        options.append("--install-recommends" if install_recommends else "--no-install-recommends")
    for wanted, option in (
        (default_release, f"--target-release={default_release}"),
        (only_upgrade, "--only-upgrade"),
        (allow_downgrade or force, "--allow-downgrades"),
        (allow_change_held_packages or force, "--allow-change-held-packages"),
        (allow_unauthenticated or force, "--allow-unauthenticated"),
    ):
        options += [option] if wanted else []
    values: dict[str, Any] = {"cache_updated": False}
    if update_cache or (update_cache is None and cache_valid_time):
        values["cache_updated"] = _refresh(on, cache_valid_time, lock_timeout)
    deeds: list[tuple[str, ...]] = []
    whole = {True: "yes", False: "no"}.get(upgrade, upgrade) if isinstance(upgrade, bool) else upgrade
    if whole != "no":
        deeds.append(("dist-upgrade" if whole in ("full", "dist") else "upgrade",))
    if deb is not None:
        deeds.append(("install", "--", host_path(on, deb)))
    names = [each for entry in name or [] for each in entry.split(",") if each]
    if state in ("absent", "removed"):
        there = [each for each in names if _installed(on, each.partition("=")[0]) is not None]
        deeds += [("purge" if purge else "remove", "--", *there)] if there else []
    elif state == "fixed":
        deeds.append(("install", "-f", "--", *names))
    elif names:
        due = names if state == "latest" else [each for each in names if not _is_there(on, each)]
        deeds += [("install", "--", *due)] if due else []
    deeds += [("autoremove", *(["--purge"] if purge else []))] if autoremove else []
    told = [line for deed in deeds for line in _done(on, deed, options)]
    for wanted, deed in ((autoclean, "autoclean"), (clean, "clean")):
        if wanted:
            on.demand(Command(("apt-get", *options, deed), env=QUIET))
    altered = bool(told) or (values["cache_updated"] and not (names or deb or deeds))
    values["packages"] = told
    diffs = (Diff("packages", "", "\n".join(told) + "\n"),) if told else ()
    return (changed if altered else ok)(values, message=", ".join(told)[:200], diffs=diffs)


@tool("package", access=Access.ADMIN, changes=True, aliases={"pkg": "name"})
def package(
    on: Transport,
    *,
    name: list[str],
    state: AptState = "present",
    use: Literal["auto", "apt"] = "auto",
) -> Outcome:
    """Have packages installed, by the host's own package manager; that is apt for now.

    name: the packages
    state: present, latest or absent
    use: which package manager
    """
    if use == "auto" and not on.run(Command(("sh", "-c", "command -v apt-get"), changes=False)).ok:
        raise StepError(f"{on.host.name} has no apt-get", remedy="Install the package by a command of the host.")
    return apt(on, name=name, state=state)


@tool("pip", access=Access.ADMIN, changes=True)
def pip(
    on: Transport,
    *,
    name: list[str] | None = None,
    version: str | None = None,
    requirements: str | None = None,
    state: PipState = "present",
    virtualenv: str | None = None,
    virtualenv_command: str = "python3 -m venv",
    virtualenv_python: str | None = None,
    virtualenv_site_packages: bool = False,
    extra_args: str = "",
    editable: bool = False,
    chdir: str | None = None,
    executable: str | None = None,
    break_system_packages: bool = False,
) -> Outcome:
    """Have Python packages installed, in a virtual environment or for the whole host.

    name: the packages; with conditions as pip takes them, name>=1.2
    version: the version of a single package
    requirements: a file of requirements on the host
    state: present, latest, absent or forcereinstall
    virtualenv: the directory of a virtual environment, made when it is not there
    virtualenv_command: what makes it
    virtualenv_python: the Python that it is for
    virtualenv_site_packages: it sees the host's packages
    extra_args: further arguments for pip
    editable: install a source tree so that changes in it count
    chdir: the directory that pip runs in
    executable: another pip
    break_system_packages: install beside the system's own packages
    """
    import shlex

    if (name is None) == (requirements is None):
        raise StepError("pip takes name or requirements, one of them", remedy="Say what to install: pip: name: …")
    if version is not None and (name is None or len(name) != 1):
        raise StepError("version is for a single name", remedy="Write name==version in name.")
    place = host_path(on, virtualenv).rstrip("/") if virtualenv is not None else None
    made = False
    if place is not None and not on.exists(posixpath.join(place, "bin/python")):
        made = True
        maker = [*shlex.split(virtualenv_command), *(["--system-site-packages"] if virtualenv_site_packages else [])]
        if virtualenv_python is not None:
            maker = [virtualenv_python, *maker[1:]] if maker[:1] == ["python3"] else [*maker, "-p", virtualenv_python]
        on.progress(Progress(f"making the virtual environment {place}"))
        on.demand(Command((*maker, place)), f"cannot make the virtual environment {place}",
                  "Install what makes it (Debian: python3-venv).")  # fmt: skip
    program = (
        [executable] if executable else [f"{place}/bin/python", "-m", "pip"] if place else ["python3", "-m", "pip"]
    )
    if on.dry and made:
        return changed({"virtualenv": place, "name": name, "requirements": requirements}, "would be made")
    wanted = [f"{name[0]}=={version}"] if name and version else list(name or [])
    if options := [each for each in wanted if each.startswith("-")]:
        raise StepError(f"{options[0]} is not a package", remedy="Options for pip go into extra_args.")
    before = _frozen(on, program)
    values: dict[str, Any] = {"virtualenv": place, "name": name, "requirements": requirements, "version": version}
    if state == "absent":
        gone = [each for each in wanted if _canonical(each) in before]
        words = ["uninstall", "-y", *gone] if gone else []
    else:
        due = [each for each in wanted if state != "present" or not _suits(each, before)]
        words = ["install", *({"latest": ["--upgrade"], "forcereinstall": ["--force-reinstall"]}.get(state, []))]
        words += ["-r", requirements] if requirements else []
        words += ["--break-system-packages"] if break_system_packages else []
        words += [word for each in due for word in ((["-e"] if editable else []) + [each])]
        words = words if due or requirements else []
    if words:
        on.progress(Progress(f"pip {words[0]} {requirements or ' '.join(wanted)}"))
        asked = Command((*program, *words, *shlex.split(extra_args)), cwd=chdir)
        on.demand(asked, f"pip cannot {words[0]} {requirements or ', '.join(wanted)}", "Look at what pip said.")
    after = before if on.dry or not words else _frozen(on, program)
    foreseen = on.dry and bool(words) and requirements is None
    if before == after and not made and not foreseen and not (words and state == "forcereinstall"):
        return ok(values)
    lines = [f"{each}=={number}\n" for each, number in sorted(before.items()) if after.get(each) != number]
    new = [f"{each}=={number}\n" for each, number in sorted(after.items()) if before.get(each) != number]
    return changed(values, diffs=(Diff("Python packages", "".join(lines), "".join(new)),))


# --- how -------------------------------------------------------------------------------------------


def _refresh(on: Transport, valid: int, lock: int) -> bool:
    there = on.stat(LISTS) if valid else None
    young = there is not None and time.time() - there.mtime < valid
    # In images the directory may be new and its lists deleted.
    if young and any(entry.kind != "directory" and not entry.path.endswith("/lock") for entry in on.scan(LISTS)):
        return False
    on.progress(Progress("reading the lists of packages"))
    asked = Command(("apt-get", "-q", "-o", f"DPkg::Lock::Timeout={lock}", "update"), env=QUIET)
    on.demand(asked, "cannot read the lists of packages", "Check the network and /etc/apt/sources.list.")
    on.run(Command(("touch", LISTS)))
    return True


def _installed(on: Transport, name: str) -> str | None:
    """The installed version of a package, None where it is not installed."""
    form = "${db:Status-Status} ${Version}\n"
    found = on.run(Command(("dpkg-query", "-W", "-f", form, "--", name), changes=False))
    if found.exit_code == 127:
        raise NotFound(f"{on.host.name} has no dpkg", remedy="apt is for Debian and its kin.")
    versions = [line.split(" ")[1] for line in found.text.splitlines() if line.startswith("installed ")]
    return versions[0] if versions else None


def _is_there(on: Transport, wanted: str) -> bool:
    name, equals, version = wanted.partition("=")
    there = _installed(on, name)
    return there is not None and (
        not equals or re.fullmatch(re.escape(version).replace(r"\*", ".*"), there) is not None
    )


def _done(on: Transport, deed: tuple[str, ...], options: list[str]) -> list[str]:
    """What a deed of apt-get changes, by its own account; then it is done."""
    plan = on.run(Command(("apt-get", "--simulate", *options, *deed), env=QUIET, changes=False))
    if not plan.ok:
        said = plan.stderr.decode("utf-8", "replace").strip()
        unmet = plan.text.partition("unmet dependencies:\n")[2].rstrip()
        missing = re.search(r"Unable to locate package (\S+)", said)
        raise (NotFound if missing else StepError)(
            f"there is no package {missing[1]}" if missing else f"apt-get cannot {' '.join(deed)}",
            remedy="Check the name, or say update_cache: true." if missing else "Look at what apt-get said.",
            evidence="\n".join(filter(None, (unmet, said))),
        )
    told = []
    for line in plan.text.splitlines():
        found = re.match(r"(Inst|Remv|Purg) (\S+)(?: \[(\S+)\])?(?: \((\S+))?", line)
        if found:
            sign = "+" if found[1] == "Inst" else "-"
            told.append(f"{sign}{found[2]} {found[4] or found[3] or ''}".strip())
    if told:
        on.progress(Progress(f"apt-get {deed[0]}: {len(told)} packages"))
        on.demand(Command(("apt-get", *options, *deed), env=QUIET), f"apt-get cannot {' '.join(deed)}",
                  "Look at what it said; this needs root's rights (become).")  # fmt: skip
    return told


LISTING = """
import importlib.metadata, json
found = {each.metadata["Name"]: each.version for each in reversed(list(importlib.metadata.distributions()))}
print(json.dumps([{"name": name, "version": version} for name, version in found.items() if name]))
"""


def _frozen(on: Transport, program: list[str]) -> dict[str, str]:
    """What is installed, by name; Python itself tells it ten times sooner than pip."""
    words = (program[0], "-c", LISTING) if program[1:] else (program[0], "list", "--format=json")
    listed = on.demand(Command(words, changes=False), f"cannot ask {program[0]} what is installed",
                       "Install Python and pip (Debian: python3-pip), or name a virtualenv.")  # fmt: skip
    return {_canonical(each["name"]): each["version"] for each in json.loads(listed.stdout)}


def _canonical(name: str) -> str:
    """A package's name as pip compares it, without conditions and extras."""
    return re.sub(r"[-_.]+", "-", re.split(r"[\s\[=<>!~;@]", name.strip(), maxsplit=1)[0]).lower()


def _suits(wanted: str, there: dict[str, str]) -> bool:
    """Whether what is installed is surely as wanted; where only pip can tell, it is asked to install."""
    if wheel := re.search(r"([^/]+?)-([^-/]+)-[^-/]+-[^-/]+-[^-/]+\.whl\Z", wanted):
        return there.get(_canonical(wheel[1])) == wheel[2]  # pip too takes a wheel's word for what is in it
    version = there.get(_canonical(wanted))
    condition = re.sub(r"^[\w.\-\[\],]+", "", wanted.strip()).strip()
    if "/" in wanted or wanted.endswith((".gz", ".zip")):
        return False
    if version is None or not condition:
        return version is not None
    exact = re.fullmatch(r"==\s*([\w.+!-]+)", condition)
    return exact is not None and exact[1] == version
