"""Addresses of a PC as types that cannot be mixed: physical, guest-physical, I/O-virtual, and bus numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import NewType

Hpa = NewType("Hpa", int)
"""A host-physical address in bytes."""
Gpa = NewType("Gpa", int)
"""A guest-physical address in bytes."""
Iova = NewType("Iova", int)
"""The address a device puts on the bus, in bytes; what second-stage translation starts from."""
PcrIndex = NewType("PcrIndex", int)
"""The number of a TPM platform configuration register, 0 to 23."""

PAGE_SIZE = 4096
PAGE_SIZE_2M = 2 * 1024 * 1024
PAGE_MASK = PAGE_SIZE - 1

_BDF = re.compile(r"(?:0000:)?([0-9a-f]{2}):([0-9a-f]{2})\.([0-7])", re.IGNORECASE)


@dataclass(frozen=True, slots=True, order=True)
class Bdf:
    """Bus, device and function of a PCI function in segment 0 (PCI Express Base Specification, "Requester ID")."""

    bus: int
    device: int
    function: int
    requester_id: int = field(init=False, repr=False, compare=False)
    """The 16-bit requester id; kept, because every memory request of a device asks for it."""

    def __post_init__(self) -> None:
        """Refuse numbers that no requester id can carry."""
        if not (0 <= self.bus <= 0xFF and 0 <= self.device <= 0x1F and 0 <= self.function <= 7):
            raise ValueError(
                "Bdf must have bus 0-255, device 0-31 and function 0-7, "
                f"not {self.bus}, {self.device} and {self.function}"
            )
        object.__setattr__(self, "requester_id", self.bus << 8 | self.devfn)

    @classmethod
    def parse(cls, text: str) -> Bdf:
        """Read ``02:00.0`` or ``0000:02:00.0``; ValueError says what was expected."""
        found = _BDF.fullmatch(text.strip())
        if not found or int(found[2], 16) > 0x1F:
            raise ValueError(f"PCI address must look like 02:00.0, not {text!r}")
        return cls(int(found[1], 16), int(found[2], 16), int(found[3]))

    @classmethod
    def from_requester_id(cls, requester_id: int) -> Bdf:
        """Read the 16-bit requester id that stands in PCIe transactions and VT-d tables."""
        return cls(requester_id >> 8, requester_id >> 3 & 0x1F, requester_id & 7)

    @property
    def devfn(self) -> int:
        """Device and function as the 8-bit index of a context table."""
        return self.device << 3 | self.function

    def __str__(self) -> str:
        return f"{self.bus:02x}:{self.device:02x}.{self.function}"
