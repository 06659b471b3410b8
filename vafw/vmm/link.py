"""Point-to-point links between VMs: on a doorbell the VMM copies frames from one guest's ring to the other's.

    outer.tx ──▶ inner.rx        frames in, towards the user
    outer.rx ◀── inner.tx        frames out, towards the wire

A frame is moved in order, once, and only when the receiver has posted a buffer for it: without one it waits in the
sender's ring, and the sender's ring filling up is the backpressure. Both ends are reached through their own EPT, so
that a link carries bytes and no addresses.

A port without a link is a pulled cable: what is sent into it is dropped and counted, so that nothing old comes out
when a new peer is wired. A guest whose ring makes no sense loses that port until it sets it up again; its peer loses
nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from vafw.vmm.guest_memory import GuestAddressError
from vafw.vmm.port import GuestRing, LinkPort, RingFault
from vafw.vmm.refusal import VmmError

MAXIMUM_FRAME: Final = 9018
"""Bytes of the longest frame a link carries: a jumbo frame without its FCS."""
BATCH: Final = 256
"""Frames that one doorbell moves at most before HEAD is shown again."""


@dataclass(slots=True)
class DirectionCounters:
    """What crossed a link in one direction."""

    frames: int = 0
    bytes: int = 0
    undelivered: int = 0
    """Dropped: too long for the receiver's buffer, empty, or sent when the link was down."""


class PortFault(VmmError):
    """A guest's ring or descriptor makes no sense; the port that it belongs to is shut."""

    def __init__(self, port: LinkPort, why: str) -> None:
        super().__init__(f"port {port} is shut: {why}")
        self.port = port


@final
class Direction:
    """One direction of a link."""

    def __init__(self, sender: LinkPort, receiver: LinkPort) -> None:
        self.sender = sender
        self.receiver = receiver
        self.counters = DirectionCounters()
        self.stalled = False
        """Frames wait in the sender's ring, for a buffer or for a receiver whose port is open."""

    def move(self) -> int:
        """Move what can be moved; returns how many frames the receiver got. PortFault shuts the guilty port.

        A direction stalls only after TAIL of the receiver was read once more behind the HEAD that it was shown.
        """
        before = self.counters.frames
        self.stalled = True
        while (tx := self.sender.tx) is not None and (waiting := _posted(self.sender, tx)):
            rx = self.receiver.rx
            room = _posted(self.receiver, rx) if rx is not None else 0
            if rx is None or not room:
                return self.counters.frames - before
            self._move_batch(tx, rx, count := min(waiting, room, BATCH))
            if count == waiting:
                break
        self.stalled = False
        return self.counters.frames - before

    def _move_batch(self, tx: GuestRing, rx: GuestRing, count: int) -> None:
        """Copy `count` frames, as many as both rings hold at least, and finish them on both sides."""
        frames = _peek(self.sender, tx, count)
        buffers = _peek(self.receiver, rx, count)
        filled: list[tuple[int, int]] = []
        finished = 0
        try:
            for address, length in frames:
                self._copy(address, length, buffers[len(filled)], filled)
                finished += 1
        finally:
            rx.finish(filled)
            tx.finish(frames[:finished])

    def _copy(self, address: int, length: int, buffer: tuple[int, int], filled: list[tuple[int, int]]) -> None:
        """Copy one frame into a buffer and note it as filled; drop and count a frame that no buffer can take."""
        counters = self.counters
        place, capacity = buffer
        if not 0 < length <= min(capacity, MAXIMUM_FRAME):
            counters.undelivered += 1
            return
        try:
            data = self.sender.memory.read(address, length)
        except GuestAddressError as error:
            raise _shut(self.sender, error) from error
        try:
            self.receiver.memory.write(place, data)
        except GuestAddressError as error:
            raise _shut(self.receiver, error) from error
        filled.append((place, length))
        counters.frames += 1
        counters.bytes += length


@final
class Link:
    """Two ports, wired."""

    def __init__(self, name: str, outer: LinkPort, inner: LinkPort) -> None:
        self.name = name
        self.outer = outer
        self.inner = inner
        self.inwards = Direction(outer, inner)
        self.outwards = Direction(inner, outer)

    @property
    def ports(self) -> tuple[LinkPort, LinkPort]:
        """Both ends, the outer one first."""
        return self.outer, self.inner

    def from_port(self, port: LinkPort) -> tuple[Direction, Direction]:
        """The direction that leaves by `port`, and the one that arrives there."""
        return (self.inwards, self.outwards) if port is self.outer else (self.outwards, self.inwards)


def discard(port: LinkPort) -> int:
    """Drop whatever waits in a port's tx ring; returns how many frames. PortFault shuts the port."""
    if port.tx is None:
        return 0
    count = _posted(port, port.tx)
    port.tx.finish(_peek(port, port.tx, count))
    return count


def _posted(port: LinkPort, ring: GuestRing) -> int:
    try:
        return ring.posted()
    except (RingFault, GuestAddressError) as error:
        raise _shut(port, error) from error


def _peek(port: LinkPort, ring: GuestRing, count: int) -> list[tuple[int, int]]:
    try:
        return ring.peek(count)
    except GuestAddressError as error:
        raise _shut(port, error) from error


def _shut(port: LinkPort, error: RingFault | GuestAddressError) -> PortFault:
    port.shut()
    return PortFault(port, error.message)
