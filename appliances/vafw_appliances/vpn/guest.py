"""The VPN: a router between the user's network and the wire whose only way out is a WireGuard tunnel.

    inside ─▶ source of the inside? ─▶ behind a peer? ─▶ `Tunnel.send` ─▶ UDP to the peer's endpoint ─▶ outside
    outside ─▶ UDP from the peer's endpoint? ─▶ `Tunnel.receive` ─▶ source behind this peer? ─▶ inside

The kill switch is what is not here: no line of this program sends a packet of one side out of the other but through
`Tunnel`, and a tunnel without a session gives nothing but a handshake. ARP and neighbour discovery end here.

The private key is made of the secret that the platform keeps for it, or where there is none, of the processor's
randomness: then it dies with the program. No document and no report ever holds it; the far end is told the public key,
which the report shows. A handshake's timestamps must only grow for as long as a key lives. Of one that dies with the
program, seconds since the start are as good as a clock; with one that is kept no handshake is begun before the date is
known. The tunnel neither roams (a peer is heard from its configured endpoint alone) nor fragments: what is too large
for it is refused with the size that fits.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from hashlib import blake2s
from secrets import token_bytes
from typing import Final

from vafw.trace import Value
from vafw.traffic import build
from vafw.traffic.appliance import INSIDE, OUTSIDE, Outcome, PacketAppliance, Verdict
from vafw.traffic.frame import ARP, IPV4, IPV6, Frame, Malformed, parse, transport_checksum_holds
from vafw.traffic.packet import ICMP, ICMPV6, UDP
from vafw.traffic.routed import ECHO, Host, Neighbours, asked_for, said_of, time_exceeded
from vafw.traffic.translation import hop_taken
from vafw_appliances.vpn.noise import Identity, public_key
from vafw_appliances.vpn.settings import Peer, Settings
from vafw_appliances.vpn.tunnel import Random, Tunnel

PORT: Final = 51820
MTU: Final = 1420
"""Bytes of a packet that fit the tunnel over an Ethernet with either family outside."""
TUNNEL: Final = "(tunnel)"
KILL_SWITCH: Final = "(kill switch)"
NOT_OURS: Final = "(not ours)"
NEIGHBOUR: Final = "(neighbour)"
TOO_LARGE: Final = "(too large)"
HOP_LIMIT: Final = "(hop limit)"
_SECRET: Final = re.compile("[0-9a-f]{64}")
_GROUPS: Final = {4: 0xE0 << 24, 6: 0xFF << 120}
_LOCAL_BITS: Final = {4: (16, 0xA9FE), 6: (118, 0xFE80 >> 6)}


def create(config: Mapping[str, Value], random: Random = token_bytes) -> PacketAppliance:
    """The VPN of `config["router"]` and `config["tunnel"]`; ValueError says what is wrong with them."""
    settings, secret = Settings.from_config(config), config.get("secret")
    if secret is None:
        return Vpn(settings, random(32), random)
    if not isinstance(secret, str) or not _SECRET.fullmatch(secret):
        raise ValueError("secret must be 32 bytes, hexadecimal")
    return Vpn(settings, blake2s(b"vafw vpn private key", key=bytes.fromhex(secret)).digest(), random, kept=True)


class Vpn:
    """An inline appliance with two ports."""

    timer_period_s: Final = 1.0

    def __init__(self, settings: Settings, private: bytes, random: Random, *, kept: bool = False) -> None:
        """`kept`: whether the private key was another program's before, and stamped handshakes then."""
        self._kept = kept
        self._settings = settings
        self._private = private
        self._random = random
        self._links = settings.links.by_port()
        self._neighbours = Neighbours(self._links)
        self._own = settings.links.outside.own() | settings.links.inside.own()
        self._tunnels = {
            each: Tunnel(Identity(private, each.public_key), random, each.keepalive_s) for each in settings.peers
        }
        self._counts: Counter[str] = Counter()
        self._now_s = 0.0
        self.clock_set(None)

    def clock_set(self, wall_offset_s: float | None) -> None:
        """The date, which handshakes under a key that is kept are stamped with."""
        if self._kept:
            for tunnel in self._tunnels.values():
                tunnel.clock_offset_s = wall_offset_s

    def reconfigured(self, config: Mapping[str, Value]) -> Vpn:
        """The VPN that follows this one: with its key, and sessions of its own."""
        return Vpn(Settings.from_config(config), self._private, self._random, kept=self._kept)

    def start(self, now_s: float) -> Iterable[tuple[str, bytes]]:
        """What brings tunnels up that are never to be idle."""
        return [each for peer, tunnel in self._tunnels.items() for each in self._out(peer, tunnel.start(now_s), now_s)]

    def on_timer(self, now_s: float) -> Iterable[tuple[str, bytes]]:
        """Handshakes and keepalives that are due."""
        self._now_s = now_s
        return [
            each for peer, tunnel in self._tunnels.items() for each in self._out(peer, tunnel.on_timer(now_s), now_s)
        ]

    def handle(self, port: str, frame: bytes, now_s: float) -> Verdict:
        """Decide on one frame."""
        self._now_s = now_s
        verdict = self._decided(port, frame, now_s)
        self._counts[f"{verdict.outcome} {verdict.rule}"] += 1
        return verdict

    def probe(self) -> tuple[bool, str]:
        """Whether a packet to nowhere stays here; a tunnel that is down is closed, and no fault."""
        up = sum(each.is_up(self._now_s) for each in self._tunnels.values())
        return True, f"{up} of {len(self._tunnels)} tunnels are up, and nothing passes beside them"

    def report(self) -> Mapping[str, Value]:
        """The public key that far ends must know, the tunnels, and packets by what became of them."""
        return {
            "public-key": b64encode(public_key(self._private)).decode(),
            "tunnels": {
                peer.name: {"up": each.is_up(self._now_s), "handshakes": each.handshakes, "refused": each.refused}
                for peer, each in self._tunnels.items()
            },
            "packets": dict(self._counts),
        }

    # -- both sides -------------------------------------------------------------------------------------------

    def _decided(self, port: str, frame: bytes, now_s: float) -> Verdict:
        if port not in (INSIDE, OUTSIDE):
            return Verdict(Outcome.DROPPED, "(port)")
        packet = parse(frame)
        mine = frame[:6] == self._links[port].mac
        if isinstance(packet, Malformed) or packet.vlans or not (mine or frame[0] & 1):
            return Verdict(Outcome.DROPPED, NOT_OURS)
        if packet.ethertype == ARP or _is_discovery(frame, packet):
            return self._neighbour(port, frame, packet, now_s)
        if not packet.version or not mine or _is_of_the_link(packet):
            return Verdict(Outcome.DROPPED, NOT_OURS)
        return (self._from_inside if port == INSIDE else self._from_outside)(frame, packet, now_s)

    def _neighbour(self, port: str, frame: bytes, packet: Frame, now_s: float) -> Verdict:
        link = self._links[port]
        if asked_for(frame, packet, link.own()):
            answer = build.arp_reply if packet.ethertype == ARP else build.neighbour_advertisement
            return Verdict(Outcome.ANSWERED, NEIGHBOUR, ((port, answer(frame, packet, link.mac)),))
        said = said_of(frame, packet)
        freed = self._neighbours.learn(port, *said, now_s) if said else ()
        return Verdict(Outcome.ANSWERED, NEIGHBOUR, tuple((port, each) for each in freed))

    # -- from the user ----------------------------------------------------------------------------------------

    def _from_inside(self, frame: bytes, packet: Frame, now_s: float) -> Verdict:
        links, destination = self._settings.links, (packet.version, packet.destination)
        if links.side_of((packet.version, packet.source)) != INSIDE:
            return Verdict(Outcome.DROPPED, NOT_OURS)
        if destination in self._own:
            echo = (packet.protocol, packet.icmp_type) == ECHO[packet.version] and not packet.is_fragment
            if echo and transport_checksum_holds(frame, packet):
                return Verdict(Outcome.ANSWERED, NEIGHBOUR, ((INSIDE, build.echo_reply(frame, packet)),))
            return Verdict(Outcome.DROPPED, NOT_OURS)
        peer = self._settings.peer_for(destination)
        if peer is None or links.side_of(destination) == INSIDE:
            return Verdict(Outcome.DROPPED, KILL_SWITCH)
        refused = self._refused(frame, packet)
        if refused is not None:
            return refused
        taken = hop_taken(frame, packet)[packet.network : packet.end]
        emit = tuple(self._out(peer, self._tunnels[peer].send(taken, now_s), now_s))
        up = self._tunnels[peer].is_up(now_s)
        return Verdict(Outcome.PASSED, TUNNEL, emit) if up else Verdict(Outcome.DROPPED, KILL_SWITCH, emit)

    def _refused(self, frame: bytes, packet: Frame) -> Verdict | None:
        """The answer to a packet that lives too short or is too large; None where it is neither."""
        own = self._settings.links.inside.source(packet.version)
        if packet.hop_limit <= 1:
            told = time_exceeded(frame, packet, own) if own is not None else None
            return Verdict(Outcome.REJECTED if told else Outcome.DROPPED, HOP_LIMIT, ((INSIDE, told),) if told else ())
        if packet.end - packet.network <= MTU:
            return None
        told = _too_large(frame, packet, own) if own is not None else None
        return Verdict(Outcome.REJECTED if told else Outcome.DROPPED, TOO_LARGE, ((INSIDE, told),) if told else ())

    def _out(self, peer: Peer, datagrams: Iterable[bytes], now_s: float) -> Iterator[tuple[str, bytes]]:
        """The only way out: a tunnel's datagrams, to its peer's endpoint."""
        link, (version, address) = self._settings.links.outside, peer.host
        own, hop = link.source(version), link.next_hop(peer.host)
        for datagram in datagrams:
            if own is None or hop is None:
                return
            carried = build.udp(own, address, PORT, peer.port, datagram)
            header, ethertype = (build.ipv4, IPV4) if version == 4 else (build.ipv6, IPV6)
            frame = build.ethernet(bytes(6), link.mac, ethertype, header(own, address, UDP, carried))
            self._neighbours.drop_waiting(OUTSIDE, hop)  # a handshake that has waited would be answered before this one
            for each in self._neighbours.send(OUTSIDE, hop, frame, now_s):
                yield OUTSIDE, each

    # -- from the wire ----------------------------------------------------------------------------------------

    def _from_outside(self, frame: bytes, packet: Frame, now_s: float) -> Verdict:
        own = self._settings.links.outside.source(packet.version)
        is_tunnel = packet.protocol == UDP and not packet.is_fragment and packet.destination_port == PORT
        peer = self._sender(packet)
        if peer is None or not is_tunnel or packet.destination != own or not transport_checksum_holds(frame, packet):
            return Verdict(Outcome.DROPPED, NOT_OURS)
        length = int.from_bytes(frame[packet.transport + 4 : packet.transport + 6], "big")
        datagram = frame[packet.payload : packet.transport + length]
        plain, answers = self._tunnels[peer].receive(datagram, now_s)
        emit = tuple(self._out(peer, answers, now_s))
        if not plain:
            return Verdict(Outcome.ANSWERED if emit or plain is not None else Outcome.DROPPED, TUNNEL, emit)
        inward = tuple(self._in(peer, plain, now_s))
        return Verdict(Outcome.PASSED if inward else Outcome.DROPPED, TUNNEL, (*emit, *inward))

    def _sender(self, packet: Frame) -> Peer | None:
        ends = (packet.version, packet.source), packet.source_port
        return next((each for each in self._settings.peers if (each.host, each.port) == ends), None)

    def _in(self, peer: Peer, plain: bytes, now_s: float) -> Iterator[tuple[str, bytes]]:
        """A packet out of the tunnel, to a host inside, if its source lies behind this peer."""
        links = self._settings.links
        ethertype = {4: IPV4, 6: IPV6}.get(plain[0] >> 4, 0)
        frame = build.ethernet(bytes(6), links.inside.mac, ethertype, plain)
        packet = parse(frame)
        if isinstance(packet, Malformed) or not packet.version or packet.hop_limit <= 1:
            return
        source: Host = (packet.version, packet.source)
        target: Host = (packet.version, packet.destination)
        spoofed = self._settings.peer_for(source) is not peer or links.side_of(source) == INSIDE
        if spoofed or _is_of_the_link(packet) or links.side_of(target) != INSIDE or target in self._own:
            return
        for each in self._neighbours.send(INSIDE, target, hop_taken(frame, packet)[: packet.end], now_s):
            yield INSIDE, each


def _is_discovery(frame: bytes, packet: Frame) -> bool:
    """Whether it is a neighbour solicitation or advertisement of this link (RFC 4861, section 7.1)."""
    asks = packet.protocol == ICMPV6 and packet.icmp_type in (135, 136) and packet.hop_limit == 255
    return asks and not packet.is_fragment and transport_checksum_holds(frame, packet)


def _is_of_the_link(packet: Frame) -> bool:
    """Whether it is for a group, or from or to an address that no router forwards."""
    shift, local = _LOCAL_BITS[packet.version]
    ends = packet.source, packet.destination
    return packet.destination >= _GROUPS[packet.version] or any(each >> shift == local for each in ends)


def _too_large(frame: bytes, packet: Frame, own: int) -> bytes | None:
    """ICMP "fragmentation needed" (RFC 1191) or ICMPv6 "packet too big" (RFC 4443); None where none may be sent."""
    if build.unreachable(frame, packet) is None:
        return None
    quoted = frame[packet.network : packet.end]
    if packet.version == 4:
        message = build.icmp(3, 4, MTU.to_bytes(4, "big") + quoted[: build.LONGEST_ICMP_ERROR - 28])
        body = build.ipv4(own, packet.source, ICMP, message)
    else:
        rest = MTU.to_bytes(4, "big") + quoted[: build.LONGEST_ICMPV6_ERROR - 48]
        body = build.ipv6(own, packet.source, ICMPV6, build.icmpv6(own, packet.source, 2, 0, rest))
    return build.answer_header(frame, packet) + body
