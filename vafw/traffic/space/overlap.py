"""Which rules of a list could speak of the same packets at all: a cheap sieve before the exact sets are made.

Each rule gets a hull per IP version: from its lowest source to its highest, the same of destinations and services.
Hulls that do not meet prove that the rules do not; hulls that meet prove nothing. Only the dimension in which the
fewest hulls meet is enumerated, so lists whose rules differ in some field cost little more than their sorting.

NumPy is loaded for long lists only: it would be a third of the time of `vafw check`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Final, TypeAlias

from vafw.traffic.rule import Rule, Selector, ServiceMatch, suits

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SHORT: Final = 300
"""Rules up to which every pair is looked at in Python."""
_CHUNK: Final = 1 << 20
"""Pairs that are looked at in one go."""

Hull: TypeAlias = tuple[int, int, int, int, int, int]
"""Lowest and highest source, destination and service; addresses of IPv6 without their lower halves."""


class Sieve:
    """The hulls of a list of rules."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._rules = rules
        self._hulls = {
            version: {at: hull for at, rule in enumerate(rules) if (hull := hull_of(rule, version))}
            for version in (4, 6)
        }

    def has_hull(self, at: int) -> bool:
        """Whether the rule speaks of addresses and services of one IP version at all."""
        return at in self._hulls[4] or at in self._hulls[6]

    def meeting(self) -> list[list[int]]:
        """For each rule the indexes, in order, of those before it that it may have packets in common with."""
        found: list[set[int]] = [set() for _ in self._rules]
        for hulls in self._hulls.values():
            for early, late in _few(hulls) if len(hulls) <= SHORT else _many(hulls):
                found[late].add(early)
        return [sorted(each) if each else [] for each in found]


def hull_of(rule: Rule, version: int) -> Hull | None:
    """The hull of the packets of this version that the rule speaks of; None where there are none."""
    sources = _addresses(rule.sources, version)
    if sources is None:
        return None
    destinations = _addresses(rule.destinations, version)
    if destinations is None:
        return None
    services = _services(rule.services, version)
    return None if services is None else (*sources, *destinations, *services)


def _addresses(selectors: Sequence[Selector], version: int) -> tuple[int, int] | None:
    shift = 0 if version == 4 else 64
    if len(selectors) == 1:  # nearly always
        only = selectors[0].addresses
        ranges = only.v4 if version == 4 else only.v6
        return (ranges[0][0] >> shift, ranges[-1][1] >> shift) if ranges else None
    some = [ranges for each in selectors if (ranges := each.addresses.ranges(version))]
    if not some:
        return None
    return min(each[0][0] for each in some) >> shift, max(each[-1][1] for each in some) >> shift


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


def _few(hulls: dict[int, Hull]) -> Iterator[tuple[int, int]]:
    before: list[tuple[int, Hull]] = []
    for late, hull in hulls.items():
        s_low, s_high, d_low, d_high, p_low, p_high = hull
        for early, (s_first, s_last, d_first, d_last, p_first, p_last) in before:
            if (
                s_first <= s_high and s_low <= s_last
                and d_first <= d_high and d_low <= d_last
                and p_first <= p_high and p_low <= p_last
            ):  # fmt: skip
                yield early, late
        before.append((late, hull))


def _many(hulls: dict[int, Hull]) -> Iterator[tuple[int, int]]:
    import numpy as np  # deferred: see the header

    at = np.fromiter(hulls, np.int64, len(hulls))
    edges = np.array(list(hulls.values()), np.uint64)
    spans = [(edges[:, 2 * dimension], edges[:, 2 * dimension + 1]) for dimension in range(3)]
    runs = [_runs(*span) for span in spans]
    order, counts = min(runs, key=lambda run: int(run[1].sum()))
    ends = np.cumsum(counts)
    start = 0
    while start < len(order):
        stop = max(start + 1, int(np.searchsorted(ends, (ends[start - 1] if start else 0) + _CHUNK, "right")))
        early, late = _pairs(spans, order, counts, range(start, stop))
        yield from zip(at[early].tolist(), at[late].tolist(), strict=True)
        start = stop


def _runs(low: NDArray[np.uint64], high: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The order of the lower ends, and how many after each begin before it ends."""
    import numpy as np  # deferred: see the header

    order = np.argsort(low, kind="stable")
    counts = np.searchsorted(low[order], high[order], "right") - np.arange(1, len(order) + 1)
    return order, counts


def _pairs(
    spans: list[tuple[NDArray[np.uint64], NDArray[np.uint64]]],
    order: NDArray[np.intp],
    counts: NDArray[np.intp],
    part: range,
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The pairs whose first in `order` is of this part, and whose hulls meet in every dimension."""
    import numpy as np  # deferred: see the header

    lengths = counts[part.start : part.stop]
    firsts = np.repeat(np.arange(part.start, part.stop), lengths)
    offsets = np.arange(len(firsts)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    left, right = order[firsts], order[firsts + 1 + offsets]
    for low, high in spans:
        both = (low[left] <= high[right]) & (low[right] <= high[left])
        left, right = left[both], right[both]
    return np.minimum(left, right), np.maximum(left, right)
