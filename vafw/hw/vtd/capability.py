"""What one implementation of the remapping unit can do, as CAP and ECAP say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from vafw.hw.vtd.bits import OFFSETS, Capability, ExtendedCapability, FaultRecording, InvalidateAddress

DOMAIN_ID_BITS = 16
MAXIMUM_ADDRESS_MASK = 18
"""CAP.MAMV: one page-selective invalidation covers at most 2^18 pages."""


@final
@dataclass(frozen=True, slots=True)
class UnitCapability:
    """The choices that the specification leaves to an implementation."""

    guest_address_bits: int = 48
    """39, 48 or 57: the widest second-stage table; narrower ones are supported too."""
    host_address_bits: int = 46
    fault_records: int = 8
    caching_mode: bool = False
    """CAP.CM: not-present translations are cached, so software must invalidate when it maps, too."""

    def __post_init__(self) -> None:
        """Refuse what no unit can be."""
        if self.guest_address_bits not in (39, 48, 57):
            raise ValueError(f"guest_address_bits must be 39, 48 or 57, not {self.guest_address_bits}")
        if not (36 <= self.host_address_bits <= 52 and 1 <= self.fault_records <= 128):
            raise ValueError("a unit must have 36 to 52 host address bits and 1 to 128 fault records")

    @property
    def levels(self) -> range:
        """The supported depths of second-stage tables."""
        return range(3, (self.guest_address_bits - 12) // 9 + 1)

    @property
    def cap(self) -> Capability:
        """CAP."""
        return Capability(
            Capability.pack(
                ND=(DOMAIN_ID_BITS - 4) // 2,
                PLMR=1,
                PHMR=1,
                CM=int(self.caching_mode),
                SAGAW=sum(1 << levels - 2 for levels in self.levels),
                MGAW=self.guest_address_bits - 1,
                FRO=OFFSETS[FaultRecording] // 16,
                SLLPS=0b11,
                PSI=1,
                NFR=self.fault_records - 1,
                MAMV=MAXIMUM_ADDRESS_MASK,
                DWD=1,
                DRD=1,
            )
        )

    @property
    def ecap(self) -> ExtendedCapability:
        """ECAP: queued invalidation, interrupt remapping and pass-through; no device TLBs, no snoop control."""
        return ExtendedCapability(
            ExtendedCapability.pack(C=1, QI=1, IR=1, EIM=1, PT=1, IRO=OFFSETS[InvalidateAddress] // 16, MHMV=15)
        )
