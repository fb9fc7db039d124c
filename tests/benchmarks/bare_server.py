"""The least that a server of calls could be: check the key, read the body, write the audit line, answer as ours does.

python bare_server.py PORT AUDIT_LOG KEY_HASH
"""

from __future__ import annotations

import hashlib
import hmac
import json
import logging
import sys
import time
from pathlib import Path

import bottle
import waitress

from ikoma_play.audit.entries import Entry
from ikoma_play.audit.log import AuditLog
from ikoma_play.server.app import HEADERS, POLICY

logging.getLogger("waitress.queue").setLevel(logging.CRITICAL)  # that requests wait for a thread is no event
port, log, wanted = int(sys.argv[1]), AuditLog(Path(sys.argv[2])), sys.argv[3]
app = bottle.Bottle()
REQUEST = "0123456789abcdef"


@app.post("/execute/<name>")
def execute(name: str) -> dict[str, object]:
    begun, at = time.perf_counter(), time.time()
    request, response = bottle.request, bottle.response
    key, role = request.get_header("X-Api-Key", ""), request.get_header("X-Role", "admin")
    for header, value in (POLICY, *HEADERS.items()):
        response.set_header(header, value)
    response.set_header("X-Request-Id", REQUEST)
    if not hmac.compare_digest(hashlib.sha256(key.encode()).hexdigest(), wanted):
        response.status = 401
        return {"success": False}
    body = json.loads(request.body.read() or b"{}")
    seconds = time.perf_counter() - begun
    line = Entry(name, role, body, duration=seconds, host="localhost", key="platform", request_id=REQUEST, at=at)
    log.append(line)
    return {"success": True, "result": []}


waitress.serve(
    app, host="127.0.0.1", port=port, threads=20, backlog=1024, ident="ikoma-play", asyncore_use_poll=True
)  # fmt: skip
