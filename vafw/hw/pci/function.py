"""What every PCI function does: configuration space, DMA while it may master the bus, one MSI, function-level reset."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Protocol

from vafw.address import Bdf, Iova
from vafw.fabric.acs import Acs, in_force
from vafw.hw.pci.acs import ACS_CAPABILITY, ACS_CONTROL
from vafw.hw.pci.config import DEVICE_CONTROL, INITIATE_FLR, ConfigSpace, ExtendedCapability, Identity
from vafw.hw.vtd import Completion, DmaFault


class Upstream(Protocol):
    """What a function needs of the root complex above it."""

    def dma_read(self, source: Bdf, iova: Iova, length: int, *, sender: Bdf | None = None) -> bytes | DmaFault:
        """A memory read request under the requester id `source`; `sender` is who really sends it, if another."""
        ...

    def dma_write(self, source: Bdf, iova: Iova, data: bytes, *, sender: Bdf | None = None) -> DmaFault | None:
        """A memory write request."""
        ...

    def message(self, source: Bdf, address: int, data: int) -> None:
        """A message-signalled interrupt."""
        ...

    def show_virtual(self, physical: Bdf, functions: Sequence[PciFunction]) -> None:
        """From now on these are the virtual functions of a physical one, and no others."""
        ...


class PciFunction(ABC):
    """A function of the modelled PC; its registers stand in the 4 KiB of BAR0."""

    def __init__(
        self, bdf: Bdf, upstream: Upstream, identity: Identity, extended: Sequence[ExtendedCapability] = ()
    ) -> None:
        """`upstream` is the root complex; the function must still be attached to it."""
        self.bdf = bdf
        self.config = ConfigSpace(identity, extended)
        self._upstream = upstream

    @property
    def acs(self) -> Acs:
        """The Access Control Services in force; none where it has no such capability."""
        at = self.config.capability(ACS_CAPABILITY)
        if at is None:
            return Acs.NONE
        return in_force(Acs(self.config.read(at + 4, 2)), Acs(self.config.read(at + ACS_CONTROL, 2)))

    def config_read(self, offset: int, size: int) -> int:
        """Software reads 1, 2 or 4 aligned bytes of configuration space."""
        return self.config.read(offset, size)

    def config_write(self, offset: int, size: int, value: int) -> None:
        """Software writes 1, 2 or 4 aligned bytes; INITIATE_FLR resets the function."""
        self.config.write(offset, size, value)
        if offset <= DEVICE_CONTROL + 1 < offset + size and value << 8 * (offset - DEVICE_CONTROL) & INITIATE_FLR:
            self.reset()

    def reset(self) -> None:
        """Function-level reset: configuration and registers as after power-on; nothing of the last owner is left."""
        self.config.reset()
        self.reset_registers()

    @abstractmethod
    def reset_registers(self) -> None:
        """Put the function's own registers and buffers into the state after power-on."""

    @abstractmethod
    def mmio_read(self, offset: int, size: int) -> int:
        """Software reads a register of BAR0."""

    @abstractmethod
    def mmio_write(self, offset: int, size: int, value: int) -> None:
        """Software writes a register of BAR0."""

    def dma_read(self, address: int, length: int) -> bytes | DmaFault:
        """Read memory as this requester; nothing leaves the function while it may not master the bus."""
        iova = Iova(address)
        if not self.config.bus_master:
            return DmaFault(self.bdf, iova, False, Completion.BUS_MASTER_OFF)
        data = self._upstream.dma_read(self.bdf, iova, length)
        if isinstance(data, DmaFault):
            self.config.note_master_abort()
        return data

    def dma_write(self, address: int, data: bytes) -> DmaFault | None:
        """Write memory as this requester."""
        iova = Iova(address)
        if not self.config.bus_master:
            return DmaFault(self.bdf, iova, True, Completion.BUS_MASTER_OFF)
        fault = self._upstream.dma_write(self.bdf, iova, data)
        if fault is not None:
            self.config.note_master_abort()
        return fault

    def signal(self) -> None:
        """Send the MSI, if it is enabled and the function may master the bus."""
        message = self.config.message
        if message is not None and self.config.bus_master:
            self._upstream.message(self.bdf, *message)
