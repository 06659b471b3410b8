"""What TCP reads of a segment, and what tells one connection from another."""

from __future__ import annotations

from dataclasses import dataclass

from vafw.traffic.frame import FIN, SYN, Frame


@dataclass(frozen=True, slots=True)
class Ends:
    """What tells one connection from another; `own` is ours."""

    version: int
    own: int
    own_port: int
    peer: int
    peer_port: int


@dataclass(frozen=True, slots=True)
class Segment:
    """One TCP segment, its checksum known to hold."""

    flags: int
    sequence: int
    acknowledgement: int
    window: int
    data: bytes
    segment_bytes: int | None = None
    """The option "maximum segment size", where it is there."""

    @property
    def length(self) -> int:
        """Sequence numbers that it takes up."""
        return len(self.data) + bool(self.flags & SYN) + bool(self.flags & FIN)


def segment_in(frame: bytes, packet: Frame) -> Segment:
    """The segment in a frame of TCP."""
    options = frame[packet.transport + 20 : packet.payload]
    data = frame[packet.payload : packet.end]
    numbers = packet.sequence, packet.acknowledgement
    return Segment(packet.flags, *numbers, packet.window, data, segment_bytes_in(options))


def segment_bytes_in(options: bytes) -> int | None:
    """What the option "maximum segment size" says; None where it is not there, or options make no sense."""
    at = 0
    while at < len(options) and options[at]:
        if options[at] == 1:
            at += 1
            continue
        length = options[at + 1] if at + 1 < len(options) else 0
        if length < 2 or at + length > len(options):
            return None
        if options[at] == 2 and length == 4:
            return int.from_bytes(options[at + 2 : at + 4], "big")
        at += length
    return None
