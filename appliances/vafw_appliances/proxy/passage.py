"""What a frame is to a host that stands in the path: its own business, somebody else's, or a lie.

The proxy passes on what is not for it, unchanged, but never what claims to come from it: the rules behind it trust its
addresses and not the user's. So nothing on either side may send from them, announce them or use its MAC address, and
what cannot be read is not passed on either.
"""

from __future__ import annotations

from enum import Enum
from typing import final

from vafw.traffic.frame import ARP, Frame
from vafw.traffic.host.stack import NEIGHBOUR_ADVERTISEMENT, NEIGHBOUR_SOLICITATION
from vafw.traffic.rule import ICMPV6
from vafw_appliances.proxy.settings import Station


class Concern(Enum):
    """What is to be done with a frame."""

    PASS = "pass"
    OWN = "own"
    FORGED = "forged"


@final
class Passage:
    """Tells frames apart by the addresses of one station."""

    def __init__(self, station: Station) -> None:
        self._mac = station.mac
        self._own = frozenset((each.version, int(each.ip)) for each in station.addresses)

    def concern(self, frame: bytes, packet: Frame) -> Concern:
        """What the frame is."""
        said, asked = _ends(frame, packet)
        if frame[6:12] == self._mac or said in self._own or (packet.version, packet.source) in self._own:
            return Concern.FORGED
        return Concern.OWN if asked in self._own or frame[:6] == self._mac else Concern.PASS


def _ends(frame: bytes, packet: Frame) -> tuple[tuple[int, int], tuple[int, int]]:
    """Whose address the frame bears or announces, and whose it is for or asks for; version 0 where there is none."""
    version = packet.version
    if packet.ethertype == ARP:
        body = frame[packet.network : packet.network + 28]
        return (4, int.from_bytes(body[14:18], "big")), (4, int.from_bytes(body[24:28], "big"))
    if packet.protocol == ICMPV6 and not packet.is_fragment and version == 6:
        target = (6, int.from_bytes(frame[packet.transport + 8 : packet.transport + 24], "big"))
        if packet.icmp_type == NEIGHBOUR_ADVERTISEMENT:
            return target, (6, packet.destination)
        if packet.icmp_type == NEIGHBOUR_SOLICITATION:
            return (6, packet.source), target
    return (version, packet.source), (version, packet.destination)
