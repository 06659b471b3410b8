"""The root table: one entry for each bus, which names the bus's context table (VT-d, "Root Entry")."""

from __future__ import annotations

from vafw.hw.vtd.bits import ROOT_RESERVED, RootEntry
from vafw.hw.vtd.capability import TableRules
from vafw.hw.vtd.fault_reason import FaultReason
from vafw.hw.vtd.table_walk import Blocked, TableMemory, read_entry


def root_entry_address(root_table: int, bus: int) -> int:
    """Where the root entry of a bus stands."""
    return root_table + bus * 16


def find_context_table(memory: TableMemory, root_table: int, bus: int, rules: TableRules) -> int | Blocked:
    """The address of a bus's context table; reasons 8, 1 and 0xA, in this order."""
    entry = read_entry(memory, root_entry_address(root_table, bus))
    if entry is None:
        return Blocked(FaultReason.ROOT_TABLE_UNREADABLE)
    if not RootEntry.P.get(entry):
        return Blocked(FaultReason.ROOT_NOT_PRESENT)
    if entry & (ROOT_RESERVED | rules.beyond_host):
        return Blocked(FaultReason.ROOT_RESERVED)
    return entry & RootEntry.CTP.mask
