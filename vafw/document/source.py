"""The text of a document and the places in it. Not its meaning: `tree` parses, `load` judges.

A `Source` is the text exactly as read, with the digest of its bytes; a `Span` is a piece of it and knows its source, so
that spans of several files stand side by side in one diagnostic. Reading is bounded: `read_source` takes a regular file
of at most `SIZE_LIMIT` bytes and never waits on a fifo or a device. The hard part is `read_beneath`: a name that a
document gives may not lead out of the folder, neither by `..` nor by a symbolic link that is exchanged between looking
and opening, so the real path is looked up first and then opened one directory at a time, following no links.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Final, NamedTuple

SIZE_LIMIT: Final = 1 << 20
"""Bytes that a document or a listed file may have."""

_LINE_BREAK: Final = re.compile(r"\r\n|\r|\n")


class Unreadable(Exception):
    """A file cannot be had; the message continues the sentence "FILE cannot be read: ..."."""

    def __init__(self, code: str, message: str, hint: str | None = None, span: Span | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.hint = hint
        self.span = span
        """The place in the file, where it could be read so far."""


@dataclass(frozen=True, eq=False)
class Source:
    """The text of one file, as read. Two sources are equal only if they are the same reading."""

    path: Path
    """The file, as it was named: what diagnostics print."""
    text: str = field(repr=False)
    """All of it."""
    sha256: str = field(repr=False)
    """SHA-256 of the bytes as read, lower-case hexadecimal."""

    @classmethod
    def of_text(cls, text: str, path: Path = Path("<text>")) -> Source:
        """A source that stands in no file, for editors and tests."""
        return cls(path, text, hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())

    @cached_property
    def lines(self) -> tuple[str, ...]:
        """The lines without their ends (LF, CRLF and CR, as in YAML 1.2)."""
        return tuple(_LINE_BREAK.split(self.text))

    @cached_property
    def _line_starts(self) -> tuple[int, ...]:
        return (0, *(found.end() for found in _LINE_BREAK.finditer(self.text)))

    def offset(self, line: int, column: int) -> int:
        """Where line and column (from 1) stand in the text."""
        return self._line_starts[line - 1] + column - 1

    def span(self, start: int, end: int) -> Span:
        """The span from offset `start` up to, not including, offset `end`."""
        before = self.text[:start]
        line = len(_LINE_BREAK.findall(before))
        end_line = line + len(_LINE_BREAK.findall(self.text[start:end]))
        starts = self._line_starts
        return Span(self, line + 1, start - starts[line] + 1, end_line + 1, end - starts[end_line] + 1)

    @property
    def start(self) -> Span:
        """The first character: where a complaint about the whole file points."""
        return Span(self, 1, 1, 1, 1)


class Span(NamedTuple):
    """A piece of a source. Lines and columns count from 1, in characters; the end is exclusive.

    A named tuple, as every value of a document has one: a frozen dataclass takes three times as long to make.
    """

    source: Source
    line: int
    column: int
    end_line: int
    end_column: int

    @property
    def text(self) -> str:
        """What stands there."""
        start = self.source.offset(self.line, self.column)
        return self.source.text[start : self.source.offset(self.end_line, self.end_column)]

    @property
    def position(self) -> tuple[str, int, int]:
        """What spans are sorted by: file, line, column."""
        return str(self.source.path), self.line, self.column

    def __str__(self) -> str:
        return f"{self.source.path}:{self.line}:{self.column}"


def read_source(path: Path, *, limit: int = SIZE_LIMIT) -> Source:
    """Read the file that a person named; Unreadable says why it cannot be had."""
    try:
        return _read(os.open(path, _FLAGS), path, limit)
    except (OSError, ValueError) as error:
        raise _unreadable(error) from error


def read_beneath(folder: Path, name: str, *, limit: int = SIZE_LIMIT) -> Source:
    """Read the file that a document in `folder` names; Unreadable where it is not in `folder` or cannot be had."""
    if PurePosixPath(name).is_absolute():
        raise Unreadable("VAFW-F002", "it must be named relative to the topology, not by an absolute path", _INSIDE)
    try:
        root = folder.resolve(strict=True)
        inside = (root / name).resolve(strict=True)
        if not inside.is_relative_to(root) or inside == root:
            raise Unreadable("VAFW-F002", "it must be a file below the topology's folder, and it lies outside", _INSIDE)
        return _read(_open_beneath(root, inside.relative_to(root).parts), folder / name, limit)
    except (OSError, ValueError, RuntimeError) as error:
        raise _unreadable(error) from error


_FLAGS: Final = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
"""Non-blocking, so that opening a fifo returns at once."""


def _open_beneath(root: Path, parts: tuple[str, ...]) -> int:
    """Open a file one directory at a time; a link put there meanwhile is refused by the kernel."""
    here = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    for depth, part in enumerate(parts, start=1):
        kind = _FLAGS if depth == len(parts) else os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        try:
            below = os.open(part, kind | os.O_NOFOLLOW, dir_fd=here)
        finally:
            os.close(here)
        here = below
    return here


def _read(descriptor: int, path: Path, limit: int) -> Source:
    """Read an open file, which this closes."""
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise Unreadable("VAFW-F004", "it must be a regular file, not a folder, a pipe or a device")
        data = b""
        while len(data) <= limit and (piece := os.read(descriptor, limit + 1 - len(data))):
            data += piece
    finally:
        os.close(descriptor)
    if len(data) > limit:
        raise Unreadable("VAFW-F004", f"it must have at most {limit} bytes, and it has more")
    return Source(path, _decode(data, path), hashlib.sha256(data).hexdigest())


def _decode(data: bytes, path: Path) -> str:
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("VAFW-F003", "it must be UTF-8, and it begins with the mark of UTF-16", "save it as UTF-8")
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        rough = Source.of_text(data.decode("utf-8", "replace"), path)
        start = len(data[: error.start].decode("utf-8"))
        message = f"it must be UTF-8, and byte {error.start} is 0x{data[error.start]:02x}"
        raise Unreadable("VAFW-F003", message, "save it as UTF-8", rough.span(start, start + 1)) from error


def _unreadable(error: Exception) -> Unreadable:
    """An operating system's complaint as the end of a sentence."""
    if isinstance(error, FileNotFoundError):
        return Unreadable("VAFW-F001", "there is no such file")
    if isinstance(error, RuntimeError) or (isinstance(error, OSError) and error.errno == errno.ELOOP):
        return Unreadable("VAFW-F002", "its symbolic links lead in a circle", _INSIDE)
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return Unreadable("VAFW-F001", reason[0].lower() + reason[1:])


_INSIDE: Final = "put the file beside the topology, or in a folder below it"
