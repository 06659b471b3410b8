"""Proves what a ruleset does to every packet of a pattern, or shows one packet for which it does something else.

Exact, by splitting and not by sampling: a region of packets (sources x destinations x services) meets the rules in
order; the part that a rule matches is decided, the rest is split along the rule's three sides and meets the next. What
is left at the end is the default's. A region that is empty is not followed, so the work grows with the overlaps that
the rules really have. Enumerating representatives of all combinations of boundaries was the obvious design; a hundred
rules have millions of them.

Packets that no rule is ever asked about are not in any region: neighbour discovery, and ICMP that opens no connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from vafw.traffic.address_set import Ranges, complement, intersect
from vafw.traffic.appliance import INSIDE, OUTSIDE, opposite
from vafw.traffic.first_match import addresses_on, service_ranges
from vafw.traffic.reason import DEFAULT, ESTABLISHED, INVALID, RELATED, SPOOFED, State
from vafw.traffic.rule import (
    ICMP,
    ICMPV6,
    TCP,
    UDP,
    Action,
    Packet,
    Rule,
    Ruleset,
    Selector,
    ServiceMatch,
    suits,
)

Services: TypeAlias = Mapping[int, Ranges]
"""Destination ports, ICMP types, or (0, 0) where there is neither, by protocol; never an empty set."""

_PORTS: Final[Ranges] = ((0, 0xFFFF),)
_OPENING: Final[Mapping[int, Ranges]] = {
    ICMP: ((8, 8), (13, 13), (15, 15), (17, 17)),
    ICMPV6: ((128, 128), (130, 132), (139, 139), (143, 143)),
}
"""ICMP types that rules are asked about: queries and multicast listeners; others belong to something or are invalid."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """A set of packets."""

    sources: tuple[Selector, ...]
    destinations: tuple[Selector, ...]
    services: tuple[ServiceMatch, ...] = ()
    """Empty: every service."""
    state: State = State.NEW
    """What they are to the connection tracker."""


@dataclass(frozen=True, slots=True)
class Counterexample:
    """A packet of the pattern, and what the ruleset does to it."""

    packet: Packet
    rule: str
    """The rule that decides, or a reason in parentheses."""
    action: Action

    def __str__(self) -> str:
        return f"{self.packet}: {self.action.value} by {self.rule}"


@dataclass(frozen=True, slots=True)
class _Region:
    sources: Ranges
    destinations: Ranges
    services: Services

    @property
    def is_empty(self) -> bool:
        return not (self.sources and self.destinations and self.services)


def counterexample(ruleset: Ruleset, pattern: Pattern, *, passes: bool = True) -> Counterexample | None:
    """A packet of the pattern that passes, which refutes ``never``; None proves that there is none.

    With ``passes=False``, one that does not pass, which refutes ``always``.
    """
    for side in (INSIDE, OUTSIDE):
        for version in (4, 6):
            for region, rule, action in _decided(ruleset, pattern, side, version):
                if (action is Action.ACCEPT) == passes:
                    return Counterexample(_representative(region, side, version), rule, action)
    return None


def _decided(ruleset: Ruleset, pattern: Pattern, side: str, version: int) -> Iterator[tuple[_Region, str, Action]]:
    """The pattern's packets of one side and version, in regions with what decides them."""
    highest = 2**32 - 1 if version == 4 else 2**128 - 1
    region = _Region(
        addresses_on(pattern.sources, side).ranges(version),
        addresses_on(pattern.destinations, opposite(side)).ranges(version),
        _services(pattern.services, _domain(ruleset, pattern, version)),
    )
    if side == INSIDE and ruleset.inside is not None:
        allowed = ruleset.inside.ranges(version)
        spoofed = replace(region, sources=intersect(region.sources, complement(allowed, highest)))
        if not spoofed.is_empty:
            yield spoofed, SPOOFED, Action.DROP
        region = replace(region, sources=intersect(region.sources, allowed))
    if region.is_empty:
        return
    left = {
        State.INVALID: (INVALID, Action.DROP),
        State.ESTABLISHED: (ESTABLISHED, Action.ACCEPT),
        State.RELATED: (RELATED, Action.ACCEPT),
    }.get(pattern.state, (DEFAULT, ruleset.default))
    rules = tuple(rule for rule in ruleset.rules_for([pattern.state]) if rule.action.is_final)
    yield from _first_match(rules, left, region, side, version)


def _first_match(
    rules: tuple[Rule, ...], left: tuple[str, Action], region: _Region, side: str, version: int
) -> Iterator[tuple[_Region, str, Action]]:
    """What each rule decides; a conditional one decides on a packet or lets it go on, so both are followed."""
    highest = 2**32 - 1 if version == 4 else 2**128 - 1
    boxes: list[_Region] = []  # made as far as they are asked for: the first rules often decide on everything
    pending = [(region, 0)]
    while pending:
        part, at = pending.pop()
        while at < len(rules):
            if at == len(boxes):
                boxes.append(_box(rules[at], side, version, region.services))
            if not _intersection(part, boxes[at]).is_empty:
                break
            at += 1
        else:
            yield part, *left
            continue
        box, rule = boxes[at], rules[at]
        yield _intersection(part, box), rule.name, rule.action
        if rule.is_conditional or rule.vlans:
            pending.append((part, at + 1))
        else:
            pending += [(rest, at + 1) for rest in _difference(part, box, highest)]


def _box(rule: Rule, side: str, version: int, domain: Services) -> _Region:
    return _Region(
        addresses_on(rule.sources, side).ranges(version),
        addresses_on(rule.destinations, opposite(side)).ranges(version),
        _services(rule.services, domain),
    )


def _intersection(part: _Region, box: _Region) -> _Region:
    return _Region(
        intersect(part.sources, box.sources),
        intersect(part.destinations, box.destinations),
        _common(part.services, box.services),
    )


def _difference(part: _Region, box: _Region, highest: int) -> Iterator[_Region]:
    """What of the part lies outside the box, in up to three regions that do not overlap."""
    sources = intersect(part.sources, box.sources)
    destinations = intersect(part.destinations, box.destinations)
    rest = {
        protocol: intersect(ranges, complement(box.services.get(protocol, ()), 0xFFFF))
        for protocol, ranges in part.services.items()
    }
    outside = (
        _Region(intersect(part.sources, complement(box.sources, highest)), part.destinations, part.services),
        _Region(sources, intersect(part.destinations, complement(box.destinations, highest)), part.services),
        _Region(sources, destinations, {protocol: ranges for protocol, ranges in rest.items() if ranges}),
    )
    return (region for region in outside if not region.is_empty)


def _domain(ruleset: Ruleset, pattern: Pattern, version: int) -> Services:
    """Every service that the rules can tell apart: one protocol stands for all that nobody names."""
    named = {each.protocol for rule in ruleset.rules for each in rule.services}
    named |= {each.protocol for each in pattern.services} | {TCP, UDP, ICMP, ICMPV6}
    unnamed = next((protocol for protocol in range(255, -1, -1) if protocol not in named), None)
    protocols = named if unnamed is None else named | {unnamed}
    return {
        protocol: _OPENING.get(protocol, _PORTS if protocol in (TCP, UDP) else ((0, 0),))
        for protocol in sorted(protocols, key=lambda each: (each != TCP, each != UDP, each))
        if suits(protocol, version)
    }


def _services(services: tuple[ServiceMatch, ...], domain: Services) -> Services:
    if not services:
        return domain
    meant = {each.protocol: service_ranges(services, each.protocol) for each in services}
    return _common(domain, meant)


def _common(left: Services, right: Services) -> Services:
    both = {protocol: intersect(ranges, right[protocol]) for protocol, ranges in left.items() if protocol in right}
    return {protocol: ranges for protocol, ranges in both.items() if ranges}


def _representative(region: _Region, side: str, version: int) -> Packet:
    protocol, ranges = next(iter(region.services.items()))
    value = ranges[0][0]
    has_ports = protocol in (TCP, UDP)
    return Packet(
        side,
        version,
        _a_host(region.sources),
        _a_host(region.destinations),
        protocol,
        value if has_ports else 0,
        0 if has_ports or protocol not in _OPENING else value,
    )


def _a_host(ranges: Ranges) -> int:
    """An address that does not look like a network's own, where there is one."""
    low, high = ranges[0]
    return low + 1 if low < high and low % 2 == 0 else low
