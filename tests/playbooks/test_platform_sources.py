"""Where Docker comes from on a bare host: the distribution, Docker's own repository and its releases, by local servers.

A host that calls itself Ubuntu is the bare Debian one with another /etc/os-release: what is chosen by it is real, the
packages under Ubuntu's names are ours.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.parts.bare import BareHost, bare_host, compose_plugin
from tests.parts.chance import LONG
from tests.parts.command import CHECKOUT
from tests.parts.images import run
from tests.parts.packages import Packages

pytestmark = pytest.mark.timeout(1800)
UBUNTU = 'ID=ubuntu\nNAME="Ubuntu"\nVERSION_ID="24.04"\nVERSION_CODENAME=noble\nPRETTY_NAME="Ubuntu 24.04.3 LTS"\n'
DOCKERS = ("containerd.io", "docker-buildx-plugin", "docker-ce", "docker-ce-cli", "docker-compose-plugin")
ALL = ("docker_repository", "ansible_distribution_release", "compose_package", "compose_url")


@contextmanager
def host_and_packages(folder: Path) -> Iterator[tuple[BareHost, Packages]]:
    (folder / "wheels").mkdir()
    (folder / "bare").mkdir()
    (folder / "packages").mkdir()
    with bare_host(folder / "bare", folder / "wheels") as host:
        look = "{{(index .IPAM.Config 0).Gateway}}"
        gateway = run("docker", "network", "inspect", "--format", look, host.name).stdout.strip()
        packages = Packages(folder / "packages", gateway, compose_plugin())
        try:
            yield host, packages
        finally:
            packages.close()


def docker(host: BareHost, *, expect: int = 0, **variables: Any) -> str:
    words = ("-i", "hosts.yml", "--tags", "docker", "--skip-tags", "always", "-e", json.dumps(variables))
    return host.ikoma("run", "platform", *words, expect=expect, timeout=900).text


def chosen(host: BareHost) -> dict[str, str]:
    """What the role makes of the host's facts where nobody says anything."""
    play = [{"hosts": "apps", "vars_files": [str(CHECKOUT / "roles/docker/defaults/main.yml")],
             "tasks": [{"debug": {"msg": {name: "{{ " + name + " }}" for name in ALL}}}]}]  # fmt: skip
    (host.folder / "chosen.yml").write_text(json.dumps(play))
    told = host.ikoma("run", "chosen.yml", "-i", "hosts.yml", "--json").out
    events = [json.loads(line) for line in told.splitlines()]
    (arguments,) = [each["arguments"] for each in events if each["event"] == "step_finished"]
    return dict(arguments["msg"])


def test_ubuntu_and_dockers_own_repository(tmp_path: Path, docker_engine: None) -> None:
    with host_and_packages(tmp_path) as (host, packages):
        host.put(UBUNTU.encode(), "/etc/os-release.new")
        host.do("sh", "-c", "rm /etc/os-release; mv /etc/os-release.new /etc/os-release; chmod 644 /etc/os-release")
        found = chosen(host)
        assert found["docker_repository"] == "https://download.docker.com/linux/ubuntu"
        assert (found["ansible_distribution_release"], found["compose_package"]) == ("noble", "docker-compose-v2")

        host.do("sh", "-c", "apt-get -qq update && cd /root && apt-get -qq download docker.io && mv docker.io_* engine")
        run("docker", "cp", f"{host.name}:/root/engine", str(packages.engine))
        packages.repository("linux/ubuntu", "noble", "stable", DOCKERS)
        source = f"{packages.url}/linux/{{{{ ansible_distribution | lower }}}}"
        key = tmp_path / "packages/served/linux/ubuntu/gpg"
        key.write_text("<html>log in to this network first</html>")
        told = docker(host, expect=3, docker_from="docker", docker_repository=source)
        assert "is not signed" in told or "NO_PUBKEY" in told, told
        assert host.do("ls", "/etc/apt/sources.list.d", "/etc/apt/keyrings").count("docker") == 0

        key.write_text(packages.key)
        docker(host, docker_from="docker", docker_repository=source)
        named = f"deb [signed-by=/etc/apt/keyrings/docker.asc] {packages.url}/linux/ubuntu noble stable"
        assert host.do("cat", "/etc/apt/sources.list.d/docker.list") == named
        state = host.do("dpkg-query", "--show", "--showformat=${Package} ${db:Status-Status}\n", *DOCKERS)
        assert state.split("\n") == [f"{name} installed" for name in DOCKERS]
        host.do("docker", "compose", "version")
        assert "changed=0" in docker(host, docker_from="docker", docker_repository=source)

        # The distribution's package of Compose, where the engine is there already.
        host.do("apt-get", "-qq", "purge", "--yes", "docker-compose-plugin")
        packages.repository("ubuntu", "noble", "universe", ["docker-compose-v2"])
        line = f"deb [signed-by=/etc/apt/keyrings/docker.asc] {packages.url}/ubuntu noble universe"
        host.do("sh", "-c", f"echo '{line}' > /etc/apt/sources.list.d/universe.list; rm -rf /var/lib/apt/lists/*")
        docker(host)
        assert host.do("dpkg-query", "--show", "--showformat=${db:Status-Status}", "docker-compose-v2") == "installed"
        host.do("docker", "compose", "version")


if LONG:

    def test_a_release_of_compose_by_its_address(tmp_path: Path, docker_engine: None) -> None:
        with host_and_packages(tmp_path) as (host, packages):
            machine = host.do("uname", "-m")
            found = chosen(host)
            assert found["docker_repository"] == "https://download.docker.com/linux/debian"
            assert (found["ansible_distribution_release"], found["compose_package"]) == ("bookworm", "")
            assert found["compose_url"].endswith(f"/docker-compose-linux-{machine}")

            url = packages.release(f"docker-compose-linux-{machine}", digest="0" * 64)
            told = docker(host, expect=2, compose_url=url)
            assert f"{url} gave a file with the sha256" in told and "correct checksum" in told, told
            assert "No such file" in host.try_to("ls", "/usr/local/lib/docker/cli-plugins/docker-compose")
            packages.release(f"docker-compose-linux-{machine}")
            docker(host, compose_url=url)
            host.do("docker", "compose", "version")
            host.do("rm", "/usr/local/lib/docker/cli-plugins/docker-compose")
            docker(host, compose_plugin=packages.release("compose-of-ours"))
            host.do("docker", "compose", "version")
            assert "changed=0" in docker(host)
