"""The least that a server of calls could be: check the key, read the body, write the audit line, answer.

python bare_server.py PORT AUDIT_LOG KEY_HASH
"""

from __future__ import annotations

import hashlib
import hmac
import json
import sys
from pathlib import Path

import bottle
import waitress

from ikoma_play.audit.entries import Entry
from ikoma_play.audit.log import AuditLog

port, log, wanted = int(sys.argv[1]), AuditLog(Path(sys.argv[2])), sys.argv[3]
app = bottle.Bottle()


@app.post("/execute/<name>")
def execute(name: str) -> dict[str, object]:
    key = bottle.request.headers.get("X-Api-Key", "")
    if not hmac.compare_digest(hashlib.sha256(key.encode()).hexdigest(), wanted):
        bottle.response.status = 401
        return {"success": False}
    body = json.loads(bottle.request.body.read() or b"{}")
    log.append(Entry(name, "observer", body, host="localhost", key="platform", run="none", request_id="none"))
    return {"success": True, "result": []}


waitress.serve(app, host="127.0.0.1", port=port, threads=20, backlog=1024, asyncore_use_poll=True)
