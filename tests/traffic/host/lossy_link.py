"""Two ends of a TCP connection and a link between them that does with each segment what a schedule says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import count

from vafw.traffic import build
from vafw.traffic.frame import Frame, parse, transport_checksum_holds
from vafw.traffic.host.segment import Ends, Segment, segment_in
from vafw.traffic.host.tcp import Connection, State
from vafw.traffic.rule import TCP

CLIENT, SERVER = 0x0A000002, 0x0A000001
DELAY_S = 0.01
LONG_S = 3600.0
"""What a simulated run may last: far more than both ends have patience for."""
Fate = tuple[float, ...]
"""Seconds after which a segment arrives, once for each; empty: it is lost."""


def parsed(segment: bytes, own: int, peer: int) -> Segment:
    """A segment that one end has sent, as the other's stack hands it over."""
    frame = build.ethernet(bytes(6), bytes(6), 0x0800, build.ipv4(own, peer, TCP, segment))
    packet = parse(frame)
    assert isinstance(packet, Frame)
    assert transport_checksum_holds(frame, packet)
    return segment_in(frame, packet)


@dataclass
class Side:
    """One end, what it is to say, and what it has heard."""

    say: bytes
    reads_each_s: float = 0.0
    """Pause between two looks at what came; 0: it reads at once."""
    connection: Connection | None = None
    said: int = 0
    heard: bytearray = field(default_factory=bytearray)
    read_s: float = 0.0

    def act(self, now_s: float) -> None:
        """Write what there is room for, read what is due, close when all is said."""
        end = self.connection
        if end is None:
            return
        if now_s >= self.read_s:
            self.heard += end.read(4096 if self.reads_each_s else 1 << 20)
            self.read_s = now_s + self.reads_each_s
        if end.is_open:
            self.said += end.write(self.say[self.said :])
            if self.said == len(self.say):
                end.shut()
        end.flush(now_s)

    def deadlines(self) -> Iterator[float]:
        """When it wants to be woken."""
        if self.connection is not None:
            if self.connection.deadline_s is not None:
                yield self.connection.deadline_s
            if self.reads_each_s and self.connection.unread:
                yield self.read_s


@dataclass
class LossyLink:
    """Runs a connection between two sides to its end."""

    client: Side
    server: Side
    fates: Sequence[Fate] = ()
    """Of the first segments, both directions together; all others arrive in time."""
    now_s: float = 0.0
    carried: int = 0
    states: list[tuple[State, State]] = field(default_factory=list)

    def run(self) -> None:
        """Until nothing is on its way and nobody waits for anything."""
        waiting: list[tuple[float, int, bool, Segment]] = []
        order, fates = count(), iter(self.fates)
        ends = Ends(4, CLIENT, 49152, SERVER, 80)
        self.client.connection = Connection.opened(ends, 0xFFFFFF00, self.now_s)
        while self.now_s < LONG_S:
            for side, to_server in ((self.client, True), (self.server, False)):
                side.act(self.now_s)
                for segment in self._leaving(side, to_server=to_server):
                    for delay_s in next(fates, (DELAY_S,)):
                        heappush(waiting, (self.now_s + delay_s, next(order), to_server, segment))
            due_s = [*self.client.deadlines(), *self.server.deadlines(), *(each[0] for each in waiting[:1])]
            if not due_s:
                return
            self.now_s = max(self.now_s, min(due_s))
            if waiting and waiting[0][0] <= self.now_s:
                _, _, to_server, segment = heappop(waiting)
                self._arrive(segment, to_server=to_server)
            else:
                for side in (self.client, self.server):
                    if side.connection is not None:
                        side.connection.advance(self.now_s)

    def _leaving(self, side: Side, *, to_server: bool) -> Iterator[Segment]:
        if side.connection is None:
            return
        own, peer = (CLIENT, SERVER) if to_server else (SERVER, CLIENT)
        for each in side.connection.outbox:
            self.carried += 1
            yield parsed(each, own, peer)
        side.connection.outbox.clear()

    def _arrive(self, segment: Segment, *, to_server: bool) -> None:
        side = self.server if to_server else self.client
        if side.connection is None:
            ends = Ends(4, SERVER, 80, CLIENT, 49152)
            side.connection = Connection.answered(ends, 0x7FFFFFF0, segment, self.now_s)
            return
        side.connection.receive(segment, self.now_s)
