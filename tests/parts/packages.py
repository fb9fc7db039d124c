"""A server of packages at an address that a container reaches: the paths that Docker's own repository and its releases
have, signed with a key of its own. The packages bring the engine of the host's distribution and this machine's Compose.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Sequence
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from .images import run

ENGINE = "docker-ce"
COMPOSE = "usr/libexec/docker/cli-plugins/docker-compose"


class Packages:
    """Serves `folder`; `key` is the public one that its lists are signed with."""

    def __init__(self, folder: Path, address: str, compose: str) -> None:
        self.folder = folder
        self.compose = compose
        self.engine = folder / "engine.deb"  # the distribution's package; whoever serves docker-ce puts it there
        self.architecture = run("dpkg", "--print-architecture").stdout.strip()
        self._keys = tempfile.TemporaryDirectory()  # with a short path: its agent listens on a socket there
        self._gpg("--passphrase", "", "--quick-generate-key", "packages@example.org", "default", "default", "never")
        self.key = self._gpg("--armor", "--export")
        handler = partial(_Silent, directory=str(folder / "served"))
        self._server = ThreadingHTTPServer((address, 0), handler)
        self.url = f"http://{address}:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, daemon=True).start()

    def close(self) -> None:
        self._server.shutdown()
        subprocess.run(["gpgconf", "--kill", "gpg-agent"], env=self._environment(), check=False)
        self._keys.cleanup()

    def repository(self, place: str, codename: str, component: str, packages: Sequence[str]) -> None:
        """A repository at `place` with packages of these names."""
        top = self.folder / "served" / place
        lists = f"{component}/binary-{self.architecture}/Packages"
        (top / "pool").mkdir(parents=True, exist_ok=True)
        text = "\n".join(self._package(top, name) for name in packages)
        file = top / "dists" / codename / lists
        file.parent.mkdir(parents=True)
        file.write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        release = (f"Codename: {codename}\nSuite: {codename}\nComponents: {component}\n"
                   f"Architectures: {self.architecture}\nSHA256:\n {digest} {len(text)} {lists}\n")  # fmt: skip
        (file.parents[2] / "InRelease").write_text(self._gpg("--clearsign", said=release))
        (top / "gpg").write_text(self.key)

    def release(self, name: str, digest: str = "") -> str:
        """A binary of Compose with its checksum beside; its address."""
        place = self.folder / "served/releases"
        place.mkdir(parents=True, exist_ok=True)
        shutil.copy2(self.compose, place / name)
        digest = digest or hashlib.sha256((place / name).read_bytes()).hexdigest()
        (place / f"{name}.sha256").write_text(f"{digest} *{name}\n")
        return f"{self.url}/releases/{name}"

    def _package(self, top: Path, name: str) -> str:
        """Its paragraph in the list."""
        tree = self.folder / "packages" / top.name / name
        control = tree / "DEBIAN/control"
        if name == ENGINE:
            text = self._engine(tree)
        else:
            control.parent.mkdir(parents=True)
            text = (f"Package: {name}\nVersion: 5:29.0.0-1\nArchitecture: {self.architecture}\n"
                    f"Maintainer: nobody <nobody@example.org>\nDescription: {name}\n")  # fmt: skip
        control.write_text(text)
        if "compose" in name:
            (tree / COMPOSE).parent.mkdir(parents=True)
            shutil.copy2(self.compose, tree / COMPOSE)
            (tree / COMPOSE).chmod(0o755)
        file = top / "pool" / f"{name}.deb"
        run("dpkg-deb", "--build", "--root-owner-group", "-Znone", str(tree), str(file))
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        return f"{text}Filename: pool/{file.name}\nSize: {file.stat().st_size}\nSHA256: {digest}\n"

    def _engine(self, tree: Path) -> str:
        """The distribution's engine, as a package of another name."""
        run("dpkg-deb", "--raw-extract", str(self.engine), str(tree))
        lines = (tree / "DEBIAN/control").read_text().splitlines(keepends=True)
        kept = [line for line in lines if not line.startswith(("Conflicts", "Breaks", "Replaces", "Provides"))]
        return re.sub("^Package: .*", f"Package: {ENGINE}", "".join(kept), flags=re.M)

    def _gpg(self, *words: str, said: str = "") -> str:
        argv = ["gpg", "--batch", "--quiet", "--pinentry-mode", "loopback", *words]
        done = subprocess.run(argv, input=said, capture_output=True, text=True, check=True, env=self._environment())
        return done.stdout

    def _environment(self) -> dict[str, str]:
        return {**os.environ, "GNUPGHOME": self._keys.name}


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *words: object) -> None:
        pass
