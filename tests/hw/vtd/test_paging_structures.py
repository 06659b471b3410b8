"""The way to the last table is remembered too, and used until software says that it has changed."""

from __future__ import annotations

import pytest

from tests.hw.vtd.bench import IOTLB, IVA, PAGE, TABLES, Bench

DOMAIN = 5
DIRECTORY = TABLES + 2 * 0x1000
"""The level-2 table."""
OTHER_LEAVES = TABLES + 8 * 0x1000


@pytest.fixture
def moved() -> Bench:
    """Page 0 was used; then the level-2 entry above it was pointed to another table of leaves."""
    bench = Bench()
    bench.attach(domain=DOMAIN)
    bench.path(0, PAGE | 3)
    bench.path(0x1000, PAGE + 0x1000 | 3)
    bench.start()
    assert bench.ask(0) == PAGE
    assert bench.ask(0) == PAGE
    bench.set(OTHER_LEAVES + 8, PAGE + 0x7000 | 3)
    bench.set(DIRECTORY, OTHER_LEAVES | 3)
    return bench


def forget(bench: Bench, page: int, *, hint: int = 0, mask: int = 0) -> None:
    bench.write(IVA, page << 12 | hint << 6 | mask, 8)
    bench.write(IOTLB, 1 << 63 | 3 << 60 | DOMAIN << 32, 8)


def test_a_changed_entry_above_the_leaves_is_stale_for_pages_that_were_never_used(moved: Bench) -> None:
    assert moved.ask(0x1000) == PAGE + 0x1000


def test_the_hint_that_only_leaves_have_changed_keeps_what_is_above_them(moved: Bench) -> None:
    forget(moved, 1, hint=1)
    assert moved.ask(0x1000) == PAGE + 0x1000


def test_without_the_hint_the_way_is_walked_again(moved: Bench) -> None:
    forget(moved, 1)
    assert moved.ask(0x1000) == PAGE + 0x7000


@pytest.mark.parametrize("command", [1 << 60, 2 << 60 | DOMAIN << 32])
def test_wider_invalidations_forget_it_whatever_the_hint_says(moved: Bench, command: int) -> None:
    moved.write(IVA, 1 << 6, 8)
    moved.write(IOTLB, 1 << 63 | command, 8)
    assert moved.ask(0x1000) == PAGE + 0x7000


def test_invalidating_another_region_keeps_it(moved: Bench) -> None:
    forget(moved, 512, mask=9)
    assert moved.ask(0x1000) == PAGE + 0x1000


def test_rights_that_grew_above_the_leaves_are_found_by_the_walk() -> None:
    bench = Bench()
    bench.attach(domain=DOMAIN)
    bench.path(0, PAGE | 3, middle=1)
    bench.start()
    assert bench.ask(0) == PAGE
    bench.path(0, PAGE | 3)
    assert bench.ask(0, write=True) == PAGE
