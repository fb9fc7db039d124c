"""The way to another user that asks for the password on a terminal, as doas does, and on nothing else.

The terminal is one channel, and only the question and its answer go through it. The shell's own streams are those of
another channel, which stay apart and as they are: three pipes with names lead from one to the other, and their names
are gone once both sides have them open.
"""

from __future__ import annotations

import shlex
import time
from secrets import token_hex
from typing import TYPE_CHECKING

from .asking_terminal import ASKS
from .shell import OutOfTime, Shell
from .ssh_identity import SHELL, Identity, refused, unanswered
from .ssh_inlet import NOTHING

if TYPE_CHECKING:
    from paramiko import Channel

LOOK = 0.02  # seconds between two looks at the terminal

# The channel of the shell's streams: it ends with what it leads to.
STREAMS = """\
umask 077; mkdir {place} && mkfifo {place}/in {place}/out {place}/err || exit; printf {made}
exec 3<&0; cat <&3 >{place}/in & i=$!; cat {place}/out & o=$!; cat {place}/err >&2 & e=$!; wait $o $e
kill $i 2>/dev/null"""

# The channel with the terminal. Somebody has to keep it open, or the SSH server takes it for closed: descriptor 9.
TERMINAL = "exec 9<&0 <{place}/in >{place}/out 2>{place}/err; rm -rf {place}; LC_ALL=C {become}"


class Door:
    """What is needed to become another user by way of a terminal."""

    def __init__(self, identity: Identity, mark: str) -> None:
        self.made = f"ikoma-{token_hex(12)}-made"
        self._identity = identity
        self._mark = mark.encode()
        place = f"/tmp/.ikoma.{token_hex(16)}"
        become = shlex.join(["doas", *shlex.split(identity.flags), "-u", identity.user, "--", SHELL, "-c",
                             f"printf {mark}; exec {SHELL}"])  # fmt: skip
        self.streams = _by_sh(STREAMS.format(place=place, made=self.made))
        self.terminal = _by_sh(TERMINAL.format(place=place, become=become))

    def await_streams(self, shell: Shell, seconds: float) -> None:
        """Wait until the pipes are there. Raises StepError."""
        out, err, until = b"", b"", time.monotonic() + seconds
        while self.made.encode() not in out:
            try:
                more = shell.take(until)
            except OutOfTime:
                raise unanswered(self._identity, seconds, out + err) from None
            if more == NOTHING:
                raise refused(self._identity, out + err)
            out, err = out + more[0], err + more[1]
        shell.unread((out.partition(self.made.encode())[2], b""))

    def pass_through(self, shell: Shell, terminal: Channel, seconds: float) -> None:
        """Answer the question until the other user's shell is there. Raises StepError."""
        asked = out = err = b""
        answered = False
        until = time.monotonic() + seconds
        while self._mark not in out:
            if terminal.recv_ready():
                asked += terminal.recv(4096)
                if ASKS.search(asked):
                    if answered:  # more attempts may lock the account
                        raise refused(self._identity, err + asked)
                    answered, asked = True, b""
                    assert self._identity.password is not None
                    terminal.sendall(self._identity.password.encode() + b"\n")
            try:
                more = shell.take(time.monotonic() + LOOK)
            except OutOfTime:
                if time.monotonic() > until:
                    raise unanswered(self._identity, seconds, err + asked) from None
                continue
            if more == NOTHING:
                raise refused(self._identity, err + asked)
            out, err = out + more[0], err + more[1]
        shell.unread((out.partition(self._mark)[2], b""))


def _by_sh(script: str) -> str:
    """A line that any login shell hands on to sh."""
    return shlex.join(["exec", SHELL, "-c", script])
