"""A small internet behind the wire: it answers the user OS where neither a capture nor a tap does.

One `Peer` is the gateway, the resolver and every host behind them at once: it answers ARP and neighbour solicitation
for the gateway, DNS for the resolver, echo requests to anything it knows, and TCP connections with one canned answer a
port. Everything else it meets with silence, as the internet does; a closed port of a known host with a RST.

No state: what a segment is answered with follows from the segment alone. A SYN is answered with a sequence number
computed from its ports, the segment that ends a request (PSH) with the whole answer and a FIN, and a retransmission
therefore with the same bytes again. A deterministic peer needs no more, and a real server could do with no less.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias, final

from dnslib import AAAA, QTYPE, RCODE, RR, A, DNSError, DNSRecord

from vafw.plan.plan import Plan
from vafw.traffic import build
from vafw.traffic.frame import ACK, ARP, FIN, PSH, RST, SYN, Frame, Malformed, parse, transport_checksum_holds
from vafw.traffic.rule import ICMP, ICMPV6, TCP, UDP

Address: TypeAlias = "IPv4Address | IPv6Address"

PEER_MAC: Final = bytes.fromhex("525400bb0001")
PAGE: Final = b"HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\nContent-Length: 6\r\n\r\nhello\n"
DNS: Final = 53
SEGMENT_BYTES: Final = 1_440
"""Data in a segment: what fits an Ethernet frame over IPv6."""
SEGMENT_SIZE: Final = b"\x02\x04" + SEGMENT_BYTES.to_bytes(2, "big")
"""The option that says so (RFC 9293, section 3.7.1)."""
LONGEST_PAGE: Final = 60_000
"""An answer is sent at once, so it has to fit the window that a host without window scaling opens: 65,535 bytes."""
TIME_TO_LIVE_S: Final = 300


def further_mac(number: int) -> bytes:
    """The MAC address of the gateway behind another wire, counted from 1."""
    return PEER_MAC[:5] + bytes([PEER_MAC[5] + number])


def peers(plan: Plan) -> Mapping[str, Peer]:
    """What is behind the wire of each network function: the same hosts, by another gateway."""
    further = {
        each.function: Peer(Site(gateways=_texts(*each.gateways)), further_mac(number))
        for number, each in enumerate(plan.uplinks, start=1)
    }
    return {plan.path[0]: Peer(), **further}


def _texts(*addresses: str) -> tuple[Address, ...]:
    return tuple(ip_address(each) for each in addresses)


@dataclass(frozen=True, slots=True)
class Site:
    """What there is behind the wire."""

    gateways: tuple[Address, ...] = _texts("10.0.0.1", "2001:db8:a::1")
    """Addresses on the network that the wire leads to, each a resolver too."""
    resolvers: tuple[Address, ...] = _texts("198.51.100.53", "2001:db8:b::53")
    """Resolvers of the internet, beyond the gateways."""
    names: Mapping[str, tuple[Address, ...]] = field(
        default_factory=lambda: {
            "www.example.com": _texts("198.51.100.10", "2001:db8:b::10"),
            "news.example.org": _texts("203.0.113.20"),
            "six.example.com": _texts("2001:db8:b::10"),
            "printer.example.com": _texts("192.168.1.10"),
            "ads.example.net": _texts("203.0.113.20"),
            "tracker.example.org": _texts("198.51.100.10"),
        }
    )
    """Names, lower case, and their addresses; every other name does not exist."""
    pages: Mapping[int, bytes] = field(default_factory=lambda: {80: PAGE, 443: PAGE, 22: b"SSH-2.0-peer\r\n"})
    """What each open TCP port answers a request with; the same on every host."""

    def __post_init__(self) -> None:
        longest = max(map(len, self.pages.values()), default=0)
        if longest > LONGEST_PAGE:
            raise ValueError(f"an answer must be at most {LONGEST_PAGE} bytes, not {longest}")

    def is_here(self, address: Address) -> bool:
        """Whether anything has that address."""
        return address in (*self.gateways, *self.resolvers) or any(address in each for each in self.names.values())


@final
class Peer:
    """The other end of the wire."""

    def __init__(self, site: Site | None = None, mac: bytes = PEER_MAC) -> None:
        self._site = site or Site()
        self._mac = mac

    def handle(self, frame: bytes, now_s: float) -> list[bytes]:
        """The frames that answer one frame; `now_s` changes nothing here, and is taken as other ends take it."""
        packet = parse(frame)
        if isinstance(packet, Malformed) or packet.is_fragment or not (frame[:6] == self._mac or frame[0] & 1):
            return []
        if packet.ethertype == ARP:
            return self._arp(frame, packet)
        if not packet.version or not transport_checksum_holds(frame, packet):
            return []
        if packet.protocol == ICMPV6 and packet.icmp_type == 135:
            return self._solicited(frame, packet)
        if not self._site.is_here(_address(packet)):
            return []
        if packet.protocol in (ICMP, ICMPV6):
            asked = packet.icmp_type == (8 if packet.version == 4 else 128)
            return [build.echo_reply(frame, packet)] if asked else []
        if packet.protocol == UDP and packet.destination_port == DNS:
            return self._resolved(frame, packet)
        return self._segment(frame, packet) if packet.protocol == TCP else []

    def _arp(self, frame: bytes, packet: Frame) -> list[bytes]:
        body = frame[packet.network : packet.network + 28]
        asked = body[6:8] == b"\0\1" and IPv4Address(body[24:28]) in self._site.gateways
        return [build.arp_reply(frame, packet, self._mac)] if asked else []

    def _solicited(self, frame: bytes, packet: Frame) -> list[bytes]:
        target = frame[packet.transport + 8 : packet.transport + 24]
        asked = packet.hop_limit == 255 and len(target) == 16 and IPv6Address(target) in self._site.gateways
        return [build.neighbour_advertisement(frame, packet, self._mac)] if asked and packet.source else []

    def _resolved(self, frame: bytes, packet: Frame) -> list[bytes]:
        try:
            query = DNSRecord.parse(frame[packet.payload : packet.end])
        except (DNSError, ValueError):
            return []
        resolvers = (*self._site.gateways, *self._site.resolvers)
        if query.header.qr or len(query.questions) != 1 or _address(packet) not in resolvers:
            return []
        answer = query.reply()
        addresses = self._site.names.get(str(query.q.qname).rstrip(".").lower())
        if addresses is None:
            answer.header.rcode = RCODE.NXDOMAIN
        for each in addresses or ():
            kind, record = (QTYPE.A, A) if each.version == 4 else (QTYPE.AAAA, AAAA)
            if query.q.qtype == kind:
                answer.add_answer(RR(query.q.qname, kind, rdata=record(str(each)), ttl=TIME_TO_LIVE_S))
        return [build.udp_answer(frame, packet, answer.pack())]

    def _segment(self, frame: bytes, packet: Frame) -> list[bytes]:
        page = self._site.pages.get(packet.destination_port)
        first = (packet.destination_port << 16 | packet.source_port) + 1 & 0xFFFFFFFF
        if packet.flags & RST:
            return []
        if page is None:
            refused = build.reset(frame, packet)
            return [refused] if refused is not None else []
        if packet.flags & SYN:
            return [self._sent(frame, packet, first - 1 & 0xFFFFFFFF, SYN | ACK, options=SEGMENT_SIZE)]
        if packet.end > packet.payload and packet.acknowledgement == first:
            if packet.flags & PSH:
                return self._page(frame, packet, first, page)
            return [self._sent(frame, packet, first, ACK)]
        if packet.flags & FIN:
            return [self._sent(frame, packet, packet.acknowledgement, ACK if _is_done(packet, first) else FIN | ACK)]
        return []

    def _page(self, frame: bytes, packet: Frame, first: int, page: bytes) -> list[bytes]:
        """The whole answer, the last segment with a FIN."""
        starts = range(0, len(page) or 1, SEGMENT_BYTES)
        return [
            self._sent(
                frame,
                packet,
                first + start & 0xFFFFFFFF,
                PSH | ACK | (FIN if start + SEGMENT_BYTES >= len(page) else 0),
                page[start : start + SEGMENT_BYTES],
            )
            for start in starts
        ]

    def _sent(
        self, frame: bytes, packet: Frame, sequence: int, flags: int, data: bytes = b"", *, options: bytes = b""
    ) -> bytes:
        ends = (packet.destination, packet.source, packet.destination_port, packet.source_port)
        heard = build.segment_end(packet)
        segment = build.tcp(*ends, sequence=sequence, acknowledgement=heard, flags=flags, data=data, options=options)
        return build.answer(frame, packet, TCP, segment)


def _address(packet: Frame) -> Address:
    return (IPv4Address if packet.version == 4 else IPv6Address)(packet.destination)


def _is_done(packet: Frame, first: int) -> bool:
    """Whether the other side has heard our FIN already."""
    return packet.acknowledgement != first
