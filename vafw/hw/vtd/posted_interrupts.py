"""Posted interrupts: an interrupt is left for a virtual processor in memory (VT-d, "Interrupt Posting").

The descriptor collects vectors in PIR. Its owner, a physical processor, is notified by one ordinary interrupt for all
that gathered since it last looked (ON), and for none while it does not run the virtual processor (SN), unless the
entry is urgent.
"""

from __future__ import annotations

from typing import Final

from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.bits import POSTED_DESCRIPTOR_RESERVED, PostedDescriptor, PostedIrte
from vafw.hw.vtd.fault_reason import FaultReason
from vafw.hw.vtd.interrupt_message import Interrupt

_BYTES: Final = 40
"""Of the 64 bytes of a descriptor, those that have meaning for the unit."""


def post(memory: PhysicalMemory, entry: int, *, extended: bool) -> Interrupt | FaultReason | None:
    """Post what a present IRTE in posted format stands for; the notification to send, or None where none is due."""
    address = PostedIrte.PDAL.get(entry) << 6 | PostedIrte.PDAH.get(entry) << 32
    raw = memory.read_ram(address, _BYTES)
    if raw is None:
        return FaultReason.POSTED_DESCRIPTOR_UNREADABLE
    descriptor = int.from_bytes(raw, "little")
    if descriptor & POSTED_DESCRIPTOR_RESERVED:
        return FaultReason.POSTED_DESCRIPTOR_RESERVED
    suppressed = PostedDescriptor.SN.get(descriptor) and not PostedIrte.URG.get(entry)
    notify = not PostedDescriptor.ON.get(descriptor) and not suppressed
    descriptor |= 1 << PostedIrte.VECTOR.get(entry)
    if notify:
        descriptor |= PostedDescriptor.ON.mask
    memory.write_ram(address, descriptor.to_bytes(_BYTES, "little"))
    return _notification(descriptor, extended=extended) if notify else None


def _notification(descriptor: int, *, extended: bool) -> Interrupt:
    destination = PostedDescriptor.NDST.get(descriptor)
    return Interrupt(PostedDescriptor.NV.get(descriptor), destination if extended else destination >> 8 & 0xFF)
