"""One packet of a set, the plainest there is: the one to show a person, and to send through a kernel.

New and untagged before all else, TCP before UDP before ICMP, and between addresses that a station can have: those that
RFC 5737 and RFC 3849 keep for documentation, then global ones, then any. The same packet each time.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from vafw.traffic.address_set import AddressSet, Ranges
from vafw.traffic.rule import ICMP, ICMPV6, TCP, UDP, Packet
from vafw.traffic.space.diagram import Diagram
from vafw.traffic.space.layout import (
    DESTINATION,
    ICMP_TYPE,
    PORT,
    PROTOCOL,
    SIDE,
    SIDES,
    SOURCE,
    STATE,
    STATES,
    VERSION,
    VERSIONS,
    VLAN,
    Field,
    address_field,
)
from vafw.traffic.space.space import Space

_PLAIN: Final = (TCP, UDP, ICMP, ICMPV6)
_EXAMPLES: Final = {
    SOURCE: AddressSet.from_texts(("198.51.100.0/24", "2001:db8:1::/48")),
    DESTINATION: AddressSet.from_texts(("203.0.113.0/24", "2001:db8:2::/48")),
}
_STATIONS: Final = AddressSet.from_texts(
    ("1.0.0.0-126.255.255.255", "128.0.0.0-169.253.255.255", "169.255.0.0-223.255.255.255", "2000::/3", "fc00::/7")
)
"""Unicast addresses that are neither loopback nor of one link."""


def witness(space: Space, packets: Diagram) -> Packet | None:
    """A packet of the set; None where there is none."""
    choice = _Choice(space, packets & space.packets)
    if space.is_empty(choice.left):
        return None
    side, version = SIDES[choice.of(SIDE)], VERSIONS[choice.of(VERSION)]
    state, vlan = STATES[choice.of(STATE)], choice.of(VLAN)
    protocol = choice.of(PROTOCOL, (((each, each),) for each in _PLAIN))
    port, icmp_type = choice.of(PORT, [((1, 0xFFFF),)]), choice.of(ICMP_TYPE)
    source, destination = choice.of_address(SOURCE, version), choice.of_address(DESTINATION, version)
    return Packet(side, version, source, destination, protocol, port, icmp_type, vlan, state)


class _Choice:
    """What is left of a set while one field after the other is chosen."""

    def __init__(self, space: Space, left: Diagram) -> None:
        self._space = space
        self.left = left

    def of(self, field: Field, preferred: Iterable[Ranges] = ()) -> int:
        """The lowest value of the field in the first of the preferred ranges that has one, else in any."""
        for ranges in preferred:
            if self._narrowed(self._space.among(field, ranges)):
                break
        value = 0
        for variable in field.variables:
            one = not self._narrowed(self._space.diagrams.zeros[variable])
            if one:
                self.left = self.left & self._space.diagrams.ones[variable]
            value = value << 1 | one
        return value

    def of_address(self, field: Field, version: int) -> int:
        """An address that does not look like a network's own, where there is one."""
        narrow = address_field(field, version)
        before = self.left
        preferred = [_EXAMPLES[field].ranges(version), _STATIONS.ranges(version)]
        lowest = self.of(narrow, preferred)
        if lowest % 2 == 0:
            next_one = before & self._space.among(narrow, ((lowest + 1, lowest + 1),))
            if not self._space.is_empty(next_one):
                self.left = next_one
                return lowest + 1
        return lowest

    def _narrowed(self, wanted: Diagram) -> bool:
        """Whether something of the set is also wanted; then only that is left."""
        found = self.left & wanted
        if self._space.is_empty(found):
            return False
        self.left = found
        return True
