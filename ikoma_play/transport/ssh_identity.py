"""Who the commands of a host run as: the user who logged in, or another one by sudo, su or doas."""

from __future__ import annotations

import shlex
import time
from secrets import token_hex

from msgspec import Struct

from ..errors import StepError
from .shell import OutOfTime, Shell, ShellGone
from .shelled import SOMEWHERE
from .ssh_inlet import NOTHING

METHODS = ("sudo", "su", "doas")
SHELL = "/bin/sh"
SCRIPTS = f"exec {SHELL}"
# For programs: bash gives each a process group by its job control, for which other shells need a terminal. For scripts
# the host's sh is mostly quicker. Every login shell understands the line.
PROGRAMS = f"test -x /bin/bash && exec /bin/bash --posix --norc; {SCRIPTS}"


class Identity(Struct, frozen=True):
    """The user that a shell belongs to; `user` empty: the one who logged in."""

    user: str = ""
    method: str = "sudo"
    password: str | None = None
    flags: str = ""

    def __repr__(self) -> str:  # without the password
        return f"Identity({self.user!r}, {self.method!r})"

    @property
    def by_terminal(self) -> bool:
        """Whether the password is asked for on a terminal and nowhere else."""
        return self.method == "doas" and self.password is not None

    def line(self, mark: str, prompt: str, start: str = SCRIPTS) -> str:
        """What the login shell is asked to run before `start`; no secret is in it. Raises StepError."""
        if not self.user:
            return start
        user = shlex.quote(self.user)
        flags = [flag for flag in _flags(self.flags) if flag not in ("-n", "-S")]
        first = f"{SOMEWHERE}; printf {mark}; {start}"
        if self.method == "sudo":
            asking = ["-n"] if self.password is None else ["-S", "-p", prompt]
            return shlex.join(["exec", "sudo", *(flags or ["-H"]), *asking, "-u", self.user, "--", SHELL, "-c", first])
        if self.method == "su":
            # su asks in the language of its surroundings; the commands keep theirs.
            inner = shlex.quote(f"unset LC_ALL; {first}")
            return f"LC_ALL=C exec su {shlex.join(flags)} -s {SHELL} -c {inner} -- {user}"
        return shlex.join(["exec", "doas", *flags, "-n", "-u", self.user, "--", SHELL, "-c", first])


def become_of(user: str, method: str, password: str | None, flags: str) -> Identity:
    """Raises StepError for what cannot be."""
    if method not in METHODS:
        raise StepError(f"cannot become {user} by {method}", remedy=f"Use become_method {', '.join(METHODS)}.")
    if not user or user.startswith("-"):
        raise StepError(f"{user!r} is not the name of a user", remedy="Check become_user.")
    return Identity(user, method, password, flags)


def pass_the_door(shell: Shell, identity: Identity, mark: str, prompt: str, seconds: float) -> None:
    """Answer sudo's or su's question, until the other user's shell says `mark`. Raises StepError."""
    asked_by = b"Password: " if identity.method == "su" else prompt.encode()
    out = err = b""
    answered = False
    until = time.monotonic() + seconds
    try:
        while mark.encode() not in out:
            more = shell.take(until)
            if more == NOTHING:
                raise refused(identity, out + err)
            out, err = out + more[0], err + more[1]
            if asked_by in err:
                err = err.replace(asked_by, b"")
                if answered or identity.password is None:  # more attempts may lock the account
                    raise refused(identity, out + err)
                answered = True
                shell.send(identity.password.encode() + b"\n")
    except ShellGone:
        raise refused(identity, out + err) from None
    except OutOfTime:
        raise unanswered(identity, seconds, out + err) from None
    shell.unread((out.partition(mark.encode())[2], b""))


def new_mark(what: str) -> str:
    return f"ikoma-{token_hex(12)}-{what}"


def unanswered(identity: Identity, seconds: float, said: bytes) -> StepError:
    return StepError(
        f"cannot become {identity.user} by {identity.method}: no answer within {seconds:g} s",
        remedy="It may wait for a password in a way that is not known: allow it without one.",
        evidence=_text(said),
    )


def refused(identity: Identity, said: bytes) -> StepError:
    text = _text(said)
    message = f"cannot become {identity.user} by {identity.method}"
    if "not found" in text and identity.method in text:
        return StepError(
            f"{message}: the host has no {identity.method}", remedy=f"Install it there, or use {' or '.join(METHODS)}."
        )
    if identity.password is None:
        remedy = "Give the password (ansible_become_password), or allow it without one."
    else:
        remedy = "Check the password, and that this user may do so."
    return StepError(message, remedy=remedy, evidence=text)


def _text(said: bytes) -> str:
    return said.decode("utf-8", "replace").strip()


def _flags(line: str) -> list[str]:
    try:
        return shlex.split(line)
    except ValueError as error:
        raise StepError(f"the flags {line!r} cannot be read: {error}", remedy="Check become_flags.") from None
