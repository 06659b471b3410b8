"""What an invalidation does, whichever way software asked for it (VT-d, "Invalidation of Translation Caches").

Both interfaces, registers and queue, end here. A request with a granularity that does not exist, or for more pages than
CAP.MAMV allows, does nothing and says so.
"""

from __future__ import annotations

from typing import final

from vafw.address import Bdf, Iova
from vafw.hw.vtd.ats import InvalidationTarget
from vafw.hw.vtd.bits import Granularity
from vafw.hw.vtd.capability import MAXIMUM_ADDRESS_MASK
from vafw.hw.vtd.context_cache import ContextCache
from vafw.hw.vtd.interrupt_remapping import InterruptRemapping
from vafw.hw.vtd.iotlb import Iotlb


@final
class Caches:
    """Everything that the unit and the devices behind it remember."""

    def __init__(self, contexts: ContextCache, iotlb: Iotlb, interrupts: InterruptRemapping) -> None:
        self._contexts = contexts
        self._iotlb = iotlb
        self._interrupts = interrupts
        self._devices: dict[int, InvalidationTarget] = {}

    def connect(self, source: Bdf, device: InvalidationTarget) -> None:
        """A function whose own TLB invalidation requests reach."""
        self._devices[source.requester_id] = device

    def forget_contexts(self, granularity: int, domain: int, source_id: int, function_mask: int) -> bool:
        """The context cache; False where the granularity does not exist."""
        match granularity:
            case Granularity.GLOBAL:
                self._contexts.forget_all()
            case Granularity.DOMAIN:
                self._contexts.forget_domain(domain)
            case Granularity.PAGE:
                self._contexts.forget_device(source_id, function_mask)
            case _:
                return False
        return True

    def forget_pages(self, granularity: int, domain: int, page: int, address_mask: int, *, leaves_only: bool) -> bool:
        """IOTLB and paging-structure cache; False where the granularity does not exist or the mask is beyond MAMV.

        `leaves_only` is IH, the hint that no entry above the leaves has changed; it counts for single pages only.
        """
        match granularity:
            case Granularity.GLOBAL:
                self._iotlb.forget_all()
            case Granularity.DOMAIN:
                self._iotlb.forget_domain(domain)
            case Granularity.PAGE if address_mask <= MAXIMUM_ADDRESS_MASK:
                self._iotlb.forget_range(domain, page, address_mask, leaves_only=leaves_only)
            case _:
                return False
        return True

    def forget_interrupts(self) -> None:
        """The whole interrupt entry cache."""
        self._interrupts.forget_all()

    def forget_interrupt_range(self, index: int, index_mask: int) -> None:
        """2^`index_mask` entries of the interrupt entry cache."""
        self._interrupts.forget_range(index, index_mask)

    def ask_device(self, source_id: int, iova: Iova, size: int) -> bool:
        """A device's own TLB; False where no device of that id answers."""
        device = self._devices.get(source_id)
        return device is not None and device.invalidate(iova, size)
