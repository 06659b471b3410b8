"""Cases 2 to 16 of the walk, each by hand; `test_naive_walk` draws the rest."""

from __future__ import annotations

import pytest

from tests.hw.vtd.bench import NIC, PAGE, ROOT, TABLES, Bench, Record
from vafw.address import Hpa
from vafw.hw.vtd import UnitCapability

FPD = 2


@pytest.mark.parametrize("levels", [3, 4, 5])
@pytest.mark.parametrize(("at", "size"), [(1, 1 << 12), (2, 1 << 21), (3, 1 << 30)])
def test_every_depth_leads_to_every_page_size(levels: int, at: int, size: int) -> None:
    bench = Bench(UnitCapability(guest_address_bits=57))
    bench.attach(levels=levels)
    iova = (1 << 12 + 9 * levels) - size
    bench.path(iova, (size * 5) | 3 | (0x80 if at > 1 else 0), levels=levels, at=at)
    bench.start()
    assert bench.ask(iova + size - 5) == size * 5 + size - 5


def test_a_root_entry_that_is_not_present_is_recorded(bench: Bench) -> None:
    bench.start()
    assert bench.ask(0x5123) == -0x1
    assert bench.records() == (Record(0x1, NIC.requester_id, 0x5000, read=True),)


@pytest.mark.parametrize(("offset", "bits"), [(0, 1 << 1), (0, 1 << 11), (8, 1), (8, 1 << 63)])
def test_reserved_bits_of_a_root_entry_are_reason_a(bench: Bench, offset: int, bits: int) -> None:
    bench.attach()
    entry = ROOT + NIC.bus * 16 + offset
    bench.set(entry, bench.memory.read_u64(Hpa(entry)) | bits)
    bench.start()
    assert bench.ask(0) == -0xA


def test_a_context_entry_that_is_not_present_is_reason_2(bench: Bench) -> None:
    bench.context(0, 0)
    bench.start()
    assert bench.ask(0x1000, write=True) == -0x2
    assert bench.records() == (Record(0x2, NIC.requester_id, 0x1000, read=False),)


def test_fpd_keeps_quiet_even_in_an_entry_that_is_not_present(bench: Bench) -> None:
    bench.context(FPD, 0)
    bench.start()
    assert bench.ask(0) == -0x2
    assert bench.records() == ()


@pytest.mark.parametrize(("low", "high"), [(1 << 4, 0), (1 << 11, 0), (0, 1 << 7), (0, 1 << 24), (0, 1 << 63)])
def test_reserved_bits_of_a_context_entry_are_reason_b(bench: Bench, low: int, high: int) -> None:
    bench.context(TABLES | 1 | low, 5 << 8 | 2 | high)
    bench.start()
    assert bench.ask(0) == -0xB


def test_ignored_bits_of_a_context_entry_are_ignored(bench: Bench) -> None:
    bench.context(TABLES | 1, 5 << 8 | 2 | 0xF << 3)
    bench.path(0, PAGE | 3)
    bench.start()
    assert bench.ask(0x10) == PAGE + 0x10


@pytest.mark.parametrize("width", [0, 3, 4, 7])
def test_an_unsupported_address_width_is_reason_3(bench: Bench, width: int) -> None:
    bench.context(TABLES | 1, 5 << 8 | width)
    bench.start()
    assert bench.ask(0) == -0x3


@pytest.mark.parametrize("kind", [0b01, 0b11])
def test_an_unsupported_translation_type_is_reason_3(bench: Bench, kind: int) -> None:
    bench.context(TABLES | 1 | kind << 2, 5 << 8 | 2)
    bench.start()
    assert bench.ask(0) == -0x3


def test_pass_through_is_identity_without_any_table(bench: Bench) -> None:
    bench.context(1 | 0b10 << 2, 5 << 8 | 2)
    bench.start()
    assert bench.ask(0x12_3456) == 0x12_3456


@pytest.mark.parametrize("levels", [3, 4])
def test_the_last_address_of_the_width_walks_and_the_next_is_reason_4(bench: Bench, levels: int) -> None:
    bench.attach(levels=levels)
    last = (1 << 12 + 9 * levels) - 1
    bench.path(last, PAGE | 3, levels=levels)
    bench.start()
    assert bench.ask(last) == PAGE + 0xFFF
    assert bench.ask(last + 1) == -0x4


def test_rights_are_granted_by_every_level_or_not_at_all(bench: Bench) -> None:
    bench.attach()
    bench.path(0, PAGE | 3, middle=1)
    bench.start()
    assert bench.ask(0, write=True) == -0x5
    assert bench.ask(0) == PAGE


def test_a_write_only_leaf_is_not_read(bench: Bench) -> None:
    bench.attach()
    bench.path(0, PAGE | 2)
    bench.start()
    assert bench.ask(0) == -0x6
    assert bench.ask(0, write=True) == PAGE


@pytest.mark.parametrize(("write", "reason"), [(True, 0x5), (False, 0x6)])
def test_an_empty_leaf_is_a_missing_right_of_the_direction(bench: Bench, write: bool, reason: int) -> None:
    bench.attach()
    bench.path(0, 0)
    bench.start()
    assert bench.ask(0, write=write) == -reason


def test_a_missing_right_wins_over_reserved_bits(bench: Bench) -> None:
    bench.attach()
    bench.path(0, PAGE | 1 | 1 << 62)
    bench.start()
    assert bench.ask(0, write=True) == -0x5
    assert bench.ask(0) == -0xC


@pytest.mark.parametrize(
    ("leaf", "at"),
    [
        (PAGE | 3 | 0x80, 4),
        (PAGE | 3 | 0x80 | 0x1000, 2),
        (3 | 0x80 | 1 << 29, 3),
        (PAGE | 3 | 1 << 62, 1),
        (PAGE | 3 | 1 << 11, 1),
        (PAGE | 3 | 1 << 46, 1),
    ],
)
def test_reserved_bits_of_a_paging_entry_are_reason_c(bench: Bench, leaf: int, at: int) -> None:
    bench.attach()
    bench.path(0, leaf, at=at)
    bench.start()
    assert bench.ask(0) == -0xC


def test_bits_that_are_softwares_own_are_ignored(bench: Bench) -> None:
    bench.attach()
    bench.path(0, PAGE | 3 | 0xBFF0_0000_0000_0700)
    bench.start()
    assert bench.ask(0) == PAGE


@pytest.mark.parametrize(
    ("leaf", "at"), [(0xFEE0_0000 | 3, 1), (0xFEEF_F000 | 3, 1), (0xFEE0_0000 | 0x83, 2), (0xC000_0000 | 0x83, 3)]
)
def test_a_page_that_touches_the_interrupt_range_is_reason_e(bench: Bench, leaf: int, at: int) -> None:
    bench.attach()
    bench.path(0, leaf, at=at)
    bench.start()
    assert bench.ask(0) == -0xE


BEYOND = 1 << 30


def test_a_root_table_outside_ram_is_reason_8(bench: Bench) -> None:
    bench.write(0x20, BEYOND, 8)
    bench.command(1 << 30)
    bench.command(1 << 31)
    assert bench.ask(0) == -0x8


def test_a_context_table_outside_ram_is_reason_9(bench: Bench) -> None:
    bench.set(ROOT + NIC.bus * 16, BEYOND | 1)
    bench.start()
    assert bench.ask(0) == -0x9


def test_a_top_table_outside_ram_is_reason_3(bench: Bench) -> None:
    bench.context(BEYOND | 1, 5 << 8 | 2)
    bench.start()
    assert bench.ask(0) == -0x3


def test_a_lower_table_outside_ram_is_reason_7(bench: Bench) -> None:
    bench.attach()
    bench.path(0, BEYOND | 3, at=2)
    bench.start()
    assert bench.ask(0) == -0x7


def test_fpd_keeps_a_blocked_page_quiet(bench: Bench) -> None:
    bench.attach(flags=FPD)
    bench.path(0, 0)
    bench.start()
    assert bench.ask(0) == -0x6
    assert bench.records() == ()


def test_fpd_does_not_hide_an_entry_with_reserved_bits(bench: Bench) -> None:
    bench.context(TABLES | 1 | FPD, 1 << 7 | 2)
    bench.start()
    assert bench.ask(0) == -0xB
    assert len(bench.records()) == 1
