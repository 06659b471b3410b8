"""Debian packages of this host's release, unpacked into a folder: `apt-get download` and `dpkg-deb -x`, without root.

Nothing is installed, and no maintainer script runs. That a package is Debian's is apt's business: it checks each
against the signed lists of the host.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from vafw.errors import PlatformUnable

DOWNLOAD_TIMEOUT_S: Final = 300
UNPACK_TIMEOUT_S: Final = 60


@dataclass(frozen=True, slots=True)
class Package:
    """One package as it was fetched."""

    file: str
    """The file's name, with version and architecture."""
    sha256: str


def depended_on(package: str) -> str:
    """The one real package that an empty one stands for: which kernel ``linux-image-cloud-amd64`` means now."""
    text = _run(["apt-cache", "depends", "--important", package], Path.cwd(), 30)
    names = [line.split("Depends:")[1].strip() for line in text.splitlines() if "Depends:" in line]
    if not names:
        raise PlatformUnable(
            f"apt must know the package {package}, and does not",
            hint="`apt-get update` (as root) brings the lists of packages up to date",
        )
    return names[0]


def fetch(names: Sequence[str], into: Path) -> tuple[Package, ...]:
    """Download packages into an empty folder, and unpack them all in ``root`` below it."""
    into.mkdir(parents=True, exist_ok=True)
    _run(["apt-get", "download", *names], into, DOWNLOAD_TIMEOUT_S)
    files = sorted(into.glob("*.deb"))
    for each in files:
        _run(["dpkg-deb", "-x", each.name, "root"], into, UNPACK_TIMEOUT_S)
    return tuple(Package(each.name, hashlib.sha256(each.read_bytes()).hexdigest()) for each in files)


def _run(command: list[str], folder: Path, timeout_s: float) -> str:
    if shutil.which(command[0]) is None:
        raise PlatformUnable(f"guest images are built from Debian packages, and {command[0]} is not there")
    environment = os.environ | {"LC_ALL": "C"}
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=timeout_s, check=True
        )
    except subprocess.TimeoutExpired as error:
        raise PlatformUnable(f"{' '.join(command[:2])} must end within {timeout_s:.0f} s, and did not") from error
    except subprocess.CalledProcessError as error:
        lines = [line for line in error.stderr.splitlines() if line.startswith("E:")] or error.stderr.splitlines()
        said = lines[0].removeprefix("E: ") if lines else f"exit status {error.returncode}"
        raise PlatformUnable(f"{' '.join(command[:2])} failed: {said}") from error
    return done.stdout
