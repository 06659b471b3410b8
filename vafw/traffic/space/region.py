"""A set of packets as the few boxes that a person can read: these sources, those destinations, such services.

Each box is grown from one packet: one field after the other is widened to all values with which everything in the box
still lies in the set. No box can then grow further, and those that others make superfluous are dropped. Packets that
cannot be count as being in the set, so that a box says "every service" and not "every one but ICMP of the other
family". Boxes may overlap: "from a to anything" and "from anything to b" read better than what is left of one without
the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

from vafw.traffic.address_set import AddressSet, Ranges, normalise
from vafw.traffic.reason import State
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
    VARIABLES,
    VLAN,
    Field,
    address_field,
)
from vafw.traffic.space.space import Space
from vafw.traffic.space.witness import witness

Services: TypeAlias = Mapping[int, Ranges]
"""Destination ports of TCP and UDP, types of ICMP, ((0, 0),) of other protocols, by protocol."""
MOST: Final = 200
"""Boxes at most; who asks sees by `written` whether they are all of the set."""
_SERVICE: Final = (PROTOCOL, PORT, ICMP_TYPE)
_ADDRESSES: Final = (SOURCE, DESTINATION)
_DIMENSIONS: Final = (_SERVICE, (DESTINATION,), (SOURCE,), (VLAN,), (STATE,), (SIDE,))
"""What is widened together, in this order."""


@dataclass(frozen=True, slots=True)
class Region:
    """A box: every packet each of whose fields is one of these."""

    sides: tuple[str, ...]
    versions: tuple[int, ...]
    states: tuple[State, ...]
    vlans: Ranges
    """Empty: any."""
    sources: AddressSet
    destinations: AddressSet
    services: Services | None
    """None: every service."""
    example: Packet
    """One packet of it."""


def regions(space: Space, packets: Diagram) -> tuple[Region, ...]:
    """The boxes that make up the set, none of them superfluous; at most `MOST`."""
    packets = packets & space.packets
    return tuple(_merged(_few(space, packets, tuple(_boxes(space, packets)))))


def written(space: Space, region: Region) -> Diagram:
    """The packets of a region, as a set again."""
    services = space.everything
    if region.services is not None:
        services = space.union(
            [
                space.among(PROTOCOL, ((protocol, protocol),))
                & space.among(PORT if protocol in (TCP, UDP) else ICMP_TYPE, ranges)
                for protocol, ranges in region.services.items()
            ]
        )
    versions = space.union([space.version(each) for each in region.versions])
    sides = space.union([space.side(each) for each in region.sides])
    ends = space.addresses(SOURCE, region.sources) & space.addresses(DESTINATION, region.destinations)
    return space.packets & versions & sides & ends & services & space.states(region.states) & space.vlans(region.vlans)


@dataclass(frozen=True, slots=True)
class _Box:
    version: int
    parts: tuple[Diagram, ...]
    """What each dimension may be, in the order of `_DIMENSIONS`."""
    whole: Diagram
    example: Packet


def values(space: Space, part: Diagram, field: Field) -> Ranges:
    """The values of the field in a set that depends on it alone, as ranges."""
    return normalise(_spans(space, part, field.first, field.first + field.width, 0))


def _spans(space: Space, part: Diagram, at: int, end: int, prefix: int) -> Iterator[tuple[int, int]]:
    """The ranges below one prefix, from the variable `at` on."""
    if part == space.nothing:
        return
    if part == space.everything:
        yield prefix << (end - at), ((prefix + 1) << (end - at)) - 1
        return
    top = space.diagrams.top(part)
    zero, one = space.diagrams.halves(part) if top == at else (part, part)
    yield from _spans(space, zero, at + 1, end, prefix << 1)
    yield from _spans(space, one, at + 1, end, prefix << 1 | 1)


def _boxes(space: Space, packets: Diagram) -> Iterator[_Box]:
    left = packets
    for _ in range(MOST):
        example = witness(space, left)
        if example is None:
            return
        box = _grown(space, space.packets & ~packets, example)
        yield box
        left = left & ~box.whole


def _grown(space: Space, forbidden: Diagram, example: Packet) -> _Box:
    """The box around one packet that touches nothing forbidden."""
    version = space.version(example.version)
    unused = [each for field in _ADDRESSES for each in field.variables[address_field(field, example.version).width :]]
    forbidden = space.diagrams.forget(forbidden & version, unused)
    point = space.packet(example)
    parts = [_only(space, point, dimension) for dimension in _DIMENSIONS]
    for index, dimension in enumerate(_DIMENSIONS):
        others = forbidden
        for other, part in enumerate(parts):
            if other != index:
                others = others & part
        parts[index] = ~_only(space, others, dimension)
    whole = version & space.packets
    for part in parts:
        whole = whole & part
    return _Box(example.version, tuple(parts), whole, example)


def _only(space: Space, packets: Diagram, fields: tuple[Field, ...]) -> Diagram:
    """The values that the fields take in the set, whatever the other fields are."""
    wanted = {each for field in fields for each in field.variables}
    return space.diagrams.forget(packets, [each for each in range(VARIABLES) if each not in wanted])


def _few(space: Space, packets: Diagram, boxes: Sequence[_Box]) -> Iterator[Region]:
    """The boxes without those whose packets all lie in others."""
    kept = list(boxes)
    for box in boxes:
        rest = [each for each in kept if each is not box]
        if space.within(packets & box.whole, space.union([each.whole for each in rest])):
            kept = rest
    for box in kept:
        yield _region(space, box)


def _region(space: Space, box: _Box) -> Region:
    services, destinations, sources, vlans, states, sides = box.parts
    vlan_ranges = values(space, vlans, VLAN)
    meant = space.packets & space.version(box.version) & states
    return Region(
        tuple(SIDES[each] for low, high in values(space, sides, SIDE) for each in range(low, high + 1)),
        (box.version,),
        tuple(STATES[each] for low, high in values(space, states, STATE) for each in range(low, high + 1)),
        () if vlan_ranges == ((0, VLAN.highest),) else vlan_ranges,
        _addresses(space, sources, SOURCE, box.version),
        _addresses(space, destinations, DESTINATION, box.version),
        _services(space, _only(space, meant, _SERVICE), services),
        box.example,
    )


def _addresses(space: Space, part: Diagram, field: Field, version: int) -> AddressSet:
    ranges = values(space, part, address_field(field, version))
    return AddressSet(ranges, ()) if version == 4 else AddressSet((), ranges)


def _services(space: Space, every: Diagram, part: Diagram) -> Services | None:
    """The services of the part, as far as packets have them; None where these are `every` one."""
    possible = every & part
    if possible == every:
        return None
    found: dict[int, Ranges] = {}
    for low, high in values(space, _only(space, possible, (PROTOCOL,)), PROTOCOL):
        for protocol in range(low, high + 1):
            mine = possible & space.among(PROTOCOL, ((protocol, protocol),))
            field = PORT if protocol in (TCP, UDP) else ICMP_TYPE
            found[protocol] = values(space, _only(space, mine, (field,)), field)
    return found


def _merged(found: Iterable[Region]) -> Iterator[Region]:
    """Regions of both IP versions as one, where all but addresses and ICMP is the same."""
    waiting = list(found)
    while waiting:
        region = waiting.pop(0)
        twin = next((each for each in waiting if _are_twins(region, each)), None)
        if twin is not None:
            waiting.remove(twin)
            region = replace(
                region,
                versions=tuple(sorted((*region.versions, *twin.versions))),
                sources=region.sources.union(twin.sources),
                destinations=region.destinations.union(twin.destinations),
                services=None if region.services is None else {**region.services, **(twin.services or {})},
            )
        yield region


def _are_twins(one: Region, other: Region) -> bool:
    same = (one.sides, one.states, one.vlans) == (other.sides, other.states, other.vlans)
    return same and one.versions != other.versions and _common(one.services) == _common(other.services)


def _common(services: Services | None) -> Services | None:
    """The services without those of one IP version only."""
    if services is None:
        return None
    return {protocol: ranges for protocol, ranges in services.items() if protocol not in (ICMP, ICMPV6)}
