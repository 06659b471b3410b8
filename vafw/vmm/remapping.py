"""The VMM's driver of the remapping unit: which device may reach which memory and raise which interrupt.

    quarantine --attach--> domain --detach--> quarantine        (never from one domain to another)

A function without a context entry is in quarantine: every request of it is blocked. That is where all start, and where
`detach` puts them, caches emptied, before anyone else may have them; resetting the function is the caller's part. The
requester ids of one function are attached together or not at all. A domain-id is used again only after everything that
the unit remembers has been forgotten (the hard part: a stale entry of a retired id would speak for its next owner).

Every change of a present entry is followed by an invalidation that was seen to complete; frames go back after it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import final

from vafw.address import PAGE_SIZE, Bdf, Hpa, Iova
from vafw.errors import PlatformUnable
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.bits import (
    ContextCacheDescriptor,
    ContextEntry,
    DescriptorType,
    Granularity,
    InterruptEntryCacheDescriptor,
    IotlbDescriptor,
    Irte,
    MsiAddress,
    PagingEntry,
    RootEntry,
    SourceValidation,
)
from vafw.hw.vtd.fault_reason import FaultReason
from vafw.hw.vtd.registers import (
    OFFSETS,
    Capability,
    ExtendedCapability,
    FaultEventAddress,
    FaultEventControl,
    FaultEventData,
    FaultRecording,
    FaultStatus,
    GlobalCommand,
    InterruptTableAddress,
    ProtectedMemoryEnable,
    RootTableAddress,
)
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.remapping_registers import InvalidationQueue, UnitNotAnswering, UnitRegisters
from vafw.vmm.second_stage import MappingRefused, SecondStageTable

__all__ = ["RemappingDriver", "FaultRecord", "MappingRefused", "UnitNotAnswering"]

_INTERRUPT_ENTRIES = PAGE_SIZE // 16
_FORGET_CONTEXTS = ContextCacheDescriptor.pack(TYPE=DescriptorType.CONTEXT_CACHE, G=Granularity.GLOBAL)
_FORGET_PAGES = IotlbDescriptor.pack(TYPE=DescriptorType.IOTLB, G=Granularity.GLOBAL, DR=1, DW=1)
_FORGET_INTERRUPTS = InterruptEntryCacheDescriptor.pack(TYPE=DescriptorType.INTERRUPT_ENTRY_CACHE)


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


@final
@dataclass(slots=True)
class _Domain:
    """One address space of devices."""

    table: SecondStageTable
    functions: set[Bdf] = field(default_factory=set)


@final
class RemappingDriver:
    """Drives one unit. Raises MappingRefused, OutOfFrames, and UnitNotAnswering, after which nothing may be assumed."""

    def __init__(self, memory: PhysicalMemory, frames: FrameAllocator, unit_base: Hpa) -> None:
        """Reads what the unit can do; `enable` starts it."""
        self._memory = memory
        self._frames = frames
        self._registers = UnitRegisters(memory, unit_base)
        self._cap = self._registers.read(Capability)
        self._levels = _levels(self._cap)
        self._root_table = self._new_table()
        self._interrupt_table = self._new_table()
        self._context_tables: dict[int, Hpa] = {}
        self._domains: dict[int, _Domain] = {}
        self._domain_of: dict[Bdf, int] = {}
        self._unused_ids = list(range((1 << 2 * self._cap.ND + 4) - 1, 0, -1))
        self._retired_ids: list[int] = []
        self._interrupt_of: dict[Bdf, int] = {}
        self._queue: InvalidationQueue | None = None
        self.records_lost = False
        """The unit could not record every blocked request since the start (FSTS.PFO was seen)."""

    def enable(self, *, fault_vector: int | None = None) -> None:
        """Put every device behind empty tables: DMA and interrupts of all are blocked when this returns.

        From then on the tables protect what a measured launch protected by regions (PMEN), which are switched off.

        `fault_vector` asks for an interrupt on processor 0 when a request is blocked. PlatformUnable without interrupt
        remapping: a device that can forge interrupts cannot be isolated.
        """
        if self._queue is not None:
            raise MappingRefused("remapping must be enabled once")
        able = self._registers.read(ExtendedCapability)
        if not (able.QI and able.IR):
            raise PlatformUnable("the remapping unit must have queued invalidation and interrupt remapping")
        registers = self._registers
        registers.write(RootTableAddress, RootTableAddress.pack(RTA=self._root_table >> 12))
        registers.switch(GlobalCommand.pack(SRTP=1))
        registers.switch(GlobalCommand.pack(QIE=1), on=False)
        self._queue = InvalidationQueue(self._memory, self._frames, registers)
        size = _INTERRUPT_ENTRIES.bit_length() - 2
        registers.write(InterruptTableAddress, InterruptTableAddress.pack(S=size, IRTA=self._interrupt_table >> 12))
        registers.switch(GlobalCommand.pack(SIRTP=1))
        self._invalidate(_FORGET_CONTEXTS, _FORGET_PAGES, _FORGET_INTERRUPTS)
        registers.switch(GlobalCommand.pack(CFI=1), on=False)
        registers.switch(GlobalCommand.pack(IRE=1))
        registers.switch(GlobalCommand.pack(TE=1))
        registers.write(ProtectedMemoryEnable, 0)
        if fault_vector is not None:
            registers.write(FaultEventData, fault_vector)
            registers.write(FaultEventAddress, MsiAddress.pack(FEE=0xFEE))
            registers.write(FaultEventControl, 0)

    def create_domain(self) -> int:
        """A new empty address space; its domain-id is fresh, or nothing that the unit remembers can carry it."""
        if not self._unused_ids and self._retired_ids:
            self._invalidate(_FORGET_CONTEXTS, _FORGET_PAGES)
            self._unused_ids, self._retired_ids = self._retired_ids, []
        if not self._unused_ids:
            raise MappingRefused(f"there must be at most {len(self._domains)} domains at a time on this unit")
        table = SecondStageTable(self._memory, self._frames, self._levels)
        domain = self._unused_ids.pop()
        self._domains[domain] = _Domain(table)
        return domain

    def destroy_domain(self, domain: int) -> None:
        """End an address space that no function is attached to; its id retires and its tables' frames are free."""
        found = self._require(domain)
        if found.functions:
            names = ", ".join(str(each) for each in sorted(found.functions))
            raise MappingRefused(f"domain {domain} must have no functions when it ends, but has {names}")
        del self._domains[domain]
        self._retired_ids.append(domain)
        self._invalidate(_forget_domain(domain))
        found.table.release()

    def map(self, domain: int, iova: Iova, hpa: Hpa, size: int, *, read: bool = True, write: bool = True) -> None:
        """Let the domain's functions reach `size` bytes at `hpa` as `iova`; whole or not at all."""
        if not (read or write):
            raise MappingRefused("a mapping must allow reading, writing or both")
        self._require(domain).table.map(iova, hpa, size, PagingEntry.pack(R=int(read), W=int(write)))
        if self._cap.CM:
            self._invalidate(_forget_range(domain, iova, size))

    def unmap(self, domain: int, iova: Iova, size: int) -> None:
        """Take a mapping back; when this returns no function of the domain reaches the memory any more."""
        self._require(domain).table.unmap(iova, size)
        self._invalidate(_forget_range(domain, iova, size))

    def attach(self, bdf: Bdf, domain: int, *, aliases: Sequence[Bdf] = ()) -> None:
        """Give a function, with every requester id it may use, to a domain; all of them or none."""
        found = self._require(domain)
        functions = tuple(dict.fromkeys((bdf, *aliases)))
        for each in functions:
            if each in self._domain_of:
                raise MappingRefused(
                    f"function {each} must be detached from domain {self._domain_of[each]} "
                    f"before it is attached to domain {domain}"
                )
        entries = [self._context_entry(each) for each in functions]
        content = ContextEntry.pack(P=1, AW=self._levels - 2, DID=domain, SLPTPTR=found.table.root >> 12)
        for each, entry in zip(functions, entries, strict=True):
            self._memory.write(entry, content.to_bytes(16, "little"))
            self._domain_of[each] = domain
            found.functions.add(each)
        self._invalidate(*(_forget_context(each) for each in functions), _forget_domain(domain))

    def detach(self, bdf: Bdf) -> None:
        """Put a function into quarantine: no memory, no interrupt, nothing remembered; it may be there already."""
        domain = self._domain_of.get(bdf)
        if domain is not None:
            self._memory.write(self._context_entry(bdf), bytes(16))
            self._invalidate(_forget_context(bdf), _forget_domain(domain))
            self._domains[domain].functions.discard(bdf)
            del self._domain_of[bdf]
        self.unmap_interrupt(bdf)

    def domain_of(self, bdf: Bdf) -> int | None:
        """The domain a function is attached to; None in quarantine."""
        return self._domain_of.get(bdf)

    def map_interrupt(self, bdf: Bdf, vector: int, destination: int) -> tuple[int, int]:
        """Let a function raise one vector on one processor; returns the MSI address and data to program it with."""
        if not (0x10 <= vector <= 0xFE and 0 <= destination <= 0xFE):
            raise MappingRefused(
                f"an interrupt must be vector 16-254 on processor 0-254, not {vector} on {destination}"
            )
        self._require_enabled()
        index = self._interrupt_of.get(bdf)
        if index is None:
            index = next((each for each in range(_INTERRUPT_ENTRIES) if each not in self._interrupt_of.values()), None)
        if index is None:
            raise MappingRefused(f"at most {_INTERRUPT_ENTRIES} functions must have an interrupt at a time")
        entry = Irte.pack(
            P=1, VECTOR=vector, DST=destination << 8, SVT=SourceValidation.REQUESTER_ID, SID=bdf.requester_id
        )
        self._interrupt_of[bdf] = index
        self._write_interrupt(index, entry)
        return MsiAddress.pack(FEE=0xFEE, FORMAT=1, HANDLE=index), 0

    def unmap_interrupt(self, bdf: Bdf) -> None:
        """Take a function's interrupt back; nothing happens to one that has none."""
        index = self._interrupt_of.get(bdf)
        if index is not None:
            self._write_interrupt(index, 0)
            del self._interrupt_of[bdf]

    def faults(self) -> tuple[FaultRecord, ...]:
        """Read the unit's fault records and clear them, and then the overflow, so that it records again."""
        status = self._registers.read(FaultStatus)
        if not (status.PPF or status.PFO):
            return ()
        first = OFFSETS[FaultRecording]
        found = []
        for offset in range(first, first + 16 * (self._cap.NFR + 1), 16):
            record = self._registers.read(FaultRecording, offset)
            if record.F:
                found.append(_fault(record))
                self._memory.write_u32(Hpa(self._registers.base + offset + 12), 1 << 31)
        if status.PFO:
            self.records_lost = True
            self._registers.write(FaultStatus, FaultStatus.pack(PFO=1))
        return tuple(found)

    def _require(self, domain: int) -> _Domain:
        self._require_enabled()
        if domain not in self._domains:
            raise MappingRefused(f"domain must be one of {sorted(self._domains)}, not {domain}")
        return self._domains[domain]

    def _invalidate(self, *descriptors: int) -> None:
        self._require_enabled().submit(*descriptors)

    def _require_enabled(self) -> InvalidationQueue:
        if self._queue is None:
            raise MappingRefused("remapping must be enabled before devices change hands")
        return self._queue

    def _new_table(self) -> Hpa:
        table = self._frames.allocate()
        self._memory.clear(table, PAGE_SIZE)
        return table

    def _context_entry(self, bdf: Bdf) -> Hpa:
        """Where a function's context entry stands; the first function of a bus gets the bus a table."""
        table = self._context_tables.get(bdf.bus)
        if table is None:
            table = self._context_tables[bdf.bus] = self._new_table()
            root = RootEntry.pack(P=1, CTP=table >> 12)
            self._memory.write(Hpa(self._root_table + bdf.bus * 16), root.to_bytes(16, "little"))
        return Hpa(table + bdf.devfn * 16)

    def _write_interrupt(self, index: int, entry: int) -> None:
        """Change an IRTE and make the unit forget the one before."""
        self._memory.write(Hpa(self._interrupt_table + index * 16), entry.to_bytes(16, "little"))
        self._invalidate(InterruptEntryCacheDescriptor.pack(TYPE=DescriptorType.INTERRUPT_ENTRY_CACHE, G=1, IIDX=index))


def _levels(cap: Capability) -> int:
    """The depth of the tables: 4 levels where the unit can, else 3 or 5 (CAP.SAGAW)."""
    for levels in (4, 3, 5):
        if cap.SAGAW >> levels - 2 & 1:
            return levels
    raise PlatformUnable("the remapping unit must support second-stage tables of 3, 4 or 5 levels")


def _fault(record: FaultRecording) -> FaultRecord:
    reason = FaultReason(record.FR)
    address = record.FI << 12
    return FaultRecord(
        source=Bdf.from_requester_id(record.SID),
        reason=reason,
        address=Iova(address >> 48 if reason.is_interrupt else address),
        write=not record.T,
    )


def _forget_context(bdf: Bdf) -> int:
    return ContextCacheDescriptor.pack(TYPE=DescriptorType.CONTEXT_CACHE, G=Granularity.PAGE, SID=bdf.requester_id)


def _forget_domain(domain: int) -> int:
    return IotlbDescriptor.pack(TYPE=DescriptorType.IOTLB, G=Granularity.DOMAIN, DID=domain, DR=1, DW=1)


def _forget_range(domain: int, iova: int, size: int) -> int:
    """Page-selective where the range is one aligned power of two that the unit takes, else the whole domain."""
    pages = size // PAGE_SIZE
    mask = pages.bit_length() - 1
    if pages & pages - 1 or iova % size or mask > 18:
        return _forget_domain(domain)
    return IotlbDescriptor.pack(
        TYPE=DescriptorType.IOTLB, G=Granularity.PAGE, DID=domain, AM=mask, ADDR=iova >> 12, DR=1, DW=1
    )
