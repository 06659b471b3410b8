"""An Ed25519 public key as the line that OpenSSH writes beside the private one (``~/.ssh/id_ed25519.pub``).

    ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI… anna@desk

The blob is RFC 8709, section 4: the algorithm's name and 32 bytes, each behind its length (RFC 4251, section 5). One
key has one spelling here: what else decodes to the same bytes is refused, so that two spellings are never two people.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
import struct
from dataclasses import dataclass
from typing import Final, NoReturn

ALGORITHM: Final = "ssh-ed25519"
KEY_BYTES: Final = 32
_LINE: Final = re.compile(r"(?P<algorithm>[a-z0-9@.-]+) (?P<blob>[A-Za-z0-9+/=]+)(?: (?P<comment>[!-~][ -~]*))?")
_LONGEST: Final = 500
"""Characters; an Ed25519 key has 80, what is left is for the comment."""


class NoPublicKey(ValueError):
    """A line that is no Ed25519 public key; the message says what is wrong with it, as a clause."""


@dataclass(frozen=True, slots=True)
class PublicKey:
    """One key; the comment is no part of it."""

    raw: bytes
    """32 bytes (RFC 8032)."""

    @classmethod
    def parse(cls, line: str) -> PublicKey:
        """Read a line, which may end with a comment; NoPublicKey for anything else."""
        if "PRIVATE KEY" in line:
            raise NoPublicKey("it is a private key, which belongs into no document")
        found = _LINE.fullmatch(line) if len(line) <= _LONGEST else None
        if found is None:
            raise NoPublicKey("it is not an algorithm, a key in base64 and a comment with one space between them")
        if found["algorithm"] != ALGORITHM:
            raise NoPublicKey(f"its algorithm is {found['algorithm'][:40]}")
        try:
            blob = base64.b64decode(found["blob"], validate=True)
        except binascii.Error:
            raise NoPublicKey("its key is no base64") from None
        key = cls.of_blob(blob)
        if str(key) != f"{ALGORITHM} {found['blob']}":
            raise NoPublicKey("its base64 has bits that mean nothing")
        return key

    @classmethod
    def of_blob(cls, blob: bytes) -> PublicKey:
        """Read a key as signatures carry it; NoPublicKey for anything else."""
        raw = blob[-KEY_BYTES:]
        if len(raw) != KEY_BYTES or cls(raw).blob != blob:
            raise NoPublicKey(f"its key is not {ALGORITHM} and {KEY_BYTES} bytes")
        return cls(raw)

    @property
    def blob(self) -> bytes:
        """The key as OpenSSH's formats carry it."""
        return string(ALGORITHM.encode()) + string(self.raw)

    @property
    def fingerprint(self) -> str:
        """As ``ssh-keygen -lf`` prints it."""
        return f"SHA256:{base64.b64encode(hashlib.sha256(self.blob).digest()).decode().rstrip('=')}"

    def __str__(self) -> str:
        return f"{ALGORITHM} {base64.b64encode(self.blob).decode()}"


def string(data: bytes) -> bytes:
    """A string of RFC 4251, section 5: its length in four bytes, then itself."""
    return struct.pack(">I", len(data)) + data


def take_string(data: bytes) -> tuple[bytes, bytes]:
    """The string that `data` begins with, and the rest; ValueError where it is cut off."""
    if len(data) < 4:
        _cut_off()
    (length,) = struct.unpack_from(">I", data)
    if len(data) - 4 < length:
        _cut_off()
    return data[4 : 4 + length], data[4 + length :]


def _cut_off() -> NoReturn:
    raise ValueError("it is cut off")
