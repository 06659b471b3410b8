"""A set of IPv4 and IPv6 addresses as disjoint ranges of integers, closed under union, intersection and complement.

It knows nothing of zones or packets. The one invariant everything hangs on: ranges are sorted, inclusive, and neither
overlap nor touch, so that equal sets are equal values and `contains` is one bisection.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network, summarize_address_range
from typing import Final, TypeAlias

Ranges: TypeAlias = tuple[tuple[int, int], ...]
"""Inclusive ranges of integers, sorted, disjoint and not adjacent."""

MAX_V4: Final = 2**32 - 1
MAX_V6: Final = 2**128 - 1


def normalise(ranges: Iterable[tuple[int, int]]) -> Ranges:
    """Sort ranges and merge those that overlap or touch."""
    merged: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if merged and low <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return tuple(merged)


def intersect(left: Ranges, right: Ranges) -> Ranges:
    """What lies in both."""
    return tuple(_overlaps(left, right))


def _overlaps(left: Ranges, right: Ranges) -> Iterator[tuple[int, int]]:
    i = j = 0
    while i < len(left) and j < len(right):
        low, high = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if low <= high:
            yield low, high
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1


def complement(ranges: Ranges, highest: int) -> Ranges:
    """What lies between 0 and `highest` and in none of the ranges."""
    gaps: list[tuple[int, int]] = []
    start = 0
    for low, high in ranges:
        if start < low:
            gaps.append((start, low - 1))
        start = high + 1
    if start <= highest:
        gaps.append((start, highest))
    return tuple(gaps)


def in_ranges(ranges: Ranges, value: int) -> bool:
    """Whether one of the ranges holds `value`."""
    at = bisect_right(ranges, value, key=_low) - 1
    return at >= 0 and value <= ranges[at][1]


def _low(span: tuple[int, int]) -> int:
    return span[0]


@dataclass(frozen=True, slots=True)
class AddressSet:
    """A set of addresses of both families; build it with `of`, `everything`, `nothing` or `from_texts`."""

    v4: Ranges
    """IPv4 addresses."""
    v6: Ranges
    """IPv6 addresses."""

    @classmethod
    def of(cls, networks: Iterable[IPv4Network | IPv6Network]) -> AddressSet:
        """The addresses of all these networks."""
        v4: list[tuple[int, int]] = []
        v6: list[tuple[int, int]] = []
        for each in networks:
            span = (int(each.network_address), int(each.broadcast_address))
            (v4 if isinstance(each, IPv4Network) else v6).append(span)
        return cls(normalise(v4), normalise(v6))

    @classmethod
    def everything(cls) -> AddressSet:
        """Every address of both families."""
        return cls(((0, MAX_V4),), ((0, MAX_V6),))

    @classmethod
    def nothing(cls) -> AddressSet:
        """No address at all."""
        return cls((), ())

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> AddressSet:
        """Read ``10.0.0.0/8``, ``10.0.0.1`` and ``10.0.0.1-10.0.0.9``; ValueError says what was expected."""
        v4: list[tuple[int, int]] = []
        v6: list[tuple[int, int]] = []
        for text in texts:
            version, low, high = _parse_span(text)
            (v4 if version == 4 else v6).append((low, high))
        return cls(normalise(v4), normalise(v6))

    def to_texts(self) -> tuple[str, ...]:
        """What `from_texts` reads: a network where a range is one, else ``first-last``."""
        return tuple(
            [_span_text(IPv4Address(low), IPv4Address(high)) for low, high in self.v4]
            + [_span_text(IPv6Address(low), IPv6Address(high)) for low, high in self.v6]
        )

    def union(self, other: AddressSet) -> AddressSet:
        """What lies in either."""
        return AddressSet(normalise(self.v4 + other.v4), normalise(self.v6 + other.v6))

    def intersection(self, other: AddressSet) -> AddressSet:
        """What lies in both."""
        return AddressSet(intersect(self.v4, other.v4), intersect(self.v6, other.v6))

    def complement(self) -> AddressSet:
        """Every address that does not lie in it, of both families."""
        return AddressSet(complement(self.v4, MAX_V4), complement(self.v6, MAX_V6))

    def ranges(self, version: int) -> Ranges:
        """The ranges of IP version 4 or 6."""
        return self.v4 if version == 4 else self.v6

    def contains(self, version: int, address: int) -> bool:
        """Whether the address, an integer of IP version 4 or 6, lies in it."""
        return in_ranges(self.v4 if version == 4 else self.v6, address)

    @property
    def is_empty(self) -> bool:
        """Whether it holds no address."""
        return not self.v4 and not self.v6

    def __str__(self) -> str:
        return ", ".join(self.to_texts()) or "no address"


_OCTET: Final = "(25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9])"
_NETWORK_V4: Final = re.compile(rf"{_OCTET}\.{_OCTET}\.{_OCTET}\.{_OCTET}(?:/(3[0-2]|[12]?[0-9]))?")
"""How nearly all addresses are written; `ipaddress` takes ten times as long to read them."""


def _parse_span(text: str) -> tuple[int, int, int]:
    if (plain := _NETWORK_V4.fullmatch(text)) is not None:
        a, b, c, d, length = plain.groups("32")
        base, hosts = int(a) << 24 | int(b) << 16 | int(c) << 8 | int(d), MAX_V4 >> int(length)
        if not base & hosts:
            return 4, base, base | hosts
    first, dash, last = text.partition("-")
    try:
        low = ip_network(first.strip()) if not dash else ip_network(first.strip() + "/" + _host_bits(first))
        high = low if not dash else ip_network(last.strip() + "/" + _host_bits(last))
    except ValueError as error:
        raise ValueError(
            f"an address must look like 10.0.0.0/8, 2001:db8::1 or 10.0.0.1-10.0.0.9, not {text!r}"
        ) from error
    if low.version != high.version or int(low.network_address) > int(high.broadcast_address):
        raise ValueError(f"a range must go from a lower to a higher address of one family, not {text!r}")
    return low.version, int(low.network_address), int(high.broadcast_address)


def _host_bits(address: str) -> str:
    return "128" if ":" in address else "32"


def _span_text(low: IPv4Address | IPv6Address, high: IPv4Address | IPv6Address) -> str:
    if low == high:
        return str(low)
    networks = list(_summarise(low, high))
    return str(networks[0]) if len(networks) == 1 else f"{low}-{high}"


def _summarise(
    low: IPv4Address | IPv6Address, high: IPv4Address | IPv6Address
) -> Iterator[IPv4Network] | Iterator[IPv6Network]:
    if isinstance(low, IPv4Address) and isinstance(high, IPv4Address):
        return summarize_address_range(low, high)
    assert isinstance(low, IPv6Address)
    assert isinstance(high, IPv6Address)
    return summarize_address_range(low, high)
