"""How one command travels through a shell that stays open: one piece of shell out, marked streams back.

The shell reads a whole compound command before it runs any of it, so nothing that the command does to
the shell's standard input is taken for shell. Each frame has a mark of its own, 128 random bits, that
ends both streams; what a command prints cannot contain it but by guessing.
"""

from __future__ import annotations

import re
import shlex
from abc import ABC, abstractmethod
from collections.abc import Mapping
from secrets import token_hex

from ..errors import StepError
from ..model import Command

SEPARATOR = b"\x1e"
INLINE = 16 * 2**10  # bytes of standard input that travel inside the frame; a pipe holds four times that
NO_DIRECTORY = 96
NO_FILE = 97
_ESCAPED = re.compile(rb"[^\x20-\x26\x28-\x5b\x5d-\x7e\n\t]")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")

# Once a shell: a session of its own for each command (setsid), and a pipe without a name that tells when
# something that a command left behind still has its standard streams: its write end is descriptor 9 of
# the commands, and reading from descriptor 8 ends only when nobody has it open. Most shells make such a pipe
# for a here-document; an old bash makes a file. What the shell itself has to say (that a command was killed)
# is no output of a command: its standard error goes nowhere, and the commands' is descriptor 6. A guard
# watches the SSH server's process of this connection: when that is no more (the runner was killed, the
# network cut), what still runs here is ended; it goes when the shell does. Where it can it waits for a pipe that
# nobody writes to, which needs no program. Each program is in a process group of its own: by setsid (ikoma_s), or by
# job control where the shell has that without a terminal, which starts no program (ikoma_b, ikoma_run).
PRELUDE = """\
ikoma_s=; for ikoma_t in /usr/bin /bin /usr/local/bin /usr/sbin; do
if [ -x "$ikoma_t/setsid" ]; then ikoma_s=$ikoma_t/setsid; break; fi; done
exec 6>&2 2>/dev/null 8<<E
a pipe
E
read -r ikoma_t <&8; ikoma_o=/dev/null; if [ ! -p "/proc/$$/fd/8" ]; then
exec 8</dev/null; for ikoma_t in /dev/shm /tmp /var/tmp "$HOME"; do
ikoma_f=$ikoma_t/.ikoma.{mark}; if mkfifo -m 600 "$ikoma_f"; then
exec 7<>"$ikoma_f" 8<"$ikoma_f" 7<&-; rm -f "$ikoma_f"; break; fi; done; fi
if [ -p "/proc/$$/fd/8" ] && true 9>"/proc/$$/fd/8"; then ikoma_o=/proc/$$/fd/8; fi
if [ -r "/proc/$PPID/stat" ]; then ( exec >/dev/null 6>&- 8<&- <<E
a pipe
E
read -r ikoma_t; ikoma_pause() {{ sleep {seconds}; }}; if [ "${{BASH_VERSION-}}" ]; then
ikoma_pause() {{ read -t {seconds} <>/proc/self/fd/0; [ $? -gt 128 ] || sleep {seconds}; }}; fi
ikoma_p=$PPID; ikoma_q=$PPID
for ikoma_i in 1 2 3 4; do read -r ikoma_a ikoma_n ikoma_b ikoma_t ikoma_r < "/proc/$ikoma_q/stat" || break
case $ikoma_n in *sshd*|*dropbear*) ikoma_p=$ikoma_q; break;; esac; ikoma_q=$ikoma_t; done
while ikoma_pause && [ -d "/proc/$$" ] && [ -d "/proc/$ikoma_p" ]; do :; done
[ -d "/proc/$$" ] || exit; read -r ikoma_i ikoma_r < /proc/self/stat
{ending}
kill -KILL "$$" ) & ikoma_g=$!; trap 'kill "$ikoma_g"' EXIT; fi
ikoma_told() {{ printf '\\036%s;' "$1" >&6; printf '\\036%s%s;' "$1" "$ikoma_c"; }}
ikoma_ready() {{ while read -r ikoma_t <&8; do :; done; printf '\\036%sready\\n' "$1"; }}
ikoma_end() {{ ikoma_told "$1"; ikoma_ready "$1"; }}
ikoma_b=$ikoma_s
ikoma_run() {{ ( exec 8<&- 6>&-; ikoma_do ) </dev/null 2>&6 9>$ikoma_o; }}
if [ "${{BASH_VERSION-}}" ]; then unset SHLVL; set -m; case $- in *m*) ikoma_b=--
ikoma_run() {{ set -m; ( exec 8<&- 6>&-; ikoma_do ) </dev/null 2>&6 9>$ikoma_o & set +m; wait "$!"; }};; esac; set +m
ikoma_end() {{ if read -t 0 <&8; then printf '\\036%s;' "$1" >&6
printf '\\036%s%s;\\036%sready\\n' "$1" "$ikoma_c" "$1"; else ikoma_told "$1"; ikoma_ready "$1"; fi; }}; fi
printf '\\036{mark};' >&6; printf '\\036{mark}%s\\n' "$$"
"""
GUARDING = 3  # seconds after which the guard looks again

# Ends what runs under the shell $p, but for its child $me: its children's sessions first by TERM, then by KILL.
# A process that is killed goes on until it has its next turn: it is waited for, but not for ever, as an orphan
# that nobody collects never goes.
_ENDING = """
children() {
  if [ -r "/proc/$p/task/$p/children" ]; then read -r found < "/proc/$p/task/$p/children"; echo "$found"; return; fi
  ps -A -o pid= -o ppid= 2>/dev/null | while read -r one parent; do [ "$parent" = "$p" ] && echo "$one"; done
}
c=; for x in $(children); do [ "$x" = "$me" ] || c="$c $x"; done
there() { for x in $c; do kill -0 "-$x" 2>/dev/null && return; done; return 1; }
for x in $c; do kill -TERM "-$x" 2>/dev/null || kill -TERM "$x" 2>/dev/null; done
gone() { i=0; while [ "$i" -lt "$1" ] && there; do sleep 0.1 2>/dev/null || sleep 1; i=$((i + 1)); done; }
gone 10
for x in $c; do kill -KILL "-$x" 2>/dev/null || kill -KILL "$x" 2>/dev/null; done
gone 3
"""
KILLING = f"p=$1 me=\n{_ENDING}"


def prelude(mark: str) -> bytes:
    """The shell's first words; it answers with `mark` on both streams, and with its process id."""
    ending = f"p=$$ me=$ikoma_i\n{_ENDING.strip()}"
    return PRELUDE.format(mark=mark, seconds=GUARDING, ending=ending).encode()


class Question(ABC):
    """What a shell is asked, and the marks that its answer ends with."""

    streamed = False  # whether standard input follows after the shell has said `go`, and the shell ends with it

    def __init__(self) -> None:
        self.nonce = token_hex(16)
        self.mark = SEPARATOR + self.nonce.encode()
        self.go = self.mark + b"go\n"
        self.ready = self.mark + b"ready\n"

    @abstractmethod
    def text(self) -> bytes:
        """What is sent."""


class Frame(Question):
    """One command, or a script with the command's argv as arguments, made ready for the shell.

    `alone` says that a program runs and nothing else, for which job control is quickest."""

    def __init__(self, command: Command, streamed: bool = False, script: str = "") -> None:
        super().__init__()
        self.streamed = streamed
        self.alone = not script and not streamed and command.stdin is None
        self._command, self._script = command, script

    def text(self) -> bytes:
        """The command in a subshell, its exit code, the marks."""
        command = self._command
        body = _body(command, self.nonce, self._script, "$ikoma_b" if self.alone else "$ikoma_s")
        running = f"( exec 8<&- 6>&-; {body} ) 2>&6 9>$ikoma_o".encode("utf-8", "surrogateescape")
        opening, ending = "", f"ikoma_end {self.nonce}"
        if self.streamed:
            opening, ending = f"printf '\\036{self.nonce}go\\n'; ", f"ikoma_told {self.nonce}; exit"
        elif self.alone:
            running = f"ikoma_do() {{ {body}; }}; ikoma_run".encode("utf-8", "surrogateescape")
        elif command.stdin is None:
            running += b" </dev/null"
        else:
            assert isinstance(command.stdin, bytes)
            running = b"printf %b '" + escaped(command.stdin) + b"' | " + running
        after = "" if command.stdout_to is None else f"sync -- {quoted(command.stdout_to)} 2>/dev/null; "
        tail = f"; ikoma_c=$?; {after}{ending}; }}\n"
        return b"{ " + opening.encode() + running + tail.encode("utf-8", "surrogateescape")


def _body(command: Command, nonce: str, script: str, by: str) -> str:
    """What runs in the subshell: the command takes its place, started `by` something, or it runs the script with the
    command's arguments."""
    parts = []
    if command.cwd is not None:
        told = f"printf '\\036{nonce}cd;' >&2; exit {NO_DIRECTORY}"
        parts.append(f"cd -- {quoted(_plain(command.cwd))} 2>/dev/null || {{ {told}; }}")
    if command.stdout_to is not None:
        file = quoted(_plain(command.stdout_to))
        told = f"printf '\\036{nonce}to;' >&2; exit {NO_FILE}"
        parts.append(f"( umask 077; : > {file} ) || {{ {told}; }}; exec > {file}")
    parts += exports(command.env)
    words = " ".join(quoted(word) for word in command.argv)
    parts.append(f"set -- {words}\n{script.strip()}\n" if script else f"exec {by} {words}")
    return "; ".join(parts)


def exports(env: Mapping[str, str]) -> list[str]:
    """Shell that sets the environment. Raises StepError for a name that no shell can set."""
    wrong = next((name for name in env if not _NAME.fullmatch(name)), None)
    if wrong is not None:
        raise StepError(
            f"{wrong!r} cannot be set in the environment of a command",
            remedy="Names of variables have letters, digits and underscores, and begin with no digit.",
        )
    return [f"export {name}={quoted(value)}" for name, value in env.items()]


def quoted(word: str) -> str:
    """One word for a shell. Raises StepError for what no command can be given."""
    if "\0" in word:
        raise StepError("a zero byte cannot be part of a command", remedy="Hand such data over on standard input.")
    return shlex.quote(word)


def _plain(path: str) -> str:
    """A path that `cd` and redirections take for nothing else: `cd -` goes back, and CDPATH is searched."""
    return path if path.startswith(("/", "./", "../")) else f"./{path}"


def escaped(data: bytes) -> bytes:
    """Bytes as printf's %b writes them again, inside single quotes."""
    return _ESCAPED.sub(lambda found: b"\\0%03o" % found[0][0], data)


class Scanner:
    """Takes a stream apart: what belongs to the command, and what follows its end mark.

    `feed` gives back what surely belongs to the command; what may be the beginning of the mark waits
    for more. `tail` is what came after the mark, None before."""

    def __init__(self, mark: bytes) -> None:
        self._mark = mark
        self._held = b""
        self.tail: bytes | None = None

    def feed(self, data: bytes) -> bytes:
        if self.tail is not None:
            self.tail += data
            return b""
        data = self._held + data
        self._held = b""
        at = data.find(self._mark)
        if at >= 0:
            self.tail = data[at + len(self._mark) :]
            return data[:at]
        start = data.rfind(SEPARATOR, max(0, len(data) - len(self._mark)))
        if start >= 0 and self._mark.startswith(data[start:]):
            self._held = data[start:]
            return data[:start]
        return data

    def rest(self) -> bytes:
        """What was held back and turned out to be no mark."""
        held, self._held = self._held, b""
        return held
