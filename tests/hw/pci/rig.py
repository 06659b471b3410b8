"""A root complex with a remapping unit that is off, one function, and a driver's view of a network card."""

from __future__ import annotations

from vafw.address import Bdf, Hpa, Iova
from vafw.hw.memory import PhysicalMemory
from vafw.hw.pci import NetworkCard, RootComplex
from vafw.hw.pci.network_card import NetworkRegister
from vafw.hw.pci.ring import Descriptor, RingRegister
from vafw.hw.vtd import DmaFault, RemappingUnit

NIC = Bdf(2, 0, 0)
RX, TX, BUFFERS = 0x1_0000, 0x2_0000, 0x10_0000
ENTRIES = 8
CAUSE_RX, CAUSE_TX, CAUSE_ERROR = 1, 2, 4


class Rig:
    """The card with its rings posted, bus mastering on, MSI to vector 0x41."""

    def __init__(self) -> None:
        self.memory = PhysicalMemory(16 << 20)
        self.unit = RemappingUnit(self.memory)
        self.root_complex = RootComplex(self.memory, self.unit)
        self.card = NetworkCard(NIC, self.root_complex, bytes.fromhex("525400aa0001"))
        self.bar = self.root_complex.attach(self.card)
        self.power_up()

    def power_up(self) -> None:
        """What a driver does after reset."""
        self.root_complex.enable_decoding(NIC)
        self.root_complex.set_bus_master(NIC, True)
        for offset, size, value in ((0x54, 4, 0xFEE0_0000), (0x5C, 2, 0x41), (0x52, 2, 1)):
            self.root_complex.config_write(NIC, offset, size, value)
        for base, ring in ((RX, NetworkRegister.RX_RING), (TX, NetworkRegister.TX_RING)):
            self.write(ring + RingRegister.BASE_LO, base)
            self.write(ring + RingRegister.BASE_HI, 0)
            self.write(ring + RingRegister.ENTRIES, ENTRIES)
        self.write(NetworkRegister.IMS, CAUSE_RX | CAUSE_TX)
        self.write(NetworkRegister.CTRL, 3)

    def read(self, register: int) -> int:
        return self.memory.read_u32(Hpa(self.bar + register))

    def write(self, register: int, value: int) -> None:
        self.memory.write_u32(Hpa(self.bar + register), value)

    def describe(self, ring: int, slot: int, descriptor: Descriptor) -> None:
        self.memory.write(Hpa(ring + slot * 16), descriptor.pack())

    def descriptor(self, ring: int, slot: int) -> Descriptor:
        return Descriptor.unpack(self.memory.read(Hpa(ring + slot * 16), 16))

    def post_buffers(self, count: int, *, length: int = 2048) -> None:
        for slot in range(count):
            self.describe(RX, slot, Descriptor(BUFFERS + slot * 0x1000, length))
        self.write(NetworkRegister.RX_RING + RingRegister.TAIL, count)

    def send(self, *frames: bytes) -> None:
        tail = self.read(NetworkRegister.TX_RING + RingRegister.TAIL)
        for frame in frames:
            buffer = BUFFERS + 0x10_0000 + tail * 0x1000
            self.memory.write(Hpa(buffer), frame)
            self.describe(TX, tail, Descriptor(buffer, len(frame)))
            tail = (tail + 1) % ENTRIES
        self.write(NetworkRegister.TX_RING + RingRegister.TAIL, tail)

    def dma_write(self, address: int, data: bytes) -> DmaFault | None:
        return self.root_complex.dma_write(NIC, Iova(address), data)

    def dma_read(self, address: int, length: int) -> bytes | DmaFault:
        return self.root_complex.dma_read(NIC, Iova(address), length)

    def interrupts(self) -> int:
        return len(self.root_complex.take_interrupts())
