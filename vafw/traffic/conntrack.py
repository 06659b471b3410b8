"""Knows which packets belong to connections, open ones being those whose first packet was accepted.

A connection is found by the tuple of its packets in either direction. `Connections.track` classifies one packet and
moves its connection on; a packet that would open one gets a connection that is not yet in the table, and `confirm`
puts it there once a rule has accepted it. Nothing else creates state, so a flood that is dropped costs no entry.

After the Linux connection tracker, with three differences, all narrower. A packet must also come from the side its
connection says, and by its uplink (the kernel leaves that to reverse path filtering), VLANs are separate networks, and
what needs a state machine that is not here (SCTP, DCCP, PPTP's GRE) is invalid. Other protocols, ESP among them, are
known by their addresses.

The hard part is the ICMP error: it is related when what it quotes is a packet of a connection, sent by the host the
error goes to. The quotation's tuple is therefore looked up backwards.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from vafw.traffic.appliance import OUTSIDE, opposite
from vafw.traffic.flows import Flow
from vafw.traffic.frame import NO_NEXT_HEADER, Frame
from vafw.traffic.packet_tuple import Tuple, inverted, tuple_of
from vafw.traffic.quotation import Quotation, quotation
from vafw.traffic.reason import State
from vafw.traffic.rule import ICMP, ICMPV6, TCP, UDP
from vafw.traffic.tcp_state import ORIGINAL, REPLY, Judgement, TcpTracker

UDP_S: Final = 30
UDP_STREAM_S: Final = 120
ICMP_S: Final = 30
GENERIC_S: Final = 600
"""Seconds without a packet after which a connection is forgotten (nf_conntrack-sysctl, defaults)."""
_STREAM_AFTER_S: Final = 2
"""A UDP connection answered for so long is a stream."""

DEFAULT_LIMIT: Final = 65536
"""Connections at most."""
_EVICTION_SEARCH: Final = 64
"""Entries looked at, oldest first, for one that may be evicted."""

_QUERIES: Final = {ICMP: frozenset({8, 13, 15, 17}), ICMPV6: frozenset({128, 139})}
_ICMP_ERRORS: Final = frozenset({3, 4, 5, 11, 12})
_HIGHEST_ICMP_TYPE: Final = 18
_UNKNOWABLE: Final = frozenset({33, NO_NEXT_HEADER, 132})
"""DCCP and SCTP, whose states are not followed here, and IPv6 packets without a transport."""
GRE: Final = 47
_PPTP: Final = 1
"""Version of the GRE header that PPTP uses (RFC 2637, section 4.1)."""
_UNTRACKED_ICMPV6: Final = frozenset({130, 131, 132, 133, 134, 135, 136, 143})
"""Multicast listeners and neighbour discovery, which have no connection."""


@dataclass(slots=True, eq=False)
class Connection:
    """Two hosts that exchange packets, the first of which is to be or was accepted."""

    original: Tuple
    """Tuple of the first packet."""
    side: str
    """Port the first packet came in by."""
    began_s: float
    expires_s: float
    seen_reply: bool = False
    tcp: TcpTracker | None = None
    confirmed: bool = False
    flow: Flow | None = None
    """Where the engine counts its packets."""
    mark: int = 0
    """What a rule marked it with; 0: nothing."""
    uplink: int = 0
    """By which of a router's ways to the wire its packets go, on the side outside."""
    reply: Tuple | None = None
    """Tuple of the answers, where it is translated and these are not the inverse of `original`."""

    @property
    def answers(self) -> Tuple | None:
        """Tuple of the answers; None where there can be none."""
        return self.reply or inverted(self.original)

    @property
    def sent_as(self) -> Tuple:
        """Tuple that its packets leave with."""
        return (self.reply and inverted(self.reply)) or self.original

    @property
    def is_assured(self) -> bool:
        """Whether it is kept when the table is full: it has shown that both ends are real."""
        return self.tcp.assured if self.tcp else self.seen_reply


class Connections:
    """The table of connections."""

    def __init__(self, limit: int = DEFAULT_LIMIT) -> None:
        """At most `limit` connections; a new one is refused when none may be evicted for it."""
        self._limit = limit
        self._by_tuple: dict[Tuple, tuple[Connection, int]] = {}
        self._confirmed: OrderedDict[Tuple, Connection] = OrderedDict()
        self.evicted = 0
        self.refused = 0

    def __len__(self) -> int:
        return len(self._confirmed)

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._confirmed.values())

    def track(
        self, frame: bytes, packet: Frame, side: str, now_s: float, uplink: int = 0
    ) -> tuple[State, Connection | None, int]:
        """The packet's state, its connection where it has one, and its direction in it.

        `uplink` is the number of the one it came by, where it came from outside.
        """
        protocol = packet.protocol
        if protocol in _UNKNOWABLE:
            return State.INVALID, None, ORIGINAL
        if protocol == GRE and packet.end - packet.transport >= 4 and frame[packet.transport + 1] & 7 == _PPTP:
            return State.INVALID, None, ORIGINAL
        if protocol in (ICMP, ICMPV6):
            special = self._track_icmp(frame, packet, (side, uplink), now_s)
            if special:
                return special
        key = tuple_of(packet)
        entry = self._find(key, now_s)
        if entry is None:
            return self._open(frame, packet, key, (side, uplink), now_s)
        connection, direction = entry
        if not _is_of_its_side(connection, direction, side, uplink):
            return State.WRONG_SIDE, None, direction
        tcp = connection.tcp
        if tcp is None:
            connection.expires_s = now_s + _timeout(connection, now_s)
        else:
            judgement = tcp.judge(frame, packet, direction)
            if judgement is Judgement.INVALID:
                return State.INVALID, None, direction
            if judgement is Judgement.REOPENS:
                self.forget(connection)
                return self._open(frame, packet, key, (side, uplink), now_s)
            if judgement is Judgement.ENDS:
                self.forget(connection)
            connection.expires_s = now_s + tcp.timeout_s
        if direction == REPLY:
            connection.seen_reply = True
            if tcp is not None:
                tcp.seen_reply = True
            return State.ESTABLISHED, connection, REPLY
        return State.ESTABLISHED if connection.seen_reply else State.NEW, connection, ORIGINAL

    def confirm(self, connection: Connection, now_s: float) -> bool:
        """Keep the connection: its first packet was accepted. False: the table is full, the packet must be dropped."""
        if connection.confirmed:
            return True
        if len(self._confirmed) >= self._limit and not self._make_room(now_s):
            self.refused += 1
            return False
        connection.confirmed = True
        self._confirmed[connection.original] = connection
        self._by_tuple[connection.original] = connection, ORIGINAL
        backwards = connection.answers
        if backwards is not None:
            self._by_tuple.setdefault(backwards, (connection, REPLY))
        return True

    def is_taken(self, key: Tuple) -> bool:
        """Whether packets of this tuple belong to a connection."""
        return key in self._by_tuple

    def kept(self, keep: Callable[[Connection], bool]) -> Connections:
        """Another table with the connections that `keep` names; this one stays as it is."""
        other = Connections(self._limit)
        other.evicted, other.refused = self.evicted, self.refused
        other._confirmed = OrderedDict((key, each) for key, each in self._confirmed.items() if keep(each))
        other._by_tuple = {key: entry for key, entry in self._by_tuple.items() if entry[0].original in other._confirmed}
        return other

    def forget_uplink(self, uplink: int) -> None:
        """Remove whatever goes by an uplink."""
        for connection in [each for each in self._confirmed.values() if each.uplink == uplink]:
            self.forget(connection)

    def forget(self, connection: Connection) -> None:
        """Remove the connection."""
        self._confirmed.pop(connection.original, None)
        for key in (connection.original, connection.answers):
            if key is not None and self._by_tuple.get(key, (None,))[0] is connection:
                del self._by_tuple[key]

    def _find(self, key: Tuple, now_s: float) -> tuple[Connection, int] | None:
        entry = self._by_tuple.get(key)
        if entry is not None and entry[0].expires_s <= now_s:
            self.forget(entry[0])
            return None
        return entry

    def _open(
        self, frame: bytes, packet: Frame, key: Tuple, came_by: tuple[str, int], now_s: float
    ) -> tuple[State, Connection | None, int]:
        connection = Connection(key, came_by[0], now_s, now_s, uplink=came_by[1])
        if packet.protocol == TCP:
            tcp = TcpTracker()
            if not tcp.begin(frame, packet):
                return State.INVALID, None, ORIGINAL
            if tcp.judge(frame, packet, ORIGINAL) is Judgement.INVALID:
                return State.INVALID, None, ORIGINAL
            connection.tcp = tcp
            connection.expires_s = now_s + tcp.timeout_s
        else:
            connection.expires_s = now_s + _timeout(connection, now_s)
        return State.NEW, connection, ORIGINAL

    def _track_icmp(
        self, frame: bytes, packet: Frame, came_by: tuple[str, int], now_s: float
    ) -> tuple[State, Connection | None, int] | None:
        """What becomes of ICMP that is no query and no answer; None: look it up like all else."""
        kind = packet.icmp_type
        if (packet.protocol == ICMP) != (packet.version == 4):
            return State.INVALID, None, ORIGINAL
        if packet.version == 6 and kind in _UNTRACKED_ICMPV6:
            return State.UNTRACKED, None, ORIGINAL
        is_error = kind in _ICMP_ERRORS if packet.version == 4 else kind < 128
        if is_error:
            quoted = quotation(frame, packet)
            return self._related(packet, quoted, came_by, now_s) if quoted else (State.INVALID, None, ORIGINAL)
        if packet.version == 4 and kind > _HIGHEST_ICMP_TYPE:
            return State.INVALID, None, ORIGINAL
        if kind not in _QUERIES[packet.protocol] and self._find(tuple_of(packet), now_s) is None:
            return State.INVALID, None, ORIGINAL
        return None

    def _related(
        self, packet: Frame, quoted: Quotation, came_by: tuple[str, int], now_s: float
    ) -> tuple[State, Connection | None, int]:
        network = packet.version << 8 | quoted.protocol
        key = (
            packet.vlans, network, quoted.source, quoted.destination, quoted.first, quoted.second,
        )  # fmt: skip
        backwards = inverted(key)
        entry = self._find(backwards, now_s) if backwards is not None else None
        if entry is None or packet.destination != quoted.source:
            return State.INVALID, None, ORIGINAL
        connection, direction = entry
        if not _is_of_its_side(connection, direction, *came_by):
            return State.WRONG_SIDE, None, direction
        return State.RELATED, connection, direction

    def _make_room(self, now_s: float) -> bool:
        """Evict one of the oldest connections: one that has expired, else one that never proved itself."""
        oldest = list(islice(self._confirmed.values(), _EVICTION_SEARCH))
        candidates = [each for each in oldest if each.expires_s <= now_s]
        candidates += [each for each in oldest if not each.is_assured]
        if candidates:
            self.forget(candidates[0])
            self.evicted += 1
            return True
        for each in oldest:  # look at others the next time
            self._confirmed.move_to_end(each.original)
        return False


def _is_of_its_side(connection: Connection, direction: int, side: str, uplink: int) -> bool:
    """Whether packets of this direction may come in there."""
    of_side = side == (connection.side if direction == ORIGINAL else opposite(connection.side))
    return of_side and (side != OUTSIDE or uplink == connection.uplink)


def _timeout(connection: Connection, now_s: float) -> int:
    protocol = connection.original[1] & 0xFF
    if protocol == UDP:
        streams = connection.seen_reply and now_s > connection.began_s + _STREAM_AFTER_S
        return UDP_STREAM_S if streams else UDP_S
    return ICMP_S if protocol in _QUERIES else GENERIC_S
