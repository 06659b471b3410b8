"""Boxes: an interval in each of three dimensions. Which of a list overlap, and what is left of one without others.

What the numbers mean is the caller's: `nftables.verdict_maps` cuts the boxes of rules so that none overlap,
`space.scrutiny` asks which rules leave nothing to another. Of ten thousand boxes hardly any overlap, and finding those
that do is the hard part: boxes are swept along the dimension that leaves the fewest candidates, which are compared in
batches by NumPy. NumPy is loaded for long lists only: it would be a third of the time of `vafw check`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import TYPE_CHECKING, Final, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Integers: TypeAlias = NDArray[np.int64]

Box: TypeAlias = tuple[int, int, int, int, int, int]
"""Lowest and highest of the first dimension, of the second, of the third; both ends belong to it."""

SHORT: Final = 300
"""Boxes up to which every pair is compared in Python."""
_BATCH: Final = 1 << 20
"""Pairs that are compared at a time."""


def without(piece: Box, other: Box) -> list[Box]:
    """What of the piece does not lie in the other, as boxes that do not overlap."""
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


def cut(pieces: list[Box], away: Iterable[Box], most: int) -> list[Box] | None:
    """What of the pieces lies in none of the others; None: more than `most` pieces."""
    for other in away:
        pieces = [rest for piece in pieces for rest in without(piece, other)]
        if len(pieces) > most:
            return None
    return pieces


def overlap(one: Box, other: Box) -> bool:
    """Whether something lies in both."""
    a, b, c, d, e, f = one
    p, q, r, s, t, u = other
    return p <= b and a <= q and r <= d and c <= s and t <= f and e <= u


def overlapping(boxes: Sequence[Box]) -> Iterator[tuple[int, int]]:
    """The positions of each two boxes that overlap, the earlier first; in no order."""
    yield from _few(boxes) if len(boxes) <= SHORT else _many(boxes)


def _few(boxes: Sequence[Box]) -> Iterator[tuple[int, int]]:
    for late, box in enumerate(boxes):
        a, b, c, d, e, f = box
        for early in range(late):
            p, q, r, s, t, u = boxes[early]
            if p <= b and a <= q and r <= d and c <= s and t <= f and e <= u:
                yield early, late


def _many(boxes: Sequence[Box]) -> Iterator[tuple[int, int]]:
    import numpy as np  # deferred: see the header

    edges = _edges(boxes)
    low, high = edges[0::2], edges[1::2]
    order, counts = min((_sweep(*ends) for ends in zip(low, high, strict=True)), key=lambda found: int(found[1].sum()))
    low, high = low[:, order], high[:, order]
    ends = np.cumsum(counts)
    start = 0
    while start < len(boxes):
        done = int(ends[start - 1]) if start else 0
        stop = max(start + 1, int(np.searchsorted(ends, done + _BATCH, side="right")))
        left = np.repeat(np.arange(start, stop), counts[start:stop])
        right = left + 1 + np.arange(len(left)) - np.repeat((ends - counts)[start:stop] - done, counts[start:stop])
        for first, last in zip(low, high, strict=True):
            both = (first[left] <= last[right]) & (first[right] <= last[left])
            left, right = left[both], right[both]
        one, other = order[left], order[right]
        yield from zip(np.minimum(one, other).tolist(), np.maximum(one, other).tolist(), strict=True)
        start = stop


def _edges(boxes: Sequence[Box]) -> Integers:
    """The six ends of the boxes, a row each; numbers beyond 64 bits by their rank among all, which keeps order."""
    import numpy as np  # deferred: see the header

    try:
        flat = np.fromiter(chain.from_iterable(boxes), np.int64, 6 * len(boxes))
    except OverflowError:
        rank = {each: at for at, each in enumerate(sorted(set(chain.from_iterable(boxes))))}
        flat = np.fromiter((rank[each] for each in chain.from_iterable(boxes)), np.int64, 6 * len(boxes))
    return flat.reshape(-1, 6).T.copy()


def _sweep(low: Integers, high: Integers) -> tuple[Integers, Integers]:
    """The order of the lower ends, and how many after each begin before it ends."""
    import numpy as np  # deferred: see the header

    order = np.argsort(low)
    return order, np.searchsorted(low[order], high[order], side="right") - np.arange(1, len(order) + 1)
