"""Requests that a switch turns round, or refuses, before the remapping unit sees them."""

from __future__ import annotations

import pytest

from vafw.address import Bdf, Hpa, Iova
from vafw.fabric import ISOLATING, Acs, PortKind
from vafw.hw.pc import FunctionDescription, Pc
from vafw.hw.pci.acs import ACS_CAPABILITY, ACS_CONTROL
from vafw.hw.vtd import Completion, DmaFault
from vafw.vmm.access_control import enable_access_control

ROOT, UP, DOWN, DOWN_BESIDE = Bdf(0, 0x1C, 0), Bdf(1, 0, 0), Bdf(2, 0, 0), Bdf(2, 1, 0)
EVIL, CARD = Bdf(3, 0, 0), Bdf(4, 0, 0)
MAC_LOW = 0x10


def pc_with_a_switch(capable: Acs = ISOLATING) -> Pc:
    port = FunctionDescription(ROOT, "bridge", 0x8086, 1, port=PortKind.ROOT_PORT, acs=capable)
    up = FunctionDescription(UP, "bridge", 0x8086, 2, upstream=ROOT, port=PortKind.UPSTREAM)
    down = FunctionDescription(DOWN, "bridge", 0x8086, 3, upstream=UP, port=PortKind.DOWNSTREAM, acs=capable)
    beside = FunctionDescription(DOWN_BESIDE, "bridge", 0x8086, 3, upstream=UP, port=PortKind.DOWNSTREAM, acs=capable)
    evil = FunctionDescription(EVIL, "storage", 0x1AF4, 1, upstream=DOWN)
    card = FunctionDescription(CARD, "network", 0x8086, 0x10D3, bytes.fromhex("525400aa0001"), upstream=DOWN_BESIDE)
    return Pc(64 << 20, [port, up, down, beside, evil, card])


def turn_on(pc: Pc) -> None:
    """What a VMM does at boot: every service that a port has."""
    for port in (ROOT, DOWN, DOWN_BESIDE):
        at = pc.function(port).config.capability(ACS_CAPABILITY)
        if at is not None:
            pc.root_complex.config_write(port, at + ACS_CONTROL, 2, ISOLATING)


def test_without_access_control_a_device_reads_its_neighbours_registers_past_the_unit() -> None:
    pc = pc_with_a_switch()
    bar = pc.root_complex.bar(CARD)
    assert pc.root_complex.dma_read(EVIL, Iova(bar + MAC_LOW), 4) == bytes.fromhex("525400aa")
    assert pc.root_complex.dma_write(EVIL, Iova(bar), bytes((1, 0, 0, 0))) is None
    assert pc.memory.read_u32(bar) == 1


def test_with_access_control_the_same_request_ends_at_the_root_complex() -> None:
    pc = pc_with_a_switch()
    turn_on(pc)
    iova = Iova(pc.root_complex.bar(CARD))
    fault = DmaFault(EVIL, iova, False, Completion.UNSUPPORTED_REQUEST)
    assert pc.root_complex.dma_read(EVIL, iova, 4) == fault


def test_services_that_a_port_lacks_cannot_be_turned_on() -> None:
    pc = pc_with_a_switch(Acs.NONE)
    turn_on(pc)
    assert pc.root_complex.dma_read(EVIL, Iova(pc.root_complex.bar(CARD) + MAC_LOW), 4) == bytes.fromhex("525400aa")
    assert len(set(pc.groups().values())) == 1


def test_access_control_makes_the_groups() -> None:
    pc = pc_with_a_switch()
    assert pc.groups()[EVIL] == pc.groups()[CARD]
    turn_on(pc)
    assert pc.groups()[EVIL] != pc.groups()[CARD]


def test_a_requester_id_of_another_bus_is_refused_by_the_port() -> None:
    pc = pc_with_a_switch()
    turn_on(pc)
    fault = DmaFault(CARD, Iova(0x1000), True, Completion.ACS_VIOLATION)
    assert pc.root_complex.dma_write(CARD, Iova(0x1000), b"forged", sender=EVIL) == fault
    assert pc.memory.read(Hpa(0x1000), 6) == bytes(6)


def test_without_source_validation_the_forged_request_arrives() -> None:
    pc = pc_with_a_switch()
    assert pc.root_complex.dma_write(CARD, Iova(0x1000), b"forged", sender=EVIL) is None
    assert pc.memory.read(Hpa(0x1000), 6) == b"forged"


def test_a_request_that_claims_to_be_translated_is_refused_by_the_port() -> None:
    pc = pc_with_a_switch(ISOLATING | Acs.TRANSLATION_BLOCKING)
    enable_access_control(pc.root_complex)
    fault = DmaFault(EVIL, Iova(0x1000), False, Completion.ACS_VIOLATION)
    assert pc.root_complex.dma_read(EVIL, Iova(0x1000), 4, translated=True) == fault
    assert pc.root_complex.dma_read(EVIL, Iova(0x1000), 4) == bytes(4)


@pytest.mark.parametrize("length", [1, 4, 8])
def test_memory_is_reached_through_the_switch_as_without_it(length: int) -> None:
    pc = pc_with_a_switch()
    turn_on(pc)
    assert pc.root_complex.dma_write(EVIL, Iova(0x2000), b"x" * length) is None
    assert pc.root_complex.dma_read(EVIL, Iova(0x2000), length) == b"x" * length


def test_ports_have_the_bus_numbers_of_what_is_below_them() -> None:
    pc = pc_with_a_switch()
    assert pc.root_complex.config_read(ROOT, 0x18, 4) == 0x0004_0100
    assert pc.root_complex.config_read(DOWN_BESIDE, 0x18, 4) == 0x0004_0402
    assert pc.root_complex.config_read(ROOT, 0x0E, 1) == 1
