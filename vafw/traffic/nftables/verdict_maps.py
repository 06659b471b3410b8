"""Rules as verdict maps: one lookup for thousands of rules, with first-match order kept.

A map of concatenated intervals has no order, and the kernel refuses elements that overlap. So each rule becomes boxes
(sources x destinations x protocol x ports), and a box that overlaps boxes of earlier rules is cut: what of it they
decide is taken away. Where that would leave more than a few pieces, the box goes whole into a map of the next level,
which is asked only where the one before has no answer. Levels grow with the depth of overlaps, not with their number;
nearly all lists need one or two.

The hard part is to find the overlaps of ten thousand boxes in a few milliseconds: boxes are sorted along the dimension
that leaves the fewest candidates, and the candidates are compared in batches by NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from socket import AF_INET6, inet_ntop
from typing import Any, Final, TypeAlias

import numpy as np

from vafw.traffic.address_set import Ranges
from vafw.traffic.appliance import opposite
from vafw.traffic.first_match import addresses_on, service_ranges
from vafw.traffic.nftables.statement import HEADER
from vafw.traffic.nftables.table import VerdictMap
from vafw.traffic.packet import ICMP, ICMPV6, TCP, UDP, ServiceMatch, suits
from vafw.traffic.rule import Rule

Box: TypeAlias = tuple[int, int, int, int, int, int]
"""Sources from and to, destinations from and to, selector from and to: protocol and port, or ICMP type, or protocol."""

MOST_PIECES: Final = 8
"""Pieces that a box is cut into at most before it goes to the next level."""
_BATCH: Final = 2_000_000
"""Candidate pairs compared at a time."""
_PORTS: Final = 0xFFFF

KINDS: Final = ("ports", "icmp", "others")
GUARDS: Final = {
    "ports": {4: "meta l4proto { tcp, udp }", 6: "meta l4proto { tcp, udp }"},
    "icmp": {4: "meta l4proto icmp", 6: "meta l4proto icmpv6"},
    "others": {4: "meta l4proto != { icmp, tcp, udp }", 6: "meta l4proto != { tcp, udp, icmpv6 }"},
}
"""What keeps packets of other kinds from a map: a lookup of ports in a packet without any would end the rule."""
_KEYS: Final = {
    "ports": {version: f"{ip} saddr . {ip} daddr . meta l4proto . th dport" for version, ip in HEADER.items()},
    "icmp": {4: "ip saddr . ip daddr . icmp type", 6: "ip6 saddr . ip6 daddr . icmpv6 type"},
    "others": {version: f"{ip} saddr . {ip} daddr . meta l4proto" for version, ip in HEADER.items()},
}


def verdict_maps(
    rules: Sequence[Rule], side: str, version: int, verdicts: Mapping[int, str]
) -> Iterator[tuple[str, VerdictMap]]:
    """The maps for packets of one side and version, in the order in which they are to be asked; with their kinds.

    `verdicts` has the verdict with its comment for each rule, by position.
    """
    boxes: dict[str, list[Box]] = {kind: [] for kind in KINDS}
    owners: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for at, rule in enumerate(rules):
        sources, destinations = _ranges(rule, side, version)
        if not sources or not destinations:
            continue
        for kind, selected in _selected(rule.services, version):
            made = [source + to + each for source in sources for to in destinations for each in selected]
            boxes[kind] += made
            owners[kind] += [at] * len(made)
    for kind in KINDS:
        for level in cut_into_levels(boxes[kind], owners[kind]):
            elements = {_text(box, version, kind): verdicts[owner] for box, owner in level}
            if elements:
                yield kind, VerdictMap(_KEYS[kind][version], elements)


def _ranges(rule: Rule, side: str, version: int) -> tuple[Ranges, Ranges]:
    found = []
    for selectors, here in ((rule.sources, side), (rule.destinations, opposite(side))):
        if len(selectors) == 1:  # nearly always: no set has to be made
            only = selectors[0]
            found.append(only.addresses.ranges(version) if only.side in (None, here) else ())
        else:
            found.append(addresses_on(selectors, here).ranges(version))
    return found[0], found[1]


@lru_cache(maxsize=4096)  # a list of thousands of rules has few different services
def _selected(services: tuple[ServiceMatch, ...], version: int) -> tuple[tuple[str, Ranges], ...]:
    """What services mean to each kind of map, where they mean anything; ports with their protocol above them."""
    icmp = ICMP if version == 4 else ICMPV6
    if not services:
        every = tuple((protocol << 16, protocol << 16 | _PORTS) for protocol in (TCP, UDP))
        return ("ports", every), ("icmp", ((0, 255),)), ("others", ((0, 255),))
    protocols = {each.protocol for each in services if suits(each.protocol, version)}
    ports = tuple(
        (protocol << 16 | low, protocol << 16 | high)
        for protocol in (TCP, UDP)
        if protocol in protocols
        for low, high in service_ranges(services, protocol)
    )
    types = service_ranges(services, icmp) if icmp in protocols else ()
    others = tuple((each, each) for each in sorted(protocols - {TCP, UDP, icmp}))
    found = ("ports", ports), ("icmp", tuple((low, min(high, 255)) for low, high in types)), ("others", others)
    return tuple(each for each in found if each[1])


def cut_into_levels(boxes: Sequence[Box], owners: Sequence[int]) -> Iterator[list[tuple[Box, int]]]:
    """The boxes, cut where they overlap, in as many levels as needed."""
    if not boxes:
        return
    earlier = _overlaps(boxes)
    level_of: list[int] = [0] * len(boxes)
    levels: list[list[tuple[Box, int]]] = [[]]
    for at, box in enumerate(boxes):
        before = earlier.get(at)
        if not before:
            levels[0].append((box, owners[at]))
            continue
        level = max(level_of[each] for each in before)
        pieces = _cut(box, [boxes[each] for each in before if level_of[each] == level])
        if pieces is None:
            level, pieces = level + 1, [box]
            if level == len(levels):
                levels.append([])
        level_of[at] = level
        levels[level] += [(piece, owners[at]) for piece in pieces]
    yield from levels


def _cut(box: Box, away: Iterable[Box]) -> list[Box] | None:
    """What of the box lies in none of the others; None: more than a few pieces."""
    pieces = [box]
    for other in away:
        pieces = [rest for piece in pieces for rest in _without(piece, other)]
        if len(pieces) > MOST_PIECES:
            return None
    return pieces


def _without(piece: Box, other: Box) -> list[Box]:
    a, b, c, d, e, f = piece
    p, q, r, s, t, u = other
    if p > b or q < a or r > d or s < c or t > f or u < e:
        return [piece]
    rest: list[Box] = []
    if a < p:
        rest.append((a, p - 1, c, d, e, f))
        a = p
    if q < b:
        rest.append((q + 1, b, c, d, e, f))
        b = q
    if c < r:
        rest.append((a, b, c, r - 1, e, f))
        c = r
    if s < d:
        rest.append((a, b, s + 1, d, e, f))
        d = s
    if e < t:
        rest.append((a, b, c, d, e, t - 1))
    if u < f:
        rest.append((a, b, c, d, u + 1, f))
    return rest


def _overlaps(boxes: Sequence[Box]) -> Mapping[int, list[int]]:
    """For each box that overlaps earlier ones, their positions in order."""
    edges = _ranked(boxes)
    low, high = edges[:, 0::2], edges[:, 1::2]
    found: dict[int, list[int]] = {}
    order, reach = _fewest_candidates(low, high)
    low, high = low[order], high[order]
    start = 0
    counts = reach - np.arange(len(boxes)) - 1
    ends = np.cumsum(counts)
    while start < len(boxes):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _BATCH, side="right")))
        left = np.repeat(np.arange(start, stop), counts[start:stop])
        first = np.repeat(ends[start:stop] - counts[start:stop], counts[start:stop])
        right = left + 1 + (np.arange(len(left)) + done - first)
        both = np.ones(len(left), dtype=bool)
        for dimension in range(3):
            both &= low[left, dimension] <= high[right, dimension]
            both &= low[right, dimension] <= high[left, dimension]
        for one, other in zip(order[left[both]].tolist(), order[right[both]].tolist(), strict=True):
            found.setdefault(max(one, other), []).append(min(one, other))
        start = stop
    for positions in found.values():
        positions.sort()
    return found


def _ranked(boxes: Sequence[Box]) -> Any:
    """The boxes as 64-bit integers; IPv6 addresses by their rank among all, which keeps every order."""
    if max(max(box[1], box[3]) for box in boxes) < 1 << 62:
        return np.array(boxes, dtype=np.int64)
    rank = {each: at for at, each in enumerate(sorted({edge for box in boxes for edge in box[:4]}))}
    return np.array([(*(rank[edge] for edge in box[:4]), box[4], box[5]) for box in boxes], dtype=np.int64)


def _fewest_candidates(low: Any, high: Any) -> tuple[Any, Any]:
    """An order along one dimension, and for each place in it where those that may overlap end."""
    best: tuple[int, Any, Any] | None = None
    for dimension in range(3):
        order = np.argsort(low[:, dimension], kind="stable")
        reach = np.searchsorted(low[order, dimension], high[order, dimension], side="right")
        candidates = int(reach.sum())
        if best is None or candidates < best[0]:
            best = candidates, order, reach
    assert best is not None
    return best[1], best[2]


def _text(box: Box, version: int, kind: str) -> str:
    write = _v4 if version == 4 else _v6
    a, b, c, d, e, f = box
    ends = f"{write(a, b)} . {write(c, d)}"
    if kind != "ports":
        return f"{ends} . {e}" if e == f else f"{ends} . {e}-{f}"
    low, high = e & _PORTS, f & _PORTS
    return f"{ends} . {e >> 16} . {low}" if low == high else f"{ends} . {e >> 16} . {low}-{high}"


@lru_cache(maxsize=1 << 16)  # zones are named by many rules
def _v4(low: int, high: int) -> str:
    first = f"{low >> 24}.{low >> 16 & 255}.{low >> 8 & 255}.{low & 255}"
    return first if low == high else f"{first}-{high >> 24}.{high >> 16 & 255}.{high >> 8 & 255}.{high & 255}"


def _v6(low: int, high: int) -> str:
    first = inet_ntop(AF_INET6, low.to_bytes(16, "big"))
    return first if low == high else f"{first}-{inet_ntop(AF_INET6, high.to_bytes(16, 'big'))}"
