"""The walk over second-level tables, three to five deep, with superpages (VT-d, "Second-Stage Translation").

Pure: a context and an address in, a leaf or a reason out. The hard part is the order of the checks, because the first
one that fails is the fault that software sees: at each level the permission comes before the reserved bits of the same
entry, and all come before the interrupt range. A table that is not RAM is reason 7, but 3 for the topmost one.

This walk decides every case and says why; `paging_structures` shortens the ordinary one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, NamedTuple, final

from vafw.hw.vtd.bits import INTERRUPT_FIRST, INTERRUPT_LAST, PagingEntry
from vafw.hw.vtd.capability import TableRules
from vafw.hw.vtd.context import Context
from vafw.hw.vtd.fault_reason import FaultReason
from vafw.hw.vtd.table_walk import READ, WRITE, Blocked, TableMemory

_PS: Final = PagingEntry.PS.mask
_ADDR: Final = PagingEntry.ADDR.mask
_SNP: Final = PagingEntry.SNP.mask


class Leaf(NamedTuple):
    """Where a walk ended."""

    frame: int
    """The first host address of the page."""
    size: int
    """Of the page, in bytes."""
    rights: int
    """READ, WRITE or both: what every level granted."""
    snoop: bool = False
    """SNP: requests to the page snoop the processors' caches whatever they say themselves."""


@final
@dataclass(frozen=True, slots=True)
class SecondLevel:
    """Walks the second-level tables of one unit."""

    memory: TableMemory
    rules: TableRules

    def leaf(self, context: Context, iova: int, right: int) -> Leaf | Blocked:
        """The page that `iova` lies in, for an access that needs `right`; reasons 3 to 7, 0xC and 0xE."""
        if context.pass_through:
            return Leaf(iova & ~0xFFF, 4096, READ | WRITE)
        if iova >= context.limit:
            return Blocked(FaultReason.BEYOND_ADDRESS_WIDTH, context.quiet)
        rights = READ | WRITE
        table = context.table
        for level in range(context.levels, 0, -1):
            entry = self.memory.read_ram_u64(paging_entry_address(table, iova, level))
            if entry is None:
                top = level == context.levels
                return Blocked(FaultReason.CONTEXT_INVALID if top else FaultReason.TABLE_UNREADABLE, context.quiet)
            if not entry & right:
                missing = FaultReason.WRITE_NOT_ALLOWED if right == WRITE else FaultReason.READ_NOT_ALLOWED
                return Blocked(missing, context.quiet)
            rights &= entry
            if self.is_leaf(entry, level):
                return self.decode_leaf(entry, level, rights, quiet=context.quiet)
            if entry & self.rules.table_reserved(level):
                return Blocked(FaultReason.PAGING_RESERVED, context.quiet)
            table = entry & _ADDR
        raise AssertionError("a walk ends at level 1")

    def is_leaf(self, entry: int, level: int) -> bool:
        """Whether an entry of `level` maps a page and leads to no further table."""
        return level == 1 or bool(entry & _PS and level in self.rules.large_page_levels)

    def decode_leaf(self, entry: int, level: int, rights: int, *, quiet: bool) -> Leaf | Blocked:
        """The page of an entry that maps one, reached with `rights`; reasons 0xC and 0xE."""
        if entry & self.rules.leaf_reserved(level):
            return Blocked(FaultReason.PAGING_RESERVED, quiet)
        size = page_size(level)
        frame = entry & _ADDR
        if frame <= INTERRUPT_LAST and frame + size > INTERRUPT_FIRST:
            return Blocked(FaultReason.INTERRUPT_ADDRESS, quiet)
        return Leaf(frame, size, rights, bool(entry & _SNP))


def page_size(level: int) -> int:
    """Bytes that one entry of a table of `level` covers: 4 KiB, 2 MiB, 1 GiB, 512 GiB, 256 TiB."""
    return 1 << 3 + 9 * level


def paging_entry_address(table: int, iova: int, level: int) -> int:
    """Where the entry of `iova` stands in a table of `level`."""
    return table + (iova >> 3 + 9 * level & 0x1FF) * 8
