"""The document: sections in the order of the outline, steps as the playbooks have them."""

from __future__ import annotations

import hashlib
import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from ..errors import IkomaError
from ..model import EMPTY, Block, Node, Play, Playbook, Step
from ..tool import Tool, Toolbox

HERE = Path(__file__).parent
LANGUAGES = ("fr", "en")
_PARTS = (
    "pre_steps",
    "pre_tasks",
    "roles",
    "steps",
    "tasks",
    "post_steps",
    "post_tasks",
    "handlers",
)  # of a play, which name no phase

_SAID = {
    "fr": {
        "goal": "Objectif", "expected": "Attendu", "when": "Seulement si",
        "must": "doit être vrai", "mustnot": "échoue si", "undo": "Annulé par",
        "symptoms": "Symptômes", "cause": "Cause", "fix": "Remède",
        "severity": "Sévérité", "response": "Temps de réponse", "contact": "Contact",
        "document": "Écrit par ikoma-play {version} depuis {count} fichiers (sha256 {digest}) : il change avec eux, "
        "et `ikoma-play docs` l'écrit à nouveau.", "by person": "une personne",
        "review": "À relire chaque trimestre, et après chaque incident.",     },
    "en": {
        "goal": "Goal", "expected": "Expected", "when": "Only if",
        "must": "must be true", "mustnot": "fails if", "undo": "Undone by",
        "symptoms": "Symptoms", "cause": "Cause", "fix": "Remedy",
        "severity": "Severity", "response": "Response", "contact": "Contact",
        "document": "Written by ikoma-play {version} from {count} files (sha256 {digest}): it changes with them, and "
        "`ikoma-play docs` writes it anew.", "by person": "a person",
        "review": "To be read again each quarter, and after each incident.",     },
}  # fmt: skip


class Request(Struct, frozen=True):
    """What to write. `playbooks` by their names; `variables` are those of the host that it is for; `severities`
    rows of name, meaning, response, contacts; `causes` rows of problem, name, fix; `boxes` the titles of both lists."""

    playbooks: Mapping[str, Playbook]
    tools: Toolbox
    lang: str = "fr"
    title: str = ""
    version: str = ""
    variables: Mapping[str, Any] = EMPTY
    severities: Sequence[tuple[str, str, str, str]] = ()
    causes: Sequence[tuple[str, str, str]] = ()
    prerequisites: Sequence[str] = ()
    files: Mapping[str, str] = field(default_factory=dict)  # playbook name → its opening comment
    goals: Callable[[str], str] = lambda role: ""  # a role's short description
    whole: bool = True  # the outline; else the playbooks alone, in their order


def write(request: Request) -> str:
    """The document, in Markdown."""
    return "\n".join(_Writer(request).lines()).rstrip() + "\n"


@cache
def outline() -> tuple[Mapping[str, Any], ...]:
    import yaml

    return tuple(yaml.safe_load((HERE / "outline.yml").read_text("utf-8")))


@cache
def words(lang: str) -> Mapping[str, str]:
    import yaml

    path = HERE / f"words.{lang}.yml"
    return dict(yaml.safe_load(path.read_text("utf-8"))) if path.exists() else {}


class _Writer:
    def __init__(self, request: Request) -> None:
        self.request = request
        self.said = _SAID[request.lang]
        self.words = words(request.lang)
        self.colon = " :" if request.lang == "fr" else ":"

    def word(self, text: str) -> str:
        return self.words.get(text, text)

    def lines(self) -> Iterator[str]:
        request = self.request
        yield from (f"# {request.title}", "")
        if not request.whole:
            for name in request.playbooks:
                yield from self.playbook(name, 2, titled=True)
            return
        for section in outline():
            yield from (f"{'#' * section['depth']} {section[request.lang]}", "")
            if "say" in section:
                yield from (section["say"][request.lang], "")
            if "symptoms" in section:
                yield from (f"**{self.said['symptoms']}**{self.colon} {section['symptoms'][request.lang]}", "")
            yield from self.about(section.get("about", ""))
            for tool in section.get("commands", ()):
                yield from self.code([self.command(request.tools.find(tool), {"appName": "{{ app }}"}, {})])
            there = [name for name in section.get("playbooks", ()) if name in request.playbooks]
            for name in there:
                yield from self.playbook(name, section["depth"] + 1, titled=len(there) > 1)
            if section.get("lines") and not there:
                yield from self.code(section["lines"])

    def about(self, what: str) -> Iterator[str]:
        request, said = self.request, self.said
        if what == "prerequisites":
            yield from (*(f"- [ ] {self.word(box)}" for box in request.prerequisites), "")
        elif what == "severities":
            yield f"| {said['severity']} | {said['response']} | {said['contact']} |"
            yield "| --- | --- | --- |"
            yield from (
                f"| {name}: {self.word(meaning)} | {self.word(soon)} | {who} |"
                for name, meaning, soon, who in request.severities
            )
            yield ""
        elif what in ("containers", "database", "disk"):
            yield from (f"| {said['cause']} | {said['fix']} |", "| --- | --- |")
            for problem, name, fix in request.causes:
                if problem == what:
                    yield f"| `{name}` | {f'`ikoma-play run {fix}`' if fix else said['by person']} |"
            yield ""
        elif what == "checklist" and what in request.playbooks:
            yield from (*(f"- [ ] {self.word(box)}" for box in _boxes(request.playbooks[what])), "")
        elif what == "maintenance":
            yield from (said["document"].format(**self.digest()), "", said["review"], "")

    def digest(self) -> dict[str, Any]:
        read = sorted(
            {file for playbook in self.request.playbooks.values() for file in (playbook.path, *playbook.files)}
        )
        whole = hashlib.sha256(b"".join(Path(file).read_bytes() for file in read if Path(file).is_file()))
        return {"version": self.request.version, "count": len(read), "digest": whole.hexdigest()[:12]}

    # --- playbooks ---

    def playbook(self, name: str, depth: int, titled: bool) -> Iterator[str]:
        playbook = self.request.playbooks[name]
        if titled:
            yield from (f"{'#' * depth} {self.word(playbook.plays[0].name or name)}", "")
        comment = self.request.files.get(name, "")
        if comment and self.request.lang == "en":  # which it is written in
            yield from (*_prose(comment), "")
        said = [
            re.split(r" {2,}", line.strip(), maxsplit=1)
            for line in comment.splitlines()
            if line.startswith("  ikoma-play ")
        ]
        ways = ["    # ".join((command, *map(self.word, why))) for command, *why in said[1:]]
        yield from self.code([f"ikoma-play run {name}{self.application()}", *ways])
        for play in playbook.plays:
            if len(playbook.plays) > 1:
                yield from (f"**{self.word(play.name)}**", "")
            yield from self.play(play, depth + titled)

    def application(self) -> str:
        app = self.request.variables.get("app")
        return f" -e app={app}" if isinstance(app, str) and app else ""

    def play(self, play: Play, depth: int) -> Iterator[str]:
        phase, number = None, 0
        for step, undone in _steps(play.steps, _titles(play.rollback)):
            if step.tool == "meta" or step.name.startswith("Check the arguments of"):
                continue
            if step.phase != phase:
                phase = step.phase
                if phase and phase not in _PARTS:
                    yield from ("", f"{'#' * depth} {self.word(phase)}", "")
                    if step.role and (goal := self.request.goals(step.role.path)):
                        yield from (f"**{self.said['goal']}**{self.colon} {self.word(goal)}", "")
                    number = 0
            number += 1
            yield from self.step(number, step, undone, play)
        yield ""

    def step(self, number: int, step: Step, undone: tuple[str, ...], play: Play) -> Iterator[str]:
        said, tool = self.said, self.request.tools.find(step.tool)
        yield f"{number}. **{self.word(step.name) or step.tool}** (`{step.tool}`)"
        variables = _variables(play, step, self.request.variables)
        shown = tool is not None and (tool.dotted or tool.name in ("command", "uri"))
        if shown and (command := self.command(tool, step.args, variables)):
            yield from ("", "   ```bash", f"   {command}", "   ```", "")
        if tool is not None and tool.dotted:
            yield f"   - {said['expected']}{self.colon} {self.word(tool.summary)}"
        if step.tool == "assert":
            conditions = step.args.get("that", ())
            for one in [conditions] if isinstance(conditions, str) else conditions:
                yield f"   - {said['expected']}{self.colon} `{one}` {said['must']}"
        for condition in step.failed_when or ():
            if condition is not False:
                yield f"   - {said['mustnot']}{self.colon} `{condition}`"
        for condition in step.when:
            yield f"   - {said['when']}{self.colon} `{condition}`"
        own = (*_titles(step.rollback), *undone)
        if own:
            yield f"   - {said['undo']}{self.colon} {', '.join(self.word(one) for one in own)}"

    def command(self, tool: Tool | None, args: Mapping[str, Any], variables: Mapping[str, Any]) -> str:
        """What would do this one step, with real values where they are known; a secret is never written."""
        if tool is None:
            return ""
        if tool.name == "uri":
            url = _shown(args.get("url", ""), variables or self.request.variables)
            return f"curl {url}" if url else ""
        if tool.name == "command":
            argv = args.get("argv") or args.get("cmd") or args.get("_raw_params") or ""
            shown = _shown(argv, variables)
            return shlex.join(map(str, shown)) if isinstance(shown, list) else str(shown)
        known = variables or self.request.variables
        secret = {one.wire for one in tool.parameters if one.secret}
        pairs = []
        for name, value in args.items():
            if name not in {one.wire for one in tool.parameters}:
                continue
            shown = "…" if name in secret else _shown(value, known)
            if shown not in (None, "", {}, []):
                pairs.append(f"{name}={shown if isinstance(shown, str) else _plain(shown)}")
        return " ".join(["ikoma-play exec", tool.name, *(_quoted(pair) for pair in pairs)])

    @staticmethod
    def code(lines: Sequence[str]) -> Iterator[str]:
        yield from ("```bash", *lines, "```", "")


# --- how ---


def _steps(nodes: Sequence[Node], undone: tuple[str, ...]) -> Iterator[tuple[Step, tuple[str, ...]]]:
    for node in nodes:
        if isinstance(node, Block):
            yield from _steps((*node.steps, *node.rescue, *node.always), (*_titles(node.rollback), *undone))
        else:
            yield node, undone


def _titles(nodes: Any) -> tuple[str, ...]:
    if not isinstance(nodes, tuple):
        return ()
    return tuple(step.title for step, _ in _steps(nodes, ()))


def _prose(comment: str) -> Iterator[str]:
    """An opening comment without its usage lines, its variables as a list."""
    items = re.sub(r"(?m)^(\w+(?:, \w+)*) {2,}(?=\S)", r"- `\1`: ", comment)
    items = re.sub(r"(?m)^  ikoma-play .*\n?", "", items)
    items = re.sub(r"\n {3,}(?=\S)", " ", items)  # what goes on from the line before
    yield from re.sub(r"\n{3,}", "\n\n", items).strip().splitlines()


def _boxes(playbook: Playbook) -> Iterator[str]:
    """The titles of the list that a playbook puts together."""
    for play in playbook.plays:
        for step, _ in _steps(play.steps, ()):
            for one in step.args.get("checklist", ()) if step.tool == "set_fact" else ():
                yield str(_shown(one["box"], _variables(play, step, {})))


def _variables(play: Play, step: Step, host: Mapping[str, Any]) -> dict[str, Any]:
    defaults = dict(step.role.defaults) if step.role else {}
    fixed = dict(step.role.vars) if step.role else {}
    params = dict(step.role.params) if step.role else {}
    own = {name: value for layer in step.vars for name, value in layer.items()}
    return {**defaults, **play.vars, **fixed, **params, **own, **host}


def _shown(value: Any, variables: Mapping[str, Any]) -> Any:
    """The value rendered; where something is known only in a run, the variable's name in capitals."""
    from ..language.templating import Templar

    if isinstance(value, Mapping):
        return {key: _shown(one, variables) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_shown(one, variables) for one in value]
    if not isinstance(value, str) or "{" not in value:
        return value
    try:
        return Templar(variables).render(value)
    except IkomaError:
        names = re.sub(r"\{\{\s*(?:lookup\()?([A-Za-z_][\w.]*)[^}]*\}\}", lambda match: match[1].upper(), value)
        return re.sub(r"\{%.*?%\}", "…", names)


def _plain(value: Any) -> str:
    import json

    return json.dumps(value, ensure_ascii=False, default=str)


def _quoted(pair: str) -> str:
    name, _, value = pair.partition("=")
    return pair if re.fullmatch(r"[\w.…/:@%+,-]*", value) else f"{name}={shlex.quote(value)}"
