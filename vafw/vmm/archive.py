"""Deterministic archives: the same files always give the same bytes, so that their digest means something.

The format is cpio "newc", the one of a Linux initramfs (kernel documentation, "initramfs buffer format"):
any `cpio -t` lists one. Names are sorted; owner, times and inode numbers carry nothing. Reading is strict:
an archive that `pack` would not have written is refused, so that no two archives hold the same files under
different digests.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from typing import Final

from vafw.errors import VafwError

_MAGIC: Final = b"070701"
_HEAD_SIZE: Final = 110
_TRAILER: Final = "TRAILER!!!"
_REGULAR_FILE: Final = 0o100444


class ArchiveError(VafwError):
    """Bytes that `pack` has not written; the message says what must hold."""


def pack(files: Mapping[str, bytes]) -> bytes:
    """The archive of these files, by name relative to its root, with ``/`` between folders."""
    for name in files:
        if not name or name.startswith("/") or ".." in name.split("/") or name == _TRAILER:
            raise ArchiveError(f"a file in an archive must have a relative name, not {name!r}")
    entries = [
        _entry(number, name, files[name], _REGULAR_FILE, links=1) for number, name in enumerate(sorted(files), start=1)
    ]
    return b"".join((*entries, _entry(0, _TRAILER, b"", 0, links=1)))


def unpack(data: bytes) -> dict[str, bytes]:
    """The files of an archive, by name; ArchiveError where `pack` would have written other bytes."""
    files: dict[str, bytes] = {}
    at = 0
    while True:
        name, content, at = _read_entry(data, at)
        if name == _TRAILER:
            break
        files[name] = content
    if pack(files) != data:
        raise ArchiveError(
            "an archive must be written with sorted names, no owners, no times and nothing after its end"
        )
    return files


def _entry(number: int, name: str, content: bytes, mode: int, *, links: int) -> bytes:
    text = name.encode() + b"\0"
    # inode, mode, uid, gid, links, mtime, size, device (2), special device (2), name size, checksum
    fields = (number, mode, 0, 0, links, 0, len(content), 0, 0, 0, 0, len(text), 0)
    head = _MAGIC + b"".join(b"%08X" % field for field in fields)
    return _padded(head + text) + _padded(content)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)


def _read_entry(data: bytes, at: int) -> tuple[str, bytes, int]:
    head = data[at : at + _HEAD_SIZE]
    if len(head) < _HEAD_SIZE or not head.startswith(_MAGIC):
        raise ArchiveError(f"an archive's entry must begin with 070701 at byte {at}")
    try:
        fields = struct.unpack(">13I", bytes.fromhex(head[6:].decode("ascii")))
        size, name_size = fields[6], fields[11]
        name = data[at + _HEAD_SIZE : at + _HEAD_SIZE + name_size - 1].decode()
    except (ValueError, struct.error) as error:
        raise ArchiveError(f"an archive's entry must have a readable head at byte {at}") from error
    content_at = at + _HEAD_SIZE + name_size
    content_at += -content_at % 4
    if content_at + size > len(data):
        raise ArchiveError(f"an archive's entry must end within it, not {name!r} at byte {at}")
    content = data[content_at : content_at + size]
    return name, content, content_at + size + -size % 4
