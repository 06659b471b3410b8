"""Interrupts that are left for a virtual processor in a descriptor in memory."""

from __future__ import annotations

import pytest

from tests.hw.vtd.bench import IRE, IRT, IRTA, NIC, SIRTP, Bench
from tests.hw.vtd.test_interrupt_remapping import message
from vafw.address import Hpa
from vafw.hw.vtd import FaultReason, Interrupt, InterruptFault, UnitCapability

DESCRIPTOR = 0x6_0040
NOTIFICATION, PROCESSOR, VECTOR = 0xF2, 3, 0x51
POSTED = 1 | 1 << 15 | VECTOR << 16 | (DESCRIPTOR >> 6) << 38 | NIC.requester_id << 64 | 1 << 82
URGENT = 1 << 14
ON, SN = 1 << 256, 1 << 257


@pytest.fixture
def posting() -> Bench:
    """Index 0 posts VECTOR for NIC."""
    bench = Bench(UnitCapability(posted_interrupts=True))
    bench.set(IRT, POSTED, 16)
    describe(bench)
    bench.write(IRTA, IRT | 3, 8)
    bench.command(SIRTP)
    bench.command(IRE)
    return bench


def describe(bench: Bench, bits: int = 0) -> None:
    bench.set(DESCRIPTOR, NOTIFICATION << 272 | PROCESSOR << 296 | bits, 64)


def described(bench: Bench) -> int:
    return int.from_bytes(bench.memory.read(Hpa(DESCRIPTOR), 64), "little")


def test_the_first_posted_interrupt_notifies_and_the_next_ones_gather(posting: Bench) -> None:
    assert posting.unit.remap(NIC, message(0), 0) == Interrupt(NOTIFICATION, PROCESSOR)
    assert described(posting) & (1 << 256 | 1 << VECTOR) == ON | 1 << VECTOR
    posting.set(IRT + 16, POSTED & ~(0xFF << 16) | 0x52 << 16, 16)
    assert posting.unit.remap(NIC, message(1), 0) is None
    assert described(posting) & (1 << 256) - 1 == 1 << VECTOR | 1 << 0x52


@pytest.mark.parametrize(("entry", "notified"), [(POSTED, False), (POSTED | URGENT, True)])
def test_only_an_urgent_interrupt_notifies_a_processor_that_wants_quiet(
    posting: Bench, entry: int, notified: bool
) -> None:
    describe(posting, SN)
    posting.set(IRT, entry, 16)
    assert (posting.unit.remap(NIC, message(0), 0) is not None) is notified
    assert described(posting) >> VECTOR & 1


def test_the_requester_is_verified_before_anything_is_posted(posting: Bench) -> None:
    posting.set(IRT, POSTED ^ 1 << 64, 16)
    answer = posting.unit.remap(NIC, message(0), 0)
    assert isinstance(answer, InterruptFault)
    assert answer.reason is FaultReason.SOURCE_NOT_VERIFIED
    assert described(posting) & (1 << 256) - 1 == 0


@pytest.mark.parametrize(
    ("entry", "bits", "reason"),
    [
        (POSTED | 1 << 2, 0, FaultReason.IRTE_RESERVED),
        (POSTED | 1 << 24, 0, FaultReason.IRTE_RESERVED),
        (POSTED | 1 << 96 + 8, 0, FaultReason.POSTED_DESCRIPTOR_UNREADABLE),
        (POSTED, 1 << 258, FaultReason.POSTED_DESCRIPTOR_RESERVED),
        (POSTED, 1 << 280, FaultReason.POSTED_DESCRIPTOR_RESERVED),
    ],
)
def test_what_cannot_be_posted_is_a_fault(posting: Bench, entry: int, bits: int, reason: FaultReason) -> None:
    posting.set(IRT, entry, 16)
    describe(posting, bits)
    answer = posting.unit.remap(NIC, message(0), 0)
    assert isinstance(answer, InterruptFault)
    assert answer.reason is reason


def test_a_unit_without_posted_interrupts_takes_the_format_for_reserved_bits() -> None:
    bench = Bench()
    bench.set(IRT, POSTED, 16)
    bench.write(IRTA, IRT | 3, 8)
    bench.command(SIRTP)
    bench.command(IRE)
    answer = bench.unit.remap(NIC, message(0), 0)
    assert isinstance(answer, InterruptFault)
    assert answer.reason is FaultReason.IRTE_RESERVED
