"""Decides on one frame after the other: the stateful packet filter, as a function from bytes to a `Decision`.

The order of its questions is the order that `nftables.py` writes for a kernel, and means the same:

    malformed ─▶ drop     ARP, neighbour discovery ─▶ accept     other EtherTypes ─▶ drop
    source not of the inside, though it comes from there ─▶ drop
    later fragment ─▶ as its first     of a connection, or an error about one ─▶ accept     invalid ─▶ drop
    opens a connection ─▶ first rule that matches, else the default

A reason that is no rule's name stands in parentheses. What is accepted passes unchanged; nothing is translated.
A connection is picked up in its middle where a rule accepts its packet, as the kernel does by default
(`nf_conntrack_tcp_loose=1`); see `tcp_state.py`. Whatever cannot be kept track of is dropped.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Final

from vafw.traffic.appliance import INSIDE
from vafw.traffic.conntrack import DEFAULT_LIMIT, Connection, Connections
from vafw.traffic.first_match import FirstMatch, boundaries
from vafw.traffic.flows import Count, FlowTable
from vafw.traffic.fragments import Fate, Fragments
from vafw.traffic.frame import ARP, Frame, Malformed, parse, transport_checksum_holds
from vafw.traffic.packet_tuple import tuple_of
from vafw.traffic.reason import (
    DEFAULT,
    ESTABLISHED,
    ETHERTYPE,
    FRAGMENT,
    INVALID,
    MALFORMED,
    NEIGHBOUR,
    RELATED,
    SPOOFED,
    TABLE_FULL,
    State,
)
from vafw.traffic.rule import ICMP, ICMPV6, PROTOCOL_NAMES, TCP, UDP, Action, Packet, Ruleset

MOST_FAULTS: Final = 100
"""Different faults of malformed frames that are counted apart: they name lengths that a sender chooses."""
OTHER_FAULTS: Final = "another fault"
_NEIGHBOUR_TYPES: Final = range(133, 137)
"""Router and neighbour solicitation and advertisement (RFC 4861)."""
_LINK_MULTICAST: Final = 0xFF02
_LINK_LOCAL: Final = 0xFE80 >> 6
"""The first 16 bits of ff02::/16, the first 10 of fe80::/10."""


@dataclass(slots=True)
class Decision:
    """What becomes of a frame; not frozen for the same reason as `Frame`."""

    action: Action
    rule: str
    """Name of the rule that decided, or a reason in parentheses."""
    packet: Frame | Malformed
    """What the frame was read as."""
    log: bool = False
    """Whether the rule asks for a line in the log."""


class Engine:
    """A ruleset at work."""

    def __init__(self, ruleset: Ruleset, *, connections: int = DEFAULT_LIMIT) -> None:
        """`connections`: how many are followed at a time; what would open one more is dropped."""
        self.ruleset = ruleset
        self.connections = Connections(connections)
        self.flows = FlowTable()
        self.counts: dict[str, Count] = {rule.name: Count() for rule in ruleset.rules}
        """Frames by deciding rule or reason."""
        self.malformed: dict[str, int] = {}
        """Malformed frames by what is wrong with them, `MOST_FAULTS` of them apart and the others together."""
        self._fragments = Fragments()
        self._first_match = FirstMatch(ruleset)
        self._established = self.counts.setdefault(ESTABLISHED, Count())
        inside = ruleset.inside
        self._inside = inside and {4: boundaries(inside.v4), 6: boundaries(inside.v6)}

    def decide(self, frame: bytes, side: str, now_s: float) -> Decision:
        """Decide on a frame that came in by the port `side` at `now_s` seconds."""
        packet = parse(frame)
        if isinstance(packet, Malformed):
            return self._malformed(frame, packet)
        if not packet.version:
            if packet.ethertype == ARP:
                return self._count(frame, Decision(Action.ACCEPT, NEIGHBOUR, packet))
            return self._count(frame, Decision(Action.DROP, ETHERTYPE, packet))
        if not transport_checksum_holds(frame, packet):
            reason = f"{PROTOCOL_NAMES[packet.protocol]} checksum is wrong"
            return self._malformed(frame, Malformed(reason))
        if packet.protocol == ICMPV6 and packet.icmp_type in _NEIGHBOUR_TYPES:
            genuine = packet.hop_limit == 255 and _is_on_link(packet)
            verdict = (Action.ACCEPT, NEIGHBOUR) if genuine else (Action.DROP, INVALID)
            return self._count(frame, Decision(*verdict, packet))
        if side == INSIDE and self._inside is not None and self._is_spoofed(packet):
            return self._note(frame, Decision(Action.DROP, SPOOFED, packet), side, now_s)
        if packet.more_fragments or packet.fragment_offset:
            return self._decide_fragment(frame, packet, side, now_s)
        return self._decide_packet(frame, packet, side, now_s)[0]

    def succeeded_by(self, ruleset: Ruleset) -> Engine:
        """The engine that goes on with another ruleset; this one can still be kept instead.

        It takes over counts, flows and those connections whose first packet the new rules accept too. Datagrams that
        are on their way in pieces are forgotten: what is left of them is dropped.
        """
        follower = Engine(ruleset)
        follower.connections = self.connections.kept(follower._would_accept)
        follower.flows, follower.malformed = self.flows, self.malformed
        follower.counts = {**follower.counts, **self.counts}
        follower._established = follower.counts[ESTABLISHED]
        return follower

    def _would_accept(self, connection: Connection) -> bool:
        """Whether a connection could begin under these rules, judged by its first packet."""
        _, network, source, destination, _, second = connection.original
        version, protocol = network >> 8, network & 0xFF
        port = second if protocol in (TCP, UDP) else 0
        icmp_type = second >> 8 if protocol in (ICMP, ICMPV6) else 0
        first = Packet(connection.side, version, source, destination, protocol, port, icmp_type)
        if connection.side == INSIDE and self._inside and not bisect_right(self._inside[version], source) & 1:
            return False
        rule = self._first_match.find(first)
        return (rule.action if rule else self.ruleset.default) is Action.ACCEPT

    def _decide_packet(
        self, frame: bytes, packet: Frame, side: str, now_s: float
    ) -> tuple[Decision, Connection | None, int]:
        """Decide on a packet or a first fragment; with the connection it belongs to, and its direction in it."""
        state, connection, direction = self.connections.track(frame, packet, side, now_s)
        if state is not State.ESTABLISHED or connection is None:
            return self._decide_state(frame, packet, side, now_s, (state, connection)), connection, direction
        flow = connection.flow
        if flow is not None:
            flow.packets += 1
            flow.bytes += len(frame)
            flow.last_s = now_s
        count = self._established
        count.packets += 1
        count.bytes += len(frame)
        return Decision(Action.ACCEPT, ESTABLISHED, packet), connection, direction

    def _decide_state(
        self,
        frame: bytes,
        packet: Frame,
        side: str,
        now_s: float,
        tracked: tuple[State, Connection | None],
    ) -> Decision:
        state, connection = tracked
        if state is State.RELATED:
            return self._note(frame, Decision(Action.ACCEPT, RELATED, packet), side, now_s)
        if state is State.INVALID:
            return self._note(frame, Decision(Action.DROP, INVALID, packet), side, now_s)
        if state is State.WRONG_SIDE:
            return self._note(frame, Decision(Action.DROP, SPOOFED, packet), side, now_s)
        decision = self._ask_rules(packet, side)
        if decision.action is Action.ACCEPT and connection is not None:
            if not self.connections.confirm(connection, now_s):
                decision = Decision(Action.DROP, TABLE_FULL, packet)
            elif connection.flow is None:
                connection.flow = self.flows.at(connection.original, side, decision.rule, Action.ACCEPT, now_s)
        return self._note(frame, decision, side, now_s)

    def _ask_rules(self, packet: Frame, side: str) -> Decision:
        question = Packet(
            side,
            packet.version,
            packet.source,
            packet.destination,
            packet.protocol,
            packet.destination_port,
            packet.icmp_type,
        )
        rule = self._first_match.find(question)
        if rule is None:
            return Decision(self.ruleset.default, DEFAULT, packet)
        return Decision(rule.action, rule.name, packet, rule.log)

    def _decide_fragment(self, frame: bytes, packet: Frame, side: str, now_s: float) -> Decision:
        if packet.fragment_offset:
            fate = self._fragments.follow(packet, side, now_s)
            if fate is None:
                return self._note(frame, Decision(Action.DROP, FRAGMENT, packet), side, now_s)
            tcp = fate.connection.tcp if fate.connection else None
            if tcp is not None and fate.action is Action.ACCEPT:
                data = packet.fragment_offset + packet.end - packet.transport
                tcp.extend(fate.direction, fate.sequence + data)
            action = Action.DROP if fate.action is Action.REJECT else fate.action
            return self._note(frame, Decision(action, fate.rule, packet), side, now_s)
        if not self._fragments.begins(packet, side, now_s):
            return self._note(frame, Decision(Action.DROP, FRAGMENT, packet), side, now_s)
        decision, connection, direction = self._decide_packet(frame, packet, side, now_s)
        header_begins_at = packet.sequence - (packet.payload - packet.transport)
        fate = Fate(decision.action, decision.rule, connection, direction, header_begins_at)
        self._fragments.decide(packet, side, now_s, fate)
        return decision

    def _is_spoofed(self, packet: Frame) -> bool:
        inside = self._inside[packet.version] if self._inside else ()
        return not bisect_right(inside, packet.source) & 1

    def _malformed(self, frame: bytes, malformed: Malformed) -> Decision:
        known = malformed.reason in self.malformed or len(self.malformed) < MOST_FAULTS
        fault = malformed.reason if known else OTHER_FAULTS
        self.malformed[fault] = self.malformed.get(fault, 0) + 1
        return self._count(frame, Decision(Action.DROP, MALFORMED, malformed))

    def _note(self, frame: bytes, decision: Decision, side: str, now_s: float) -> Decision:
        """Count the packet for its flow and its rule."""
        packet = decision.packet
        if isinstance(packet, Frame):
            flow = self.flows.at(tuple_of(packet), side, decision.rule, decision.action, now_s)
            flow.packets += 1
            flow.bytes += len(frame)
            flow.last_s = now_s
        return self._count(frame, decision)

    def _count(self, frame: bytes, decision: Decision) -> Decision:
        count = self.counts.get(decision.rule)
        if count is None:
            count = self.counts[decision.rule] = Count()
        count.packets += 1
        count.bytes += len(frame)
        return decision


def _is_on_link(packet: Frame) -> bool:
    """Whether neighbour discovery speaks to the link: otherwise a router would carry it on, and its data with it.

    A destination is on the link if it is multicast there, link-local, or of the sender's own /64.
    """
    destination = packet.destination
    if destination >> 112 == _LINK_MULTICAST or destination >> 118 == _LINK_LOCAL:
        return True
    return destination >> 64 == packet.source >> 64
