"""A function whose inside the model does not have: it can be found, assigned, reset, and made to issue requests.

Audio, storage and USB controllers of a PC are this: for isolation only their requests matter, whoever makes them issue
any.
"""

from __future__ import annotations

from typing import final

from vafw.hw.pci.function import PciFunction


@final
class PlainFunction(PciFunction):
    """No registers of its own: BAR0 reads as zero."""

    def reset_registers(self) -> None:
        """Nothing to reset."""

    def mmio_read(self, offset: int, size: int) -> int:
        """Zero."""
        return 0

    def mmio_write(self, offset: int, size: int, value: int) -> None:
        """Ignored."""
