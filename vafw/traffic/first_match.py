"""Rules prepared for speed: `FirstMatch.matching` gives the rules that match a packet, in order and in few steps.

For each side and IP version it keeps only the rules that can match there, each with its selectors merged into one set
of sources and one of destinations. A set is its boundaries in order, so that membership is the parity of one bisection.
Conditions are not looked at: whether a limit, a schedule or a host name lets the rule decide is asked afterwards
(`conditions`), which is why there may be more than one rule for a packet.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from vafw.traffic.address_set import AddressSet, Ranges, normalise
from vafw.traffic.appliance import INSIDE, OUTSIDE, opposite
from vafw.traffic.packet import ICMP, ICMPV6, Packet, ServiceMatch, suits
from vafw.traffic.rule import Rule, Selector

Boundaries: TypeAlias = tuple[int, ...]
"""Where a set begins and ends, in turn: a value lies in it when an odd number of boundaries are not above it."""

_Prepared: TypeAlias = tuple[Rule, Boundaries, Boundaries, Mapping[int, Boundaries] | None, Boundaries]


class FirstMatch:
    """Finds the rules that match a packet, whatever its state."""

    def __init__(self, rules: tuple[Rule, ...]) -> None:
        self._rules = {
            (side, version): tuple(_prepare(rules, side, version)) for side in (INSIDE, OUTSIDE) for version in (4, 6)
        }

    def find(self, packet: Packet) -> Rule | None:
        """The rule that decides on the packet if every condition holds; None: no rule does."""
        return next((rule for rule in self.matching(packet) if rule.action.is_final), None)

    def matching(self, packet: Packet) -> Iterator[Rule]:
        """The rules that speak of the packet, in order."""
        source, destination, protocol = packet.source, packet.destination, packet.protocol
        for rule, sources, destinations, services, vlans in self._rules[packet.side, packet.version]:
            if bisect_right(destinations, destination) & 1 and bisect_right(sources, source) & 1:
                if vlans and not bisect_right(vlans, packet.vlan) & 1:
                    continue
                if services is None:
                    yield rule
                    continue
                selected = services.get(protocol)
                if selected and bisect_right(selected, _selector_value(packet)) & 1:
                    yield rule


def boundaries(ranges: Ranges) -> Boundaries:
    """The boundaries of sorted, disjoint, inclusive ranges."""
    return tuple(edge for low, high in ranges for edge in (low, high + 1))


def addresses_on(selectors: Iterable[Selector], side: str) -> AddressSet:
    """The addresses that the selectors mean when the packet is on this side."""
    found = AddressSet.nothing()
    for each in selectors:
        if each.side in (None, side):
            found = found.union(each.addresses)
    return found


def service_ranges(services: Iterable[ServiceMatch], protocol: int) -> Ranges:
    """The destination ports or ICMP types of one protocol that the services mean."""
    spans: list[tuple[int, int]] = []
    for each in services:
        if each.protocol == protocol:
            spans += each.ports or [(kind, kind) for kind in each.icmp_types] or [(0, 0xFFFF)]
    return normalise(spans)


def _selector_value(packet: Packet) -> int:
    return packet.icmp_type if packet.protocol in (ICMP, ICMPV6) else packet.port


def _prepare(rules: Iterable[Rule], side: str, version: int) -> Iterable[_Prepared]:
    for rule in rules:
        sources = boundaries(addresses_on(rule.sources, side).ranges(version))
        destinations = boundaries(addresses_on(rule.destinations, opposite(side)).ranges(version))
        protocols = {each.protocol for each in rule.services if suits(each.protocol, version)}
        services = {each: boundaries(service_ranges(rule.services, each)) for each in protocols}
        if sources and destinations and (services or not rule.services):
            yield rule, sources, destinations, services if rule.services else None, boundaries(rule.vlans)
