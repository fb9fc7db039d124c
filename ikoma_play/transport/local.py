"""This machine as a host: commands are child processes, everything about files is a system call."""

# Paths of a host are text, and each call here is one system call.
# ruff: noqa: PTH100, PTH101, PTH103, PTH104, PTH108, PTH112, PTH115, PTH116, PTH120, PTH123, PTH211, PTH102

from __future__ import annotations

import grp
import os
import pwd
import stat as bits
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import BinaryIO

from ..model import Command, Host, Progress, Result
from .base import Stat, Transport, ignore
from .beside import replacement, sweep
from .faults import NOT_THERE, demand_replaceable, not_known, told, too_large
from .process import CHUNK, KEPT, Process, cannot_start, passing_on


class LocalTransport(Transport):
    """The machine that the program runs on, as the user that it runs as."""

    local = True

    def __init__(self, host: Host, progress: Callable[[Progress], None] = ignore) -> None:
        self.host = host
        self.progress = progress
        self._names: dict[tuple[str, int], str] = {}

    def run(self, command: Command, on_output: Callable[[bytes], None] | None = None) -> Result:
        with _output_file(command.stdout_to) as stdout:
            try:
                process = self._start(command, stdout)
            except OSError as error:
                return cannot_start(command.argv, command.cwd, error)
            if on_output is not None:
                process.on_chunk = passing_on(on_output)
            if command.stdin is not None:
                process.feed(command.stdin)
                process.finish_input()
            return process.wait(command.timeout)

    def _start(self, command: Command, stdout: int) -> Process:
        return Process(
            command.argv,
            cwd=command.cwd,
            env={**os.environ, **command.env} if command.env else None,
            piped=command.stdin is not None,
            stdout=stdout,
        )

    def read(self, path: str) -> bytes:
        with told("read", path), open(path, "rb") as file:
            if bits.S_ISREG(os.fstat(file.fileno()).st_mode):
                return file.read()
            data = file.read(KEPT + 1)  # a device may have no end
        if len(data) > KEPT:
            raise too_large(path)
        return data

    def write(self, path: str, data: bytes | BinaryIO, mode: int | None = None) -> None:
        folder, name = os.path.split(os.path.abspath(path))
        with told("write", path):
            before = self._seen(path)
            demand_replaceable(path, before)
            if before is not None and before.kind == "link":
                before = None
            with replacement(folder, name) as descriptor:
                with open(descriptor, "wb", closefd=False) as file:
                    if isinstance(data, bytes):
                        file.write(data)
                    else:
                        import shutil

                        shutil.copyfileobj(data, file, CHUNK)
                if before is not None and (before.uid, before.gid) != (os.geteuid(), os.getegid()):
                    _keep_owner(descriptor, before)
                os.fchmod(descriptor, mode if mode is not None else before.mode if before else 0o644)
                os.fsync(descriptor)
            _flush_directory(folder)
            sweep(folder, name)

    def stat(self, path: str, follow: bool = False) -> Stat | None:
        with told("look at", path):
            return self._seen(path, follow)

    def _seen(self, path: str, follow: bool = False) -> Stat | None:
        try:
            found = os.stat(path) if follow else os.lstat(path)
        except OSError as error:
            if error.errno in NOT_THERE:
                return None
            raise
        return self._described(path, found)

    def scan(self, path: str, recurse: bool = False) -> Sequence[Stat]:
        found: list[Stat] = []
        folders = [path]
        while folders:
            folder = folders.pop()
            with told("list", folder):
                try:
                    entries = list(os.scandir(folder))
                except OSError as error:
                    if error.errno in NOT_THERE:
                        continue
                    raise
                for entry in entries:
                    try:
                        described = self._described(entry.path, entry.stat(follow_symlinks=False))
                    except FileNotFoundError:  # it went away meanwhile
                        continue
                    found.append(described)
                    if recurse and described.kind == "directory":
                        folders.append(entry.path)
        return sorted(found, key=lambda entry: entry.path)

    @contextmanager
    def tunnel(self, address: str, port: int) -> Iterator[tuple[str, int]]:
        yield address, port

    def close(self) -> None:
        pass

    def become(self, user: str, method: str = "sudo", password: str | None = None, flags: str = "") -> Transport:
        from .become import become_locally

        return become_locally(self, user, method, password, flags)

    # --- the same as the base's, without a process ---

    def mkdir(self, path: str, mode: int = 0o755) -> bool:
        with told("make the directory", path):
            if os.path.isdir(path):
                return False
            try:
                os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
                os.mkdir(path)
            except FileExistsError:
                if os.path.isdir(path):
                    return False
                raise
            os.chmod(path, mode)
            return True

    def remove(self, path: str) -> bool:
        with told("remove", path):
            try:
                found = os.lstat(path)
            except OSError as error:
                if error.errno in NOT_THERE:
                    return False
                raise
            if bits.S_ISDIR(found.st_mode):
                import shutil

                shutil.rmtree(path)
            else:
                os.unlink(path)
            return True

    def rename(self, source: str, target: str) -> None:
        with told("rename", source):
            os.rename(source, target)
            _flush_directory(os.path.dirname(os.path.abspath(target)))

    def chmod(self, path: str, mode: int) -> None:
        with told("change the mode of", path):
            os.chmod(path, mode)

    def chown(self, path: str, owner: str | None = None, group: str | None = None) -> None:
        uid, gid = (-1 if owner is None else owner), (-1 if group is None else group)
        with told("change the owner of", path):
            os.chown(path, _uid(uid), _gid(gid), follow_symlinks=False)

    def symlink(self, target: str, path: str) -> None:
        folder, name = os.path.split(os.path.abspath(path))
        beside = os.path.join(folder, f".{name[:200]}.{os.urandom(6).hex()}")
        with told("make the link", path):
            os.symlink(target, beside)
            try:
                os.rename(beside, path)
            except BaseException:
                os.unlink(beside)
                raise

    # --- how ---

    def _described(self, path: str, found: os.stat_result) -> Stat:
        kind = "other"
        if bits.S_ISREG(found.st_mode):
            kind = "file"
        elif bits.S_ISDIR(found.st_mode):
            kind = "directory"
        elif bits.S_ISLNK(found.st_mode):
            kind = "link"
        return Stat(
            path,
            kind,
            bits.S_IMODE(found.st_mode),
            found.st_size,
            found.st_mtime,
            found.st_uid,
            found.st_gid,
            self._name("user", found.st_uid),
            self._name("group", found.st_gid),
            os.readlink(path) if kind == "link" else "",
        )

    def _name(self, kind: str, number: int) -> str:
        """A user's or group's name; only what was found is remembered, since a step may add one."""
        if (kind, number) not in self._names:
            try:
                name = pwd.getpwuid(number).pw_name if kind == "user" else grp.getgrgid(number).gr_name
            except KeyError:
                return ""
            self._names[kind, number] = name
        return self._names[kind, number]


@contextmanager
def _output_file(path: str | None) -> Iterator[int]:
    """Where standard output goes: a pipe, or the host's file, flushed to the disk at the end."""
    if path is None:
        yield subprocess.PIPE
        return
    with told("write", path):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            yield descriptor
            if bits.S_ISREG(os.fstat(descriptor).st_mode):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def _uid(owner: str | int) -> int:
    if isinstance(owner, int) or owner.isdigit():
        return int(owner)
    try:
        return pwd.getpwnam(owner).pw_uid
    except KeyError:
        raise not_known("user", owner) from None


def _gid(group: str | int) -> int:
    if isinstance(group, int) or group.isdigit():
        return int(group)
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise not_known("group", group) from None


def _keep_owner(descriptor: int, before: Stat) -> None:
    """Give the new file the old one's owner where we may; who may not becomes the owner, as with any editor."""
    for uid, gid in ((before.uid, before.gid), (-1, before.gid)):
        try:
            os.fchown(descriptor, uid, gid)
            return
        except PermissionError:
            continue


def _flush_directory(folder: str) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
