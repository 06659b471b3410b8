"""Context entries: which domain and which second-level table a function has (VT-d, "Context Entry").

The hard part is the order of the checks, because the first one that fails is the fault that software sees: presence,
reserved bits, address width, translation type. FPD counts even in an entry that is not present.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from vafw.hw.vtd.bits import CONTEXT_RESERVED, ContextEntry, TranslationType
from vafw.hw.vtd.capability import TableRules
from vafw.hw.vtd.fault_reason import FaultReason
from vafw.hw.vtd.root_table import find_context_table
from vafw.hw.vtd.table_walk import Blocked, TableMemory, read_entry


@final
@dataclass(frozen=True, slots=True)
class Context:
    """A context entry that passed every check."""

    domain: int
    levels: int
    table: int
    """The topmost second-level table; of no meaning where requests pass through."""
    limit: int
    """The first address beyond the input width."""
    kind: TranslationType
    quiet: bool
    """FPD: faults of this function are not recorded."""

    @property
    def pass_through(self) -> bool:
        """Device addresses are host addresses."""
        return self.kind is TranslationType.PASS_THROUGH

    @property
    def device_tlb(self) -> bool:
        """The function may ask for translations and send translated requests."""
        return self.kind is TranslationType.WITH_DEVICE_TLB


def context_entry_address(context_table: int, devfn: int) -> int:
    """Where the context entry of a device and function stands."""
    return context_table + devfn * 16


def find_context(memory: TableMemory, root_table: int, source_id: int, rules: TableRules) -> Context | Blocked:
    """The context of a requester; reasons 1, 2, 3, 8, 9, 0xA and 0xB."""
    table = find_context_table(memory, root_table, source_id >> 8, rules)
    if isinstance(table, Blocked):
        return table
    entry = read_entry(memory, context_entry_address(table, source_id & 0xFF))
    if entry is None:
        return Blocked(FaultReason.CONTEXT_TABLE_UNREADABLE)
    return decode_context(entry, rules)


def decode_context(entry: int, rules: TableRules) -> Context | Blocked:
    """What 128 bits say to a unit with these rules; reasons 2, 0xB and 3, in this order."""
    quiet = bool(ContextEntry.FPD.get(entry))
    if not ContextEntry.P.get(entry):
        return Blocked(FaultReason.CONTEXT_NOT_PRESENT, quiet)
    if entry & (CONTEXT_RESERVED | rules.beyond_host):
        return Blocked(FaultReason.CONTEXT_RESERVED, quiet)
    levels = ContextEntry.AW.get(entry) + 2
    kind = ContextEntry.TT.get(entry)
    if levels not in rules.levels or kind not in _supported(rules):
        return Blocked(FaultReason.CONTEXT_INVALID, quiet)
    return Context(
        domain=ContextEntry.DID.get(entry),
        levels=levels,
        table=entry & ContextEntry.SLPTPTR.mask,
        limit=1 << min(12 + 9 * levels, rules.guest_address_bits),
        kind=TranslationType(kind),
        quiet=quiet,
    )


def _supported(rules: TableRules) -> set[int]:
    kinds: set[int] = {TranslationType.UNTRANSLATED_ONLY}
    if rules.device_tlb:
        kinds.add(TranslationType.WITH_DEVICE_TLB)
    if rules.pass_through:
        kinds.add(TranslationType.PASS_THROUGH)
    return kinds
