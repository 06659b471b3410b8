"""Decides on one frame after the other: the stateful packet filter, as a function from bytes to a `Decision`.

The order of its questions is the order that `nftables.py` writes for a kernel, and means the same:

    malformed ─▶ drop     ARP, neighbour discovery ─▶ accept     other EtherTypes ─▶ drop
    source not of the inside, though it comes from there ─▶ drop
    later fragment ─▶ as its first
    of a connection, or an error about one ─▶ first rule for that state that decides, else accept
    invalid ─▶ first rule for invalid packets that decides, else drop
    opens a connection ─▶ first rule that decides, else the default

A rule decides if it matches, its conditions hold and its action is final; `log` and `mark` only leave a trace. Nearly
no ruleset has rules for other packets than new ones, and where none has, nothing is asked: that is the fast path.
A reason that is no rule's name stands in parentheses. What is accepted passes unchanged, except by a firewall that has
addresses of its own: then port forwards change the destination before the rules are asked and masquerading the source
afterwards, and `Decision.sent` is what leaves (`translation`).
A connection is picked up in its middle where a rule accepts its packet, as the kernel does by default
(`nf_conntrack_tcp_loose=1`); see `tcp_state.py`. Whatever cannot be kept track of is dropped.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from vafw.traffic.appliance import INSIDE, uplink_port
from vafw.traffic.conditions import Conditions, patterns_of
from vafw.traffic.conntrack import DEFAULT_LIMIT, Connection, Connections
from vafw.traffic.first_match import FirstMatch, boundaries
from vafw.traffic.flows import Count, FlowTable
from vafw.traffic.fragments import Fate, Fragments
from vafw.traffic.frame import ARP, RST, Frame, Malformed, parse, transport_checksum_holds
from vafw.traffic.nat import Nat, OwnAddresses
from vafw.traffic.packet_tuple import inverted, tuple_of
from vafw.traffic.reason import (
    DEFAULT,
    ESTABLISHED,
    ETHERTYPE,
    FRAGMENT,
    INVALID,
    MALFORMED,
    NEIGHBOUR,
    NO_PORT,
    OWN,
    RELATED,
    SPOOFED,
    TABLE_FULL,
    State,
)
from vafw.traffic.rule import (
    ICMP,
    ICMPV6,
    PROTOCOL_NAMES,
    RULE_STATES,
    TCP,
    UDP,
    Action,
    Packet,
    Rule,
    Ruleset,
)
from vafw.traffic.tcp_state import ORIGINAL
from vafw.traffic.translation import Translator, is_translatable, translated

MOST_FAULTS: Final = 100
"""Different faults of malformed frames that are counted apart: they name lengths that a sender chooses."""
OTHER_FAULTS: Final = "another fault"
_NEIGHBOUR_TYPES: Final = range(133, 137)
"""Router and neighbour solicitation and advertisement (RFC 4861)."""
_UNASKED: Final = {
    State.ESTABLISHED: (Action.ACCEPT, ESTABLISHED),
    State.RELATED: (Action.ACCEPT, RELATED),
    State.INVALID: (Action.DROP, INVALID),
}
"""What becomes of packets that no rule decides on; of new ones, what the default says."""
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
    """Whether a rule asks for a line in the log."""
    logged_by: str = ""
    """Name of the rule with the action `log` that matched before, the last if there were several."""
    mark: int = 0
    """What the packet's connection is marked with; 0: nothing."""
    sent: bytes | None = None
    """What leaves in place of the frame; None: the frame itself, as it came."""
    uplink: int = 0
    """By which of a router's ways to the wire it leaves, if it leaves to the wire."""


ChooseUplink: TypeAlias = Callable[[tuple[int, int], int], int]
"""IP version and address of a destination, and the connection's mark: the number of the uplink."""


class Engine:
    """A ruleset at work."""

    def __init__(
        self,
        ruleset: Ruleset,
        *,
        connections: int = DEFAULT_LIMIT,
        wall_offset_s: float | None = None,
        own: OwnAddresses | None = None,
        choose_uplink: ChooseUplink = lambda _host, _mark: 0,
    ) -> None:
        """`connections`: how many are followed at a time; what would open one more is dropped.

        `own` are the addresses of a firewall in routed mode; without them nothing is translated, and a ruleset that
        asks for it is refused with a ValueError. `choose_uplink` says by which of its ways to the wire a new connection
        leaves. `wall_offset_s` added to the time of a packet gives seconds since 1970 for schedules; None: not known.
        """
        if own is None and ruleset.nat != Nat():
            raise ValueError("a firewall without addresses of its own must have no nat")
        self.ruleset = ruleset
        self.own = own
        self._translator = Translator(ruleset.nat, own.outers) if own is not None else None
        self._choose_uplink = choose_uplink
        self.conditions = Conditions(ruleset, wall_offset_s=wall_offset_s)
        self.connections = Connections(connections)
        self.flows = FlowTable()
        self.counts: dict[str, Count] = {rule.name: Count() for rule in ruleset.rules}
        """Frames by deciding rule or reason."""
        self.malformed: dict[str, int] = {}
        """Malformed frames by what is wrong with them, `MOST_FAULTS` of them apart and the others together."""
        self._fragments = Fragments()
        self._asked = {
            state: FirstMatch(rules)
            for state in RULE_STATES
            if (rules := ruleset.rules_for([state])) or state is State.NEW
        }
        self._asks_established = State.ESTABLISHED in self._asked
        self._established = self.counts.setdefault(ESTABLISHED, Count())
        inside = ruleset.inside
        self._inside = inside and {4: boundaries(inside.v4), 6: boundaries(inside.v6)}

    def decide(self, frame: bytes, side: str, now_s: float, uplink: int = 0) -> Decision:
        """Decide on a frame that came in on `side` at `now_s` seconds, from outside by that uplink."""
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
            return self._decide_fragment(frame, packet, (side, uplink), now_s)
        return self._decide_packet(frame, packet, (side, uplink), now_s)[0]

    def succeeded_by(self, ruleset: Ruleset) -> Engine:
        """The engine that goes on with another ruleset; this one can still be kept instead.

        It takes over counts, flows and those connections whose first packet the new rules accept too. Datagrams that
        are on their way in pieces are forgotten: what is left of them is dropped.
        """
        wall_offset_s = self.conditions.wall_offset_s
        follower = Engine(ruleset, wall_offset_s=wall_offset_s, own=self.own, choose_uplink=self._choose_uplink)
        follower.conditions.names = self.conditions.names.kept(patterns_of(ruleset))
        follower.connections = self.connections.kept(follower.would_accept)
        follower.flows, follower.malformed = self.flows, self.malformed
        follower.counts = {**follower.counts, **self.counts}
        follower._established = follower.counts[ESTABLISHED]
        return follower

    def would_accept(self, connection: Connection) -> bool:
        """Whether a connection could begin under these rules, judged by its first packet."""
        _, network, source, *_ = connection.original
        _, _, _, destination, _, second = connection.sent_as
        version, protocol = network >> 8, network & 0xFF
        port = second if protocol in (TCP, UDP) else 0
        icmp_type = second >> 8 if protocol in (ICMP, ICMPV6) else 0
        vlan = connection.original[0][0] if connection.original[0] else 0
        first = Packet(connection.side, version, source, destination, protocol, port, icmp_type, vlan)
        if connection.side == INSIDE and self._inside and not bisect_right(self._inside[version], source) & 1:
            return False
        rule = self._asked[State.NEW].find(first)
        return (rule.action if rule else self.ruleset.default) is Action.ACCEPT

    def _decide_packet(
        self, frame: bytes, packet: Frame, came_by: tuple[str, int], now_s: float
    ) -> tuple[Decision, Connection | None, int]:
        """Decide on a packet or a first fragment; with the connection it belongs to, and its direction in it."""
        side, uplink = came_by
        state, connection, direction = self.connections.track(frame, packet, side, now_s, uplink)
        if (
            state is State.RELATED
            and connection is not None
            and connection.reply
            and not is_translatable(frame, packet)
        ):
            state, connection = State.INVALID, None
        if state is not State.ESTABLISHED or connection is None or self._asks_established:
            decision = self._decide_state(frame, packet, side, now_s, (state, connection, direction))
        else:
            decision = self._decide_established(frame, packet, connection, now_s)
        if connection is not None and decision.action is Action.ACCEPT:
            decision.uplink = connection.uplink
            if connection.reply is not None:
                decision.sent = translated(frame, packet, connection, direction, is_error=state is State.RELATED)
        return decision, connection, direction

    def _decide_established(self, frame: bytes, packet: Frame, connection: Connection, now_s: float) -> Decision:
        """The fast path: no rule is asked."""
        flow = connection.flow
        if flow is not None:
            flow.packets += 1
            flow.bytes += len(frame)
            flow.last_s = now_s
        count = self._established
        count.packets += 1
        count.bytes += len(frame)
        return Decision(Action.ACCEPT, ESTABLISHED, packet, mark=connection.mark)

    def _decide_state(
        self,
        frame: bytes,
        packet: Frame,
        side: str,
        now_s: float,
        tracked: tuple[State, Connection | None, int],
    ) -> Decision:
        state, connection, direction = tracked
        if state is State.WRONG_SIDE:
            return self._note(frame, Decision(Action.DROP, SPOOFED, packet), side, now_s)
        question = self._question(packet, side, connection, direction)
        if self.own is not None and (question.version, question.destination) in self.own.addresses:
            return self._note(frame, Decision(Action.DROP, OWN, packet), side, now_s)
        decision = self._ask_rules(question, frame, packet, state, now_s)
        if connection is not None:
            connection.mark = decision.mark = decision.mark or connection.mark
        if decision.action is Action.REJECT and connection is not None and connection.confirmed:
            _close(connection, packet, now_s)
        if state in (State.RELATED, State.INVALID, State.ESTABLISHED):
            return self._note(frame, decision, side, now_s)
        if decision.action is Action.ACCEPT and connection is not None:
            if not connection.confirmed and not self._route(question, connection):
                decision = Decision(Action.DROP, NO_PORT, packet)
            elif not self.connections.confirm(connection, now_s):
                decision = Decision(Action.DROP, TABLE_FULL, packet)
            elif connection.flow is None:
                connection.flow = self.flows.at(connection.original, side, decision.rule, Action.ACCEPT, now_s)
        return self._note(frame, decision, side, now_s)

    def _route(self, question: Packet, connection: Connection) -> bool:
        """Choose by which uplink a new connection goes, and what it is translated to; False: nothing is free."""
        if self._translator is None:
            return True
        if connection.side == INSIDE:
            connection.uplink = self._choose_uplink((question.version, question.destination), connection.mark)
        led = self._translator.destination(connection.original, connection.side, connection.uplink)
        hidden = self._translator.source(led, connection.side, self.connections.is_taken, connection.uplink)
        if hidden is not None and hidden != connection.original:
            connection.reply = inverted(hidden)
        return hidden is not None

    def _question(self, packet: Frame, side: str, connection: Connection | None, direction: int) -> Packet:
        """The packet as rules see it: its destination as it will be, its source as it is."""
        destination, port = packet.destination, packet.destination_port
        if connection is not None and self._translator is not None:
            if connection.reply is not None:
                sent = connection.sent_as if direction == ORIGINAL else inverted(connection.original)
            else:
                sent = self._translator.destination(connection.original, connection.side, connection.uplink)
            if sent is not None and (connection.reply is not None or direction == ORIGINAL):
                destination = sent[3]
                port = sent[5] if packet.protocol in (TCP, UDP) else 0
        vlan = packet.vlans[0] if packet.vlans else 0
        return Packet(side, packet.version, packet.source, destination, packet.protocol, port, packet.icmp_type, vlan)

    def _ask_rules(self, question: Packet, frame: bytes, packet: Frame, state: State, now_s: float) -> Decision:
        """What the rules for packets of this state say, else what goes without saying."""
        action, reason = _UNASKED.get(state) or (self.ruleset.default, DEFAULT)
        decision = Decision(action, reason, packet)
        asked = self._asked.get(State.NEW if state is State.UNTRACKED else state)
        if asked is None:
            return decision
        for rule in asked.matching(question):
            if rule.is_conditional and not self.conditions.hold(rule, question, now_s):
                continue
            if rule.action.is_final:
                decision.action, decision.rule = rule.action, rule.name
                decision.log = decision.log or rule.log
                return decision
            self._trace(rule, decision, len(frame))
        return decision

    def _trace(self, rule: Rule, decision: Decision, size: int) -> None:
        """What a rule leaves behind that does not decide."""
        count = self.counts[rule.name]
        count.packets += 1
        count.bytes += size
        if rule.mark is not None:
            decision.mark = rule.mark
        if rule.action is Action.LOG or rule.log:
            decision.log, decision.logged_by = True, rule.name

    def _decide_fragment(self, frame: bytes, packet: Frame, came_by: tuple[str, int], now_s: float) -> Decision:
        side, uplink = came_by
        port = side if side == INSIDE else uplink_port(uplink)
        if packet.fragment_offset:
            fate = self._fragments.follow(packet, port, now_s)
            if fate is None:
                return self._note(frame, Decision(Action.DROP, FRAGMENT, packet), side, now_s)
            tcp = fate.connection.tcp if fate.connection else None
            if tcp is not None and fate.action is Action.ACCEPT:
                data = packet.fragment_offset + packet.end - packet.transport
                tcp.extend(fate.direction, fate.sequence + data)
            action = Action.DROP if fate.action is Action.REJECT else fate.action
            decision = Decision(action, fate.rule, packet)
            if fate.connection is not None and action is Action.ACCEPT:
                decision.uplink = fate.connection.uplink
                if fate.connection.reply is not None:
                    decision.sent = translated(frame, packet, fate.connection, fate.direction)
            return self._note(frame, decision, side, now_s)
        if not self._fragments.begins(packet, port, now_s):
            return self._note(frame, Decision(Action.DROP, FRAGMENT, packet), side, now_s)
        decision, connection, direction = self._decide_packet(frame, packet, came_by, now_s)
        header_begins_at = packet.sequence - (packet.payload - packet.transport)
        fate = Fate(decision.action, decision.rule, connection, direction, header_begins_at)
        self._fragments.decide(packet, port, now_s, fate)
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


def _close(connection: Connection, packet: Frame, now_s: float) -> None:
    """A segment of an open connection was rejected: the RST that answers it ends the connection, as in the kernel."""
    tcp = connection.tcp
    if tcp is not None and packet.protocol == TCP and not packet.flags & RST:
        tcp.close()
        connection.expires_s = now_s + tcp.timeout_s


def _is_on_link(packet: Frame) -> bool:
    """Whether neighbour discovery speaks to the link: otherwise a router would carry it on, and its data with it.

    A destination is on the link if it is multicast there, link-local, or of the sender's own /64.
    """
    destination = packet.destination
    if destination >> 112 == _LINK_MULTICAST or destination >> 118 == _LINK_LOCAL:
        return True
    return destination >> 64 == packet.source >> 64
