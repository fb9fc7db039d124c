"""What the README says is so: its tables, its commands, its examples, its links."""

from __future__ import annotations

import re
import shlex
import textwrap
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from ikoma_play.cli import sources
from ikoma_play.tools import TOOLS
from tests.parts.command import CHECKOUT, Ikoma

README = (CHECKOUT / "README.md").read_text()
DOCUMENTS = [CHECKOUT / "README.md", CHECKOUT / "playbooks/README.md", CHECKOUT / "roles/README.md"]


def blocks(section: str, language: str) -> list[str]:
    """The fenced blocks of this language in a section of the README ("" for all sections)."""
    text = README.partition(f"\n## {section}\n")[2].partition("\n## ")[0] if section else README
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.M | re.S)


def commands() -> list[list[str]]:
    """Every call of ikoma-play in the README's shell blocks and tables, as words."""
    lines = [line for block in blocks("", "bash") for line in block.splitlines()]
    lines += [code for row in README.splitlines() if row.startswith("|") for code in re.findall(r"`([^`]+)`", row)]
    split = [shlex.split(line, comments=True) for line in lines]
    return [words[1:] for words in split if words and words[0].endswith("ikoma-play") and len(words) > 1]


@cache
def help_of(*subcommand: str) -> str:
    return Ikoma(CHECKOUT)(*subcommand, "--help").out


def test_the_table_of_tools_is_the_declaration() -> None:
    rows = ["| tool | role | arguments | what it does |", "| --- | --- | --- | --- |"]
    for tool in TOOLS.all():
        if tool.dotted:
            arguments = ", ".join(f"{one.wire}{'' if one.required else '?'}" for one in tool.parameters)
            rows.append(f"| `{tool.name}` | {tool.access.label} | {arguments or '–'} | {tool.summary} |")
    table = "\n".join(rows)
    assert table in README, f"the table of tools in README.md should be\n\n{table}\n"


@pytest.mark.parametrize("words", commands(), ids=" ".join)
def test_every_command_of_the_readme_exists(words: list[str]) -> None:
    subcommand, arguments = words[0], [word for word in words[1:] if not word.startswith("-")]
    if subcommand in ("run", "check", "plan"):
        sources.playbook(arguments[0])
    elif subcommand in ("exec", "tools") and arguments:
        tool = TOOLS.find(arguments[0])
        assert tool is not None, f"there is no tool {arguments[0]}"
        unknown = {word.partition("=")[0] for word in arguments[1:]} - {one.wire for one in tool.parameters}
        assert not unknown, f"{tool.name} has no argument {unknown}"
    options = {word for word in words[1:] if word.startswith("-")}
    part = arguments[:1] if subcommand in ("audit", "keys", "runs", "vault") else []
    assert all(option in help_of(subcommand, *part) for option in options), f"{options} are not all options of {words}"


def test_the_examples_have_no_faults(tmp_path: Path) -> None:
    inventory, playbook, *others = blocks("", "yaml")
    asking, schedules = sorted(others, key=lambda text: "schedule:" in text)
    (tmp_path / "hosts.yml").write_text(inventory)
    (tmp_path / "playbook.yml").write_text(playbook + textwrap.indent(asking, "    "))
    ikoma = Ikoma(tmp_path)
    ikoma("check", "deploy", "-i", "hosts.yml")
    ikoma("check", "playbook.yml", "-i", "hosts.yml")
    (tmp_path / "schedules.yml").write_text(schedules)  # it imports shipped playbooks
    ikoma("check", "schedules.yml", "-i", "hosts.yml")
    assert "Nightly backup" in ikoma("schedules", "schedules.yml", "-i", "hosts.yml").out


def test_ci_runs_the_test_command_of_the_readme() -> None:
    command = blocks("Tests", "bash")[0].strip()
    assert command in (CHECKOUT / ".ci/run").read_text()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_links_lead_somewhere(document: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", document.read_text())
    dead = [link for link in links if "://" not in link and not (document.parent / link).exists()]
    assert links and not dead, f"dead links: {dead}"


def runbook_rows() -> list[list[str]]:
    """The cells of the README's table that maps the original runbook."""
    table = README.partition("\n### The runbook, section by section\n")[2].partition("\n## ")[0]
    rows = [row for row in table.splitlines() if row.startswith("| ")]
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[1:] if not row.startswith("| ---")]


def test_every_section_of_the_runbook_has_its_row() -> None:
    original = re.sub(r"^```.*?^```", "", (CHECKOUT / "tests/server/runbook.fr.md").read_text(), flags=re.M | re.S)
    sections = [re.sub(r"^[^\w]+", "", one).strip() for one in re.findall(r"^#{2,3} (.+)$", original, re.M)]
    mapped = {row[0] for row in runbook_rows()}
    assert not [section for section in sections if section not in mapped]


def commands_of_the_runbook() -> Iterator[tuple[str, str]]:
    """Each section of the original with each tool and program that it calls, in its blocks and between its words."""
    original, section = (CHECKOUT / "tests/server/runbook.fr.md").read_text(), ""
    for part in re.split(r"^(#{2,3} [^\n]+$|```bash\n.*?^```)", original, flags=re.M | re.S):
        if part.startswith("##"):
            section = re.sub(r"^[^\w]+", "", part).strip()
        elif part.startswith("```bash"):
            body = re.sub(r"<<EOF.*?^EOF", "", part.replace("\\\n", " "), flags=re.M | re.S)
            lines = [line for line in body.splitlines()[1:-1] if not line.startswith("#")]
            yield from ((section, found) for found in re.findall(r"/execute/([\w.]+)", body))
            yield from ((section, word) for line in lines for word in re.findall(r"(?:^|\| |\$\()([a-z]\w*)", line))
        else:
            yield from ((section, word) for word in re.findall(r"`([a-z]+) [^`\n]+`", part))


@pytest.mark.parametrize(("section", "command"), sorted(set(commands_of_the_runbook())))
def test_every_command_of_the_runbook_has_its_row(section: str, command: str) -> None:
    cells = " ".join(row[1] for row in runbook_rows() if row[0] == section)
    assert re.search(rf"(?<![\w.]){re.escape(command)}(?!\w)", cells), f"{section}: {command} is not in {cells!r}"


def uses(playbook: str, tool: str) -> bool:
    """Whether a shipped playbook calls the tool, in a role too."""
    text = (CHECKOUT / "playbooks" / playbook).read_text()
    roles = [CHECKOUT / f"roles/{name}/tasks" for name in re.findall(r"role: (\w+)", text)]
    return f"{tool}:" in "".join([text, *(file.read_text() for role in roles for file in role.glob("*.yml"))])


@pytest.mark.parametrize("row", runbook_rows(), ids=lambda row: f"{row[0]}: {row[1]}"[:60])
def test_the_tests_of_a_row_run_what_it_names(row: list[str]) -> None:
    """Each playbook and tool is named in one of the tests' files, or called by a playbook that is."""
    _, _, does, tests = row
    text = "".join((CHECKOUT / file).read_text() for file in re.findall(r"`(tests/[\w/]+\.py)", tests))
    names = [name.split()[0] for name in re.findall(r"`([^`]+)`", does) if not name.startswith("ikoma-play")]
    run = [name for name in names if name.endswith(".yml") and re.search(rf'"{name.removesuffix(".yml")}[" ]', text)]
    for name in names:
        assert name in run or f'"{name}"' in text or any(uses(one, name) for one in run), f"{name} is in no test of it"


@pytest.mark.parametrize("row", runbook_rows(), ids=lambda row: f"{row[0]}: {row[1]}"[:60])
def test_what_the_table_of_the_runbook_names_exists(row: list[str]) -> None:
    _, _, does, tests = row
    for name in re.findall(r"`([^`]+)`", does):
        words = name.split()
        known = TOOLS.find(words[0]) is not None or (CHECKOUT / "playbooks" / words[0]).is_file()
        assert known or words[0] == "ikoma-play", f"there is neither a tool nor a playbook {name}"
    for file, test in re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?`", tests):
        text = (CHECKOUT / file).read_text()
        assert not test or f"def {test}(" in text, f"{file} has no test {test}"
    assert "`tests/" in tests, "no test is named"
