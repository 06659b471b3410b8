"""What the processor remembers of EPT walks: guest-physical mappings, tagged by EP4TA (bits 51:12 of the EPTP).

Not coherent with memory, on purpose: a changed EPT entry may go unseen until INVEPT, as on silicon. An EPT violation
drops what is remembered of the faulting page, so that adding rights needs no INVEPT.
(SDM volume 3, "Caching Translation Information".) What is remembered of linear addresses is `tlb`'s.

A mapping is kept as the difference between host-physical and guest-physical address, by 2 MiB of guest-physical space
where one page covers all of it and by 4 KiB elsewhere: a VM of large pages is a handful of entries. A write's walk
fills both directions and a read's walk only its own, which is also what keeps dirty flags right.
"""

from __future__ import annotations

from typing import final

from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import Eptp
from vafw.hw.vmx.ept import AccessKind, EptCapability
from vafw.hw.vmx.quick_walk import ADDRESS, StructureCache, leaf_address, leaf_shift

SHIFT_2M = 21
SHIFT_4K = 12
SIZE_2M = 1 << SHIFT_2M
SIZE_4K = 1 << SHIFT_4K
_ROOT = Eptp.ROOT.mask


@final
class Mappings:
    """The mappings of one EP4TA: ``hpa - gpa`` by page number, for reads and for writes."""

    __slots__ = ("read_2m", "read_4k", "write_2m", "write_4k")

    def __init__(self) -> None:
        self.read_2m: dict[int, int] = {}
        self.write_2m: dict[int, int] = {}
        self.read_4k: dict[int, int] = {}
        self.write_4k: dict[int, int] = {}

    def find(self, gpa: int, access: AccessKind) -> int | None:
        """``hpa - gpa`` for a read or a write that needs no walk."""
        write = access is AccessKind.WRITE
        delta = (self.write_2m if write else self.read_2m).get(gpa >> SHIFT_2M)
        return (self.write_4k if write else self.read_4k).get(gpa >> SHIFT_4K) if delta is None else delta

    def remember(self, gpa: int, access: AccessKind, leaf: int) -> None:
        """Keep a packed leaf for the directions that this access has proven."""
        large = leaf_shift(leaf) >= SHIFT_2M
        number = gpa >> (SHIFT_2M if large else SHIFT_4K)
        delta = leaf_address(leaf, gpa) - gpa
        if access is AccessKind.WRITE:
            (self.write_2m if large else self.write_4k)[number] = delta
        if leaf & AccessKind.READ.value:
            (self.read_2m if large else self.read_4k)[number] = delta

    def drop(self, gpa: int) -> None:
        """Forget what covers one address."""
        for table, shift in (
            (self.read_2m, SHIFT_2M),
            (self.write_2m, SHIFT_2M),
            (self.read_4k, SHIFT_4K),
            (self.write_4k, SHIFT_4K),
        ):
            table.pop(gpa >> shift, None)

    def clear(self) -> None:
        """Forget everything."""
        self.read_2m.clear()
        self.write_2m.clear()
        self.read_4k.clear()
        self.write_4k.clear()

    def __len__(self) -> int:
        return len(self.read_2m) + len(self.write_2m) + len(self.read_4k) + len(self.write_4k)


@final
class TranslationCache:
    """All guest-physical mappings and paging-structure entries of one logical processor."""

    def __init__(self, memory: PhysicalMemory, capability: EptCapability) -> None:
        self._memory = memory
        self._capability = capability
        self.none = Mappings()
        """What a guest without EPT has: nothing is ever remembered here."""
        self._tagged: dict[int, Mappings] = {}
        self._structures: dict[int, StructureCache] = {}

    def tagged(self, eptp: int) -> Mappings:
        """The mappings under this EPT pointer's root; the same object until they are forgotten and after."""
        known = self._tagged.get(eptp & _ROOT)
        if known is None:
            known = self._tagged[eptp & _ROOT] = Mappings()
        return known

    def structures(self, eptp: int) -> StructureCache:
        """The paging-structure cache of this EPT pointer."""
        known = self._structures.get(eptp)
        if known is None:
            known = self._structures[eptp] = StructureCache(self._memory, eptp, self._capability)
        return known

    def invalidate(self, eptp: int) -> None:
        """INVEPT type 1, single-context."""
        self.tagged(eptp).clear()
        for each in [one for one in self._structures if one & ADDRESS == eptp & ADDRESS]:
            self._structures[each].clear()

    def invalidate_all(self) -> None:
        """INVEPT type 2, all-context."""
        for mappings in self._tagged.values():
            mappings.clear()
        for structures in self._structures.values():
            structures.clear()
