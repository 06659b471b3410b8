"""Interrupt remapping: a message that a device wrote becomes an interrupt, or a fault (VT-d, "Interrupt Remapping").

Without interrupt remapping a device can name any vector on any processor. With it a message only names an entry (IRTE)
of a table that the VMM owns, and the entry says which requester may use it. The entries that were read are used until
software invalidates them; the requester is verified every time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.bits import (
    IRTE_RESERVED,
    POSTED_IRTE_RESERVED,
    SQ_MASKS,
    Irte,
    PostedIrte,
    SourceValidation,
)
from vafw.hw.vtd.capability import TableRules
from vafw.hw.vtd.fault_reason import FaultReason
from vafw.hw.vtd.interrupt_message import Interrupt
from vafw.hw.vtd.posted_interrupts import post
from vafw.hw.vtd.table_walk import Blocked, TableMemory, read_entry

_XAPIC_DST_RESERVED: Final = 0xFFFF_00FF << 32
"""DST without extended interrupt mode: only bits 47:40 name a processor."""


@final
@dataclass(frozen=True, slots=True)
class InterruptTable:
    """Where the table stands, as IRTA says."""

    base: int = 0
    entries: int = 0
    extended: bool = False
    """EIME: DST is a 32-bit x2APIC id."""


@final
class InterruptRemapping:
    """The table that software pointed to, and the interrupt entry cache."""

    def __init__(self, memory: PhysicalMemory, rules: TableRules) -> None:
        self._memory = memory
        self._rules = rules
        self.table = InterruptTable()
        """Set by SIRTP; the cache stays until software invalidates it (CAP.ESIRTPS = 0)."""
        self._cache: dict[int, int] = {}
        """Index to an entry that passed every check but the requester's."""

    def remap(self, source_id: int, index: int) -> Interrupt | Blocked | None:
        """The interrupt that an index stands for, None where it was posted without a notification; reasons 21 to 28."""
        if index >= self.table.entries:
            return Blocked(FaultReason.INDEX_BEYOND_TABLE)
        entry = self._cache.get(index)
        if entry is None:
            found = find_irte(self._memory, self.table, index, self._rules)
            if isinstance(found, Blocked):
                return found
            entry = self._cache[index] = found
        quiet = bool(Irte.FPD.get(entry))
        if not is_verified(entry, source_id):
            return Blocked(FaultReason.SOURCE_NOT_VERIFIED, quiet)
        if not PostedIrte.IM.get(entry):
            return remapped_interrupt(entry, extended=self.table.extended)
        answer = post(self._memory, entry, extended=self.table.extended)
        return Blocked(answer, quiet) if isinstance(answer, FaultReason) else answer

    def forget_all(self) -> None:
        """Global invalidation of the interrupt entry cache."""
        self._cache.clear()

    def forget_range(self, index: int, index_mask: int) -> None:
        """Index-selective: the 2^`index_mask` aligned entries that `index` lies in."""
        for each in [each for each in self._cache if each >> index_mask == index >> index_mask]:
            del self._cache[each]


def irte_address(table: InterruptTable, index: int) -> int:
    """Where the entry of an index stands."""
    return table.base + index * 16


def find_irte(memory: TableMemory, table: InterruptTable, index: int, rules: TableRules) -> int | Blocked:
    """The entry of an index inside the table, checked but for its requester; reasons 0x23, 0x22 and 0x24, in order."""
    entry = read_entry(memory, irte_address(table, index))
    if entry is None:
        return Blocked(FaultReason.IRTE_UNREADABLE)
    quiet = bool(Irte.FPD.get(entry))
    if not Irte.P.get(entry):
        return Blocked(FaultReason.IRTE_NOT_PRESENT, quiet)
    if entry & _reserved(entry, table, rules):
        return Blocked(FaultReason.IRTE_RESERVED, quiet)
    return entry


def _reserved(entry: int, table: InterruptTable, rules: TableRules) -> int:
    if rules.posted_interrupts and PostedIrte.IM.get(entry):
        return POSTED_IRTE_RESERVED
    return IRTE_RESERVED if table.extended else IRTE_RESERVED | _XAPIC_DST_RESERVED


def remapped_interrupt(entry: int, *, extended: bool) -> Interrupt:
    """What a present IRTE in remapped format stands for."""
    destination = Irte.DST.get(entry)
    return Interrupt(
        vector=Irte.VECTOR.get(entry),
        destination=destination if extended else destination >> 8,
        delivery_mode=Irte.DLM.get(entry),
        logical=bool(Irte.DM.get(entry)),
        level_triggered=bool(Irte.TM.get(entry)),
        redirection_hint=bool(Irte.RH.get(entry)),
    )


def is_verified(entry: int, source_id: int) -> bool:
    """VT-d, "Source-id verification": the requester, all or part of it, or a range of buses (start in SID 15:8)."""
    allowed = Irte.SID.get(entry)
    match Irte.SVT.get(entry):
        case SourceValidation.NONE:
            return True
        case SourceValidation.REQUESTER_ID:
            return (allowed ^ source_id) & SQ_MASKS[Irte.SQ.get(entry)] == 0
        case SourceValidation.BUS_RANGE:
            return allowed >> 8 <= source_id >> 8 <= allowed & 0xFF
        case _:
            return False
