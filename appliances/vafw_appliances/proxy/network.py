"""The proxy's two ends: a host on the clients' side and the same host on the web's, each with its connections.

Both have the same addresses and one MAC address, and each knows its own neighbours only, so that nobody on one side can
say who somebody on the other is. Clients open connections inside, to one port; outside none is ever taken.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv6Address
from typing import Final, TypeAlias, final

from vafw.traffic.appliance import INSIDE, OUTSIDE
from vafw.traffic.frame import ACK, RST, SYN
from vafw.traffic.host.icmp_error import icmp_error
from vafw.traffic.host.segment import Ends, Segment, segment_in
from vafw.traffic.host.sequence import ahead
from vafw.traffic.host.stack import Address, Arrival, Stack
from vafw.traffic.host.tcp import Connection, State
from vafw.traffic.rule import TCP
from vafw_appliances.proxy.resolver import Random, Resolver, drawn_port
from vafw_appliances.proxy.settings import Station

MOST_CONNECTIONS: Final = 128
"""Connections of clients at once. Each may hold four windows of 64 KiB, all of them no more than 32 MiB."""
ORIGIN_TRIES: Final = 3
"""Silences after which an origin is taken for gone: 7 seconds, as its next address may do better."""
PORT_TRIES: Final = 8
"""Ports drawn until one is free; of sixteen thousand at most a few hundred are taken."""

Frames: TypeAlias = "Iterator[tuple[str, bytes]]"


def address(version: int, number: int) -> Address:
    """An address from its number."""
    return (IPv4Address if version == 4 else IPv6Address)(number)


@final
class Network:
    """Everything that the proxy has to do with the network."""

    def __init__(self, station: Station, random: Random) -> None:
        self._station = station
        self._random = random
        self._outside = Stack(station.mac, station.addresses, station.gateways)
        self._inside = Stack(station.mac, station.addresses, ())
        self._stacks = {OUTSIDE: self._outside, INSIDE: self._inside}
        self._connections: dict[str, dict[Ends, Connection]] = {OUTSIDE: {}, INSIDE: {}}
        self.resolver = Resolver(self._outside, station.resolvers, random)

    @property
    def versions(self) -> tuple[int, ...]:
        """IP versions in which the web can be reached."""
        own = {each.version for each in self._station.addresses}
        return tuple(
            version for version in (4, 6) if version in own & {each.version for each in self._station.gateways}
        )

    def receive(self, port: str, frame: bytes, now_s: float, opened: Callable[[Connection], bool]) -> Connection | None:
        """Take a frame for the proxy; the connection it is of. `opened` is told of a new one, and may refuse it."""
        stack = self._stacks[port]
        arrival = stack.receive(frame)
        if arrival is None:
            return None
        if arrival.packet.protocol != TCP:
            return self._take_other(port, arrival, now_s)
        packet = arrival.packet
        ends = Ends(packet.version, packet.destination, packet.destination_port, packet.source, packet.source_port)
        segment = segment_in(frame, packet)
        known = self._connections[port].get(ends)
        if known is not None and not _begins_anew(known, segment):
            known.receive(segment, now_s)
            return known
        if segment.flags & (SYN | ACK | RST) != SYN:
            stack.refuse(arrival)
        elif port == INSIDE:
            return self._answer(arrival, ends, segment, now_s, opened)
        return None

    def connect(self, to: Address, port: int, now_s: float) -> Connection | None:
        """Open a connection to an origin; None where no way leads there."""
        own = self._outside.source_for(to)
        if own is None:
            return None
        for _ in range(PORT_TRIES):
            ends = Ends(to.version, int(own), drawn_port(self._random), int(to), port)
            if ends not in self._connections[OUTSIDE]:
                made = Connection.opened(ends, self._first(), now_s, tries=ORIGIN_TRIES)
                self._connections[OUTSIDE][ends] = made
                return made
        return None

    def advance(self, now_s: float) -> None:
        """It is `now_s`."""
        self.resolver.advance(now_s)
        for connections in self._connections.values():
            for each in connections.values():
                each.advance(now_s)

    def outgoing(self) -> Frames:
        """Everything that has gathered, each frame with its port; connections that are over are forgotten."""
        for port, connections in self._connections.items():
            for ends, each in tuple(connections.items()):
                for segment in each.outbox:
                    own, peer = address(ends.version, ends.own), address(ends.version, ends.peer)
                    self._stacks[port].send(peer, TCP, segment, own)
                each.outbox.clear()
                if each.end is not None:
                    del connections[ends]
        for port, stack in self._stacks.items():
            yield from ((port, frame) for frame in stack.outbox)
            stack.outbox.clear()

    def _answer(
        self, arrival: Arrival, ends: Ends, segment: Segment, now_s: float, opened: Callable[[Connection], bool]
    ) -> Connection | None:
        """A client's first segment."""
        if ends.own_port != self._station.port or self._inside.source_for(arrival.source) is None:
            self._inside.refuse(arrival)
            return None
        known = self._connections[INSIDE].pop(ends, None)
        if known is not None:
            known.abort()
        made = Connection.answered(ends, self._first(), segment, now_s)
        if not opened(made):
            self._inside.refuse(arrival)
            return None
        self._connections[INSIDE][ends] = made
        return made

    def _take_other(self, port: str, arrival: Arrival, now_s: float) -> Connection | None:
        """A resolver's answer, or what an ICMP error says of a connection; all else is met with silence."""
        if port == OUTSIDE and self.resolver.receive(arrival, now_s):
            return None
        error = icmp_error(arrival)
        known = self._connections[port].get(error.ends) if error is not None else None
        if error is None or known is None:
            return None
        if error.packet_bytes is None:
            known.unreachable()
        else:
            known.too_large(error.packet_bytes, now_s)
        return known

    def _first(self) -> int:
        return int.from_bytes(self._random(4), "big")


def _begins_anew(known: Connection, segment: Segment) -> bool:
    """Whether a SYN may take the place of a connection that only waits for its peer's last words (RFC 9293, 3.6.1)."""
    if known.state is not State.TIME_WAIT or segment.flags & (SYN | ACK | RST) != SYN:
        return False
    return ahead(segment.sequence, known.expected) > 0
