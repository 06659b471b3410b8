"""What a remapping unit can do, as CAP and ECAP say it, and which tables are legal for it.

`UnitCapability` are the choices of a unit that the model makes; `TableRules` is what any unit's registers say about
tables, so that the same walkers serve the modelled unit and the tables that were dumped from a real machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, final

from vafw.hw.vtd.bits import PAGING_IGNORED, PagingEntry
from vafw.hw.vtd.registers import OFFSETS, Capability, ExtendedCapability, FaultRecording, InvalidateAddress

DOMAIN_ID_BITS = 16
MAXIMUM_ADDRESS_MASK = 18
"""CAP.MAMV: one page-selective invalidation covers at most 2^18 pages."""
_U64: Final = (1 << 64) - 1


@final
@dataclass(frozen=True, slots=True)
class TableRules:
    """Which entries a unit takes for well-formed."""

    levels: frozenset[int]
    """The supported depths of second-level tables, of 2 to 6 (CAP.SAGAW)."""
    guest_address_bits: int
    """CAP.MGAW: no device address is wider, however deep the table."""
    host_address_bits: int
    """HAW: address bits from here up are reserved in every entry."""
    large_page_levels: frozenset[int]
    """Levels whose entries may have PS: 2 for 2 MiB, 3 for 1 GiB (CAP.SLLPS)."""
    pass_through: bool
    device_tlb: bool
    snoop_control: bool
    extended_interrupts: bool
    posted_interrupts: bool

    @classmethod
    def of(cls, cap: Capability, ecap: ExtendedCapability, *, host_address_bits: int) -> TableRules:
        """Read them from the capability registers; HAW stands in none (it is in the ACPI DMAR table)."""
        return cls(
            levels=frozenset(level for level in range(2, 7) if cap.SAGAW >> level - 2 & 1),
            guest_address_bits=cap.MGAW + 1,
            host_address_bits=host_address_bits,
            large_page_levels=frozenset(level for level in (2, 3) if cap.SLLPS >> level - 2 & 1),
            pass_through=bool(ecap.PT),
            device_tlb=bool(ecap.DT),
            snoop_control=bool(ecap.SC),
            extended_interrupts=bool(ecap.EIM),
            posted_interrupts=bool(cap.PI),
        )

    @property
    def beyond_host(self) -> int:
        """The address bits of a 64-bit word that no memory has."""
        return _U64 & ~((1 << self.host_address_bits) - 1)

    def table_reserved(self, level: int) -> int:
        """Reserved bits of a paging entry of `level`, 2 or above, that leads to a table."""
        page_size = 0 if level in self.large_page_levels else PagingEntry.PS.mask
        return self.beyond_host & ~PAGING_IGNORED | PagingEntry.SNP.mask | page_size

    def leaf_reserved(self, level: int) -> int:
        """Reserved bits of a paging entry of `level` that maps a page, the page's low address bits included."""
        reserved = self.beyond_host & ~PAGING_IGNORED | (1 << 3 + 9 * level) - (1 << 12)
        if self.device_tlb:
            reserved &= ~PagingEntry.TM.mask
        return reserved if self.snoop_control else reserved | PagingEntry.SNP.mask


@final
@dataclass(frozen=True, slots=True)
class UnitCapability:
    """The choices that the specification leaves to an implementation."""

    guest_address_bits: int = 48
    """39, 48 or 57: the widest second-level table; narrower ones are supported too."""
    host_address_bits: int = 46
    fault_records: int = 8
    caching_mode: bool = False
    """CAP.CM: not-present translations are cached, so software must invalidate when it maps, too."""
    device_tlb: bool = False
    """ECAP.DT: devices that are granted it may cache translations (PCIe ATS)."""
    snoop_control: bool = False
    """ECAP.SC: paging entries may force requests to snoop the processors' caches."""
    posted_interrupts: bool = False
    """CAP.PI: interrupts may be left for a virtual processor in a descriptor in memory."""

    def __post_init__(self) -> None:
        """Refuse what no unit can be."""
        if self.guest_address_bits not in (39, 48, 57):
            raise ValueError(f"guest_address_bits must be 39, 48 or 57, not {self.guest_address_bits}")
        if not (36 <= self.host_address_bits <= 52 and 1 <= self.fault_records <= 128):
            raise ValueError("a unit must have 36 to 52 host address bits and 1 to 128 fault records")

    @property
    def cap(self) -> Capability:
        """CAP."""
        deepest = (self.guest_address_bits - 12) // 9
        return Capability(
            Capability.pack(
                ND=(DOMAIN_ID_BITS - 4) // 2,
                PLMR=1,
                PHMR=1,
                CM=int(self.caching_mode),
                SAGAW=sum(1 << levels - 2 for levels in range(3, deepest + 1)),
                MGAW=self.guest_address_bits - 1,
                FRO=OFFSETS[FaultRecording] // 16,
                SLLPS=0b11,
                PSI=1,
                NFR=self.fault_records - 1,
                MAMV=MAXIMUM_ADDRESS_MASK,
                DWD=1,
                DRD=1,
                PI=int(self.posted_interrupts),
            )
        )

    @property
    def ecap(self) -> ExtendedCapability:
        """ECAP: queued invalidation, interrupt remapping and pass-through, and what was chosen; legacy mode only."""
        return ExtendedCapability(
            ExtendedCapability.pack(
                C=1,
                QI=1,
                DT=int(self.device_tlb),
                IR=1,
                EIM=1,
                PT=1,
                SC=int(self.snoop_control),
                IRO=OFFSETS[InvalidateAddress] // 16,
                MHMV=15,
            )
        )

    @property
    def rules(self) -> TableRules:
        """Which tables this unit takes."""
        return TableRules.of(self.cap, self.ecap, host_address_bits=self.host_address_bits)
