"""All that an interrupt remapping table says, entry by entry, and what becomes of one message under it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import final

from vafw.address import Bdf
from vafw.hw.vtd.bits import SQ_MASKS, Irte, PostedIrte, SourceValidation
from vafw.hw.vtd.capability import TableRules
from vafw.hw.vtd.fault_reason import FaultReason
from vafw.hw.vtd.interrupt_message import Interrupt, message_index
from vafw.hw.vtd.interrupt_remapping import (
    InterruptTable,
    find_irte,
    irte_address,
    is_verified,
    remapped_interrupt,
)
from vafw.hw.vtd.page_dump import NotDumped
from vafw.hw.vtd.registers import InterruptTableAddress
from vafw.hw.vtd.table_walk import Blocked, TableMemory


@final
@dataclass(frozen=True, slots=True)
class Posting:
    """What an entry in posted format stands for."""

    vector: int
    descriptor: int
    """Host-physical address of the posted interrupt descriptor."""
    urgent: bool


@final
@dataclass(frozen=True, slots=True)
class IrteListing:
    """One entry that is not empty."""

    index: int
    entry: int
    meaning: Interrupt | Posting | Blocked
    source: str
    """Who may use it, in words."""


def interrupt_table(irta: int) -> InterruptTable:
    """The table that IRTA names."""
    register = InterruptTableAddress(irta)
    return InterruptTable(register.IRTA << 12, 2 << register.S, extended=bool(register.EIME))


def list_interrupts(memory: TableMemory, table: InterruptTable, rules: TableRules) -> Iterator[IrteListing]:
    """Every entry that is not all zero, in order; NotDumped where a page of the table is not there."""
    for first in range(0, table.entries, 256):
        length = min(256, table.entries - first) * 16
        raw = memory.read_ram(irte_address(table, first), length)
        if raw is None:
            raise NotDumped(irte_address(table, first), length)
        for offset in range(0, length, 16):
            entry = int.from_bytes(raw[offset : offset + 16], "little")
            if entry:
                index = first + offset // 16
                yield IrteListing(index, entry, _meaning(memory, table, index, rules), source_text(entry))


def follow_message(
    memory: TableMemory, table: InterruptTable, rules: TableRules, source_id: int, *, address: int, data: int
) -> IrteListing | Blocked:
    """The entry that a requester's message in remappable format leads to, or why it is blocked; nothing is posted."""
    index = message_index(address, data)
    if isinstance(index, FaultReason):
        return Blocked(index)
    if index >= table.entries:
        return Blocked(FaultReason.INDEX_BEYOND_TABLE)
    entry = find_irte(memory, table, index, rules)
    if isinstance(entry, Blocked):
        return entry
    if not is_verified(entry, source_id):
        return Blocked(FaultReason.SOURCE_NOT_VERIFIED, bool(Irte.FPD.get(entry)))
    return IrteListing(index, entry, _meaning(memory, table, index, rules), source_text(entry))


def _meaning(
    memory: TableMemory, table: InterruptTable, index: int, rules: TableRules
) -> Interrupt | Posting | Blocked:
    entry = find_irte(memory, table, index, rules)
    if isinstance(entry, Blocked):
        return entry
    if not PostedIrte.IM.get(entry):
        return remapped_interrupt(entry, extended=table.extended)
    address = PostedIrte.PDAL.get(entry) << 6 | PostedIrte.PDAH.get(entry) << 32
    return Posting(PostedIrte.VECTOR.get(entry), address, bool(PostedIrte.URG.get(entry)))


def source_text(entry: int) -> str:
    """Who may use an entry, as its SVT, SQ and SID say."""
    allowed = Irte.SID.get(entry)
    match Irte.SVT.get(entry):
        case SourceValidation.NONE:
            return "anybody"
        case SourceValidation.REQUESTER_ID:
            mask = SQ_MASKS[Irte.SQ.get(entry)]
            within = "" if mask == 0xFFFF else f" (bits {mask:#06x})"
            return f"{Bdf.from_requester_id(allowed)}{within}"
        case SourceValidation.BUS_RANGE:
            return f"bus {allowed >> 8:02x}-{allowed & 0xFF:02x}"
        case _:
            return "nobody (SVT 3)"
