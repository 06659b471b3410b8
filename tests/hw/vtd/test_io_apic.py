"""Interrupts of an I/O APIC, whose redirection entries have both formats too."""

from __future__ import annotations

import pytest

from tests.hw.vtd.bench import CFI, IRE, IRT, IRTA, SIRTP, Bench, Record
from vafw.address import Bdf
from vafw.hw.vtd import FaultReason, Interrupt, InterruptFault

IO_APIC = Bdf(0xFF, 0, 0)
INDEX = 0x8004
ENTRY = 1 | 1 << 4 | 0x31 << 16 | 5 << 40 | IO_APIC.requester_id << 64 | 1 << 82
REMAPPABLE = 1 << 48 | (INDEX & 0x7FFF) << 49 | (INDEX >> 15) << 11 | 1 << 15 | 0x31
COMPATIBLE = 5 << 56 | 1 << 15 | 0x31


@pytest.fixture
def remapping(bench: Bench) -> Bench:
    """65536 entries, of which INDEX is the I/O APIC's."""
    bench.set(IRT + INDEX * 16, ENTRY, 16)
    bench.write(IRTA, IRT | 0xF, 8)
    bench.command(SIRTP)
    bench.command(IRE)
    return bench


def reason(answer: object) -> object:
    assert isinstance(answer, InterruptFault)
    return answer.reason


def test_an_entry_in_remappable_format_names_an_index_of_sixteen_bits(remapping: Bench) -> None:
    answer = remapping.unit.remap_entry(IO_APIC, REMAPPABLE)
    assert answer == Interrupt(0x31, 5, level_triggered=True)
    assert isinstance(answer, Interrupt)
    assert answer.message() == (0xFEE0_5000, 0xC031)


def test_another_requester_cannot_use_the_io_apics_entry(remapping: Bench) -> None:
    assert reason(remapping.unit.remap_entry(Bdf(0, 4, 0), REMAPPABLE)) is FaultReason.SOURCE_NOT_VERIFIED
    assert remapping.records() == (Record(0x26, 0x20, INDEX << 48, read=False),)


@pytest.mark.parametrize("bit", [8, 10, 17, 47])
def test_reserved_bits_of_an_entry_are_reason_20(remapping: Bench, bit: int) -> None:
    assert reason(remapping.unit.remap_entry(IO_APIC, REMAPPABLE | 1 << bit)) is FaultReason.REQUEST_RESERVED


def test_an_entry_in_compatibility_format_passes_only_where_software_lets_it(remapping: Bench) -> None:
    assert reason(remapping.unit.remap_entry(IO_APIC, COMPATIBLE)) is FaultReason.COMPATIBILITY_BLOCKED
    remapping.command(CFI)
    assert remapping.unit.remap_entry(IO_APIC, COMPATIBLE) == Interrupt(0x31, 5, level_triggered=True)


def test_without_remapping_an_entry_says_itself_what_it_asks_for(bench: Bench) -> None:
    entry = 3 << 56 | 1 << 11 | 4 << 8 | 2
    assert bench.unit.remap_entry(IO_APIC, entry) == Interrupt(2, 3, delivery_mode=4, logical=True)
