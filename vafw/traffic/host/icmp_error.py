"""What an ICMP error tells a host about a TCP connection of its own: that its peer cannot be reached, or a size."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from vafw.traffic.host.segment import Ends
from vafw.traffic.host.stack import Arrival
from vafw.traffic.quotation import quotation
from vafw.traffic.rule import ICMP, ICMPV6, TCP

UNREACHABLE: Final = {4: 3, 6: 1}
"""Type "destination unreachable" by IP version (RFC 792; RFC 4443, section 3.1)."""
FRAGMENTATION_NEEDED: Final = 4
"""Code of ICMP's "destination unreachable" (RFC 1191, section 4)."""
PACKET_TOO_BIG: Final = 2
"""Type of ICMPv6 (RFC 4443, section 3.2)."""
_TOO_LARGE: Final = frozenset({(4, UNREACHABLE[4], FRAGMENTATION_NEEDED), (6, PACKET_TOO_BIG, 0)})


@dataclass(frozen=True, slots=True)
class IcmpError:
    """One error."""

    ends: Ends
    """The connection it is about, as we see it."""
    packet_bytes: int | None = None
    """The size that gets through; None: nothing does."""


def icmp_error(arrival: Arrival) -> IcmpError | None:
    """The error in a packet; None where it is none about TCP."""
    packet = arrival.packet
    if packet.protocol not in (ICMP, ICMPV6):
        return None
    too_large = (packet.version, packet.icmp_type, packet.icmp_code) in _TOO_LARGE
    if not too_large and packet.icmp_type != UNREACHABLE[packet.version]:
        return None
    quoted = quotation(arrival.frame, packet)
    if quoted is None or quoted.protocol != TCP:
        return None
    ends = Ends(packet.version, quoted.source, quoted.first, quoted.destination, quoted.second)
    return IcmpError(ends, int.from_bytes(arrival.frame[_size_of(arrival)], "big") if too_large else None)


def _size_of(arrival: Arrival) -> slice:
    """Where the size stands: the last two bytes of ICMP's header, all four of ICMPv6's."""
    end = arrival.packet.transport + 8
    return slice(end - 2 if arrival.packet.version == 4 else end - 4, end)
