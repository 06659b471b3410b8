"""Interrupt remapping: a message a device wrote becomes an interrupt, or a fault (VT-d, "Interrupt Remapping").

Without interrupt remapping a device can name any vector on any processor. With it a message only names an entry of a
table that the VMM owns (IRTE), and the entry says which requester may use it. The old compatibility format, which names
the vector itself, passes only while the VMM lets it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from vafw.address import Bdf
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.bits import IRTE_RESERVED, SQ_MASKS, FaultReason, Irte, MsiAddress, SourceValidation
from vafw.hw.vtd.fault import InterruptFault
from vafw.hw.vtd.walk import Blocked

_XAPIC_DST_RESERVED = 0xFFFF_00FF << 32
"""DST without extended interrupt mode: only bits 47:40 name a processor."""


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


@final
@dataclass(frozen=True, slots=True)
class BlockedInterrupt:
    """A fault of interrupt remapping and whether the entry wants it kept quiet."""

    fault: InterruptFault
    quiet: bool


def is_remappable(address: int) -> bool:
    """Whether the message is in remappable format."""
    return bool(MsiAddress.FORMAT.get(address))


def compatibility_interrupt(address: int, data: int) -> Interrupt:
    """What a message in compatibility format says by itself (SDM volume 3, "Message Signalled Interrupts")."""
    return Interrupt(
        vector=data & 0xFF,
        destination=address >> 12 & 0xFF,
        delivery_mode=data >> 8 & 7,
        logical=bool(address & 4),
        level_triggered=bool(data & 0x8000),
    )


@final
class InterruptTable:
    """The interrupt remapping table in memory, and the cache of its entries."""

    def __init__(self, memory: PhysicalMemory) -> None:
        self._memory = memory
        self.base = 0
        self.entries = 0
        self.extended = False
        """EIME: DST is a 32-bit x2APIC id."""
        self._cache: dict[int, tuple[int, Interrupt]] = {}
        """Index to an entry that passed every check but the requester's, and what it stands for."""

    def point_to(self, base: int, entries: int, *, extended: bool) -> None:
        """SIRTP: use the table at `base`; the cache stays until software invalidates it (CAP.ESIRTPS = 0)."""
        self.base = base
        self.entries = entries
        self.extended = extended

    def forget(self) -> None:
        """Global invalidation of the interrupt entry cache."""
        self._cache.clear()

    def forget_range(self, index: int, index_mask: int) -> None:
        """Index-selective: 2^`index_mask` entries around `index`."""
        for each in [each for each in self._cache if each >> index_mask == index >> index_mask]:
            del self._cache[each]

    def remap(self, source: Bdf, address: int, data: int) -> Interrupt | BlockedInterrupt:
        """The interrupt that a message in remappable format stands for; reasons 0x20 to 0x24 and 0x26."""
        handle = MsiAddress.HANDLE.get(address) | MsiAddress.HANDLE_15.get(address) << 15
        if address >> 32 or (data >> 16 if MsiAddress.SHV.get(address) else data):
            return _blocked(source, handle, FaultReason.REQUEST_RESERVED)
        index = handle + (data & 0xFFFF if MsiAddress.SHV.get(address) else 0)
        if index >= self.entries:
            return _blocked(source, index, FaultReason.INDEX_BEYOND_TABLE)
        known = self._cache.get(index) or self._fetch(index)
        if isinstance(known, Blocked):
            return _blocked(source, index, known.reason, quiet=known.quiet)
        entry, interrupt = known
        if not _verified(entry, source.requester_id):
            return _blocked(source, index, FaultReason.SOURCE_NOT_VERIFIED, quiet=bool(Irte.FPD.get(entry)))
        return interrupt

    def _fetch(self, index: int) -> tuple[int, Interrupt] | Blocked:
        """Read an entry from the table, and remember it if it is one."""
        raw = self._memory.read_ram(self.base + index * 16, 16)
        if raw is None:
            return Blocked(FaultReason.IRTE_UNREADABLE)
        entry = int.from_bytes(raw, "little")
        quiet = bool(Irte.FPD.get(entry))
        if not Irte.P.get(entry):
            return Blocked(FaultReason.IRTE_NOT_PRESENT, quiet)
        if entry & (IRTE_RESERVED if self.extended else IRTE_RESERVED | _XAPIC_DST_RESERVED):
            return Blocked(FaultReason.IRTE_RESERVED, quiet)
        known = self._cache[index] = (entry, _interrupt(entry, extended=self.extended))
        return known


def _interrupt(entry: int, *, extended: bool) -> Interrupt:
    destination = Irte.DST.get(entry)
    return Interrupt(
        vector=Irte.VECTOR.get(entry),
        destination=destination if extended else destination >> 8,
        delivery_mode=Irte.DLM.get(entry),
        logical=bool(Irte.DM.get(entry)),
        level_triggered=bool(Irte.TM.get(entry)),
    )


def _verified(entry: int, source_id: int) -> bool:
    """VT-d, "Source-id validation": the requester, all or part of it, or a range of buses (start in SID 15:8)."""
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


def _blocked(source: Bdf, index: int, reason: FaultReason, *, quiet: bool = False) -> BlockedInterrupt:
    return BlockedInterrupt(InterruptFault(source, index & 0xFFFF, reason), quiet)
