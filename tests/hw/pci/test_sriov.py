"""A card with virtual functions: they appear where the capability says, and are functions of their own in every way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.hw.pci.rig import BUFFERS, RX, TX
from vafw.address import Bdf, Hpa, Iova
from vafw.fabric import iommu_groups
from vafw.hw.memory import PhysicalMemory
from vafw.hw.pci import NetworkCard, RootComplex
from vafw.hw.pci.network_card import NetworkRegister
from vafw.hw.pci.ring import Descriptor, RingRegister
from vafw.hw.pci.sriov import SRIOV_CAPABILITY, SriovControl, SriovRegister
from vafw.hw.vtd import Completion, DmaFault

PF, FIRST, SECOND = Bdf(3, 0, 0), Bdf(3, 0x10, 0), Bdf(3, 0x10, 2)
MACS = [bytes.fromhex(f"5254000000{number:02x}") for number in range(3)]
VF_BAR = 0xFE08_0000
ON = SriovControl.pack(VF_ENABLE=1, VF_MSE=1)


class Card:
    """A physical function with two possible virtual ones, and software's view of its capability."""

    def __init__(self) -> None:
        self.memory = PhysicalMemory(16 << 20)
        self.root_complex = RootComplex(self.memory, None)
        self.physical = NetworkCard(PF, self.root_complex, MACS[0], virtual_macs=MACS[1:])
        self.root_complex.attach(self.physical)
        self.at = self.physical.config.capability(SRIOV_CAPABILITY) or 0

    def write(self, register: SriovRegister, size: int, value: int) -> None:
        self.root_complex.config_write(PF, self.at + register, size, value)

    def enable(self, number: int) -> None:
        self.write(SriovRegister.NUM_VFS, 2, number)
        self.write(SriovRegister.VF_BAR0, 4, VF_BAR)
        self.write(SriovRegister.CONTROL, 2, ON)

    @property
    def present(self) -> list[Bdf]:
        return [each.bdf for each in self.root_complex.functions if each.bdf != PF]

    def start(self, bdf: Bdf, window: int, memory: int) -> None:
        """What a driver of one function does, with rings and buffers from `memory` on."""
        self.root_complex.set_bus_master(bdf, True)
        for ring, base in ((NetworkRegister.RX_RING, memory + RX), (NetworkRegister.TX_RING, memory + TX)):
            self.memory.write_u32(Hpa(window + ring + RingRegister.BASE_LO), base)
            self.memory.write_u32(Hpa(window + ring + RingRegister.ENTRIES), 8)
        for slot in range(4):
            descriptor = Descriptor(memory + BUFFERS + slot * 0x1000, 2048)
            self.memory.write(Hpa(memory + RX + slot * 16), descriptor.pack())
        self.memory.write_u32(Hpa(window + NetworkRegister.RX_RING + RingRegister.TAIL), 4)
        self.memory.write_u32(Hpa(window + NetworkRegister.CTRL), 3)

    def send(self, window: int, memory: int, frame: bytes) -> None:
        self.memory.write(Hpa(memory + 0x5_0000), frame)
        self.memory.write(Hpa(memory + TX), Descriptor(memory + 0x5_0000, len(frame)).pack())
        self.memory.write_u32(Hpa(window + NetworkRegister.TX_RING + RingRegister.TAIL), 1)

    def received(self, memory: int, length: int) -> bytes:
        return self.memory.read(Hpa(memory + BUFFERS), length)


@pytest.fixture
def card() -> Card:
    return Card()


def test_virtual_functions_appear_at_offset_and_stride(card: Card) -> None:
    assert card.present == []
    card.enable(2)
    assert card.present == [FIRST, SECOND]


def test_turning_them_off_makes_them_vanish(card: Card) -> None:
    card.enable(2)
    card.write(SriovRegister.CONTROL, 2, 0)
    assert card.present == []
    assert card.root_complex.config_read(FIRST, 0, 4) == 0xFFFF_FFFF


def test_a_reset_of_the_physical_function_makes_them_vanish(card: Card) -> None:
    card.enable(1)
    card.physical.reset()
    assert card.present == []


def test_their_number_is_frozen_while_they_are_there(card: Card) -> None:
    card.enable(1)
    card.write(SriovRegister.NUM_VFS, 2, 2)
    assert (card.present, card.root_complex.config_read(PF, card.at + SriovRegister.NUM_VFS, 2)) == ([FIRST], 1)


def test_more_than_there_can_be_are_none(card: Card) -> None:
    card.enable(3)
    assert card.present == []


@given(st.lists(st.tuples(st.integers(0, 60), st.sampled_from([1, 2, 4]), st.integers(0, 0xFFFF_FFFF)), max_size=12))
def test_whatever_is_written_there_are_never_more_than_the_total(writes: list[tuple[int, int, int]]) -> None:
    card = Card()
    for offset, size, value in writes:
        card.root_complex.config_write(PF, card.at + (offset & -size), size, value & (1 << 8 * size) - 1)
        assert len(card.present) <= 2
    assert card.root_complex.config_read(PF, card.at + SriovRegister.TOTAL_VFS, 2) == 2


def test_a_virtual_function_has_no_ids_and_no_bars(card: Card) -> None:
    card.enable(1)
    card.root_complex.config_write(FIRST, 0x10, 4, 0xFFFF_FFFF)
    assert card.root_complex.config_read(FIRST, 0x00, 4) == 0xFFFF_FFFF
    assert card.root_complex.config_read(FIRST, 0x10, 4) == 0


def test_its_registers_stand_in_the_physical_functions_window(card: Card) -> None:
    card.enable(2)
    assert card.memory.read_u32(Hpa(VF_BAR + 0x1000 + NetworkRegister.MAC_HI)) == 0x0200
    card.write(SriovRegister.CONTROL, 2, SriovControl.pack(VF_ENABLE=1))
    assert card.memory.read_u32(Hpa(VF_BAR + 0x1000 + NetworkRegister.MAC_HI)) == 0xFFFF_FFFF


def test_it_masters_the_bus_under_its_own_requester_id(card: Card) -> None:
    card.enable(1)
    virtual = card.root_complex.functions[-1]
    off = DmaFault(FIRST, Iova(0x1000), True, Completion.BUS_MASTER_OFF)
    assert virtual.dma_write(0x1000, b"x") == off
    card.root_complex.set_bus_master(FIRST, True)
    assert virtual.dma_write(0x1000, b"x") is None


def test_each_is_a_group_of_its_own(card: Card) -> None:
    card.enable(2)
    assert len(set(iommu_groups(card.root_complex.fabric).values())) == 3


def test_a_frame_for_a_virtual_function_goes_to_it_alone(card: Card) -> None:
    card.enable(2)
    card.start(SECOND, VF_BAR + 0x1000, 0x20_0000)
    frame = MACS[2] + MACS[0] + b"\x08\x00to the second"
    assert card.physical.receive(frame)
    assert card.received(0x20_0000, len(frame)) == frame


def test_two_virtual_functions_reach_each_other_without_the_wire(card: Card) -> None:
    card.enable(2)
    card.start(FIRST, VF_BAR, 0x20_0000)
    card.start(SECOND, VF_BAR + 0x1000, 0x40_0000)
    frame = MACS[2] + MACS[1] + b"\x08\x00past every appliance"
    card.send(VF_BAR, 0x20_0000, frame)
    assert card.received(0x40_0000, len(frame)) == frame
    assert card.physical.take_transmitted() == ()


def test_a_forged_source_address_does_not_leave_the_card(card: Card) -> None:
    card.enable(1)
    card.start(FIRST, VF_BAR, 0x20_0000)
    card.send(VF_BAR, 0x20_0000, MACS[0] + MACS[2] + b"\x08\x00forged")
    assert card.physical.take_transmitted() == ()


def test_other_frames_leave_by_the_wire(card: Card) -> None:
    card.enable(1)
    card.start(FIRST, VF_BAR, 0x20_0000)
    frame = b"\x02\0\0\0\0\x09" + MACS[1] + b"\x08\x00out"
    card.send(VF_BAR, 0x20_0000, frame)
    assert card.physical.take_transmitted() == (frame,)


def test_a_group_frame_reaches_everyone_and_the_wire(card: Card) -> None:
    card.enable(2)
    card.start(FIRST, VF_BAR, 0x20_0000)
    card.start(SECOND, VF_BAR + 0x1000, 0x40_0000)
    frame = b"\xff" * 6 + MACS[1] + b"\x08\x06who has"
    card.send(VF_BAR, 0x20_0000, frame)
    assert card.received(0x40_0000, len(frame)) == frame
    assert card.physical.take_transmitted() == (frame,)
