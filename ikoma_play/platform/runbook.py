"""The runbook of one application, with its real values, in French or English."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Any

from .. import __version__
from ..errors import IkomaError
from ..transport.base import Transport
from . import app_env, dumps, envfile, health, releases, way_back
from .application import demand
from .runtime import runtime
from .settings import settings

_WORDS: Mapping[str, Mapping[str, str]] = {
    "fr": {
        "title": "Runbook de {app}",
        "facts": "État",
        "version": "Version",
        "deployed": "Déployée le",
        "never": "jamais",
        "commit": "Commit",
        "source": "Source",
        "health": "Santé",
        "config": "Configuration",
        "directory": "Répertoire",
        "service": "Service",
        "state": "État",
        "ports": "Ports",
        "image": "Image",
        "variables": "Variables de `.env` (les valeurs restent sur l'hôte)",
        "deploy": "Déploiement",
        "operate": "Opérations",
        "restart": "Redémarrer",
        "stop": "Arrêter",
        "backup": "Sauvegarder la base de données",
        "logs": "Consulter les logs",
        "checks": "Vérifications de santé",
        "expected": "Attendu",
        "rollback": "Procédure de rollback",
        "releases": "Releases enregistrées",
        "step_down": "Arrêter la version actuelle",
        "step_restore": "Restaurer la sauvegarde de la base de données",
        "step_rehearse": "Répéter le rollback sur des copies, sans toucher à ce qui tourne",
        "step_roll_back": "Rollback d'urgence : base de données, code et images de la release {version}",
        "step_by_hand": "À la main, dans cet ordre : {step}",
        "step_code": "Revenir au code de la release {version}",
        "step_env": "Revenir au .env de cette release",
        "step_up": "Déployer",
        "step_verify": "Vérifier la release",
        "no_backup": "aucune sauvegarde : db.backup en fait une",
        "no_release": "Aucune release précédente n'est enregistrée.",
    },
    "en": {
        "title": "Runbook of {app}",
        "facts": "State",
        "version": "Version",
        "deployed": "Deployed at",
        "never": "never",
        "commit": "Commit",
        "source": "Source",
        "health": "Health",
        "config": "Configuration",
        "directory": "Directory",
        "service": "Service",
        "state": "State",
        "ports": "Ports",
        "image": "Image",
        "variables": "Variables of `.env` (their values stay on the host)",
        "deploy": "Deployment",
        "operate": "Operations",
        "restart": "Restart",
        "stop": "Stop",
        "backup": "Back up the database",
        "logs": "Read the logs",
        "checks": "Health checks",
        "expected": "Expected",
        "rollback": "Rollback procedure",
        "releases": "Recorded releases",
        "step_down": "Stop the current version",
        "step_restore": "Restore the backup of the database",
        "step_rehearse": "Rehearse the rollback on copies, touching nothing that serves",
        "step_roll_back": "Emergency rollback: database, code and images of release {version}",
        "step_by_hand": "By hand, in this order: {step}",
        "step_code": "Go back to the code of release {version}",
        "step_env": "Go back to the .env of that release",
        "step_up": "Deploy",
        "step_verify": "Verify the release",
        "no_backup": "there is no backup: db.backup makes one",
        "no_release": "No earlier release is recorded.",
    },
}

_OPERATIONS = (
    ("restart", "deploy.restart"),
    ("stop", "deploy.down"),
    ("backup", "db.backup"),
    ("logs", "apps.logs"),
)


def runbook(on: Transport, app: str, lang: str, url: str = "") -> dict[str, Any]:
    """appName, version, deployedAt, config, healthChecks, rollbackProcedure, markdown. What cannot be looked
    at (an engine that is down) is left out; no value of `.env` is in it."""
    words = _WORDS[lang]
    known = releases.all_of(on, app)
    found = health.look(on, app, url)
    config = _config(on, app, found)
    checks = _checks(on, app, found)
    newest = known[0] if known else None
    steps = _rollback(on, app, known, words)
    result: dict[str, Any] = {
        "appName": app,
        "version": newest.version if newest else "",
        "deployedAt": newest.at if newest else None,
        "config": config,
        "healthChecks": checks,
        "rollbackProcedure": steps,
    }
    return {**result, "markdown": _markdown(app, result, known, found, words)}


def _config(on: Transport, app: str, found: health.Health) -> dict[str, Any]:
    folder = demand(on, app)
    try:
        names = sorted(envfile.read(on, posixpath.join(folder, ".env")).values)
    except IkomaError:
        names = []
    try:
        needed = sorted(app_env.needs(on, app))
    except IkomaError:
        needed = []
    return {
        "path": folder,
        "host": on.host.name,
        "runtime": settings(on).runtime,
        "services": [
            {
                "name": service.name,
                "state": health.shown(service),
                "image": service.image,
                "ports": list(service.ports),
            }
            for service in found.services
        ],
        "variables": names,
        "required": needed,
        "status": found.status,
    }


def _checks(on: Transport, app: str, found: health.Health) -> list[dict[str, str]]:
    checks = []
    try:
        services: Mapping[str, Any] = runtime(on).config(app)["services"]  # type: ignore[assignment]
    except (IkomaError, KeyError):
        services = {}
    for name, service in services.items():
        test = (service.get("healthcheck") or {}).get("test")
        if test:
            checks.append({"name": name, "command": " ".join(test[1:]), "expected": "healthy"})
    if found.database is not None:
        checks.append({"name": "database", "command": f"ikoma-play exec db.status appName={app}", "expected": "exists"})
    if found.url:
        checks.append({"name": "url", "command": f"curl {found.url}", "expected": "200"})
    return [
        *checks,
        {"name": "release", "command": _exec("artifact.verify_release", app), "expected": "verified: true"},
    ]


def _rollback(on: Transport, app: str, known: list[releases.Release], words: Mapping[str, str]) -> list[dict[str, str]]:
    """The playbook first; then what it does, step by step, for the day on which it cannot be run."""
    former = way_back.former(on, app, known)
    steps = []
    if former is not None:
        command = f"ikoma-play run rollback -e app={app}"
        steps.append({"step": words["step_rehearse"], "command": f"{command} --rehearse"})
        steps.append({"step": words["step_roll_back"].format(version=former.version), "command": command})
    by_hand = [("step_down", _exec("deploy.down", app))]
    backups = dumps.listed(on, app)
    fitting = next(way_back.fitting(backups, former, known), None) if former else next(iter(backups), None)
    restore = _exec("db.restore", app, f"backupPath={fitting.path}") if fitting else f"# {words['no_backup']}"
    by_hand.append(("step_restore", restore))
    back = [f"release={former.id}"] if former else []
    if former is not None:
        by_hand += [("step_code", _exec("apps.source.restore", app, *back))]
        by_hand += [("step_env", _exec("apps.env.restore", app, *back))]
    by_hand += [("step_up", _exec("deploy.up", app, *back))]
    by_hand += [("step_verify", _exec("artifact.verify_release", app))]
    for number, (word, command) in enumerate(by_hand):
        step = words[word].format(version=former.version if former else "")
        first = former is not None and number == 0  # of those that do by hand what the playbook does
        steps.append({"step": words["step_by_hand"].format(step=step) if first else step, "command": command})
    return steps


def _exec(tool: str, app: str, *more: str) -> str:
    return " ".join(("ikoma-play exec", tool, f"appName={app}", *more))


def _markdown(
    app: str,
    result: Mapping[str, Any],
    known: list[releases.Release],
    found: health.Health,
    words: Mapping[str, str],
) -> str:
    newest = known[0] if known else None
    source = f" -e source={newest.source}" if newest and newest.source else ""
    lines = [f"# {words['title'].format(app=app)}", ""]
    lines += _state_lines(result, newest, found, words)
    lines += _config_lines(result["config"], words)
    lines += [f"## {words['deploy']}", "", *_block([f"ikoma-play run deploy -e app={app}{source}"])]
    lines += [f"## {words['operate']}", ""]
    for word, tool in _OPERATIONS:
        lines += [f"### {words[word]}", "", *_block([_exec(tool, app)])]
    lines += [f"## {words['checks']}", ""]
    for check in result["healthChecks"]:
        lines += [f"- **{check['name']}**: `{check['command']}` ({words['expected']}: {check['expected']})"]
    lines += ["", f"## {words['rollback']}", ""]
    if len(known) < 2:
        lines += [words["no_release"], ""]
    for number, step in enumerate(result["rollbackProcedure"], 1):
        lines += [f"{number}. {step['step']}", "", *_block([step["command"]])]
    if known:
        lines += [f"## {words['releases']}", ""]
        lines += [f"- {release.at} · {release.version} · `{release.id}`" for release in known[:10]]
    return "\n".join([*lines, "", f"ikoma-play {__version__}", ""])


def _state_lines(
    result: Mapping[str, Any], newest: releases.Release | None, found: health.Health, words: Mapping[str, str]
) -> list[str]:
    return [
        f"## {words['facts']}",
        "",
        f"- **{words['version']}**: {result['version'] or '–'}",
        f"- **{words['deployed']}**: {result['deployedAt'] or words['never']}",
        f"- **{words['commit']}**: {newest.commit if newest and newest.commit else '–'}",
        f"- **{words['source']}**: {newest.source if newest and newest.source else '–'}",
        f"- **{words['health']}**: {found.status}",
        *(f"  - {problem}" for problem in found.problems),
        "",
    ]


def _config_lines(config: Mapping[str, Any], words: Mapping[str, str]) -> list[str]:
    lines = [f"## {words['config']}", "", f"{words['directory']}: `{config['path']}` ({config['host']})", ""]
    if config["services"]:
        heads = [words[name] for name in ("service", "state", "ports", "image")]
        lines += [f"| {' | '.join(heads)} |", "|---|---|---|---|"]
        for entry in config["services"]:
            ports = ", ".join(entry["ports"]) or "–"
            lines.append(f"| {entry['name']} | {entry['state']} | {ports} | `{entry['image'][:19]}` |")
        lines.append("")
    if config["variables"]:
        lines += [f"{words['variables']}: {', '.join(f'`{name}`' for name in config['variables'])}", ""]
    return lines


def _block(commands: list[str]) -> list[str]:
    return ["```bash", *commands, "```", ""]
