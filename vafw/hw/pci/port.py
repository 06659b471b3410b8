"""Ports: what stands between a function and the root complex.

    root port        of the root complex, one link below it
    upstream port    a switch, seen from above
    downstream port  a switch, one link below it
    PCIe-to-PCI      a bridge to a conventional bus, on which every device can hear every other

A port forwards; which way a request goes through it is worked out by `vafw.fabric`.
"""

from __future__ import annotations

from typing import final

from vafw.address import Bdf
from vafw.fabric import Acs, PortKind
from vafw.hw.pci.acs import acs_capability
from vafw.hw.pci.config import Identity
from vafw.hw.pci.function import PciFunction, Upstream

BUS_NUMBERS = 0x18
"""Primary, secondary and subordinate bus number, a byte each, of a type 1 header."""
BRIDGE_CLASS = 0x06_04_00


@final
class Port(PciFunction):
    """A bridge function; it has no registers of its own and issues no requests."""

    def __init__(self, bdf: Bdf, upstream: Upstream, kind: PortKind, buses: range, services: Acs) -> None:
        """`buses` are the bus numbers below it, its secondary bus first; `services` are those it is capable of."""
        self.kind = kind
        self.buses = buses
        identity = Identity(0x8086, 0xA110 + kind, BRIDGE_CLASS, header_type=1, express_type=kind)
        super().__init__(bdf, upstream, identity, [acs_capability(services)] if services else [])
        self.reset_registers()

    def reset_registers(self) -> None:
        """The bus numbers that firmware gave it."""
        for number, bus in enumerate((self.bdf.bus, self.buses.start, self.buses[-1])):
            self.config.place(BUS_NUMBERS + number, 1, bus)

    def mmio_read(self, offset: int, size: int) -> int:
        """Zero."""
        return 0

    def mmio_write(self, offset: int, size: int, value: int) -> None:
        """Ignored."""
