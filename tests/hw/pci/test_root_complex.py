from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.pci.rig import NIC, Rig
from vafw.address import Bdf, Hpa, Iova
from vafw.hw.memory import PhysicalMemory
from vafw.hw.pci import NetworkCard, RootComplex
from vafw.hw.vtd import Completion, DmaFault, Interrupt


@given(address=st.integers(0, 0x3000), data=st.binary(min_size=1, max_size=9000))
def test_a_write_is_read_back_across_any_page_edges(address: int, data: bytes) -> None:
    rig = Rig()
    assert rig.dma_write(address, data) is None
    assert rig.dma_read(address, len(data)) == data == rig.memory.read(Hpa(address), len(data))


def test_a_write_to_the_interrupt_range_is_an_interrupt_and_not_memory() -> None:
    memory = PhysicalMemory(8 << 30)
    root_complex = RootComplex(memory, None)
    assert root_complex.dma_write(NIC, Iova(0xFEE0_3000), bytes((0x55, 0, 0, 0))) is None
    assert root_complex.take_interrupts() == (Interrupt(0x55, 3),)
    assert memory.read(Hpa(0xFEE0_3000), 4) == bytes(4)


@pytest.mark.parametrize("data", [b"x", bytes(8), bytes(4096)])
def test_a_write_there_that_is_no_dword_is_blocked(rig: Rig, data: bytes) -> None:
    fault = rig.dma_write(0xFEE0_0000, data)
    assert fault == DmaFault(NIC, Iova(0xFEE0_0000), True, Completion.UNSUPPORTED_REQUEST)
    assert rig.root_complex.take_interrupts() == ()


def test_a_read_of_the_interrupt_range_is_blocked(rig: Rig) -> None:
    fault = DmaFault(NIC, Iova(0xFEE0_0000), False, Completion.UNSUPPORTED_REQUEST)
    assert rig.dma_read(0xFEE0_0000, 4) == fault


@pytest.mark.parametrize("address", [16 << 20, 0xFE00_0000, 1 << 60])
def test_what_is_not_memory_is_an_unsupported_request(rig: Rig, address: int) -> None:
    assert rig.dma_write(address, b"x") == DmaFault(NIC, Iova(address), True, Completion.UNSUPPORTED_REQUEST)
    assert rig.dma_read(address, 1) == DmaFault(NIC, Iova(address), False, Completion.UNSUPPORTED_REQUEST)


def test_a_write_over_the_end_of_memory_leaves_the_pages_before_it(rig: Rig) -> None:
    end = rig.memory.size
    fault = rig.dma_write(end - 2, b"four")
    assert fault == DmaFault(NIC, Iova(end), True, Completion.UNSUPPORTED_REQUEST)
    assert rig.memory.read(Hpa(end - 2), 2) == b"fo"


class Forbid:
    """Keeps one page from devices."""

    def blocks_dma(self, address: int, length: int) -> str | None:
        return "DPR" if address < 0x5000 and address + length > 0x4000 else None


def test_what_the_chipset_guards_is_blocked(rig: Rig) -> None:
    rig.root_complex.guard = Forbid()
    assert isinstance(rig.dma_write(0x4800, b"x"), DmaFault)
    assert isinstance(rig.dma_read(0x3FFF, 2), DmaFault)
    assert rig.dma_write(0x5000, b"x") is None


def test_registers_answer_only_while_memory_space_is_on(rig: Rig) -> None:
    assert rig.read(0x10) == 0xAA00_5452
    rig.root_complex.config_write(NIC, 0x04, 2, 0)
    assert rig.read(0x10) == 0xFFFF_FFFF
    rig.write(0x0C, 7)
    rig.root_complex.enable_decoding(NIC)
    assert rig.read(0x0C) == 3


def test_registers_follow_the_bar(rig: Rig) -> None:
    rig.root_complex.config_write(NIC, 0x10, 4, 0xFE00_7000)
    assert rig.read(0x10) == 0xFFFF_FFFF
    assert rig.memory.read_u32(Hpa(0xFE00_7010)) == 0xAA00_5452


def test_configuration_of_nothing_reads_as_ones(rig: Rig) -> None:
    rig.root_complex.config_write(Bdf(9, 0, 0), 0, 4, 0)
    assert rig.root_complex.config_read(Bdf(9, 0, 0), 0, 4) == 0xFFFF_FFFF


def test_a_second_function_at_one_address_is_refused(rig: Rig) -> None:
    with pytest.raises(ValueError, match=r"^function 02:00\.0 must be attached once$"):
        rig.root_complex.attach(NetworkCard(NIC, rig.root_complex, bytes(6)))
