"""Header space: sets of packets as diagrams, made of ranges, selectors, services, rules and patterns.

`Space` writes sets; what a list of rules does with them is `outcome`'s, and reading them back is `region`'s. The hard
part is to write ranges without blowing up: a range shares one prefix, and below it each end is one chain of nodes, so
that a range of n bits takes at most 2n of them. Sets that rules repeat are written once.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import Final

from vafw.traffic.address_set import AddressSet, Ranges
from vafw.traffic.appliance import opposite
from vafw.traffic.first_match import addresses_on, service_ranges
from vafw.traffic.reason import State
from vafw.traffic.rule import ICMP, ICMPV6, TCP, UDP, Packet, Rule, Ruleset, Selector, ServiceMatch, suits
from vafw.traffic.space.diagram import Diagram, Diagrams
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
    VARIABLES,
    VERSION,
    VERSIONS,
    VLAN,
    Field,
    address_field,
)

OPENING: Final = {
    ICMP: ((8, 8), (13, 13), (15, 15), (17, 17)),
    ICMPV6: ((128, 128), (130, 132), (139, 139), (143, 143)),
}
"""ICMP types that open a connection: queries and multicast listeners; others belong to something or are invalid."""
NEIGHBOUR: Final = ((133, 136),)
"""Router and neighbour solicitation and advertisement (RFC 4861): no rule speaks of them."""


EVERY_RULE: Final = 1 << 20
"""So many rules get all the room that there is."""


def new_space(*, rules: int = 0) -> Space:
    """A space with room for so many rules; a set that outgrows it raises MemoryError."""
    from vafw.traffic.space.with_oxidd import LARGE, MEDIUM, SMALL, OxiddDiagrams  # deferred: a native library

    room = LARGE if rules > 3000 else MEDIUM if rules > 200 else SMALL
    return Space(OxiddDiagrams(VARIABLES, room=room))


class Space:
    """Sets of packets; only sets of one space may meet."""

    def __init__(self, diagrams: Diagrams) -> None:
        self.diagrams: Final = diagrams
        self.nothing: Final = diagrams.nothing
        self.everything: Final = diagrams.everything
        self._written: dict[Hashable, Diagram] = {}
        self._bytes: dict[tuple[int, int, int], Diagram] = {}
        self.packets: Final = self._packets()
        """Every packet that some rule may be asked about, each written in one way only."""

    def among(self, field: Field, ranges: Ranges) -> Diagram:
        """Packets whose field lies in one of the ranges."""
        key = (field.first, field.width, ranges)
        return self._once(key, lambda: self.union([self._range(field, low, high) for low, high in ranges]))

    def union(self, sets: list[Diagram]) -> Diagram:
        """What lies in any of the sets: joined in pairs, so that no large set is met more often than it must be."""
        if not sets:
            return self.nothing
        while len(sets) > 1:
            pairs = [left | right for left, right in zip(sets[::2], sets[1::2], strict=False)]
            sets = pairs + sets[2 * len(pairs) :]
        return sets[0]

    def is_empty(self, packets: Diagram) -> bool:
        """Whether no packet lies in it."""
        return packets == self.nothing

    def within(self, packets: Diagram, others: Diagram) -> bool:
        """Whether every one of the packets lies among the others."""
        return packets & ~others == self.nothing

    def side(self, side: str) -> Diagram:
        """Packets that came in by this port."""
        return self._is(SIDE, SIDES.index(side))

    def version(self, version: int) -> Diagram:
        """Packets of IP version 4 or 6."""
        return self._is(VERSION, VERSIONS.index(version))

    def states(self, states: Iterable[State]) -> Diagram:
        """Packets that are one of these to the connections."""
        states = tuple(states)
        return self._once(("states", states), lambda: self._states(states))

    def vlans(self, ranges: Ranges) -> Diagram:
        """Packets whose outermost VLAN tag has one of these ids, 0 for no tag; without ranges, all."""
        return self.among(VLAN, ranges) if ranges else self.everything

    def addresses(self, field: Field, addresses: AddressSet) -> Diagram:
        """Packets whose `SOURCE` or `DESTINATION` is one of these, in either family."""
        return self._once((field.first, addresses), lambda: self._addresses(field, addresses))

    def services(self, services: tuple[ServiceMatch, ...]) -> Diagram:
        """Packets of one of these services; without services, all."""
        if not services:
            return self.everything
        return self._once(services, lambda: self.union([self._service(each) for each in services]))

    def between(self, sources: Iterable[Selector], destinations: Iterable[Selector]) -> Diagram:
        """Packets from one of the sources to one of the destinations."""
        sources, destinations = tuple(sources), tuple(destinations)
        if all(each.side is None for each in (*sources, *destinations)):
            return self._pair(_joined(sources, SIDES[0]), _joined(destinations, SIDES[0]))
        return self.union(
            [
                self.side(side) & self._pair(_joined(sources, side), _joined(destinations, opposite(side)))
                for side in SIDES
            ]
        )

    def rule(self, rule: Rule) -> Diagram:
        """Packets that the rule speaks of; a conditional one may still let them go on."""
        found = self.between(rule.sources, rule.destinations) & self.services(rule.services) & self.states(rule.states)
        return found & self.vlans(rule.vlans) if rule.vlans else found

    def rules(self, rules: Iterable[Rule]) -> Diagram:
        """Packets that some of the rules speaks of, each of them one of `packets`.

        What rules have in common is written once, and what lies near each other is joined first.
        """
        found: list[Diagram] = []
        alike: dict[tuple[tuple[State, ...], Ranges], dict[AddressSet, list[Diagram]]] = {}
        for rule in rules:
            if _names_a_side(rule):
                found.append(self.rule(rule) & self.packets)
                continue
            by_source = alike.setdefault((rule.states, rule.vlans), {})
            destinations = self.addresses(DESTINATION, _joined(rule.destinations, SIDES[1]))
            to_each = by_source.setdefault(_joined(rule.sources, SIDES[0]), [])
            to_each.append(destinations & self._possible(rule.services))
        for (states, vlans), by_source in alike.items():
            in_order = sorted(by_source.items(), key=lambda each: (each[0].v4, each[0].v6))
            parts = [self.addresses(SOURCE, sources) & self.union(to_each) for sources, to_each in in_order]
            found.append(self.union(parts) & self.states(states) & self.vlans(vlans))
        return self.union(found)

    def surely(self, rule: Rule) -> Diagram:
        """Packets that the rule speaks of at all times and whatever names stand for."""
        if not rule.is_conditional:
            return self.rule(rule)
        if rule.limit is not None or rule.schedule is not None:
            return self.nothing
        pair = self.between(unnamed(rule.sources), unnamed(rule.destinations))
        return pair & self.services(rule.services) & self.states(rule.states) & self.vlans(rule.vlans)

    def spoofed(self, ruleset: Ruleset) -> Diagram:
        """Packets that come from the inside with a source that the inside may not use."""
        if ruleset.inside is None:
            return self.nothing
        return self.side(SIDES[0]) & ~self.addresses(SOURCE, ruleset.inside)

    def packet(self, packet: Packet) -> Diagram:
        """One packet alone."""
        at = VERSIONS.index(packet.version)
        values = (
            (SIDE, SIDES.index(packet.side)),
            (VERSION, at),
            (STATE, STATES.index(packet.state)),
            (VLAN, packet.vlan),
            (address_field(SOURCE, packet.version), packet.source),
            (address_field(DESTINATION, packet.version), packet.destination),
            (PROTOCOL, packet.protocol),
            (PORT, packet.port),
            (ICMP_TYPE, packet.icmp_type),
        )
        found = self.everything
        for field, value in reversed(values):
            found = self._is(field, value) & found
        return found & self.packets

    def _possible(self, services: tuple[ServiceMatch, ...]) -> Diagram:
        """Packets of one of these services, as far as there are such packets."""
        return self._once(("possible", services), lambda: self.services(services) & self.packets)

    def _is(self, field: Field, value: int) -> Diagram:
        return self.among(field, ((value, value),))

    def _once(self, key: Hashable, write: Callable[[], Diagram]) -> Diagram:
        found = self._written.get(key)
        if found is None:
            found = self._written[key] = write()
        return found

    def _range(self, field: Field, low: int, high: int) -> Diagram:
        """Values from `low` to `high`: the prefix of both, then above the lower end and below the upper one."""
        ones, zeros, last = self.diagrams.ones, self.diagrams.zeros, field.first + field.width - 1
        apart = (low ^ high).bit_length()
        found = self.everything
        if apart and (low & (1 << apart) - 1 or ~high & (1 << apart) - 1):
            above = below = self.everything
            for bit in range(apart - 1):
                one, zero = ones[last - bit], zeros[last - bit]
                above = one & above if low >> bit & 1 else one | above
                below = zero | below if high >> bit & 1 else zero & below
            highest = last - apart + 1
            found = (zeros[highest] & above) | (ones[highest] & below)
        return self._prefixed(field, low >> apart, field.width - apart, found)

    def _prefixed(self, field: Field, prefix: int, length: int, rest: Diagram) -> Diagram:
        """The set `rest` behind the first `length` bits of the field: byte by byte, as many prefixes share bytes."""
        while length > 0:
            size = length % 8 or 8
            length -= size
            rest = self._byte(field.first + length, size, prefix & (1 << size) - 1) & rest
            prefix >>= size
        return rest

    def _byte(self, first: int, size: int, value: int) -> Diagram:
        """Packets in which `size` bits from the variable `first` on have this value."""
        found = self._bytes.get((first, size, value))
        if found is None:
            found = self.everything
            for bit in range(size):
                literals = self.diagrams.ones if value >> bit & 1 else self.diagrams.zeros
                found = literals[first + size - 1 - bit] & found
            self._bytes[first, size, value] = found
        return found

    def _addresses(self, field: Field, addresses: AddressSet) -> Diagram:
        if addresses == AddressSet.everything():
            return self.everything
        return self.union(
            [
                self.version(version) & self.among(address_field(field, version), addresses.ranges(version))
                for version in VERSIONS
                if addresses.ranges(version)
            ]
        )

    def _states(self, states: tuple[State, ...]) -> Diagram:
        numbers = sorted(STATES.index(State.NEW if each is State.UNTRACKED else each) for each in states)
        return self.among(STATE, tuple((each, each) for each in numbers))

    def _pair(self, sources: AddressSet, destinations: AddressSet) -> Diagram:
        return self.addresses(SOURCE, sources) & self.addresses(DESTINATION, destinations)

    def _service(self, service: ServiceMatch) -> Diagram:
        protocol = self._is(PROTOCOL, service.protocol)
        if service.protocol in (TCP, UDP):
            return protocol & self.among(PORT, service_ranges((service,), service.protocol))
        if service.protocol in OPENING and service.icmp_types:
            return protocol & self.among(ICMP_TYPE, service_ranges((service,), service.protocol))
        return protocol

    def _packets(self) -> Diagram:
        """A packet of another protocol has no port, one that is not ICMP no type, and ICMP its own IP version.

        What an IPv4 packet has in the variables of the lower address bits of IPv6 is left open: no set depends on it.
        To demand zeros there was the design before, and two thirds of all nodes were spent on it.
        """
        has_ports = self._is(PROTOCOL, TCP) | self._is(PROTOCOL, UDP)
        found = has_ports | self._is(PORT, 0)
        icmp = self.nothing
        for protocol, opening in OPENING.items():
            mine = self._is(PROTOCOL, protocol)
            fitting = self.union([self.version(each) for each in VERSIONS if suits(protocol, each)])
            types = ~self.states([State.NEW]) | self.among(ICMP_TYPE, opening)
            if protocol == ICMPV6:
                types = types & ~self.among(ICMP_TYPE, NEIGHBOUR)
            found = found & (~mine | (fitting & types))
            icmp = icmp | mine
        return found & (icmp | self._is(ICMP_TYPE, 0))


def _names_a_side(rule: Rule) -> bool:
    return any(each.side is not None for selectors in (rule.sources, rule.destinations) for each in selectors)


def _joined(selectors: tuple[Selector, ...], side: str) -> AddressSet:
    """The addresses that the selectors mean when the packet is on this side."""
    if len(selectors) == 1 and selectors[0].side in (None, side):  # nearly always
        return selectors[0].addresses
    return addresses_on(selectors, side)


def unnamed(selectors: Iterable[Selector]) -> tuple[Selector, ...]:
    """The selectors that are not host names."""
    return tuple(each for each in selectors if not each.names)
