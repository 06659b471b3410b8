"""The DMA remapping unit (DRHD): its registers, and the questions that the root complex asks it.

    translate(source, iova)            memory request         -->  Translation | DmaFault
    host_address(source_id, iova)      the same, for the data path
    translation_request(source, iova)  ATS                    -->  TranslationCompletion | DmaFault
    translated(source, hpa)            ATS                    -->  None | DmaFault
    remap(source, address, data)       message                -->  Interrupt | InterruptFault | None (posted)

Not the driver (`vafw.vmm.remapping`) and not the bus (`vafw.hw.pci.root_complex`). What is hard here is time: RTADDR
and IRTA take effect only with SRTP and SIRTP, and neither those nor TE empties a cache (CAP.ESRTPS = ESIRTPS = 0), so
a driver that does not invalidate goes on with what the unit remembers.
"""

from __future__ import annotations

from typing import NamedTuple, final

from vafw.address import PAGE_SIZE, Bdf, Hpa, Iova
from vafw.hw.memory import PhysicalMemory
from vafw.hw.vtd.ats import InvalidationTarget, TranslationCompletion
from vafw.hw.vtd.blocked_request import AddressType, Completion, DmaFault, InterruptFault
from vafw.hw.vtd.capability import UnitCapability
from vafw.hw.vtd.context import find_context
from vafw.hw.vtd.context_cache import CachedContext, ContextCache
from vafw.hw.vtd.fault_reason import NEVER_SUPPRESSED, FaultReason
from vafw.hw.vtd.faults import FaultLog
from vafw.hw.vtd.interrupt_message import (
    Interrupt,
    compatibility_entry,
    compatibility_interrupt,
    entry_index,
    is_remappable,
    is_remappable_entry,
    message_index,
)
from vafw.hw.vtd.interrupt_remapping import InterruptRemapping
from vafw.hw.vtd.invalidation import Caches
from vafw.hw.vtd.invalidation_queue import InvalidationQueue
from vafw.hw.vtd.invalidation_registers import InvalidationRegisters
from vafw.hw.vtd.iotlb import Iotlb
from vafw.hw.vtd.paging_structures import LEAF_FRAME, find_directory, small_page
from vafw.hw.vtd.protected_memory import ProtectedRegions
from vafw.hw.vtd.register_file import RegisterFile
from vafw.hw.vtd.second_level import Leaf, SecondLevel
from vafw.hw.vtd.table_walk import READ, WRITE, Blocked


class Translation(NamedTuple):
    """Where one device address leads."""

    hpa: Hpa
    """The host-physical address of the device address itself, not of its page."""
    page_size: int
    """Bytes of the page that the table maps; 4096 without translation."""
    domain: int


@final
class RemappingUnit:
    """An `MmioDevice` of 4 KiB between the devices and memory."""

    def __init__(self, memory: PhysicalMemory, capability: UnitCapability | None = None) -> None:
        """As after power-on: nothing is translated or remapped until software says so."""
        self.capability = capability or UnitCapability()
        rules = self.capability.rules
        self._memory = memory
        self._rules = rules
        self._leaf_reserved = rules.leaf_reserved(1)
        self._second_level = SecondLevel(memory, rules)
        self._context_cache = ContextCache(caching_mode=self.capability.caching_mode)
        self._contexts = self._context_cache.entries
        self._iotlb = Iotlb()
        self._interrupts = InterruptRemapping(memory, rules)
        self._protection = ProtectedRegions()
        self._faults = FaultLog(self.capability.fault_records)
        self._caches = Caches(self._context_cache, self._iotlb, self._interrupts)
        queue = InvalidationQueue(memory, self._caches, device_tlb=rules.device_tlb)
        commands = InvalidationRegisters(self._caches)
        self._queue = queue
        self._registers = RegisterFile(
            self.capability,
            faults=self._faults,
            commands=commands,
            queue=queue,
            protection=self._protection,
            interrupts=self._interrupts,
        )

    def translate(self, source: Bdf, iova: Iova, *, write: bool) -> Translation | DmaFault:
        """Where a memory request leads, or why it is blocked; a fault is recorded as FPD and the log allow."""
        hpa = self.host_address(source.requester_id, iova, WRITE if write else READ)
        if isinstance(hpa, DmaFault):
            return hpa
        known = self._contexts.get(source.requester_id) if self._registers.translating else None
        if known is None:
            return Translation(Hpa(hpa), PAGE_SIZE, 0)
        return Translation(Hpa(hpa), known.pages.sizes.get(iova >> 12, PAGE_SIZE), known.context.domain)

    def host_address(self, source_id: int, iova: int, right: int) -> int | DmaFault:
        """The host address alone, for a requester id and READ or WRITE: what the data path asks, at its price."""
        if self._registers.translating:
            known = self._contexts.get(source_id)
            if known is not None:
                page = (known.readable if right == READ else known.writable).get(iova >> 12)
                if page is not None:
                    return page | iova & 0xFFF
            return self._walk(source_id, known, iova, right)
        if self._protection.covers(iova):
            return _refused(source_id, iova, right)
        return iova

    def translation_request(
        self, source: Bdf, iova: Iova, *, no_write: bool = False
    ) -> TranslationCompletion | DmaFault:
        """The translation that a device asks for, with what rights there are; a fault where it may not ask."""
        source_id = source.requester_id
        known = self._granted(source_id, iova, AddressType.TRANSLATION_REQUEST, write=False)
        if isinstance(known, DmaFault):
            return known
        leaf = self._any_right(known, iova)
        if isinstance(leaf, Blocked):
            if leaf.reason in (FaultReason.READ_NOT_ALLOWED, FaultReason.WRITE_NOT_ALLOWED):
                return TranslationCompletion(Hpa(0), PAGE_SIZE, readable=False, writable=False)
            return self._block(source_id, iova, READ, leaf, AddressType.TRANSLATION_REQUEST)
        known.pages.remember(iova, leaf)
        writable = bool(leaf.rights & WRITE) and not no_write
        return TranslationCompletion(Hpa(leaf.frame), leaf.size, bool(leaf.rights & READ), writable)

    def translated(self, source: Bdf, hpa: Hpa, *, write: bool) -> DmaFault | None:
        """Whether a device may send a request with a host address; no table is walked for it."""
        known = self._granted(source.requester_id, hpa, AddressType.TRANSLATED, write=write)
        if isinstance(known, DmaFault):
            return known
        return _refused(source.requester_id, hpa, WRITE if write else READ) if self._protection.covers(hpa) else None

    def connect_device_tlb(self, source: Bdf, device: InvalidationTarget) -> None:
        """Let invalidation requests for a function reach it."""
        self._caches.connect(source, device)

    def remap(self, source: Bdf, address: int, data: int) -> Interrupt | InterruptFault | None:
        """The interrupt that a device's message stands for, why it is blocked, or None: posted, nobody to notify."""
        if self._registers.remapping and is_remappable(address):
            return self._remapped(source, message_index(address, data))
        return self._compatible(source, compatibility_interrupt(address, data))

    def remap_entry(self, source: Bdf, entry: int) -> Interrupt | InterruptFault | None:
        """The same for the 64 bits of an I/O APIC's redirection table entry."""
        if self._registers.remapping and is_remappable_entry(entry):
            return self._remapped(source, entry_index(entry))
        return self._compatible(source, compatibility_entry(entry))

    def take_messages(self) -> tuple[tuple[int, int], ...]:
        """The unit's own messages (address, data), fault and invalidation events, sent since the last call."""
        return self._faults.take_messages() + self._queue.take_messages()

    def mmio_read(self, offset: int, size: int) -> int:
        """Four or eight bytes of the register page; a gap reads as zero."""
        return self._registers.read(offset, size)

    def mmio_write(self, offset: int, size: int, value: int) -> None:
        """Four or eight bytes; what a register commands is done when the write returns."""
        self._registers.write(offset, size, value)

    def __repr__(self) -> str:
        return f"RemappingUnit({self._registers!r})"

    def _walk(self, source_id: int, known: CachedContext | None, iova: int, right: int) -> int | DmaFault:
        """A miss of the context cache or the IOTLB: find, and remember what may be remembered."""
        if known is None:
            found = self._find_context(source_id)
            if isinstance(found, Blocked):
                return self._block(source_id, iova, right, found)
            return self.host_address(source_id, iova, right)
        if iova < known.shortcut:
            directory = known.directories.get(iova >> 21) or self._find_directory(known, iova)
            entry = small_page(self._memory, directory, iova, self._leaf_reserved)
            if entry & right:
                page, host = iova >> 12, entry & LEAF_FRAME
                if known.pages.sizes:
                    known.pages.sizes.pop(page, None)
                if entry & READ:
                    known.readable[page] = host
                if entry & WRITE:
                    known.writable[page] = host
                return host | iova & 0xFFF
        elif known.context.pass_through:
            return _refused(source_id, iova, right) if self._protection.covers(iova) else iova
        leaf = self._find_leaf(known, iova, right)
        if isinstance(leaf, Blocked):
            return self._block(source_id, iova, right, leaf)
        return known.pages.remember(iova, leaf)

    def _find_directory(self, known: CachedContext, iova: int) -> int:
        """A miss of the paging-structure cache; 0 where there is no table of 4 KiB pages, or nothing ordinary."""
        directory = find_directory(self._memory, self._rules, known.context, iova)
        if directory:
            known.directories[iova >> 21] = directory
        return directory

    def _find_context(self, source_id: int) -> CachedContext | Blocked:
        """A context-cache miss."""
        refused = self._context_cache.refused.get(source_id)
        if refused is not None:
            return refused
        found = find_context(self._memory, self._registers.root_table, source_id, self._rules)
        if isinstance(found, Blocked):
            if self.capability.caching_mode:
                self._context_cache.refused[source_id] = found
            return found
        return self._context_cache.remember(source_id, found, self._iotlb.of_domain(found.domain))

    def _find_leaf(self, known: CachedContext, iova: int, right: int) -> Leaf | Blocked:
        """An IOTLB miss, or a hit whose rights do not suffice: only CM = 1 lets the latter stand without a walk."""
        pages, key = known.pages, (iova >> 12, right)
        refused = pages.refused.get(key)
        if refused is not None:
            return refused
        leaf = self._second_level.leaf(known.context, iova, right)
        if isinstance(leaf, Blocked) and self.capability.caching_mode and not pages.knows(iova >> 12):
            pages.refused[key] = leaf
        return leaf

    def _any_right(self, known: CachedContext, iova: int) -> Leaf | Blocked:
        """The page with whatever rights there are: what is remembered of it, or what a walk finds."""
        page = iova >> 12
        readable, writable = known.readable.get(page), known.writable.get(page)
        host = writable if readable is None else readable
        if host is not None:
            rights = (readable is not None) * READ | (writable is not None) * WRITE
            return Leaf(host, PAGE_SIZE, rights)
        leaf = self._find_leaf(known, iova, READ)
        if isinstance(leaf, Blocked) and leaf.reason is FaultReason.READ_NOT_ALLOWED:
            return self._find_leaf(known, iova, WRITE)
        return leaf

    def _granted(self, source_id: int, address: int, kind: AddressType, *, write: bool) -> CachedContext | DmaFault:
        """The context of a function that may use ATS."""
        right = WRITE if write else READ
        if not self._registers.translating:
            return _refused(source_id, address, right)
        known = self._contexts.get(source_id) or self._find_context(source_id)
        if isinstance(known, CachedContext):
            if known.context.device_tlb:
                return known
            known = Blocked(FaultReason.TRANSLATION_TYPE_BLOCKS, known.context.quiet)
        return self._block(source_id, address, right, known, kind)

    def _block(
        self,
        source_id: int,
        iova: int,
        right: int,
        blocked: Blocked,
        kind: AddressType = AddressType.UNTRANSLATED,
    ) -> DmaFault:
        if not blocked.quiet or blocked.reason in NEVER_SUPPRESSED:
            self._faults.record(source_id, iova, blocked.reason, read=right == READ, address_type=kind)
        return DmaFault(Bdf.from_requester_id(source_id), Iova(iova), right == WRITE, blocked.reason)

    def _remapped(self, source: Bdf, index: int | FaultReason) -> Interrupt | InterruptFault | None:
        if isinstance(index, FaultReason):
            return self._block_interrupt(source, 0, Blocked(index))
        answer = self._interrupts.remap(source.requester_id, index)
        return self._block_interrupt(source, index, answer) if isinstance(answer, Blocked) else answer

    def _compatible(self, source: Bdf, interrupt: Interrupt) -> Interrupt | InterruptFault:
        """VT-d, "Interrupt Remapping Hardware Operation": compatibility format passes only where software lets it."""
        if self._registers.passes_compatibility_format:
            return interrupt
        return self._block_interrupt(source, 0, Blocked(FaultReason.COMPATIBILITY_BLOCKED))

    def _block_interrupt(self, source: Bdf, index: int, blocked: Blocked) -> InterruptFault:
        if not blocked.quiet:
            self._faults.record(source.requester_id, (index & 0xFFFF) << 48, blocked.reason, read=False)
        return InterruptFault(source, index & 0xFFFF, blocked.reason)


def _refused(source_id: int, address: int, right: int) -> DmaFault:
    return DmaFault(Bdf.from_requester_id(source_id), Iova(address), right == WRITE, Completion.UNSUPPORTED_REQUEST)
