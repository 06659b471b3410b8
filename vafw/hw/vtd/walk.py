"""The walk over root, context and second-stage tables in memory (VT-d, "Legacy Mode Address Translation").

Pure: tables in, a context or a leaf or a reason out; nothing is cached or recorded here. The hard part is the order of
the checks, because the first one that fails is the fault that software sees: presence before reserved bits, the address
width before the translation type, and at each level the permission before the reserved bits of the same entry. A table
that is not RAM is reason 7, but 3 for the topmost second-stage table, and 8 and 9 for the root and context tables.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.bits import (
    CONTEXT_RESERVED,
    INTERRUPT_FIRST,
    INTERRUPT_LAST,
    PAGING_IGNORED,
    ROOT_RESERVED,
    ContextEntry,
    FaultReason,
    RootEntry,
    TranslationType,
)
from vafw.hw.vtd.capability import UnitCapability

READ, WRITE = 1, 2
"""Bits R and W of a paging entry."""
_PAGE_SIZE_BIT = 1 << 7
_ADDRESS = 0x000F_FFFF_FFFF_F000
_LARGE_PAGE_LEVELS = (2, 3)


@final
@dataclass(frozen=True, slots=True)
class Context:
    """A context entry that passed every check."""

    domain: int
    levels: int
    table: int
    limit: int
    """The first address beyond the input width."""
    pass_through: bool
    quiet: bool
    """FPD: faults of this function are not recorded."""


@final
@dataclass(frozen=True, slots=True)
class Leaf:
    """Where a walk ended: the page's frame, its size in bytes, and the rights that every level granted."""

    frame: int
    size: int
    rights: int


@final
@dataclass(frozen=True, slots=True)
class Blocked:
    """A walk that a check ended."""

    reason: FaultReason
    quiet: bool = False
    """FPD of the context entry."""


@final
class TableWalker:
    """Reads translation tables of one unit from memory."""

    def __init__(self, memory: PhysicalMemory, capability: UnitCapability) -> None:
        """`capability` decides which widths are supported and which bits are reserved."""
        self._memory = memory
        self._levels = capability.levels
        self._width = capability.guest_address_bits
        beyond = ~((1 << capability.host_address_bits) - 1 | PAGING_IGNORED) & (1 << 64) - 1
        self._reserved = {level: beyond | (0x800 if level <= 3 else 0x880) for level in range(1, 6)}
        self._leaf_reserved = {
            1: self._reserved[1],
            2: self._reserved[2] | 0x1F_F000,
            3: self._reserved[3] | 0x3FFF_F000,
        }

    def context(self, root_table: int, source_id: int) -> Context | Blocked:
        """The context of a requester; reasons 1, 2, 3, 8, 9, 0xA and 0xB."""
        root = self._entry(root_table + (source_id >> 8) * 16)
        if root is None:
            return Blocked(FaultReason.ROOT_TABLE_UNREADABLE)
        if not root & 1:
            return Blocked(FaultReason.ROOT_NOT_PRESENT)
        if root & ROOT_RESERVED:
            return Blocked(FaultReason.ROOT_RESERVED)
        entry = self._entry((RootEntry.CTP.get(root) << 12) + (source_id & 0xFF) * 16)
        if entry is None:
            return Blocked(FaultReason.CONTEXT_TABLE_UNREADABLE)
        return self._decode(entry)

    def leaf(self, context: Context, iova: int, right: int) -> Leaf | Blocked:
        """The page that `iova` lies in, for an access that needs READ or WRITE."""
        if context.pass_through:
            return Leaf(iova & ~0xFFF, 4096, READ | WRITE)
        if iova >= context.limit:
            return Blocked(FaultReason.BEYOND_ADDRESS_WIDTH, context.quiet)
        rights = READ | WRITE
        table = context.table
        read = self._memory.read_ram_u64
        for level in range(context.levels, 0, -1):
            shift = 3 + 9 * level
            entry = read(table + (iova >> shift & 0x1FF) * 8)
            if entry is None:
                top = level == context.levels
                return Blocked(FaultReason.CONTEXT_INVALID if top else FaultReason.TABLE_UNREADABLE, context.quiet)
            if not entry & right:
                reason = FaultReason.WRITE_NOT_ALLOWED if right == WRITE else FaultReason.READ_NOT_ALLOWED
                return Blocked(reason, context.quiet)
            rights &= entry
            if level == 1 or (entry & _PAGE_SIZE_BIT and level in _LARGE_PAGE_LEVELS):
                return self._finish(context, entry, level, rights)
            if entry & self._reserved[level]:
                return Blocked(FaultReason.PAGING_RESERVED, context.quiet)
            table = entry & _ADDRESS
        raise AssertionError("a walk ends at level 1")

    def _finish(self, context: Context, entry: int, level: int, rights: int) -> Leaf | Blocked:
        if entry & self._leaf_reserved[level]:
            return Blocked(FaultReason.PAGING_RESERVED, context.quiet)
        size = 1 << 3 + 9 * level
        frame = entry & _ADDRESS
        if frame <= INTERRUPT_LAST and frame + size > INTERRUPT_FIRST:
            return Blocked(FaultReason.INTERRUPT_ADDRESS, context.quiet)
        return Leaf(frame, size, rights)

    def _entry(self, address: int) -> int | None:
        """A root or context entry of 16 bytes, or None where that is not RAM."""
        raw = self._memory.read_ram(address, 16)
        return None if raw is None else int.from_bytes(raw, "little")

    def _decode(self, entry: int) -> Context | Blocked:
        quiet = bool(ContextEntry.FPD.get(entry))
        if not entry & 1:
            return Blocked(FaultReason.CONTEXT_NOT_PRESENT, quiet)
        if entry & CONTEXT_RESERVED:
            return Blocked(FaultReason.CONTEXT_RESERVED, quiet)
        levels = ContextEntry.AW.get(entry) + 2
        kind = ContextEntry.TT.get(entry)
        if levels not in self._levels or kind not in (
            TranslationType.UNTRANSLATED_ONLY,
            TranslationType.PASS_THROUGH,
        ):
            return Blocked(FaultReason.CONTEXT_INVALID, quiet)
        return Context(
            domain=ContextEntry.DID.get(entry),
            levels=levels,
            table=ContextEntry.SLPTPTR.get(entry) << 12,
            limit=1 << min(12 + 9 * levels, self._width),
            pass_through=kind == TranslationType.PASS_THROUGH,
            quiet=quiet,
        )
