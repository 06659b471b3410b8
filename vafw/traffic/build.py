"""Builds frames: headers with right checksums, and the answers that a firewall, a filter or a host gives to a frame.

An answer is made from the frame it answers: MAC and IP addresses swapped, VLAN tags kept. It therefore speaks in the
name of the host that was asked, which is what a transparent appliance without an address of its own has to do.
`reset` and `unreachable` return None where an answer is forbidden (RFC 1122, section 3.2.2; RFC 4443, section 2.4): to
an error, to a later fragment, to a group.
"""

from __future__ import annotations

from struct import Struct
from typing import Final

from vafw.traffic.frame import ACK, ARP, FIN, IPV4, IPV6, RST, SYN, Frame
from vafw.traffic.rule import ICMP, ICMPV6, TCP, UDP

_IPV4: Final = Struct("!BBHHHBBHII")
_IPV6: Final = Struct("!IHBB16s16s")
_TCP: Final = Struct("!HHIIBBHHH")
_UDP: Final = Struct("!HHHH")
_ICMP: Final = Struct("!BBH")
_ARP: Final = Struct("!HHBBH6sI6sI")

DONT_FRAGMENT: Final = 0x4000
LONGEST_ICMP_ERROR: Final = 576
"""Bytes of an ICMP error's datagram at most (RFC 1812, section 4.3.2.3)."""
LONGEST_ICMPV6_ERROR: Final = 1280
"""Bytes of an ICMPv6 error's packet at most: the least MTU of IPv6 (RFC 4443, section 2.4)."""

_ICMP_ERRORS: Final = frozenset({3, 4, 5, 11, 12})


def checksum(data: bytes, start: int = 0) -> int:
    """The Internet checksum (RFC 1071) of `data`, `start` being added to the sum."""
    total = (start + int.from_bytes(data if len(data) % 2 == 0 else data + b"\0", "big")) % 0xFFFF
    return 0xFFFF - total


def ethernet(destination: bytes, source: bytes, ethertype: int, payload: bytes, vlans: tuple[int, ...] = ()) -> bytes:
    """A frame to and from 6-byte MAC addresses, with an 802.1Q tag for each VLAN id, outermost first."""
    tags = b"".join(b"\x81\x00" + vlan.to_bytes(2, "big") for vlan in vlans)
    return destination + source + tags + ethertype.to_bytes(2, "big") + payload


def ipv4(
    source: int,
    destination: int,
    protocol: int,
    payload: bytes,
    *,
    identification: int = 0,
    fragment: int = 0,
    ttl: int = 64,
    options: bytes = b"",
) -> bytes:
    """An IPv4 datagram; `fragment` is the header's field of flags and offset, options come padded to 4 bytes."""
    first, total = 0x45 + len(options) // 4, 20 + len(options) + len(payload)
    fields = (first, 0, total, identification, fragment, ttl, protocol)
    bare = _IPV4.pack(*fields, 0, source, destination) + options
    return _IPV4.pack(*fields, checksum(bare), source, destination) + options + payload


def ipv6(source: int, destination: int, protocol: int, payload: bytes, *, hop_limit: int = 64) -> bytes:
    """An IPv6 packet; extension headers belong to the payload."""
    addresses = source.to_bytes(16, "big"), destination.to_bytes(16, "big")
    return _IPV6.pack(0x60000000, len(payload), protocol, hop_limit, *addresses) + payload


def udp(source: int, destination: int, source_port: int, destination_port: int, data: bytes) -> bytes:
    """A UDP datagram between two addresses of either family."""
    length = 8 + len(data)
    bare = _UDP.pack(source_port, destination_port, length, 0) + data
    total = checksum(bare, source + destination + UDP + length) or 0xFFFF
    return _UDP.pack(source_port, destination_port, length, total) + data


def tcp(
    source: int,
    destination: int,
    source_port: int,
    destination_port: int,
    *,
    sequence: int,
    acknowledgement: int = 0,
    flags: int,
    window: int = 0xFFFF,
    data: bytes = b"",
    options: bytes = b"",
) -> bytes:
    """A TCP segment between two addresses of either family; options come padded to 4 bytes."""
    numbers = (sequence & 0xFFFFFFFF, acknowledgement & 0xFFFFFFFF)
    head = (source_port, destination_port, *numbers, (5 + len(options) // 4) << 4, flags, window)
    bare = _TCP.pack(*head, 0, 0) + options + data
    return _TCP.pack(*head, checksum(bare, source + destination + TCP + len(bare)), 0) + options + data


def icmp(kind: int, code: int, body: bytes) -> bytes:
    """An ICMP message; `body` begins with the last four bytes of its header."""
    return _ICMP.pack(kind, code, checksum(_ICMP.pack(kind, code, 0) + body)) + body


def icmpv6(source: int, destination: int, kind: int, code: int, body: bytes) -> bytes:
    """An ICMPv6 message between two addresses; `body` begins with the last four bytes of its header."""
    bare = _ICMP.pack(kind, code, 0) + body
    return _ICMP.pack(kind, code, checksum(bare, source + destination + ICMPV6 + len(bare))) + body


def answer_header(frame: bytes, parsed: Frame, source_mac: bytes | None = None) -> bytes:
    """The Ethernet header back to where `frame` came from, tags and EtherType kept."""
    return frame[6:12] + (source_mac or frame[:6]) + frame[12 : parsed.network]


def answer(frame: bytes, parsed: Frame, protocol: int, payload: bytes) -> bytes:
    """A frame that carries `payload` back, IP addresses swapped."""
    build = ipv4 if parsed.version == 4 else ipv6
    return answer_header(frame, parsed) + build(parsed.destination, parsed.source, protocol, payload)


def udp_answer(frame: bytes, parsed: Frame, data: bytes) -> bytes:
    """A UDP datagram back to the sender of the UDP datagram in `frame`."""
    ends = (parsed.destination, parsed.source, parsed.destination_port, parsed.source_port)
    return answer(frame, parsed, UDP, udp(*ends, data))


def tcp_answer(frame: bytes, parsed: Frame, flags: int, data: bytes = b"") -> bytes:
    """A TCP segment back to the sender of the segment in `frame`, which it acknowledges whole.

    Where that acknowledges nothing, its field for it says nothing (RFC 9293, section 3.5.2): the answer begins at zero.
    """
    ends = (parsed.destination, parsed.source, parsed.destination_port, parsed.source_port)
    segment = tcp(
        *ends,
        sequence=parsed.acknowledgement if parsed.flags & ACK else 0,
        acknowledgement=segment_end(parsed) if flags & ACK else 0,
        flags=flags,
        window=0 if flags & RST else 0xFFFF,
        data=data,
    )
    return answer(frame, parsed, TCP, segment)


def segment_end(parsed: Frame) -> int:
    """The sequence number behind a TCP segment; SYN and FIN count as one byte each."""
    length = parsed.end - parsed.payload + (parsed.flags & SYN != 0) + (parsed.flags & FIN != 0)
    return parsed.sequence + length & 0xFFFFFFFF


def reset(frame: bytes, parsed: Frame) -> bytes | None:
    """The RST that refuses a TCP segment (RFC 9293, section 3.5.2); None where none may be sent."""
    if parsed.protocol != TCP or parsed.flags & RST or _is_unanswerable(frame, parsed):
        return None
    return tcp_answer(frame, parsed, RST if parsed.flags & ACK else RST | ACK)


def unreachable(frame: bytes, parsed: Frame) -> bytes | None:
    """The ICMP error "communication administratively prohibited", quoting the packet; None where none may be sent."""
    if _is_unanswerable(frame, parsed):
        return None
    if parsed.version == 4:
        if parsed.protocol == ICMP and parsed.icmp_type in _ICMP_ERRORS:
            return None
        quoted = frame[parsed.network : parsed.end][: LONGEST_ICMP_ERROR - 28]
        return answer(frame, parsed, ICMP, icmp(3, 13, bytes(4) + quoted))
    if parsed.protocol == ICMPV6 and parsed.icmp_type < 128:
        return None
    quoted = frame[parsed.network : parsed.end][: LONGEST_ICMPV6_ERROR - 48]
    message = icmpv6(parsed.destination, parsed.source, 1, 1, bytes(4) + quoted)
    return answer(frame, parsed, ICMPV6, message)


def refusal(frame: bytes, parsed: Frame) -> bytes | None:
    """What `reject` answers: a RST to TCP, an ICMP error to all else; None where none may be sent."""
    return reset(frame, parsed) if parsed.protocol == TCP else unreachable(frame, parsed)


def _is_unanswerable(frame: bytes, parsed: Frame) -> bool:
    group = 0xE0000000 if parsed.version == 4 else 0xFF << 120
    return bool(parsed.fragment_offset or frame[0] & 1 or parsed.destination >= group or not parsed.source)


def echo_reply(frame: bytes, parsed: Frame) -> bytes:
    """The answer to the ICMP or ICMPv6 echo request in `frame`."""
    body = frame[parsed.transport + 4 : parsed.end]
    if parsed.version == 4:
        return answer(frame, parsed, ICMP, icmp(0, 0, body))
    reply = icmpv6(parsed.destination, parsed.source, 129, 0, body)
    return answer(frame, parsed, ICMPV6, reply)


def arp_request(source_mac: bytes, source: int, target: int) -> bytes:
    """A broadcast that asks who has the IPv4 address `target` (RFC 826)."""
    body = _ARP.pack(1, IPV4, 6, 4, 1, source_mac, source, bytes(6), target)
    return ethernet(b"\xff" * 6, source_mac, ARP, body)


def arp_reply(frame: bytes, parsed: Frame, mac: bytes) -> bytes:
    """The answer to the ARP request in `frame`: the address it asks for is at `mac`."""
    *_, asker_mac, asker, _, target = _ARP.unpack_from(frame, parsed.network)
    body = _ARP.pack(1, IPV4, 6, 4, 2, mac, target, asker_mac, asker)
    return answer_header(frame, parsed, mac) + body


def neighbour_solicitation(source_mac: bytes, source: int, target: int) -> bytes:
    """A question for the MAC address of an IPv6 address, to its solicited-node group (RFC 4861, section 4.3)."""
    group = (0xFF02 << 112) + (0x1FF << 24) + (target & 0xFFFFFF)
    data = target.to_bytes(16, "big") + b"\x01\x01" + source_mac
    packet = ipv6(source, group, ICMPV6, icmpv6(source, group, 135, 0, bytes(4) + data), hop_limit=255)
    return ethernet(b"\x33\x33" + group.to_bytes(16, "big")[-4:], source_mac, IPV6, packet)


def neighbour_advertisement(frame: bytes, parsed: Frame, mac: bytes) -> bytes:
    """The answer to the neighbour solicitation in `frame`: solicited, override (RFC 4861, section 4.4)."""
    target = frame[parsed.transport + 8 : parsed.transport + 24]
    owner = int.from_bytes(target, "big")
    message = icmpv6(owner, parsed.source, 136, 0, b"\x60\0\0\0" + target + b"\x02\x01" + mac)
    packet = ipv6(owner, parsed.source, ICMPV6, message, hop_limit=255)
    return answer_header(frame, parsed, mac) + packet
