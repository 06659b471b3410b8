"""Many connections over one serial port: each chunk of bytes with the number of its connection before it.

    kind (1)   connection (2)   length (2)   data          integers big-endian

Both ends of a port start with no connection, and a port is opened once a boot, so that a frame is never cut in two.
The guest opens connections; either end closes them, and says so even when the other end has just done it.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, final

LONGEST_DATA: Final = 16 << 10
_HEAD: Final = struct.Struct(">BHH")


class Kind(IntEnum):
    """What a frame says."""

    READY = 1
    """The guest is there; the first frame of a port, of no connection."""
    OPEN = 2
    DATA = 3
    CLOSE = 4


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame."""

    kind: Kind
    connection: int
    """From 0 to 65535."""
    data: bytes = b""
    """Only of DATA, where it has 1 to `LONGEST_DATA` bytes."""

    def encode(self) -> bytes:
        """The frame as bytes."""
        return _HEAD.pack(self.kind, self.connection, len(self.data)) + self.data


@final
class Frames:
    """Bytes in, whole frames out; ValueError for what no end of ours sends."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes."""
        self._rest += data
        while len(self._rest) >= _HEAD.size:
            number, connection, length = _HEAD.unpack_from(self._rest)
            kind = _kind(number)
            least, most = (1, LONGEST_DATA) if kind is Kind.DATA else (0, 0)
            if not least <= length <= most:
                raise ValueError(f"a frame of kind {kind.name} must have {least} to {most} bytes, not {length}")
            if len(self._rest) < _HEAD.size + length:
                return
            whole, self._rest = self._rest[_HEAD.size : _HEAD.size + length], self._rest[_HEAD.size + length :]
            yield Frame(kind, connection, whole)


def _kind(number: int) -> Kind:
    try:
        return Kind(number)
    except ValueError:
        raise ValueError(f"a frame's kind must be 1 to {len(Kind)}, not {number}") from None
