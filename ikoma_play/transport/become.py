"""This machine as another of its users: directly where we are root, else through sudo, su or doas.

What is started there first says a mark on standard error. Whatever comes before the mark is between
us and sudo or su (a prompt is answered with the password; doas has it on a terminal of its own),
whatever comes after it is the command's.
Settings of the command (environment, directory) follow on standard input, so that no secret is in a
process list.
"""

from __future__ import annotations

import os
import pwd
import shlex
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import cached_property

from ..errors import NotFound, StepError
from ..model import Command, Result
from .asking_terminal import AskingTerminal
from .base import Transport
from .process import Process, cannot_start, passing_on
from .shelled import SOMEWHERE, ShelledTransport

METHODS = ("sudo", "su", "doas")
# The first line of standard input is a line of shell that sets the command's environment and directory.
OPENING = f'{SOMEWHERE}; printf %s "$0" >&2; IFS= read -r ikoma; eval "$ikoma"; unset ikoma; exec "$@"'
KEEPING_OUTPUT = 'umask 077; "$@" > "$0"; code=$?; sync -- "$0"; exit "$code"'
KILLING = 10.0  # seconds that killing as the other user may take
NO_DIRECTORY = 96  # the exit code of a command whose directory is not there
PASSED_ON = ("PATH", "LANG", "LC_ALL", "TERM", "TZ")


def become_locally(on: Transport, user: str, method: str, password: str | None, flags: str) -> Transport:
    """The road to this machine as `user`. Raises StepError, NotFound."""
    if method not in METHODS:
        raise StepError(f"cannot become {user} by {method}", remedy=f"Use become_method {', '.join(METHODS)}.")
    try:
        entry = pwd.getpwnam(user)
    except KeyError:
        raise NotFound(f"cannot become {user}: there is no such user", remedy="Check become_user.") from None
    if entry.pw_uid == os.geteuid():
        return on
    if os.geteuid() == 0:
        return RootAs(on, entry)
    return LocalAs(on, user, method, password, flags)


class _AsUser(ShelledTransport):
    """What both ways to be another user share."""

    def __init__(self, base: Transport, user: str) -> None:
        self.base = base
        self.host = base.host
        self.local = base.local
        self.progress = base.progress
        self.user = user

    @contextmanager
    def tunnel(self, address: str, port: int) -> Iterator[tuple[str, int]]:
        yield address, port

    def close(self) -> None:
        pass

    def become(self, user: str, method: str = "sudo", password: str | None = None, flags: str = "") -> Transport:
        return self.base.become(user, method, password, flags)


class RootAs(_AsUser):
    """Root's way: the child takes the user's identity before it runs."""

    def __init__(self, base: Transport, entry: pwd.struct_passwd) -> None:
        super().__init__(base, entry.pw_name)
        self._identity: dict[str, object] = {
            "user": entry.pw_uid,
            "group": entry.pw_gid,
            "extra_groups": os.getgrouplist(entry.pw_name, entry.pw_gid),
        }
        # Root's environment may hold what the user is not to see.
        self._env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
        shell = entry.pw_shell if os.access(entry.pw_shell, os.X_OK) else "/bin/sh"
        self._env |= {"HOME": entry.pw_dir, "USER": self.user, "LOGNAME": self.user, "SHELL": shell}

    def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
        argv = _argv(command)
        try:
            process = Process(
                argv,
                cwd=command.cwd or self._place,
                env={**self._env, **command.env},
                piped=command.stdin is not None,
                identity=self._identity,
            )
        except OSError as error:
            return cannot_start(command.argv, command.cwd, error)
        if on_output is not None:
            process.on_chunk = passing_on(on_output)
        if command.stdin is not None:
            process.feed(command.stdin)
            process.finish_input()
        return process.wait(command.timeout)

    @cached_property
    def _place(self) -> str:
        """The directory that commands begin in: ours, or one that the user may enter."""
        asked = Process(("/bin/sh", "-c", f"{SOMEWHERE}; pwd"), env=self._env, identity=self._identity).wait(None)
        return asked.text or "/"


class LocalAs(_AsUser):
    """Everybody else's way: sudo, su or doas."""

    def __init__(self, base: Transport, user: str, method: str, password: str | None, flags: str) -> None:
        super().__init__(base, user)
        self._method = method
        self._password = password
        self._flags = [flag for flag in shlex.split(flags) if flag not in ("-n", "-S")]

    def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
        with ExitStack() as open_for_it:
            return self._run(command, on_output, open_for_it)

    def _run(self, command: Command, on_output: Callable[[bytes], None] | None, open_for_it: ExitStack) -> Result:
        opening = _Opening(self, command, on_output)
        argv = self._wrapped(command, opening.mark, opening.prompt)
        if self._method == "doas" and self._password is not None and _is_there("doas"):
            argv = open_for_it.enter_context(AskingTerminal(self._password)).before(argv)
        try:
            process = opening.process = Process(argv, env=self._own_environment(), piped=True)
        except OSError:
            raise StepError(
                f"cannot become {self.user}: this machine has no {self._method}", remedy=f"Install {self._method}."
            ) from None
        process.on_chunk = opening.take
        result = process.wait(command.timeout, lambda number: self._signal(process, number))
        if not opening.opened:
            raise self._refused(opening.before)
        if result.exit_code == NO_DIRECTORY and opening.directory_mark in result.stderr:
            raise NotFound(
                f"cannot run {command.argv[0]} in {command.cwd}: no such directory, or not for {self.user}",
                remedy=f"Make the directory {command.cwd} first, or name another.",
            )
        return result

    def _wrapped(self, command: Command, mark: str, prompt: str) -> tuple[str, ...]:
        inner = (OPENING, mark, *_argv(command))
        if self._method == "su":
            return ("su", *self._flags, "-s", "/bin/sh", "-c", OPENING, "--", self.user, *inner[1:])
        if self._method == "doas":
            silent = () if self._password is not None else ("-n",)
            return ("doas", *self._flags, *silent, "-u", self.user, "--", "/bin/sh", "-c", *inner)
        asking = ("-n",) if self._password is None else ("-S", "-p", prompt)
        return ("sudo", *(self._flags or ["-H"]), *asking, "-u", self.user, "--", "/bin/sh", "-c", *inner)

    def _own_environment(self) -> Mapping[str, str]:
        """su's prompt is in the language of its environment."""
        return {**os.environ, "LC_ALL": "C"} if self._method == "su" else os.environ

    def _signal(self, process: Process, number: signal.Signals) -> None:
        """sudo hands on what may be refused; what may not is sent by the other user, to its own processes too."""
        try:
            if number is not signal.SIGKILL:
                os.killpg(process.pid, number)
                return
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        except PermissionError:
            pass
        with suppress(StepError):  # sudo may refuse by now
            self.run(Command(("kill", f"-{number.value}", "--", f"-{process.pid}"), timeout=KILLING))
        with suppress(PermissionError):
            process.signal_group(number)

    def _refused(self, said: bytes) -> StepError:
        text = said.decode("utf-8", "replace").strip()
        message = f"cannot become {self.user} by {self._method}"
        if self._password is None:
            remedy = "Give the password (ansible_become_password), or allow it without one."
        else:
            remedy = "Check the password, and that this user may do so."
        return StepError(message, remedy=remedy, evidence=text)


class _Opening:
    """What is said before the command itself runs: the prompt is answered, the mark lets the command's input flow."""

    process: Process

    def __init__(self, on: LocalAs, command: Command, on_output: Callable[[bytes], None] | None) -> None:
        self.mark = f"ikoma-{os.urandom(8).hex()}-runs;"
        self.prompt = f"ikoma-{os.urandom(8).hex()}-asks:"
        self.directory_mark = f"ikoma-{os.urandom(8).hex()}-cd".encode()
        self.opened = False
        self.before = b""
        self._asked = b"Password: " if on._method == "su" else self.prompt.encode()
        self._on = on
        self._command = command
        self._answered = False
        self._on_output = on_output

    def take(self, stream: int, data: bytes) -> bytes:
        if stream == 2 and not self.opened:
            data = self._listen(data)
        if data and self.opened and self._on_output is not None:
            self._on_output(data)
        return data

    def _listen(self, data: bytes) -> bytes:
        self.before += data
        said, mark, rest = self.before.partition(self.mark.encode())
        if mark:
            self.opened, self.before = True, said
            self.process.feed(self._settings().encode())
            if self._command.stdin is not None:
                self.process.feed(self._command.stdin)
            self.process.finish_input()
            return rest
        if self._asked in self.before:
            self.before = self.before.replace(self._asked, b"")
            password = self._on._password
            if self._answered or password is None:
                self.process.finish_input()  # asked again: it was wrong, and more attempts may lock the account
            else:
                self._answered = True
                self.process.feed(password.encode() + b"\n")
        return b""

    def _settings(self) -> str:
        """One line of shell: the environment and the directory."""
        parts = ["unset LC_ALL"] if self._on._method == "su" else []
        if self._on._method == "su" and "LC_ALL" in os.environ:
            parts = [f"export LC_ALL={shlex.quote(os.environ['LC_ALL'])}"]
        parts += [f"{_assigned(name, value)}; export {name}" for name, value in self._command.env.items()]
        if self._command.cwd is not None:
            failed = f"{{ printf %s {self.directory_mark.decode()} >&2; exit {NO_DIRECTORY}; }}"
            parts.append(f'{_assigned("ikoma", self._command.cwd)}; cd -- "$ikoma" 2>/dev/null || {failed}')
        return "; ".join(parts) + "\n"


def _argv(command: Command) -> tuple[str, ...]:
    if command.stdout_to is None:
        return command.argv
    return ("/bin/sh", "-c", KEEPING_OUTPUT, command.stdout_to, *command.argv)


def _assigned(name: str, value: str) -> str:
    """Shell that sets a variable, on one line whatever is in the value."""
    if "\n" not in value:
        return f"{name}={shlex.quote(value)}"
    escaped = value.replace("\\", "\\\\").replace("\n", "\\n")
    # $( ) takes newlines off the end: the dot keeps them, and goes after.
    return f"{name}=$(printf %b. {shlex.quote(escaped)}); {name}=${{{name}%.}}"


def _is_there(program: str) -> bool:
    import shutil

    return shutil.which(program) is not None
