"""The source of an application put in place: whole or not at all, from a directory or from git."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from ikoma_play.errors import IkomaError, NotFound, Refused, StepError, Unavailable
from ikoma_play.platform import git, skeleton, source
from ikoma_play.transport.dry import DryTransport
from ikoma_play.transport.local import LocalTransport
from tests.parts.applications import Application

COMPOSE = "services: {web: {image: x}}\n"


@pytest.fixture
def app(tmp_path: Path) -> Application:
    made = Application(tmp_path)
    skeleton.make(made.on, made.name)
    return made


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    root = tmp_path / "source"
    for name, text in {
        "app.py": "one",
        "deep/er/file": "deep",
        "docker-compose.yml": COMPOSE,
        "migrations/001_a.sql": "SELECT 1;",
        "seeds/001_s.sql": "SELECT 2;",
        "config/app.ini": "[a]",
        ".env": "SECRET=of the developer",
        "__pycache__/app.pyc": "derived",
    }.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "run.sh").write_text("#!/bin/sh\n")
    (root / "run.sh").chmod(0o755)
    (root / "link").symlink_to("deep/er/file")
    return root


def put(app: Application, where: Path | str, ref: str | None = None) -> source.Placed:
    return source.put_in_place(app.on, app.name, str(where), ref)


def contents(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink():
            found[name] = f"-> {path.readlink()}"
        elif path.is_file() and not name.startswith((".git/", ".ikoma/")):
            found[name] = path.read_text()
    return found


def test_a_directory_takes_its_places(app: Application, tree: Path) -> None:
    placed = put(app, tree)
    assert placed.changed and placed.files == 7, "the link is no file"
    assert contents(app.folder / "src") == {
        "app.py": "one",
        "deep/er/file": "deep",
        "docker-compose.yml": COMPOSE,
        "migrations/001_a.sql": "SELECT 1;",
        "seeds/001_s.sql": "SELECT 2;",
        "config/app.ini": "[a]",
        "run.sh": "#!/bin/sh\n",
        "link": "-> deep/er/file",
    }
    assert os.access(app.folder / "src/run.sh", os.X_OK)
    assert (app.folder / "docker-compose.yml").read_text() == COMPOSE, "what apps.init made must give way"
    assert (app.folder / "migrations/001_a.sql").read_text() == "SELECT 1;"
    assert (app.folder / "seeds/001_s.sql").exists() and (app.folder / "config/app.ini").exists()
    assert not (app.folder / ".env").exists(), "a developer's .env is not part of the source"
    assert placed.kept == ()


def test_the_same_again_changes_nothing(app: Application, tree: Path) -> None:
    put(app, tree)
    inode = (app.folder / "src").stat().st_ino
    (app.folder / "src/__pycache__").mkdir()
    (app.folder / "src/__pycache__/app.pyc").write_text("made by running it")
    assert not put(app, tree).changed
    assert (app.folder / "src").stat().st_ino == inode
    os.utime(tree / "app.py", (1, 1))
    assert not put(app, tree).changed, "another time alone is no change"


def test_a_changed_source_replaces_and_removes(app: Application, tree: Path) -> None:
    put(app, tree)
    (tree / "app.py").write_text("two")
    (tree / "deep/er/file").unlink()
    (tree / "link").unlink()
    (tree / "seeds/001_s.sql").unlink()
    (tree / "docker-compose.yml").rename(tree / "compose.yaml")
    placed = put(app, tree)
    assert placed.changed
    assert (app.folder / "src/app.py").read_text() == "two"
    assert not (app.folder / "src/deep").exists(), "what is gone from the source must go from src/"
    assert not (app.folder / "seeds/001_s.sql").exists()
    assert (app.folder / "compose.yaml").exists() and not (app.folder / "docker-compose.yml").exists()
    assert set(placed.removed) == {"seeds/001_s.sql", "docker-compose.yml"} and placed.kept == ()


def test_a_file_of_src_changed_by_hand_is_put_right(app: Application, tree: Path) -> None:
    put(app, tree)
    (app.folder / "src/app.py").write_text("hacked")
    assert put(app, tree).changed
    assert (app.folder / "src/app.py").read_text() == "one"


def test_what_was_changed_by_hand_beside_src_is_kept(app: Application, tree: Path) -> None:
    put(app, tree)
    (app.folder / "docker-compose.yml").write_text("services: {mine: {image: y}}\n")
    (app.folder / "migrations/900_mine.sql").write_text("SELECT 9;")
    placed = put(app, tree)
    assert placed.changed and placed.kept == ("docker-compose.yml.bak",)
    assert (app.folder / "docker-compose.yml").read_text() == COMPOSE
    assert "mine" in (app.folder / "docker-compose.yml.bak").read_text()
    assert (app.folder / "migrations/900_mine.sql").exists(), "what no source brought is not the source's to remove"


@pytest.mark.parametrize("target", ["/etc/passwd", "../outside", "deep/../../outside"])
def test_a_link_that_leads_out_is_refused(app: Application, tree: Path, target: str) -> None:
    (tree / "bad").symlink_to(target)
    with pytest.raises(Refused) as caught:
        put(app, tree)
    assert "bad" in caught.value.message and "leads out" in caught.value.message
    assert contents(app.folder / "src") == {}


@pytest.mark.parametrize("name", ["config", "migrations"])
def test_a_link_in_the_applications_directory_is_not_written_through(
    app: Application, tree: Path, tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (app.folder / name).rmdir()
    (app.folder / name).symlink_to(outside)
    with pytest.raises(Refused) as caught:
        put(app, tree)
    assert name in caught.value.message
    assert list(outside.iterdir()) == []


def test_a_failure_leaves_the_former_tree_and_no_remains(app: Application, tree: Path) -> None:
    put(app, tree)
    before = contents(app.folder)
    (tree / "app.py").write_text("two")
    (tree / "config/new.ini").write_text("[b]")
    (app.folder / "config/new.ini").mkdir()  # a directory where the source has a file
    with pytest.raises(Refused):
        put(app, tree)
    (app.folder / "config/new.ini").rmdir()
    assert contents(app.folder) == before
    assert [path.name for path in (app.folder / ".ikoma").iterdir()] == ["source.json"]


def test_a_full_disk_leaves_the_former_tree(tmp_path: Path) -> None:
    apps = tmp_path / "apps"
    apps.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(apps)], check=True)
    try:
        app = Application(tmp_path)
        skeleton.make(app.on, app.name)
        root = tmp_path / "source"
        root.mkdir()
        (root / "small").write_text("small")
        put(app, root)
        (root / "big").write_bytes(os.urandom(200_000))
        with pytest.raises(Unavailable, match="disk is full"):
            put(app, root)
        assert contents(app.folder / "src") == {"small": "small"}
        assert [path.name for path in (app.folder / ".ikoma").iterdir()] == ["source.json"]
    finally:
        subprocess.run(["umount", str(apps)], check=True)


def test_what_a_dead_run_left_is_cleared_and_the_former_tree_comes_back(app: Application, tree: Path) -> None:
    put(app, tree)
    (app.folder / "src").rename(app.folder / ".ikoma/former-abc")  # it died between two renames
    (app.folder / ".ikoma/incoming-abc").mkdir()
    assert not put(app, tree).changed
    assert (app.folder / "src/app.py").read_text() == "one"
    assert [path.name for path in (app.folder / ".ikoma").iterdir()] == ["source.json"]


def test_check_mode_tells_and_changes_nothing(app: Application, tree: Path) -> None:
    assert source.put_in_place(DryTransport(app.on), app.name, str(tree), None).changed
    assert contents(app.folder / "src") == {} and not (app.folder / ".ikoma").exists()
    put(app, tree)
    assert not source.put_in_place(DryTransport(app.on), app.name, str(tree), None).changed


def test_what_is_not_there(app: Application, tmp_path: Path) -> None:
    with pytest.raises(NotFound) as caught:
        put(app, tmp_path / "nowhere")
    assert "nowhere" in caught.value.message
    (tmp_path / "empty").mkdir()
    with pytest.raises(Refused, match="empty"):
        put(app, tmp_path / "empty")
    with pytest.raises(NotFound, match="no application"):
        source.put_in_place(app.on, "another", str(tmp_path / "empty"), None)
    with pytest.raises(Refused, match="own directory"):
        put(app, app.folder / "src")


# --- git ---


def run_git(folder: Path, *words: str) -> str:
    own = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "init.defaultBranch=main")
    return subprocess.run(
        ["git", *own, *words], cwd=folder, capture_output=True, text=True, check=True
    ).stdout.strip()  # fmt: skip


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    root = tmp_path / "repository"
    root.mkdir()
    run_git(root, "init", "--quiet")
    for version, text in (("v1", "one"), ("v2", "two")):
        (root / "app.py").write_text(text)
        (root / "docker-compose.yml").write_text(COMPOSE.replace("x", version))
        (root / "migrations").mkdir(exist_ok=True)
        (root / f"migrations/00{version[1]}_m.sql").write_text("SELECT 1;")
        run_git(root, "add", ".")
        run_git(root, "commit", "--quiet", "-m", version)
        run_git(root, "tag", "-a", version, "-m", version)
    run_git(root, "checkout", "--quiet", "-b", "feature")
    (root / "app.py").write_text("feature")
    run_git(root, "commit", "--quiet", "-am", "feature")
    run_git(root, "checkout", "--quiet", "main")
    return root


def test_a_tag_a_branch_and_a_commit_of_git(app: Application, repository: Path) -> None:
    first = put(app, repository, "v1")
    assert first.changed and first.ref == "v1"
    assert first.commit == run_git(repository, "rev-parse", "v1^{commit}")
    assert (app.folder / "src/app.py").read_text() == "one"
    assert "v1" in (app.folder / "docker-compose.yml").read_text()
    assert not put(app, repository, "v1").changed, "the same commit changes nothing"

    second = put(app, repository, "v2")
    assert second.changed and (app.folder / "migrations/002_m.sql").exists()
    assert put(app, repository, "feature").changed
    assert (app.folder / "src/app.py").read_text() == "feature"
    commit = run_git(repository, "rev-parse", "v1^{commit}")
    for spelled in (commit, commit[:9]):
        put(app, repository, spelled)
        assert (app.folder / "src/app.py").read_text() == "one"
    assert not (app.folder / "migrations/002_m.sql").exists()


def test_a_checkout_by_hand_works_in_src_and_is_noticed(app: Application, repository: Path) -> None:
    put(app, repository, "v2")
    run_git(app.folder / "src", "checkout", "--quiet", "v1")
    assert (app.folder / "src/app.py").read_text() == "one"
    assert put(app, repository, "v2").changed
    assert (app.folder / "src/app.py").read_text() == "two"


def test_git_by_url_and_a_bare_repository(app: Application, repository: Path, tmp_path: Path) -> None:
    bare = tmp_path / "bare.git"
    run_git(tmp_path, "clone", "--quiet", "--bare", str(repository), str(bare))
    assert put(app, f"file://{bare}", "v1").changed
    assert put(app, bare).ref == ""
    assert (app.folder / "src/app.py").read_text() == "two", "without a reference the default branch counts"


def test_an_unknown_reference_names_the_tags(app: Application, repository: Path) -> None:
    put(app, repository, "v1")
    with pytest.raises(NotFound) as caught:
        put(app, repository, "v9")
    assert "v9" in caught.value.message and "v1, v2" in caught.value.remedy
    with pytest.raises(NotFound):
        put(app, repository, "deadbeef")
    assert (app.folder / "src/app.py").read_text() == "one", "the former source must stay"
    assert [path.name for path in (app.folder / ".ikoma").iterdir()] == ["source.json"]


@pytest.mark.parametrize("text", ["--upload-pack=touch ran", "ext::sh -c touch% ran", "-c", "a\nb"])
def test_a_url_that_is_an_option_or_a_program_is_refused(app: Application, tmp_path: Path, text: str) -> None:
    with pytest.raises(IkomaError):
        put(app, text, "v1")
    with pytest.raises(Refused):
        git.repository(text)
    assert not list(tmp_path.rglob("ran"))


def test_a_password_in_a_url_is_nowhere(app: Application) -> None:
    with pytest.raises(Unavailable) as caught:
        put(app, "https://someone:canary-4711@127.0.0.1:9/x.git", "v1")
    error = caught.value
    assert "https://127.0.0.1:9/x.git" in error.message
    assert "canary-4711" not in f"{error.message} {error.remedy} {error.evidence}"
    taken = git.repository("https://someone:can%40ary@example.org/x.git")
    assert (taken.url, taken.user, taken.password) == ("https://example.org/x.git", "someone", "can@ary")


def test_links_in_git_are_not_followed(app: Application, repository: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("canary")
    (repository / "migrations/666_m.sql").symlink_to(tmp_path / "secret")
    run_git(repository, "rm", "--quiet", "docker-compose.yml")
    (repository / "docker-compose.yml").symlink_to(tmp_path / "secret")
    run_git(repository, "add", ".")
    run_git(repository, "commit", "--quiet", "-m", "links")
    put(app, repository, "main")
    assert not (app.folder / "migrations/666_m.sql").exists()
    assert "canary" not in (app.folder / "docker-compose.yml").read_text()


def test_git_sources_in_check_mode(app: Application, repository: Path) -> None:
    assert source.put_in_place(DryTransport(app.on), app.name, str(repository), "v1").changed
    assert contents(app.folder / "src") == {}
    put(app, repository, "v1")
    assert not source.put_in_place(DryTransport(app.on), app.name, str(repository), "v1").changed


def test_a_directory_that_is_no_repository_has_no_references(app: Application, tree: Path) -> None:
    with pytest.raises(StepError) as caught:
        put(app, tree, "v1")
    assert str(tree) in caught.value.message


def test_the_commit_of_a_clean_checkout_is_known(app: Application, repository: Path) -> None:
    assert put(app, repository).commit == run_git(repository, "rev-parse", "HEAD")
    (repository / "app.py").write_text("dirty")
    assert put(app, repository).commit == "", "a changed checkout is no commit"
    assert isinstance(app.on, LocalTransport)
