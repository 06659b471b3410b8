from __future__ import annotations

import pytest

from tests.hw.vtd.bench import (
    CCMD,
    FSTS,
    GCMD,
    GSTS,
    IOTLB,
    NIC,
    PAGE,
    QIE,
    ROOT,
    RTADDR,
    SRTP,
    TE,
    UNIT,
    Bench,
)
from vafw.address import Hpa, Iova
from vafw.hw.memory import BusError, PhysicalMemory
from vafw.hw.vtd import Completion, DmaFault, RemappingUnit, UnitCapability
from vafw.hw.vtd.registers import OFFSETS, FaultRecording, InvalidateAddress

PMEN, PLMBASE, PLMLIMIT, PHMBASE, PHMLIMIT = 0x64, 0x68, 0x6C, 0x70, 0x78


def test_dma_passes_untranslated_until_translation_is_enabled(bench: Bench) -> None:
    assert bench.ask(0x1234) == 0x1234
    bench.start()
    assert bench.ask(0x1234) == -1


def test_the_capabilities_name_the_registers_places() -> None:
    unit = RemappingUnit(PhysicalMemory(1 << 20), UnitCapability(guest_address_bits=48, fault_records=1))
    assert repr(unit.capability.cap) == (
        "Capability(0xd200c222f0666: ND=0x6 PLMR PHMR SAGAW=0x6 MGAW=0x2f FRO=0x22 SLLPS=0x3 PSI MAMV=0x12 DWD DRD)"
    ).replace("0xd200c222f0666", f"{unit.capability.cap.value:#x}")
    assert (unit.mmio_read(0x08, 8) >> 24 & 0x3FF) * 16 == OFFSETS[FaultRecording] == 0x220
    assert (unit.mmio_read(0x10, 8) >> 8 & 0x3FF) * 16 == OFFSETS[InvalidateAddress] == 0xF0
    assert unit.mmio_read(0x00, 4) == 0x10


def test_the_root_table_address_takes_effect_with_srtp_only(bench: Bench) -> None:
    bench.attach()
    bench.path(0, PAGE | 3)
    bench.write(RTADDR, ROOT, 8)
    bench.command(TE)
    assert bench.ask(0) == -1
    bench.command(SRTP)
    assert bench.ask(0) == PAGE


def test_one_shot_bits_act_once_and_leave_their_status(bench: Bench) -> None:
    bench.command(SRTP)
    bench.command(TE)
    assert bench.register(GSTS) == TE | SRTP
    assert bench.register(GCMD) == 0
    bench.command(off=TE)
    assert bench.register(GSTS) == SRTP


def test_the_root_pointer_does_not_empty_the_caches(bench: Bench) -> None:
    bench.attach()
    bench.path(0, PAGE | 3)
    bench.start()
    assert bench.ask(0) == PAGE
    bench.write(RTADDR, 0x9000, 8)
    bench.command(SRTP)
    assert bench.ask(0) == PAGE
    bench.forget()
    assert bench.ask(0) == -1


def test_register_invalidation_is_refused_while_the_queue_is_enabled(bench: Bench) -> None:
    bench.attach()
    bench.path(0, PAGE | 3)
    bench.start()
    assert bench.ask(0) == PAGE
    bench.set(ROOT + NIC.bus * 16, 0)
    bench.command(QIE)
    bench.forget()
    assert (bench.register(CCMD, 8) >> 63, bench.register(IOTLB, 8) >> 63) == (1, 1)
    assert bench.ask(0) == PAGE


def test_a_register_can_be_written_half_by_half(bench: Bench) -> None:
    bench.write(RTADDR, ROOT)
    bench.write(RTADDR + 4, 0x12)
    assert bench.register(RTADDR, 8) == 0x12 << 32 | ROOT
    bench.write(FSTS, 0xFFFF_FFFF, 4)
    assert bench.register(FSTS) == 0


def test_gaps_read_as_zero_and_ignore_writes(bench: Bench) -> None:
    bench.write(0x30, 0xFFFF_FFFF)
    assert bench.register(0x30) == 0


@pytest.mark.parametrize(
    ("address", "blocked"),
    [(0x1F_FFFF, False), (0x20_0000, True), (0x5F_FFFF, True), (0x60_0000, False), (0xA0_0000, True)],
)
def test_protected_regions_block_untranslated_dma(bench: Bench, address: int, blocked: bool) -> None:
    bench.write(PLMBASE, 0x20_0000)
    bench.write(PLMLIMIT, 0x40_0000)
    bench.write(PHMBASE, 0xA0_0000, 8)
    bench.write(PHMLIMIT, 0xA0_0000, 8)
    assert bench.ask(address) == address
    bench.write(PMEN, 1 << 31)
    assert bench.register(PMEN) == 1 << 31 | 1
    answer = bench.unit.translate(NIC, Iova(address), write=True)
    assert isinstance(answer, DmaFault) is blocked


def test_pass_through_does_not_reach_a_protected_region() -> None:
    bench = Bench()
    bench.context(1 | 0b10 << 2, 5 << 8 | 2)
    bench.start()
    bench.write(PLMBASE, 0x60_0000)
    bench.write(PLMLIMIT, 0x60_0000)
    assert bench.ask(0x66_6000) == 0x66_6000
    bench.write(PMEN, 1 << 31)
    assert bench.ask(0x66_6000) == -1
    assert bench.ask(0x86_6000) == 0x86_6000


def test_a_blocked_request_says_who_wanted_what() -> None:
    fault = DmaFault(NIC, Iova(0x5000), True, Completion.UNSUPPORTED_REQUEST)
    assert str(fault) == "DMA write by 02:00.0 at 0x5000 blocked: unsupported request (0x1)"


def test_repr_is_the_debugger(bench: Bench) -> None:
    bench.start()
    bench.ask(0)
    assert repr(bench.unit) == (
        "RemappingUnit(GlobalStatus(0xc0000000: RTPS TES) RootTableAddress(0x1000: RTA=0x1) FaultStatus(0x2: PPF))"
    )


def test_an_access_of_two_bytes_is_refused(bench: Bench) -> None:
    message = r"^the remapping unit must be accessed with 4 or 8 aligned bytes, not 2 at 0x18$"
    with pytest.raises(BusError, match=message):
        bench.memory.read(Hpa(UNIT + GCMD), 2)


@pytest.mark.parametrize("bits", [36, 64])
def test_an_address_width_that_no_unit_has_is_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=rf"^guest_address_bits must be 39, 48 or 57, not {bits}$"):
        UnitCapability(guest_address_bits=bits)
