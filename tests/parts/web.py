"""Asking the deployed application, past any proxy."""

from __future__ import annotations

import json
import urllib.error
import urllib.parse
import urllib.request
from typing import Any

_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def ask(url: str, form: dict[str, str] | None = None) -> tuple[int, str]:
    """The status and text of the answer to a GET, or to a POST of a form (redirects are followed)."""
    data = urllib.parse.urlencode(form).encode() if form else None
    try:
        with _OPENER.open(urllib.request.Request(url, data), timeout=15) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def ask_json(url: str) -> tuple[int, Any]:
    status, text = ask(url)
    return status, json.loads(text)
