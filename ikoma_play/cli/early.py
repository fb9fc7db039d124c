"""Connections begun before a run asks for them, while the rest of the program is loaded and its journal opened."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ..engine.options import Options
from ..engine.roads import CARRIED, RUNNERS_OWN, carried
from ..errors import IkomaError
from ..language.inventory import LOCAL_NAMES
from ..language.templating import Layer, Variables, has_template
from ..language.variables import HostVariables, Layers, PlayVariables
from ..model import Block, Host, Play, Step
from ..transport import connect
from . import options
from .loading import Loaded

# Options by which other steps than the first, or a password that is yet to be asked for, may be the first thing needed.
_UNSETTLING = ("tags", "skip_tags", "start_at", "one_by_one", "ask_pass", "password_file")


def begin(loaded: Loaded, given: dict[str, Any]) -> None:
    """Begin to connect to the hosts that the first step is sure to reach, as far as that is plain before anything is
    rendered. What goes wrong is told when the step comes to it."""
    if any(given[name] for name in _UNSETTLING):
        return
    try:
        hosts = list(_hosts(loaded, given))
        connect.begin(hosts[: Options(forks=given["forks"] or 0).workers], LOCAL_NAMES)
    except IkomaError:
        return


def _hosts(loaded: Loaded, given: dict[str, Any]) -> Iterator[Host]:
    playbook = loaded.playbooks[0]
    play = playbook.plays[0] if playbook.plays else None
    if play is None or not _is_plain(play):
        return
    step = None if play.gather_facts is True else _first(play.steps)
    if play.gather_facts is not True and not (step and _is_certain(step)):
        return
    folder = str(Path(playbook.path).absolute().parent)
    inventory = loaded.inventory.beside(folder)
    chosen = inventory.select(play.hosts)
    if given["limit"]:
        within = {host.name for host in inventory.select(given["limit"])}
        chosen = [host for host in chosen if host.name in within]
    said = options.connection_vars(given, None)
    of_play, extra = PlayVariables(play, Layers()), Layer(loaded.variables)
    for host in chosen:
        variables = HostVariables(host, extra, {"playbook_dir": folder}).view(of_play, step)
        if _is_written_out(variables):
            yield carried(host, variables, said)


def _first(nodes: Any) -> Step | None:
    while nodes and isinstance(nodes[0], Block):
        nodes = nodes[0].steps
    return nodes[0] if nodes else None


def _is_plain(play: Play) -> bool:
    """Whether the play begins on all its hosts, with no question and nothing that is still to be read."""
    return not (play.vars_files or play.vars_prompt or play.serial or has_template(play.hosts))


def _is_certain(step: Step) -> bool:
    """Whether the step is sure to be carried out, and on the play's own hosts."""
    elsewhere = (step.delegate_to, step.connection, step.remote_user, step.port, step.loop, step.run_once or None)
    unsure = step.when or step.tool in RUNNERS_OWN or "never" in step.tags
    return not unsure and all(each is None for each in elsewhere)


def _is_written_out(variables: Variables) -> bool:
    """Whether nothing about the connection is still to be rendered."""
    layers = [layer.values for layer in variables.layers]
    return not any(name.startswith(CARRIED) and has_template(values[name]) for values in layers for name in values)
