"""The DMA and interrupt remapping unit of VT-d, legacy mode: one file a mechanism.

Tables: `root_table`, `context` and `second_level`, read by the unit and by whoever has a page dump. Caches:
`context_cache`, `paging_structures` and `iotlb`; `invalidation` with its two interfaces, registers and queue. `faults`
records what is blocked. `interrupt_remapping`, `interrupt_message` and `posted_interrupts` are the other half of the
unit; `ats` is what devices cache themselves. `register_file` and `registers` are the page that software sees, `unit` is
the whole.
"""

from vafw.hw.vtd.blocked_request import AddressType, Completion, DmaFault, InterruptFault
from vafw.hw.vtd.capability import TableRules, UnitCapability
from vafw.hw.vtd.fault_reason import FaultReason
from vafw.hw.vtd.interrupt_message import Interrupt
from vafw.hw.vtd.unit import RemappingUnit, Translation

__all__ = [
    "RemappingUnit",
    "UnitCapability",
    "TableRules",
    "Translation",
    "Interrupt",
    "DmaFault",
    "InterruptFault",
    "FaultReason",
    "Completion",
    "AddressType",
]
