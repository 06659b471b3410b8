"""Reads the packet that an ICMP error quotes: just enough of it to find its connection.

Not `frame.parse`: a quotation is cut short, its checksums may be of another time, and nothing of it is judged.
"""

from __future__ import annotations

from dataclasses import dataclass

from vafw.traffic.frame import AUTHENTICATION, DESTINATION_OPTIONS, FRAGMENT, HOP_BY_HOP, ROUTING, Frame
from vafw.traffic.rule import ICMP, ICMPV6, TCP, UDP


@dataclass(frozen=True, slots=True)
class Quotation:
    """The quoted packet's tuple."""

    protocol: int
    source: int
    destination: int
    first: int
    """Source port, or ICMP identifier."""
    second: int
    """Destination port, or ICMP type and code."""
    transport: int
    """Offset of its transport header in what is quoted."""


def quotation(frame: bytes, error: Frame) -> Quotation | None:
    """The packet quoted by the ICMP or ICMPv6 error in `frame`; None where too little of it is there."""
    quoted = frame[error.transport + 8 : error.end]
    return _quoted_ipv4(quoted) if error.version == 4 else _quoted_ipv6(quoted)


def _quoted_ipv4(quoted: bytes) -> Quotation | None:
    if len(quoted) < 20 or quoted[0] >> 4 != 4:
        return None
    header = (quoted[0] & 0xF) * 4
    later_fragment = int.from_bytes(quoted[6:8], "big") & 0x1FFF
    if header < 20 or header > len(quoted) or later_fragment:
        return None
    source, destination = int.from_bytes(quoted[12:16], "big"), int.from_bytes(quoted[16:20], "big")
    return _transport(quoted[9], source, destination, quoted, header)


def _quoted_ipv6(quoted: bytes) -> Quotation | None:
    if len(quoted) < 40 or quoted[0] >> 4 != 6:
        return None
    source, destination = int.from_bytes(quoted[8:24], "big"), int.from_bytes(quoted[24:40], "big")
    following, at = quoted[6], 40
    while following in (HOP_BY_HOP, ROUTING, FRAGMENT, AUTHENTICATION, DESTINATION_OPTIONS):
        if at + 8 > len(quoted):
            return None
        if following == FRAGMENT:
            if int.from_bytes(quoted[at + 2 : at + 4], "big") & 0xFFF8:
                return None
            length = 8
        else:
            length = (quoted[at + 1] + 2) * 4 if following == AUTHENTICATION else (quoted[at + 1] + 1) * 8
        following, at = quoted[at], at + length
    return _transport(following, source, destination, quoted, at)


def _transport(protocol: int, source: int, destination: int, quoted: bytes, at: int) -> Quotation | None:
    header = quoted[at : at + 8]
    if protocol in (ICMP, ICMPV6):
        if len(header) < 8:
            return None
        identifier = int.from_bytes(header[4:6], "big")
        return Quotation(protocol, source, destination, identifier, header[0] << 8 | header[1], at)
    if protocol in (TCP, UDP):
        if len(header) < 4:
            return None
        ports = int.from_bytes(header[:2], "big"), int.from_bytes(header[2:4], "big")
        return Quotation(protocol, source, destination, *ports, at)
    return Quotation(protocol, source, destination, 0, 0, at)
