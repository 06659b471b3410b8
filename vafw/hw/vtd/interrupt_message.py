"""Interrupts as messages: MSI in both formats, I/O APIC entries, and what a message asks a processor for.

Layout and decoding only; whether a message may pass is `interrupt_remapping`'s question (VT-d, "Interrupt Remapping";
SDM volume 3, "Message Signalled Interrupts").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from vafw.hw.vtd.bits import IO_APIC_RESERVED, CompatibleIoApicEntry, IoApicEntry, MsiAddress
from vafw.hw.vtd.fault_reason import FaultReason

_ASSERT: Final = 1 << 14
_TRIGGER: Final = 1 << 15


@final
@dataclass(frozen=True, slots=True)
class Interrupt:
    """An interrupt on its way to a processor."""

    vector: int
    destination: int
    """APIC id, or a logical set of processors where `logical`."""
    delivery_mode: int = 0
    logical: bool = False
    level_triggered: bool = False
    redirection_hint: bool = False

    def message(self) -> tuple[int, int]:
        """The (address, data) that a local APIC understands; the destination has eight bits there."""
        address = 0xFEE0_0000 | (self.destination & 0xFF) << 12 | self.redirection_hint << 3 | self.logical << 2
        data = self.level_triggered << 15 | _ASSERT | self.delivery_mode << 8 | self.vector
        return address, data


def is_remappable(address: int) -> bool:
    """Whether a message is in remappable format."""
    return bool(MsiAddress.FORMAT.get(address))


def compatibility_interrupt(address: int, data: int) -> Interrupt:
    """What a message in compatibility format says by itself."""
    return Interrupt(
        vector=data & 0xFF,
        destination=address >> 12 & 0xFF,
        delivery_mode=data >> 8 & 7,
        logical=bool(address & 4),
        level_triggered=bool(data & _TRIGGER),
        redirection_hint=bool(address & 8),
    )


def message_index(address: int, data: int) -> int | FaultReason:
    """The interrupt index that a message in remappable format names; REQUEST_RESERVED for one that is malformed."""
    if address >> 32:
        return FaultReason.REQUEST_RESERVED
    handle = MsiAddress.HANDLE.get(address) | MsiAddress.HANDLE_15.get(address) << 15
    if MsiAddress.SHV.get(address):
        return FaultReason.REQUEST_RESERVED if data >> 16 else handle + data
    return FaultReason.REQUEST_RESERVED if data else handle


def is_remappable_entry(entry: int) -> bool:
    """Whether an I/O APIC's entry is in remappable format."""
    return bool(IoApicEntry.FORMAT.get(entry))


def entry_index(entry: int) -> int | FaultReason:
    """The interrupt index that an I/O APIC's entry in remappable format names."""
    if entry & IO_APIC_RESERVED:
        return FaultReason.REQUEST_RESERVED
    return IoApicEntry.INDEX.get(entry) | IoApicEntry.INDEX_15.get(entry) << 15


def compatibility_entry(entry: int) -> Interrupt:
    """What an I/O APIC's entry in compatibility format says by itself."""
    layout = CompatibleIoApicEntry
    return Interrupt(
        vector=layout.VECTOR.get(entry),
        destination=layout.DESTINATION.get(entry),
        delivery_mode=layout.DELIVERY_MODE.get(entry),
        logical=bool(layout.LOGICAL.get(entry)),
        level_triggered=bool(layout.TRIGGER.get(entry)),
    )
