"""Which rules of a list could speak of the same packets at all: a cheap sieve before the exact sets are made.

Each rule gets a hull per IP version, a box: from its lowest source to its highest, the same of destinations and
services. Hulls that do not meet prove that the rules do not. Hulls that meet prove nothing in general, but a rule of
one network, to one network, of one stretch of ports *is* its hull, and most rules of long lists are: such rules are
known exactly without a diagram (`exact_box`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from vafw.traffic.boxes import Box, overlap, overlapping
from vafw.traffic.reason import State
from vafw.traffic.rule import TCP, UDP, Rule, Selector, ServiceMatch, suits

ONLY_NEW = (State.NEW,)


class Sieve:
    """The hulls of a list of rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._hulls: dict[int, dict[int, Box]] = {4: {}, 6: {}}
        self.exact: dict[int, Box] = {}
        """The rules that are one box of one IP version: they speak of every new packet in it, and of no other."""
        for at, rule in enumerate(rules):
            exact = exact_box(rule)
            if exact is not None:
                version, self.exact[at] = exact
                self._hulls[version][at] = exact[1]
                continue
            for version, hulls in self._hulls.items():
                if (found := hull(rule.sources, rule.destinations, rule.services, version)) is not None:
                    hulls[at] = found

    def has_hull(self, at: int) -> bool:
        """Whether the rule speaks of addresses and services of one IP version at all."""
        return at in self._hulls[4] or at in self._hulls[6]

    def pairs(self) -> Iterator[tuple[int, int]]:
        """Each two rules that may have packets in common, the earlier first; in no order, and once per IP version."""
        for hulls in self._hulls.values():
            at = list(hulls)
            for early, late in overlapping(list(hulls.values())):
                yield at[early], at[late]

    def meeting(self) -> dict[int, list[int]]:
        """For each rule that may have packets in common with rules before it, the indexes of these in order."""
        found: dict[int, set[int]] = {}
        for early, late in self.pairs():
            found.setdefault(late, set()).add(early)
        return {late: sorted(each) for late, each in found.items()}

    def touching(
        self, sources: Sequence[Selector], destinations: Sequence[Selector], services: Sequence[ServiceMatch]
    ) -> list[int]:
        """The indexes, in order, of the rules that may have packets in common with these."""
        found: set[int] = set()
        for version, hulls in self._hulls.items():
            wanted = hull(sources, destinations, services, version)
            if wanted is not None:
                found.update(at for at, other in hulls.items() if overlap(wanted, other))
        return sorted(found)


def exact_box(rule: Rule) -> tuple[int, Box] | None:
    """The box that the rule is, with its IP version; None where it is none, or is not about both sides alike."""
    if len(rule.sources) != 1 or len(rule.destinations) != 1 or len(rule.services) != 1:
        return None
    (source,), (destination,), (service,) = rule.sources, rule.destinations, rule.services
    if source.side is not None or destination.side is not None or source.names or destination.names:
        return None
    if rule.states != ONLY_NEW or rule.vlans or len(service.ports) != 1 or service.protocol not in (TCP, UDP):
        return None
    here, there = source.addresses, destination.addresses
    four, six = here.v4 and there.v4, here.v6 and there.v6
    if bool(four) == bool(six):
        return None
    version, (sources, destinations) = (4, (here.v4, there.v4)) if four else (6, (here.v6, there.v6))
    if len(sources) != 1 or len(destinations) != 1:
        return None
    base, (low, high) = service.protocol << 16, service.ports[0]
    return version, (*sources[0], *destinations[0], base + low, base + high)


def hull(
    sources: Sequence[Selector], destinations: Sequence[Selector], services: Sequence[ServiceMatch], version: int
) -> Box | None:
    """The hull of the packets of this version from a source to a destination; None where there are none."""
    from_ = _addresses(sources, version)
    if from_ is None:
        return None
    to = _addresses(destinations, version)
    if to is None:
        return None
    what = _services(services, version)
    return None if what is None else (*from_, *to, *what)


def _addresses(selectors: Sequence[Selector], version: int) -> tuple[int, int] | None:
    if len(selectors) == 1:  # nearly always
        only = selectors[0].addresses
        ranges = only.v4 if version == 4 else only.v6
        return (ranges[0][0], ranges[-1][1]) if ranges else None
    some = [ranges for each in selectors if (ranges := each.addresses.ranges(version))]
    return (min(each[0][0] for each in some), max(each[-1][1] for each in some)) if some else None


def _services(services: Sequence[ServiceMatch], version: int) -> tuple[int, int] | None:
    """Protocol and port as one number, so that services of two protocols lie apart."""
    if not services:
        return 0, 1 << 24
    if len(services) == 1 and len(services[0].ports) == 1:  # nearly always, and of TCP or UDP: it suits both versions
        base, (low, high) = services[0].protocol << 16, services[0].ports[0]
        return base + low, base + high
    ends = []
    for each in services:
        if suits(each.protocol, version):
            base = each.protocol << 16
            ends += [(base + low, base + high) for low, high in each.ports or ((0, 0xFFFF),)]
    return (min(ends)[0], max(high for _, high in ends)) if ends else None
