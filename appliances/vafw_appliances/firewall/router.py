"""The firewall in routed mode: the same rules and connections, between two networks instead of within one.

What routing needs is `vafw.traffic.routed`'s; the deciding, and all translation, is the engine's. This joins the two:
who may be spoken to, in which order, what a frame leaves as, and by which of its uplinks (`vafw.traffic.uplinks`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Final

from vafw.trace import Value
from vafw.traffic import build
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome, Verdict, uplink_port
from vafw.traffic.engine import Decision, Engine
from vafw.traffic.frame import ARP, Frame, Malformed, parse, transport_checksum_holds
from vafw.traffic.packet import ICMPV6
from vafw.traffic.reason import NEIGHBOUR, NOT_MINE, OWN, SPOOFED
from vafw.traffic.routed import ECHO, Host, Links, Neighbours, asked_for, question, said_of, time_exceeded
from vafw.traffic.rule import Action
from vafw.traffic.translation import hop_taken
from vafw.traffic.uplinks import Uplinks

HOP_LIMIT: Final = "(hop limit)"
NO_ROUTE: Final = "(no route)"
_GROUPS: Final = {4: 0xE0 << 24, 6: 0xFF << 120}
_LINK_LOCAL: Final = {4: 0xA9FE << 16, 6: 0xFE80 << 112}
_LINK_LOCAL_BITS: Final = {4: 16, 6: 118}


class Router:
    """What becomes of a frame around the engine's decision."""

    def __init__(self, links: Links) -> None:
        self._links = links
        self._by_port = links.by_port()
        self._numbers = {uplink_port(at): at for at in range(len(links.uplinks))}
        self._own = links.own_addresses()
        self._neighbours = Neighbours(self._by_port)
        self.uplinks = Uplinks(links.uplinks)
        self._news: list[str] = []

    @property
    def ports(self) -> Collection[str]:
        """Where its links are."""
        return self._by_port.keys()

    def handle(self, engine: Engine, port: str, frame: bytes, now_s: float) -> tuple[Verdict, Decision | None]:
        """The verdict on one frame, and the engine's decision where it was asked."""
        if len(frame) < 14 or (frame[:6] != self._by_port[port].mac and not frame[0] & 1):
            return Verdict(Outcome.DROPPED, NOT_MINE), None
        packet = parse(frame)
        if isinstance(packet, Frame) and not packet.vlans:
            if packet.ethertype == ARP or self._is_discovery(frame, packet):
                return self._neighbour(port, frame, packet, now_s), None
            if packet.version:
                early = self._early(port, frame, packet)
                if early is not None:
                    return early, None
        uplink = self._numbers.get(port)
        decision = engine.decide(frame, INSIDE if uplink is None else OUTSIDE, now_s, uplink or 0)
        if decision.action is not Action.ACCEPT or not isinstance(decision.packet, Frame):
            return self._refused(port, frame, decision), decision
        return self._forward(port, frame, decision, now_s), decision

    def look_after_uplinks(self, engine: Engine, now_s: float) -> Iterator[tuple[str, bytes]]:
        """The questions to every next hop that are due, each with its port; what left by a dead uplink is forgotten."""
        for number in self.uplinks.gone(now_s):
            engine.connections.forget_uplink(number)
            self._news.append(f"uplink {uplink_port(number)} is down: its next hop does not answer")
        for number, gateway in self.uplinks.questions():
            port = uplink_port(number)
            yield from ((port, each) for each in question(self._by_port[port], gateway))

    def take_news(self) -> str:
        """What happened to the uplinks since the last time, as a line for the log."""
        line, self._news = "; ".join(self._news), []
        return line

    def report(self) -> dict[str, Value]:
        """How many neighbours are known, and which uplinks are up."""
        return {"neighbours": len(self._neighbours), "uplinks": self.uplinks.report()}

    def _is_discovery(self, frame: bytes, packet: Frame) -> bool:
        return (
            packet.protocol == ICMPV6
            and packet.icmp_type in (135, 136)
            and packet.hop_limit == 255
            and not packet.is_fragment
            and transport_checksum_holds(frame, packet)
        )

    def _neighbour(self, port: str, frame: bytes, packet: Frame, now_s: float) -> Verdict:
        link = self._by_port[port]
        if asked_for(frame, packet, link.own()):
            answer = build.arp_reply if packet.ethertype == ARP else build.neighbour_advertisement
            return Verdict(Outcome.ANSWERED, NEIGHBOUR, ((port, answer(frame, packet, link.mac)),))
        said = said_of(frame, packet)
        freed = self._neighbours.learn(port, *said, now_s) if said else ()
        if said and port in self._numbers and self.uplinks.heard(self._numbers[port], said[0], now_s):
            self._news.append(f"uplink {port} is up again")
        emit = tuple((port, each) for each in freed)
        return Verdict(Outcome.PASSED if emit else Outcome.DROPPED, NEIGHBOUR, emit)

    def _early(self, port: str, frame: bytes, packet: Frame) -> Verdict | None:
        """What ends before any rule is asked; None: go on.

        Group traffic, sources of the other side (RFC 3704), echo to the router, and hop limits.
        """
        version, shift = packet.version, _LINK_LOCAL_BITS[packet.version]
        ends = (packet.source, packet.destination)
        local = any(each >> shift == _LINK_LOCAL[version] >> shift for each in ends)
        group = packet.destination >= _GROUPS[version] or self._links.is_broadcast((version, packet.destination))
        if frame[0] & 1 or group or local:
            return Verdict(Outcome.DROPPED, NOT_MINE)
        source = (version, packet.source)
        nobody = source in self._own.addresses or self._links.is_broadcast(source)
        if nobody or not self._links.may_come_from(source, port):
            return Verdict(Outcome.DROPPED, SPOOFED)
        if (version, packet.destination) in self._own.addresses:
            echo = (packet.protocol, packet.icmp_type) == ECHO[version] and not packet.is_fragment
            if port == INSIDE and echo and transport_checksum_holds(frame, packet):
                return Verdict(Outcome.ANSWERED, OWN, ((port, build.echo_reply(frame, packet)),))
            return None  # an answer to a masqueraded connection, or to a forwarded port: the engine knows
        if packet.hop_limit <= 1:
            own = self._by_port[port].source(version)
            told = time_exceeded(frame, packet, own) if own is not None else None
            return Verdict(Outcome.REJECTED if told else Outcome.DROPPED, HOP_LIMIT, ((port, told),) if told else ())
        return None

    def _refused(self, port: str, frame: bytes, decision: Decision) -> Verdict:
        packet = decision.packet
        if decision.action is Action.REJECT and isinstance(packet, Frame):
            answer = build.refusal(frame, packet)
            if answer is not None:
                return Verdict(Outcome.REJECTED, decision.rule, ((port, answer),))
        return Verdict(Outcome.DROPPED, decision.rule)

    def _forward(self, port: str, frame: bytes, decision: Decision, now_s: float) -> Verdict:
        out = decision.sent or frame
        packet = parse(out)
        if isinstance(packet, Malformed) or packet.vlans or packet.hop_limit <= 1:
            return Verdict(Outcome.DROPPED, HOP_LIMIT)
        host: Host = (packet.version, packet.destination)
        leaves = INSIDE if self._links.side_of(host) == INSIDE else uplink_port(decision.uplink)
        hop = self._by_port[leaves].next_hop(host)
        if (leaves == INSIDE) == (port == INSIDE) or hop is None:
            return Verdict(Outcome.DROPPED, NO_ROUTE)
        sent = self._neighbours.send(leaves, hop, hop_taken(out, packet), now_s)
        return Verdict(Outcome.PASSED, decision.rule, tuple((leaves, each) for each in sent))
