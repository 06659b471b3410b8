"""Guest-physical to host-physical, as a processor in non-root operation does it: remembered, else walked through EPT.

Without EPT a guest-physical address is a host-physical one, which is what the shadow tables of a virtual TLB rely on.

A guest's own paging structures are guest-physical too, and each access to one goes through here as `structure`: its
violations say so (bit 8 clear), and where the EPT pointer enables accessed and dirty flags it counts as a write.
(SDM volume 3, "Accessed and Dirty Flags for EPT", "EPT Violations".)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from vafw.address import Gpa
from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import Eptp
from vafw.hw.vmx.ept import AccessKind, EptCapability, Misconfiguration, Translation, Violation, walk, walk_structure
from vafw.hw.vmx.quick_walk import StructureCache, leaf_shift, pack_leaf
from vafw.hw.vmx.tlb import NO_EPT
from vafw.hw.vmx.translation import SHIFT_2M, Mappings

_WALK_READS = {12: 4, 21: 3, 30: 2}
"""Table entries that a whole walk reads, by log2 of the page's size."""


@dataclass(slots=True)
class WalkCount:
    """What translating has cost one guest."""

    tlb_hits: int = 0
    tlb_misses: int = 0
    """Linear addresses that had to be walked."""
    references: int = 0
    """Table entries read by those walks, the guest's and EPT's."""
    uncached: int = 0
    """The same if every step of them had walked EPT anew: what remembering guest-physical mappings saves."""
    ept_walks: int = 0


@final
class GuestPhysical:
    """The second stage of one guest's translations."""

    def __init__(self, memory: PhysicalMemory, capability: EptCapability) -> None:
        """The processor binds it at each VM entry."""
        self.mappings = Mappings()
        self.count = WalkCount()
        self._memory = memory
        self._capability = capability
        self._eptp: int | None = None
        self._structures: StructureCache | None = None

    def bind(self, eptp: int | None, mappings: Mappings, structures: StructureCache | None) -> None:
        """Use these tables and what is remembered of them; `eptp` None is a guest without EPT."""
        self._eptp = eptp
        self.mappings = mappings
        self._structures = structures

    @property
    def ep4ta(self) -> int:
        """Bits 51:12 of the EPT pointer, `NO_EPT` where there is none."""
        return NO_EPT if self._eptp is None else self._eptp >> 12 & 0xFF_FFFF_FFFF

    @property
    def structures_are_written(self) -> bool:
        """Whether an access to a guest's paging structure counts as a write."""
        return self._eptp is not None and bool(self._eptp & Eptp.ACCESSED_DIRTY.mask)

    def delta(self, gpa: int, kind: AccessKind) -> int | Violation | Misconfiguration:
        """Host-physical minus guest-physical address of the page of `gpa`."""
        if self._eptp is None:
            return 0
        known = None if kind is AccessKind.FETCH else self.mappings.find(gpa, kind)
        found = self._walk(gpa, kind) if known is None else known
        self._count_uncached(gpa)
        return found

    def structure(self, gpa: int, *, write: bool) -> int | Violation | Misconfiguration:
        """The same for an entry of the guest's paging structures; `write` sets a flag in it."""
        if self._eptp is None:
            return 0
        written = write or self.structures_are_written
        kind = AccessKind.WRITE if written else AccessKind.READ
        known = self.mappings.find(gpa, kind)
        found: int | Violation | Misconfiguration
        if known is None:
            walked = walk_structure(self._memory, self._eptp, Gpa(gpa), written, self._capability)
            found = self._keep(gpa, kind, walked)
        else:
            found = known
        if not write:
            self._count_uncached(gpa)
        return found

    def is_large(self, gpa: int) -> bool:
        """Whether one remembered EPT page covers the 2 MiB around an address; so does none at all without EPT."""
        return self._eptp is None or gpa >> SHIFT_2M in self.mappings.read_2m

    def _count_uncached(self, gpa: int) -> None:
        """What a walk of EPT for this address reads, whether it was made or not."""
        self.count.uncached += _WALK_READS[21] if gpa >> SHIFT_2M in self.mappings.read_2m else _WALK_READS[12]

    def _walk(self, gpa: int, kind: AccessKind) -> int | Violation | Misconfiguration:
        """The quick way, where it is plain; else the careful one decides."""
        assert self._eptp is not None
        assert self._structures is not None
        shortened = gpa >> SHIFT_2M in self._structures.directories
        leaf = self._structures.translate(gpa, kind.value)
        if leaf < 0:
            found = walk(self._memory, self._eptp, Gpa(gpa), kind, self._capability)
            return self._keep(gpa, kind, found)
        self.count.ept_walks += 1
        self.count.references += 1 if shortened else _WALK_READS[leaf_shift(leaf)]
        return self._remember(gpa, kind, leaf)

    def _keep(
        self, gpa: int, kind: AccessKind, found: Translation | Violation | Misconfiguration
    ) -> int | Violation | Misconfiguration:
        """Remember a careful walk's outcome; a refusal drops what was remembered of the page."""
        self.count.ept_walks += 1
        if not isinstance(found, Translation):
            self.mappings.drop(gpa)
            if self._structures is not None:
                self._structures.drop(gpa)
            return found
        leaf = pack_leaf(found)
        self.count.references += _WALK_READS[leaf_shift(leaf)]
        return self._remember(gpa, kind, leaf)

    def _remember(self, gpa: int, kind: AccessKind, leaf: int) -> int:
        self.mappings.remember(gpa, kind, leaf)
        shift = leaf_shift(leaf)
        return (leaf >> shift << shift) - (gpa >> shift << shift)
