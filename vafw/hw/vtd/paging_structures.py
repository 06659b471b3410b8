"""The paging-structure cache: where the last table of a 2 MiB region is (VT-d, "Paging-structure Caches").

A walk that comes to a table of 4 KiB pages leaves its *directory* here: that table's address, with the rights that
every level above granted in bits 1:0. The next miss in the region reads one entry instead of three to five. Like every
cache of the unit it is used until software invalidates it, however wrong the tables above have become; an invalidation
with the hint IH says that only leaves have changed, and keeps it.

Only the ordinary is recognised: present entries, no reserved bit, no superpage. For everything else `find_directory`
and `small_page` say 0, which says nothing about why; `second_level` walks and decides.
"""

from __future__ import annotations

from typing import Final

from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.bits import INTERRUPT_FIRST, INTERRUPT_LAST, PagingEntry
from vafw.hw.vtd.capability import TableRules
from vafw.hw.vtd.context import Context
from vafw.hw.vtd.second_level import paging_entry_address
from vafw.hw.vtd.table_walk import TableMemory

_RIGHTS: Final = 3
_FRAME: Final = -4096
LEAF_FRAME: Final = PagingEntry.ADDR.mask
"""The address of a page of 4 KiB in its leaf entry."""


def find_directory(memory: TableMemory, rules: TableRules, context: Context, iova: int) -> int:
    """The directory of a device address, or 0."""
    table, rights = context.table, _RIGHTS
    for level in range(context.levels, 1, -1):
        entry = memory.read_ram_u64(paging_entry_address(table, iova, level))
        if entry is None or entry & (rules.table_reserved(level) | PagingEntry.PS.mask):
            return 0
        rights &= entry
        table = entry & PagingEntry.ADDR.mask
    return table | rights if rights else 0


def small_page(memory: PhysicalMemory, directory: int, iova: int, reserved: int) -> int:
    """The leaf entry of a device address as it stands but for bits 1:0, the rights of all levels; or 0.

    `reserved` are the bits that a leaf of 4 KiB must not have.
    """
    try:
        leaf = memory.tables[directory & _FRAME][iova >> 12 & 511]
    except KeyError:  # the table was not read before, or nothing was ever written into it
        leaf = memory.read_ram_u64(paging_entry_address(directory & _FRAME, iova, 1)) or 0
    if leaf & reserved or INTERRUPT_FIRST <= leaf & LEAF_FRAME <= INTERRUPT_LAST:
        return 0
    return leaf & (directory | ~_RIGHTS)
