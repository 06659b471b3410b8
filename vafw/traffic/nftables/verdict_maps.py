"""Rules as verdict maps: one lookup for thousands of rules, with first-match order kept.

A map of concatenated intervals has no order, and the kernel refuses elements that overlap. So each rule becomes boxes
(sources x destinations x services), and a box that overlaps boxes of earlier rules is cut: what of it they decide is
taken away. Where that would leave more than a few pieces, the box goes whole into a map of the next level, which is
asked only where the one before has no answer. Levels grow with the depth of overlaps, not with their number; nearly all
lists need one or two.

TCP and UDP have maps of their own. One for both, with the protocol as a part of its key, was the design before: the
kernel fills and searches every part by itself, and a quarter of the time of loading went into that part.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import lru_cache
from socket import AF_INET6, inet_ntop
from typing import Final

from vafw.traffic.address_set import Ranges
from vafw.traffic.appliance import opposite
from vafw.traffic.boxes import Box, cut, overlapping
from vafw.traffic.first_match import addresses_on, service_ranges
from vafw.traffic.nftables.statement import HEADER
from vafw.traffic.nftables.table import VerdictMap
from vafw.traffic.packet import ICMP, ICMPV6, TCP, UDP, ServiceMatch, suits
from vafw.traffic.rule import Rule, Selector

MOST_PIECES: Final = 8
"""Pieces that a box is cut into at most before it goes to the next level."""
_PORTS: Final = 0xFFFF

KINDS: Final = ("tcp", "udp", "icmp", "others")
GUARDS: Final = {
    "tcp": dict.fromkeys(HEADER, "meta l4proto tcp"),
    "udp": dict.fromkeys(HEADER, "meta l4proto udp"),
    "icmp": {4: "meta l4proto icmp", 6: "meta l4proto icmpv6"},
    "others": {4: "meta l4proto != { icmp, tcp, udp }", 6: "meta l4proto != { tcp, udp, icmpv6 }"},
}
"""What keeps packets of other kinds from a map: a lookup of ports in a packet without any would end the rule."""
_SELECTORS: Final = {
    "tcp": dict.fromkeys(HEADER, "tcp dport"),
    "udp": dict.fromkeys(HEADER, "udp dport"),
    "icmp": {4: "icmp type", 6: "icmpv6 type"},
    "others": dict.fromkeys(HEADER, "meta l4proto"),
}
"""What is looked up beside the addresses."""


def verdict_maps(
    rules: Sequence[Rule], side: str, version: int, verdicts: Sequence[str]
) -> Iterator[tuple[str, VerdictMap]]:
    """The maps for packets of one side and version, in the order in which they are to be asked; with their kinds.

    `verdicts` has the verdict with its comment for each rule, by position.
    """
    boxes: dict[str, list[Box]] = {kind: [] for kind in KINDS}
    owners: dict[str, list[int]] = {kind: [] for kind in KINDS}
    for at, rule in enumerate(rules):
        sources = _ranges(rule.sources, side, version)
        if not sources:
            continue
        destinations = _ranges(rule.destinations, opposite(side), version)
        if not destinations:
            continue
        for kind, selected in _selected(rule.services, version):
            for source in sources:
                for to in destinations:
                    for each in selected:
                        boxes[kind].append(source + to + each)
                        owners[kind].append(at)
    for kind in KINDS:
        key = f"{HEADER[version]} saddr . {HEADER[version]} daddr . {_SELECTORS[kind][version]}"
        for level in cut_into_levels(boxes[kind], owners[kind]):
            elements = {_text(box, version): verdicts[owner] for box, owner in level}
            if elements:
                yield kind, VerdictMap(key, elements)


def _ranges(selectors: Sequence[Selector], side: str, version: int) -> Ranges:
    """The addresses of this version that the selectors mean on a side."""
    if len(selectors) != 1:
        return addresses_on(selectors, side).ranges(version)
    only = selectors[0]  # nearly always: no set has to be made
    if only.side is not None and only.side != side:
        return ()
    return only.addresses.v4 if version == 4 else only.addresses.v6


@lru_cache(maxsize=4096)  # a list of thousands of rules has few different services
def _selected(services: tuple[ServiceMatch, ...], version: int) -> tuple[tuple[str, Ranges], ...]:
    """What services mean to each kind of map, where they mean anything."""
    icmp = ICMP if version == 4 else ICMPV6
    if not services:
        every_port = ((0, _PORTS),)
        return ("tcp", every_port), ("udp", every_port), ("icmp", ((0, 255),)), ("others", ((0, 255),))
    protocols = {each.protocol for each in services if suits(each.protocol, version)}
    tcp, udp, types = (
        service_ranges(services, each) if each in protocols else () for each in (TCP, UDP, icmp)
    )  # fmt: skip
    others = tuple((each, each) for each in sorted(protocols - {TCP, UDP, icmp}))
    found = (
        ("tcp", tcp),
        ("udp", udp),
        ("icmp", tuple((low, min(high, 255)) for low, high in types)),
        ("others", others),
    )
    return tuple(each for each in found if each[1])


def cut_into_levels(boxes: Sequence[Box], owners: Sequence[int]) -> Iterator[list[tuple[Box, int]]]:
    """The boxes, cut where they overlap, in as many levels as needed."""
    if not boxes:
        return
    earlier: dict[int, list[int]] = {}
    for one, other in overlapping(boxes):
        earlier.setdefault(other, []).append(one)
    level_of: list[int] = [0] * len(boxes)
    levels: list[list[tuple[Box, int]]] = [[]]
    for at, box in enumerate(boxes):
        before = earlier.get(at)
        if not before:
            levels[0].append((box, owners[at]))
            continue
        before.sort()
        level = max(level_of[each] for each in before)
        pieces = cut([box], (boxes[each] for each in before if level_of[each] == level), MOST_PIECES)
        if pieces is None:
            level, pieces = level + 1, [box]
            if level == len(levels):
                levels.append([])
        level_of[at] = level
        levels[level] += [(piece, owners[at]) for piece in pieces]
    yield from levels


def _text(box: Box, version: int) -> str:
    write = _v4 if version == 4 else _v6
    a, b, c, d, e, f = box
    return f"{write(a, b)} . {write(c, d)} . {e}" if e == f else f"{write(a, b)} . {write(c, d)} . {e}-{f}"


@lru_cache(maxsize=1 << 16)  # zones are named by many rules
def _v4(low: int, high: int) -> str:
    return _span(_dotted(low), _dotted(high), low, high, 32)


def _dotted(address: int) -> str:
    return f"{address >> 24}.{address >> 16 & 255}.{address >> 8 & 255}.{address & 255}"


@lru_cache(maxsize=1 << 16)
def _v6(low: int, high: int) -> str:
    first, last = (inet_ntop(AF_INET6, each.to_bytes(16, "big")) for each in (low, high))
    return _span(first, last, low, high, 128)


def _span(first: str, last: str, low: int, high: int, bits: int) -> str:
    """An address, a prefix or a range, as the kernel's own listing has it."""
    if low == high:
        return first
    size = high - low + 1
    if size & (size - 1) or low & (size - 1):
        return f"{first}-{last}"
    return f"{first}/{bits + 1 - size.bit_length()}"
