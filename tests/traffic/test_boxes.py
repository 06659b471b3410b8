"""Boxes, against looking at every point and every pair."""

from __future__ import annotations

from itertools import product
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vafw.traffic.boxes import SHORT, Box, cut, overlap, overlapping, without

SIDE = 5
spans = st.tuples(st.integers(0, SIDE - 1), st.integers(0, SIDE - 1)).map(sorted)
boxes = st.tuples(spans, spans, spans).map(lambda each: (*each[0], *each[1], *each[2]))


def points(box: Box) -> set[tuple[int, int, int]]:
    a, b, c, d, e, f = box
    return set(product(range(a, b + 1), range(c, d + 1), range(e, f + 1)))


@given(boxes, boxes)
def test_what_is_left_of_a_box_are_its_points_that_the_other_has_not_each_once(one: Box, other: Box) -> None:
    pieces = [points(each) for each in without(one, other)]
    assert sum(map(len, pieces)) == len(points(one) - points(other))
    assert set().union(*pieces) == points(one) - points(other)


@given(boxes, st.lists(boxes, max_size=4))
def test_a_box_is_cut_by_several_or_said_to_be_too_many_pieces(box: Box, away: list[Box]) -> None:
    left = points(box).difference(*map(points, away))
    found = cut([box], away, 1000)
    assert found is not None
    assert set().union(*map(points, found)) == left
    few = cut([box], away, 3)
    assert few is None or few == found


@given(boxes, boxes)
def test_boxes_overlap_where_they_share_a_point(one: Box, other: Box) -> None:
    assert overlap(one, other) == bool(points(one) & points(other))


@given(st.lists(boxes, max_size=12))
def test_every_two_boxes_that_overlap_are_found_once(made: list[Box]) -> None:
    pairs = [(early, late) for late in range(len(made)) for early in range(late) if overlap(made[early], made[late])]
    assert sorted(overlapping(made)) == sorted(pairs)


@pytest.mark.parametrize("highest", [40, (1 << 32) - 1, (1 << 128) - 1], ids=["crowded", "IPv4", "IPv6"])
@pytest.mark.parametrize("seed", range(3))
def test_long_lists_are_swept_and_give_the_same_pairs(seed: int, highest: int) -> None:
    random = Random(seed)

    def span() -> tuple[int, int]:
        low = random.randint(0, highest)
        return low, min(highest, low + random.choice((0, 1, highest >> 4, highest)))

    made: list[Box] = [(*span(), *span(), *span()) for _ in range(SHORT + 1)]
    pairs = [(early, late) for late in range(len(made)) for early in range(late) if overlap(made[early], made[late])]
    assert pairs
    assert sorted(overlapping(made)) == sorted(pairs)
