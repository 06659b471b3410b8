"""Reads one Ethernet frame down to the header of its transport, or says why it is malformed.

Not a dissector: what lies above TCP, UDP and ICMP is left alone, and no option is kept. `parse` never raises. It runs
for every frame, so it works on offsets with precompiled structs, and `Frame` is slotted but not frozen: a frozen
dataclass sets each of its fields through `object.__setattr__`, which alone costs what the whole parse may take. Nobody
writes to a `Frame`.

The hard part is what counts as malformed. It is what the Linux kernel's IP input and its connection tracker refuse as a
packet in itself, whatever came before; fragments are read as far as they go. Checksums of the transport are the
engine's to ask for (`transport_checksum_holds`): a filter that only looks at names has no use for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from struct import Struct
from typing import Final

from vafw.traffic.rule import ICMP, ICMPV6, TCP, UDP

ETHERNET_HEADER: Final = 14
ARP: Final = 0x0806
IPV4: Final = 0x0800
IPV6: Final = 0x86DD
VLAN_TYPES: Final = frozenset({0x8100, 0x88A8, 0x9100})
"""802.1Q, 802.1ad and the older double tag."""

FIN: Final = 0x01
SYN: Final = 0x02
RST: Final = 0x04
PSH: Final = 0x08
ACK: Final = 0x10
URG: Final = 0x20

_VALID_FLAGS: Final = frozenset({SYN, SYN | URG, SYN | ACK, RST, RST | ACK, FIN | ACK, FIN | ACK | URG, ACK, ACK | URG})
"""Combinations that mean something once PSH, ECE and CWR are set aside; the kernel's tracker refuses all others."""
_MEANINGFUL_FLAGS: Final = FIN | SYN | RST | ACK | URG

HOP_BY_HOP: Final = 0
ROUTING: Final = 43
FRAGMENT: Final = 44
AUTHENTICATION: Final = 51
NO_NEXT_HEADER: Final = 59
DESTINATION_OPTIONS: Final = 60
"""IPv6 extension headers (RFC 8200, section 4)."""

_EXTENSIONS: Final = frozenset({HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS})
_SOURCE_ROUTES: Final = frozenset({131, 137})
"""IPv4 options "loose" and "strict source and record route" (RFC 791), which choose a way around this firewall. What
they are to IPv4 is to IPv6 a routing header with segments left: the packet's last destination is not the one it names.
"""

_IPV4_HEADER: Final = Struct("!BxHHHBB2xII")
_IPV6_HEADER: Final = Struct("!IHBBQQQQ")
_TCP_HEADER: Final = Struct("!HHIIBBH")
_UDP_HEADER: Final = Struct("!HHH")
_ICMP_HEADER: Final = Struct("!BBHH")
_ARP_HEADER: Final = Struct("!HHBB")
_FRAGMENT_HEADER: Final = Struct("!BxHI")


@dataclass(slots=True)
class Frame:
    """What a frame says of itself; offsets count bytes from the start of the frame."""

    ethertype: int
    """EtherType behind any VLAN tags."""
    vlans: tuple[int, ...]
    """VLAN ids, outermost first."""
    network: int
    """Offset of the network header."""
    version: int = 0
    """4 or 6; 0 for everything that is not IP, where all below is 0 too."""
    source: int = 0
    """Source address."""
    destination: int = 0
    """Destination address."""
    protocol: int = 0
    """Protocol of the transport, behind any extension headers."""
    hop_limit: int = 0
    """Hop limit or time to live."""
    transport: int = 0
    """Offset of the transport header; in a later fragment, of the fragment's data."""
    end: int = 0
    """Offset just behind the datagram; what follows is padding."""
    fragment_offset: int = 0
    """Offset of a fragment's data in its datagram, in bytes."""
    more_fragments: bool = False
    """Whether fragments with higher offsets exist."""
    fragment_id: int = 0
    """What the fragments of one datagram have in common."""
    source_port: int = 0
    """Source port of TCP and UDP."""
    destination_port: int = 0
    """Destination port of TCP and UDP."""
    flags: int = 0
    """TCP flags."""
    sequence: int = 0
    """TCP sequence number."""
    acknowledgement: int = 0
    """TCP acknowledgement number."""
    window: int = 0
    """TCP window as it stands in the header, not scaled."""
    payload: int = 0
    """Offset of what TCP or UDP carries."""
    icmp_type: int = 0
    """ICMP or ICMPv6 type."""
    icmp_code: int = 0
    """ICMP or ICMPv6 code."""
    icmp_id: int = 0
    """Identifier of an ICMP query."""

    @property
    def is_fragment(self) -> bool:
        """Whether it is a part of a datagram."""
        return self.more_fragments or self.fragment_offset > 0


@dataclass(frozen=True, slots=True)
class Malformed:
    """A frame that cannot be what it claims to be."""

    reason: str
    """What is wrong, as a clause: ``IPv4 header checksum is wrong``."""


def parse(frame: bytes) -> Frame | Malformed:
    """Read an Ethernet frame without FCS."""
    size = len(frame)
    if size < ETHERNET_HEADER:
        return Malformed("shorter than an Ethernet header")
    ethertype = frame[12] << 8 | frame[13]
    if ethertype == IPV4:
        return _parse_ipv4(frame, size, (), ETHERNET_HEADER)
    if ethertype == IPV6:
        return _parse_ipv6(frame, size, (), ETHERNET_HEADER)
    vlans: tuple[int, ...] = ()
    network = ETHERNET_HEADER
    while ethertype in VLAN_TYPES:
        if size < network + 4:
            return Malformed("ends inside a VLAN tag")
        if len(vlans) == 2:
            return Malformed("more than two VLAN tags")
        vlans += ((frame[network] << 8 | frame[network + 1]) & 0xFFF,)
        ethertype = frame[network + 2] << 8 | frame[network + 3]
        network += 4
    if ethertype == IPV4:
        return _parse_ipv4(frame, size, vlans, network)
    if ethertype == IPV6:
        return _parse_ipv6(frame, size, vlans, network)
    if ethertype == ARP and not _is_ethernet_arp(frame, size, network):
        return Malformed("ARP packet is not one for Ethernet and IPv4")
    return Frame(ethertype, vlans, network)


def ones_complement_holds(data: bytes, start: int = 0) -> bool:
    """Whether `data` with its checksum in it sums up right (RFC 1071), `start` being added to the sum.

    A number modulo 65535 is the ones' complement sum of its 16-bit digits, so one big division does what a loop would.
    """
    if len(data) & 1:
        return (start + (int.from_bytes(data, "big") << 8)) % 0xFFFF == 0
    return (start + int.from_bytes(data, "big")) % 0xFFFF == 0


def transport_checksum_holds(frame: bytes, parsed: Frame) -> bool:
    """Whether the checksum of TCP, UDP, ICMP or ICMPv6 is right; true where there is none to hold.

    UDP may go without one (a zero), as the kernel's tracker sees it in both families. A fragment's cannot be told.
    """
    protocol = parsed.protocol
    if parsed.is_fragment:
        return True
    transport, end = parsed.transport, parsed.end
    if protocol == ICMP and parsed.version == 4:
        return ones_complement_holds(frame[transport:end])
    if protocol == UDP:
        if not frame[transport + 6] and not frame[transport + 7]:
            return True
    elif protocol not in (TCP, ICMPV6) or (protocol == ICMPV6 and parsed.version == 4):
        return True
    pseudo_header = parsed.source + parsed.destination + protocol + end - transport
    return ones_complement_holds(frame[transport:end], pseudo_header)


def _is_ethernet_arp(frame: bytes, size: int, network: int) -> bool:
    return size >= network + 28 and _ARP_HEADER.unpack_from(frame, network) == (1, IPV4, 6, 4)


def _parse_ipv4(frame: bytes, size: int, vlans: tuple[int, ...], network: int) -> Frame | Malformed:
    if size < network + 20:
        return Malformed("ends inside the IPv4 header")
    first, total, datagram_id, fragment, ttl, protocol, source, destination = _IPV4_HEADER.unpack_from(frame, network)
    transport = network + 20
    if first != 0x45:
        if first >> 4 != 4:
            return Malformed(f"IP version is {first >> 4} under the EtherType of IPv4")
        transport = network + (first & 0xF) * 4
        if transport < network + 20:
            return Malformed(f"IPv4 header length is {transport - network} bytes, less than 20")
        if transport > size:
            return Malformed("ends inside the IPv4 options")
    end = network + total
    if end > size:
        return Malformed(f"IPv4 total length is {total} bytes, but {size - network} are there")
    if end < transport:
        return Malformed("IPv4 total length is less than its header")
    if not ones_complement_holds(frame[network:transport]):
        return Malformed("IPv4 header checksum is wrong")
    if source >> 28 == 0xE or source >> 24 == 127 or destination >> 24 == 127 or source == 0xFFFFFFFF:
        return Malformed("IPv4 address that no packet on a network may carry")
    if first != 0x45:
        fault = _options_fault(frame[network + 20 : transport])
        if fault:
            return Malformed(fault)
    offset = (fragment & 0x1FFF) * 8
    more = fragment & 0x2000 != 0
    parsed = Frame(
        IPV4, vlans, network, 4, source, destination, protocol, ttl, transport, end, offset, more, datagram_id
    )
    return _parse_transport(frame, parsed, protocol)


def _options_fault(options: bytes) -> str:
    at = 0
    while at < len(options) and options[at]:
        if options[at] == 1:  # no operation
            at += 1
            continue
        if at + 1 >= len(options) or options[at + 1] < 2 or at + options[at + 1] > len(options):
            return "IPv4 option runs beyond the header"
        if options[at] in _SOURCE_ROUTES:
            return "IPv4 source route"
        at += options[at + 1]
    return ""


def _parse_ipv6(frame: bytes, size: int, vlans: tuple[int, ...], network: int) -> Frame | Malformed:
    transport = network + 40
    if size < transport:
        return Malformed("ends inside the IPv6 header")
    first, length, following, hop_limit, s1, s0, d1, d0 = _IPV6_HEADER.unpack_from(frame, network)
    if first >> 28 != 6:
        return Malformed(f"IP version is {first >> 28} under the EtherType of IPv6")
    if s1 >> 56 == 0xFF or (s1 == 0 and s0 == 1) or (d1 == 0 and d0 == 1):
        return Malformed("IPv6 address that no packet on a network may carry")
    end = transport + length
    if end > size:
        return Malformed(f"IPv6 payload length is {length} bytes, but {size - transport} are there")
    parsed = Frame(IPV6, vlans, network, 6, s1 << 64 | s0, d1 << 64 | d0, following, hop_limit, transport, end)
    if following in _EXTENSIONS:
        fault = _skip_extensions(frame, parsed, following)
        if fault:
            return Malformed(fault)
    return _parse_transport(frame, parsed, parsed.protocol)


def _skip_extensions(frame: bytes, parsed: Frame, following: int) -> str:
    """Move `parsed` behind the extension headers; the fault where there is one."""
    at, end = parsed.transport, parsed.end
    fragmented = False
    while following in _EXTENSIONS:
        if at + 8 > end:
            return "ends inside an IPv6 extension header"
        if following == HOP_BY_HOP and at != parsed.network + 40:
            return "IPv6 hop-by-hop options are not the first extension header"
        if following == FRAGMENT:
            if fragmented:
                return "more than one IPv6 fragment header"
            fragmented = True
            following, field, parsed.fragment_id = _FRAGMENT_HEADER.unpack_from(frame, at)
            parsed.fragment_offset = field & 0xFFF8
            parsed.more_fragments = field & 1 != 0
            at += 8
            if parsed.fragment_offset:
                break
        else:
            length = (frame[at + 1] + 2) * 4 if following == AUTHENTICATION else (frame[at + 1] + 1) * 8
            if at + length > end:
                return "ends inside an IPv6 extension header"
            if following == ROUTING and frame[at + 3]:
                return "IPv6 source route"
            if following == HOP_BY_HOP and not _hop_by_hop_holds(frame[at + 2 : at + length]):
                return "IPv6 hop-by-hop option that no router may pass"
            following = frame[at]
            at += length
    parsed.protocol = following
    parsed.transport = at
    return ""


def _hop_by_hop_holds(options: bytes) -> bool:
    """Whether every router would pass these options: complete, with padding that is short and zero, none to discard."""
    at = padding = 0
    while at < len(options):
        kind = options[at]
        length = 1 if kind == 0 else 2 + options[at + 1] if at + 1 < len(options) else len(options)
        if at + length > len(options) or (at + 1 == len(options) and kind):
            return False
        padding = padding + length if kind <= 1 else 0
        if padding > 7 or (kind == 1 and any(options[at + 2 : at + length])) or kind >> 6:
            return False
        at += length
    return True


def _parse_transport(frame: bytes, parsed: Frame, protocol: int) -> Frame | Malformed:
    if parsed.more_fragments or parsed.fragment_offset:
        length = parsed.end - parsed.transport
        if parsed.more_fragments and length & 7:
            return Malformed("length of a fragment that is not the last is no multiple of 8")
        if parsed.fragment_offset + length > 0xFFFF:
            return Malformed("fragment ends beyond 65535 bytes")
        if not length:
            return Malformed("fragment carries nothing")
        if parsed.fragment_offset:
            return parsed
    if protocol == TCP:
        return _parse_tcp(frame, parsed)
    if protocol == UDP:
        return _parse_udp(frame, parsed)
    if (protocol == ICMP and parsed.version == 4) or (protocol == ICMPV6 and parsed.version == 6):
        if parsed.end - parsed.transport < 8:
            return Malformed("ends inside the ICMP header")
        parsed.icmp_type, parsed.icmp_code, _, parsed.icmp_id = _ICMP_HEADER.unpack_from(frame, parsed.transport)
    return parsed


def _parse_tcp(frame: bytes, parsed: Frame) -> Frame | Malformed:
    transport = parsed.transport
    if parsed.end - transport < 20:
        return Malformed("ends inside the TCP header")
    (
        parsed.source_port,
        parsed.destination_port,
        parsed.sequence,
        parsed.acknowledgement,
        offset,
        flags,
        parsed.window,
    ) = _TCP_HEADER.unpack_from(frame, transport)
    header = offset >> 2 & 0x3C
    if header < 20:
        return Malformed(f"TCP data offset is {header} bytes, less than 20")
    payload = transport + header
    if payload > parsed.end:
        return Malformed("ends inside the TCP options")
    if flags & _MEANINGFUL_FLAGS not in _VALID_FLAGS:
        return Malformed(f"TCP flags are {flags_text(flags)}, which means nothing")
    parsed.flags = flags
    parsed.payload = payload
    return parsed


def _parse_udp(frame: bytes, parsed: Frame) -> Frame | Malformed:
    transport = parsed.transport
    available = parsed.end - transport
    if available < 8:
        return Malformed("ends inside the UDP header")
    parsed.source_port, parsed.destination_port, length = _UDP_HEADER.unpack_from(frame, transport)
    if length < 8:
        return Malformed(f"UDP length is {length} bytes, less than its header")
    if length > available and not parsed.more_fragments:
        return Malformed(f"UDP length is {length} bytes, but {available} are there")
    parsed.payload = transport + 8
    return parsed


def flags_text(flags: int) -> str:
    """TCP flags by name, for instance ``SYN ACK``; ``none`` where none is set."""
    names = ("FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR")
    return " ".join(name for bit, name in enumerate(names) if flags >> bit & 1) or "none"
