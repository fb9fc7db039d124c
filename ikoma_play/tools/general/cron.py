"""Jobs that cron runs, in the crontab of a user or in a file of /etc/cron.d."""

from __future__ import annotations

import os
import posixpath
import re
from typing import Any, Literal

from msgspec import Struct, field

from ...errors import StepError, Unavailable
from ...model import Access, Command, Outcome, changed, ok
from ...tool import tool
from ...transport.base import Transport
from .placing import place, read_if_there, text_diff

# The comment above a job that carries its name, as Ansible writes it: either finds the other's jobs.
MARK = "#Ansible: "
_NO_CRONTAB = re.compile(r"no crontab for", re.I)
_VARIABLE = re.compile(r"\s*([^\s=#]+)\s*=")
Special = Literal["annually", "daily", "hourly", "monthly", "reboot", "weekly", "yearly"]


class _Table(Struct):
    """The lines of one crontab; `path` where it is a file of its own."""

    on: Transport
    user: str | None
    path: str | None
    lines: list[str] = field(default_factory=list)
    before: bytes = b""

    def read(self) -> None:
        if self.path is not None:
            self.before = read_if_there(self.on, self.path) or b""
        else:
            shown = self.on.run(Command((*self._crontab(), "-l"), changes=False))
            said = shown.stderr.decode("utf-8", "replace")
            if shown.ok:
                self.before = shown.stdout
            elif shown.exit_code == 127 or "not found" in said:
                raise Unavailable("this host has no crontab", remedy="Install cron, or use cron_file.", evidence=said)
            elif not _NO_CRONTAB.search(said):
                raise StepError(f"cannot read {self.title}", remedy="Check user, and become.", evidence=said.strip())
        self.lines = self.before.decode("utf-8", "surrogateescape").splitlines()

    def write(self, backup: bool) -> dict[str, Any]:
        """What the table now holds takes its place; an empty file of its own is removed."""
        text = self.text
        if self.path is not None:
            if not text:
                self.on.remove(self.path)
                return {}
            return dict(place(self.on, self.path, text, backup=backup).extra)
        kept: dict[str, Any] = {}
        if backup and self.before and not self.on.dry:
            kept["backup_file"] = f"/tmp/crontab.{os.urandom(6).hex()}"
            self.on.write(kept["backup_file"], self.before, 0o600)
        self.on.demand(Command((*self._crontab(), "-"), stdin=text), f"cannot write {self.title}")
        return kept

    @property
    def text(self) -> bytes:
        return "".join(f"{line}\n" for line in self.lines).encode("utf-8", "surrogateescape")

    @property
    def title(self) -> str:
        return self.path or (f"the crontab of {self.user}" if self.user else "the crontab")

    def _crontab(self) -> tuple[str, ...]:
        return ("crontab", *(("-u", self.user) if self.user else ()))

    # --- its entries ---

    def put_job(self, name: str, line: str) -> None:
        places = self._jobs(name)
        if places:
            first, *others = places
            self.lines[first + 1 : first + 2] = [line]
            for place_ in reversed(others):
                del self.lines[place_ : place_ + 2]
        elif line in self.lines and not self._is_named(self.lines.index(line)):
            self.lines.insert(self.lines.index(line), MARK + name)  # the same job, without a name until now
        else:
            self.lines += [MARK + name, line]

    def remove_job(self, name: str) -> None:
        for place_ in reversed(self._jobs(name)):
            del self.lines[place_ : place_ + 2]

    def put_variable(self, name: str, line: str, after: str | None, before: str | None) -> None:
        places = self._variables(name)
        if places:
            self.lines[places[0]] = line
            return
        other = after or before
        where = self._variables(other) if other else []
        if other and not where:
            raise StepError(f"{self.title} sets no variable {other}", remedy="Name one that is there, or none.")
        self.lines.insert(where[0] + (1 if after else 0) if where else 0, line)

    def remove_variable(self, name: str) -> None:
        for place_ in reversed(self._variables(name)):
            del self.lines[place_]

    def names(self) -> list[str]:
        return [line[len(MARK) :] for line in self.lines if line.startswith(MARK)]

    def variables(self) -> list[str]:
        return [found[1] for line in self.lines if (found := _VARIABLE.match(line))]

    def _jobs(self, name: str) -> list[int]:
        return [number for number, line in enumerate(self.lines) if line == MARK + name]

    def _is_named(self, number: int) -> bool:
        return number > 0 and self.lines[number - 1].startswith(MARK)

    def _variables(self, name: str | None) -> list[int]:
        found = enumerate(map(_VARIABLE.match, self.lines))
        return [number for number, match in found if match and match[1] == name]


@tool("cron", access=Access.ADMIN, changes=True, aliases={"value": "job", "dom": "day", "dow": "weekday"})
def cron(
    on: Transport,
    *,
    name: str,
    job: str | None = None,
    state: Literal["present", "absent"] = "present",
    user: str | None = None,
    cron_file: str | None = None,
    minute: str | int = "*",
    hour: str | int = "*",
    day: str | int = "*",
    month: str | int = "*",
    weekday: str | int = "*",
    special_time: Special | None = None,
    disabled: bool = False,
    env: bool = False,
    insertafter: str | None = None,
    insertbefore: str | None = None,
    backup: bool = False,
) -> Outcome:
    """Have a job in a crontab, or a variable for its jobs, or not.

    name: the job's name, kept in a comment above it; with env the variable's
    job: the command; with env the variable's value
    state: present or absent
    user: whose crontab; with cron_file who runs the job
    cron_file: a file of /etc/cron.d, or a path, instead of a user's crontab
    minute: 0 to 59, a list 0,30 or steps */5
    hour: 0 to 23 and the like
    day: the day of the month
    month: 1 to 12
    weekday: 0 to 6, 0 is Sunday
    special_time: instead of a time: reboot, hourly, daily, weekly, monthly, yearly, annually
    disabled: keep the job as a comment
    env: it is a variable, not a job
    insertafter: with env: the variable that it comes after
    insertbefore: with env: the variable that it comes before
    backup: keep the former table
    """
    times = [str(value) for value in (minute, hour, day, month, weekday)]
    _refuse(name, job, state, user, cron_file, times, special_time, env, insertafter, insertbefore)
    path = None if cron_file is None else posixpath.join("/etc/cron.d", cron_file)
    table = _Table(on, user, path)
    table.read()
    if env and state == "present":
        table.put_variable(name, f'{name}="{job}"', insertafter, insertbefore)
    elif env:
        table.remove_variable(name)
    elif state == "present":
        when = f"@{special_time}" if special_time else " ".join(times)
        words = [when, *([user] if path and user else []), str(job).strip("\r\n")]
        table.put_job(name, ("#" if disabled else "") + " ".join(words))
    else:
        table.remove_job(name)
    values: dict[str, Any] = {"jobs": table.names(), "envs": table.variables()}
    if cron_file is not None:
        values["cron_file"] = cron_file
    if table.text == table.before:
        return ok(values)
    kept = table.write(backup)
    return changed(values | kept, diffs=(text_diff(table.title, table.before, table.text),))


def _refuse(
    name: str, job: str | None, state: str, user: str | None, cron_file: str | None, times: list[str],
    special_time: str | None, env: bool, insertafter: str | None, insertbefore: str | None,
) -> None:  # fmt: skip
    """Raises StepError for arguments that make no sense together."""
    if cron_file == "/etc/crontab":
        raise StepError("/etc/crontab is the system's own", remedy="Use a file of /etc/cron.d: cron_file: NAME.")
    if any("\n" in text.strip("\r\n") or "\r" in text.strip("\r\n") for text in (name, job or "")):
        raise StepError("cron's lines cannot hold a line break", remedy="Put the commands into a script.")
    if special_time and any(time != "*" for time in times):
        raise StepError("cron takes special_time or minute, hour, day, month and weekday", remedy="Leave one out.")
    if insertafter and insertbefore:
        raise StepError("cron takes insertafter or insertbefore", remedy="Leave one out.")
    if (insertafter or insertbefore) and not env:
        raise StepError("insertafter and insertbefore are for variables", remedy="Add env: true, or leave them out.")
    if any(re.search(r"\s", time) or not time for time in times):
        raise StepError(f"a time of cron holds no blanks: {' | '.join(times)}", remedy="Write lists as 0,30.")
    if env and re.search(r"\s", name):
        raise StepError(f"'{name}' cannot be the name of a variable", remedy="Names hold no blanks.")
    if state == "present":
        if job is None:
            raise StepError("cron needs the argument 'job'", remedy="Say what is to run, or state: absent.")
        if cron_file and not user:
            raise StepError("cron needs the argument 'user' with cron_file", remedy="Say who runs the job.")
