"""The DMA and interrupt remapping unit of VT-d, legacy mode."""

from vafw.hw.vtd.bits import FaultReason
from vafw.hw.vtd.capability import UnitCapability
from vafw.hw.vtd.fault import Completion, DmaFault, InterruptFault
from vafw.hw.vtd.interrupt import Interrupt
from vafw.hw.vtd.unit import RemappingUnit, Translation

__all__ = [
    "RemappingUnit",
    "UnitCapability",
    "Translation",
    "Interrupt",
    "DmaFault",
    "InterruptFault",
    "FaultReason",
    "Completion",
]
