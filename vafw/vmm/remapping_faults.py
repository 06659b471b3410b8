"""What the remapping unit has blocked, read from its fault records and cleared there."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from vafw.address import Bdf, Iova
from vafw.hw.vtd.fault_reason import FaultReason
from vafw.hw.vtd.registers import OFFSETS, FaultRecording, FaultStatus
from vafw.vmm.remapping_registers import UnitRegisters


@final
@dataclass(frozen=True, slots=True)
class FaultRecord:
    """One blocked request as the unit recorded it; several requests may have become one record."""

    source: Bdf
    reason: FaultReason
    address: Iova
    """The page of a memory request; the index of an interrupt request."""
    write: bool

    def __str__(self) -> str:
        if self.reason.is_interrupt:
            return f"interrupt {self.address:#x} by {self.source} blocked: {self.reason.text}"
        return (
            f"DMA {'write' if self.write else 'read'} by {self.source} at {self.address:#x} blocked: {self.reason.text}"
        )


def take_faults(registers: UnitRegisters, count: int) -> tuple[tuple[FaultRecord, ...], bool]:
    """Every pending one of `count` records, and whether more were lost; cleared, so that the unit records again."""
    status = registers.read(FaultStatus)
    if not (status.PPF or status.PFO):
        return (), False
    first = OFFSETS[FaultRecording]
    found = []
    for offset in range(first, first + 16 * count, 16):
        record = registers.read(FaultRecording, offset)
        if record.F:
            found.append(_fault(record))
            registers.write_dword(offset + 12, 1 << 31)
    if status.PFO:
        registers.write(FaultStatus, FaultStatus.pack(PFO=1))
    return tuple(found), bool(status.PFO)


def _fault(record: FaultRecording) -> FaultRecord:
    reason = FaultReason(record.FR)
    address = record.FI << 12
    return FaultRecord(
        source=Bdf.from_requester_id(record.SID),
        reason=reason,
        address=Iova(address >> 48 if reason.is_interrupt else address),
        write=not record.T,
    )
