"""Interrupt remapping: cases 31 to 36."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.vtd.bench import CFI, IRE, IRT, IRTA, NIC, SIRTP, Bench, Record
from vafw.address import Bdf
from vafw.hw.vtd import FaultReason, Interrupt, InterruptFault

INDEX = 3
GOOD = 1 | 0x41 << 16 | 2 << 40 | NIC.requester_id << 64 | 1 << 82


def message(index: int, *, shv: int = 0) -> int:
    return 0xFEE << 20 | (index & 0x7FFF) << 5 | 1 << 4 | shv << 3 | (index >> 15) << 2


@pytest.fixture
def remapping(bench: Bench) -> Bench:
    """Interrupt remapping with 16 entries; INDEX lets NIC raise 0x41 on processor 2."""
    bench.set(IRT + INDEX * 16, GOOD, 16)
    bench.write(IRTA, IRT | 3, 8)
    bench.command(SIRTP)
    bench.command(IRE)
    return bench


def refusal(bench: Bench, address: int, data: int = 0, bdf: Bdf = NIC) -> int:
    answer = bench.unit.remap(bdf, address, data)
    return answer.reason if isinstance(answer, InterruptFault) else 0


def test_a_message_becomes_the_interrupt_of_its_entry(remapping: Bench) -> None:
    assert remapping.unit.remap(NIC, message(INDEX), 0) == Interrupt(0x41, 2)


def test_a_subhandle_is_added_to_the_handle(remapping: Bench) -> None:
    assert remapping.unit.remap(NIC, message(1, shv=1), 2) == Interrupt(0x41, 2)
    assert refusal(remapping, message(1, shv=1), 1 << 16 | 2) == 0x20


def test_data_without_a_subhandle_and_high_addresses_are_reason_20(remapping: Bench) -> None:
    assert refusal(remapping, message(INDEX), 1) == 0x20
    assert refusal(remapping, message(INDEX) | 1 << 32) == 0x20


def test_an_index_beyond_the_table_is_reason_21_and_recorded_with_the_index(remapping: Bench) -> None:
    assert refusal(remapping, message(16)) == 0x21
    assert remapping.records() == (Record(0x21, NIC.requester_id, 16 << 48, read=False),)


def test_an_entry_that_is_not_present_is_reason_22(remapping: Bench) -> None:
    assert refusal(remapping, message(INDEX + 1)) == 0x22


def test_fpd_keeps_an_entry_that_is_not_present_quiet(remapping: Bench) -> None:
    remapping.set(IRT + 16, 2, 16)
    assert refusal(remapping, message(1)) == 0x22
    assert remapping.records() == ()


def test_a_table_outside_ram_is_reason_23(remapping: Bench) -> None:
    remapping.write(IRTA, 1 << 40 | 3, 8)
    remapping.command(SIRTP)
    assert refusal(remapping, message(INDEX)) == 0x23


@pytest.mark.parametrize("bit", [12, 14, 15, 24, 31, 32, 48, 84, 127])
def test_reserved_bits_of_an_entry_are_reason_24(remapping: Bench, bit: int) -> None:
    remapping.set(IRT + INDEX * 16, GOOD | 1 << bit, 16)
    assert refusal(remapping, message(INDEX)) == 0x24


def test_another_requester_is_reason_26(remapping: Bench) -> None:
    assert refusal(remapping, message(INDEX), bdf=Bdf(2, 0, 1)) == 0x26


@given(
    validation=st.integers(0, 3),
    qualifier=st.integers(0, 3),
    allowed=st.integers(0, 0xFFFF),
    asks=st.integers(0, 0xFFFF),
)
def test_only_the_requesters_that_an_entry_names_use_it(
    validation: int, qualifier: int, allowed: int, asks: int
) -> None:
    bench = Bench()
    bench.set(IRT, 1 | allowed << 64 | qualifier << 80 | validation << 82, 16)
    bench.write(IRTA, IRT | 3, 8)
    bench.command(SIRTP)
    bench.command(IRE)
    low_bits = (0, 4, 6, 7)[qualifier]
    verified = (
        True,
        allowed | low_bits == asks | low_bits,
        allowed // 256 <= asks // 256 <= allowed % 256,
        False,
    )[validation]
    assert refusal(bench, message(0), bdf=Bdf.from_requester_id(asks)) == (0 if verified else 0x26)


def test_a_compatibility_message_passes_without_remapping(bench: Bench) -> None:
    assert bench.unit.remap(NIC, 0xFEE0_2000, 0x41) == Interrupt(0x41, 2)


def test_a_compatibility_message_is_reason_25_with_remapping(remapping: Bench) -> None:
    assert refusal(remapping, 0xFEE0_2000, 0x41) == 0x25


def test_a_compatibility_message_passes_while_the_vmm_lets_it(remapping: Bench) -> None:
    remapping.command(CFI)
    assert remapping.unit.remap(NIC, 0xFEE0_2000, 0x41) == Interrupt(0x41, 2)


def test_extended_mode_takes_all_of_the_destination_and_no_compatibility_message(remapping: Bench) -> None:
    remapping.set(IRT + INDEX * 16, 1 | 0x41 << 16 | 0x1_0002 << 32, 16)
    remapping.write(IRTA, IRT | 1 << 11 | 3, 8)
    remapping.command(SIRTP)
    remapping.command(CFI)
    assert remapping.unit.remap(NIC, message(INDEX), 0) == Interrupt(0x41, 0x1_0002)
    assert refusal(remapping, 0xFEE0_2000, 0x41) == 0x25


@pytest.mark.parametrize("descriptor", [4, 4 | 1 << 4 | INDEX << 32, 4 | 1 << 4 | 2 << 27 | 0 << 32])
def test_a_stale_entry_is_used_until_it_is_invalidated(remapping: Bench, descriptor: int) -> None:
    remapping.start_queue()
    assert refusal(remapping, message(INDEX)) == 0
    remapping.set(IRT + INDEX * 16, 0, 16)
    remapping.submit(4 | 1 << 4 | 8 << 32)
    assert refusal(remapping, message(INDEX)) == 0
    remapping.submit(descriptor)
    assert refusal(remapping, message(INDEX)) == 0x22


def test_a_blocked_interrupt_says_who_and_why() -> None:
    fault = InterruptFault(NIC, 3, FaultReason.SOURCE_NOT_VERIFIED)
    assert str(fault) == "interrupt by 02:00.0 with index 0x3 blocked: source not verified (0x26)"
