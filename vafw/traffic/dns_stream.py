"""Follows what clients send to DNS servers over TCP, so that no query gets through in pieces.

Nothing is held back: segments pass as they come, in order, until one would complete a query that must not pass. The
server never sees that one, and what it has seen before is no query. A segment ahead of its turn is refused (its sender
repeats it later), and so is one that says again something else than it said before.

The hard part is where a stream begins, because a client that lies about it shifts every message. A client's SYN is a
claim; the server's SYN with the acknowledgement that fits is the proof, and no data passes before it. From then on
another SYN is refused until the server has sent its FIN: the server would ignore it, and read on where it was. For the
same reason no stream in use is forgotten to make room for another one.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final, TypeAlias

from vafw.traffic.dns import messages_in
from vafw.traffic.dns_answer_stream import AnswerStream
from vafw.traffic.frame import ACK, FIN, SYN, URG, Frame

DEFAULT_LIMIT: Final = 1024
"""Connections followed at most; one more is refused unless one of them is over or has long been silent."""
SILENCE_S: Final = 600
"""Seconds after which a silent connection counts as over; servers close theirs long before."""
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
    proven: bool = False
    """Whether the server has said that the stream begins there."""
    over: bool = False
    """Whether the server has sent its FIN, after which it answers nothing."""
    heard_s: float = 0.0
    """When the client was heard last."""
    answers: AnswerStream | None = None
    """What the server has sent so far, once its beginning is proven."""

    def completes(self, segment: Frame, data: bytes) -> tuple[bytes, ...] | None:
        """The queries that the segment completes; None: it is out of turn or contradicts what was sent.

        It is not part of the stream before `append`. Urgent data is refused: a server takes it out of the stream.
        """
        if not self.proven or segment.flags & URG:
            return None
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

    def begin(self, segment: Frame, now_s: float) -> bool:
        """A client's SYN opens a stream; False: it contradicts one in use, or there is no room, and must not pass."""
        key = _key(segment)
        begins = segment.sequence + 1 & 0xFFFFFFFF
        known = self._streams.get(key)
        if known is not None and not known.over:
            if known.begins == begins:
                return True
            if known.proven and now_s - known.heard_s < SILENCE_S:
                return False
        self._streams.pop(key, None)
        if len(self._streams) >= self._limit and not self._make_room(now_s):
            return False
        self._streams[key] = Stream(begins, heard_s=now_s)
        return True

    def answer(self, segment: Frame) -> Stream | None:
        """What a server sends: its SYN proves where the stream begins, its FIN that it is over; the stream it is of."""
        stream = self._streams.get(
            (segment.vlans, segment.destination, segment.source, segment.destination_port, segment.source_port)
        )
        if stream is None:
            return None
        if segment.flags & SYN and segment.flags & ACK:
            if segment.acknowledgement == stream.begins:
                stream.proven = True
                stream.answers = stream.answers or AnswerStream(segment.sequence + 1 & 0xFFFFFFFF)
            else:  # two beginnings are in play, and the client could choose
                stream.refused = True
        elif segment.flags & FIN:
            stream.over = True
        return stream

    def _make_room(self, now_s: float) -> bool:
        """Forget the oldest stream that is over, silent, or not proven; nothing of the last kind has carried data."""
        for key, each in self._streams.items():
            if each.over or not each.proven or now_s - each.heard_s >= SILENCE_S:
                del self._streams[key]
                return True
        return False

    def of(self, segment: Frame) -> Stream | None:
        """The stream that the segment belongs to; None where its beginning was not seen."""
        return self._streams.get(_key(segment))


def _key(segment: Frame) -> _Key:
    return segment.vlans, segment.source, segment.destination, segment.source_port, segment.destination_port
