"""Tables of firmware (ACPI) that a real machine and the modelled one describe their remapping hardware with."""

from vafw.acpi.dmar import (
    AndDevice,
    AtsRootPorts,
    DeviceScope,
    Dmar,
    HardwareUnit,
    Proximity,
    ReservedMemory,
    ScopeType,
    Unknown,
    decode_dmar,
    encode_dmar,
)
from vafw.acpi.table import TableHeader

__all__ = [
    "Dmar",
    "decode_dmar",
    "encode_dmar",
    "HardwareUnit",
    "ReservedMemory",
    "AtsRootPorts",
    "Proximity",
    "AndDevice",
    "Unknown",
    "DeviceScope",
    "ScopeType",
    "TableHeader",
]
