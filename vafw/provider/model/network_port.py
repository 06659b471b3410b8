"""A network port of the guest kernel: two rings in guest memory, and how the other side is told about them.

The other side is the network card, told by its registers, or the VMM at the end of a link, told by a hypercall. A port
never makes the call itself, because only the kernel can leave the guest: it holds the calls to be made.
"""

from __future__ import annotations

from typing import Final, final

from vafw.hw.pci.network_card import Cause, Control, Mask, NetworkRegister
from vafw.hw.vmx.guest import GuestCpu
from vafw.hw.vmx.operation import Vmcall
from vafw.provider.model.ring_driver import BUFFER_BYTES, BUFFERS_BYTES, RING_BYTES, ReceiveRing, TransmitRing
from vafw.vmm.boot import FunctionInformation
from vafw.vmm.hypercall import Hypercall
from vafw.vmm.port import RX_REGISTERS, TX_REGISTERS

PORTS_GPA: Final = 20 << 20
PORT_BYTES: Final = 4 << 20
MAXIMUM_QUEUE: Final = 4096
"""Frames that wait for room at one port."""
_ENABLED: Final = Control.pack(RXEN=1, TXEN=1)
_ACKNOWLEDGED: Final = Cause.pack(RX=1, TX=1, DMA_ERROR=1)
_WHEN_RECEIVED: Final = Mask.pack(RX=1, DMA_ERROR=1)
_WHEN_SENT_TOO: Final = Mask.pack(RX=1, TX=1, DMA_ERROR=1)


@final
class NetworkPort:
    """A network port: rings in a region of guest memory, and how to tell the other side about them."""

    def __init__(self, cpu: GuestCpu, name: str, number: int, device: FunctionInformation | None, link: int) -> None:
        """`device` for a network card's registers; None for a link, whose number is `link`."""
        region = PORTS_GPA + number * PORT_BYTES
        rings = region + 0x1000
        buffers = region + 0x4000
        rx = device.window + NetworkRegister.RX_RING if device else region + RX_REGISTERS
        tx = device.window + NetworkRegister.TX_RING if device else region + TX_REGISTERS
        self.name = name
        self.device = device
        self.rx = ReceiveRing(cpu, rx, rings, buffers)
        self.tx = TransmitRing(cpu, tx, rings + RING_BYTES, buffers + BUFFERS_BYTES)
        self.opposite: NetworkPort = self
        self.held_back = False
        """Frames may wait in its ring until there is room at the port opposite."""
        self.setup = Vmcall(Hypercall.LINK_SETUP, link, region)
        self.doorbell = Vmcall(Hypercall.LINK_DOORBELL, link)
        self.received = self.sent = self.dropped = 0
        self._cpu = cpu
        self._mask = 0

    def enable(self) -> None:
        """Have a card receive and send."""
        if self.device is not None:
            self._cpu.write_u32(self.device.window + NetworkRegister.CTRL, _ENABLED)
            self.choose_causes()

    def acknowledge(self) -> None:
        """The interrupt has been heard; whatever comes from now on raises another."""
        if self.device is not None:
            self._cpu.write_u32(self.device.window + NetworkRegister.ICR, _ACKNOWLEDGED)

    def choose_causes(self) -> None:
        """Have a card interrupt for a frame sent only while others wait for its place."""
        mask = _WHEN_SENT_TOO if self.tx.queue else _WHEN_RECEIVED
        if self.device is not None and mask != self._mask:
            self._mask = mask
            self._cpu.write_u32(self.device.window + NetworkRegister.IMS, mask)

    def queue(self, frame: bytes) -> None:
        """Send after what waits already; too much or too long is dropped and counted."""
        if len(self.tx.queue) < MAXIMUM_QUEUE and 0 < len(frame) <= BUFFER_BYTES:
            self.tx.queue.append(frame)
        else:
            self.dropped += 1
