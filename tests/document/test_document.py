"""The runbook is written from the playbooks: every section of the original is there, with what it would run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from ikoma_play import shipped
from ikoma_play.document import gathering, writing
from ikoma_play.document.writing import outline
from ikoma_play.notify.contacts import escalation
from ikoma_play.tools import TOOLS
from ikoma_play.tools.documenting import about
from tests.parts.command import CHECKOUT, Ikoma

ORIGINAL = (CHECKOUT / "tests/server/runbook.fr.md").read_text()


def headings(text: str) -> list[str]:
    """Every heading outside of code, without the decoration in front."""
    without_code = re.sub(r"^```.*?^```", "", text, flags=re.M | re.S)
    found = re.findall(r"^#{1,4} (.+)$", without_code, re.M)
    return [re.sub(r"^[^\w]+", "", heading).strip() for heading in found]


@pytest.fixture(scope="module")
def documents(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    ikoma = Ikoma(tmp_path_factory.mktemp("docs"))
    words = ("docs", "-e", "app=shop", "-e", "db_password=canary-4711", "--lang")
    return {lang: ikoma(*words, lang).out for lang in ("fr", "en")}


@pytest.mark.parametrize("heading", headings(ORIGINAL)[1:])
def test_every_section_of_the_original_is_there(documents: dict[str, str], heading: str) -> None:
    there = headings(documents["fr"])
    assert heading in there, f"no section {heading!r} in {there}"


def test_the_sections_stand_in_the_order_of_the_original(documents: dict[str, str]) -> None:
    there = headings(documents["fr"])
    places = [there.index(heading) for heading in headings(ORIGINAL)[1:]]
    assert places == sorted(places)


def test_both_languages_have_the_same_sections(documents: dict[str, str]) -> None:
    assert len(headings(documents["fr"])) == len(headings(documents["en"]))
    for section in outline():
        assert section["fr"] in documents["fr"] and section["en"] in documents["en"], section


@pytest.mark.parametrize(
    "said",
    [
        "ikoma-play exec apps.init appName=shop",
        "ikoma-play run rollback -e app=shop",
        "**Initialiser le répertoire de l'application** (`apps.init`)",
        "**Objectif** : Créer la structure de l'application",
        "- Attendu : verified true",
        "- échoue si : `not release.verified and not ansible_check_mode`",
        "- [ ] Le démon Docker est en cours d'exécution",
        "| `port-taken` | `ikoma-play run fix-containers` |",
        "| `image-missing` | une personne |",
        "- [ ] La sauvegarde est créée, et se restaure",
        "**Symptômes** : `dockerRunning: false` dans le statut",
        "curl http://127.0.0.1:8080/health",
        "sh -c 'PATH=$PATH:/usr/sbin:/sbin dockerd --version'",
        "ikoma-play run restore -e yes=true    # sans être interrogé",
        "| P1: critique, production arrêtée | 15 minutes | on-call |",
    ],
)
def test_what_a_section_says(documents: dict[str, str], said: str) -> None:
    assert said in documents["fr"]


def test_what_a_playbook_says_of_itself_is_prose_and_a_list(documents: dict[str, str]) -> None:
    said = documents["en"].partition("### A bare host becomes a platform")[2].partition("```")[0]
    assert (
        "\n\n- `docker_from`: distribution (default) or docker\n- `compose_plugin`: a file of the runner, or a URL"
        in said
    )
    assert "where it has one, else Docker's own release\n- `postgres_from`" in said and "ikoma-play run" not in said, (
        said
    )


def test_every_command_in_it_exists(documents: dict[str, str]) -> None:
    tools = set(re.findall(r"ikoma-play exec (\S+)", documents["fr"]))
    assert len(tools) > 25 and not [name for name in tools if TOOLS.find(name) is None]
    for name in set(re.findall(r"ikoma-play run ([\w-]+)", documents["fr"])):
        assert (CHECKOUT / f"playbooks/{name}.yml").is_file(), name


def test_whatever_the_playbooks_say_has_its_french_form(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of plays, phases and steps, what undoes them, goals of roles, outcomes of tools, and both lists."""
    known, missing = writing.words("fr"), set()

    class Asked(dict[str, str]):
        def get(self, text: str, default: Any = None) -> Any:
            if text and text not in known:
                missing.add(text)
            return known.get(text, default)

    monkeypatch.setattr(writing, "words", lambda lang: Asked())
    paths = {path.stem: path for path in shipped.playbooks().glob("*.yml")}
    facts = about(escalation({}))
    for whole in (None, paths):
        writing.write(gathering.request(TOOLS, "fr", whole, about=facts))
    assert not missing, f"not in words.fr.yml: {sorted(missing)}"


def test_no_secret_is_in_it(documents: dict[str, str]) -> None:
    assert "canary-4711" not in "".join(documents.values())


def test_a_playbook_of_ones_own_with_its_rollback(tmp_path: Path) -> None:
    (tmp_path / "own.yml").write_text(
        "# Changes a file.\n- name: A change\n  hosts: all\n  steps:\n"
        "    - name: Back up\n      db.backup: {appName: '{{ app }}'}\n"
        "      rollback:\n        - name: Restore it all\n"
        "          db.restore: {appName: '{{ app }}', backupPath: '{{ result.backupPath }}'}\n"
        "    - name: Set the password\n      apps.env.write: {appName: '{{ app }}', values: {DB_PASSWORD: canary-9}}\n"
    )
    ikoma = Ikoma(tmp_path)
    told = ikoma("docs", "own.yml", "-e", "app=shop", "--lang", "en", "-o", "out.md")
    text = (tmp_path / "out.md").read_text()
    assert not told.out and "Changes a file." in text and "- Undone by: Restore it all" in text, text
    assert "apps.env.write appName=shop values=…" in text and "canary-9" not in text, text
    assert "There is no playbook nosuch" in ikoma("docs", "nosuch", expect=1).text
    assert "cannot be written" in ikoma("docs", "own.yml", "-o", "nowhere/out.md", expect=1).text
