"""Every tool by name; the file that declares one is imported when the tool is first asked for."""

from __future__ import annotations

from ..tool import Toolbox

TOOLS = Toolbox(
    {
        # The existing platform's nineteen first, in its order, then what the runbook's shell lines call for.
        "ikoma_play.tools.platform": (
            "platform.info",
            "platform.check",
            "platform.preflight",
            "platform.up",
            "platform.down",
        ),
        "ikoma_play.tools.apps": (
            "apps.list",
            "apps.status",
            "apps.health",
            "apps.init",
            "apps.remove",
            "apps.env.example",
            "apps.validate",
            "apps.env.write",
            "apps.env.restore",
            "apps.source",
            "apps.source.restore",
            "apps.logs",
        ),
        "ikoma_play.tools.deploy": ("deploy.up", "deploy.down", "deploy.restart"),
        "ikoma_play.tools.db": (
            "db.create",
            "db.migrate",
            "db.seed",
            "db.backup",
            "db.status",
            "db.restore",
            "db.backups",
            "db.verify_backup",
        ),
        "ikoma_play.tools.artifact": (
            "artifact.generate_runbook",
            "artifact.verify_release",
            "artifact.record_release",
            "artifact.releases",
            "artifact.previous_release",
            "artifact.rehearse",
            "artifact.rehearsals",
            "artifact.prune",
            "artifact.write_runbook",
            "artifact.check_runbook",
        ),
        "ikoma_play.tools.diagnosis": ("apps.diagnose", "platform.disk", "platform.prune"),
        "ikoma_play.tools.notification": ("platform.notify", "platform.notifications"),
        "ikoma_play.tools.security": ("keys.create", "keys.rotate", "keys.revoke", "audit.review"),
        "ikoma_play.tools.installing": ("platform.env", "platform.program"),
        # Ansible's names from here on.
        "ikoma_play.tools.general.saying": ("debug", "assert", "fail", "ping"),
        "ikoma_play.tools.general.variables": ("set_fact", "include_vars"),
        "ikoma_play.tools.general.commands": ("command", "shell", "raw", "script"),
        "ikoma_play.tools.general.background": ("async_status",),
        "ikoma_play.tools.general.copying": ("copy", "template", "assemble"),
        "ikoma_play.tools.general.file": ("file",),
        "ikoma_play.tools.general.looking": ("stat", "slurp", "find", "fetch", "tempfile"),
        "ikoma_play.tools.general.lines": ("lineinfile", "blockinfile", "replace"),
        "ikoma_play.tools.general.waiting": ("wait_for", "wait_for_connection", "pause"),
        "ikoma_play.tools.general.approving": ("approve",),
        "ikoma_play.tools.general.web": ("uri", "get_url"),
        "ikoma_play.tools.general.unpacking": ("unarchive",),
        "ikoma_play.tools.general.facts": ("setup",),
        "ikoma_play.tools.general.repository": ("git",),
        "ikoma_play.tools.general.accounts": ("group", "user", "authorized_key"),
        "ikoma_play.tools.general.packages": ("apt", "package", "pip"),
        "ikoma_play.tools.general.services": ("service", "systemd", "systemd_service"),
        "ikoma_play.tools.general.cron": ("cron",),
        "ikoma_play.tools.general.role_check": ("validate_argument_spec",),
        "ikoma_play.tools.general.naming": ("hostname", "known_hosts"),
        # What only the engine can do.
        "ikoma_play.engine.directives": ("include_tasks", "include_role", "meta", "add_host", "group_by"),
    }
)
