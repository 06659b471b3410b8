"""The virtual functions of one card: they appear, vanish and decode as software writes the SR-IOV capability.

Each is a function of its own at the root complex; here is only what the physical function decides for them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar, final

from vafw.address import Bdf
from vafw.hw.pci.config import ConfigSpace
from vafw.hw.pci.function import PciFunction, Upstream
from vafw.hw.pci.sriov import SriovRegister, SriovState

F = TypeVar("F", bound=PciFunction)


@final
class VirtualFunctions(Generic[F]):
    """What a physical function knows of its virtual ones."""

    def __init__(self, bdf: Bdf, config: ConfigSpace, upstream: Upstream, make: Callable[[int, Bdf], F]) -> None:
        """`make` builds the virtual function of a number, counted from 0, at a requester id."""
        self.present: Sequence[F] = ()
        """Those there are now."""
        self._bdf = bdf
        self._upstream = upstream
        self._state = SriovState(bdf, config)
        self._make = make

    def frozen_number(self) -> int | None:
        """NumVFs if it must survive the write that is about to come, which it must while VF Enable is on."""
        return self._state.read(SriovRegister.NUM_VFS) if self.present else None

    def follow(self, frozen: int | None = None) -> None:
        """Software wrote the capability, or a reset cleared it."""
        if frozen is not None and self._state.is_enabled:
            self._state.restore_number(frozen)
        if len(self.present) != self._state.enabled:
            self.present = tuple(
                self._make(number, self._state.address(number)) for number in range(self._state.enabled)
            )
            self._upstream.show_virtual(self._bdf, self.present)
        for number, each in enumerate(self.present):
            each.config.place_window(self._state.window(number))
