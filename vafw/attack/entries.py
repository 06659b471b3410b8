"""Where the entries of a device's translation stand in memory: found by hand, from the root table down.

Only for attacks that change a table behind the unit's back. Not the unit's walker: no rights, no faults, no caches.
"""

from __future__ import annotations

from vafw.address import Bdf, Hpa, Iova
from vafw.hw.memory import PhysicalMemory
from vafw.hw.pc import REMAPPING_UNIT
from vafw.hw.vtd.bits import ContextEntry, PagingEntry, RootEntry
from vafw.hw.vtd.registers import RootTableAddress
from vafw.vmm.remapping_registers import UnitRegisters


def context_entry(memory: PhysicalMemory, bdf: Bdf) -> Hpa:
    """The address of the context entry of a function whose bus has a table."""
    root_table = UnitRegisters(memory, REMAPPING_UNIT).read(RootTableAddress).RTA << 12
    root = int.from_bytes(memory.read(Hpa(root_table + bdf.bus * 16), 16), "little")
    return Hpa((RootEntry.CTP.get(root) << 12) + bdf.devfn * 16)


def leaf_entry(memory: PhysicalMemory, bdf: Bdf, iova: Iova | Hpa) -> Hpa:
    """The address of the entry that maps a device address for a function that is attached."""
    context = int.from_bytes(memory.read(context_entry(memory, bdf), 16), "little")
    table = ContextEntry.SLPTPTR.get(context) << 12
    for level in range(ContextEntry.AW.get(context) + 2, 0, -1):
        at = Hpa(table + (iova >> 3 + 9 * level & 0x1FF) * 8)
        entry = memory.read_u64(at)
        if level == 1 or PagingEntry.PS.get(entry):
            return at
        table = PagingEntry.ADDR.get(entry) << 12
    raise AssertionError("a walk ends at level 1")
