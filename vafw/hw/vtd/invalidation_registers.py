"""Invalidation by registers: CCMD, IVA and IOTLB (VT-d, "Register-based Invalidation Interface").

A command is done when the write returns: ICC or IVT is clear again, and CAIG or IAIG says what was done. While the
queue is enabled a command is refused: its ICC or IVT stays set, which a driver sees as a command that never ends.
"""

from __future__ import annotations

from typing import final

from vafw.hw.vtd.invalidation import Caches
from vafw.hw.vtd.registers import ContextCommand, InvalidateAddress, IotlbInvalidate


@final
class InvalidationRegisters:
    """The three registers."""

    def __init__(self, caches: Caches) -> None:
        self._caches = caches
        self.context_command = ContextCommand()
        self.iotlb = IotlbInvalidate()
        self.address = InvalidateAddress()

    def run_context_command(self) -> None:
        """CCMD was written: invalidate where ICC asks for it."""
        command = self.context_command
        if command.ICC:
            done = self._caches.forget_contexts(command.CIRG, command.DID, command.SID, command.FM)
            command.hw_set(ICC=0, CAIG=command.CIRG if done else 0)

    def run_iotlb_command(self) -> None:
        """IOTLB was written: invalidate where IVT asks for it; IAIG 0 says that the request was wrong."""
        command = self.iotlb
        if command.IVT:
            where = self.address
            done = self._caches.forget_pages(
                command.IIRG, command.DID, where.ADDR, where.AM, leaves_only=bool(where.IH)
            )
            command.hw_set(IVT=0, IAIG=command.IIRG if done else 0)
