"""How what tools do to an application's files is undone."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import Any

from ..errors import NotFound, StepError, last_lines
from ..model import Command, Outcome, changed
from ..tool import Record, Undoing
from ..transport.base import Transport
from . import (
    app_env,
    application,
    compose_file,
    kept,
    kept_sources,
    release_images,
    releases,
    skeleton,
    source_placing,
)
from .settings import settings

# The former tree comes back, unless src/ is the former tree still, or again.
_UNLINK = r"""src=$1 former=$2 number=$3
[ "$(stat -c %i -- "$src" 2>/dev/null)" = "$number" ] && [ ! -e "$former" ] && exit 0
[ -d "$former" ] || exit 3
listed() { cd -- "$1" 2>/dev/null && find . ! -type d -printf '%p %i\n' | sort; }
[ -d "$src" ] && [ "$(listed "$src")" = "$(listed "$former")" ] && exit 0
rm -rf -- "$src" && mv -T -- "$former" "$src" """


# --- apps.init ---


def _before_init(on: Transport, at: str, app_name: str) -> dict[str, Any]:
    folder = settings(on).app(application.checked(app_name))
    there = any(on.exists(posixpath.join(folder, name)) for name in compose_file.NAMES)
    inside = [*(posixpath.join(folder, name) for name in skeleton.FOLDERS), *_ours(folder), folder]
    files = [] if there else [posixpath.join(folder, name) for name in skeleton.GENERATED]
    return kept.keep(on, app_name, at, files, inside)


def _undo_init(on: Transport, record: Record, undoing: Undoing) -> Outcome:
    kept.refuse_later(on, record, undoing)
    folder = settings(on).app(str(record["app"]))
    if undoing.late:
        _refuse_changed(on, folder, [path for path, there in record["files"] if not there])
    kept.put_back(on, record)
    left = [posixpath.basename(entry.path) for entry in on.scan(folder)] if folder in record["made"] else []
    if not left:
        return changed(None, f"{folder} is as it was")
    warning = f"{folder} stays, since something of others lies in it: {', '.join(left)}"
    return changed(None, warning, warnings=(warning,))


def _refuse_changed(on: Transport, folder: str, made: Sequence[str]) -> None:
    """A compose file that somebody wrote since is not ours to remove."""
    for name, text in skeleton.GENERATED.items():
        path = posixpath.join(folder, name)
        if path in made and on.exists(path) and on.read(path) != text.encode():
            raise StepError(f"{path} was changed since it was made, so it stays", remedy="Remove it by hand, or not.")


def _ours(folder: str) -> list[str]:
    """Our own directories in an application's, the innermost first."""
    return [posixpath.join(folder, releases.FOLDER), posixpath.join(folder, ".ikoma")]


INIT = kept.undo("what it made is removed", _before_init, _undo_init)


# --- apps.env.write, artifact.record_release ---


def _put_back(on: Transport, record: Record, undoing: Undoing) -> Outcome:
    kept.refuse_later(on, record, undoing)
    newer_removed(on, record)
    kept.put_back(on, record)
    names = ", ".join(posixpath.basename(path) for path, _ in record["files"])
    return changed(None, f"{names} as before")


def env_files(folder: str) -> list[str]:
    return [posixpath.join(folder, ".env"), posixpath.join(folder, app_env.RECORD)]


def _before_env(on: Transport, at: str, app_name: str, **more: object) -> dict[str, Any]:
    folder = settings(on).app(application.checked(app_name))
    return kept.keep(on, app_name, at, env_files(folder), _ours(folder))


def _before_record(on: Transport, at: str, app_name: str, **more: object) -> dict[str, Any]:
    folder = settings(on).app(application.checked(app_name))
    record = kept.keep(on, app_name, at, [posixpath.join(folder, releases.FOLDER)], _ours(folder))
    return {**record, **of_releases(on, app_name)}


ENV = kept.undo("the former .env comes back", _before_env, _put_back)
RELEASE = kept.undo("the former records come back", _before_record, _put_back)


def of_releases(on: Transport, app: str) -> dict[str, Any]:
    """What there is that keeps releases: sources by their keys, and names of images."""
    return {"sources": _sources(on, app), "image_names": release_images.names(on, app)}


def newer_removed(on: Transport, record: Record) -> None:
    """Remove kept sources and names of images that `of_releases` did not find."""
    if "sources" not in record:
        return
    app = str(record["app"])
    home = settings(on).app(app, kept_sources.FOLDER)
    for name in _sources(on, app):
        if name not in record["sources"]:
            on.remove(posixpath.join(home, name))
    on.run(Command(("rmdir", "--", home)))
    release_images.take_away(on, [name for name in release_images.names(on, app) if name not in record["image_names"]])


def _sources(on: Transport, app: str) -> list[str]:
    return [posixpath.basename(entry.path) for entry in on.scan(settings(on).app(app, kept_sources.FOLDER))]


# --- apps.source ---


def _before_source(on: Transport, at: str, app_name: str, **more: object) -> dict[str, Any]:
    folder = settings(on).app(application.checked(app_name))
    record = kept.keep(on, app_name, at, list(_parts(folder)), _ours(folder))
    return {**record, "src": kept.link(on, record, posixpath.join(folder, "src"), "src")}


def _undo_source(on: Transport, record: Record, undoing: Undoing) -> Outcome:
    kept.refuse_later(on, record, undoing)
    src, former = settings(on).app(str(record["app"]), "src"), posixpath.join(str(record["place"]), "src")
    source_placing.sweep(on, posixpath.dirname(src))
    if record["src"] is None:
        on.remove(src)
    else:
        result = on.run(kept.script(_UNLINK, src, former, record["src"]))
        if result.exit_code == 3:
            raise NotFound(
                f"the former source, kept as {former}, is gone, so it cannot be put back",
                remedy="Deploy the release that ran before: artifact.releases names it.",
            )
        if not result.ok:
            raise StepError(
                f"the former source cannot be put back; it is kept as {former}",
                remedy=f"Put it in the place of {src}.",
                evidence=last_lines(result),
            )
    kept.put_back(on, record)
    return changed(None, "the former source is in place" if record["src"] else "the source is removed")


def _parts(folder: str) -> Iterator[str]:
    """What a source brings beside src/."""
    yield posixpath.join(folder, source_placing.RECORD)
    yield posixpath.join(folder, releases.RETURNING)
    yield from (posixpath.join(folder, name) for name in source_placing.FOLDERS)
    for name in compose_file.NAMES:
        yield posixpath.join(folder, name)
        yield posixpath.join(folder, f"{name}.bak")


SOURCE = kept.undo("the former source comes back", _before_source, _undo_source)
