"""The VMM's driver of the remapping unit: which device may reach which memory and raise which interrupt.

    quarantine --attach--> domain --cut off, forget--> quarantine        (never from one domain to another)

A function without a context entry is in quarantine: every request of it is blocked. That is where all start. `cut_off`
takes its entries away and `forget` makes the unit and the device forget them; until that has been seen to complete, a
request may still be served from what is remembered, so nothing of the domain may be given to anyone else. The order of
these and the function's reset are `hand_over`'s part.

The requester ids of one function are attached together or not at all. A domain-id is used again only after everything
the unit remembers has been forgotten (the hard part: a stale entry of a retired id would speak for its next owner). A
domain whose flush did not complete is never ended: its frames and its id stay out of use.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import final

from vafw.address import PAGE_SIZE, Bdf, Hpa, Iova
from vafw.errors import PlatformUnable
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.bits import (
    ContextCacheDescriptor,
    ContextEntry,
    DescriptorType,
    DeviceTlbDescriptor,
    Granularity,
    InterruptEntryCacheDescriptor,
    IotlbDescriptor,
    MsiAddress,
    PagingEntry,
    TranslationType,
)
from vafw.hw.vtd.registers import (
    Capability,
    ExtendedCapability,
    FaultEventAddress,
    FaultEventControl,
    FaultEventData,
    GlobalCommand,
    InterruptTableAddress,
    ProtectedMemoryEnable,
    RootTableAddress,
)
from vafw.vmm.frames import FrameAllocator
from vafw.vmm.remapping_contexts import ContextTables
from vafw.vmm.remapping_faults import FaultRecord, take_faults
from vafw.vmm.remapping_interrupts import ENTRIES, InterruptEntries, forget_interrupt, message_for
from vafw.vmm.remapping_registers import InvalidationQueue, UnitNotAnswering, UnitRegisters
from vafw.vmm.second_stage import MappingRefused, SecondStageTable

__all__ = ["RemappingDriver", "FaultRecord", "MappingRefused", "UnitNotAnswering"]

_FORGET_CONTEXTS = ContextCacheDescriptor.pack(TYPE=DescriptorType.CONTEXT_CACHE, G=Granularity.GLOBAL)
_FORGET_PAGES = IotlbDescriptor.pack(TYPE=DescriptorType.IOTLB, G=Granularity.GLOBAL, DR=1, DW=1)
_FORGET_INTERRUPTS = InterruptEntryCacheDescriptor.pack(TYPE=DescriptorType.INTERRUPT_ENTRY_CACHE)


@final
@dataclass(slots=True)
class _Domain:
    """One address space of devices."""

    table: SecondStageTable
    functions: dict[Bdf, tuple[Bdf, ...]] = field(default_factory=dict)
    """Every function attached, with the requester ids it may use."""
    device_tlbs: set[Bdf] = field(default_factory=set)
    """Those that may cache translations."""
    reserved: list[range] = field(default_factory=list)
    """Device addresses that firmware needs (RMRR): they stay mapped as they are."""
    leaving: set[Bdf] = field(default_factory=set)
    """Functions cut off, of which the unit may still remember something."""


@final
class RemappingDriver:
    """Drives one unit. Raises MappingRefused, OutOfFrames, and UnitNotAnswering, after which nothing may be assumed."""

    def __init__(self, memory: PhysicalMemory, frames: FrameAllocator, unit_base: Hpa) -> None:
        """Reads what the unit can do; `enable` starts it."""
        self._memory = memory
        self._frames = frames
        self._registers = UnitRegisters(memory, unit_base)
        self._cap = self._registers.read(Capability)
        self._ecap = self._registers.read(ExtendedCapability)
        self._levels = _levels(self._cap)
        self._contexts = ContextTables(memory, frames)
        self._interrupts = InterruptEntries(memory, frames)
        self._domains: dict[int, _Domain] = {}
        self._domain_of: dict[Bdf, int] = {}
        """By requester id."""
        self._unused_ids = list(range((1 << 2 * self._cap.ND + 4) - 1, 0, -1))
        self._retired_ids: list[int] = []
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
        if not (self._ecap.QI and self._ecap.IR):
            raise PlatformUnable("the remapping unit must have queued invalidation and interrupt remapping")
        registers = self._registers
        registers.write(RootTableAddress, RootTableAddress.pack(RTA=self._contexts.root >> 12))
        registers.switch(GlobalCommand.pack(SRTP=1))
        registers.switch(GlobalCommand.pack(QIE=1), on=False)
        self._queue = InvalidationQueue(self._memory, self._frames, registers)
        size = ENTRIES.bit_length() - 2
        registers.write(InterruptTableAddress, InterruptTableAddress.pack(S=size, IRTA=self._interrupts.table >> 12))
        registers.switch(GlobalCommand.pack(SIRTP=1))
        self.forget_everything()
        registers.switch(GlobalCommand.pack(CFI=1), on=False)
        registers.switch(GlobalCommand.pack(IRE=1))
        registers.switch(GlobalCommand.pack(TE=1))
        registers.write(ProtectedMemoryEnable, 0)
        if fault_vector is not None:
            registers.write(FaultEventData, fault_vector)
            registers.write(FaultEventAddress, MsiAddress.pack(FEE=0xFEE))
            registers.write(FaultEventControl, 0)

    # -- domains ----------------------------------------------------------------------------------------------

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
        if found.functions or found.leaving:
            names = ", ".join(str(each) for each in sorted({*found.functions, *found.leaving}))
            raise MappingRefused(f"domain {domain} must have no functions when it ends, but has {names}")
        self._invalidate(_forget_domain(domain))
        del self._domains[domain]
        self._retired_ids.append(domain)
        found.table.release()

    def map(self, domain: int, iova: Iova, hpa: Hpa, size: int, *, read: bool = True, write: bool = True) -> None:
        """Let the domain's functions reach `size` bytes at `hpa` as `iova`; whole or not at all."""
        if not (read or write):
            raise MappingRefused("a mapping must allow reading, writing or both")
        self._require(domain).table.map(iova, hpa, size, PagingEntry.pack(R=int(read), W=int(write)))
        if self._cap.CM:
            self._invalidate(_forget_range(domain, iova, size))

    def map_reserved(self, domain: int, hpa: Hpa, size: int) -> None:
        """Let firmware's region (RMRR) stand under its own addresses; it stays so as long as the domain lives."""
        self.map(domain, Iova(hpa), hpa, size)
        self._require(domain).reserved.append(range(hpa, hpa + size))

    def unmap(self, domain: int, iova: Iova, size: int) -> None:
        """Take a mapping back; when this returns no function of the domain reaches the memory any more.

        Where it raises UnitNotAnswering the entries are gone, but a function may still reach the memory.
        """
        found = self._require(domain)
        for each in found.reserved:
            if iova < each.stop and each.start < iova + size:
                raise MappingRefused(
                    f"device addresses {each.start:#x} to {each.stop - 1:#x} of domain {domain} must stay mapped: "
                    "firmware needs them (RMRR)"
                )
        found.table.unmap(iova, size)
        self._invalidate(_forget_range(domain, iova, size))
        self._ask_devices(found.device_tlbs)

    # -- functions --------------------------------------------------------------------------------------------

    def attach(self, bdf: Bdf, domain: int, *, aliases: Sequence[Bdf] = (), device_tlb: bool = False) -> None:
        """Give a function, with every requester id it may use, to a domain; all of them or none.

        Functions of one domain may share a requester id, as those behind a PCI bridge do. `device_tlb` lets the
        function cache translations (ATS), which is to trust it: its translated requests walk no table.
        """
        found = self._require(domain)
        if device_tlb and not self._ecap.DT:
            raise MappingRefused(f"function {bdf} must not use a device TLB on a unit that has none (ECAP.DT)")
        ids = tuple(dict.fromkeys((bdf, *aliases)))
        for each in ids:
            owner = self._domain_of.get(each)
            if owner is not None and (owner != domain or each in found.functions or each in found.leaving):
                raise MappingRefused(
                    f"function {each} must be detached from domain {owner} before it is attached to domain {domain}"
                )
        for each in ids:
            self._contexts.prepare(each)
        kind = TranslationType.WITH_DEVICE_TLB if device_tlb else TranslationType.UNTRANSLATED_ONLY
        content = ContextEntry.pack(P=1, TT=kind, AW=self._levels - 2, DID=domain, SLPTPTR=found.table.root >> 12)
        found.functions[bdf] = ids
        if device_tlb:
            found.device_tlbs.add(bdf)
        for each in ids:
            self._domain_of[each] = domain
            self._contexts.write(each, content)
        try:
            self._invalidate(*(_forget_context(each) for each in ids), _forget_domain(domain))
        except UnitNotAnswering:
            self.cut_off(bdf)
            raise

    def detach(self, bdf: Bdf) -> None:
        """Put a function into quarantine: no memory, no interrupt, nothing remembered; it may be there already."""
        self.cut_off(bdf)
        self.forget(bdf)

    def cut_off(self, bdf: Bdf) -> None:
        """Take a function's context entries and interrupt away; what is remembered may still serve it."""
        self._interrupts.clear(bdf)
        domain = self._domain_of.get(bdf)
        if domain is None or bdf not in self._domains[domain].functions:
            return
        found = self._domains[domain]
        found.leaving.add(bdf)
        others = {each for other, ids in found.functions.items() if other not in found.leaving for each in ids}
        for each in found.functions[bdf]:
            if each not in others:
                self._contexts.write(each, 0)

    def forget(self, bdf: Bdf) -> None:
        """Make the unit and the device forget a function that was cut off: only then is it in quarantine."""
        queue = self._require_enabled()
        index = self._interrupts.clear(bdf)
        if index is not None:
            queue.submit(forget_interrupt(index))
            self._interrupts.free(bdf)
        domain = self._domain_of.get(bdf)
        if domain is None or bdf not in self._domains[domain].leaving:
            return
        found = self._domains[domain]
        ids = found.functions[bdf]
        queue.submit(*(_forget_context(each) for each in ids), _forget_domain(domain))
        if bdf in found.device_tlbs:
            self._ask_devices((bdf,))
        del found.functions[bdf]
        found.leaving.discard(bdf)
        found.device_tlbs.discard(bdf)
        kept = {each for others in found.functions.values() for each in others}
        for each in ids:
            if each not in kept:
                del self._domain_of[each]

    def forget_everything(self) -> None:
        """Make the unit forget all it remembers."""
        self._invalidate(_FORGET_CONTEXTS, _FORGET_PAGES, _FORGET_INTERRUPTS)

    def recover(self) -> None:
        """After UnitNotAnswering: clear what holds the queue up and make the unit forget everything, or raise again."""
        self._require_enabled().recover()
        self.forget_everything()

    def domain_of(self, bdf: Bdf) -> int | None:
        """The domain a function is attached to; None in quarantine."""
        return self._domain_of.get(bdf)

    # -- interrupts and faults --------------------------------------------------------------------------------

    def map_interrupt(self, bdf: Bdf, vector: int, destination: int) -> tuple[int, int]:
        """Let a function raise one vector on one processor; returns the MSI address and data to program it with."""
        queue = self._require_enabled()
        index = self._interrupts.put(bdf, vector, destination)
        queue.submit(forget_interrupt(index))
        return message_for(index)

    def unmap_interrupt(self, bdf: Bdf) -> None:
        """Take a function's interrupt back; nothing happens to one that has none."""
        index = self._interrupts.clear(bdf)
        if index is not None:
            self._invalidate(forget_interrupt(index))
            self._interrupts.free(bdf)

    def faults(self) -> tuple[FaultRecord, ...]:
        """Read the unit's fault records and clear them, and then the overflow, so that it records again."""
        found, lost = take_faults(self._registers, self._cap.NFR + 1)
        self.records_lost |= lost
        return found

    # -- machinery --------------------------------------------------------------------------------------------

    def _ask_devices(self, functions: Iterable[Bdf]) -> None:
        """Have device TLBs emptied, each on its own, so that one which does not answer is the one that is blamed."""
        for each in sorted(functions):
            try:
                self._invalidate(_forget_device(each))
            except UnitNotAnswering as error:
                self._require_enabled().recover()  # the unit is whole: nobody else is to suffer for this one
                raise UnitNotAnswering(
                    f"function {each} must empty its TLB when it is told to, but did not answer"
                ) from error

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


def _levels(cap: Capability) -> int:
    """The depth of the tables: 4 levels where the unit can, else 3 or 5 (CAP.SAGAW)."""
    for levels in (4, 3, 5):
        if cap.SAGAW >> levels - 2 & 1:
            return levels
    raise PlatformUnable("the remapping unit must support second-stage tables of 3, 4 or 5 levels")


def _forget_context(bdf: Bdf) -> int:
    return ContextCacheDescriptor.pack(TYPE=DescriptorType.CONTEXT_CACHE, G=Granularity.PAGE, SID=bdf.requester_id)


def _forget_domain(domain: int) -> int:
    return IotlbDescriptor.pack(TYPE=DescriptorType.IOTLB, G=Granularity.DOMAIN, DID=domain, DR=1, DW=1)


def _forget_device(bdf: Bdf) -> int:
    """All of a device's TLB: S with every address bit one but the topmost says 2^64 bytes (PCI Express, "ATS")."""
    everything = (1 << 51) - 1
    return DeviceTlbDescriptor.pack(TYPE=DescriptorType.DEVICE_TLB, SID=bdf.requester_id, S=1, ADDR=everything)


def _forget_range(domain: int, iova: int, size: int) -> int:
    """Page-selective where the range is one aligned power of two that the unit takes, else the whole domain."""
    pages = size // PAGE_SIZE
    mask = pages.bit_length() - 1
    if pages & pages - 1 or iova % size or mask > 18:
        return _forget_domain(domain)
    return IotlbDescriptor.pack(
        TYPE=DescriptorType.IOTLB, G=Granularity.PAGE, DID=domain, AM=mask, ADDR=iova >> 12, DR=1, DW=1
    )
