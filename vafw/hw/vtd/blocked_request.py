"""Blocked requests as values: who asked for what, and why it was refused."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import final

from vafw.address import Bdf, Iova
from vafw.hw.vtd.fault_reason import FaultReason


class AddressType(IntEnum):
    """AT of a memory request, and of its fault record (PCI Express, "Address Type")."""

    UNTRANSLATED = 0
    TRANSLATION_REQUEST = 1
    TRANSLATED = 2


class Completion(IntEnum):
    """Why a memory request came to nothing outside the remapping unit."""

    UNSUPPORTED_REQUEST = 1
    """Neither memory nor a table answers for the address (PCI Express, "Completion Status")."""
    BUS_MASTER_OFF = 2
    """The function may not issue requests; this one never left it."""
    ACS_VIOLATION = 3
    """A port above the function refused it (PCI Express, "ACS Violation")."""

    @property
    def text(self) -> str:
        """The reason in words, for people."""
        return self.name.lower().replace("_", " ")


@final
@dataclass(frozen=True, slots=True)
class DmaFault:
    """A blocked memory request of a device: what it asked for, and why it was refused."""

    source: Bdf
    address: Iova
    write: bool
    reason: FaultReason | Completion

    def __str__(self) -> str:
        verb = "write" if self.write else "read"
        return f"DMA {verb} by {self.source} at {self.address:#x} blocked: {self.reason.text} ({self.reason:#x})"


@final
@dataclass(frozen=True, slots=True)
class InterruptFault:
    """A blocked interrupt request of a device."""

    source: Bdf
    index: int
    """The interrupt index of a request in remappable format, else 0."""
    reason: FaultReason

    def __str__(self) -> str:
        return f"interrupt by {self.source} with index {self.index:#x} blocked: {self.reason.text} ({self.reason:#x})"
