"""The EPT walk in the common case, over four table reads, and the caches of paging structures that shorten it to one.

`ept.walk` decides; this module only recognises, with a handful of mask tests, walks that `walk` would plainly allow
without writing anything: present at every level, no reserved bit, write-back leaf, the access granted, accessed and
dirty flags as they should be. Every other walk is -1 here and the careful one's affair, fault or not. That `walk` and
`quick_walk` never disagree is a property test.

A leaf travels as one integer (`pack_leaf`): the page's frame, its size and its rights. Values as integers instead of
objects are what makes a miss cost no more than a walk unrolled by hand.
(SDM volume 3, "Caching Translation Information": "Guest-Physical Mappings", "Paging-Structure Caches".)
"""

from __future__ import annotations

from typing import Final, final

from vafw.hw.memory.physical import PhysicalMemory
from vafw.hw.vmx.bits import EptEntry, Eptp, MemoryType
from vafw.hw.vmx.ept import AccessKind, EptCapability, Translation

ADDRESS: Final = EptEntry.ADDRESS.mask
RIGHTS: Final = 7
_SHIFT_LSB: Final = 3
_SHIFT_MASK: Final = 0x3F
_SHIFT: Final = {12: 12 << _SHIFT_LSB, 21: 21 << _SHIFT_LSB, 30: 30 << _SHIFT_LSB}
_4K, _2M, _1G = _SHIFT[12], _SHIFT[21], _SHIFT[30]
_OFFSET_2M: Final = 0x1F_FFFF
_OFFSET_1G: Final = 0x3FFF_FFFF


def pack_leaf(found: Translation) -> int:
    """A walk's result as one integer: bits 51:12 the frame, 8:3 log2 of the page's size, 2:0 X, W and R."""
    shift = found.page_bytes.bit_length() - 1
    return found.hpa & -found.page_bytes | shift << _SHIFT_LSB | found.rights


def leaf_shift(leaf: int) -> int:
    """log2 of a packed leaf's page size."""
    return leaf >> _SHIFT_LSB & _SHIFT_MASK


def leaf_address(leaf: int, address: int) -> int:
    """Where `address`, which lies in the page, leads."""
    return leaf & ADDRESS | address & (1 << (leaf >> _SHIFT_LSB & _SHIFT_MASK)) - 1


@final
class Demand:
    """What the entries of an allowed walk look like, for one kind of access under one EPT pointer."""

    __slots__ = ("_high", "leaf", "leaf_bad", "table", "table_bad")

    def __init__(self, kind: AccessKind, *, accessed_dirty: bool, physical_bits: int) -> None:
        """`physical_bits` is MAXPHYADDR."""
        self._high = ADDRESS & -(1 << physical_bits)
        accessed = EptEntry.A.mask if accessed_dirty else 0
        dirty = EptEntry.D.mask if accessed_dirty and kind is AccessKind.WRITE else 0
        self.table = EptEntry.R.mask | kind.value | accessed
        """Bits of every entry that references a table."""
        self.table_bad = 0xF8 | self._high
        """Bits that none of them has."""
        self.leaf = self.table | dirty | EptEntry.MEMORY_TYPE.put(MemoryType.WB)
        """Bits of the leaf."""
        self.leaf_bad = self.leaf | EptEntry.MEMORY_TYPE.mask | self._high
        """`leaf` is all that may be left of these."""


def quick_walk(tables: dict[int, memoryview], root: int, gpa: int, demand: Demand) -> int:
    """The packed leaf of an access that is plainly allowed, else -1; `tables` is the memory's, `root` a frame."""
    table = demand.table
    try:
        four = tables[root][gpa >> 39]
        three = tables[four & ADDRESS][gpa >> 30 & 511]
        two = tables[three & ADDRESS][gpa >> 21 & 511]
        leaf = tables[two & ADDRESS][gpa >> 12 & 511]
    except (KeyError, IndexError):
        return _quick_large(tables, root, gpa, demand)
    rights = four & three & two
    if (
        rights & table == table
        and not (four | three | two) & demand.table_bad
        and leaf & demand.leaf_bad == demand.leaf
    ):
        return leaf & ADDRESS | _4K | rights & leaf & 7
    return _quick_large(tables, root, gpa, demand) if two & 0x80 else -1


def _quick_large(tables: dict[int, memoryview], root: int, gpa: int, demand: Demand) -> int:
    """The same for a page of 2 MiB, whose frame was taken for a table's."""
    try:
        four = tables[root][gpa >> 39]
        three = tables[four & ADDRESS][gpa >> 30 & 511]
        two = tables[three & ADDRESS][gpa >> 21 & 511]
    except (KeyError, IndexError):
        return -1
    rights = four & three
    if (
        two & 0x80
        and rights & demand.table == demand.table
        and not (four | three) & demand.table_bad
        and two & (demand.leaf_bad | 0x1F_F000) == demand.leaf
    ):
        return two & ADDRESS | _2M | rights & two & 7
    return -1


@final
class StructureCache:
    """What a processor remembers of level-2 entries under one EPT pointer's root: where the leaves' table is.

    Not coherent with memory, like the translations themselves: a directory entry that changed is used until `clear` or
    `drop`. What it points to is read from memory each time.
    """

    __slots__ = ("_demands", "_root", "_tables", "directories")

    def __init__(self, memory: PhysicalMemory, eptp: int, capability: EptCapability) -> None:
        """For one EPT pointer."""
        self._tables = memory.tables
        self._root = eptp & ADDRESS
        flags = bool(eptp & Eptp.ACCESSED_DIRTY.mask)
        bits = capability.physical_bits
        self._demands = {kind.value: Demand(kind, accessed_dirty=flags, physical_bits=bits) for kind in AccessKind}
        self.directories: dict[int, int] = {}
        """GPA bits 47:21 to the level-1 table's address, with the rights of the levels above in bits 2:0."""

    def translate(self, gpa: int, wanted: int) -> int:
        """The packed leaf for an access, -1 where `ept.walk` must decide; `wanted` is an `AccessKind` value."""
        demand = self._demands[wanted]
        above = self.directories.get(gpa >> 21)
        if above is None:
            return self._walk(gpa, demand)
        try:
            leaf = self._tables[above & ADDRESS][gpa >> 12 & 511]
        except KeyError:
            return -1
        if above & wanted and leaf & demand.leaf_bad == demand.leaf:
            return leaf & ADDRESS | _4K | above & leaf & 7
        return -1

    def drop(self, gpa: int) -> None:
        """Forget what leads to one address, as an EPT violation there does."""
        self.directories.pop(gpa >> 21, None)

    def clear(self) -> None:
        """Forget everything."""
        self.directories.clear()

    def _walk(self, gpa: int, demand: Demand) -> int:
        """All four levels; a walk that ends at a 4 KiB page leaves its directory entry behind."""
        leaf = quick_walk(self._tables, self._root, gpa, demand)
        if leaf > 0 and leaf_shift(leaf) == 12:
            four = self._tables[self._root][gpa >> 39]
            three = self._tables[four & ADDRESS][gpa >> 30 & 511]
            two = self._tables[three & ADDRESS][gpa >> 21 & 511]
            self.directories[gpa >> 21] = two & ADDRESS | four & three & two & RIGHTS
        return leaf
