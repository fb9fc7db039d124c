"""Tools that wait: for a port, a file, the end of connections, or for time to pass."""

from __future__ import annotations

import re
import socket
import time
from collections.abc import Callable
from typing import Any, Literal

from ...errors import StepError, TimedOut, Unreachable
from ...model import Access, Command, Outcome, Progress, Status, ok
from ...tool import tool
from ...transport.base import Transport
from .placing import host_path

State = Literal["started", "stopped", "present", "absent", "drained"]
ACTIVE = {
    "ESTABLISHED": "01",
    "SYN_SENT": "02",
    "SYN_RECV": "03",
    "FIN_WAIT1": "04",
    "FIN_WAIT2": "05",
    "TIME_WAIT": "06",
}


@tool("wait_for", access=Access.ADMIN, changes=False)
def wait_for(
    on: Transport,
    *,
    host: str = "127.0.0.1",
    port: int | None = None,
    path: str | None = None,
    state: State = "started",
    search_regex: str | None = None,
    timeout: float = 300,
    delay: float = 0,
    sleep: float = 1,
    connect_timeout: float = 5,
    active_connection_states: list[str] | None = None,
    exclude_hosts: list[str] | None = None,
    msg: str | None = None,
) -> Outcome:
    """Wait until a port answers or is closed, or a file is there, holds a text, or is gone.

    host: the address, as seen from the host
    port: the TCP port
    path: a file of the host, instead of a port
    state: started or present: it is there; stopped or absent: it is not; drained: nobody is connected
    search_regex: what the file, or what the port says at once, must hold
    timeout: seconds after which it fails
    delay: seconds before it looks first
    sleep: seconds between looks
    connect_timeout: seconds that one connection may take
    active_connection_states: which connections count for drained
    exclude_hosts: whose connections do not count for drained
    msg: what to say when it takes too long
    """
    if port is not None and path is not None:
        raise StepError("wait_for takes port or path, not both", remedy="Leave one of them out.")
    if on.dry:  # what it waits for may be the work of steps that were not done
        return Outcome(Status.SKIPPED, message="not waited for in a check")
    started = time.monotonic()
    _pause(on, delay, "waiting")
    values: dict[str, Any] = {"port": port, "path": path, "search_regex": search_regex, "state": state}
    if port is None and path is None:
        if delay == 0:
            _pause(on, timeout, "waiting")
        return ok(values | {"elapsed": int(time.monotonic() - started)})
    pattern = _pattern(search_regex)
    look: Callable[[], dict[str, Any] | None]
    if path is not None:
        place = host_path(on, path)
        what = f"{path} to be {'there' if state in ('started', 'present') else 'gone'}"
        if pattern is not None:
            what = f"{path} to hold {search_regex}"
        look = lambda: _look_at_file(on, place, state, pattern)  # noqa: E731
    else:
        assert port is not None
        number = port
        what = f"{host}:{port} to be {state}" + (f" and say {search_regex}" if pattern else "")
        if state == "drained":
            states = active_connection_states or list(ACTIVE)
            look = lambda: _look_for_connections(on, host, number, states, exclude_hosts or [])  # noqa: E731
        else:
            look = lambda: _look_at_port(on, host, number, state, pattern, connect_timeout)  # noqa: E731
    found = _until(on, look, started + delay + timeout, sleep, what)
    elapsed = int(time.monotonic() - started)
    if found is None:
        raise TimedOut(
            msg or f"waited {timeout:g} s for {what}",
            remedy="Look why it is not so, or allow more time (timeout).",
            result=values | {"elapsed": elapsed, "msg": msg or f"waited {timeout:g} s for {what}"},
        )
    return ok(values | found | {"elapsed": elapsed})


@tool("pause", access=Access.OPERATOR, changes=False)
def pause(
    on: Transport,
    *,
    seconds: float | None = None,
    minutes: float | None = None,
    prompt: str | None = None,
    echo: bool = True,
) -> Outcome:
    """Let time pass.

    seconds: how long
    minutes: how long, in minutes
    prompt: what to show meanwhile; without a time, what to ask at the terminal
    echo: show what is typed
    """
    if seconds is not None and minutes is not None:
        raise StepError("pause takes seconds or minutes, not both", remedy="Leave one of them out.")
    started = time.monotonic()
    typed = ""
    if seconds is None and minutes is None:
        typed = _ask(prompt, echo)
    else:
        length = max(0.0, seconds if seconds is not None else (minutes or 0) * 60)
        _pause(on, 0 if on.dry else length, prompt or "pausing")
    elapsed = time.monotonic() - started
    return ok(
        {"delta": int(elapsed), "user_input": typed, "stdout": f"Paused for {elapsed:.2f} seconds", "echo": echo},
        message=prompt or "",
    )


@tool("wait_for_connection", access=Access.OPERATOR, changes=False)
def wait_for_connection(
    on: Transport, *, timeout: float = 600, delay: float = 0, sleep: float = 1, connect_timeout: float = 5
) -> Outcome:
    """Wait until the host runs commands.

    timeout: seconds after which it fails
    delay: seconds before it tries first
    sleep: seconds between tries
    connect_timeout: seconds that one try may take
    """
    if on.dry:
        return Outcome(Status.SKIPPED, message="not waited for in a check")
    started = time.monotonic()
    _pause(on, delay, "waiting")
    cause = ""

    def look() -> dict[str, Any] | None:
        nonlocal cause
        try:
            done = on.run(Command(("true",), timeout=connect_timeout, changes=False))
        except (Unreachable, TimedOut) as error:
            cause = error.message
            return None
        return {} if done.ok else None

    found = _until(on, look, started + delay + timeout, sleep, f"{on.host.name} to run commands")
    elapsed = int(time.monotonic() - started)
    if found is None:
        raise Unreachable(f"{on.host.name} did not run commands within {timeout:g} s", evidence=cause)
    return ok({"elapsed": elapsed})


# --- how -------------------------------------------------------------------------------------------


def _until(
    on: Transport, look: Callable[[], dict[str, Any] | None], deadline: float, sleep: float, what: str
) -> dict[str, Any] | None:
    """What the first look finds that finds something; None at the deadline."""
    started = time.monotonic()
    while True:
        found = look()
        left = deadline - time.monotonic()
        if found is not None or left <= 0:
            return found
        on.progress(Progress(f"waiting for {what}", time.monotonic() - started, deadline - started))
        time.sleep(min(sleep, left))


def _look_at_file(on: Transport, path: str, state: State, pattern: re.Pattern[bytes] | None) -> dict[str, Any] | None:
    there = on.stat(path, follow=True)
    if state in ("absent", "stopped"):
        return {} if there is None else None
    if there is None:
        return None
    if pattern is None:
        return {}
    return _groups(pattern.search(on.read(path)))


def _look_at_port(
    on: Transport, host: str, port: int, state: State, pattern: re.Pattern[bytes] | None, timeout: float
) -> dict[str, Any] | None:
    wants_open = state in ("started", "present")
    try:
        with on.tunnel(host, port) as (address, nearby), _connected(address, nearby, timeout) as connection:
            if not wants_open:
                return None
            return {} if pattern is None else _groups(_heard(connection, pattern, timeout))
    except OSError:
        return None if wants_open else {}


def _connected(address: str, port: int, timeout: float) -> socket.socket:
    if port:
        return socket.create_connection((address, port), timeout)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def _heard(connection: socket.socket, pattern: re.Pattern[bytes], timeout: float) -> re.Match[bytes] | None:
    """The pattern in what the other side says by itself, within the time and 64 KiB."""
    said = b""
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0 and len(said) < 2**16:
        connection.settimeout(left)
        try:
            data = connection.recv(4096)
        except TimeoutError:
            return None
        if not data:
            return None
        said += data
        if found := pattern.search(said):
            return found
    return None


def _look_for_connections(
    on: Transport, host: str, port: int, states: list[str], exclude: list[str]
) -> dict[str, Any] | None:
    """{} where nobody is connected to the port; read from the kernel's own tables."""
    unknown = [name for name in states if name.upper() not in ACTIVE]
    if unknown:
        raise StepError(f"{unknown[0]!r} is not a state of connections", remedy=f"Use some of {', '.join(ACTIVE)}.")
    codes = {ACTIVE[name.upper()] for name in states}
    tables = on.run(Command(("cat", "/proc/net/tcp", "/proc/net/tcp6"), changes=False)).stdout.decode()
    any_address = host in ("0.0.0.0", "::", "")
    for line in tables.splitlines():
        fields = line.split()
        if len(fields) < 4 or fields[3] not in codes:
            continue
        (local, local_port), (remote, _) = (_address(fields[1]), _address(fields[2]))
        if local_port == port and (any_address or local == socket.gethostbyname(host)) and remote not in exclude:
            return None
    return {}


def _address(text: str) -> tuple[str, int]:
    """An address of the kernel's table: 32-bit words in the machine's order, then the port."""
    digits, _, port = text.partition(":")
    raw = b"".join(bytes.fromhex(digits[at : at + 8])[::-1] for at in range(0, len(digits), 8))
    if len(raw) == 16 and raw.startswith(b"\0" * 10 + b"\xff\xff"):
        raw = raw[12:]
    return socket.inet_ntop(socket.AF_INET if len(raw) == 4 else socket.AF_INET6, raw), int(port, 16)


def _groups(found: re.Match[bytes] | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {
        "match_groups": [(group or b"").decode("utf-8", "replace") for group in found.groups()],
        "match_groupdict": {name: (text or b"").decode("utf-8", "replace") for name, text in found.groupdict().items()},
    }


def _pattern(text: str | None) -> re.Pattern[bytes] | None:
    if text is None:
        return None
    try:
        return re.compile(text.encode(), re.MULTILINE)
    except re.error as error:
        raise StepError(f"search_regex {text!r} is not a regular expression: {error}") from None


def _pause(on: Transport, seconds: float, what: str) -> None:
    """Sleep, telling how far it is once a second."""
    started = time.monotonic()
    while (left := started + seconds - time.monotonic()) > 0:
        on.progress(Progress(what, time.monotonic() - started, seconds))
        time.sleep(min(left, 1))


def _ask(prompt: str | None, echo: bool) -> str:
    import getpass
    import sys

    if not sys.stdin.isatty():
        raise StepError(
            "pause would wait for a person, but there is no terminal",
            remedy="Give it seconds or minutes; `approve` waits for somebody elsewhere too.",
        )
    question = (prompt or "Press enter to go on") + ": "
    return input(question) if echo else getpass.getpass(question)
