"""Commands that a playbook spells out: command, shell, raw, script."""

from __future__ import annotations

import fnmatch
import posixpath
import re
import shlex
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from msgspec import Struct

from ...errors import CommandFailed, StepError
from ...model import Access, Command, Outcome, Result, Status, changed, ok
from ...tool import Scope, tool
from ...transport import background
from ...transport.base import Transport
from .placing import host_path
from .sources import decrypted, is_encrypted, one_file

_NOT_STARTED = {127: 2, 126: 13}  # a shell's word for a program that cannot be started → the error that Ansible returns
_PLAIN = re.compile(r"[ !#-&(-\[\]-~]*")  # words without quotes and backslashes, which need no parser
VARIABLE = re.compile(r"\$(?:(\w+)|\{([^}]*)\})")


class Call(Struct, frozen=True):
    """A command with the conditions that it runs under; `shown` is what `cmd` returns."""

    argv: tuple[str, ...]
    shown: str | list[str]
    chdir: str | None = None
    creates: str | None = None
    removes: str | None = None
    stdin: bytes | None = None
    strip: bool = True


@tool(
    "command", access=Access.ADMIN, changes=True, repeatable=False, free_form="cmd", detaches=True,
    aliases={"_raw_params": "cmd"},
)  # fmt: skip
def command(
    on: Transport,
    *,
    cmd: str | None = None,
    argv: list[str | int | float] | None = None,
    chdir: str | None = None,
    creates: str | None = None,
    removes: str | None = None,
    stdin: str | None = None,
    stdin_add_newline: bool = True,
    strip_empty_ends: bool = True,
    expand_argument_vars: bool = True,
) -> Outcome:
    """Run a command on the host, without a shell.

    cmd: the command as one text, split into words as a shell would
    argv: the command as a list of words
    chdir: the directory it runs in
    creates: a path or pattern; nothing runs where it is there already
    removes: a path or pattern; nothing runs where it is not there
    stdin: what it reads from standard input
    stdin_add_newline: end stdin with a newline
    strip_empty_ends: take empty lines off the ends of the output
    expand_argument_vars: replace $NAME and ~ in words by the host's own values
    """
    if (cmd is None) == (argv is None):
        raise StepError("command takes cmd or argv, one of them", remedy="Say what to run: command: cmd: …")
    words = [str(word) for word in argv] if argv is not None else _split(cmd or "")
    if not words:
        raise StepError("command was given nothing to run", remedy="Say what to run: command: cmd: …")
    if expand_argument_vars:
        words = _expanded(on, words)
    text = _input(stdin, stdin_add_newline)
    return carry_out(on, Call(tuple(words), words, chdir, creates, removes, text, strip_empty_ends))


@tool(
    "shell", access=Access.ADMIN, changes=True, repeatable=False, free_form="cmd", detaches=True,
    aliases={"_raw_params": "cmd"},
)  # fmt: skip
def shell(
    on: Transport,
    *,
    cmd: str,
    chdir: str | None = None,
    creates: str | None = None,
    removes: str | None = None,
    executable: str = "/bin/sh",
    stdin: str | None = None,
    stdin_add_newline: bool = True,
    strip_empty_ends: bool = True,
) -> Outcome:
    """Run a line or a script of the host's shell.

    cmd: what the shell runs
    chdir: the directory it runs in
    creates: a path or pattern; nothing runs where it is there already
    removes: a path or pattern; nothing runs where it is not there
    executable: another shell, by its path
    stdin: what it reads from standard input
    stdin_add_newline: end stdin with a newline
    strip_empty_ends: take empty lines off the ends of the output
    """
    text = _input(stdin, stdin_add_newline)
    return carry_out(on, Call((executable, "-c", cmd), cmd, chdir, creates, removes, text, strip_empty_ends))


@tool(
    "raw", access=Access.ADMIN, changes=True, repeatable=False, free_form="cmd", detaches=True,
    aliases={"_raw_params": "cmd"},
)  # fmt: skip
def raw(on: Transport, *, cmd: str, executable: str = "/bin/sh") -> Outcome:
    """Run a line of the host's shell and return what it printed, as it is.

    cmd: what the shell runs
    executable: another shell, by its path
    """
    return carry_out(on, Call((executable, "-c", cmd), cmd, strip=False))


@tool("script", access=Access.ADMIN, changes=True, repeatable=False, free_form="cmd", aliases={"_raw_params": "cmd"})
def script(
    on: Transport,
    *,
    scope: Scope,
    cmd: str,
    chdir: str | None = None,
    creates: str | None = None,
    removes: str | None = None,
    executable: str | None = None,
    decrypt: bool = True,
) -> Outcome:
    """Run a script of the runner on the host.

    cmd: the script's file and its arguments
    chdir: the directory it runs in
    creates: a path or pattern; nothing runs where it is there already
    removes: a path or pattern; nothing runs where it is not there
    executable: what runs the script, when not its own first line
    decrypt: run what the script holds, where it is encrypted with a vault
    """
    words = _split(cmd)
    if not words:
        raise StepError("script was given nothing to run", remedy="Name a script: script: cmd: …")
    source = one_file(scope.find("files", words[0]), "the script")
    call = Call((), cmd, chdir, creates, removes)
    if (early := decided_before(on, call)) is not None:
        return early
    folder = on.demand(Command(("mktemp", "-d"))).text
    try:
        there = posixpath.join(folder, source.name)
        on.write(there, decrypted(source) if decrypt and is_encrypted(source) else source.read_bytes(), 0o700)
        argv = (*shlex.split(executable or ""), there, *words[1:])
        return run(on, Call(argv, cmd, chdir, strip=False))
    finally:
        on.remove(folder)


def carry_out(on: Transport, call: Call) -> Outcome:
    """The command's outcome, whether it had to run or not. Raises CommandFailed, with the whole result."""
    early = decided_before(on, call)
    return run(on, call) if early is None else early


def decided_before(on: Transport, call: Call) -> Outcome | None:
    """The outcome where nothing is to be run: creates and removes say so, or this is a dry run."""
    for pattern, wanted, says in ((call.creates, False, "exists"), (call.removes, True, "does not exist")):
        if pattern is not None and _is_there(on, pattern, call.chdir) is not wanted:
            told = {"rc": 0, "stdout": f"skipped, since {pattern} {says}", "stderr": "", "cmd": call.shown}
            return ok(_with_lines(told), message=f"did not run, since {pattern} {says}")
    if not on.dry:
        return None
    told = _with_lines({"rc": 0, "stdout": "", "stderr": "", "cmd": call.shown})
    message = "would run if this were not a check"
    if call.creates is None and call.removes is None:
        return Outcome(Status.SKIPPED, told, message)
    return changed(told, message)


def run(on: Transport, call: Call) -> Outcome:
    started = datetime.now()
    directory = None if call.chdir is None else host_path(on, call.chdir)
    asked = Command(call.argv, stdin=call.stdin, cwd=directory)
    if on.detached is not None:
        return _detached(on, call, asked, on.detached)
    result = on.run(asked)
    told = _told(call, result, started)
    if result.exit_code in _NOT_STARTED and not isinstance(call.shown, str) and not _can_start(on, call, directory):
        told |= {"rc": _NOT_STARTED[result.exit_code], "cmd": shlex.join(call.argv), "changed": False}
    if not result.ok:
        raise CommandFailed(asked, result, _complaint(call, result), _remedy(call, result), returned=told)
    warnings = (f"{result.dropped} bytes of output were too much to keep",) if result.dropped else ()
    return changed(told, warnings=warnings)


def _detached(on: Transport, call: Call, asked: Command, limit: float) -> Outcome:
    """Start the command and leave it to itself: async with poll 0."""
    name = background.new_id()
    folder = background.start(on, name, asked, limit, {"cmd": call.shown, "strip": call.strip})
    return changed(background.promised(name, folder), message=f"goes on in the background as {name}")


def _can_start(on: Transport, call: Call, directory: str | None) -> bool:
    """Whether there is such a program: one that ends with 127 of its own accord has run."""
    look = ("sh", "-c", 'found=$(command -v -- "$1") && test -x "$found"', "sh", call.argv[0])
    return on.run(Command(look, cwd=directory, changes=False)).ok


def _told(call: Call, result: Result, started: datetime) -> dict[str, Any]:
    return returned(call.shown, call.strip, result, started)


def returned(shown: Any, strip: bool, result: Result, started: datetime) -> dict[str, Any]:
    """What Ansible's command tools return of a command that has run."""
    values: dict[str, Any] = {"rc": result.exit_code, "cmd": shown}
    for name, output in (("stdout", result.stdout), ("stderr", result.stderr)):
        text = output.decode("utf-8", "replace")
        values[name] = text.rstrip("\r\n") if strip else text
    length = timedelta(seconds=result.seconds)
    values |= {"start": str(started), "end": str(started + length), "delta": str(length)}
    return _with_lines(values)


def _with_lines(values: dict[str, Any]) -> dict[str, Any]:
    return values | {f"{name}_lines": values[name].splitlines() for name in ("stdout", "stderr")}


def _complaint(call: Call, result: Result) -> str:
    if result.exit_code == 127 and not isinstance(call.shown, str):
        return f"the host has no command {call.argv[0]}"
    what = call.argv[0] if isinstance(call.shown, list) else call.shown.strip().partition("\n")[0][:80]
    return f"{what} ended with exit code {result.exit_code}"


def _remedy(call: Call, result: Result) -> str:
    if result.exit_code == 127:
        return "Install it, or give its whole path; pipes, && and built-ins need the tool shell."
    if result.exit_code == 126:
        return "Make it executable, or run as a user who may execute it (become)."
    return ""


def _split(text: str) -> list[str]:
    if _PLAIN.fullmatch(text):
        return text.split()
    try:
        return shlex.split(text)
    except ValueError as error:
        raise StepError(
            f"cannot split the command into words: {str(error).lower()}", remedy=f"Check the quotes in: {text}"
        ) from None


def _input(text: str | None, newline: bool) -> bytes | None:
    if text is None:
        return None
    return (text + "\n" if newline and not text.endswith("\n") else text).encode()


def _expanded(on: Transport, words: Sequence[str]) -> list[str]:
    """Words with the host's variables and home directories in them; unknown variables stay as they are."""
    if any("$" in word for word in words):
        printed = on.demand(Command(("env", "-0"), changes=False)).stdout.decode("utf-8", "replace")
        values = dict(line.partition("=")[::2] for line in printed.split("\0") if "=" in line)
        words = [VARIABLE.sub(lambda found: values.get(found[1] or found[2], found[0]), word) for word in words]
    return [host_path(on, word) if word.startswith("~") else word for word in words]


def _is_there(on: Transport, pattern: str, chdir: str | None) -> bool:
    path = host_path(on, pattern)
    if chdir is not None:
        path = posixpath.join(host_path(on, chdir), path)
    if not re.search(r"[*?\[]", path):
        return on.stat(path, follow=True) is not None
    return bool(matching(on, path))


def matching(on: Transport, pattern: str) -> list[str]:
    """The paths of the host that a shell's pattern matches, sorted."""
    found = [""]
    for number, part in enumerate(pattern.split("/")):
        if number == 0 and part == "":
            found = ["/"]
        elif not re.search(r"[*?\[]", part):
            found = [posixpath.join(folder, part) for folder in found]
            found = [path for path in found if on.stat(path, follow=True) is not None]
        else:
            found = [
                posixpath.join(folder, name)
                for folder in found
                for name in (posixpath.basename(entry.path) for entry in on.scan(folder or "."))
                if fnmatch.fnmatchcase(name, part) and (part.startswith(".") or not name.startswith("."))
            ]
    return sorted(found)
