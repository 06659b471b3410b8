"""The modelled PC: memory, logical processors, the remapping unit, the root complex and what is plugged into it.

Composition only. A TPM and the TXT chipset belong to the PC too, but a PC works without them: whoever wants a measured
launch attaches them to the same memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from vafw.address import Bdf, Hpa
from vafw.fabric import Acs, PortKind, iommu_groups
from vafw.hw.memory import PhysicalMemory
from vafw.hw.pci import Display, NetworkCard, PciFunction, RootComplex
from vafw.hw.pci.acs import acs_capability
from vafw.hw.pci.config import Identity
from vafw.hw.pci.plain_function import PlainFunction
from vafw.hw.pci.port import Port
from vafw.hw.vmx.processor import LogicalProcessor
from vafw.hw.vtd import RemappingUnit, UnitCapability

REMAPPING_UNIT = Hpa(0xFED9_0000)
"""Where Intel client chipsets put the first remapping unit."""
REMAPPING_UNIT_SIZE = 0x1000

CLASS_CODES = {
    "network": 0x02_00_00,
    "display": 0x03_00_00,
    "storage": 0x01_08_02,
    "usb": 0x0C_03_30,
    "audio": 0x04_03_00,
    "bridge": 0x06_80_00,
    "other": 0xFF_00_00,
}
"""Base class, sub-class and interface of each kind (PCI Code and ID Assignment Specification)."""


@final
@dataclass(frozen=True, slots=True)
class FunctionDescription:
    """One PCI function to build."""

    bdf: Bdf
    kind: str
    """A key of `CLASS_CODES`; `network` and `display` have an inside, the others only their requests."""
    vendor_id: int
    device_id: int
    mac: bytes | None = None
    """Six bytes, for `network`."""
    upstream: Bdf | None = None
    """The port above it, or None on the root complex's own bus."""
    acs: Acs = Acs.NONE
    """The Access Control Services that it is capable of."""
    port: PortKind | None = None
    """Of a `bridge`: what kind of port it is."""


@final
class Pc:
    """A PC after power-on: nothing is translated, no function masters the bus."""

    def __init__(
        self,
        memory_bytes: int,
        functions: Sequence[FunctionDescription],
        *,
        processors: int = 1,
        remapping: bool = True,
        capability: UnitCapability | None = None,
    ) -> None:
        """`remapping` False is a PC without VT-d; ValueError for a description that cannot be built."""
        self.memory = PhysicalMemory(memory_bytes)
        self.unit = RemappingUnit(self.memory, capability) if remapping else None
        if self.unit is not None:
            self.memory.map_window(REMAPPING_UNIT, REMAPPING_UNIT_SIZE, self.unit)
        self.root_complex = RootComplex(self.memory, self.unit)
        self.processors = tuple(LogicalProcessor(self.memory, number) for number in range(processors))
        self.descriptions = tuple(functions)
        self._functions = {each.bdf: self._build(each) for each in functions}
        for each in functions:
            self.root_complex.attach(self._functions[each.bdf], each.upstream)

    def function(self, bdf: Bdf) -> PciFunction:
        """The function there; KeyError where there is none."""
        return self._functions[bdf]

    @property
    def network_cards(self) -> tuple[NetworkCard, ...]:
        """Every network card, in the order of description."""
        return tuple(each for each in self._functions.values() if isinstance(each, NetworkCard))

    @property
    def displays(self) -> tuple[Display, ...]:
        """Every display, in the order of description."""
        return tuple(each for each in self._functions.values() if isinstance(each, Display))

    def groups(self) -> dict[Bdf, int]:
        """The IOMMU group of every function, from how they are plugged together and what access control is on."""
        return dict(iommu_groups(self.root_complex.fabric))

    def _build(self, described: FunctionDescription) -> PciFunction:
        if described.kind not in CLASS_CODES:
            raise ValueError(f"a function's kind must be one of {', '.join(CLASS_CODES)}, not {described.kind!r}")
        siblings = [
            each
            for each in self.descriptions
            if (each.bdf.bus, each.bdf.device) == (described.bdf.bus, described.bdf.device)
        ]
        identity = Identity(
            described.vendor_id,
            described.device_id,
            CLASS_CODES[described.kind],
            multifunction=len(siblings) > 1,
        )
        if described.kind == "network":
            if described.mac is None:
                raise ValueError(f"network function {described.bdf} must have a MAC address")
            return NetworkCard(described.bdf, self.root_complex, described.mac, identity)
        if described.kind == "display":
            return Display(described.bdf, self.root_complex, identity)
        if described.port is not None:
            return Port(described.bdf, self.root_complex, described.port, self._buses(described), described.acs)
        extended = [acs_capability(described.acs)] if described.acs else []
        return PlainFunction(described.bdf, self.root_complex, identity, extended)

    def _buses(self, port: FunctionDescription) -> range:
        """The bus numbers below a port, as firmware hands them out: its secondary bus first."""
        below = [each for each in self.descriptions if each.upstream == port.bdf]
        buses = {each.bdf.bus for each in below}.union(*(self._buses(each) for each in below if each.port is not None))
        return range(min(buses), max(buses) + 1) if buses else range(port.bdf.bus + 1, port.bdf.bus + 2)
