"""What any platform is, modelled or real: its inventory, its VMs' lives, its links, what it can do."""

from vafw.machine.capability import Capability
from vafw.machine.inventory import DeviceClass, Iommu, MachineInventory, PciFunction
from vafw.machine.lifecycle import IllegalTransition, VmEvent, VmPhase, next_phase
from vafw.machine.report import Health, IsolationCheck, LaunchStep, LinkCounters, PlatformReport, VmReport

__all__ = [
    "MachineInventory",
    "PciFunction",
    "DeviceClass",
    "Iommu",
    "Capability",
    "VmPhase",
    "VmEvent",
    "next_phase",
    "Health",
    "VmReport",
    "LinkCounters",
    "IsolationCheck",
    "LaunchStep",
    "PlatformReport",
    "IllegalTransition",
]
