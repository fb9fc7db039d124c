"""Tools for users and groups of a host, by the system's own programs: group, user, authorized_key."""

from __future__ import annotations

import base64
import binascii
import posixpath
import re
from typing import Any, Literal

from msgspec import Struct, field

from ...errors import NotFound, StepError
from ...model import Access, Command, Diff, Outcome, changed, ok
from ...tool import Scope, tool
from ...transport.base import Transport
from .account_extras import Extras, Key, ages
from .placing import Attributes, host_path, place, read_if_there, settle

State = Literal["present", "absent"]
KEY_TYPES = re.compile(r"(ssh-(?:rsa|dss|ed25519)|ecdsa-sha2-\S+|sk-\S+@openssh\.com)\s+([A-Za-z0-9+/=]+)")


@tool("group", access=Access.ADMIN, changes=True)
def group(
    on: Transport,
    *,
    name: str,
    state: State = "present",
    gid: int | None = None,
    system: bool = False,
    force: bool = False,
    non_unique: bool = False,
    local: bool = False,
    gid_min: int | None = None,
    gid_max: int | None = None,
) -> Outcome:
    """Have a group, or not.

    name: the group
    state: present or absent
    gid: its number
    system: a new one gets a number of the system's own range
    force: remove it even where it is some user's main group
    non_unique: its number may be another group's too
    local: accepted for Ansible's sake
    gid_min: the least number for a new group
    gid_max: the greatest number for a new group
    """
    there = _entry(on, "group", name)
    values: dict[str, Any] = {"name": name, "state": state, "system": system}
    if state == "absent":
        if there is None:
            return ok(values)
        _demand(on, f"cannot remove the group {name}", "groupdel", *(("-f",) if force else ()), "--", name)
        return changed(values, diffs=(Diff(f"group {name}", f"gid {there[2]}\n", ""),))
    if there is None:
        flags = _flags({"-g": gid}) + (["-r"] if system else []) + (["-o"] if non_unique else [])
        flags += _limits({"GID_MIN": gid_min, "GID_MAX": gid_max})
        _demand(on, f"cannot make the group {name}", "groupadd", *flags, "--", name)
        made = _entry(on, "group", name)
        values["gid"] = int(made[2]) if made else gid
        return changed(values, diffs=(Diff(f"group {name}", "", f"gid {values['gid']}\n"),))
    values["gid"] = int(there[2])
    if gid is None or gid == values["gid"]:
        return ok(values)
    flags = ["-g", str(gid), *(["-o"] if non_unique else [])]
    _demand(on, f"cannot change the group {name}", "groupmod", *flags, "--", name)
    return changed(values | {"gid": gid}, diffs=(Diff(f"group {name}", f"gid {there[2]}\n", f"gid {gid}\n"),))


class _Wishes(Struct):
    """What is asked of a user beyond being there: options of usermod, and the lines of a diff."""

    options: list[str] = field(default_factory=list)
    before: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)

    def wish(self, option: str, what: str, now: str, wanted: str | None) -> None:
        if wanted is not None and wanted != now:
            self.options += [option, wanted]
            self.before.append(f"{what} {now}")
            self.after.append(f"{what} {wanted}")


@tool("user", access=Access.ADMIN, changes=True, secrets=("password",), aliases={
    "user": "name", "createhome": "create_home",
})  # fmt: skip
def user(
    on: Transport,
    *,
    scope: Scope,
    name: str,
    state: State = "present",
    uid: int | None = None,
    group: str | None = None,
    groups: list[str] | None = None,
    append: bool = False,
    comment: str | None = None,
    home: str | None = None,
    create_home: bool = True,
    move_home: bool = False,
    shell: str | None = None,
    system: bool = False,
    password: str | None = None,
    update_password: Literal["always", "on_create"] = "always",
    password_lock: bool | None = None,
    remove: bool = False,
    force: bool = False,
    non_unique: bool = False,
    skeleton: str | None = None,
    local: bool = False,
    umask: str | None = None,
    uid_min: int | None = None,
    uid_max: int | None = None,
    expires: float | None = None,
    password_expire_max: int | None = None,
    password_expire_min: int | None = None,
    password_expire_warn: int | None = None,
    password_expire_account_disable: int | None = None,
    generate_ssh_key: bool = False,
    ssh_key_file: str | None = None,
    ssh_key_type: str = "rsa",
    ssh_key_bits: int = 0,
    ssh_key_comment: str | None = None,
) -> Outcome:
    """Have a user, with these attributes, or not.

    name: the user
    state: present or absent
    uid: the user's number
    group: the main group
    groups: further groups; all others are left, unless append is true
    append: groups are added to the others
    comment: the full name
    home: the home directory
    create_home: make it for a new user
    move_home: move what is in the former home directory when home changes
    shell: the login shell
    system: a new one gets a number of the system's own range
    password: the password's hash, as the filter password_hash makes it
    update_password: always, or only on_create
    password_lock: lock or unlock the password
    remove: when absent, remove home directory and mail too
    force: when absent, also while processes of the user run
    non_unique: the number may be another user's too
    skeleton: a directory whose files a new home directory gets
    local: accepted for Ansible's sake
    umask: the umask with which a new home directory is made
    uid_min: the least number for a new user
    uid_max: the greatest number for a new user
    expires: when the account ends, in seconds since 1970; negative: never
    password_expire_max: days after which a password must be changed
    password_expire_min: days before which it may not be changed
    password_expire_warn: days of warning before it must be
    password_expire_account_disable: days after that, after which nobody logs in any more
    generate_ssh_key: make a key for ssh, unless the file is there
    ssh_key_file: its file, from the home directory; default .ssh/id_ and the type
    ssh_key_type: rsa, ed25519 or another of ssh-keygen's
    ssh_key_bits: its length; default ssh-keygen's
    ssh_key_comment: its comment; default names the host
    """
    extras = Extras(
        ages({
            "expires": expires, "password_expire_max": password_expire_max, "password_expire_min": password_expire_min,
            "password_expire_warn": password_expire_warn,
            "password_expire_account_disable": password_expire_account_disable,
        }),
        Key(ssh_key_file, ssh_key_type, ssh_key_bits, ssh_key_comment) if generate_ssh_key else None,
    )  # fmt: skip

    def more(outcome: Outcome) -> Outcome:
        return extras.added(on, lambda table: _entry(on, table, name), name, outcome)

    if password is not None:
        scope.keep_secret(password)
    there = _entry(on, "passwd", name)
    values: dict[str, Any] = {"name": name, "state": state}
    if state == "absent":
        if there is None:
            return ok(values)
        flags = (["-r"] if remove else []) + (["-f"] if force else [])
        _demand(on, f"cannot remove the user {name}", "userdel", *flags, "--", name)
        return changed(values | {"remove": remove}, diffs=(Diff(f"user {name}", f"uid {there[2]}\n", ""),))
    if there is None:
        flags = _flags({"-u": uid, "-g": group, "-c": comment, "-d": home, "-s": shell, "-k": skeleton})
        flags += ["-G", ",".join(groups)] if groups else []
        flags += ["-m"] if create_home else ["-M"]
        flags += (["-r"] if system else []) + (["-o"] if non_unique else [])
        flags += _limits({"UMASK": umask, "UID_MIN": uid_min, "UID_MAX": uid_max})
        _demand(on, f"cannot make the user {name}", "useradd", *flags, "--", name)
        _set_password(on, name, password, password_lock)
        return more(changed(values | _described(on, name), diffs=(Diff(f"user {name}", "", "(new)\n"),)))
    values |= {"append": append, "move_home": move_home}
    wishes = _Wishes()
    wishes.wish("-u", "uid", there[2], None if uid is None else str(uid))
    wishes.wish("-g", "group", there[3], None if group is None else _gid(on, group))
    wishes.wish("-c", "comment", there[4], comment)
    wishes.wish("-d", "home", there[5], home)
    wishes.wish("-s", "shell", there[6], shell)
    if groups is not None:
        now = _groups(on, name)
        wanted = sorted({*now, *groups} if append else set(groups))
        wishes.wish("-G", "groups", ",".join(now), ",".join(wanted))
    secret = _password_differs(on, name, password if update_password == "always" else None, password_lock)
    if not wishes.options and not secret:
        return more(ok(values | _described(on, name)))
    if wishes.options:
        flags = wishes.options + (["-m"] if move_home and "-d" in wishes.options else [])
        flags += ["-o"] if non_unique and "-u" in wishes.options else []
        _demand(on, f"cannot change the user {name}", "usermod", *flags, "--", name)
    if secret:
        _set_password(on, name, password if update_password == "always" else None, password_lock)
        wishes.before.append("password (the former)")
        wishes.after.append("password (another)")
    diff = Diff(f"user {name}", "\n".join(wishes.before) + "\n", "\n".join(wishes.after) + "\n")
    return more(changed(values | _described(on, name), diffs=(diff,)))


@tool("authorized_key", access=Access.ADMIN, changes=True, aliases={"username": "user"})
def authorized_key(
    on: Transport,
    *,
    user: str,
    key: str,
    state: State = "present",
    path: str | None = None,
    manage_dir: bool = True,
    exclusive: bool = False,
    key_options: str | None = None,
    comment: str | None = None,
    follow: bool = False,
) -> Outcome:
    """Have a public key among those that may log in as a user, or not.

    user: the user
    key: the key, or several, a line each
    state: present or absent
    path: the file, instead of the user's .ssh/authorized_keys
    manage_dir: make the directory and set its owner and mode
    exclusive: remove every other key
    key_options: what the key may do, as sshd reads it before a key
    comment: instead of the key's own comment
    follow: accepted for Ansible's sake
    """
    wanted = [_key(line, key_options, comment) for line in key.splitlines() if line.strip() and line.strip()[0] != "#"]
    if not wanted:
        raise StepError("authorized_key was given no key", remedy="Give the text of a public key.")
    entry = _entry(on, "passwd", user)
    if entry is None:
        if on.dry:  # a step before may be about to make the user
            return changed({"user": user, "state": state}, "the user is not there yet")
        raise NotFound(f"there is no user {user}", remedy="Make the user first.")
    file = host_path(on, path) if path is not None else posixpath.join(entry[5], ".ssh", "authorized_keys")
    content = (read_if_there(on, file) or b"").decode("utf-8", "replace")
    lines = content.splitlines()
    blobs = {_blob(line): number for number, line in enumerate(lines) if _blob(line)}
    if state == "absent":
        gone = {_blob(each) for each in wanted}
        lines = [line for line in lines if _blob(line) not in gone]
    else:
        for line in wanted:
            if _blob(line) in blobs:
                lines[blobs[_blob(line)]] = line
            else:
                lines.append(line)
        if exclusive:
            mine = {_blob(each) for each in wanted}
            lines = [line for line in lines if not _blob(line) or _blob(line) in mine]
    values = {"user": user, "keyfile": file, "state": state, "exclusive": exclusive, "key": key}
    if state == "absent" and not content:
        return ok(values)
    owned = Attributes(None, entry[2], entry[3])
    altered = False
    diffs: tuple[Diff, ...] = ()
    if manage_dir:
        folder = posixpath.dirname(file)
        altered = on.mkdir(folder, 0o700)
        settled, diffs = settle(on, folder, Attributes("0700", owned.owner, owned.group))
        altered |= settled
    new = "".join(line + "\n" for line in lines)
    placed = place(on, file, new.encode(), Attributes("0600", owned.owner, owned.group))
    return (changed if altered or placed.changed else ok)(values, diffs=(*diffs, *placed.diffs))


# --- how -------------------------------------------------------------------------------------------


def _entry(on: Transport, table: str, name: str) -> list[str] | None:
    """The fields of a user's or group's entry."""
    found = on.run(Command(("getent", table, name), changes=False))
    if not found.ok or not found.text:
        return None
    return found.text.splitlines()[0].split(":")


def _demand(on: Transport, message: str, *argv: str) -> None:
    on.demand(Command(argv), message, "Look at what it said; this needs root's rights (become).")


def _flags(options: dict[str, str | int | None]) -> list[str]:
    return [word for flag, value in options.items() if value is not None for word in (flag, str(value))]


def _limits(settings: dict[str, str | int | None]) -> list[str]:
    """Settings of login.defs for one call."""
    return [word for name, value in settings.items() if value is not None for word in ("-K", f"{name}={value}")]


def _gid(on: Transport, group: str) -> str:
    entry = _entry(on, "group", group)
    if entry is None:
        raise NotFound(f"there is no group {group}", remedy="Make the group first.")
    return entry[2]


def _groups(on: Transport, name: str) -> list[str]:
    """The further groups of a user, sorted; the main one is not among them."""
    listed = on.demand(Command(("getent", "group"), changes=False)).stdout.decode("utf-8", "replace")
    entries = (line.split(":") for line in listed.splitlines())
    return sorted(fields[0] for fields in entries if len(fields) > 3 and name in fields[3].split(","))


def _described(on: Transport, name: str) -> dict[str, Any]:
    entry = _entry(on, "passwd", name)
    if entry is None:
        return {}
    return {
        "uid": int(entry[2]),
        "group": int(entry[3]),
        "comment": entry[4],
        "home": entry[5],
        "shell": entry[6],
        "groups": ",".join(_groups(on, name)),
    }


def _password_differs(on: Transport, name: str, password: str | None, lock: bool | None) -> bool:
    if password is None and lock is None:
        return False
    entry = _entry(on, "shadow", name)
    if entry is None:
        raise StepError(f"cannot read the password of {name}", remedy="This needs root's rights (become).")
    locked = entry[1].startswith("!")
    if lock is not None and lock != locked:
        return True
    return password is not None and entry[1].lstrip("!") != password.lstrip("!")


def _set_password(on: Transport, name: str, password: str | None, lock: bool | None) -> None:
    """Through standard input, so that not even a hash is in a process list."""
    if password is not None:
        line = f"{name}:{password}\n".encode()
        asked = Command(("chpasswd", "-e"), stdin=line, secrets=(password,))
        on.demand(asked, f"cannot set the password of {name}", "This needs root's rights (become).")
    if lock is not None:
        _demand(on, f"cannot lock or unlock {name}", "usermod", "-L" if lock else "-U", "--", name)


def _key(line: str, options: str | None, comment: str | None) -> str:
    """One line of authorized_keys, options and comment as asked for."""
    found = KEY_TYPES.search(line)
    if found is None:
        raise StepError(f"{line[:40]!r} is not a public key", remedy="Give a line as in id_ed25519.pub.")
    try:
        base64.b64decode(found[2], validate=True)
    except binascii.Error:
        raise StepError(f"the key {found[2][:20]}… is broken", remedy="Copy the whole line.") from None
    before = options if options is not None else line[: found.start()].strip()
    after = comment if comment is not None else line[found.end() :].strip()
    return " ".join(part for part in (before, found[1], found[2], after) if part)


def _blob(line: str) -> str:
    """What tells keys apart: the key itself; "" for other lines."""
    found = KEY_TYPES.search(line)
    return "" if found is None or line.lstrip().startswith("#") else found[2]
