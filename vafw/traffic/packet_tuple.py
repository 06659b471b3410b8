"""The tuple by which a packet's connection is found, and how it is turned round for the answers."""

from __future__ import annotations

from typing import Final, TypeAlias

from vafw.traffic.frame import Frame
from vafw.traffic.rule import ICMP, ICMPV6, TCP, UDP

Tuple: TypeAlias = tuple[tuple[int, ...], int, int, int, int, int]
"""VLANs; IP version and protocol; source, destination; source port or ICMP id; destination port or ICMP type, code."""

_ANSWERS: Final = {
    ICMP: {8: 0, 0: 8, 13: 14, 14: 13, 15: 16, 16: 15, 17: 18, 18: 17},
    ICMPV6: {128: 129, 129: 128, 139: 140, 140: 139},
}


def tuple_of(packet: Frame) -> Tuple:
    """What identifies the packet's connection and direction."""
    protocol = packet.protocol
    if protocol in (TCP, UDP):
        first, second = packet.source_port, packet.destination_port
    elif protocol in (ICMP, ICMPV6):
        first, second = packet.icmp_id, packet.icmp_type << 8 | packet.icmp_code
    else:
        first = second = 0
    return packet.vlans, packet.version << 8 | protocol, packet.source, packet.destination, first, second


def inverted(key: Tuple) -> Tuple | None:
    """The tuple of the answers; None where there can be none."""
    vlans, network, source, destination, first, second = key
    answers = _ANSWERS.get(network & 0xFF)
    if answers is None:
        return vlans, network, destination, source, second, first
    kind = answers.get(second >> 8)
    if kind is None:
        return None
    return vlans, network, destination, source, first, kind << 8 | (second & 0xFF)
