"""Serve the guestbook until SIGTERM or SIGINT. Settings come from the environment.

PORT, LISTEN (the address, default 127.0.0.1), GUESTBOOK_TITLE and POSTGRES_HOST, _PORT, _DB, _USER, _PASSWORD.
"""

import os
import signal
import sys
import threading

from .database import Entries
from .server import Guestbook


def main() -> int:
    try:
        address = (os.environ.get("LISTEN", "127.0.0.1"), int(os.environ["PORT"]))
        entries = Entries.from_environment(os.environ)
    except (KeyError, ValueError) as error:
        print(f"guestbook: PORT or a POSTGRES_ setting is missing or wrong: {error}", file=sys.stderr)
        return 2
    server = Guestbook(address, entries, os.environ.get("GUESTBOOK_TITLE", "Guestbook"))

    def stop(*_: object) -> None:
        # shutdown() waits for the serving loop, which this signal has just interrupted.
        threading.Thread(target=server.shutdown).start()

    signal.signal(signal.SIGTERM, stop)
    signal.signal(signal.SIGINT, stop)
    print(f"guestbook: listening on {address[0]}:{server.server_address[1]}", flush=True)
    server.serve_forever(poll_interval=0.1)
    server.server_close()
    print("guestbook: stopped", flush=True)
    return 0


sys.exit(main())
