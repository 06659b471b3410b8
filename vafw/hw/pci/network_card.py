"""An Ethernet controller: two descriptor rings, an interrupt cause register and one MSI.

A design of this project, not a copy of a product's: receive and transmit rings as in `vafw.hw.pci.ring`, the rest as
controllers of this family do it. Every descriptor and every frame moves by DMA as this requester.

The hard part is the interrupt: a message is sent when an unmasked cause appears while none was pending, and again after
an acknowledgement that leaves one. So a burst of frames costs one message, and no cause can be forgotten.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from enum import IntEnum
from typing import final

from vafw.address import Bdf
from vafw.hw.pci.config import ExtendedCapability, Identity
from vafw.hw.pci.embedded_switch import EmbeddedSwitch
from vafw.hw.pci.function import PciFunction, Upstream
from vafw.hw.pci.ring import DESCRIPTOR_SIZE, DONE, RING_REGISTERS_SIZE, Descriptor, Ring
from vafw.hw.pci.sriov import sriov_capability
from vafw.hw.pci.virtual_functions import VirtualFunctions
from vafw.hw.vtd import DmaFault
from vafw.register import Access, Field, Register

DEFAULT_IDENTITY = Identity(vendor_id=0x8086, device_id=0x10D3, class_code=0x02_00_00)
FIRST_VF_OFFSET, VF_STRIDE = 0x80, 2
"""Virtual functions stand on the devices 10h and up of the same bus, every other function number."""
MAXIMUM_FRAME = 9216
"""Bytes of the largest frame, without its FCS."""


class NetworkRegister(IntEnum):
    """Offsets in BAR0; the rings' own registers follow `RingRegister` from RX_RING and TX_RING."""

    CTRL = 0x00
    ICR = 0x08
    """Interrupt Cause, write 1 to clear."""
    IMS = 0x0C
    """Interrupt Mask Set: the causes that send a message."""
    MAC_LO = 0x10
    MAC_HI = 0x14
    MISSED = 0x18
    """Frames that arrived and found no descriptor; read-only."""
    RX_RING = 0x100
    TX_RING = 0x200


class Control(Register, width=32):
    """CTRL: receiver and transmitter enable."""

    RXEN = Field(0, 0)
    TXEN = Field(1, 1)


class Cause(Register, width=32):
    """ICR."""

    RX = Field(0, 0, Access.RW1C)
    TX = Field(1, 1, Access.RW1C)
    DMA_ERROR = Field(2, 2, Access.RW1C)


class Mask(Register, width=32):
    """IMS."""

    RX = Field(0, 0)
    TX = Field(1, 1)
    DMA_ERROR = Field(2, 2)


@final
class NetworkCard(PciFunction):
    """The PC's network card; the wire is `receive` and `take_transmitted`."""

    def __init__(
        self,
        bdf: Bdf,
        upstream: Upstream,
        mac: bytes,
        identity: Identity = DEFAULT_IDENTITY,
        *,
        virtual_macs: Sequence[bytes] = (),
        physical: NetworkCard | None = None,
    ) -> None:
        """`mac` is the burnt-in address, 6 bytes; `virtual_macs` those of the virtual functions the card can show.

        `physical` is the card that this one is a virtual function of.
        """
        if any(len(each) != 6 for each in (mac, *virtual_macs)):
            raise ValueError(f"a MAC address must be 6 bytes, not {len(mac)}")
        super().__init__(bdf, upstream, identity, _sriov(virtual_macs, identity))
        self.mac = mac
        self.virtual: VirtualFunctions[NetworkCard] | None = None
        self._wire: list[bytes] = physical._wire if physical else []
        self._switch: EmbeddedSwitch | None = physical._switch if physical else None
        self._is_physical = physical is None
        if virtual_macs:
            self._switch = EmbeddedSwitch(self)
            virtual = replace(identity, virtual=True)
            self.virtual = VirtualFunctions(
                bdf,
                self.config,
                upstream,
                lambda number, at: NetworkCard(at, upstream, virtual_macs[number], virtual, physical=self),
            )
        self.reset_registers()

    def config_write(self, offset: int, size: int, value: int) -> None:
        """Software writes configuration space; in the SR-IOV capability that may show or hide virtual functions."""
        frozen = self.virtual.frozen_number() if self.virtual else None
        super().config_write(offset, size, value)
        self._follow_virtual(frozen)

    def reset(self) -> None:
        """Function-level reset; of a physical function, its virtual ones are gone."""
        super().reset()
        self._follow_virtual()

    def receive(self, frame: bytes) -> bool:
        """A frame arrives from the wire. False: it is lost for want of a descriptor, of room or of access to memory."""
        return self.deliver(frame) if self._switch is None else self._switch.from_wire(frame)

    def deliver(self, frame: bytes) -> bool:
        """A frame for this function. False: it is lost for want of a descriptor, of room or of access to memory."""
        ring = self._rx
        if not self._control.RXEN or ring.is_empty or not self._deliver(ring, frame):
            self.missed += 1
            return False
        ring.consume()
        self._raise(RX=1)
        return True

    def take_transmitted(self) -> tuple[bytes, ...]:
        """The frames that the card, virtual functions included, sent to the wire since the last call."""
        taken = tuple(self._wire)
        self._wire.clear()
        return taken

    def _follow_virtual(self, frozen: int | None = None) -> None:
        if self.virtual is not None and self._switch is not None:
            self.virtual.follow(frozen)
            self._switch.join(self.virtual.present)

    def reset_registers(self) -> None:
        """As after power-on: rings gone, causes masked, frames in flight dropped."""
        self.missed = 0
        self._control = Control()
        self._cause = Cause()
        self._mask = Mask()
        self._rx = Ring()
        self._tx = Ring()
        if self._is_physical:
            self._wire.clear()

    def mmio_read(self, offset: int, size: int) -> int:
        """A 32-bit register; zero where there is none."""
        ring, start = self._ring_at(offset)
        if ring is not None:
            return ring.read_register(offset - start)
        match offset:
            case NetworkRegister.CTRL:
                return self._control.sw_read()
            case NetworkRegister.ICR:
                return self._cause.sw_read()
            case NetworkRegister.IMS:
                return self._mask.sw_read()
            case NetworkRegister.MAC_LO:
                return int.from_bytes(self.mac[:4], "little")
            case NetworkRegister.MAC_HI:
                return int.from_bytes(self.mac[4:], "little")
            case NetworkRegister.MISSED:
                return self.missed & 0xFFFF_FFFF
            case _:
                return 0

    def mmio_write(self, offset: int, size: int, value: int) -> None:
        """A 32-bit register; TAIL of the transmit ring sends what is posted."""
        ring, start = self._ring_at(offset)
        if ring is not None:
            ring.write_register(offset - start, value)
            if ring is self._tx:
                self._transmit()
            return
        match offset:
            case NetworkRegister.CTRL:
                self._control.sw_write(value)
                self._transmit()
            case NetworkRegister.ICR:
                self._cause.sw_write(value)
                self._signal_if_pending()
            case NetworkRegister.IMS:
                self._mask.sw_write(value)
                self._signal_if_pending()
            case _:
                pass

    def _ring_at(self, offset: int) -> tuple[Ring | None, int]:
        """The ring whose registers stand at an offset, and where they begin."""
        for ring, start in ((self._rx, NetworkRegister.RX_RING), (self._tx, NetworkRegister.TX_RING)):
            if start <= offset < start + RING_REGISTERS_SIZE:
                return ring, start
        return None, 0

    def _deliver(self, ring: Ring, frame: bytes) -> bool:
        """Put a frame into the buffer at the ring's head and say so in the descriptor."""
        descriptor = self._fetch(ring)
        if descriptor is None or len(frame) > min(descriptor.length, MAXIMUM_FRAME):
            return False
        return self._store(descriptor.address, frame) and self._complete(ring, descriptor, len(frame))

    def _transmit(self) -> None:
        ring = self._tx
        sent = False
        while self._control.TXEN and not ring.is_empty:
            descriptor = self._fetch(ring)
            frame = self._load(descriptor.address, descriptor.length) if descriptor else None
            if descriptor is None or frame is None or not self._complete(ring, descriptor, descriptor.length):
                break
            ring.consume()
            if self._switch is None or self._switch.from_function(self, frame):
                self._wire.append(frame)
            sent = True
        if sent:
            self._raise(TX=1)

    def _fetch(self, ring: Ring) -> Descriptor | None:
        raw = self._load(ring.head_address, DESCRIPTOR_SIZE)
        return None if raw is None else Descriptor.unpack(raw)

    def _complete(self, ring: Ring, descriptor: Descriptor, length: int) -> bool:
        return self._store(ring.head_address, Descriptor(descriptor.address, length, DONE).pack())

    def _load(self, address: int, length: int) -> bytes | None:
        data = self.dma_read(address, length)
        if isinstance(data, DmaFault):
            self._raise(DMA_ERROR=1)
            return None
        return data

    def _store(self, address: int, data: bytes) -> bool:
        if self.dma_write(address, data) is None:
            return True
        self._raise(DMA_ERROR=1)
        return False

    def _raise(self, **causes: int) -> None:
        """Note causes; send a message if none was pending and now one is."""
        pending = self._cause.value & self._mask.value
        self._cause.hw_set(**causes)
        if not pending:
            self._signal_if_pending()

    def _signal_if_pending(self) -> None:
        if self._cause.value & self._mask.value:
            self.signal()


def _sriov(virtual_macs: Sequence[bytes], identity: Identity) -> Sequence[ExtendedCapability]:
    if not virtual_macs:
        return ()
    return (
        sriov_capability(
            len(virtual_macs), first_offset=FIRST_VF_OFFSET, stride=VF_STRIDE, device_id=identity.device_id
        ),
    )
