"""The tool git: a working copy of a repository, at one version."""

from __future__ import annotations

import posixpath
import re
import shlex
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from ...errors import CommandFailed, NotFound, Refused, StepError
from ...model import Access, Command, Diff, Outcome, Progress, Result, changed, ok
from ...tool import tool
from ...transport.base import Transport
from .placing import host_path

COMMIT = re.compile(r"[0-9a-f]{7,64}")
REMEDY = "Check the address, and that the host may read it (key_file, or a user and password in the address)."


@tool("git", access=Access.ADMIN, changes=True, aliases={"name": "repo"})
def git(
    on: Transport,
    *,
    repo: str,
    dest: str | None = None,
    version: str = "HEAD",
    remote: str = "origin",
    clone: bool = True,
    update: bool = True,
    force: bool = False,
    depth: int | None = None,
    single_branch: bool = False,
    bare: bool = False,
    recursive: bool = True,
    track_submodules: bool = False,
    refspec: str | None = None,
    reference: str | None = None,
    key_file: str | None = None,
    accept_hostkey: bool = False,
    accept_newhostkey: bool = False,
    ssh_opts: str | None = None,
    executable: str = "git",
    verify_commit: bool = False,
    umask: str | int | None = None,
) -> Outcome:
    """Have a repository's working copy on the host, at one version.

    repo: its address; a password in it is used and kept nowhere
    dest: the directory of the working copy
    version: a branch, tag or commit; HEAD is the branch that the repository names
    remote: the name that the working copy has for the repository
    clone: make the working copy when it is not there
    update: fetch what is new
    force: throw changes in the working copy away; without it they make the step fail
    depth: only so many commits of its past
    single_branch: only this branch
    bare: without files
    recursive: submodules too
    track_submodules: submodules at the newest commit of their branch
    refspec: a further reference to fetch
    reference: a repository on the host to take objects from
    key_file: a private key on the host
    accept_hostkey: accept a server that is not known yet
    accept_newhostkey: the same
    ssh_opts: further options for ssh
    executable: another git
    verify_commit: demand a valid signature
    umask: accepted for Ansible's sake
    """
    address, env, secrets = _without_password(repo)
    new_key = accept_hostkey or accept_newhostkey
    if key_file or new_key or ssh_opts:
        env["GIT_SSH_COMMAND"] = _ssh(key_file, new_key, ssh_opts)
    if dest is None:
        if clone:
            raise StepError("git needs dest", remedy="Name the directory of the working copy.")
        copy = Copy(on, executable, "/", address, remote, env, secrets=secrets)
        return ok({"before": None, "after": copy.there(version), "remote_url_changed": False})
    path = host_path(on, dest).rstrip("/")
    copy = Copy(on, executable, path, address, remote, env, bare, secrets)
    there = on.exists(posixpath.join(path, "HEAD") if bare else posixpath.join(path, ".git"))
    options = _Options(version, depth, single_branch, refspec, reference, verify_commit, recursive, track_submodules)
    if not there:
        if not clone:
            raise NotFound(f"{path} is no working copy", remedy="Say clone: true to make it.")
        return _cloned(copy, options)
    return _updated(copy, options, update, force)


class _Options(Struct, frozen=True):
    version: str
    depth: int | None
    single_branch: bool
    refspec: str | None
    reference: str | None
    verify: bool
    recursive: bool
    track: bool


class Copy(Struct):
    """A working copy on a host, and where it comes from."""

    on: Transport
    executable: str
    path: str
    address: str
    remote: str
    env: Mapping[str, str] = field(default_factory=dict)
    bare: bool = False
    secrets: tuple[str, ...] = ()

    def git(self, *words: str, changes: bool = False, inside: bool = True) -> Result:
        return self.on.run(self.command(words, changes, inside))

    def demand(self, message: str, *words: str, changes: bool = False, inside: bool = True) -> Result:
        command = self.command(words, changes, inside)
        result = self.on.run(command)
        if result.exit_code == 127:
            raise NotFound(f"{self.on.host.name} has no {self.executable}", remedy="Install git there.")
        if not result.ok:
            raise CommandFailed(command, result, message, REMEDY)
        return result

    def command(self, words: tuple[str, ...], changes: bool, inside: bool) -> Command:
        env = {"GIT_TERMINAL_PROMPT": "0", "LC_ALL": "C", **self.env}
        where = ("-C", self.path) if inside else ()
        return Command((self.executable, *where, *words), env=env, changes=changes, secrets=self.secrets)

    def now(self) -> str | None:
        result = self.git("rev-parse", "--verify", "--quiet", "HEAD")
        return result.text if result.ok else None

    def resolve(self, name: str) -> str | None:
        """The commit that a name means in the working copy."""
        result = self.git("rev-parse", "--verify", "--quiet", f"{name}^{{commit}}")
        return result.text if result.ok else None

    def there(self, version: str) -> str | None:
        """The commit that the repository has for a version; None where it can not be told from outside."""
        names = ("HEAD",) if version == "HEAD" else (f"refs/heads/{version}", f"refs/tags/{version}", version)
        told = self.demand(
            f"cannot ask {self.address}", "ls-remote", self.address, *names, *(f"{name}^{{}}" for name in names[1:2]),
            inside=False,
        )  # fmt: skip
        pairs = (line.partition("\t") for line in told.text.splitlines())
        found = {ref: commit for commit, tab, ref in pairs if tab}
        for name in (f"refs/tags/{version}^{{}}", *names):
            if name in found:
                return found[name]
        return version if COMMIT.fullmatch(version) else None


def _cloned(copy: Copy, options: _Options) -> Outcome:
    on = copy.on
    there = on.stat(copy.path, follow=True)
    if there is not None and (there.kind != "directory" or on.scan(copy.path)):
        raise Refused(
            f"{copy.path} is there and is no working copy", remedy="Remove it first, or name another directory."
        )
    after = copy.there(options.version)
    if on.dry:
        if after is None:
            raise NotFound(f"{copy.address} has no {options.version}", remedy="Check version.")
        return _told(copy, None, after, False)
    on.progress(Progress(f"cloning {copy.address}"))
    on.mkdir(posixpath.dirname(copy.path) or "/")
    words = ["clone", "--origin", copy.remote]
    words += ["--bare"] if copy.bare else ["--no-checkout"]
    words += ["--depth", str(options.depth)] if options.depth and not COMMIT.fullmatch(options.version) else []
    if (options.single_branch or options.depth) and options.version != "HEAD" and not COMMIT.fullmatch(options.version):
        words += ["--branch", options.version]
    elif options.depth:
        words += ["--no-single-branch"] if not options.single_branch else []
    words += ["--reference", options.reference] if options.reference else []
    copy.demand(f"cannot clone {copy.address}", *words, "--", copy.address, copy.path, changes=True, inside=False)
    try:
        _fetch_refspec(copy, options)
        after = _put(copy, options)
    except StepError:
        # A copy that never came to its version would look like one that did: the next run begins anew.
        on.remove(copy.path)
        raise
    return _told(copy, None, after, False)


def _updated(copy: Copy, options: _Options, update: bool, force: bool) -> Outcome:
    before = copy.now()
    url_changed = _set_address(copy)
    altered = [] if copy.bare else _altered(copy)
    if altered and not force:
        raise Refused(
            f"{copy.path} has changes of its own: {', '.join(altered[:5])}",
            remedy="Keep them elsewhere, or say force: true to throw them away.",
            result={"before": before, "msg": "local modifications exist"},
        )
    if not update and copy.resolve(options.version) is not None:
        if altered and force:
            copy.demand("cannot throw changes away", "reset", "--hard", changes=True)
        return _told(copy, before, before, url_changed, bool(altered))
    target = copy.there(options.version) if copy.on.dry else None
    if copy.on.dry:
        known = target if target and len(target) >= 40 else copy.resolve(target or options.version)
        if known is None:
            raise NotFound(f"{copy.address} has no {options.version}", remedy="Check version.")
        return _told(copy, before, known, url_changed, bool(altered))
    if altered:
        copy.demand("cannot throw changes away", "reset", "--hard", changes=True)
    if not (COMMIT.fullmatch(options.version) and copy.resolve(options.version)):
        copy.on.progress(Progress(f"fetching {copy.address}"))
        depth = ("--depth", str(options.depth)) if options.depth else ()
        heads = "+refs/heads/*:refs/heads/*" if copy.bare else f"+refs/heads/*:refs/remotes/{copy.remote}/*"
        copy.demand(f"cannot fetch from {copy.address}", "fetch", "--force", "--tags", *depth, copy.remote, heads,
                    changes=True)  # fmt: skip
        _fetch_refspec(copy, options)
    after = _put(copy, options)
    return _told(copy, before, after, url_changed, bool(altered))


def _fetch_refspec(copy: Copy, options: _Options) -> None:
    if options.refspec:
        copy.demand(f"cannot fetch {options.refspec}", "fetch", copy.remote, options.refspec, changes=True)


def _put(copy: Copy, options: _Options) -> str | None:
    """Bring the working copy to its version; the commit that it then has."""
    if copy.bare:
        return copy.resolve(options.version) or copy.now()
    branch = options.version
    if branch == "HEAD":
        copy.git("remote", "set-head", copy.remote, "--auto", changes=True)
        named = copy.git("symbolic-ref", "--short", f"refs/remotes/{copy.remote}/HEAD")
        branch = named.text.removeprefix(f"{copy.remote}/") if named.ok else "HEAD"
    commit = copy.resolve(f"refs/remotes/{copy.remote}/{branch}")
    words: tuple[str, ...]
    if commit is not None:
        target, words = commit, ("checkout", "--force", "-B", branch, f"refs/remotes/{copy.remote}/{branch}")
    else:
        found = copy.resolve(f"refs/tags/{branch}") or copy.resolve(branch)
        if found is None and COMMIT.fullmatch(branch):
            copy.git("fetch", copy.remote, branch, changes=True)  # a commit that no branch leads to any more
            found = copy.resolve(branch)
        if found is None:
            raise NotFound(f"{copy.address} has no {branch}", remedy="Check version: a branch, a tag or a commit.")
        target, words = found, ("checkout", "--force", "--detach", found)
    if options.verify:
        copy.demand(f"the commit {target} is not signed as it must be", "verify-commit", target)
    copy.demand(f"cannot check out {branch}", *words, changes=True)
    if options.recursive and copy.on.exists(posixpath.join(copy.path, ".gitmodules")):
        copy.demand(
            "cannot bring the submodules' addresses up to date", "submodule", "sync", "--recursive", changes=True
        )
        newest = ("--remote",) if options.track else ()
        copy.demand("cannot bring the submodules up to date", "submodule", "update", "--init", "--recursive", *newest,
                    changes=True)  # fmt: skip
    return target


def _set_address(copy: Copy) -> bool:
    known = copy.git("remote", "get-url", copy.remote)
    if known.ok and known.text == copy.address:
        return False
    deed = "set-url" if known.ok else "add"
    copy.demand("cannot set the repository's address", "remote", deed, copy.remote, copy.address, changes=True)
    return True


def _altered(copy: Copy) -> list[str]:
    """Files under version control that were changed in the working copy."""
    told = copy.demand(f"cannot look at {copy.path}", "status", "--porcelain", "--untracked-files=no")
    return [line[3:] for line in told.stdout.decode("utf-8", "replace").splitlines()]


def _told(copy: Copy, before: str | None, after: str | None, url_changed: bool, cleaned: bool = False) -> Outcome:
    values: dict[str, Any] = {"before": before, "after": after, "remote_url_changed": url_changed, "dest": copy.path}
    if before == after and not url_changed and not cleaned:
        return ok(values)
    diffs = (Diff(copy.path, f"{before or ''}\n".lstrip(), f"{after}\n"),) if before != after else ()
    return changed(values, message=f"{copy.path} is at {(after or '')[:12]}", diffs=diffs)


def _without_password(repo: str) -> tuple[str, dict[str, str], tuple[str, ...]]:
    """The address without a password, settings that give it to git where no process list shows it, and the secrets."""
    from urllib.parse import unquote, urlsplit, urlunsplit

    parts = urlsplit(repo)
    if parts.scheme not in ("http", "https") or not parts.password:
        return repo, {}, ()
    plain = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    base, secret = urlunsplit((plain.scheme, plain.netloc, "/", "", "")), f"{parts.scheme}://{parts.netloc}/"
    env = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": f"url.{secret}.insteadOf", "GIT_CONFIG_VALUE_0": base}
    return urlunsplit(plain), env, (parts.password, unquote(parts.password))


def _ssh(key_file: str | None, accept_new: bool, options: str | None) -> str:
    words = ["ssh", "-o", "BatchMode=yes"]
    words += ["-i", key_file, "-o", "IdentitiesOnly=yes"] if key_file else []
    words += ["-o", "StrictHostKeyChecking=accept-new"] if accept_new else []
    return shlex.join(words) + (f" {options}" if options else "")
