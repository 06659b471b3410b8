"""What the unit remembers is used until it is told to forget: cases 16 to 22."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.vtd.bench import CCMD, CONTEXT, IOTLB, IVA, NIC, OTHER, PAGE, ROOT, TABLES, Bench
from vafw.address import Hpa, Iova
from vafw.hw.vtd import Translation, UnitCapability

DOMAIN = 5
LEAF_TABLE = TABLES + 3 * 0x1000


@pytest.fixture
def warm() -> Bench:
    """Page 0 is remembered as PAGE, but the table now says PAGE + 0x1000."""
    bench = Bench()
    bench.attach(domain=DOMAIN)
    bench.path(0, PAGE | 3)
    bench.start()
    assert bench.ask(0) == PAGE
    bench.set(LEAF_TABLE, PAGE + 0x1000 | 3)
    return bench


def forget_page(bench: Bench, page: int, *, mask: int = 0, domain: int = DOMAIN) -> None:
    bench.write(IVA, page << 12 | mask, 8)
    bench.write(IOTLB, 1 << 63 | 3 << 60 | domain << 32, 8)


def forget_domain(bench: Bench, domain: int) -> None:
    bench.write(IOTLB, 1 << 63 | 2 << 60 | domain << 32, 8)


def test_a_changed_entry_is_stale_until_its_page_is_invalidated(warm: Bench) -> None:
    assert warm.ask(0) == PAGE
    forget_page(warm, 0)
    assert warm.ask(0) == PAGE + 0x1000


def test_a_changed_entry_is_stale_until_its_domain_is_invalidated(warm: Bench) -> None:
    forget_domain(warm, DOMAIN)
    assert warm.ask(0) == PAGE + 0x1000


def test_invalidating_another_domain_changes_nothing(warm: Bench) -> None:
    forget_page(warm, 0, domain=DOMAIN + 1)
    forget_domain(warm, DOMAIN + 1)
    assert warm.ask(0) == PAGE


def test_invalidating_another_page_changes_nothing(warm: Bench) -> None:
    forget_page(warm, 1)
    assert warm.ask(0) == PAGE


def test_the_command_says_what_was_done(warm: Bench) -> None:
    forget_page(warm, 0)
    assert warm.register(IOTLB, 8) >> 57 & 3 == 3
    forget_page(warm, 0, mask=19)
    assert warm.register(IOTLB, 8) >> 57 & 3 == 0
    warm.write(CCMD, 1 << 63 | 2 << 61 | DOMAIN, 8)
    assert warm.register(CCMD, 8) >> 59 == 0b01010


@given(mask=st.integers(0, 6), page=st.integers(0, 127))
def test_a_page_selective_invalidation_covers_its_aligned_pages_only(mask: int, page: int) -> None:
    bench = Bench()
    bench.attach()
    for number in range(128):
        bench.path(number << 12, PAGE | 3)
    bench.start()
    assert {bench.ask(number << 12) for number in range(128)} == {PAGE}
    for number in range(128):
        bench.set(LEAF_TABLE + number * 8, PAGE + 0x1000 | 3)
    forget_page(bench, page, mask=mask)
    fresh = {number for number in range(128) if bench.ask(number << 12) == PAGE + 0x1000}
    assert fresh == set(range(page >> mask << mask, (page >> mask) + 1 << mask))


def test_an_invalidated_page_of_a_superpage_is_walked_again() -> None:
    bench = Bench()
    bench.attach()
    bench.path(0, 3 | 0x80, at=2)
    bench.start()
    assert bench.ask(0x5000) == 0x5000
    bench.path(0, 0x20_0000 | 3 | 0x80, at=2)
    forget_page(bench, 0, mask=9)
    assert bench.ask(0x5000) == 0x20_5000


def test_a_page_that_a_small_one_replaced_says_its_own_size() -> None:
    bench = Bench()
    bench.attach()
    bench.path(0, 0x20_0000 | 1 | 0x80, at=2)
    bench.start()
    first = bench.unit.translate(NIC, Iova(0), write=False)
    bench.path(0, PAGE | 3)
    bench.ask(0x1000)
    second = bench.unit.translate(NIC, Iova(0), write=True)
    assert (first, second) == (Translation(Hpa(0x20_0000), 2 << 20, DOMAIN), Translation(Hpa(PAGE), 4096, DOMAIN))


def test_a_remembered_read_right_does_not_allow_a_write() -> None:
    bench = Bench()
    bench.attach()
    bench.path(0, PAGE | 1)
    bench.start()
    assert bench.ask(0) == PAGE
    assert bench.ask(0, write=True) == -0x5
    assert len(bench.records()) == 1


def test_rights_that_grew_need_no_invalidation_without_caching_mode() -> None:
    bench = Bench()
    bench.attach()
    bench.path(0, PAGE | 1)
    bench.start()
    assert bench.ask(0) == PAGE
    bench.set(LEAF_TABLE, PAGE | 3)
    assert bench.ask(0, write=True) == PAGE


def test_a_removed_context_entry_hits_until_both_caches_are_empty(warm: Bench) -> None:
    warm.set(CONTEXT + NIC.devfn * 16, 0)
    assert warm.ask(0) == PAGE
    warm.write(CCMD, 1 << 63 | 3 << 61 | NIC.requester_id << 16, 8)
    assert warm.ask(0) == -0x2


def test_a_remembered_context_leads_to_its_table_after_the_iotlb_is_empty(warm: Bench) -> None:
    warm.set(CONTEXT + NIC.devfn * 16, 0)
    warm.write(IOTLB, 1 << 63 | 1 << 60, 8)
    assert warm.ask(0) == PAGE + 0x1000


def test_two_functions_of_one_domain_share_what_is_remembered(warm: Bench) -> None:
    warm.attach(OTHER, domain=DOMAIN)
    assert warm.ask(0, bdf=OTHER) == PAGE


@pytest.mark.parametrize(("mask", "forgotten"), [(0, 1), (1, 2), (2, 4), (3, 8)])
def test_a_function_mask_leaves_function_bits_out(mask: int, forgotten: int) -> None:
    bench = Bench()
    functions = [NIC.__class__(NIC.bus, NIC.device, number) for number in range(8)]
    for each in functions:
        bench.attach(each)
    bench.path(0, PAGE | 3)
    bench.start()
    assert {bench.ask(0, bdf=each) for each in functions} == {PAGE}
    bench.set(ROOT + NIC.bus * 16, 0)
    bench.write(CCMD, 1 << 63 | 3 << 61 | mask << 32 | NIC.requester_id << 16, 8)
    assert [bench.ask(0, bdf=each) for each in functions].count(-1) == forgotten


@pytest.mark.parametrize(("caching_mode", "answer"), [(False, PAGE), (True, -0x6)])
def test_only_caching_mode_remembers_what_was_not_present(caching_mode: bool, answer: int) -> None:
    bench = Bench(UnitCapability(caching_mode=caching_mode))
    bench.attach()
    bench.path(0, 0)
    bench.start()
    assert bench.ask(0) == -0x6
    bench.set(LEAF_TABLE, PAGE | 3)
    assert bench.ask(0) == answer
    forget_page(bench, 0)
    assert bench.ask(0) == PAGE


def test_caching_mode_remembers_a_missing_context_as_domain_0() -> None:
    bench = Bench(UnitCapability(caching_mode=True))
    bench.start()
    assert bench.ask(0) == -0x1
    bench.attach()
    bench.path(0, PAGE | 3)
    assert bench.ask(0) == -0x1
    bench.write(CCMD, 1 << 63 | 2 << 61, 8)
    assert bench.ask(0) == PAGE
