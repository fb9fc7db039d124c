"""Debian's Chromium without a window, spoken to over its own protocol through a pipe."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .images import PartMissing

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
    "--disable-background-networking", "--disable-component-update", "--disable-dev-shm-usage",
    "--remote-debugging-pipe", "--window-size=1200,900",
)  # fmt: skip
PATIENCE = 60.0  # seconds


class Page:
    """One page; `said` is what it and the browser complained of, `fetched` every address that was asked for."""

    def __init__(self, profile: Path) -> None:
        program = shutil.which("chromium")
        if program is None:
            raise PartMissing("no Chromium: apt-get install chromium brings one.")
        to_read, self._to_browser = os.pipe()
        self._from_browser, to_write = os.pipe()
        # Far from 3 and 4, where the browser wants them.
        ends = [os.dup(os.dup2(each, 60 + number)) for number, each in enumerate((to_read, to_write))]
        quiet = os.open(os.devnull, os.O_RDWR)
        actions = [
            (os.POSIX_SPAWN_DUP2, quiet, 1), (os.POSIX_SPAWN_DUP2, quiet, 2),
            (os.POSIX_SPAWN_DUP2, ends[0], 3), (os.POSIX_SPAWN_DUP2, ends[1], 4),
        ]  # fmt: skip
        argv = [program, *FLAGS, f"--user-data-dir={profile}"]
        self.pid = os.posix_spawn(program, argv, os.environ, file_actions=actions, setsid=True)
        for each in (to_read, to_write, 60, 61, *ends, quiet):
            os.close(each)
        self.said: list[str] = []
        self.fetched: list[str] = []
        self._came = b""
        self._number = 0
        self._answers: dict[int, dict[str, Any]] = {}
        target = self.do("Target.createTarget", url="about:blank")["targetId"]
        self._session: str | None = self.do("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.do(f"{domain}.enable")

    _session = None

    def do(self, method: str, **values: Any) -> dict[str, Any]:
        """One command of the protocol, and its answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": values}
        if self._session is not None:
            message["sessionId"] = self._session
        os.write(self._to_browser, json.dumps(message).encode() + b"\0")
        ends = time.monotonic() + PATIENCE
        while self._number not in self._answers:
            assert time.monotonic() < ends, f"the browser does not answer {method}"
            self._listen(0.2)
        answer = self._answers.pop(self._number)
        assert "error" not in answer, (method, answer)
        return dict(answer["result"])

    def _listen(self, seconds: float) -> None:
        if not select.select([self._from_browser], [], [], seconds)[0]:
            return
        part = os.read(self._from_browser, 1 << 20)
        assert part, "the browser has ended"
        *messages, self._came = (self._came + part).split(b"\0")
        for message in map(json.loads, messages):
            if "id" in message:
                self._answers[message["id"]] = message
            else:
                self._note(message["method"], message["params"])

    def _note(self, method: str, values: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.fetched.append(values["request"]["url"])
        elif method == "Log.entryAdded":
            self.said.append(f"{values['entry']['level']}: {values['entry']['text']} {values['entry'].get('url', '')}")
        elif method == "Runtime.consoleAPICalled":
            self.said.append(f"{values['type']}: {values['args']}")
        elif method == "Runtime.exceptionThrown":
            self.said.append(json.dumps(values["exceptionDetails"]))

    def open(self, url: str) -> None:
        self.do("Page.navigate", url=url)
        self.until("document.readyState === 'complete' && location.href !== 'about:blank'")

    def value(self, expression: str) -> Any:
        """What an expression of the page's own language comes to."""
        found = self.do("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until an expression holds."""
        ends = time.monotonic() + PATIENCE
        while not self.value(f"Boolean({expression})"):
            assert time.monotonic() < ends, f"it does not come to hold: {expression}; {self.said}"
            self._listen(0.05)

    def click(self, selector: str) -> None:
        """Click in the middle of the first element that a selector finds, as a mouse does."""
        place = self.value(
            f"(() => {{ const it = document.querySelector({json.dumps(selector)});"
            " it.scrollIntoView({block: 'center'}); const at = it.getBoundingClientRect();"
            " return [at.x + at.width / 2, at.y + at.height / 2]; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.do(
                "Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1, buttons=1
            )

    def type(self, text: str) -> None:
        """Type into what has the focus."""
        self.do("Input.insertText", text=text)

    def screenshot(self, file: Path) -> None:
        file.write_bytes(base64.b64decode(self.do("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._to_browser)
        os.close(self._from_browser)


@contextmanager
def page(profile: Path) -> Iterator[Page]:
    """A page in a browser of its own, which is gone afterwards."""
    opened = Page(profile)
    try:
        yield opened
    finally:
        opened.close()
