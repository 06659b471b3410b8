"""The parts of the PC together: a driver assigns the card, the card moves frames, a hand-over leaves nothing behind."""

from __future__ import annotations

import pytest

from vafw.address import PAGE_SIZE, Bdf, Hpa, Iova
from vafw.hw.pc import REMAPPING_UNIT, FunctionDescription, Pc
from vafw.hw.pci.display import DisplayRegister
from vafw.hw.pci.network_card import NetworkRegister
from vafw.hw.pci.plain_function import PlainFunction
from vafw.hw.pci.ring import Descriptor, RingRegister
from vafw.hw.vtd import DmaFault, FaultReason, Interrupt
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.remapping import RemappingDriver

NIC, DISPLAY, SOUND = Bdf(2, 0, 0), Bdf(0, 2, 0), Bdf(0, 0x1F, 3)
FUNCTIONS = (
    FunctionDescription(DISPLAY, "display", 0x8086, 0x3E9B),
    FunctionDescription(NIC, "network", 0x8086, 0x10D3, mac=bytes.fromhex("525400aa0001")),
    FunctionDescription(SOUND, "audio", 0x8086, 0xA348),
)
FIREWALL, DESKTOP = Hpa(0x1000_0000), Hpa(0x2000_0000)
"""Host memory of two VMs, 16 MiB each, which their devices see from 0."""
RX, BUFFER = 0x1000, 0x5000


class Assigned:
    """The PC with the card given to the firewall and the display to the desktop."""

    def __init__(self) -> None:
        self.pc = Pc(8 << 30, FUNCTIONS, processors=2)
        frames = FrameAllocator(Hpa(0x10_0000), 64 << 20)
        self.driver = RemappingDriver(self.pc.memory, frames, REMAPPING_UNIT)
        self.driver.enable()
        self.domains = [self._domain(NIC, FIREWALL), self._domain(DISPLAY, DESKTOP)]

    def _domain(self, bdf: Bdf, memory: Hpa) -> int:
        domain = self.driver.create_domain()
        self.driver.map(domain, Iova(0), memory, 16 << 20)
        self.driver.attach(bdf, domain)
        self.pc.root_complex.set_bus_master(bdf, True)
        return domain

    def program(self, bdf: Bdf, offset: int, value: int) -> None:
        self.pc.memory.write_u32(Hpa(self.pc.root_complex.bar(bdf) + offset), value)

    def post_one_buffer(self) -> None:
        self.pc.memory.write(Hpa(FIREWALL + RX), Descriptor(BUFFER, 2048).pack())
        self.program(NIC, NetworkRegister.RX_RING + RingRegister.BASE_LO, RX)
        self.program(NIC, NetworkRegister.RX_RING + RingRegister.ENTRIES, 8)
        self.program(NIC, NetworkRegister.IMS, 7)
        self.program(NIC, NetworkRegister.CTRL, 3)
        self.program(NIC, NetworkRegister.RX_RING + RingRegister.TAIL, 1)

    def aim_interrupt(self) -> None:
        address, data = self.driver.map_interrupt(NIC, 0x41, 1)
        for offset, size, value in ((0x54, 4, address), (0x5C, 2, data), (0x52, 2, 1)):
            self.pc.root_complex.config_write(NIC, offset, size, value)


@pytest.fixture
def assigned() -> Assigned:
    return Assigned()


def test_a_frame_goes_into_the_owners_memory_and_interrupts_its_processor(assigned: Assigned) -> None:
    assigned.aim_interrupt()
    assigned.post_one_buffer()
    assert assigned.pc.network_cards[0].receive(b"from the wire")
    assert assigned.pc.memory.read(Hpa(FIREWALL + BUFFER), 13) == b"from the wire"
    assert assigned.pc.root_complex.take_interrupts() == (Interrupt(0x41, 1),)


def test_a_card_without_a_mapping_for_the_buffer_delivers_nothing(assigned: Assigned) -> None:
    assigned.post_one_buffer()
    assigned.driver.unmap(assigned.domains[0], Iova(0), 16 << 20)
    assert not assigned.pc.network_cards[0].receive(b"frame")
    assert assigned.pc.memory.read(Hpa(FIREWALL + BUFFER), 5) == bytes(5)
    (record,) = assigned.driver.faults()
    assert (record.source, record.reason, record.address) == (NIC, FaultReason.READ_NOT_ALLOWED, RX)


def test_dma_over_a_page_edge_writes_the_first_page_and_faults_with_the_second(assigned: Assigned) -> None:
    fault = assigned.pc.function(NIC).dma_write((16 << 20) - 2, b"four")
    assert fault == DmaFault(NIC, Iova(16 << 20), True, FaultReason.WRITE_NOT_ALLOWED)
    assert assigned.pc.memory.read(Hpa(FIREWALL + (16 << 20) - 2), 2) == b"fo"


def test_a_forged_interrupt_message_is_blocked_and_is_no_memory_write(assigned: Assigned) -> None:
    assert assigned.pc.function(NIC).dma_write(0xFEE0_0000, bytes((0x41, 0, 0, 0))) is None
    assert assigned.pc.root_complex.take_interrupts() == ()
    assert [each.reason for each in assigned.driver.faults()] == [FaultReason.COMPATIBILITY_BLOCKED]


def test_the_display_shows_its_owners_memory_and_nobody_elses(assigned: Assigned) -> None:
    display = assigned.pc.displays[0]
    assigned.pc.memory.write(Hpa(DESKTOP + 0x1000), bytes((3, 2, 1, 0)) * 1024)
    assigned.pc.memory.write(Hpa(FIREWALL + 0x1000), b"\xff" * PAGE_SIZE)
    for register, value in zip(DisplayRegister, (1, 0x1000, 0, 32, 32, 128), strict=True):
        assigned.program(DISPLAY, register, value)
    picture = display.scan_out()
    assert not isinstance(picture, DmaFault)
    assert picture.rgb == bytes((1, 2, 3)) * 1024
    assigned.driver.detach(DISPLAY)
    assert display.scan_out() == DmaFault(DISPLAY, Iova(0x1000), False, FaultReason.CONTEXT_NOT_PRESENT)


def test_a_card_that_changes_hands_keeps_nothing_of_its_last_owner(assigned: Assigned) -> None:
    assigned.aim_interrupt()
    assigned.post_one_buffer()
    card = assigned.pc.network_cards[0]
    assigned.driver.detach(NIC)
    card.reset()
    assert not card.receive(b"late frame")
    assigned.driver.attach(NIC, assigned.domains[1])
    assigned.pc.root_complex.enable_decoding(NIC)
    assigned.pc.root_complex.set_bus_master(NIC, True)
    assert not card.receive(b"still no ring")
    assert card.dma_read(0, 4) == assigned.pc.memory.read(DESKTOP, 4)
    assert assigned.pc.memory.read(Hpa(FIREWALL + BUFFER), 4) == bytes(4)
    assert assigned.pc.root_complex.take_interrupts() == ()


def test_a_function_without_an_inside_still_issues_requests(assigned: Assigned) -> None:
    sound = assigned.pc.function(SOUND)
    assert isinstance(sound, PlainFunction)
    assigned.pc.root_complex.set_bus_master(SOUND, True)
    assert sound.dma_read(0, 4) == DmaFault(SOUND, Iova(0), False, FaultReason.CONTEXT_NOT_PRESENT)
    assert assigned.pc.memory.read_u32(assigned.pc.root_complex.bar(SOUND)) == 0


def test_a_pc_without_remapping_lets_every_device_reach_all_memory() -> None:
    pc = Pc(1 << 30, FUNCTIONS, remapping=False)
    pc.root_complex.set_bus_master(SOUND, True)
    assert pc.function(SOUND).dma_write(FIREWALL, b"anything") is None
    assert pc.memory.read(FIREWALL, 8) == b"anything"


def test_groups_follow_the_topology() -> None:
    second = FunctionDescription(Bdf(2, 0, 1), "network", 0x8086, 0x10D3, mac=bytes(6))
    pc = Pc(1 << 30, (*FUNCTIONS, second))
    assert pc.groups() == {DISPLAY: 0, SOUND: 1, NIC: 2, second.bdf: 2}
    assert pc.root_complex.config_read(NIC, 0x0E, 1) == 0x80


def test_an_unknown_kind_is_refused() -> None:
    message = r"^a function's kind must be one of network, display, storage, usb, audio, bridge, other, not 'gpu'$"
    with pytest.raises(ValueError, match=message):
        Pc(1 << 30, [FunctionDescription(NIC, "gpu", 0, 0)])


def test_a_network_card_without_an_address_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^network function 02:00\.0 must have a MAC address$"):
        Pc(1 << 30, [FunctionDescription(NIC, "network", 0, 0)])
