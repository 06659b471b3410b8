"""Follows what clients send to DNS servers over TCP, so that no query gets through in pieces.

Nothing is held back: segments pass as they come, in order, until one would complete a query that must not pass. The
server never sees that one, and what it has seen before is no query. A segment ahead of its turn is refused (its sender
repeats it later), and so is one that says again something else than it said before.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, TypeAlias

from vafw.traffic.dns import messages_in
from vafw.traffic.frame import SYN, Frame

DEFAULT_LIMIT: Final = 1024
"""Connections followed at most; the oldest is forgotten first, and its segments are refused from then on."""
LONGEST_STREAM: Final = 65536
"""Bytes that one connection may send at most."""

_Key: TypeAlias = tuple[tuple[int, ...], int, int, int, int]


@dataclass(slots=True)
class Stream:
    """What one client has sent so far."""

    begins: int
    """Sequence number of its first byte."""
    sent: bytes = b""
    told: int = 0
    """How many whole messages have been looked at."""
    refused: bool = False
    """Whether a query of it was blocked; the connection is over."""

    def completes(self, segment: Frame, data: bytes) -> tuple[bytes, ...] | None:
        """The queries that the segment completes; None: it is out of turn or contradicts what was sent.

        It is not part of the stream before `append`.
        """
        offset = self._offset(segment)
        if offset > len(self.sent) or offset + len(data) > LONGEST_STREAM:
            return None
        repeated = self.sent[offset : offset + len(data)]
        if repeated != data[: len(repeated)]:
            return None
        return tuple(messages_in(self.sent + data[len(repeated) :]))[self.told :]

    def append(self, segment: Frame, data: bytes) -> None:
        """Take in a segment that `completes` has found in turn: it passes."""
        self.sent += data[len(self.sent) - self._offset(segment) :]
        self.told = len(tuple(messages_in(self.sent)))

    def _offset(self, segment: Frame) -> int:
        return segment.sequence + (segment.flags & SYN != 0) - self.begins & 0xFFFFFFFF


class Streams:
    """The clients that speak to servers now."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        self._limit = limit
        self._streams: OrderedDict[_Key, Stream] = OrderedDict()

    def begin(self, segment: Frame) -> None:
        """A SYN opens a stream, or opens it again."""
        key = _key(segment)
        self._streams.pop(key, None)
        if len(self._streams) >= self._limit:
            self._streams.popitem(last=False)
        self._streams[key] = Stream(segment.sequence + 1 & 0xFFFFFFFF)

    def of(self, segment: Frame) -> Stream | None:
        """The stream that the segment belongs to; None where its beginning was not seen."""
        return self._streams.get(_key(segment))


def _key(segment: Frame) -> _Key:
    return segment.vlans, segment.source, segment.destination, segment.source_port, segment.destination_port
