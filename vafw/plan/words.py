"""Clauses and sets of packets in words, with the names that the documents give to addresses and services."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import combinations

from vafw.document.load import DocumentSet
from vafw.document.traffic import ProveClause
from vafw.plan.checks.rules import kind_of, pattern_of
from vafw.plan.rules import services, zones
from vafw.traffic.address_set import AddressSet, Ranges, complement, intersect
from vafw.traffic.first_match import service_ranges
from vafw.traffic.reason import State
from vafw.traffic.rule import ICMP, ICMPV6, PROTOCOL_NAMES, TCP, UDP, suits
from vafw.traffic.space.region import Region, Services
from vafw.traffic.space.space import OPENING

MOST_SPELLED = 6
"""Networks or services at most that are spelled out."""


def clause_words(clause: ProveClause) -> str:
    """A `prove` clause, such as ``never: from any to user-os, new``."""
    pattern = pattern_of(clause)
    words = f"{kind_of(clause)}: from {_either(pattern.from_)} to {_either(pattern.to)}"
    if pattern.service:
        words += f", {_either(pattern.service)}"
    words += f", {_either(pattern.state)}"
    if clause.only_via is not None:
        words += f", via {clause.only_via.via}"
    if clause.same_as is not None:
        words += f", as under {clause.same_as.policy}"
    return words


def _either(names: tuple[str, ...]) -> str:
    return " or ".join(names)


class RegionWords:
    """Says regions with the names of one set of documents."""

    def __init__(self, documents: DocumentSet) -> None:
        self._zones = dict(_plain_zones(documents))
        self._services = {
            name: {each.protocol: service_ranges(meant, each.protocol) for each in meant}
            for name, meant in services(documents).items()
        }

    def region(self, region: Region) -> str:
        """One line: what, from where, to where."""
        what = self.services(region.services, region.versions)
        words = f"{what} from {self.addresses(region.sources, region.versions)}"
        words += f" to {self.addresses(region.destinations, region.versions)}"
        if len(region.sides) == 1:
            words += f" ({region.sides[0]})"
        if region.states != (State.NEW,):
            words += f", {' or '.join(region.states)}"
        if region.vlans:
            words += f", VLAN {_numbers(region.vlans)}"
        return words

    def addresses(self, addresses: AddressSet, versions: tuple[int, ...]) -> str:
        """The zone that these are, all but some zones, some zones together, or the networks."""
        suffix = "" if len(versions) == 2 else f" (IPv{versions[0]})"
        here = {name: _of(zone, versions) for name, zone in self._zones.items()}
        known = {name: zone for name, zone in here.items() if not zone.is_empty}
        for said in (_named, _all_but, _together, _less):
            if (words := said(addresses, known, versions)) is not None:
                return words if self._zones.get(words) == addresses else words + suffix
        return _spelled(list(addresses.to_texts()))

    def services(self, found: Services | None, versions: tuple[int, ...]) -> str:
        """The services by name as far as they have one, else protocols with ports; or all but these."""
        if found is None:
            return "everything"
        missing = _missing(found, versions)
        if len(missing) < len(found):
            return f"everything but {self._some_services(missing, versions)}"
        return self._some_services(found, versions)

    def _some_services(self, found: Services, versions: tuple[int, ...]) -> str:
        left = dict(found)
        names = []
        for name, meant in self._services.items():
            fitting = {
                protocol: ranges
                for protocol, ranges in meant.items()
                if protocol not in (ICMP, ICMPV6) or (4 if protocol == ICMP else 6) in versions
            }
            if fitting and all(_covers(left.get(protocol), ranges, protocol) for protocol, ranges in fitting.items()):
                names.append(name)
                left = {key: rest for key, value in left.items() if (rest := _without(value, fitting.get(key, ())))}
        return _spelled([*names, *(each for protocol, ranges in left.items() for each in _ports(protocol, ranges))])


def _plain_zones(documents: DocumentSet) -> Iterator[tuple[str, AddressSet]]:
    """Zones that are addresses and not names; `any` first, then the user, then as they are listed."""
    known = zones(documents)
    for name in dict.fromkeys(("any", "user-os", *known)):
        if name in known and not any(each.names for each in known[name]):
            addresses = AddressSet.nothing()
            for each in known[name]:
                addresses = addresses.union(each.addresses)
            yield name, addresses


def _of(addresses: AddressSet, versions: tuple[int, ...]) -> AddressSet:
    return AddressSet(addresses.v4 if 4 in versions else (), addresses.v6 if 6 in versions else ())


def _named(addresses: AddressSet, known: Mapping[str, AddressSet], _versions: tuple[int, ...]) -> str | None:
    return next((name for name, zone in known.items() if zone == addresses), None)


def _all_but(addresses: AddressSet, known: Mapping[str, AddressSet], versions: tuple[int, ...]) -> str | None:
    missing = _of(addresses.complement(), versions)
    names = _named(missing, known, versions) or _together(missing, known, versions)
    return None if names is None else f"any but {names}"


def _together(addresses: AddressSet, known: Mapping[str, AddressSet], _versions: tuple[int, ...]) -> str | None:
    inside = [(name, zone) for name, zone in known.items() if zone.intersection(addresses) == zone]
    for count in (2, 3):
        for some in combinations(inside[:12], count):
            joined = AddressSet.nothing()
            for _, zone in some:
                joined = joined.union(zone)
            if joined == addresses:
                return " and ".join(name for name, _ in some)
    return None


def _less(addresses: AddressSet, known: Mapping[str, AddressSet], versions: tuple[int, ...]) -> str | None:
    """A zone without another."""
    for name, zone in known.items():
        if zone.intersection(addresses) == addresses:
            missing = _named(zone.intersection(addresses.complement()), known, versions)
            if missing is not None:
                return f"{name} but {missing}"
    return None


def _missing(found: Services, versions: tuple[int, ...]) -> Services:
    """Every service of these IP versions that opens a connection and is not among those found."""
    left: dict[int, Ranges] = {}
    for protocol in range(256):
        if any(suits(protocol, version) for version in versions):
            every = ((0, 0xFFFF),) if protocol in (TCP, UDP) else OPENING.get(protocol, ((0, 0),))
            rest = intersect(every, complement(found.get(protocol, ()), 0xFFFF))
            if rest:
                left[protocol] = rest
    return left


def _covers(whole: Ranges | None, part: Ranges, protocol: int) -> bool:
    """Whether these are exactly the ports that are left, or some of them that stand alone."""
    if whole is None:
        return False
    return whole == part or (protocol in (TCP, UDP, ICMP, ICMPV6) and set(part) <= set(whole))


def _without(ranges: Ranges, taken: Ranges) -> Ranges:
    return tuple(each for each in ranges if each not in taken)


def _ports(protocol: int, ranges: Ranges) -> Iterator[str]:
    name = PROTOCOL_NAMES.get(protocol, f"protocol {protocol}")
    if protocol in (TCP, UDP):
        yield name if ranges == ((0, 0xFFFF),) else f"{name}/{_numbers(ranges)}"
    elif protocol in (ICMP, ICMPV6):
        yield f"{name} type {_numbers(ranges)}"
    else:
        yield name


def _numbers(ranges: Ranges) -> str:
    return ",".join(f"{low}" if low == high else f"{low}-{high}" for low, high in ranges)


def _spelled(texts: list[str]) -> str:
    more = len(texts) - MOST_SPELLED
    return ", ".join(texts[:MOST_SPELLED]) + (f" and {more} more" if more > 0 else "")
