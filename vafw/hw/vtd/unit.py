"""The DMA remapping unit (DRHD): its register page, and the two questions that the root complex asks it.

    translate(source, iova)        memory request  -->  Translation | DmaFault
    remap(source, address, data)   message         -->  Interrupt | InterruptFault

Not the driver (`vafw.vmm.remapping`) and not the bus (`vafw.hw.pci.root_complex`). Tables are walked by `walk`,
remembered by `iotlb`, forgotten by `invalidation`; `fault` keeps the records. What is hard here is time: RTADDR and
IRTA take effect only with SRTP and SIRTP, and neither those nor TE empties a cache (CAP.ESRTPS = ESIRTPS = 0), so a
driver that does not invalidate goes on with what the unit remembers.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, final

from vafw.address import PAGE_SIZE, Bdf, Hpa, Iova
from vafw.hw.memory import BusError, PhysicalMemory
from vafw.hw.vtd.bits import (
    NEVER_SUPPRESSED,
    OFFSETS,
    FaultReason,
    FaultRecording,
    GlobalCommand,
    GlobalStatus,
    InterruptTableAddress,
    RootTableAddress,
    Version,
)
from vafw.hw.vtd.capability import UnitCapability
from vafw.hw.vtd.fault import Completion, DmaFault, FaultLog, InterruptFault
from vafw.hw.vtd.interrupt import (
    BlockedInterrupt,
    Interrupt,
    InterruptTable,
    compatibility_interrupt,
    is_remappable,
)
from vafw.hw.vtd.invalidation import Invalidation
from vafw.hw.vtd.iotlb import Pages, TranslationCache
from vafw.hw.vtd.protection import ProtectedRegions
from vafw.hw.vtd.walk import READ, WRITE, Blocked, Context, Leaf, TableWalker
from vafw.register import Register


class Translation(NamedTuple):
    """Where one device address leads; a tuple because the data path makes ten of them for a frame."""

    hpa: Hpa
    """The host-physical address of the device address itself, not of its page."""
    page_size: int
    """Bytes of the page that the table maps; 4096 without translation."""
    domain: int


_Action = Callable[[], None]


@final
class RemappingUnit:
    """An `MmioDevice` of 4 KiB between the devices and memory."""

    def __init__(self, memory: PhysicalMemory, capability: UnitCapability | None = None) -> None:
        """As after power-on: nothing is translated or remapped until software says so."""
        self.capability = capability or UnitCapability()
        self._cache = TranslationCache()
        self._walker = TableWalker(memory, self.capability)
        self._interrupts = InterruptTable(memory)
        self._faults = FaultLog(self.capability.fault_records)
        self._invalidation = Invalidation(memory, self._cache, self._interrupts)
        self._command = GlobalCommand()
        self._status = GlobalStatus()
        self._root_address = RootTableAddress()
        self._interrupt_address = InterruptTableAddress()
        self._protection = ProtectedRegions()
        self._root_table = 0
        self._translating = False
        self._dwords = self._register_page()

    def translate(self, source: Bdf, iova: Iova, *, write: bool) -> Translation | DmaFault:
        """Where a memory request leads, or why it is blocked; a fault is recorded as FPD and the log allow."""
        if not self._translating:
            return self._untranslated(source, iova, write)
        source_id = source.requester_id
        known = self._cache.contexts.get(source_id)
        if known is None:
            found = self._find_context(source_id)
            if isinstance(found, Blocked):
                return self._block(source, iova, write, found)
            known = found
        context, pages = known
        right = WRITE if write else READ
        leaf = pages.get(iova >> 12)
        if leaf is None or not leaf.rights & right:
            walked = self._find_leaf(context, pages, iova, right)
            if isinstance(walked, Blocked):
                return self._block(source, iova, write, walked)
            leaf = walked
        return Translation(Hpa(leaf.frame | iova & leaf.size - 1), leaf.size, context.domain)

    def remap(self, source: Bdf, address: int, data: int) -> Interrupt | InterruptFault:
        """The interrupt that a device's message stands for, or why it is blocked."""
        if not self._status.IRES:
            return compatibility_interrupt(address, data)
        if is_remappable(address):
            answer = self._interrupts.remap(source, address, data)
        elif self._status.CFIS and not self._interrupts.extended:
            return compatibility_interrupt(address, data)
        else:
            answer = BlockedInterrupt(InterruptFault(source, 0, FaultReason.COMPATIBILITY_BLOCKED), quiet=False)
        if isinstance(answer, Interrupt):
            return answer
        fault = answer.fault
        if not answer.quiet:
            self._faults.record(source.requester_id, fault.index << 48, fault.reason, read=False)
        return fault

    def take_messages(self) -> tuple[tuple[int, int], ...]:
        """The unit's own messages (address, data), fault and invalidation events, sent since the last call."""
        return self._faults.take_messages() + self._invalidation.take_messages()

    def mmio_read(self, offset: int, size: int) -> int:
        """Four or eight bytes of the register page; a gap reads as zero."""
        self._require_whole_dwords(offset, size)
        if size == 8:
            return self.mmio_read(offset, 4) | self.mmio_read(offset + 4, 4) << 32
        if offset not in self._dwords:
            return 0
        register, shift, _ = self._dwords[offset]
        return register.sw_read() >> shift & 0xFFFF_FFFF

    def mmio_write(self, offset: int, size: int, value: int) -> None:
        """Four or eight bytes; what a register commands is done when the write returns."""
        self._require_whole_dwords(offset, size)
        if offset not in self._dwords:
            return
        register, shift, action = self._dwords[offset]
        if size == 8 and register.width == 32:
            self.mmio_write(offset, 4, value & 0xFFFF_FFFF)
            self.mmio_write(offset + 4, 4, value >> 32)
            return
        register.sw_write(value << shift, (1 << 8 * size) - 1 << shift)
        if action is not None:
            action()

    def __repr__(self) -> str:
        return f"RemappingUnit({self._status!r} {self._root_address!r} {self._faults.status!r})"

    def _untranslated(self, source: Bdf, iova: Iova, write: bool) -> Translation | DmaFault:
        if self._protection.covers(iova):
            return DmaFault(source, iova, write, Completion.UNSUPPORTED_REQUEST)
        return Translation(Hpa(iova), PAGE_SIZE, 0)

    def _find_context(self, source_id: int) -> tuple[Context, Pages] | Blocked:
        """A context-cache miss: walk, and remember what may be remembered."""
        refused = self._cache.refused_contexts.get(source_id)
        if refused is not None:
            return refused
        found = self._walker.context(self._root_table, source_id)
        if isinstance(found, Context):
            return self._cache.remember_context(source_id, found)
        if self.capability.caching_mode:
            self._cache.refused_contexts[source_id] = found
        return found

    def _find_leaf(self, context: Context, pages: Pages, iova: int, right: int) -> Leaf | Blocked:
        """An IOTLB miss, or a hit whose rights do not suffice: only CM = 1 lets the latter stand without a walk."""
        key = (context.domain, iova >> 12, right)
        refused = self._cache.refused_pages.get(key)
        if refused is not None:
            return refused
        leaf = self._walker.leaf(context, iova, right)
        if isinstance(leaf, Leaf):
            pages[iova >> 12] = leaf
        elif self.capability.caching_mode and iova >> 12 not in pages:
            self._cache.refused_pages[key] = leaf
        return leaf

    def _block(self, source: Bdf, iova: Iova, write: bool, blocked: Blocked) -> DmaFault:
        if not blocked.quiet or blocked.reason in NEVER_SUPPRESSED:
            self._faults.record(source.requester_id, iova, blocked.reason, read=not write)
        return DmaFault(source, iova, write, blocked.reason)

    def _execute(self) -> None:
        """GCMD was written: SRTP, SIRTP and WBF act once, the other bits become the status."""
        command, status = self._command, self._status
        if command.SRTP:
            self._root_table = self._root_address.RTA << 12
            status.hw_set(RTPS=1)
        if command.SIRTP:
            table = self._interrupt_address
            self._interrupts.point_to(table.IRTA << 12, 2 << table.S, extended=bool(table.EIME))
            status.hw_set(IRTPS=1)
        if command.QIE and not status.QIES:
            self._invalidation.start_queue()
        if status.TES and not command.TE:
            self._faults.restart()
        queue = command.QIE or (status.QIES and not self._invalidation.idle)
        status.hw_set(TES=command.TE, IRES=command.IRE, CFIS=command.CFI, QIES=int(bool(queue)))
        self._translating = bool(command.TE)

    def _run_context_command(self) -> None:
        if self._invalidation.context_command.ICC and not self._status.QIES:
            self._invalidation.run_context_command()

    def _run_iotlb_command(self) -> None:
        if self._invalidation.iotlb.IVT and not self._status.QIES:
            self._invalidation.run_iotlb_command()

    def _run_queue(self) -> None:
        if self._status.QIES and not self._faults.status.IQE and not self._invalidation.run_queue():
            self._faults.note_queue_error()

    def _register_page(self) -> dict[int, tuple[Register, int, _Action | None]]:
        """Offset of each dword to its register, its shift in there and what a write to the register starts."""
        faults, queue = self._faults, self._invalidation
        registers: list[tuple[Register, _Action | None]] = [
            *((each, None) for each in (Version(), self.capability.cap, self.capability.ecap, self._status)),
            *((each, None) for each in (self._root_address, self._interrupt_address)),
            (self._command, self._execute),
            (queue.context_command, self._run_context_command),
            (queue.iotlb, self._run_iotlb_command),
            (queue.queue_tail, self._run_queue),
            *((each, None) for each in (queue.address, queue.queue_head, queue.queue_address, queue.queue_error)),
            *((each, queue.written) for each in (queue.completion, queue.control)),
            *((each, None) for each in (queue.data, queue.message_address, queue.message_upper_address)),
            *((each, faults.written) for each in (faults.status, faults.control)),
            *((each, None) for each in (faults.data, faults.address, faults.upper_address)),
            *((each, self._protection.written) for each in self._protection.registers),
        ]
        placed = [(OFFSETS[type(register)], register, action) for register, action in registers]
        first = OFFSETS[FaultRecording]
        placed += [(first + 16 * n, each, faults.written) for n, each in enumerate(faults.recordings)]
        return {
            offset + shift // 8: (register, shift, action)
            for offset, register, action in placed
            for shift in range(0, register.width, 32)
        }

    def _require_whole_dwords(self, offset: int, size: int) -> None:
        if size not in (4, 8) or offset % size:
            raise BusError(f"the remapping unit must be accessed with 4 or 8 aligned bytes, not {size} at {offset:#x}")
