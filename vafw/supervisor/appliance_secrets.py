"""What an appliance keeps from one start to the next: 32 bytes that its platform hands to it, and to nobody else.

One file for each appliance whose manifest has ``secret: true``, in a folder that only its owner enters, made from the
host's randomness when it is first asked for. A file that others could read or write, or that is not whole, is refused:
it is no secret any more. Not sealed to the TPM: whoever can read the owner's files, or the disk, has it.
"""

from __future__ import annotations

import os
import secrets
import stat
from pathlib import Path
from typing import Final, final

from vafw.errors import PlatformUnable

SECRET_BYTES: Final = 32


@final
class ApplianceSecrets:
    """The secrets of one topology's appliances."""

    def __init__(self, folder: Path) -> None:
        """`folder` is made when the first secret is."""
        self._folder = folder

    def of(self, appliance: str) -> bytes:
        """The secret of an appliance, made now where there is none; PlatformUnable where it cannot be one."""
        path = self._folder / appliance
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            if not path.exists():
                self._make(path)
            return self._read(path)
        except OSError as error:
            raise PlatformUnable(f"{path}: the secret of {appliance} cannot be kept: {error.strerror}") from error

    def _make(self, path: Path) -> None:
        """All of it or nothing, on disk before anyone uses it."""
        beside = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(SECRET_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(beside, path)

    def _read(self, path: Path) -> bytes:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            found = os.fstat(descriptor)
            data = os.read(descriptor, SECRET_BYTES + 1)
        finally:
            os.close(descriptor)
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o077:
            raise PlatformUnable(
                f"{path}: a secret must be its owner's alone, and this file can be read or written by others",
                hint="delete it: another one is made, and far ends must be told the new public key",
            )
        if len(data) != SECRET_BYTES:
            raise PlatformUnable(
                f"{path}: a secret must be {SECRET_BYTES} bytes, and this file holds {len(data)}",
                hint="delete it: another one is made, and far ends must be told the new public key",
            )
        return data
