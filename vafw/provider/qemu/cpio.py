"""Writes initramfs archives that depend on nothing but their content: cpio(5), format newc.

The kernel unpacks archives that follow each other one after the other (Linux documentation, "initramfs buffer format"),
so that an image can be put together from parts that are made, and cached, each on its own.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_MAGIC: Final = "070701"
_TRAILER: Final = "TRAILER!!!"
_ALIGNMENT: Final = 4
_BLOCK: Final = 512


@dataclass(frozen=True, slots=True)
class Entry:
    """A file, a folder or a symbolic link, owned by root and as old as the epoch."""

    mode: int
    """Type and permissions, as in `stat.st_mode`."""
    data: bytes = b""
    """Content of a file, target of a link."""

    @classmethod
    def file(cls, data: bytes, *, executable: bool = False) -> Entry:
        """A file that everybody may read."""
        return cls(stat.S_IFREG | (0o755 if executable else 0o644), data)

    @classmethod
    def folder(cls) -> Entry:
        """A folder that everybody may enter."""
        return cls(stat.S_IFDIR | 0o755)

    @classmethod
    def link(cls, target: str) -> Entry:
        """A symbolic link."""
        return cls(stat.S_IFLNK | 0o777, target.encode())


def archive(entries: Mapping[str, Entry]) -> bytes:
    """The entries as an archive, by name, each with the folders above it; names are relative to the root."""
    whole = {folder: Entry.folder() for name in entries for folder in _folders_above(name)} | dict(entries)
    records = [_record(number, name, whole[name]) for number, name in enumerate(sorted(whole), start=1)]
    data = b"".join((*records, _record(0, _TRAILER, Entry(0))))
    return data + bytes(-len(data) % _BLOCK)


def read_tree(root: Path, names: Iterable[Path]) -> dict[str, Entry]:
    """Files and links below `root` as entries; a folder stands for all that it holds."""
    entries: dict[str, Entry] = {}
    for path in names:
        inside = path.rglob("*") if path.is_dir() and not path.is_symlink() else (path,)
        for each in inside:
            name = each.relative_to(root).as_posix()
            if each.is_symlink():
                entries[name] = Entry.link(str(each.readlink()))
            elif each.is_file():
                entries[name] = Entry.file(each.read_bytes(), executable=bool(each.stat().st_mode & stat.S_IXUSR))
    return entries


def _folders_above(name: str) -> Iterable[str]:
    parts = name.split("/")[:-1]
    return ("/".join(parts[: depth + 1]) for depth in range(len(parts)))


def _record(number: int, name: str, entry: Entry) -> bytes:
    encoded = name.encode() + b"\0"
    links = 2 if stat.S_ISDIR(entry.mode) else 1
    fields = (number, entry.mode, 0, 0, links, 0, len(entry.data), 0, 0, 0, 0, len(encoded), 0)
    head = (_MAGIC + "".join(f"{each:08x}" for each in fields)).encode() + encoded
    return _padded(head) + _padded(entry.data)


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % _ALIGNMENT)
