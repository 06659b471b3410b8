"""Devices that cache translations: case 37 and 38, and what must never happen without the grant."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.vtd.bench import FSTS, IQH, IQT, NIC, OTHER, PAGE, STATUS, TABLES, Bench
from vafw.address import Hpa, Iova
from vafw.hw.vtd import Completion, DmaFault, FaultReason, UnitCapability
from vafw.hw.vtd.ats import DeviceTlb, TranslationCompletion, invalidation_size

WITH_DEVICE_TLB = 1 << 2
LEAF_TABLE = TABLES + 3 * 0x1000
ITE = 1 << 6


class Silent:
    """A device that never completes an invalidation."""

    def invalidate(self, iova: Iova, size: int) -> bool:
        return False


@pytest.fixture
def granted() -> Bench:
    """NIC may use ATS, and page 0 is mapped; the queue is enabled."""
    bench = Bench(UnitCapability(device_tlb=True))
    bench.attach(flags=WITH_DEVICE_TLB)
    bench.path(0, PAGE | 3)
    bench.start()
    bench.start_queue()
    return bench


def refusal(answer: object) -> object:
    assert isinstance(answer, DmaFault)
    return answer.reason


def device_descriptor(iova: int, *, several: int = 0) -> int:
    return 3 | NIC.requester_id << 32 | (iova | several) << 64


def wait(data: int) -> int:
    return 5 | 1 << 5 | data << 32 | STATUS << 64


def test_a_granted_function_gets_the_page_with_its_rights(granted: Bench) -> None:
    answer = granted.unit.translation_request(NIC, Iova(0x123))
    assert answer == TranslationCompletion(Hpa(PAGE), 4096, readable=True, writable=True)
    answer = granted.unit.translation_request(NIC, Iova(0x123), no_write=True)
    assert answer == TranslationCompletion(Hpa(PAGE), 4096, readable=True, writable=False)


def test_a_page_without_rights_is_no_fault_of_a_translation_request(granted: Bench) -> None:
    answer = granted.unit.translation_request(NIC, Iova(0x5000))
    assert isinstance(answer, TranslationCompletion)
    assert answer.is_empty
    assert granted.records() == ()


def test_a_write_only_page_is_translated_as_such(granted: Bench) -> None:
    granted.set(LEAF_TABLE, PAGE | 2)
    answer = granted.unit.translation_request(NIC, Iova(0))
    assert answer == TranslationCompletion(Hpa(PAGE), 4096, readable=False, writable=True)


def test_a_malformed_table_is_a_fault_of_a_translation_request_and_the_record_says_of_which_kind(
    granted: Bench,
) -> None:
    granted.set(LEAF_TABLE, PAGE | 3 | 1 << 11)
    assert refusal(granted.unit.translation_request(NIC, Iova(0))) == FaultReason.PAGING_RESERVED
    assert granted.register(0x220 + 8, 8) >> 60 & 3 == 1


def test_a_request_of_a_function_without_the_grant_is_reason_d(granted: Bench) -> None:
    granted.attach(OTHER, domain=6)
    assert refusal(granted.unit.translation_request(OTHER, Iova(0))) == FaultReason.TRANSLATION_TYPE_BLOCKS
    granted.clear_record()
    assert refusal(granted.unit.translated(OTHER, Hpa(PAGE), write=True)) == FaultReason.TRANSLATION_TYPE_BLOCKS
    assert granted.register(0x230 + 8, 8) >> 60 & 3 == 2
    assert granted.ask(0, bdf=OTHER) == PAGE


def test_a_translated_request_of_an_unknown_function_is_blocked(granted: Bench) -> None:
    granted.context(0, 0, OTHER)
    assert refusal(granted.unit.translated(OTHER, Hpa(PAGE), write=True)) == FaultReason.CONTEXT_NOT_PRESENT


def test_a_translated_request_of_a_granted_function_walks_no_table(granted: Bench) -> None:
    assert granted.unit.translated(NIC, Hpa(0x66_6000), write=True) is None


def test_a_translated_request_to_a_protected_region_is_blocked(granted: Bench) -> None:
    granted.write(0x68, 0x60_0000)
    granted.write(0x6C, 0x60_0000)
    granted.write(0x64, 1 << 31)
    assert refusal(granted.unit.translated(NIC, Hpa(0x66_6000), write=True)) == Completion.UNSUPPORTED_REQUEST


def test_without_translation_ats_is_an_unsupported_request(granted: Bench) -> None:
    granted.command(off=1 << 31)
    assert refusal(granted.unit.translation_request(NIC, Iova(0))) == Completion.UNSUPPORTED_REQUEST
    assert granted.records() == ()


def test_the_grant_does_not_exist_in_a_unit_without_device_tlbs() -> None:
    bench = Bench()
    bench.attach(flags=WITH_DEVICE_TLB)
    bench.start()
    assert refusal(bench.unit.translated(NIC, Hpa(PAGE), write=False)) == FaultReason.CONTEXT_INVALID


def test_bit_62_of_a_leaf_is_reserved_in_a_unit_without_device_tlbs_only(granted: Bench) -> None:
    granted.set(LEAF_TABLE, PAGE | 3 | 1 << 62)
    assert granted.ask(0) == PAGE
    granted.set(TABLES, TABLES + 0x1000 | 3 | 1 << 62)
    assert granted.ask(0x1000) == -0xC


def test_a_device_uses_what_it_holds_until_it_is_told_to_drop_it(granted: Bench) -> None:
    device = DeviceTlb(NIC, granted.unit)
    granted.unit.connect_device_tlb(NIC, device)
    assert device.find(Iova(0x10), write=True) == PAGE + 0x10
    granted.set(LEAF_TABLE, 0)
    granted.submit(2 | 1 << 4, wait(1))
    assert device.find(Iova(0x10), write=True) == PAGE + 0x10
    granted.submit(device_descriptor(0), wait(2))
    assert device.find(Iova(0x10), write=True) is None
    assert granted.memory.read_u32(Hpa(STATUS)) == 2


def test_a_device_that_was_refused_says_why(granted: Bench) -> None:
    granted.context(0, 0, OTHER)
    assert refusal(DeviceTlb(OTHER, granted.unit).find(Iova(0), write=False)) == FaultReason.CONTEXT_NOT_PRESENT


def test_a_device_that_reads_asks_for_reading_only(granted: Bench) -> None:
    device = DeviceTlb(NIC, granted.unit)
    assert device.find(Iova(0), write=False) == PAGE
    granted.set(LEAF_TABLE, PAGE | 1)
    granted.submit(2 | 1 << 4)
    assert device.find(Iova(0), write=True) is None


@pytest.mark.parametrize("connected", [True, False])
def test_a_device_that_does_not_answer_is_a_timeout_and_the_wait_is_given_up(granted: Bench, connected: bool) -> None:
    granted.unit.connect_device_tlb(NIC if connected else OTHER, Silent())
    granted.submit(device_descriptor(0), wait(1), wait(2))
    assert granted.register(FSTS) & ITE
    assert granted.memory.read_u32(Hpa(STATUS)) == 0
    assert granted.register(IQH) >> 4 == granted.register(IQT) - 0x10 >> 4
    granted.submit(wait(3))
    assert granted.memory.read_u32(Hpa(STATUS)) == 0
    granted.write(FSTS, ITE)
    assert granted.memory.read_u32(Hpa(STATUS)) == 3
    assert granted.register(IQH) == granted.register(IQT)


def test_a_unit_without_device_tlbs_knows_no_such_descriptor() -> None:
    bench = Bench()
    bench.start_queue()
    bench.submit(device_descriptor(0))
    assert bench.register(FSTS) & 1 << 4


@given(size_class=st.integers(0, 30), page=st.integers(0, (1 << 36) - 1))
def test_the_low_one_bits_of_the_address_say_how_much_is_invalidated(size_class: int, page: int) -> None:
    size = 0x2000 << size_class
    address = page << 12 & -size | (size >> 1) - 1 & ~0xFFF
    assert invalidation_size(address, several=True) == size
    assert invalidation_size(address, several=False) == 0x1000


def test_a_range_of_pages_is_dropped_together(granted: Bench) -> None:
    for page in range(4):
        granted.path(page << 12, PAGE + (page << 12) | 3)
    device = DeviceTlb(NIC, granted.unit)
    granted.unit.connect_device_tlb(NIC, device)
    assert [device.find(Iova(page << 12), write=False) for page in range(4)] == [PAGE + (n << 12) for n in range(4)]
    for page in range(4):
        granted.set(LEAF_TABLE + page * 8, 0)
    granted.submit(2 | 1 << 4, device_descriptor(0x2000, several=1), wait(1))
    found = [device.find(Iova(page << 12), write=False) for page in range(4)]
    assert found == [PAGE, PAGE + 0x1000, None, None]
