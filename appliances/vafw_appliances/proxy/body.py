"""Where the body of a message ends: by a length, by chunks (RFC 9112, section 7.1), or never before the connection.

Each kind is a small object that is shown the bytes as they come and lets through those of the body, unchanged. Bytes
behind the end are never let through: a second request that hides there reaches nobody.
"""

from __future__ import annotations

import re
from typing import Final, Protocol, final

LONGEST_LINE: Final = 18
"""Bytes of a chunk's first line, CR LF included: sixteen digits. Extensions of chunks are nobody's, and refused."""
MOST_DIGITS: Final = 15
_SIZE: Final = re.compile(rb"[0-9a-fA-F]{1,%d}" % MOST_DIGITS)


class BadBody(ValueError):
    """A body that does not keep to its framing."""


class Body(Protocol):
    """A body on its way."""

    @property
    def is_over(self) -> bool:
        """Whether all of it has come."""
        ...

    def take(self, data: bytes) -> bytes:
        """The part of `data` that belongs to the body; BadBody where it breaks the framing."""
        ...


@final
class Unlimited:
    """It ends with the connection."""

    is_over: Final = False

    def take(self, data: bytes) -> bytes:
        """All of it."""
        return data


@final
class Counted:
    """It has so many bytes."""

    def __init__(self, length: int) -> None:
        self._left = length

    @property
    def is_over(self) -> bool:
        """Whether all of it has come."""
        return not self._left

    def take(self, data: bytes) -> bytes:
        """As much of `data` as is left of the body."""
        taken = data[: self._left]
        self._left -= len(taken)
        return taken


@final
class Chunked:
    """It says before each part how long that is; trailers are refused, since they are fields that nobody has judged."""

    def __init__(self) -> None:
        self.is_over = False
        self._left = 0
        """Bytes left of the chunk, its CR LF included."""
        self._line = bytearray()
        self._is_last = False

    def take(self, data: bytes) -> bytes:
        """As much of `data` as belongs to the chunks."""
        at = 0
        while at < len(data) and not self.is_over:
            at += self._take_chunk(data[at:]) if self._left else self._take_line(data[at:])
        return data[:at]

    def _take_chunk(self, data: bytes) -> int:
        taken = min(len(data), self._left)
        for offset, expected in ((2, b"\r"), (1, b"\n")):
            place = self._left - offset
            if 0 <= place < taken and data[place : place + 1] != expected:
                raise BadBody("a chunk must end with CR LF")
        self._left -= taken
        return taken

    def _take_line(self, data: bytes) -> int:
        end = data.find(b"\n")
        taken = len(data) if end < 0 else end + 1
        self._line += data[: min(taken, LONGEST_LINE + 1)]
        if len(self._line) > LONGEST_LINE:
            raise BadBody(f"a chunk's first line must have at most {LONGEST_LINE} bytes")
        if end >= 0:
            self._read_line(bytes(self._line))
            self._line.clear()
        return taken

    def _read_line(self, line: bytes) -> None:
        text = line.removesuffix(b"\r\n")
        if self._is_last:
            if line != b"\r\n":
                raise BadBody("chunks must end without trailers")
            self.is_over = True
            return
        if text == line or _SIZE.fullmatch(text) is None:
            raise BadBody("a chunk must begin with its size in hexadecimal digits and CR LF")
        size = int(text, 16)
        self._is_last = size == 0
        self._left = size + 2 if size else 0
