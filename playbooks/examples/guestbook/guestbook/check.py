"""The health check: exit code 0 when the guestbook beside us answers that it is healthy."""

import os
import sys
import urllib.error
import urllib.request


def main() -> int:
    url = f"http://127.0.0.1:{os.environ['PORT']}/health"
    try:
        # No proxy: the guestbook is on this very machine, or in this container.
        with urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url, timeout=4) as answer:
            print(answer.read().decode())
            return 0
    except urllib.error.HTTPError as error:
        print(f"{error.code} {error.read().decode()}")
    except OSError as error:
        print(error)
    return 1


if __name__ == "__main__":
    sys.exit(main())
