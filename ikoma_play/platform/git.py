"""Git on a host, by its own command: what a reference stands for, and a checkout of it.

Nothing that comes from outside can become an option or a shell line, only plain protocols are spoken, and
a password in a URL goes to git by its environment, so that neither process list nor `.git/config` has it.
"""

from __future__ import annotations

import re
from urllib.parse import unquote, urlsplit, urlunsplit

from msgspec import Struct

from ..errors import CommandFailed, NotFound, Refused, StepError, Unavailable, last_lines, mask
from ..model import Command, Result
from ..transport.base import Transport

_PLAIN = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_ALLOW_PROTOCOL": "file:git:http:https:ssh",
    "LC_ALL": "C",
}
# A hook or an editor around us may have set these.
_APART = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_NAMESPACE")
_HELPER = '!f() { echo "username=$IKOMA_GIT_USER"; echo "password=$IKOMA_GIT_PASSWORD"; }; f'
_COMMIT = re.compile(r"[0-9a-f]{7,64}\Z")
_TIMEOUT = 1800.0


class Repository(Struct, frozen=True):
    """Where to fetch from; `url` is without credentials."""

    url: str
    user: str = ""
    password: str = ""

    @property
    def env(self) -> dict[str, str]:
        if not self.password:
            return dict(_PLAIN)
        return {
            **_PLAIN,
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "credential.helper",
            "GIT_CONFIG_VALUE_0": _HELPER,
            "IKOMA_GIT_USER": self.user,
            "IKOMA_GIT_PASSWORD": self.password,
        }


def repository(text: str) -> Repository:
    """A git URL or path taken apart. Raises Refused for one that git could take for an option or a program."""
    if text.startswith("-") or "::" in text.partition("/")[0] or any(ord(character) < 32 for character in text):
        raise Refused(f"{text!r} is no git URL or path", remedy="Use https://…, ssh://…, user@host:path or a path.")
    parts = urlsplit(text) if re.match(r"[a-z+]+://", text) else None
    if parts is None or not parts.password:
        return Repository(text)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    return Repository(urlunsplit(bare), unquote(parts.username or ""), unquote(parts.password))


def is_remote(text: str) -> bool:
    """Whether the text is a git URL (and no path of the runner)."""
    return bool(re.match(r"[a-z][a-z+]*://|[A-Za-z0-9_.-]+@[A-Za-z0-9_.-]+:", text))


def resolve(on: Transport, source: Repository, ref: str | None) -> str:
    """The commit that a tag, branch or commit stands for in the repository; a tag goes before a branch.

    A commit may come back as it was given, since a repository does not list its commits.
    Raises NotFound naming the tags there are, Unavailable when the repository cannot be read."""
    wanted = ref or "HEAD"
    result = _run(on, "ls-remote", "--", source.url, repository=source)
    if not result.ok:
        raise _unreadable(source, result)
    names = {name: commit for commit, _, name in (line.partition("\t") for line in result.text.splitlines())}
    for name in (f"refs/tags/{wanted}^{{}}", f"refs/tags/{wanted}", f"refs/heads/{wanted}", wanted):
        if name in names:
            return names[name]
    if _COMMIT.match(wanted):
        return wanted
    tags = sorted(name.removeprefix("refs/tags/") for name in names if re.match(r"refs/tags/[^^]+\Z", name))
    has = f"Its tags: {', '.join(tags[-10:])}." if tags else "It has no tags."
    raise NotFound(f"{source.url} has no tag, branch or commit {wanted}", remedy=has)


def checkout(on: Transport, source: Repository, commit: str, folder: str) -> None:
    """Clone the repository, with its history, into a new folder and check the commit out.

    Raises NotFound (no such commit), Unavailable (cannot be read, disk full)."""
    result = _run(on, "clone", "--quiet", "--no-checkout", "--", source.url, folder, repository=source)
    if not result.ok:
        raise _unreadable(source, result)
    result = _run(on, "-C", folder, "checkout", "--quiet", "--detach", commit, repository=source)
    if not result.ok:
        said = last_lines(result)
        if "No space left" in said:
            raise Unavailable("the disk is full", remedy="Free some disk space (df -h) and run this again.")
        raise NotFound(f"{source.url} has no commit {commit}", remedy="Check the reference.", evidence=said)
    if on.exists(f"{folder}/.gitmodules"):
        result = _run(on, "-C", folder, "submodule", "--quiet", "update", "--init", "--recursive", repository=source)
        if not result.ok:
            raise StepError(
                f"the submodules of {source.url} cannot be fetched",
                remedy="Check the URLs in .gitmodules.",
                evidence=mask(last_lines(result), (source.password,)),
            )


def head(on: Transport, folder: str) -> str:
    """The commit that is checked out in a folder; "" where it is no git checkout of its own."""
    if not on.exists(f"{folder}/.git"):
        return ""
    return _run(on, "-C", folder, "rev-parse", "--verify", "--quiet", "HEAD^{commit}", changes=False).text


def tree(on: Transport, folder: str) -> str:
    """The id of the tree that is checked out."""
    return _demand(on, "-C", folder, "rev-parse", "--verify", "HEAD^{tree}").text


def files(on: Transport, folder: str) -> int:
    """How many files the checked-out commit has."""
    return _demand(on, "-C", folder, "ls-files", "-z").stdout.count(b"\0")


def clean(on: Transport, folder: str) -> bool:
    """Whether no file of the checked-out commit was changed."""
    result = _run(on, "-C", folder, "status", "--porcelain", "--untracked-files=no", changes=False)
    return result.ok and not result.text


def _demand(on: Transport, *words: str) -> Result:
    result = _run(on, *words, changes=False)
    if not result.ok:
        raise CommandFailed(Command(("git", *words)), result)
    return result


def _run(on: Transport, *words: str, repository: Repository | None = None, changes: bool | None = None) -> Result:
    apart = tuple(word for name in _APART for word in ("-u", name))
    command = Command(
        # A checkout's owner may be another user than root, who is asked to trust it.
        ("env", *apart, "git", "-c", "safe.directory=*", *words),
        env=repository.env if repository else _PLAIN,
        timeout=_TIMEOUT,
        changes=words[0] != "ls-remote" if changes is None else changes,
        secrets=(repository.password,) if repository and repository.password else (),
    )
    result = on.run(command)
    if result.exit_code == 127:
        raise Unavailable(f"git is not installed on {on.host.name}", remedy="Install it: apt-get install git")
    return result


def _unreadable(source: Repository, result: Result) -> StepError:
    said = mask(last_lines(result), (source.password,))
    if "No space left" in said:
        return Unavailable("the disk is full", remedy="Free some disk space (df -h) and run this again.", evidence=said)
    if re.search(r"Authentication failed|could not read Username|Permission denied|access denied", said):
        remedy = "Give a key or a token that may read it (https://user:token@host/…, or ssh with a deploy key)."
    elif re.search(r"not found|does not exist|does not appear to be a git repository", said):
        remedy = "Check the URL or path; it must be a git repository."
    else:
        remedy = "Check the URL and whether this host can reach it."
    return Unavailable(f"the git repository {source.url} cannot be read", remedy=remedy, evidence=said)
