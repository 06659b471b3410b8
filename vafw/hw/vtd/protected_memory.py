"""Protected memory regions: what no device reaches past the tables (VT-d, "Protected Memory Enable Register").

This is how a measured launch keeps devices away from the VMM before the VMM has written a single table. With
translation on, the tables decide where there are any: requests that pass through and translated requests are still
held against the regions, remapped ones are not (the specification lets a unit choose).
"""

from __future__ import annotations

from typing import final

from vafw.hw.vtd.registers import (
    ProtectedHighBase,
    ProtectedHighLimit,
    ProtectedLowBase,
    ProtectedLowLimit,
    ProtectedMemoryEnable,
)
from vafw.register import Register

_UNIT_MASK = (1 << 21) - 1
"""Bases and limits count in units of 2 MiB; a limit includes its whole unit."""


@final
class ProtectedRegions:
    """PMEN and the two regions."""

    def __init__(self) -> None:
        self._enable = ProtectedMemoryEnable()
        self._low = (ProtectedLowBase(), ProtectedLowLimit())
        self._high = (ProtectedHighBase(), ProtectedHighLimit())

    @property
    def registers(self) -> tuple[Register, ...]:
        """All five, for the register page."""
        return (self._enable, *self._low, *self._high)

    def written(self) -> None:
        """Software wrote one of them: PRS follows EPM."""
        self._enable.hw_set(PRS=self._enable.EPM)

    def covers(self, address: int) -> bool:
        """Whether the regions are on and one of them holds the address."""
        return bool(self._enable.EPM) and any(
            base.value <= address <= limit.value | _UNIT_MASK for base, limit in (self._low, self._high)
        )
