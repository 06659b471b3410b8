"""What a PC has: processors, memory, PCI functions with their IOMMU groups, and its trust hardware."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from vafw.address import Bdf
from vafw.fabric import PortKind


class DeviceClass(StrEnum):
    """What a PCI function is for; policies speak of these (PCI Code and ID Assignment, base classes)."""

    NETWORK = "network"
    DISPLAY = "display"
    STORAGE = "storage"
    USB = "usb"
    AUDIO = "audio"
    BRIDGE = "bridge"
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class PciFunction:
    """One PCI function that can be assigned, under the name the documents use."""

    name: str
    bdf: Bdf
    device_class: DeviceClass
    vendor_id: int
    device_id: int
    group: int
    """The IOMMU group: functions of one group can only be assigned together."""
    reset: bool = True
    """The function can be reset on its own (FLR), so that it can change hands."""
    reserved_memory: bool = False
    """Firmware holds a reserved memory region (RMRR) for it."""
    mac: str | None = None
    """The burnt-in MAC address of a network function, as ``aa:bb:cc:dd:ee:ff``."""
    behind: Bdf | None = None
    """The port above it; None on the root complex's own bus."""
    port: PortKind | None = None
    """Of a bridge: which kind of port it is."""
    acs: bool = False
    """It has Access Control Services."""


@dataclass(frozen=True, slots=True)
class Iommu:
    """The remapping hardware (DRHD) of the PC."""

    dma_remapping: bool
    interrupt_remapping: bool
    address_width_bits: int = 48


@dataclass(frozen=True, slots=True)
class MachineInventory:
    """A PC as plans see it."""

    name: str
    memory_bytes: int
    vcpus: int
    """Logical processors that VMs may be given in all."""
    vmm_memory_bytes: int
    """Memory that the VMM keeps for itself."""
    functions: tuple[PciFunction, ...]
    iommu: Iommu
    txt: bool
    tpm: bool

    def function(self, name: str) -> PciFunction | None:
        """The function of that name, or None."""
        return next((each for each in self.functions if each.name == name), None)

    def group(self, number: int) -> tuple[PciFunction, ...]:
        """Every function of one IOMMU group."""
        return tuple(each for each in self.functions if each.group == number)
