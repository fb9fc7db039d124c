"""Tools over HTTP: who may call what, each call in the audit log, each answer the one that was promised.

answers.py   refusals, and the one table of error code → HTTP status
bodies.py    request bodies: JSON whatever the Content-Type says, bounded in size and depth
callers.py   who calls, by key, and with which role
limiting.py  how often an address and a key may call
settings.py  the platform's `.env` and the environment, taken up again when the file changes
calls.py     one call of a tool: checks, run, audit
app.py       the Bottle application: routes and headers
listener.py  the sockets: waitress, TLS, the stop
"""
